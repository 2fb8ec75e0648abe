//! The status of a pod, from what its worker knows: a pure function. Follows `generateAPIPodStatus` and `getPhase`.

use apimachinery::{
    api::core::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
        ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    time::Time,
};
use jiff::Timestamp;

use crate::lifecycle::{Ended, InitProgress, Record, Records, State, init_progress, is_sidecar};

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
    /// The conditions as last told; where there are none yet, the pod's own count.
    pub told: &'a [PodCondition],
    /// When the kubelet first saw the pod.
    pub start_time: Timestamp,
    /// The pod was told to end for this reason, with this message (deadline, eviction).
    pub failure: Option<(&'a str, &'a str)>,
    /// All containers have been stopped for good.
    pub finished: bool,
    /// Wall clock.
    pub now: Timestamp,
}

fn time(timestamp: Timestamp) -> Option<Time> {
    Some(Time(timestamp).truncated())
}

fn terminated(ended: &Ended) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: ended.exit_code,
            signal: ended.signal,
            reason: Some(ended.reason.clone()),
            message: Some(ended.message.clone()).filter(|m| !m.is_empty()),
            started_at: ended.started_at.and_then(time),
            finished_at: time(ended.finished_at),
            container_id: Some(ended.id.clone()).filter(|id| !id.is_empty()),
        }),
        ..ContainerState::default()
    }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()).filter(|m| !m.is_empty()),
        }),
        ..ContainerState::default()
    }
}

fn container_status(
    container: &Container,
    record: &Record,
    default_reason: &str,
    ending: bool,
) -> ContainerStatus {
    let mut id = String::new();
    // What ended in a pod that goes does not wait for another run.
    let problem = match (&record.state, ending) {
        (State::Terminated(_), true) => &None,
        _ => &record.problem,
    };
    let state = match (&record.state, problem) {
        (State::Running { started_at, id: own }, _) => {
            id.clone_from(own);
            ContainerState {
                running: Some(ContainerStateRunning { started_at: time(*started_at) }),
                ..ContainerState::default()
            }
        }
        (_, Some((reason, message))) => waiting(reason, message),
        (State::Terminated(ended), None) => {
            id.clone_from(&ended.id);
            terminated(ended)
        }
        (State::Waiting, None) => waiting(default_reason, ""),
    };
    // A run that waits to be repeated shows as the last state.
    let last = match (&record.state, problem) {
        (State::Terminated(ended), Some(_)) => {
            id.clone_from(&ended.id);
            Some(ended)
        }
        _ => record.last.as_ref(),
    };
    ContainerStatus {
        name: container.name.clone(),
        image: crate::images::display_name(container.image.as_deref().unwrap_or_default()),
        image_id: record.image_id.clone(),
        container_id: Some(id).filter(|id| !id.is_empty()),
        ready: record.ready,
        started: Some(record.running() && record.started),
        restart_count: record.restarts,
        last_state: Some(last.map(terminated).unwrap_or_default()),
        state: Some(state),
        ..ContainerStatus::default()
    }
}

