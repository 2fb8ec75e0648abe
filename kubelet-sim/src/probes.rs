//! Startup, readiness and liveness probes: one task per probe of a running container, which reports only changes.
//!
//! A probe asks from the node's own address, as a kubelet does. Its result counts after `successThreshold` successes
//! or `failureThreshold` failures in a row; every single failure is told too, for the `Unhealthy` event. An attempt that
//! could not be made at all (no such command, no such port) is told, but counts for neither.

pub mod grpc;
pub mod http;

use std::time::Duration;

use apimachinery::{
    api::core::{Container, Probe},
    int_or_string::IntOrString,
};
use cni::network::Sandbox;
use component_base::clock::Clock;
use container_runtime::ExecError;
use tokio::sync::mpsc;

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Holds up the others until it has passed once.
    Startup,
    /// Decides whether the pod gets traffic.
    Readiness,
    /// Decides whether the container is restarted.
    Liveness,
}

impl Kind {
    /// The word in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// What a probe tells its pod's worker.
#[derive(Clone, Debug)]
pub struct Report {
    /// The container.
    pub container: String,
    /// Which run of it: the container's id.
    pub run: String,
    /// Which probe.
    pub kind: Kind,
    /// What was found.
    pub finding: Finding,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// One attempt failed: the text of the `Unhealthy` event.
    Unhealthy(String),
    /// One attempt succeeded with a reservation: the text of the `ProbeWarning` event.
    Warning(String),
    /// The threshold of successes was reached.
    Success,
    /// The threshold of failures was reached.
    Failure,
}

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It succeeded.
    Passed,
    /// It succeeded, but something is strange.
    Warned(String),
    /// It failed.
    Failed(String),
    /// It could not be made.
    Errored(String),
}

impl From<Result<(), String>> for Attempt {
    fn from(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(message) => Self::Failed(message),
        }
    }
}

/// How long after a start the first attempt is made at the earliest: a kubelet needs a moment, too, to see that a
/// container runs, and what it runs a moment to listen.
const FIRST: Duration = Duration::from_millis(100);
/// How often an attempt that could not be made is made again at once.
const RETRIES: usize = 3;

/// What a probe is run with.
#[derive(Clone)]
pub struct Target {
    /// The node's own network.
    pub node: Sandbox,
    /// The pod's address.
    pub pod_ip: std::net::IpAddr,
    /// The container as specified, for named ports.
    pub spec: Container,
    /// The running container, for exec probes.
    pub running: container_runtime::Container,
    /// Time.
    pub clock: Clock,
}

/// Runs one probe until the container's run ends (the receiver is dropped, or the task).
pub async fn run(target: Target, kind: Kind, probe: Probe, reports: mpsc::Sender<Report>) {
    let seconds = |value: Option<i32>, default: i32| {
        Duration::from_secs(u64::try_from(value.unwrap_or(default)).unwrap_or(0))
    };
    let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
    let timeout = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
    let successes_needed = probe.success_threshold.unwrap_or(1).max(1);
    let failures_needed = probe.failure_threshold.unwrap_or(3).max(1);
    let mut told: Option<bool> = None;
    let (mut successes, mut failures) = (0, 0);
    let clock = target.clock.clone();
    let first = if kind == Kind::Startup || target.spec.startup_probe.is_none() {
        FIRST
    } else {
        Duration::ZERO
    };
    clock.sleep(seconds(probe.initial_delay_seconds, 0).max(first)).await;
    loop {
        let mut made = attempt(&target, &probe, timeout).await;
        for _ in 1..RETRIES {
            if !matches!(made, Attempt::Errored(_)) {
                break;
            }
            made = attempt(&target, &probe, timeout).await;
        }
        let mut findings = Vec::new();
        let passed = match made {
            Attempt::Passed => Some(true),
            Attempt::Warned(message) => {
                findings
                    .push(Finding::Warning(format!("{} probe warning: {message}", kind.name())));
                Some(true)
            }
            Attempt::Failed(message) => {
                findings
                    .push(Finding::Unhealthy(format!("{} probe failed: {message}", kind.name())));
                Some(false)
            }
            Attempt::Errored(message) => {
                let text = "probe errored and resulted in unknown state";
                findings.push(Finding::Unhealthy(format!("{} {text}: {message}", kind.name())));
                None
            }
        };
        match passed {
            Some(true) => (successes, failures) = (successes + 1, 0),
            Some(false) => (successes, failures) = (0, failures + 1),
            None => {}
        }
        if passed == Some(true) && successes >= successes_needed && told != Some(true) {
            told = Some(true);
            findings.push(Finding::Success);
        }
        if passed == Some(false) && failures >= failures_needed && told != Some(false) {
            told = Some(false);
            findings.push(Finding::Failure);
        }
        for finding in findings {
            let report = Report {
                container: target.spec.name.clone(),
                run: format!("containerd://{}", target.running.id()),
                kind,
                finding,
            };
            if reports.send(report).await.is_err() {
                return;
            }
        }
        let done = match kind {
            Kind::Startup => told.is_some(),
            Kind::Readiness => false,
            // It is going to be killed.
            Kind::Liveness => told == Some(false),
        };
        if done {
            return;
        }
        clock.sleep(period).await;
    }
}

