//! A node's rule set, made ready for one look per connection.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    cidr::Cidr,
    rules::{Protocol, Reachable, RuleSet, ServicePortName, ServiceRule, Traffic, TrafficPolicy},
};

/// Answers "what is this address" from one rule set, as one node sees it.
#[derive(Default)]
pub(super) struct Index {
    virtuals: HashMap<(Protocol, SocketAddr), (Arc<Target>, Traffic)>,
    virtual_ips: HashSet<IpAddr>,
    node_ports: HashMap<(Protocol, u16), Arc<Target>>,
    nodes_by_address: HashMap<IpAddr, Arc<str>>,
    nodes_by_range: HashMap<Cidr, Arc<str>>,
    /// The prefix lengths that occur in `nodes_by_range`, longest first.
    prefixes: Vec<u8>,
}

/// A Service port and who serves it, from this node.
pub(super) struct Target {
    pub(super) name: ServicePortName,
    pub(super) affinity: Option<Duration>,
    pub(super) external_policy: TrafficPolicy,
    internal: Candidates,
    external: Candidates,
    external_from_inside: Candidates,
}

/// [`Reachable`], with nothing but the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Candidates {
    Endpoints(Box<[SocketAddr]>),
    NoneLocal,
    Nobody,
}

/// What an address is to somebody inside the cluster.
pub(super) enum Lookup {
    /// A Service port.
    Service(Arc<Target>, Traffic),
    /// An address of Services, but none has this port: refused, as kube-proxy's nftables mode does.
    ClosedPort,
    /// No address of a Service.
    NotVirtual,
}

impl Target {
    fn new(name: &ServicePortName, rule: &ServiceRule, node: &str) -> Self {
        let candidates = |traffic| match rule.reachable(traffic, node) {
            Reachable::Endpoints(found) => {
                Candidates::Endpoints(found.iter().map(|endpoint| endpoint.address).collect())
            }
            Reachable::NoneLocal => Candidates::NoneLocal,
            Reachable::Nobody => Candidates::Nobody,
        };
        Self {
            name: name.clone(),
            affinity: rule.affinity_seconds.map(|seconds| Duration::from_secs(seconds.into())),
            external_policy: rule.external_policy,
            internal: candidates(Traffic::Internal),
            external: candidates(Traffic::External),
            external_from_inside: candidates(Traffic::ExternalFromInside),
        }
    }

    pub(super) fn candidates(&self, traffic: Traffic) -> &Candidates {
        match traffic {
            Traffic::Internal => &self.internal,
            Traffic::External => &self.external,
            Traffic::ExternalFromInside => &self.external_from_inside,
        }
    }
}

impl Index {
    pub(super) fn new(rules: &RuleSet, node: &str) -> Self {
        let mut index = Self::default();
        for (name, rule) in &rules.services {
            let target = Arc::new(Target::new(name, rule, node));
            let mut virtuals = |ips: &[IpAddr], traffic| {
                for ip in ips {
                    index.virtual_ips.insert(*ip);
                    let key = (rule.protocol, SocketAddr::new(*ip, rule.port));
                    index.virtuals.insert(key, (Arc::clone(&target), traffic));
                }
            };
            virtuals(&rule.load_balancer_ips, Traffic::ExternalFromInside);
            virtuals(&rule.external_ips, Traffic::ExternalFromInside);
            virtuals(&rule.cluster_ips, Traffic::Internal);
            if let Some(port) = rule.node_port {
                index.node_ports.insert((rule.protocol, port), target);
            }
        }
        let mut prefixes = BTreeSet::new();
        for (name, route) in &rules.nodes {
            let name: Arc<str> = name.as_str().into();
            for address in &route.addresses {
                index.nodes_by_address.insert(*address, Arc::clone(&name));
            }
            for range in &route.pod_cidrs {
                prefixes.insert(range.prefix());
                index.nodes_by_range.insert(*range, Arc::clone(&name));
            }
        }
        index.prefixes = prefixes.into_iter().rev().collect();
        index
    }

    pub(super) fn lookup(&self, protocol: Protocol, to: SocketAddr) -> Lookup {
        match self.virtuals.get(&(protocol, to)) {
            Some((target, traffic)) => Lookup::Service(Arc::clone(target), *traffic),
            None if self.virtual_ips.contains(&to.ip()) => Lookup::ClosedPort,
            None => Lookup::NotVirtual,
        }
    }

    pub(super) fn node_port(&self, protocol: Protocol, port: u16) -> Option<&Arc<Target>> {
        self.node_ports.get(&(protocol, port))
    }

    pub(super) fn virtual_address(
        &self,
        protocol: Protocol,
        to: SocketAddr,
    ) -> Option<&Arc<Target>> {
        self.virtuals.get(&(protocol, to)).map(|(target, _)| target)
    }

    /// Returns the node that has an address or the pod range around it.
    pub(super) fn node_of(&self, ip: IpAddr) -> Option<&Arc<str>> {
        self.nodes_by_address.get(&ip).or_else(|| {
            let ranges = self.prefixes.iter().filter_map(|prefix| Cidr::new(ip, *prefix));
            ranges.filter_map(|range| self.nodes_by_range.get(&range)).next()
        })
    }
}
