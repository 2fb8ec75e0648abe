//! The statuses of a pod's containers. Follows `convertToAPIContainerStatuses`.

use std::collections::BTreeMap;

use apimachinery::{
    api::core::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
        ContainerStateWaiting, ContainerStatus, Pod, ResourceRequirements, VolumeMountStatus,
    },
    quantity::Quantity,
};
use jiff::Timestamp;

use super::{View, runs, time, waits};
use crate::lifecycle::{Ended, Record, State, as_container, is_sidecar};

/// Why a container waits, and how its run ended, when all of its pod's containers are restarted.
pub(crate) const RESTARTING_ALL: &str = "RestartingAllContainers";
/// The message to [`RESTARTING_ALL`].
pub(crate) const WIPED: &str = "The container is removed because RestartAllContainers in place";

/// Those of the init containers, in their order.
pub(super) fn init(view: &View<'_>) -> Vec<ContainerStatus> {
    let one = |container: &Container| {
        let mut status = status_of(view, container);
        // One that has come to its end well counts as ready.
        if !is_sidecar(container) {
            let ended = status.state.as_ref().and_then(|s| s.terminated.as_ref());
            status.ready = ended.is_some_and(|ended| ended.exit_code == 0);
        }
        status
    };
    view.pod.spec.init_containers.iter().map(one).collect()
}

/// Those of the main containers, in the order of the specification.
pub(super) fn main(view: &View<'_>) -> Vec<ContainerStatus> {
    view.pod.spec.containers.iter().map(|container| status_of(view, container)).collect()
}

/// Those of the ephemeral containers, by name. They are neither started nor ready, whatever they do.
pub(super) fn ephemeral(view: &View<'_>) -> Vec<ContainerStatus> {
    let one = |container| ContainerStatus {
        ready: false,
        started: None,
        ..status_of(view, &as_container(container))
    };
    let mut all: Vec<ContainerStatus> =
        view.pod.spec.ephemeral_containers.iter().map(one).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn terminated(ended: &Ended) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: ended.exit_code,
            // The runtime interface knows no signals.
            signal: None,
            reason: Some(ended.reason.clone()),
            message: Some(ended.message.clone()).filter(|m| !m.is_empty()),
            started_at: ended.started_at.and_then(time),
            finished_at: time(ended.finished_at)
                .filter(|_| ended.finished_at != Timestamp::UNIX_EPOCH),
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

fn status_of(view: &View<'_>, container: &Container) -> ContainerStatus {
    let blank = Record::default();
    let record = view.records.get(&container.name).unwrap_or(&blank);
    let record = record.shown.as_deref().filter(|_| !view.ending()).unwrap_or(record);
    // In a pod that ends nothing waits for another run.
    let problem = record.problem.as_ref().filter(|_| !view.ending());
    let mut id = "";
    let mut last = record.last.as_ref();
    let state = match (&record.state, problem) {
        (State::Running { started_at, id: own }, _) => {
            id = own;
            ContainerState {
                running: Some(ContainerStateRunning { started_at: time(*started_at) }),
                ..ContainerState::default()
            }
        }
        (State::Terminated(ended), Some((reason, message))) => {
            // A run that waits to be repeated shows as the last state.
            (id, last) = (&ended.id, Some(ended));
            waiting(reason, message)
        }
        (State::Terminated(ended), None) => {
            id = &ended.id;
            terminated(ended)
        }
        (State::Waiting, Some((reason, message))) => waiting(reason, message),
        (State::Waiting, None) if record.wiped => waiting(RESTARTING_ALL, WIPED),
        (State::Waiting, None) if view.pod.spec.init_containers.is_empty() => {
            waiting("ContainerCreating", "")
        }
        (State::Waiting, None) => waiting("PodInitializing", ""),
    };
    // Until it is made, its image is as the pod names it.
    let named = container.image.as_deref().unwrap_or_default();
    let image = match (id.is_empty(), record.image.as_str()) {
        (true, _) => named.to_owned(),
        (false, "") => crate::images::display_name(named),
        (false, used) => crate::images::display_name(used),
    };
    let running = record.running();
    ContainerStatus {
        name: container.name.clone(),
        image,
        image_id: if id.is_empty() { String::new() } else { record.image_id.clone() },
        container_id: Some(id.to_owned()).filter(|id| !id.is_empty()),
        ready: record.ready,
        started: Some(running && record.started),
        restart_count: record.restarts,
        last_state: Some(last.map(terminated).unwrap_or_default()),
        state: Some(state),
        resources: running.then(|| resources(container)),
        allocated_resources: if running { requests(container) } else { BTreeMap::new() },
        volume_mounts: volume_mounts(container),
        ..ContainerStatus::default()
    }
}

/// The resources that are told of a running container.
fn known(list: &BTreeMap<String, Quantity>) -> BTreeMap<String, Quantity> {
    let known = ["cpu", "memory", "ephemeral-storage"];
    list.iter()
        .filter(|(name, _)| known.contains(&name.as_str()))
        .map(|(name, quantity)| (name.clone(), *quantity))
        .collect()
}

fn requests(container: &Container) -> BTreeMap<String, Quantity> {
    container.resources.as_ref().map(|r| r.requests.clone()).unwrap_or_default()
}

fn resources(container: &Container) -> ResourceRequirements {
    let asked = container.resources.clone().unwrap_or_default();
    ResourceRequirements {
        limits: known(&asked.limits),
        requests: known(&asked.requests),
        ..ResourceRequirements::default()
    }
}

fn volume_mounts(container: &Container) -> Vec<VolumeMountStatus> {
    let mounts = container.volume_mounts.iter();
    mounts
        .map(|mount| VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: mount.read_only.filter(|read_only| *read_only),
            recursive_read_only: (mount.read_only == Some(true)).then(|| "Disabled".to_owned()),
            ..VolumeMountStatus::default()
        })
        .collect()
}

/// The containers of a pod that has ended must have ended, too: those that are not known to count as lost
/// (`TerminatePod`). A pod that never came past its init containers has lost none of the others, and no init container
/// behind the last that had its turn.
pub(super) fn account_for_all(
    pod: &Pod,
    init: &mut [ContainerStatus],
    main: &mut [ContainerStatus],
) {
    let moved = |status: &ContainerStatus| {
        !waits(status) || status.last_state.as_ref().is_some_and(|s| s.terminated.is_some())
    };
    let through = match (pod.spec.init_containers.last(), init.last()) {
        (Some(container), Some(status)) if is_sidecar(container) => {
            runs(status) && status.started == Some(true)
        }
        (_, Some(status)) => status.ready,
        _ => true,
    };
    if through || main.iter().any(moved) {
        main.iter_mut().for_each(account_for);
    }
    let begun = init.iter().rposition(moved).map_or(0, |at| at + 1);
    init[..begun].iter_mut().for_each(account_for);
}

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