async fn attempt(target: &Target, probe: &Probe, timeout: Duration) -> Attempt {
    if let Some(exec) = &probe.exec {
        return exec_probe(target, &exec.command, timeout).await;
    }
    if let Some(get) = &probe.http_get {
        return match port(&get.port, &target.spec) {
            Ok(port) => http::probe(target, get, port, timeout).await,
            Err(message) => Attempt::Errored(message),
        };
    }
    if let Some(tcp) = &probe.tcp_socket {
        let port = match port(&tcp.port, &target.spec) {
            Ok(port) => port,
            Err(message) => return Attempt::Errored(message),
        };
        let host = match host(tcp.host.as_deref(), target) {
            Ok(host) => host,
            Err(message) => return Attempt::Failed(format!("dial tcp: lookup {message}")),
        };
        let address = std::net::SocketAddr::new(host, port);
        return match target.clock.timeout(timeout, target.node.connect_tcp(address)).await {
            Ok(Ok(_)) => Attempt::Passed,
            Ok(Err(e)) => Attempt::Failed(format!("dial tcp {address}: connect: {}", go_error(&e))),
            Err(_) => Attempt::Failed(format!("dial tcp {address}: i/o timeout")),
        };
    }
    if let Some(grpc) = &probe.grpc {
        return grpc::probe(target, grpc, timeout).await.into();
    }
    Attempt::Errored(format!("missing probe handler for container {}", target.spec.name))
}

async fn exec_probe(target: &Target, command: &[String], timeout: Duration) -> Attempt {
    // Only what the specification itself says is known here.
    let known = |name: &str| {
        let found = target.spec.env.iter().find(|var| var.name == name);
        found.filter(|var| var.value_from.is_none()).and_then(|var| var.value.clone())
    };
    let command: Vec<String> =
        command.iter().map(|word| crate::env::expand(word, &known)).collect();
    match target.running.exec_sync(command.clone(), timeout).await {
        Ok(output) => match output.exit_code {
            Some(0) => Attempt::Passed,
            Some(_) => Attempt::Failed(String::from_utf8_lossy(&output.output).into_owned()),
            None => Attempt::Failed(format!(
                "command timed out: {:?} timed out after {}s",
                command.join(" "),
                timeout.as_secs()
            )),
        },
        Err(
            error @ (ExecError::NotRunning(_) | ExecError::Empty | ExecError::Executable { .. }),
        ) => Attempt::Errored(format!("rpc error: code = Unknown desc = {error}")),
    }
}

/// A port by number, or by the name of one of the container's.
///
/// # Errors
/// There is no such port.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .find(|p| p.name.as_deref() == Some(name))
            .map(|p| p.container_port)
            .or_else(|| name.parse().ok()),
    };
    number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(|| match port {
        IntOrString::Int(number) => format!("invalid port number: {number}"),
        IntOrString::String(name) => {
            format!("couldn't find port: {name} in container {}", container.name)
        }
    })
}

fn host(named: Option<&str>, target: &Target) -> Result<std::net::IpAddr, String> {
    match named.filter(|h| !h.is_empty()) {
        None => Ok(target.pod_ip),
        Some(host) => host.parse().map_err(|_| format!("{host}: no such host")),
    }
}

/// An I/O error in Go's words.
#[must_use]
pub fn go_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        std::io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        _ => error.to_string(),
    }
}
