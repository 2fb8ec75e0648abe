//! One sync of a ReplicaSet, as a pure function.

use std::{sync::Arc, time::Duration};

use apimachinery::{
    api::{
        apps::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::Pod,
        meta::{ObjectMeta, OwnerReference},
    },
    labels::Selector,
    time::Time,
};
use jiff::Timestamp;

use super::ranking;

/// The most pods created or deleted in one sync: `BurstReplicas`.
pub const BURST: usize = 500;

/// What a sync looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The ReplicaSet.
    pub set: Arc<ReplicaSet>,
    /// All pods of its namespace that it controls or could adopt.
    pub pods: Vec<Arc<Pod>>,
    /// Pods of other ReplicaSets of the same owner, for the ranking: those on a node with many relatives go first.
    pub related: Vec<Arc<Pod>>,
    /// False while earlier writes are not in the cache yet: then only the status is worked out.
    pub settled: bool,
    /// Wall clock.
    pub now: Timestamp,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Orphans that match: they get the ReplicaSet as their controller.
    pub adopt: Vec<Arc<Pod>>,
    /// Pods that match no longer: they lose it.
    pub release: Vec<Arc<Pod>>,
    /// How many pods to create.
    pub create: usize,
    /// The pods to delete, in this order.
    pub delete: Vec<Arc<Pod>>,
    /// The pods that are counted, before creations and deletions.
    pub claimed: Vec<Arc<Pod>>,
    /// How many of its pods are being deleted but have not ended.
    pub terminating: usize,
    /// Look again after this long: a ready pod becomes available.
    pub requeue_after: Option<Duration>,
}

/// Whether a pod still runs or will run: `IsPodActive`.
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    !matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
        && pod.metadata.deletion_timestamp.is_none()
}

/// Whether a pod of the set is being deleted and has not ended: `FilterTerminatingPods`.
fn is_leaving(pod: &Pod, set: &ReplicaSet, selector: &Selector) -> bool {
    let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let own = controller_of(&pod.metadata)
        .is_some_and(|owner| Some(&owner.uid) == set.metadata.uid.as_ref());
    own && !ended
        && pod.metadata.deletion_timestamp.is_some()
        && selector.matches(&pod.metadata.labels)
}

/// The condition `Ready` of a pod, if it is true.
fn ready_since(pod: &Pod) -> Option<Option<Timestamp>> {
    let ready = pod.status.conditions.iter().find(|c| c.type_ == "Ready" && c.status == "True")?;
    Some(ready.last_transition_time.as_ref().map(|t| t.0))
}

/// Whether the pod is ready.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// How long until a ready pod is available; zero: it is. None: it is not ready.
fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    let since = ready_since(pod)?;
    if min_ready_seconds <= 0 {
        return Some(Duration::ZERO);
    }
    let due = since?.as_second() + i64::from(min_ready_seconds);
    Some(Duration::from_secs(u64::try_from(due - now.as_second()).unwrap_or(0)))
}

/// The owner that controls an object.
#[must_use]
pub fn controller_of(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().find(|o| o.controller == Some(true))
}

/// Decides one sync.
#[must_use]
pub fn plan(snapshot: &Snapshot) -> Plan {
    let set = &snapshot.set;
    let mut plan = Plan::default();
    let Ok(selector) = Selector::from_label_selector(Some(&set.spec.selector)) else {
        return plan;
    };
    let deleting = set.metadata.deletion_timestamp.is_some();
    for pod in snapshot.pods.iter().filter(|pod| is_active(pod)) {
        let matches = selector.matches(&pod.metadata.labels);
        match controller_of(&pod.metadata) {
            Some(owner) if Some(&owner.uid) != set.metadata.uid.as_ref() => {}
            Some(_) if matches => plan.claimed.push(pod.clone()),
            Some(_) if !deleting => plan.release.push(pod.clone()),
            Some(_) => {}
            None if matches && !deleting => {
                plan.adopt.push(pod.clone());
                plan.claimed.push(pod.clone());
            }
            None => {}
        }
    }
    plan.terminating = snapshot.pods.iter().filter(|pod| is_leaving(pod, set, &selector)).count();
    let min_ready = set.spec.min_ready_seconds.unwrap_or(0);
    plan.requeue_after = plan
        .claimed
        .iter()
        .filter_map(|pod| available_in(pod, min_ready, snapshot.now))
        .filter(|left| !left.is_zero())
        .min();
    if deleting || !snapshot.settled {
        return plan;
    }
    let desired = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
    let have = plan.claimed.len();
    if have < desired {
        plan.create = (desired - have).min(BURST);
    } else if have > desired {
        let excess = (have - desired).min(BURST);
        plan.delete = ranking::first_to_go(&plan.claimed, &snapshot.related, snapshot.now, excess);
    }
    plan
}

/// The status that the counted pods and those on their way out give; `failure` is the reason and message of a failed creation or deletion.
#[must_use]
pub fn status(
    set: &ReplicaSet,
    claimed: &[Arc<Pod>],
    terminating: usize,
    failure: Option<(&str, String)>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let template_labels = set.spec.template.as_ref().map(|t| &t.metadata.labels);
    let min_ready = set.spec.min_ready_seconds.unwrap_or(0);
    let count = |n: usize| i32::try_from(n).ok().filter(|n| *n != 0);
    let labelled = claimed.iter().filter(|pod| {
        template_labels
            .is_none_or(|labels| labels.iter().all(|(k, v)| pod.metadata.labels.get(k) == Some(v)))
    });
    let ready = claimed.iter().filter(|pod| is_ready(pod));
    let available = claimed
        .iter()
        .filter(|pod| available_in(pod, min_ready, now).is_some_and(|left| left.is_zero()));
    let mut status = ReplicaSetStatus {
        replicas: i32::try_from(claimed.len()).unwrap_or(i32::MAX),
        fully_labeled_replicas: count(labelled.count()),
        ready_replicas: count(ready.count()),
        available_replicas: count(available.count()),
        observed_generation: set.metadata.generation,
        conditions: set.status.conditions.clone(),
        terminating_replicas: i32::try_from(terminating).ok(),
    };
    let current = status.conditions.iter().position(|c| c.type_ == "ReplicaFailure");
    match (failure, current) {
        (Some((reason, message)), None) => status.conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: Some(Time(now).truncated()),
        }),
        (None, Some(at)) => {
            status.conditions.remove(at);
        }
        _ => {}
    }
    status
}

/// A new pod of the template.
#[must_use]
pub fn new_pod(set: &ReplicaSet) -> Pod {
    let template = set.spec.template.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default())),
            namespace: set.metadata.namespace.clone(),
            labels: template.metadata.labels,
            annotations: template.metadata.annotations,
            finalizers: template.metadata.finalizers,
            owner_references: vec![OwnerReference {
                api_version: "apps/v1".into(),
                kind: "ReplicaSet".into(),
                name: set.metadata.name.clone().unwrap_or_default(),
                uid: set.metadata.uid.clone().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }],
            ..ObjectMeta::default()
        },
        spec: template.spec,
        ..Pod::default()
    }
}

#[cfg(test)]
mod tests;
