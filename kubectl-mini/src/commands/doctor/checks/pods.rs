//! Pods: placed, their images there, running, ready.

use apimachinery::{
    api::core::{ContainerStatus, Pod},
    object::ObjectKey,
};
use serde_json::Value;

use super::super::{
    finding::{Finding, Subject},
    snapshot::{Snapshot, has_ended, is_going, is_ready},
};

/// Why a container's image is not there.
const IMAGE: [&str; 4] =
    ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];
/// Why a container cannot be started, or ends again and again.
const CRASH: [&str; 4] =
    ["CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"];

fn subject(key: &ObjectKey) -> Subject {
    Subject::new("Pod", key.namespace.as_str(), key.name.as_str())
}

/// The pods that should be running.
fn wanted(snapshot: &Snapshot) -> impl Iterator<Item = (&ObjectKey, &Pod)> {
    snapshot.pods.iter().filter(|(_, pod)| !has_ended(pod) && !is_going(pod))
}

fn is_placed(pod: &Pod) -> bool {
    !pod.spec.node_name.as_deref().unwrap_or_default().is_empty()
}

pub(super) fn pending(snapshot: &Snapshot) -> Vec<Finding> {
    let pending = wanted(snapshot).filter(|(_, pod)| !is_placed(pod));
    pending.map(|(key, pod)| unplaced(snapshot, key, pod)).collect()
}

fn unplaced(snapshot: &Snapshot, key: &ObjectKey, pod: &Pod) -> Finding {
    let explain = format!("kubectl-mini explain-schedule {} -n {}", key.name, key.namespace);
    let finding = |cause: String, fix: String| Finding::new("pending", subject(key), cause, fix);
    let told = match snapshot.explanations.get(key) {
        Some(Ok(told)) => &told["status"],
        Some(Err(why)) => {
            let fix = "kube-mini logs kube-scheduler".to_owned();
            return finding("waits for a node, and nobody places it".to_owned(), fix).because(why);
        }
        None => {
            let condition = pod.status.conditions.iter().find(|c| c.type_ == "PodScheduled");
            let message = condition.and_then(|c| c.message.clone()).unwrap_or_default();
            return finding("waits for a node".to_owned(), explain).because(message);
        }
    };
    match told["state"].as_str().unwrap_or_default() {
        "Gated" => {
            let gates = pod.spec.scheduling_gates.iter().map(|gate| gate.name.clone());
            let gates: Vec<String> = gates.collect();
            let fix = format!("kubectl-mini edit pod {} -n {}", key.name, key.namespace);
            finding(format!("is held up by its scheduling gates {}", gates.join(", ")), fix)
        }
        "Foreign" => {
            let name = told["schedulerName"].as_str().unwrap_or_default();
            let fix = format!("kubectl-mini delete pod {} -n {}", key.name, key.namespace);
            finding(format!("asks for the scheduler {name:?}, which is not here"), fix)
        }
        _ => {
            let mut finding = finding("fits on no node".to_owned(), explain);
            finding.evidence = refusals(&told["nodes"]);
            if finding.evidence.is_empty() {
                finding.evidence.push("there is no node at all".to_owned());
            }
            finding
        }
    }
}

/// Which filter refuses which nodes, alike ones together.
fn refusals(nodes: &Value) -> Vec<String> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for node in nodes.as_array().into_iter().flatten() {
        let name = node["name"].as_str().unwrap_or_default();
        if node["feasible"] == true {
            continue;
        }
        let reasons = node["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let reasons: Vec<&str> = reasons.collect();
        let filter = node["plugin"].as_str().unwrap_or_default();
        let why = format!("{filter}: {}", reasons.join("; "));
        match groups.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(name),
            None => groups.push((why, vec![name])),
        }
    }
    groups.into_iter().map(|(why, names)| format!("{}: {why}", names.join(", "))).collect()
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses)
}

/// Why a container waits: reason and message.
fn waits(status: &ContainerStatus) -> Option<(&str, &str)> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    Some((waiting.reason.as_deref()?, waiting.message.as_deref().unwrap_or_default()))
}

pub(super) fn image(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, pod) in wanted(snapshot) {
        for status in statuses(pod) {
            let Some((reason, message)) =
                waits(status).filter(|(reason, _)| IMAGE.contains(reason))
            else {
                continue;
            };
            let owner = owner(pod).unwrap_or_else(|| format!("pod/{}", key.name));
            let fix = format!(
                "kubectl-mini set image {owner} {}=IMAGE -n {}",
                status.name, key.namespace
            );
            let cause =
                format!("the image {} of container {} cannot be had", status.image, status.name);
            let event = snapshot.warning("Pod", key, &["Failed"]);
            let detail = event.and_then(|event| event.message.clone());
            let finding = Finding::new("image", subject(key), cause, fix);
            findings.push(
                finding
                    .because(format!("{reason}: {}", detail.unwrap_or_else(|| message.to_owned()))),
            );
        }
    }
    findings
}

