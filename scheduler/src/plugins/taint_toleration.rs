//! TaintToleration: NoSchedule and NoExecute taints keep pods away, PreferNoSchedule taints are avoided.

use crate::{
    framework::{
        CycleState, Filter, NodeInfo, Plugin, PodInfo, Rejection, Score, default_normalize,
    },
    queue::events::{ClusterEvent, Event},
};
use apimachinery::{
    api::core::{Node, Pod, Toleration},
    taints::tolerates,
};

const NAME: &str = "TaintToleration";

/// The plugin.
pub struct TaintToleration;

impl Plugin for TaintToleration {
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
        &[ClusterEvent::NodeAdd, ClusterEvent::NodeUpdateTaint, ClusterEvent::OwnTolerations]
    }
    /// A node whose last untolerated taint went.
    fn hint(&self, pod: &PodInfo, event: &Event<'_>) -> bool {
        match event.node() {
            Some((old, Some(new))) => {
                tolerates_all(&pod.pod, new) && old.is_none_or(|old| !tolerates_all(&pod.pod, old))
            }
            Some((_, None)) => false,
            None => true,
        }
    }
}

/// Whether no taint of the node keeps the pod away.
pub(super) fn tolerates_all(pod: &Pod, node: &Node) -> bool {
    node.spec.taints.iter().all(|taint| {
        !matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
            || pod.spec.tolerations.iter().any(|t| tolerates(t, taint))
    })
}

impl Filter for TaintToleration {
    fn run(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        if tolerates_all(&pod.pod, &node.node) {
            return Ok(());
        }
        Err(Rejection::unresolvable(NAME, "node(s) had untolerated taint(s)"))
    }
}

impl Score for TaintToleration {
    fn run(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let preferring =
            |t: &&Toleration| matches!(t.effect.as_deref(), None | Some("" | "PreferNoSchedule"));
        let intolerable = node.node.spec.taints.iter().filter(|taint| {
            taint.effect == "PreferNoSchedule"
                && !pod.pod.spec.tolerations.iter().filter(preferring).any(|t| tolerates(t, taint))
        });
        i64::try_from(intolerable.count()).unwrap_or(i64::MAX)
    }

    fn normalize(&self, _: &CycleState, _: &PodInfo, _: &[&NodeInfo], scores: &mut [i64]) {
        default_normalize(scores, true);
    }
}
