//! NodeName: a pod that names its node goes nowhere else.

use crate::{
    framework::{CycleState, Filter, NodeInfo, Plugin, PodInfo, Rejection},
    queue::events::ClusterEvent,
};

const NAME: &str = "NodeName";

/// The plugin.
pub struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        NAME
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn events_to_register(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdd]
    }
}

impl Filter for NodeName {
    fn run(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        match pod.pod.spec.node_name.as_deref() {
            None | Some("") => Ok(()),
            Some(name) if name == &*node.name => Ok(()),
            Some(_) => {
                Err(Rejection::unresolvable(NAME, "node(s) didn't match the requested node name"))
            }
        }
    }
}
