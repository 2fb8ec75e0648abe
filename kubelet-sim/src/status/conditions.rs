//! The conditions of a pod that the kubelet owns; all others stay as they are. Follows `pkg/kubelet/status/generate.go`.

use apimachinery::api::core::{Container, ContainerStatus, PodCondition};

use super::{Failure, View, time, waits};
use crate::lifecycle::{is_sidecar, may_restart_all, restarting_all};

/// The conditions that the kubelet owns alone, in the order in which it tells them.
const OWN_CONDITIONS: &[&str] = &[
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "AllContainersRestarting",
    "PodScheduled",
];

/// The condition of a pod that was ended for the sake of something else; others than the kubelet may set it, too.
const DISRUPTION_TARGET: &str = "DisruptionTarget";
/// Its reason where the kubelet did.
const BY_KUBELET: &str = "TerminationByKubelet";

/// Whether a condition is the kubelet's.
#[must_use]
pub fn is_own(condition: &PodCondition) -> bool {
    OWN_CONDITIONS.contains(&condition.type_.as_str())
        || condition.reason.as_deref() == Some(BY_KUBELET)
}

type Reason = (&'static str, String);

/// A condition that keeps its transition time while its status stays.
fn condition(
    view: &View<'_>,
    type_: &str,
    fulfilled: bool,
    reason: Option<Reason>,
) -> PodCondition {
    let status = if fulfilled { "True" } else { "False" };
    let since = former(view, type_)
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

/// A condition as it was told before.
fn former<'a>(view: &View<'a>, type_: &str) -> Option<&'a PodCondition> {
    let known = view.told.map_or(&view.pod.status.conditions, |told| &told.conditions);
    known.iter().find(|c| c.type_ == type_)
}

fn named(what: &str, names: &[&str]) -> String {
    format!("containers with {what} status: [{}]", names.join(" "))
}

/// All conditions of a pod whose phase is, or will be as soon as nothing runs any more, `phase`.
pub(super) fn all(
    view: &View<'_>,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    phase: &str,
) -> Vec<PodCondition> {
    let pod = view.pod;
    let ended: Option<Reason> = match phase {
        "Succeeded" => Some(("PodCompleted", String::new())),
        "Failed" => Some(("PodFailed", String::new())),
        _ => None,
    };
    let (is_initialized, why) = initialized(view, init, main, phase);
    let containers_problem = ended.clone().or_else(|| unready(view, init, main));
    let problem = containers_problem.clone().or_else(|| closed_gates(view));
    let disrupted = view.failure.filter(|f| *f == Failure::NodeShutdown && view.finished);
    let foreign = pod.status.conditions.iter().filter(|c| !is_own(c));
    let foreign = foreign.filter(|c| disrupted.is_none() || c.type_ != DISRUPTION_TARGET);
    let mut all: Vec<PodCondition> = foreign.cloned().collect();
    let sandbox = view.ip.is_some() && !view.finished;
    all.extend([
        condition(view, "PodReadyToStartContainers", sandbox, None),
        condition(view, "Initialized", is_initialized, why),
        condition(view, "Ready", problem.is_none(), problem),
        condition(view, "ContainersReady", containers_problem.is_none(), containers_problem),
    ]);
    if may_restart_all(pod) {
        let restarting = ended.is_none() && restarting_all(pod, view.records);
        let message = "container exited with restart policy rule".to_owned();
        let why = restarting.then_some(("RestartAllContainersStarted", message)).or(ended);
        all.push(condition(view, "AllContainersRestarting", restarting, why));
    }
    all.push(condition(view, "PodScheduled", true, None));
    if let Some(failure) = disrupted {
        let why = (BY_KUBELET, failure.message().to_owned());
        all.push(condition(view, DISRUPTION_TARGET, true, Some(why)));
    }
    all
}

/// A pod that was initialized stays so: only its first time counts.
fn initialized(
    view: &View<'_>,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    phase: &str,
) -> (bool, Option<Reason>) {
    if phase == "Succeeded" {
        return (true, Some(("PodCompleted", String::new())));
    }
    let incomplete = |(container, status): &(&Container, &ContainerStatus)| {
        if is_sidecar(container) { status.started != Some(true) } else { !status.ready }
    };
    let incomplete: Vec<&str> = view
        .pod
        .spec
        .init_containers
        .iter()
        .zip(init)
        .filter(incomplete)
        .map(|(container, _)| container.name.as_str())
        .collect();
    let main_started = main.iter().any(|status| !waits(status));
    let before = former(view, "Initialized").is_some_and(|c| c.status == "True");
    if incomplete.is_empty() || main_started || before {
        return (true, None);
    }
    (false, Some(("ContainersNotInitialized", named("incomplete", &incomplete))))
}

fn unready(view: &View<'_>, init: &[ContainerStatus], main: &[ContainerStatus]) -> Option<Reason> {
    let spec = &view.pod.spec;
    let sidecars = spec.init_containers.iter().zip(init).filter(|(c, _)| is_sidecar(c));
    let unready: Vec<&str> = sidecars
        .chain(spec.containers.iter().zip(main))
        .filter(|(_, status)| !status.ready)
        .map(|(container, _)| container.name.as_str())
        .collect();
    (!unready.is_empty()).then(|| ("ContainersNotReady", named("unready", &unready)))
}

fn closed_gates(view: &View<'_>) -> Option<Reason> {
    let pod = view.pod;
    let closed: Vec<String> = pod
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
    (!closed.is_empty()).then(|| ("ReadinessGatesNotReady", closed.join(", ")))
}
