//! Which pods go first: `ActivePodsWithRanks`.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use apimachinery::api::core::Pod;
use jiff::Timestamp;

use super::plan::{is_active, is_ready};

/// The annotation by which users say how dear a pod is.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Chooses `count` pods. In this order a pod goes before another: not assigned; pending before unknown before
/// running; not ready; of lower deletion cost; on a node with more relatives; ready for a shorter time; with more restarts;
/// younger. Times count by their magnitude, and where that is the same, the uid decides.
#[must_use]
pub fn first_to_go(
    pods: &[Arc<Pod>],
    related: &[Arc<Pod>],
    now: Timestamp,
    count: usize,
) -> Vec<Arc<Pod>> {
    let mut per_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| is_active(pod)) {
        if let Some(node) = pod.spec.node_name.as_deref() {
            *per_node.entry(node).or_default() += 1;
        }
    }
    let rank = |pod: &Pod| {
        pod.spec.node_name.as_deref().and_then(|n| per_node.get(n)).copied().unwrap_or(0)
    };
    let mut sorted: Vec<(Arc<Pod>, usize)> =
        pods.iter().map(|pod| (pod.clone(), rank(pod))).collect();
    sorted.sort_by(|(a, rank_a), (b, rank_b)| compare(a, *rank_a, b, *rank_b, now));
    sorted.into_iter().take(count).map(|(pod, _)| pod).collect()
}

fn compare(a: &Pod, rank_a: usize, b: &Pod, rank_b: usize, now: Timestamp) -> Ordering {
    let assigned = |pod: &Pod| pod.spec.node_name.as_deref().is_some_and(|n| !n.is_empty());
    let phase = |pod: &Pod| match pod.status.phase.as_deref() {
        None | Some("Pending" | "") => 0,
        Some("Unknown") => 1,
        _ => 2,
    };
    let cost = |pod: &Pod| -> i32 {
        pod.metadata.annotations.get(DELETION_COST).and_then(|c| c.parse().ok()).unwrap_or(0)
    };
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| rank_b.cmp(&rank_a))
        .then_with(|| younger_first(a, b, ready_time, now))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| younger_first(a, b, created, now))
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|t| t.0)
}

fn ready_time(pod: &Pod) -> Option<Timestamp> {
    let ready = pod.status.conditions.iter().find(|c| c.type_ == "Ready" && c.status == "True")?;
    ready.last_transition_time.as_ref().map(|t| t.0)
}

/// The most restarts of a container, and of a sidecar.
fn restarts(pod: &Pod) -> (i32, i32) {
    let status = &pod.status;
    let sidecar = |name: &str| {
        let own = pod.spec.init_containers.iter().find(|c| c.name == name);
        own.is_some_and(|c| c.restart_policy.as_deref() == Some("Always"))
    };
    let regular = status.container_statuses.iter().map(|c| c.restart_count).max();
    let sidecars = status.init_container_statuses.iter().filter(|c| sidecar(&c.name));
    (regular.unwrap_or(0), sidecars.map(|c| c.restart_count).max().unwrap_or(0))
}

/// Orders by a time, the later first; a missing one is the latest. Two that differ count by the magnitude of their age
/// (powers of two of nanoseconds), so that the choice among pods of about the same age is left to chance, which is the
/// uid: LogarithmicScaleDown.
fn younger_first(
    a: &Pod,
    b: &Pod,
    time: fn(&Pod) -> Option<Timestamp>,
    now: Timestamp,
) -> Ordering {
    let (at, bt) = (time(a), time(b));
    if at == bt {
        return Ordering::Equal;
    }
    let (Some(at), Some(bt)) = (at, bt) else {
        return at.is_some().cmp(&bt.is_some());
    };
    let magnitude = |time: Timestamp| {
        let age = now.as_nanosecond() - time.as_nanosecond();
        u128::try_from(age).unwrap_or(0).checked_ilog2()
    };
    magnitude(at).cmp(&magnitude(bt)).then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}
