//! postStart and preStop hooks.
//!
//! Nothing bounds a command but the caller (a preStop hook its grace period, a postStart hook only the end of its
//! container); an HTTP request gets 30 seconds.

use std::{net::IpAddr, time::Duration};

use apimachinery::api::core::{Container as Spec, LifecycleHandler};
use container_runtime::Container;

use crate::{node::NodeContext, probes, worker_hook_request};

/// How long an HTTP hook may take.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a command's output is kept.
const MAX_OUTPUT: usize = 10 * 1024;

/// Runs a hook to its end.
///
/// # Errors
/// What went wrong, for the status; `pod` is the pod as messages name it.
pub async fn run(
    node: &NodeContext,
    pod: &str,
    spec: &Spec,
    running: &Container,
    pod_ip: Option<IpAddr>,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    let name = &spec.name;
    if let Some(exec) = &hook.exec {
        return run_command(running, &exec.command).await.map_err(|(error, output)| {
            format!(
                "Exec lifecycle hook ([{}]) for Container {name:?} in Pod {pod:?} failed - error: {error}, message: {output:?}",
                exec.command.join(" ")
            )
        });
    }
    if let Some(sleep) = &hook.sleep {
        let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
        node.clock.sleep(Duration::from_secs(seconds)).await;
        return Ok(());
    }
    if let (Some(get), Some(pod_ip)) = (&hook.http_get, pod_ip) {
        let target = probes::Target {
            node: node.own_sandbox(),
            pod_ip,
            spec: spec.clone(),
            running: running.clone(),
            clock: node.clock.clone(),
        };
        // Any answer will do, whatever its status.
        let asked = async {
            let port = probes::port(&get.port, spec)?;
            probes::http::hook(&target, get, port, HTTP_TIMEOUT).await
        };
        return asked.await.map_err(|error| {
            let path = get.path.as_deref().unwrap_or_default();
            format!("HTTP lifecycle hook ({path}) for Container {name:?} in Pod {pod:?} failed - error: {error}")
        });
    }
    Err("Cannot run handler: invalid handler".to_owned())
}

/// Runs a command; its failure comes with what it wrote.
async fn run_command(running: &Container, command: &[String]) -> Result<(), (String, String)> {
    let mut session = running
        .exec(worker_hook_request(command))
        .map_err(|e| (format!("rpc error: code = Unknown desc = {e}"), String::new()))?;
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    loop {
        let (kept, chunk) = tokio::select! {
            Some(chunk) = session.stdout.recv() => (&mut output, chunk),
            Some(chunk) = session.stderr.recv() => (&mut errors, chunk),
            else => break,
        };
        let room = MAX_OUTPUT.saturating_sub(kept.len()).min(chunk.len());
        kept.extend_from_slice(&chunk[..room]);
    }
    let status = session.wait().await;
    if status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&errors).into_owned();
    let error = format!("command '{}' exited with {}: {errors}", command.join(" "), status.0);
    Err((error, String::from_utf8_lossy(&output).into_owned() + &errors))
}
