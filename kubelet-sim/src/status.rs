//! The status of a pod, from what its worker knows: a pure function. Follows `generateAPIPodStatus` and `getPhase`.
//!
//! | part | makes |
//! |---|---|
//! | [`containers`] | the status of each container |
//! | [`conditions`] | the conditions that the kubelet owns |

pub mod conditions;
pub mod containers;

use apimachinery::{
    api::core::{ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus},
    time::Time,
};
use jiff::Timestamp;

use crate::lifecycle::{Records, is_sidecar, should_restart};
pub use conditions::is_own;

/// What the status is made from.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The pod, with its status as the API server has it.
    pub pod: &'a Pod,
    /// Its containers.
    pub records: &'a Records,
    /// Its address, once it has a sandbox.
    pub ip: Option<String>,
    /// The node's InternalIP.
    pub host_ip: &'a str,
    /// What was last told; before that the pod's own status counts.
    pub told: Option<&'a Told>,
    /// When the kubelet first saw the pod.
    pub start_time: Timestamp,
    /// The pod was told to end for this reason.
    pub failure: Option<Failure>,
    /// All containers have been stopped for good.
    pub finished: bool,
    /// Wall clock.
    pub now: Timestamp,
}

/// Why a whole pod was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Failure {
    /// Its `activeDeadlineSeconds` are over.
    DeadlineExceeded,
    /// Its node shuts down.
    NodeShutdown,
}

impl Failure {
    /// `status.reason`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::NodeShutdown => "Terminated",
        }
    }

    /// `status.message`.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::DeadlineExceeded => {
                "Pod was active on the node longer than the specified deadline"
            }
            Self::NodeShutdown => "Pod was terminated in response to imminent node shutdown.",
        }
    }
}

/// What later statuses depend on of the one that was last told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The phase.
    pub phase: Option<String>,
    /// The conditions.
    pub conditions: Vec<PodCondition>,
}

impl View<'_> {
    /// Whether what has ended is not started again.
    fn ending(&self) -> bool {
        self.finished || self.pod.metadata.deletion_timestamp.is_some()
    }
}

fn time(timestamp: Timestamp) -> Option<Time> {
    Some(Time(timestamp).truncated())
}

/// The status.
#[must_use]
pub fn generate(view: &View<'_>) -> PodStatus {
    let pod = view.pod;
    let (mut init, mut main) = (containers::init(view), containers::main(view));
    let coming = match view.failure {
        Some(_) => "Failed",
        None => phase(view, &init, &main),
    };
    // No pod is at its end before all is stopped for good; its conditions tell of the end that comes.
    let held = matches!(coming, "Succeeded" | "Failed") && !view.finished;
    let before = view.told.map_or(&view.pod.status.phase, |told| &told.phase).as_deref();
    let phase = if held { before.unwrap_or("Pending") } else { coming };
    let failure = view.failure.filter(|_| !held);
    if view.finished {
        containers::account_for_all(pod, &mut init, &mut main);
    }
    let conditions = conditions::all(view, &init, &main, coming);
    // Main containers are told by name, init containers in their order.
    main.sort_by(|a, b| a.name.cmp(&b.name));
    PodStatus {
        phase: Some(phase.to_owned()),
        observed_generation: pod.metadata.generation,
        host_ip: Some(view.host_ip.to_owned()),
        host_ips: vec![HostIP { ip: view.host_ip.to_owned() }],
        pod_ip: view.ip.clone(),
        pod_ips: view.ip.iter().map(|ip| PodIP { ip: ip.clone() }).collect(),
        start_time: time(view.start_time),
        qos_class: pod.status.qos_class.clone(),
        init_container_statuses: init,
        container_statuses: main,
        ephemeral_container_statuses: containers::ephemeral(view),
        reason: failure.map(|failure| failure.reason().to_owned()),
        message: failure.map(|failure| failure.message().to_owned()),
        conditions,
        ..PodStatus::default()
    }
}

/// How a container's last run ended, as its status has it: the exit code, and whether the pod's restart took it away.
fn last_end(status: &ContainerStatus) -> Option<(i32, bool)> {
    let ended = |state: &Option<apimachinery::api::core::ContainerState>| {
        let terminated = state.as_ref()?.terminated.as_ref()?;
        let wiped = terminated.reason.as_deref() == Some(containers::RESTARTING_ALL);
        Some((terminated.exit_code, wiped))
    };
    ended(&status.state).or_else(|| ended(&status.last_state))
}

fn runs(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.running.is_some())
}

fn waits(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.waiting.is_some())
}

/// The phase, from the containers' statuses (`getPhase`).
fn phase(view: &View<'_>, init: &[ContainerStatus], main: &[ContainerStatus]) -> &'static str {
    let spec = &view.pod.spec;
    let mut initializing = false;
    for (container, status) in spec.init_containers.iter().zip(init) {
        let ended = last_end(status).filter(|_| !runs(status));
        if is_sidecar(container) {
            initializing |=
                if runs(status) { status.started != Some(true) } else { ended.is_none() };
            continue;
        }
        match ended {
            None => initializing = true,
            Some((0, _)) => {}
            Some((code, _)) => {
                if !should_restart(view.pod, container, code) {
                    return "Failed";
                }
            }
        }
    }
    let (mut running, mut waiting, mut succeeded, mut failed, mut over) = (0, 0, 0, 0, 0);
    for (container, status) in spec.containers.iter().zip(main) {
        let ended = last_end(status).filter(|_| !runs(status));
        match ended {
            None if runs(status) => running += 1,
            None => waiting += 1,
            Some((code, wiped)) => {
                // One that waits to be restarted has not succeeded, whatever its last exit code.
                if code == 0 && !waits(status) {
                    succeeded += 1;
                } else {
                    failed += 1;
                }
                over += usize::from(!wiped && !should_restart(view.pod, container, code));
            }
        }
    }
    let sidecars = spec.init_containers.iter().zip(init).filter(|(c, _)| is_sidecar(c));
    running += sidecars.filter(|(_, status)| runs(status)).count();
    let stopped = succeeded + failed;
    if view.finished {
        return if succeeded == spec.containers.len() { "Succeeded" } else { "Failed" };
    }
    if waiting > 0 || (initializing && !main.iter().any(|s| runs(s) || !waits(s))) {
        return "Pending";
    }
    match () {
        () if running > 0 => "Running",
        () if stopped == 0 => "Pending",
        () if stopped != over => "Running",
        () if stopped == succeeded => "Succeeded",
        () => "Failed",
    }
}

#[cfg(test)]
mod tests;
