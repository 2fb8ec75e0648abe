//! The node IPAM controller: gives every node a /24 of the pods' network.
//!
//! `node-N` gets the Nth range if that is free, so that the addresses of a small cluster can be guessed; other nodes get
//! the lowest free one. One worker assigns, so no range is given twice.

use std::collections::BTreeSet;

use apimachinery::{api::core::Node, object::ObjectKey, status::Status};
use client::{Client, EventRecorder, Patch, Store, controller::Action, events::EventType};
use serde_json::json;

use crate::context::Setup;

/// Ranges are handed out one after the other: a second worker could take the same.
const WORKERS: usize = 1;

#[derive(Clone)]
struct Reconciler {
    client: Client,
    recorder: EventRecorder,
    nodes: Store<Node>,
    network: Network,
    /// Ranges assigned here that the cache may not show yet.
    assigned: std::sync::Arc<parking_lot::Mutex<std::collections::BTreeMap<String, u32>>>,
}

/// The pods' network, as far as ranges of 256 addresses matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    base: u32,
    ranges: u32,
}

impl Network {
    fn parse(cidr: &str) -> Option<Self> {
        let (address, prefix) = cidr.split_once('/')?;
        let base: std::net::Ipv4Addr = address.parse().ok()?;
        let prefix: u32 = prefix.parse().ok().filter(|p| *p <= 24)?;
        Some(Self { base: base.into(), ranges: 1 << (24 - prefix) })
    }

    fn range(self, index: u32) -> String {
        format!("{}/24", std::net::Ipv4Addr::from(self.base + index * 256))
    }

    fn index(self, cidr: &str) -> Option<u32> {
        let address: std::net::Ipv4Addr = cidr.strip_suffix("/24")?.parse().ok()?;
        let index = u32::from(address).checked_sub(self.base)? / 256;
        (index < self.ranges).then_some(index)
    }

    /// The range for a node: its own number's, else the lowest free one but the first, which nobody prefers.
    fn choose(self, node: &str, taken: &BTreeSet<u32>) -> Option<u32> {
        let own = node.strip_prefix("node-").and_then(|n| n.parse::<u32>().ok());
        own.filter(|n| *n < self.ranges && !taken.contains(n))
            .or_else(|| (1..self.ranges).chain([0]).find(|n| !taken.contains(n)))
    }
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let Some(network) = Network::parse(&setup.cluster_cidr) else {
        tracing::error!(cidr = %setup.cluster_cidr, "is no network for pods: nodes get no addresses");
        return;
    };
    let queue = setup.queue::<ObjectKey>();
    let reconciler = Reconciler {
        client: setup.client.with_field_manager("kube-controller-manager"),
        recorder: setup.recorder("cidrAllocator"),
        nodes: setup.informers.store(),
        network,
        assigned: std::sync::Arc::default(),
    };
    setup.enqueue_changes::<Node>(&queue);
    let nodes = reconciler.nodes.clone();
    let synced = async move { nodes.synced().await };
    setup.run("node-ipam", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
}

impl Reconciler {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(node) = self.nodes.get(key) else {
            self.assigned.lock().remove(&key.name);
            return Ok(Action::Done);
        };
        if node.spec.pod_cidr.as_deref().is_some_and(|cidr| !cidr.is_empty()) {
            self.assigned.lock().remove(&key.name);
            return Ok(Action::Done);
        }
        let known = self.assigned.lock().get(&key.name).copied();
        let chosen = known.or_else(|| {
            let nodes = self.nodes.list();
            let shown =
                nodes.iter().filter_map(|n| self.network.index(n.spec.pod_cidr.as_deref()?));
            let taken: BTreeSet<u32> =
                shown.chain(self.assigned.lock().values().copied()).collect();
            self.network.choose(&key.name, &taken)
        });
        let Some(index) = chosen else {
            let text = format!("Node {} status is now: CIDRNotAvailable", key.name);
            self.recorder.record(&*node, EventType::Normal, "CIDRNotAvailable", text);
            return Err(Status::internal(format!(
                "no range of pod addresses is left for node {}: make the cluster with a larger --cluster-cidr",
                key.name
            )));
        };
        self.assigned.lock().insert(key.name.clone(), index);
        let range = self.network.range(index);
        let patch = json!({"metadata": {"uid": node.metadata.uid},
                           "spec": {"podCIDR": range, "podCIDRs": [range]}});
        match self.client.patch::<Node>("", &key.name, &Patch::Merge(patch), "").await {
            Err(status) if status.is_not_found() => Ok(Action::Done),
            Err(status) => Err(status),
            Ok(_) => Ok(Action::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_prefer_their_own_number() {
        let network = Network::parse("10.244.0.0/16").unwrap();
        let check = |node: &str, taken: &[u32], expected: Option<&str>| {
            let taken = taken.iter().copied().collect();
            let chosen = network.choose(node, &taken).map(|n| network.range(n));
            assert_eq!(chosen.as_deref(), expected, "{node} {taken:?}");
        };
        check("node-1", &[], Some("10.244.1.0/24"));
        check("node-3", &[1], Some("10.244.3.0/24"));
        check("node-3", &[3], Some("10.244.1.0/24"));
        check("node-300", &[1, 2], Some("10.244.3.0/24"));
        check("other", &[1], Some("10.244.2.0/24"));
        let all: Vec<u32> = (0..256).collect();
        check("node-1", &all, None);
        check("node-1", &all[1..], Some("10.244.0.0/24"));
    }

    #[test]
    fn ranges_are_counted_within_the_network() {
        let network = Network::parse("10.0.0.0/8").unwrap();
        assert_eq!(network.ranges, 65_536);
        assert_eq!(network.index("10.1.2.0/24"), Some(258));
        assert_eq!(network.index("11.0.0.0/24"), None);
        assert_eq!(Network::parse("10.0.0.0/25"), None);
    }
}
