//! A node's rule set, made ready for one look per connection.
//!
//! It is changed in place, one Service port at a time: a change costs what it touches, however many Services there
//! are. Where two Services claim one address (`spec.externalIPs` may), a ClusterIP wins, then the first by name; when
//! the winner goes the other takes its place, so that the index is the same for any order of changes.

use std::{
    collections::{BTreeSet, HashMap, hash_map},
    hash::Hash,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    cidr::Cidr,
    rules::{
        NodeRoute, Place, Protocol, Reachable, RuleDelta, RuleSet, ServicePortName, ServiceRule,
        Traffic, TrafficPolicy,
    },
    stance::Identity,
};

/// Answers "what is this address" from one rule set, as one node sees it.
#[derive(Default)]
pub(crate) struct Index {
    node: String,
    zone: Option<String>,
    targets: HashMap<ServicePortName, Arc<Target>>,
    virtuals: HashMap<(Protocol, SocketAddr), Vec<Claim>>,
    /// How many claims there are on ports of an address.
    virtual_ips: HashMap<IpAddr, usize>,
    node_ports: HashMap<(Protocol, u16), Vec<Claim>>,
    nodes_by_address: HashMap<IpAddr, Arc<str>>,
    nodes_by_range: HashMap<Cidr, Arc<str>>,
    /// The prefix lengths that occur in `nodes_by_range`, longest first.
    prefixes: Vec<u8>,
}

/// Somebody who wants an address; the first of a list has it.
#[derive(Clone)]
struct Claim {
    traffic: Traffic,
    /// A load balancer's address: only for clients of the Service's source ranges.
    guarded: bool,
    target: Arc<Target>,
}

impl Claim {
    /// Whether a client that goes by one of these addresses may come in here.
    fn admits(&self, client: &[IpAddr]) -> bool {
        let ranges = &self.target.source_ranges;
        let within = |ip: &IpAddr| ranges.iter().any(|range| range.contains(*ip));
        !self.guarded || ranges.is_empty() || client.iter().any(within)
    }

    fn precedence(&self) -> (bool, &ServicePortName) {
        (self.traffic != Traffic::Internal, &self.target.name)
    }
}

/// A Service port and who serves it, from this node.
pub(crate) struct Target {
    pub(crate) name: ServicePortName,
    pub(crate) affinity: Option<Duration>,
    pub(crate) external_policy: TrafficPolicy,
    source_ranges: Box<[Cidr]>,
    internal: Candidates,
    external: Candidates,
    external_from_inside: Candidates,
    /// All that pass their readiness probe, on their way out or not: conversations that have begun stay with them.
    serving: Box<[SocketAddr]>,
}

/// [`Reachable`], with nothing but the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Candidates {
    Endpoints(Box<[SocketAddr]>),
    NoneLocal,
    Nobody,
}

/// What an address is to somebody inside the cluster.
pub(crate) enum Lookup {
    /// A Service port.
    Service(Arc<Target>, Traffic),
    /// An address of Services, but none has this port: refused, as kube-proxy's nftables mode does.
    ClosedPort,
    /// A load balancer's address, but not for this client: dropped.
    Forbidden,
    /// No address of a Service.
    NotVirtual,
}

impl Target {
    fn new(name: &ServicePortName, rule: &ServiceRule, place: Place<'_>) -> Self {
        let candidates = |traffic| match rule.reachable(traffic, place) {
            Reachable::Endpoints(found) => {
                Candidates::Endpoints(found.iter().map(|endpoint| endpoint.address).collect())
            }
            Reachable::NoneLocal => Candidates::NoneLocal,
            Reachable::Nobody => Candidates::Nobody,
        };
        let serving = rule.endpoints.iter().filter(|endpoint| endpoint.serving);
        Self {
            name: name.clone(),
            affinity: rule.affinity_seconds.map(|seconds| Duration::from_secs(seconds.into())),
            external_policy: rule.external_policy,
            source_ranges: rule.source_ranges.clone().into(),
            internal: candidates(Traffic::Internal),
            external: candidates(Traffic::External),
            external_from_inside: candidates(Traffic::ExternalFromInside),
            serving: serving.map(|endpoint| endpoint.address).collect(),
        }
    }

