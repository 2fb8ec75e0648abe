//! NodeUnschedulable: a cordoned node takes only pods that tolerate its taint.

use crate::{
    framework::{CycleState, Filter, NodeInfo, Plugin, PodInfo, Rejection},
    queue::events::{ClusterEvent, Event},
};
use apimachinery::{
    api::core::{Node, Taint},
    taints::tolerates,
};

const NAME: &str = "NodeUnschedulable";

/// The plugin.
pub struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        NAME
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn events_to_register(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdd, ClusterEvent::NodeUpdateTaint, ClusterEvent::OwnTolerations]
    }
    /// A node that becomes schedulable; one that stays cordoned helps whom it does not keep away.
    fn hint(&self, pod: &PodInfo, event: &Event<'_>) -> bool {
        match event.node() {
            Some((old, Some(new))) => {
                tolerates_cordon(pod) || !is_cordoned(new) && old.is_none_or(is_cordoned)
            }
            Some((_, None)) => false,
            None => tolerates_cordon(pod),
        }
    }
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.unschedulable == Some(true)
}

fn tolerates_cordon(pod: &PodInfo) -> bool {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    };
    pod.pod.spec.tolerations.iter().any(|t| tolerates(t, &taint))
}

impl Filter for NodeUnschedulable {
    fn run(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        if !is_cordoned(&node.node) || tolerates_cordon(pod) {
            return Ok(());
        }
        Err(Rejection::unresolvable(NAME, "node(s) were unschedulable"))
    }
}
