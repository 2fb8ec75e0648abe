//! A node's rules in the forms that people know from kernels: what `iptables-save` and `nft list ruleset` would print if
//! the same rules were netfilter's. Pure.
//!
//! Chains have the names that kube-proxy gives them (hashes included), rules its order and comments. NetworkPolicies are
//! not kube-proxy's; they stand in chains of our own names ([`names`]), as agents of network plugins program them.
//!
//! What the userspace plane does without packets is not there: marks and masquerading are printed where kube-proxy has
//! them, and mean here that a server sees the node's address.

mod iptables;
mod names;
mod nft;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

pub use iptables::iptables_save;
pub use nft::nft;

use crate::{
    cidr::Cidr,
    report::NodeReport,
    rules::{Place, Protocol, Reachable, ServicePortName, ServiceRule, Traffic, TrafficPolicy},
};

impl Protocol {
    /// As netfilter has it.
    fn lower(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// An address at which a Service port answers besides its ClusterIPs.
#[derive(Clone, Copy)]
struct OutsideAddress {
    ip: IpAddr,
    /// As kube-proxy's comments call it.
    what: &'static str,
    /// Only source ranges may use it.
    guarded: bool,
}

/// One Service port as a proxy sees it at one node.
struct Port<'a> {
    name: &'a ServicePortName,
    rule: &'a ServiceRule,
    /// Endpoints of policy `Cluster`, and of policy `Local`.
    cluster: Vec<SocketAddr>,
    local: Vec<SocketAddr>,
    /// Whether there is any endpoint, wherever.
    any: bool,
}

impl<'a> Port<'a> {
    fn of(name: &'a ServicePortName, rule: &'a ServiceRule, place: Place<'_>) -> Self {
        let reached = |traffic, policy: TrafficPolicy| {
            let rule = ServiceRule { internal_policy: policy, ..rule.clone() };
            match rule.reachable(traffic, place) {
                Reachable::Endpoints(found) => (found.iter().map(|e| e.address).collect(), true),
                Reachable::NoneLocal => (vec![], true),
                Reachable::Nobody => (vec![], false),
            }
        };
        let (cluster, any_ready): (Vec<SocketAddr>, bool) =
            reached(Traffic::Internal, TrafficPolicy::Cluster);
        let (local, any_local) = reached(Traffic::Internal, TrafficPolicy::Local);
        Self { name, rule, cluster, local, any: any_ready || any_local }
    }

    fn endpoints(&self, policy: TrafficPolicy) -> &[SocketAddr] {
        match policy {
            TrafficPolicy::Cluster => &self.cluster,
            TrafficPolicy::Local => &self.local,
        }
    }

    fn uses(&self, policy: TrafficPolicy) -> bool {
        let external = self.is_external();
        let used = self.rule.internal_policy == policy
            || (external && self.rule.external_policy == policy)
            // Pods take the short way, past the external policy.
            || (external && policy == TrafficPolicy::Cluster);
        used && !self.endpoints(policy).is_empty()
    }

    fn is_external(&self) -> bool {
        self.rule.node_port.is_some() || self.outside().next().is_some()
    }

    fn outside(&self) -> impl Iterator<Item = OutsideAddress> + '_ {
        let guarded = !self.rule.source_ranges.is_empty();
        let external = self.rule.external_ips.iter();
        let external =
            external.map(|ip| OutsideAddress { ip: *ip, what: "external IP", guarded: false });
        let balancer = self.rule.load_balancer_ips.iter();
        external.chain(balancer.map(move |ip| OutsideAddress {
            ip: *ip,
            what: "loadbalancer IP",
            guarded,
        }))
    }

    /// Every endpoint that some chain leads to, each once.
    fn all_endpoints(&self) -> Vec<SocketAddr> {
        let used = [TrafficPolicy::Cluster, TrafficPolicy::Local]
            .map(|policy| if self.uses(policy) { self.endpoints(policy) } else { &[] });
        let mut all = used.concat();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The ports of all Services at the node of a report.
fn ports(report: &NodeReport) -> Vec<Port<'_>> {
    let node = report.stance.node.as_str();
    let zone = report.rules.nodes.get(node).and_then(|route| route.zone.as_deref());
    let place = Place { node, zone };
    report.rules.services.iter().map(|(name, rule)| Port::of(name, rule, place)).collect()
}

/// The range of all pods, as far as the node knows: traffic from elsewhere is masqueraded.
fn pods_range(report: &NodeReport) -> Cidr {
    let own = report.stance.pod_cidr;
    let around = report.stance.virtual_ranges.iter().find(|range| range.contains(own.base()));
    around.copied().unwrap_or(own)
}

/// The pods that policies select here, with the policies that do and the directions that these speak of.
fn policed(report: &NodeReport) -> impl Iterator<Item = (IpAddr, &[String])> {
    report.rules.policed.iter().map(|(ip, names)| (*ip, names.as_slice()))
}
