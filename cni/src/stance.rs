//! How one node sees the network: where an address leads from it, who it is to whom, and what no policy is asked about.
//!
//! Pure. The data plane carries connections by these answers, and [`trace`](crate::trace) explains them by the same, so
//! that the two cannot disagree.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    cidr::Cidr,
    rules::{Direction, TrafficPolicy},
};

/// What does not change about a node while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stance {
    /// The node's name.
    pub node: String,
    /// Its InternalIP.
    pub address: IpAddr,
    /// The range of its pods.
    pub pod_cidr: Cidr,
    /// The address by which pods know the host.
    pub host_address: IpAddr,
    /// Addresses in the cluster behind which a socket of the host stands, such as the API server's.
    pub backends: Vec<SocketAddr>,
    /// Whether pods may talk to the world.
    pub egress: bool,
    /// Ranges that belong to the cluster: an address in them that nobody has leads nowhere, not outside.
    pub virtual_ranges: Vec<Cidr>,
}

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A pod of this node, or the node itself.
    Here,
    /// Another node.
    Node(Arc<str>),
    /// A socket of the host that stands for this very address.
    Backend,
    /// Another port of an address that has such sockets: refused.
    ClosedBackend,
    /// Out of the cluster.
    Outside,
    /// Nobody has the address.
    Nowhere,
}

/// Why no policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exemption {
    /// A pod speaks to itself.
    Itself,
    /// The node speaks to its own pod, or a pod to itself through a Service: both come from the gateway.
    OwnNode,
    /// A pod speaks to its own node.
    ToOwnNode,
}

impl Stance {
    /// The node's own address in its pods' range.
    #[must_use]
    pub fn gateway(&self) -> Option<IpAddr> {
        self.pod_cidr.nth(1)
    }

    /// The node's own sandbox: its InternalIP, the gateway of its pods, and the address that stands for the host.
    #[must_use]
    pub fn own(&self) -> Identity {
        let gateway = self.gateway().unwrap_or(self.address);
        Identity {
            addresses: vec![self.address, gateway, self.host_address],
            pod_cidr: self.pod_cidr,
            is_node: true,
        }
    }

    /// The sandbox of one of its pods.
    #[must_use]
    pub fn pod(&self, ip: IpAddr) -> Identity {
        Identity { addresses: vec![ip], pod_cidr: self.pod_cidr, is_node: false }
    }

    /// Says where an address that is no Service's leads; `node_of` knows whose address or range it is in.
    pub fn way(&self, to: SocketAddr, node_of: impl FnOnce(IpAddr) -> Option<Arc<str>>) -> Way {
        let ip = to.ip();
        if self.backends.contains(&to) {
            return Way::Backend;
        }
        if self.backends.iter().any(|backend| backend.ip() == ip) {
            return Way::ClosedBackend;
        }
        let own = [Some(self.address), self.gateway(), Some(self.host_address)];
        if own.contains(&Some(ip)) || self.pod_cidr.contains(ip) {
            return Way::Here;
        }
        match node_of(ip) {
            Some(name) if *name == *self.node => Way::Here,
            Some(name) => Way::Node(name),
            None if self.leads_outside(ip) => Way::Outside,
            None => Way::Nowhere,
        }
    }

    /// Why a connection of (or to) the pod at `pod` with `peer` needs no policy, if it needs none.
    #[must_use]
    pub fn exemption(&self, direction: Direction, pod: IpAddr, peer: IpAddr) -> Option<Exemption> {
        if peer == pod {
            Some(Exemption::Itself)
        } else if self.gateway() == Some(peer) {
            Some(Exemption::OwnNode)
        } else if direction == Direction::Egress
            && (peer == self.address || peer == self.host_address)
        {
            Some(Exemption::ToOwnNode)
        } else {
            None
        }
    }

    /// The address under which a pod sees the host: the host's own with policy `Local`, else this node's.
    #[must_use]
    pub fn seen_from_host(&self, policy: TrafficPolicy) -> IpAddr {
        match policy {
            TrafficPolicy::Local => self.host_address,
            TrafficPolicy::Cluster => self.address,
        }
    }

