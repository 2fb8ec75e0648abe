//! Startup, readiness and liveness probes: one task per probe of a running container, which reports only changes.
//!
//! A probe asks from the node's own address, as a kubelet does. Its result counts after `successThreshold` successes
//! or `failureThreshold` failures in a row; every single failure is told too, for the `Unhealthy` event.

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
    /// One attempt failed, with this message.
    Unhealthy(String),
    /// The threshold of successes was reached.
    Success,
    /// The threshold of failures was reached, with the message of the last one.
    Failure(String),
}

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
    clock.sleep(seconds(probe.initial_delay_seconds, 0)).await;
    loop {
        let finding = attempt(&target, &probe, timeout).await;
        let mut findings = Vec::new();
        match finding {
            Ok(()) => {
                (successes, failures) = (successes + 1, 0);
                if successes >= successes_needed && told != Some(true) {
                    told = Some(true);
                    findings.push(Finding::Success);
                }
            }
            Err(message) => {
                (successes, failures) = (0, failures + 1);
                findings.push(Finding::Unhealthy(message.clone()));
                // A liveness or startup failure is told again each time: the container may not have been killed yet.
                if failures >= failures_needed && (kind != Kind::Readiness || told != Some(false)) {
                    told = Some(false);
                    findings.push(Finding::Failure(message));
                }
            }
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
        if kind == Kind::Startup && told == Some(true) {
            return;
        }
        clock.sleep(period).await;
    }
}

async fn attempt(target: &Target, probe: &Probe, timeout: Duration) -> Result<(), String> {
    if let Some(exec) = &probe.exec {
        return exec_probe(target, &exec.command, timeout).await;
    }
    if let Some(get) = &probe.http_get {
        let port = port(&get.port, &target.spec)?;
        return http::probe(target, get, port, timeout).await;
    }
    if let Some(tcp) = &probe.tcp_socket {
        let port = port(&tcp.port, &target.spec)?;
        let host = host(tcp.host.as_deref(), target)?;
        let address = std::net::SocketAddr::new(host, port);
        return match target.clock.timeout(timeout, target.node.connect_tcp(address)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(format!("dial tcp {address}: connect: {}", go_error(&e))),
            Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
        };
    }
    if let Some(grpc) = &probe.grpc {
        return grpc::probe(target, grpc, timeout).await;
    }
    Err("missing probe handler".to_owned())
}

async fn exec_probe(target: &Target, command: &[String], timeout: Duration) -> Result<(), String> {
    match target.running.exec_sync(command.to_vec(), timeout).await {
        Ok(output) => match output.exit_code {
            Some(0) => Ok(()),
            Some(_) => Err(String::from_utf8_lossy(&output.output).into_owned()),
            None => Err(format!(
                "command timed out: {command:?} timed out after {}s",
                timeout.as_secs()
            )),
        },
        Err(
            error @ (ExecError::NotRunning(_) | ExecError::Empty | ExecError::Executable { .. }),
        ) => Err(error.to_string()),
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
    number
        .and_then(|n| u16::try_from(n).ok())
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("invalid port number: {port:?}"))
}

fn host(named: Option<&str>, target: &Target) -> Result<std::net::IpAddr, String> {
    match named.filter(|h| !h.is_empty()) {
        None => Ok(target.pod_ip),
        Some(host) => host.parse().map_err(|_| format!("cannot resolve {host}: no such host")),
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
