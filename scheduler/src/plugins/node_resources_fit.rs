//! NodeResourcesFit: a node must have room for what the pod asks for; the emptier node is preferred (LeastAllocated).

use std::sync::Arc;

use apimachinery::api::core::Node;

use crate::{
    framework::{
        Code, CycleState, Filter, MAX_NODE_SCORE, NodeInfo, Plugin, PodInfo, Rejection, Resources,
        Score,
    },
    queue::events::{ClusterEvent, Event, Subject},
};

const NAME: &str = "NodeResourcesFit";

/// The plugin.
pub struct NodeResourcesFit;

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        NAME
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn score(&self) -> Option<&dyn Score> {
        Some(self)
    }
    fn events_to_register(&self) -> &'static [ClusterEvent] {
        &[
            ClusterEvent::NodeAdd,
            ClusterEvent::NodeUpdateAllocatable,
            ClusterEvent::AssignedPodDelete,
            ClusterEvent::AssignedPodScaleDown,
            ClusterEvent::OwnScaleDown,
        ]
    }
    /// A node that the pod fits when it is empty, and that gained some of what the pod wants; a pod that gave some of it
    /// back.
    fn hint(&self, pod: &PodInfo, event: &Event<'_>) -> bool {
        match event.subject {
            Subject::Node { old, new: Some(new) } => {
                let now = NodeInfo::new(Arc::new(new.clone()));
                let gained = |old: &Node| {
                    let before = NodeInfo::new(Arc::new(old.clone())).allocatable;
                    gives_more(pod, &before, &now.allocatable)
                };
                insufficient(pod, &now).is_empty() && old.is_none_or(gained)
            }
            Subject::Node { new: None, .. } => false,
            Subject::Pod { old: Some(old), new: Some(new) } => {
                old.uid() == pod.uid() || gives_more(pod, &new.requests, &old.requests)
            }
            Subject::Pod { .. } => true,
        }
    }
}

/// What of a pod's requests does not fit; the flag tells that it would not fit into the empty node either.
#[must_use]
pub fn insufficient(pod: &PodInfo, node: &NodeInfo) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let count = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
    if count + 1 > node.allocatable.pods {
        found.push(("Too many pods".to_owned(), node.allocatable.pods < 1));
    }
    let mut check = |name: &str, wanted: i64, used: i64, allocatable: i64| {
        if wanted > 0 && wanted > allocatable - used {
            found.push((format!("Insufficient {name}"), wanted > allocatable));
        }
    };
    let (want, used, have) = (&pod.requests, &node.requested, &node.allocatable);
    check("cpu", want.milli_cpu, used.milli_cpu, have.milli_cpu);
    check("memory", want.memory, used.memory, have.memory);
    check(
        "ephemeral-storage",
        want.ephemeral_storage,
        used.ephemeral_storage,
        have.ephemeral_storage,
    );
    for (name, wanted) in &want.scalar {
        let of = |r: &Resources| r.scalar.get(name).copied().unwrap_or(0);
        check(name, *wanted, of(used), of(have));
    }
    found
}

/// Whether there is more of something that the pod asks for.
fn gives_more(pod: &PodInfo, before: &Resources, now: &Resources) -> bool {
    let want = &pod.requests;
    let of = |r: &Resources, name: &str| r.scalar.get(name).copied().unwrap_or(0);
    now.pods > before.pods
        || want.milli_cpu > 0 && now.milli_cpu > before.milli_cpu
        || want.memory > 0 && now.memory > before.memory
        || want.ephemeral_storage > 0 && now.ephemeral_storage > before.ephemeral_storage
        || want.scalar.iter().any(|(name, want)| *want > 0 && of(now, name) > of(before, name))
}

impl Filter for NodeResourcesFit {
    fn run(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let found = insufficient(pod, node);
        if found.is_empty() {
            return Ok(());
        }
        let code = if found.iter().any(|(_, hopeless)| *hopeless) {
            Code::UnschedulableAndUnresolvable
        } else {
            Code::Unschedulable
        };
        let reasons = found.into_iter().map(|(reason, _)| reason).collect();
        Err(Rejection { plugin: NAME, code, reasons })
    }
}

impl Score for NodeResourcesFit {
    /// LeastAllocated over cpu and memory, each with weight 1; a resource that the node has none of does not count.
    fn run(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let (mut sum, mut weight) = (0, 0);
        for (requested, capacity) in [
            (node.non_zero.0 + pod.non_zero.0, node.allocatable.milli_cpu),
            (node.non_zero.1 + pod.non_zero.1, node.allocatable.memory),
        ] {
            if capacity == 0 {
                continue;
            }
            weight += 1;
            if requested <= capacity {
                sum += (capacity - requested) * MAX_NODE_SCORE / capacity;
            }
        }
        if weight == 0 { 0 } else { sum / weight }
    }
}
