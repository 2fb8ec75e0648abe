//! The events of the cluster after which a refused pod may find a place.
//!
//! A plugin registers for the kinds of events that can undo its refusals, and says of each single event, by its
//! [`hint`](crate::framework::Plugin::hint), whether it may help this pod: Kubernetes' queueing hints. A pod wakes when one
//! of the plugins that refused it says so.

use apimachinery::api::core::Node;

use crate::framework::PodInfo;

/// What happened: `framework.ClusterEvent`, as far as it matters to plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClusterEvent {
    /// A node appeared.
    NodeAdd,
    /// A node is gone.
    NodeDelete,
    /// A node's allocatable resources grew or changed.
    NodeUpdateAllocatable,
    /// A node's labels changed.
    NodeUpdateLabel,
    /// A node's taints or unschedulable mark changed.
    NodeUpdateTaint,
    /// An assigned pod appeared.
    AssignedPodAdd,
    /// An assigned pod's labels changed.
    AssignedPodUpdateLabel,
    /// An assigned pod's requests shrank.
    AssignedPodScaleDown,
    /// An assigned pod went away, or ended.
    AssignedPodDelete,
    /// The waiting pod's own labels changed.
    OwnLabels,
    /// The waiting pod's own requests shrank.
    OwnScaleDown,
    /// The waiting pod tolerates more.
    OwnTolerations,
}

impl ClusterEvent {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::NodeAdd,
        Self::NodeDelete,
        Self::NodeUpdateAllocatable,
        Self::NodeUpdateLabel,
        Self::NodeUpdateTaint,
        Self::AssignedPodAdd,
        Self::AssignedPodUpdateLabel,
        Self::AssignedPodScaleDown,
        Self::AssignedPodDelete,
        Self::OwnLabels,
        Self::OwnScaleDown,
        Self::OwnTolerations,
    ];
}

/// The object that an event is about, before and after.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A node.
    Node {
        /// As it was; None: it appeared.
        old: Option<&'a Node>,
        /// As it is; None: it is gone.
        new: Option<&'a Node>,
    },
    /// A pod.
    Pod {
        /// As it was; None: it appeared.
        old: Option<&'a PodInfo>,
        /// As it is; None: it is gone.
        new: Option<&'a PodInfo>,
    },
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its kind.
    pub kind: ClusterEvent,
    /// What it is about.
    pub subject: Subject<'a>,
}

impl<'a> Event<'a> {
    /// The node before and after; None: it is about a pod.
    #[must_use]
    pub fn node(&self) -> Option<(Option<&'a Node>, Option<&'a Node>)> {
        match self.subject {
            Subject::Node { old, new } => Some((old, new)),
            Subject::Pod { .. } => None,
        }
    }

    /// The pod before and after, both None if it is about a node.
    #[must_use]
    pub fn pods(&self) -> (Option<&'a PodInfo>, Option<&'a PodInfo>) {
        match self.subject {
            Subject::Pod { old, new } => (old, new),
            Subject::Node { .. } => (None, None),
        }
    }
}

/// What of a node changed, as far as it may help a pod: `nodeSchedulingPropertiesChange`.
#[must_use]
pub fn node_changes(old: &Node, new: &Node) -> Vec<ClusterEvent> {
    let table = [
        (
            old.spec.taints != new.spec.taints || old.spec.unschedulable != new.spec.unschedulable,
            ClusterEvent::NodeUpdateTaint,
        ),
        (old.status.allocatable != new.status.allocatable, ClusterEvent::NodeUpdateAllocatable),
        (old.metadata.labels != new.metadata.labels, ClusterEvent::NodeUpdateLabel),
    ];
    table.into_iter().filter(|(changed, _)| *changed).map(|(_, event)| event).collect()
}

/// What of an assigned pod changed, as far as it may help another pod: `podSchedulingPropertiesChange`.
#[must_use]
pub fn assigned_pod_changes(old: &PodInfo, new: &PodInfo) -> Vec<ClusterEvent> {
    let table = [
        (old.labels() != new.labels(), ClusterEvent::AssignedPodUpdateLabel),
        (shrank(old, new), ClusterEvent::AssignedPodScaleDown),
    ];
    table.into_iter().filter(|(changed, _)| *changed).map(|(_, event)| event).collect()
}

/// What of a waiting pod changed, as far as it may help itself.
#[must_use]
pub fn own_changes(old: &PodInfo, new: &PodInfo) -> Vec<ClusterEvent> {
    let table = [
        (old.labels() != new.labels(), ClusterEvent::OwnLabels),
        (shrank(old, new), ClusterEvent::OwnScaleDown),
        (old.pod.spec.tolerations != new.pod.spec.tolerations, ClusterEvent::OwnTolerations),
    ];
    table.into_iter().filter(|(changed, _)| *changed).map(|(_, event)| event).collect()
}

fn shrank(old: &PodInfo, new: &PodInfo) -> bool {
    let (old, new) = (&old.requests, &new.requests);
    new.milli_cpu < old.milli_cpu
        || new.memory < old.memory
        || new.ephemeral_storage < old.ephemeral_storage
        || old
            .scalar
            .iter()
            .any(|(name, amount)| new.scalar.get(name).is_none_or(|new| new < amount))
}
