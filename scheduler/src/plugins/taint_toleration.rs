//! TaintToleration: NoSchedule and NoExecute taints keep pods away, PreferNoSchedule taints are avoided.

use crate::{
    framework::{
        CycleState, Filter, NodeInfo, Plugin, PodInfo, PreScore, Rejection, Score,
        default_normalize,
    },
    queue::events::ClusterEvent,
    snapshot::Snapshot,
};
use apimachinery::{api::core::Toleration, taints::tolerates};

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
    fn pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn score(&self) -> Option<&dyn Score> {
        Some(self)
    }
    fn events_to_register(&self) -> Vec<ClusterEvent> {
        vec![
            ClusterEvent::NodeAdd,
            ClusterEvent::NodeUpdateTaint,
            ClusterEvent::UnscheduledPodUpdate,
        ]
    }
}

impl Filter for TaintToleration {
    fn run(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let untolerated = node.node.spec.taints.iter().any(|taint| {
            matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
                && !pod.pod.spec.tolerations.iter().any(|t| tolerates(t, taint))
        });
        if untolerated {
            return Err(Rejection::unresolvable(NAME, "node(s) had untolerated taint(s)"));
        }
        Ok(())
    }
}

impl PreScore for TaintToleration {
    fn run(&self, _: &mut CycleState, _: &PodInfo, nodes: &[&NodeInfo], _: &Snapshot) -> bool {
        nodes.iter().any(|n| n.node.spec.taints.iter().any(|t| t.effect == "PreferNoSchedule"))
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