/// What would make the pod anew: its Deployment, as far as its ReplicaSet's name tells.
fn owner(pod: &Pod) -> Option<String> {
    let owner =
        pod.metadata.owner_references.iter().find(|owner| owner.controller == Some(true))?;
    match owner.kind.as_str() {
        "ReplicaSet" => owner.name.rsplit_once('-').map(|(name, _)| format!("deployment/{name}")),
        kind => Some(format!("{}/{}", kind.to_lowercase(), owner.name)),
    }
}

pub(super) fn crash(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, pod) in wanted(snapshot) {
        for status in statuses(pod) {
            let Some((reason, message)) =
                waits(status).filter(|(reason, _)| CRASH.contains(reason))
            else {
                continue;
            };
            let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let (cause, fix) = match last.filter(|_| reason == "CrashLoopBackOff") {
                Some(last) => (
                    format!(
                        "container {} ends again and again: {}, exit code {}",
                        status.name,
                        last.reason.as_deref().unwrap_or("ended"),
                        last.exit_code
                    ),
                    format!(
                        "kubectl-mini logs {} -c {} --previous -n {}",
                        key.name, status.name, key.namespace
                    ),
                ),
                None => (
                    format!("container {} cannot be started", status.name),
                    format!("kubectl-mini describe pod {} -n {}", key.name, key.namespace),
                ),
            };
            let evidence = format!("{reason}: {message}; {} restarts", status.restart_count);
            findings.push(Finding::new("crash", subject(key), cause, fix).because(evidence));
        }
    }
    findings
}

pub(super) fn not_ready(snapshot: &Snapshot) -> Vec<Finding> {
    let unready = wanted(snapshot).filter(|(_, pod)| is_placed(pod) && !is_ready(pod));
    unready
        .filter(|(_, pod)| {
            // Those have findings of their own, which are the cause.
            let known = |status: &ContainerStatus| {
                waits(status)
                    .is_some_and(|(reason, _)| IMAGE.contains(&reason) || CRASH.contains(&reason))
            };
            let node = pod.spec.node_name.as_deref().and_then(|node| snapshot.nodes.get(node));
            let lost = node.is_some_and(|node| {
                !node.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
            });
            !lost && !statuses(pod).any(known)
        })
        .map(|(key, pod)| unready_pod(snapshot, key, pod))
        .collect()
}

fn unready_pod(snapshot: &Snapshot, key: &ObjectKey, pod: &Pod) -> Finding {
    let describe = format!("kubectl-mini describe pod {} -n {}", key.name, key.namespace);
    let finding = |cause: String| Finding::new("not-ready", subject(key), cause, describe.clone());
    let message = |reasons: &[&str]| {
        snapshot.warning("Pod", key, reasons).and_then(|event| event.message.clone())
    };
    let creating = statuses(pod).any(|status| {
        waits(status)
            .is_some_and(|(reason, _)| matches!(reason, "ContainerCreating" | "PodInitializing"))
    });
    if creating || pod.status.container_statuses.is_empty() {
        let cause = "its containers are not started yet".to_owned();
        let reasons = ["FailedCreatePodSandBox", "FailedMount", "FailedAttachVolume", "Failed"];
        return match message(&reasons) {
            Some(why) => finding(cause).because(why),
            None => finding(cause),
        };
    }
    let failing = pod.status.container_statuses.iter().find(|status| !status.ready);
    if let Some(status) = failing {
        if let Some(why) = message(&["Unhealthy"]) {
            let probe = why.split(" probe").next().unwrap_or("A").to_lowercase();
            let cause = format!("the {probe} probe of container {} fails", status.name);
            let fix =
                format!("kubectl-mini logs {} -c {} -n {}", key.name, status.name, key.namespace);
            return Finding::new("not-ready", subject(key), cause, fix).because(why);
        }
        let cause = format!("container {} is not ready", status.name);
        let state = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        return match state {
            Some(ended) => finding(cause).because(format!("it has ended with {}", ended.exit_code)),
            None => finding(cause).because("it runs, but no probe has passed yet"),
        };
    }
    let gate = pod.status.conditions.iter().find(|c| c.type_ == "Ready");
    let why = gate.and_then(|condition| condition.message.clone()).unwrap_or_default();
    finding("is not ready, though its containers are".to_owned()).because(why)
}
