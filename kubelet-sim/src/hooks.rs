//! postStart and preStop hooks.

use std::{net::IpAddr, time::Duration};

use apimachinery::api::core::{Container as Spec, LifecycleHandler};
use container_runtime::Container;

use crate::{node::NodeContext, probes, worker_hook_request};

/// How long an HTTP hook may take.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a hook to its end.
///
/// # Errors
/// What went wrong, for the event.
pub async fn run(
    node: &NodeContext,
    spec: &Spec,
    running: &Container,
    pod_ip: Option<IpAddr>,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let mut session =
            running.exec(worker_hook_request(&exec.command)).map_err(|e| e.to_string())?;
        let drain = async {
            let mut output = Vec::new();
            while let Some(chunk) = session.stdout.recv().await {
                output.extend_from_slice(&chunk);
                output.truncate(10 * 1024);
            }
            (session.wait().await, output)
        };
        let (status, output) = drain.await;
        return if status.success() {
            Ok(())
        } else {
            Err(format!(
                "command '{}' exited with {}: {}",
                exec.command.join(" "),
                status.0,
                String::from_utf8_lossy(&output)
            ))
        };
    }
    if let Some(sleep) = &hook.sleep {
        let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
        node.clock.sleep(Duration::from_secs(seconds)).await;
        return Ok(());
    }
    if let (Some(get), Some(pod_ip)) = (&hook.http_get, pod_ip) {
        let port = probes::port(&get.port, spec)?;
        let target = probes::Target {
            node: node.own_sandbox(),
            pod_ip,
            spec: spec.clone(),
            running: running.clone(),
            clock: node.clock.clone(),
        };
        return probes::http::probe(&target, get, port, HTTP_TIMEOUT).await;
    }
    Err("invalid handler".to_owned())
}