    pub(crate) fn candidates(&self, traffic: Traffic) -> &Candidates {
        match traffic {
            Traffic::Internal => &self.internal,
            Traffic::External => &self.external,
            Traffic::ExternalFromInside => &self.external_from_inside,
        }
    }

    /// Whether a conversation with this endpoint may go on: connection tracking's question.
    pub(crate) fn still_serves(&self, endpoint: SocketAddr) -> bool {
        self.serving.contains(&endpoint)
    }
}

impl Index {
    pub(crate) fn new(rules: &RuleSet, node: &str) -> Self {
        let mut index = Self { node: node.to_owned(), ..Self::default() };
        index.set_nodes(rules);
        for (name, rule) in &rules.services {
            index.add(name, rule);
        }
        index
    }

    /// Makes the change of `rules` that has just been made to them; `old` has the rules that it replaced.
    pub(crate) fn apply(&mut self, rules: &RuleSet, old: &RuleDelta) {
        if !old.nodes.is_empty() {
            let zone = self.zone.take();
            self.set_nodes(rules);
            if self.zone != zone {
                *self = Self::new(rules, &self.node);
                return;
            }
        }
        for (name, former) in &old.services {
            if let Some(former) = former {
                self.remove(name, former);
            }
            if let Some(rule) = rules.services.get(name) {
                self.add(name, rule);
            }
        }
    }

    fn set_nodes(&mut self, rules: &RuleSet) {
        self.nodes_by_address.clear();
        self.nodes_by_range.clear();
        let mut prefixes = BTreeSet::new();
        for (name, NodeRoute { pod_cidrs, addresses, .. }) in &rules.nodes {
            let name: Arc<str> = name.as_str().into();
            for address in addresses {
                self.nodes_by_address.insert(*address, Arc::clone(&name));
            }
            for range in pod_cidrs {
                prefixes.insert(range.prefix());
                self.nodes_by_range.insert(*range, Arc::clone(&name));
            }
        }
        self.prefixes = prefixes.into_iter().rev().collect();
        self.zone = rules.nodes.get(&self.node).and_then(|route| route.zone.clone());
    }

    fn add(&mut self, name: &ServicePortName, rule: &ServiceRule) {
        let place = Place { node: &self.node, zone: self.zone.as_deref() };
        let target = Arc::new(Target::new(name, rule, place));
        for (address, traffic, guarded) in virtual_addresses(rule) {
            let claim = Claim { traffic, guarded, target: Arc::clone(&target) };
            claim_key(&mut self.virtuals, (rule.protocol, address), claim);
            *self.virtual_ips.entry(address.ip()).or_default() += 1;
        }
        if let Some(port) = rule.node_port {
            let (traffic, target) = (Traffic::External, Arc::clone(&target));
            let claim = Claim { traffic, guarded: false, target };
            claim_key(&mut self.node_ports, (rule.protocol, port), claim);
        }
        self.targets.insert(name.clone(), target);
    }

    fn remove(&mut self, name: &ServicePortName, rule: &ServiceRule) {
        self.targets.remove(name);
        for (address, ..) in virtual_addresses(rule) {
            give_up_key(&mut self.virtuals, (rule.protocol, address), name);
            if let hash_map::Entry::Occupied(mut claims) = self.virtual_ips.entry(address.ip()) {
                *claims.get_mut() -= 1;
                if *claims.get() == 0 {
                    claims.remove();
                }
            }
        }
        if let Some(port) = rule.node_port {
            give_up_key(&mut self.node_ports, (rule.protocol, port), name);
        }
    }

    /// Says what `to` is to the client at `from`.
    pub(crate) fn lookup(&self, protocol: Protocol, from: IpAddr, to: SocketAddr) -> Lookup {
        match self.virtuals.get(&(protocol, to)).and_then(|claims| claims.first()) {
            Some(claim) if !claim.admits(&[from]) => Lookup::Forbidden,
            Some(claim) => Lookup::Service(Arc::clone(&claim.target), claim.traffic),
            None if self.virtual_ips.contains_key(&to.ip()) => Lookup::ClosedPort,
            None => Lookup::NotVirtual,
        }
    }