/// The status.
#[must_use]
pub fn generate(view: &View<'_>) -> PodStatus {
    let pod = view.pod;
    let blank = Record::default();
    let record = |c: &Container| view.records.get(&c.name).unwrap_or(&blank);
    let progress = init_progress(pod, view.records);
    let ending = view.finished || pod.metadata.deletion_timestamp.is_some();
    let main_reason = if pod.spec.init_containers.is_empty() || progress == InitProgress::Done {
        "ContainerCreating"
    } else {
        "PodInitializing"
    };
    let mut init_statuses: Vec<ContainerStatus> = pod
        .spec
        .init_containers
        .iter()
        .map(|c| container_status(c, record(c), "PodInitializing", ending))
        .collect();
    // An init container that succeeded counts as ready.
    for (status, container) in init_statuses.iter_mut().zip(&pod.spec.init_containers) {
        if !is_sidecar(container) {
            let ended = record(container).ended();
            status.ready = ended.is_some_and(|e| e.exit_code == 0) && !record(container).running();
        }
    }
    let mut statuses: Vec<ContainerStatus> = pod
        .spec
        .containers
        .iter()
        .map(|c| container_status(c, record(c), main_reason, ending))
        .collect();
    if view.finished && progress == InitProgress::Done {
        statuses.iter_mut().for_each(account_for);
    }
    // While a container may still run, the pod has not failed yet.
    let failure = view.failure.filter(|_| view.finished);
    let phase = match failure {
        Some(_) => "Failed",
        None => phase(view, progress),
    };
    let mut status = PodStatus {
        phase: Some(phase.to_owned()),
        observed_generation: pod.metadata.generation,
        host_ip: Some(view.host_ip.to_owned()),
        host_ips: vec![HostIP { ip: view.host_ip.to_owned() }],
        pod_ip: view.ip.clone(),
        pod_ips: view.ip.iter().map(|ip| PodIP { ip: ip.clone() }).collect(),
        start_time: time(view.start_time),
        qos_class: pod.status.qos_class.clone(),
        init_container_statuses: init_statuses,
        container_statuses: statuses,
        reason: failure.map(|(reason, _)| reason.to_owned()),
        message: failure.map(|(_, message)| message.to_owned()),
        ..PodStatus::default()
    };
    status.conditions = conditions(view, &status, phase, progress);
    status
}

/// A container of a pod that has ended must have ended, too: one that never ran counts as lost (`TerminatePod`).
fn account_for(status: &mut ContainerStatus) {
    if status.state.as_ref().is_some_and(|s| s.terminated.is_none()) {
        status.state = Some(ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: 137,
                reason: Some("ContainerStatusUnknown".into()),
                message: Some(
                    "The container could not be located when the pod was terminated".into(),
                ),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        });
    }
}

