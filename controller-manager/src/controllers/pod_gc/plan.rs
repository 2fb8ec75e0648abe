//! One sweep, as a pure function.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use apimachinery::api::core::{Node, Pod};

/// How long a node may be missing before its pods go: `quarantineTime`.
pub const QUARANTINE: Duration = Duration::from_secs(40);
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// What a sweep looks at.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All pods.
    pub pods: Vec<Arc<Pod>>,
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
    /// Nodes that were missing at the last sweep, and since when.
    pub quarantine: BTreeMap<String, Duration>,
    /// How many pods that have ended may stay; 0 and less: any number.
    pub threshold: i32,
    /// This process's own clock.
    pub now: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Pods to delete, in this order.
    pub delete: Vec<Arc<Pod>>,
    /// Nodes that were missing for long enough, with their pods: to be deleted once the API has confirmed it.
    pub absent: BTreeMap<String, Vec<Arc<Pod>>>,
    /// The missing nodes now.
    pub quarantine: BTreeMap<String, Duration>,
    /// When the next of them has been missing for long enough.
    pub again: Option<Duration>,
}

/// Whether a pod will not run any more: neither Pending, Running nor Unknown.
#[must_use]
pub fn has_ended(pod: &Pod) -> bool {
    !matches!(pod.status.phase.as_deref(), Some("Pending" | "Running" | "Unknown"))
}

/// Whether somebody has declared the node to be out of service.
#[must_use]
pub fn is_out_of_service(node: &Node) -> bool {
    node.spec.taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

/// Decides one sweep.
#[must_use]
pub fn plan(snapshot: &Snapshot) -> Plan {
    let nodes: HashMap<&str, &Arc<Node>> = snapshot
        .nodes
        .iter()
        .filter_map(|node| Some((node.metadata.name.as_deref()?, node)))
        .collect();
    let deleted = |pod: &&Arc<Pod>| pod.metadata.deletion_timestamp.is_some();
    let node_of = |pod: &Pod| pod.spec.node_name.clone().filter(|name| !name.is_empty());

    let mut delete = excess(snapshot);
    delete.extend(in_order(snapshot.pods.iter().filter(deleted).filter(|pod| {
        let node = node_of(pod).and_then(|name| nodes.get(name.as_str()).copied());
        node.is_some_and(|node| is_out_of_service(node) && !is_ready(node))
    })));
    delete.extend(snapshot.pods.iter().filter(deleted).filter(|p| node_of(p).is_none()).cloned());
    let mut seen = BTreeSet::new();
    delete.retain(|pod| seen.insert(pod.metadata.uid.clone()));

    let mut plan = Plan { delete, ..Plan::default() };
    let mut missing: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in &snapshot.pods {
        if let Some(name) = node_of(pod).filter(|name| !nodes.contains_key(name.as_str())) {
            missing.entry(name).or_default().push(pod.clone());
        }
    }
    for (node, pods) in missing {
        let since = snapshot.quarantine.get(&node).copied().unwrap_or(snapshot.now);
        let left = (since + QUARANTINE).saturating_sub(snapshot.now);
        if left.is_zero() {
            plan.absent.insert(node.clone(), pods);
        } else {
            plan.again = Some(plan.again.map_or(left, |again| again.min(left)));
        }
        plan.quarantine.insert(node, since);
    }
    plan
}

/// The pods that have ended and are too many.
fn excess(snapshot: &Snapshot) -> Vec<Arc<Pod>> {
    let Some(threshold) = usize::try_from(snapshot.threshold).ok().filter(|n| *n > 0) else {
        return Vec::new();
    };
    let mut ended = in_order(snapshot.pods.iter().filter(|pod| has_ended(pod)));
    ended.truncate(ended.len().saturating_sub(threshold));
    ended
}

/// Evicted pods first, then the older, then by name: `byEvictionAndCreationTimestamp`.
fn in_order<'a>(pods: impl Iterator<Item = &'a Arc<Pod>>) -> Vec<Arc<Pod>> {
    let mut pods: Vec<Arc<Pod>> = pods.cloned().collect();
    let evicted = |pod: &Pod| {
        pod.status.phase.as_deref() == Some("Failed")
            && pod.status.reason.as_deref() == Some("Evicted")
    };
    pods.sort_by_key(|pod| {
        (!evicted(pod), pod.metadata.creation_timestamp, pod.metadata.name.clone())
    });
    pods
}

fn is_ready(node: &Node) -> bool {
    node.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}