    /// Whether an address of the loopback network is a load balancer's: on the host it is real, for pods it is a Service's
    /// like any other. `127.0.0.1` is always their own.
    fn is_balancer_on_loopback(&self, ip: IpAddr) -> bool {
        ip.is_loopback()
            && ip != std::net::Ipv4Addr::LOCALHOST
            && self.virtual_ips.contains_key(&ip)
    }

    /// Whether traffic of a sandbox to `ip` stays in it.
    pub(crate) fn is_private(&self, of: &Identity, ip: IpAddr) -> bool {
        of.is_private(ip) && !self.is_balancer_on_loopback(ip)
    }

    /// The address from which a sandbox calls `ip`, as itself sees it.
    pub(crate) fn local_towards(&self, of: &Identity, ip: IpAddr) -> IpAddr {
        if ip.is_loopback() && !self.is_private(of, ip) {
            of.source_towards(ip)
        } else {
            of.local_towards(ip)
        }
    }

    /// Returns a Service port as it is now.
    pub(crate) fn target(&self, name: &ServicePortName) -> Option<Arc<Target>> {
        self.targets.get(name).cloned()
    }

    pub(crate) fn node_port(&self, protocol: Protocol, port: u16) -> Option<Arc<Target>> {
        let claims = self.node_ports.get(&(protocol, port))?;
        claims.first().map(|claim| Arc::clone(&claim.target))
    }

    /// Returns whose load balancer or external address `to` is, if this client from outside may use it.
    pub(crate) fn virtual_address(
        &self,
        protocol: Protocol,
        client: &[IpAddr],
        to: SocketAddr,
    ) -> Option<Arc<Target>> {
        let claim = self.virtuals.get(&(protocol, to))?.first()?;
        claim.admits(client).then(|| Arc::clone(&claim.target))
    }

    /// Returns the node that has an address or the pod range around it.
    pub(crate) fn node_of(&self, ip: IpAddr) -> Option<Arc<str>> {
        let by_range = || {
            let ranges = self.prefixes.iter().filter_map(|prefix| Cidr::new(ip, *prefix));
            ranges.filter_map(|range| self.nodes_by_range.get(&range)).next()
        };
        self.nodes_by_address.get(&ip).or_else(by_range).cloned()
    }

    /// Returns the zone of this node.
    pub(crate) fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }
}

/// The addresses at which a Service port answers, each once, and whether source ranges guard it; a ClusterIP that is
/// also an external address is a ClusterIP, and an external one that is also the load balancer's is not guarded.
fn virtual_addresses(rule: &ServiceRule) -> Vec<(SocketAddr, Traffic, bool)> {
    let inside = rule.cluster_ips.iter().map(|ip| (*ip, Traffic::Internal, false));
    let outside = |guarded| move |ip: &IpAddr| (*ip, Traffic::ExternalFromInside, guarded);
    let external = rule.external_ips.iter().map(outside(false));
    let balancer = rule.load_balancer_ips.iter().map(outside(true));
    let mut addresses: Vec<(SocketAddr, Traffic, bool)> = Vec::with_capacity(1);
    for (ip, traffic, guarded) in inside.chain(external).chain(balancer) {
        let address = SocketAddr::new(ip, rule.port);
        if !addresses.iter().any(|(known, ..)| *known == address) {
            addresses.push((address, traffic, guarded));
        }
    }
    addresses
}

fn claim_key<K: Eq + Hash>(map: &mut HashMap<K, Vec<Claim>>, key: K, claim: Claim) {
    let claims = map.entry(key).or_default();
    let place = claims.partition_point(|known| known.precedence() < claim.precedence());
    claims.insert(place, claim);
}

fn give_up_key<K: Eq + Hash>(map: &mut HashMap<K, Vec<Claim>>, key: K, name: &ServicePortName) {
    if let hash_map::Entry::Occupied(mut claims) = map.entry(key) {
        claims.get_mut().retain(|claim| claim.target.name != *name);
        if claims.get().is_empty() {
            claims.remove();
        }
    }
}

#[cfg(test)]
mod tests;