/// The phase of a pod whose containers have all been stopped for good.
fn final_phase(view: &View<'_>) -> &'static str {
    let succeeded = |c: &Container| {
        let record = view.records.get(&c.name);
        record.and_then(Record::ended).is_some_and(|ended| ended.exit_code == 0)
    };
    if view.pod.spec.containers.iter().all(succeeded) { "Succeeded" } else { "Failed" }
}

fn phase(view: &View<'_>, progress: InitProgress) -> &'static str {
    let pod = view.pod;
    let policy = pod.spec.restart_policy.as_deref().unwrap_or("Always");
    if view.finished {
        return final_phase(view);
    }
    if progress != InitProgress::Done {
        return "Pending";
    }
    let (mut running, mut waiting, mut succeeded, mut failed) = (0, 0, 0, 0);
    for container in &pod.spec.containers {
        let record = view.records.get(&container.name);
        match record.map(|r| (&r.state, r.ended())) {
            Some((State::Running { .. }, _)) => running += 1,
            Some((_, Some(ended))) if ended.exit_code == 0 => succeeded += 1,
            Some((_, Some(_))) => failed += 1,
            _ => waiting += 1,
        }
    }
    let sidecar_runs = pod
        .spec
        .init_containers
        .iter()
        .filter(|c| is_sidecar(c))
        .any(|c| view.records.get(&c.name).is_some_and(Record::running));
    let stopped = succeeded + failed;
    if waiting > 0 {
        return "Pending";
    }
    if running > 0 || (stopped > 0 && sidecar_runs) {
        return "Running";
    }
    if stopped == 0 {
        return "Pending";
    }
    match policy {
        "Always" => "Running",
        "OnFailure" if failed > 0 => "Running",
        _ if failed == 0 => "Succeeded",
        _ => "Failed",
    }
}

/// A condition that keeps its transition time while its status stays.
fn condition(
    view: &View<'_>,
    type_: &str,
    fulfilled: bool,
    reason: Option<(&str, String)>,
) -> PodCondition {
    let status = if fulfilled { "True" } else { "False" };
    let known = if view.told.is_empty() { &view.pod.status.conditions[..] } else { view.told };
    let former = known.iter().find(|c| c.type_ == type_);
    let since = former
        .filter(|c| c.status == status)
        .and_then(|c| c.last_transition_time)
        .or_else(|| time(view.now));
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        last_transition_time: since,
        observed_generation: view.pod.metadata.generation,
        reason: reason.as_ref().map(|(reason, _)| (*reason).to_owned()),
        message: reason.map(|(_, message)| message).filter(|m| !m.is_empty()),
        last_probe_time: None,
    }
}

fn conditions(
    view: &View<'_>,
    status: &PodStatus,
    phase: &str,
    progress: InitProgress,
) -> Vec<PodCondition> {
    let pod = view.pod;
    let list = |names: &[&str]| format!("[{}]", names.join(" "));
    let incomplete: Vec<&str> = pod
        .spec
        .init_containers
        .iter()
        .enumerate()
        .filter(|(at, _)| match progress {
            InitProgress::At(current) => *at >= current,
            InitProgress::Failed => true,
            InitProgress::Done => false,
        })
        .filter(|(at, _)| status.init_container_statuses.get(*at).is_some_and(|s| !s.ready))
        .map(|(_, c)| c.name.as_str())
        .collect();
    let sidecars = pod.spec.init_containers.iter().zip(&status.init_container_statuses);
    let unready: Vec<&str> = sidecars
        .filter(|(c, s)| is_sidecar(c) && !s.ready)
        .map(|(c, _)| c.name.as_str())
        .chain(status.container_statuses.iter().filter(|s| !s.ready).map(|s| s.name.as_str()))
        .collect();
    let ended = match phase {
        "Succeeded" => Some(("PodCompleted", String::new())),
        "Failed" => Some(("PodFailed", String::new())),
        _ => None,
    };
    let initialized = if phase == "Succeeded" {
        condition(view, "Initialized", true, ended.clone())
    } else if incomplete.is_empty() {
        condition(view, "Initialized", true, None)
    } else {
        let message = format!("containers with incomplete status: {}", list(&incomplete));
        condition(view, "Initialized", false, Some(("ContainersNotInitialized", message)))
    };
    let problem = if ended.is_some() {
        ended
    } else if unready.is_empty() {
        None
    } else {
        let message = format!("containers with unready status: {}", list(&unready));
        Some(("ContainersNotReady", message))
    };
    let gates: Vec<String> = pod
        .spec
        .readiness_gates
        .iter()
        .filter_map(|gate| {
            let found = pod.status.conditions.iter().find(|c| c.type_ == gate.condition_type);
            match found {
                None => Some(format!(
                    "corresponding condition of pod readiness gate {:?} does not exist.",
                    gate.condition_type
                )),
                Some(c) if c.status != "True" => Some(format!(
                    "the status of pod readiness gate {:?} is not \"True\", but {}",
                    gate.condition_type, c.status
                )),
                Some(_) => None,
            }
        })
        .collect();
    let ready_problem = problem
        .clone()
        .or_else(|| (!gates.is_empty()).then(|| ("ReadinessGatesNotReady", gates.join(", "))));
    let mut all = vec![
        condition(view, "PodReadyToStartContainers", view.ip.is_some() && !view.finished, None),
        initialized,
        condition(view, "Ready", ready_problem.is_none(), ready_problem),
        condition(view, "ContainersReady", problem.is_none(), problem),
    ];
    all.extend(
        pod.status
            .conditions
            .iter()
            .filter(|c| !OWN_CONDITIONS.contains(&c.type_.as_str()))
            .cloned(),
    );
    all
}

/// The conditions that the kubelet owns.
pub const OWN_CONDITIONS: &[&str] =
    &["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

#[cfg(test)]
mod tests;
