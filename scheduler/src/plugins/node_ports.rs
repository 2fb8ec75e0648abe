//! NodePorts: two pods cannot hold the same port of a node's own address.

use crate::{
    framework::{
        CycleState, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFilterOutcome, Rejection,
    },
    queue::events::{ClusterEvent, Event},
    snapshot::Snapshot,
};

const NAME: &str = "NodePorts";

/// The plugin.
pub struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        NAME
    }
    fn pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn events_to_register(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdd, ClusterEvent::AssignedPodDelete]
    }
    /// A pod that went frees the port, if it had a port that this one wants.
    fn hint(&self, pod: &PodInfo, event: &Event<'_>) -> bool {
        match event.pods() {
            (Some(gone), None) => conflict(pod, gone),
            _ => true,
        }
    }
}

fn conflict(pod: &PodInfo, other: &PodInfo) -> bool {
    other.host_ports.iter().any(|used| pod.host_ports.iter().any(|wanted| wanted.conflicts(used)))
}

impl PreFilter for NodePorts {
    fn run(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
    ) -> Result<PreFilterOutcome, Rejection> {
        Ok(if pod.host_ports.is_empty() {
            PreFilterOutcome::Skip
        } else {
            PreFilterOutcome::Continue
        })
    }
}

impl Filter for NodePorts {
    fn run(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        if node.pods.iter().any(|other| conflict(pod, other)) {
            return Err(Rejection::unschedulable(
                NAME,
                "node(s) didn't have free ports for the requested pod ports",
            ));
        }
        Ok(())
    }
}
