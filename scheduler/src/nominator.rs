//! Pods that wait for the room that preemption makes for them: `nominator`.
//!
//! A nominated pod is counted on its node while other pods of no higher priority are looked at, so that the room is not
//! given away. The nomination is the pod's `status.nominatedNodeName`; between the decision and the API server's answer it
//! is only here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::framework::PodInfo;

/// The nominations, by node.
#[derive(Clone, Debug, Default)]
pub struct Nominator {
    by_node: BTreeMap<String, Vec<Arc<PodInfo>>>,
    nodes: HashMap<String, String>,
}

impl Nominator {
    /// Follows a waiting pod: takes its nomination over from its status. Where the status never named a node, one that
    /// was decided here stays.
    pub fn follow(&mut self, old: Option<&PodInfo>, pod: &Arc<PodInfo>) {
        let told = |pod: &PodInfo| pod.nominated_node().map(str::to_owned);
        let decided = self.nodes.get(pod.uid()).cloned();
        let node = match (told(pod), decided) {
            (Some(told), _) => Some(told),
            (None, Some(decided)) if old.is_none_or(|old| told(old).is_none()) => Some(decided),
            (None, _) => None,
        };
        self.remove(pod.uid());
        if let Some(node) = node {
            self.nominate(pod.clone(), &node);
        }
    }

    /// Notes a nomination.
    pub fn nominate(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.remove(pod.uid());
        self.nodes.insert(pod.uid().to_owned(), node.to_owned());
        self.by_node.entry(node.to_owned()).or_default().push(pod);
    }

    /// Forgets a pod's nomination.
    pub fn remove(&mut self, uid: &str) {
        let Some(node) = self.nodes.remove(uid) else { return };
        if let Some(pods) = self.by_node.get_mut(&node) {
            pods.retain(|p| p.uid() != uid);
            if pods.is_empty() {
                self.by_node.remove(&node);
            }
        }
    }

    /// The node that a pod is nominated for.
    #[must_use]
    pub fn node_of(&self, uid: &str) -> Option<&str> {
        self.nodes.get(uid).map(String::as_str)
    }

    /// The pods nominated for a node.
    #[must_use]
    pub fn on(&self, node: &str) -> &[Arc<PodInfo>] {
        self.by_node.get(node).map_or(&[], Vec::as_slice)
    }

    /// The other pods on a node whose room `pod` has to leave alone.
    pub fn before<'a>(
        &'a self,
        pod: &'a PodInfo,
        node: &str,
    ) -> impl Iterator<Item = &'a Arc<PodInfo>> {
        let precedes =
            |other: &&Arc<PodInfo>| other.priority() >= pod.priority() && other.uid() != pod.uid();
        self.on(node).iter().filter(precedes)
    }
}
