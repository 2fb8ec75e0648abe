//! TaintToleration: NoSchedule and NoExecute taints keep pods away, PreferNoSchedule taints are avoided.

use crate::{
    framework::{
        CycleState, Filter, NodeInfo, Plugin, PodInfo, PreScore, Rejection, Score,
        default_normalize,
    },
    queue::events::ClusterEvent,
    snapshot::Snapshot,
};
use apimachinery::api::core::{Taint, Toleration};

const NAME: &str = "TaintToleration";

/// The plugin.
pub struct TaintToleration;

/// Whether the toleration matches the taint: `Toleration.ToleratesTaint`.
#[must_use]
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or("");
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    let key = toleration.key.as_deref().unwrap_or("");
    if !key.is_empty() && key != taint.key {
        return false;
    }
    let (own, value) =
        (toleration.value.as_deref().unwrap_or(""), taint.value.as_deref().unwrap_or(""));
    match toleration.operator.as_deref().unwrap_or("") {
        "" | "Equal" => own == value,
        "Exists" => true,
        _ => false,
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toleration_matches_by_key_value_and_effect() {
        let taint = |key: &str, value: &str, effect: &str| Taint {
            key: key.into(),
            value: Some(value.into()),
            effect: effect.into(),
            ..Taint::default()
        };
        let check = |key: &str, op: &str, value: &str, effect: &str, taint: &Taint, expected| {
            let toleration = Toleration {
                key: Some(key.into()),
                operator: Some(op.into()),
                value: Some(value.into()),
                effect: Some(effect.into()),
                ..Toleration::default()
            };
            assert_eq!(tolerates(&toleration, taint), expected, "{toleration:?} {taint:?}");
        };
        let gpu = taint("dedicated", "gpu", "NoSchedule");
        check("dedicated", "Equal", "gpu", "NoSchedule", &gpu, true);
        check("dedicated", "", "gpu", "", &gpu, true);
        check("dedicated", "Equal", "web", "NoSchedule", &gpu, false);
        check("dedicated", "Exists", "", "NoExecute", &gpu, false);
        check("dedicated", "Exists", "", "", &gpu, true);
        check("", "Exists", "", "", &gpu, true);
        check("other", "Exists", "", "", &gpu, false);
        check("dedicated", "Odd", "gpu", "", &gpu, false);
    }
}
