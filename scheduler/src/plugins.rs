//! The scheduler's policy: one plugin per file, one line per plugin in [`registry`].

pub mod balanced_allocation;
pub mod image_locality;
pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_resources_fit;
pub mod node_unschedulable;
pub mod pod_topology_spread;
pub mod scheduling_gates;
pub mod spread_index;
pub mod taint_toleration;

use crate::framework::Plugin;

/// A plugin and the weight of its score.
pub struct Registration {
    /// The plugin.
    pub plugin: Box<dyn Plugin>,
    /// What its scores are multiplied by.
    pub weight: i64,
}

/// The default profile's plugins in Kubernetes' order, with its weights (`getDefaultPlugins`).
#[must_use]
pub fn registry() -> Vec<Registration> {
    let with = |plugin: Box<dyn Plugin>, weight| Registration { plugin, weight };
    vec![
        with(Box::new(node_unschedulable::NodeUnschedulable), 0),
        with(Box::new(node_name::NodeName), 0),
        with(Box::new(taint_toleration::TaintToleration), 3),
        with(Box::new(node_affinity::NodeAffinity), 2),
        with(Box::new(node_ports::NodePorts), 0),
        with(Box::new(node_resources_fit::NodeResourcesFit), 1),
        with(Box::new(pod_topology_spread::PodTopologySpread), 2),
        with(Box::new(inter_pod_affinity::InterPodAffinity), 2),
        with(Box::new(balanced_allocation::BalancedAllocation), 1),
        with(Box::new(image_locality::ImageLocality), 1),
    ]
}

#[cfg(test)]
mod tests;
