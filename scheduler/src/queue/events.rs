//! The events of the cluster after which a refused pod may find a place.

/// What happened: `framework.ClusterEvent`, as far as it matters to plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClusterEvent {
    /// A wildcard: in a registration, any event; as an event, something that may help any pod.
    Any,
    /// A node appeared.
    NodeAdd,
    /// A node's allocatable resources grew or changed.
    NodeUpdateAllocatable,
    /// A node's labels changed.
    NodeUpdateLabel,
    /// A node's taints or unschedulable mark changed.
    NodeUpdateTaint,
    /// A node's conditions or other status changed.
    NodeUpdateCondition,
    /// An assigned pod appeared.
    AssignedPodAdd,
    /// An assigned pod's labels changed or its requests shrank.
    AssignedPodUpdate,
    /// An assigned pod went away, or ended.
    AssignedPodDelete,
    /// The waiting pod itself was changed.
    UnscheduledPodUpdate,
}

impl ClusterEvent {
    /// Whether a registration for `self` covers `event`.
    #[must_use]
    pub fn covers(self, event: Self) -> bool {
        self == Self::Any || event == Self::Any || self == event
    }
}