    /// The address under which a pod sees a client inside the cluster that came in by this node's node port.
    #[must_use]
    pub fn seen_through_node_port(&self, policy: TrafficPolicy, client: IpAddr) -> IpAddr {
        match policy {
            TrafficPolicy::Local => client,
            TrafficPolicy::Cluster => self.address,
        }
    }

    /// Whether an address is outside the cluster and may be dialled there.
    fn leads_outside(&self, ip: IpAddr) -> bool {
        let inside = self.virtual_ranges.iter().any(|range| range.contains(ip));
        self.egress && !inside && is_dialable(ip)
    }
}

/// The addresses of one sandbox: a pod's, or a node's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its addresses; the first is what others see.
    pub addresses: Vec<IpAddr>,
    /// The range of its node's pods.
    pub pod_cidr: Cidr,
    /// Whether it is a node's own.
    pub is_node: bool,
}

impl Identity {
    /// Whether an address is the sandbox's.
    #[must_use]
    pub fn owns(&self, ip: IpAddr) -> bool {
        self.addresses.contains(&ip)
    }

    /// Whether traffic to `ip` never leaves the sandbox. (A node's own addresses have node ports: that needs routing.)
    #[must_use]
    pub fn is_private(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || (!self.is_node && self.owns(ip))
    }

    /// The address that this sandbox calls from, as itself sees it.
    #[must_use]
    pub fn local_towards(&self, ip: IpAddr) -> IpAddr {
        if ip.is_loopback() || self.owns(ip) { ip } else { self.source_towards(ip) }
    }

    /// The address that `ip` sees: the pod's own; the gateway for what comes from the node to its own pods, and for a
    /// pod that reaches itself through a Service (or it would answer itself directly).
    #[must_use]
    pub fn source_towards(&self, ip: IpAddr) -> IpAddr {
        let gateway = || self.pod_cidr.nth(1).unwrap_or(self.addresses[0]);
        match self.is_node {
            true if self.pod_cidr.contains(ip) => gateway(),
            false if self.owns(ip) => gateway(),
            _ => self.addresses[0],
        }
    }
}

/// The host's own loopback is never dialled for a pod: no pod must reach what listens on 127/8. Nor is what Linux takes
/// for it ("this network"), nor what is no single machine's address.
fn is_dialable(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => !v4.is_loopback() && v4.octets()[0] != 0 && v4.octets()[0] < 224,
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unspecified() && !v6.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_loopback_is_never_dialled() {
        let check =
            |ip: &str, expected| assert_eq!(is_dialable(ip.parse().unwrap()), expected, "{ip}");
        for ip in
            ["127.0.0.1", "127.255.0.9", "0.0.0.0", "0.1.2.3", "::1", "::", "::ffff:127.0.0.1"]
        {
            check(ip, false);
        }
        for ip in ["224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1"] {
            check(ip, false);
        }
        for ip in ["8.8.8.8", "10.0.0.1", "169.254.169.254", "2001:db8::1"] {
            check(ip, true);
        }
    }

    #[test]
    fn addresses_lead_where_they_should() {
        let stance = Stance {
            node: "node-1".into(),
            address: "192.168.1.101".parse().unwrap(),
            pod_cidr: "10.244.1.0/24".parse().unwrap(),
            host_address: "192.168.1.1".parse().unwrap(),
            backends: vec!["192.168.1.100:6443".parse().unwrap()],
            egress: true,
            virtual_ranges: vec!["10.244.0.0/16".parse().unwrap()],
        };
        let check = |to: &str, expected: Way| {
            let range: Cidr = "10.244.2.0/24".parse().unwrap();
            let node_of = |ip| range.contains(ip).then(|| Arc::from("node-2"));
            assert_eq!(stance.way(to.parse().unwrap(), node_of), expected, "{to}");
        };
        check("192.168.1.100:6443", Way::Backend);
        check("192.168.1.100:80", Way::ClosedBackend);
        for here in ["10.244.1.9:80", "192.168.1.101:30000", "192.168.1.1:22", "10.244.1.1:1"] {
            check(here, Way::Here);
        }
        check("10.244.2.9:80", Way::Node("node-2".into()));
        check("10.244.3.9:80", Way::Nowhere);
        check("8.8.8.8:53", Way::Outside);
    }
}
