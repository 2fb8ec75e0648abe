//! Why a connection goes where it goes: the data plane's decisions, told instead of carried out. Pure.
//!
//! A [`World`] has the reports of nodes. [`World::trace`] walks through it as a connection would (see
//! `userspace::carry`): translated by the rules where it starts, judged by egress policies there, led to the node that
//! owns the address, judged by ingress policies, and taken by whoever listens. Each answer comes from the very functions
//! that the data plane asks: the rules' index, [`RuleSet::verdict`](crate::rules::RuleSet::verdict), [`Stance`].
//!
//! A node whose report is needed and not there is an answer, too ([`Missing`]): the caller fetches it and asks again, or
//! says that it is [silent](World::insert_silent).

mod hops;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

pub use hops::{Choice, Hop, Judgement, Leads, Outcome, Side, Trace};

use crate::{
    cidr::Cidr,
    report::{NodeReport, PodReport},
    rules::{Direction, Endpoint, Protocol, Traffic, TrafficPolicy, Verdict},
    stance::{Identity, Stance, Way},
    userspace::index::{Candidates, Index, Lookup, Target},
};

/// As the data plane's: Services that point at each other's node ports end here.
const MAX_HOPS: u8 = 8;
/// Endpoints of one Service whose fate is looked at.
const MAX_FATES: usize = 64;

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A pod.
    Pod {
        /// Its node.
        node: String,
        /// Its address.
        ip: IpAddr,
    },
    /// A node itself, or a pod with `hostNetwork`.
    Node(String),
    /// A program on the host, outside of the cluster.
    Host,
}

/// What is to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who connects.
    pub origin: Origin,
    /// Where to.
    pub to: SocketAddr,
    /// By which protocol.
    pub protocol: Protocol,
    /// The endpoint that is known to have been drawn.
    pub drawn: Option<SocketAddr>,
}

/// The nodes whose reports are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub BTreeSet<String>);

struct Seen {
    report: NodeReport,
    index: Index,
}

/// What is known of the nodes.
#[derive(Default)]
pub struct World {
    nodes: BTreeMap<String, Option<Box<Seen>>>,
}

impl World {
    /// Learns of a node.
    pub fn insert(&mut self, report: NodeReport) {
        let name = report.stance.node.clone();
        let index = Index::new(&report.rules, &name);
        self.nodes.insert(name, Some(Box::new(Seen { report, index })));
    }

    /// Learns that a node cannot be asked.
    pub fn insert_silent(&mut self, node: &str) {
        self.nodes.insert(node.to_owned(), None);
    }

    /// What a node has told.
    #[must_use]
    pub fn report(&self, node: &str) -> Option<&NodeReport> {
        self.nodes.get(node)?.as_ref().map(|seen| &seen.report)
    }

    /// All that nodes have told.
    pub fn reports(&self) -> impl Iterator<Item = &NodeReport> {
        self.nodes.values().flatten().map(|seen| &seen.report)
    }

    /// Follows a connection.
    ///
    /// # Errors
    /// The nodes on its way of which nothing is known. (For [`Origin::Host`] only what is known is looked at: all nodes
    /// should be.)
    pub fn trace(&self, question: &Question) -> Result<Trace, Missing> {
        let walk = Walk { world: self, question, missing: RefCell::default() };
        let trace = match &question.origin {
            Origin::Host => walk.enter(),
            Origin::Pod { node, ip } => walk.connect(node, |stance| stance.pod(*ip)),
            Origin::Node(node) => walk.connect(node, Stance::own),
        };
        let missing = walk.missing.into_inner();
        if missing.is_empty() { Ok(trace) } else { Err(Missing(missing)) }
    }
}

/// Who calls, as the endpoint sees it.
#[derive(Clone)]
enum Source {
    Sandbox(Identity),
    Fixed(IpAddr),
}

/// A call that was translated or need not be.
#[derive(Clone, Copy)]
struct Leg {
    from: IpAddr,
    to: SocketAddr,
    hops: u8,
}

struct Walk<'a> {
    world: &'a World,
    question: &'a Question,
    missing: RefCell<BTreeSet<String>>,
}

impl<'a> Walk<'a> {
    fn node(&self, name: &str) -> Result<&'a Seen, Trace> {
        match self.world.nodes.get(name) {
            Some(Some(seen)) => return Ok(seen),
            Some(None) => {}
            None => drop(self.missing.borrow_mut().insert(name.to_owned())),
        }
        Err(Trace::end(Hop::Silent { node: name.to_owned() }, Outcome::Unknown))
    }

    /// A sandbox of a node connects.
    fn connect(&self, node: &str, identity: impl FnOnce(&Stance) -> Identity) -> Trace {
        let Question { to, protocol, .. } = *self.question;
        let to = match to.ip().to_canonical() {
            any if any.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        let to = SocketAddr::new(to, self.question.to.port());
        let seen = match self.node(node) {
            Ok(seen) => seen,
            Err(silent) => return silent,
        };
        let identity = identity(&seen.report.stance);
        if seen.index.is_private(&identity, to.ip()) {
            return self.arrive(seen, &identity, to);
        }
        let client = seen.index.local_towards(&identity, to.ip());
        match seen.index.lookup(protocol, client, to) {
            Lookup::Service(target, traffic) => {
                self.serve(seen, &target, traffic, &Source::Sandbox(identity), client, to, 0)
            }
            Lookup::ClosedPort => {
                let hop = Hop::ClosedPort { node: node.to_owned(), address: to };
                Trace::end(hop, Outcome::Refused)
            }
            Lookup::Forbidden => {
                let hop = Hop::Forbidden { node: node.to_owned(), address: to, client };
                Trace::end(hop, Outcome::TimedOut)
            }
            Lookup::NotVirtual => {
                let from = identity.source_towards(to.ip());
                self.dial(seen, Leg { from, to, hops: 0 })
            }
        }
    }

    /// A program of the host connects.
    fn enter(&self) -> Trace {
        let Question { to, protocol, .. } = *self.question;
        let open: Vec<_> = self
            .world
            .nodes
            .values()
            .flatten()
            .filter_map(|seen| {
                let mut all = seen.report.host.iter();
                Some((seen, all.find(|l| l.protocol == protocol && l.address == to)?))
            })
            .collect();
        // The kernel gives it to one of those that listen; one that is only reserved takes nothing.
        let Some((seen, listener)) = open.iter().find(|(_, l)| l.open).or(open.first()) else {
            return Trace::end(Hop::NotOpen { address: to }, Outcome::Refused);
        };
        let stance = &seen.report.stance;
        let others = open.iter().map(|(other, _)| other.report.stance.node.clone());
        let entry = Hop::Entry {
            node: stance.node.clone(),
            address: to,
            service: listener.service.clone(),
            node_port: listener.node_port,
            open: listener.open,
            others: others.filter(|other| *other != stance.node).collect(),
        };
        if !listener.open {
            return Trace::end(entry, Outcome::Refused);
        }
        let client = IpAddr::from(Ipv4Addr::LOCALHOST);
        let target = if listener.node_port {
            seen.index.node_port(protocol, to.port())
        } else {
            seen.index.virtual_address(protocol, &[client, stance.host_address], to)
        };
        let Some(target) = target else {
            let hop = Hop::Forbidden { node: stance.node.clone(), address: to, client };
            return Trace { hops: vec![entry, hop], outcome: Outcome::Refused };
        };
        let source = Source::Fixed(stance.seen_from_host(target.external_policy));
        self.serve(seen, &target, Traffic::External, &source, client, to, 0).after(vec![entry])
    }

    /// A Service's endpoints.
    #[expect(clippy::too_many_arguments, reason = "those of the data plane's `serve`")]
    fn serve(
        &self,
        seen: &'a Seen,
        target: &Arc<Target>,
        traffic: Traffic,
        source: &Source,
        client: IpAddr,
        address: SocketAddr,
        hops: u8,
    ) -> Trace {
        let report = &seen.report;
        let rule = report.rules.services.get(&target.name);
        let endpoints = rule.map(|rule| rule.endpoints.as_slice()).unwrap_or_default();
        let policy = rule.map_or(TrafficPolicy::Cluster, |rule| match traffic {
            Traffic::Internal => rule.internal_policy,
            Traffic::External => rule.external_policy,
            Traffic::ExternalFromInside => TrafficPolicy::Cluster,
        });
        let place = (report.stance.node.as_str(), policy);
        let (candidates, nobody): (&[SocketAddr], _) = match target.candidates(traffic) {
            Candidates::Endpoints(found) => (found, Outcome::Refused),
            Candidates::NoneLocal => (&[], Outcome::TimedOut),
            Candidates::Nobody => (&[], Outcome::Refused),
        };
        let given = target.affinity.and_then(|_| {
            let mut all = report.affinity.iter();
            let given = all.find(|a| a.service == target.name && a.client == client)?;
            candidates.iter().position(|candidate| *candidate == given.endpoint)
        });
        let fates: Vec<Trace> = candidates
            .iter()
            .take(MAX_FATES)
            .map(|endpoint| self.dial(seen, self.leg(source, *endpoint, hops)))
            .collect();
        let drawn = self.question.drawn.filter(|_| hops == 0);
        let drawn = drawn.and_then(|drawn| candidates.iter().position(|c| *c == drawn));
        let chosen = drawn.or(given).unwrap_or_else(|| self.first_taken(&fates));
        let mut choices: Vec<Choice> = Vec::with_capacity(endpoints.len());
        for (position, candidate) in candidates.iter().enumerate() {
            let of = endpoints.iter().find(|endpoint| endpoint.address == *candidate);
            #[expect(clippy::cast_precision_loss, reason = "far fewer endpoints")]
            let even = 1.0 / candidates.len() as f64;
            choices.push(Choice {
                address: *candidate,
                node: of.and_then(|endpoint| endpoint.node.clone()),
                odds: given.map_or(even, |given| if given == position { 1.0 } else { 0.0 }),
                chosen: position == chosen,
                outcome: fates.get(position).map(|fate| fate.outcome),
                excluded: None,
            });
        }
        let others = endpoints.iter().filter(|e| !candidates.contains(&e.address));
        choices.extend(others.map(|endpoint| excluded(endpoint, place)));
        let hop = Hop::Service {
            node: report.stance.node.clone(),
            service: target.name.clone(),
            address,
            traffic,
            policy,
            affinity_seconds: target.affinity.map(|timeout| timeout.as_secs()),
            endpoints: choices,
        };
        match fates.into_iter().nth(chosen) {
            Some(fate) => fate.after(vec![hop]),
            None if candidates.is_empty() => Trace::end(hop, nobody),
            // One beyond those that were looked at.
            None => self.dial(seen, self.leg(source, candidates[chosen], hops)).after(vec![hop]),
        }
    }

    /// TCP tries the next endpoint when one refuses; a datagram is simply lost.
    fn first_taken(&self, fates: &[Trace]) -> usize {
        let refuses = |fate: &&Trace| matches!(fate.outcome, Outcome::Refused | Outcome::NoRoute);
        match self.question.protocol {
            Protocol::Tcp => fates.iter().position(|fate| !refuses(&fate)).unwrap_or(0),
            Protocol::Udp => 0,
        }
    }

    fn leg(&self, source: &Source, to: SocketAddr, hops: u8) -> Leg {
        let from = match source {
            Source::Fixed(ip) => *ip,
            // A datagram socket undoes the translation itself.
            Source::Sandbox(identity)
                if self.question.protocol == Protocol::Udp && identity.is_private(to.ip()) =>
            {
                to.ip()
            }
            Source::Sandbox(identity) => identity.source_towards(to.ip()),
        };
        Leg { from, to, hops }
    }

    /// A call to an address that is no Service's.
    fn dial(&self, seen: &'a Seen, leg: Leg) -> Trace {
        let report = &seen.report;
        let mut hops = Vec::new();
        if leg.hops == 0 && pod_at(report, leg.from).is_some() {
            let (hop, admitted) = self.judge(seen, Direction::Egress, leg);
            hops.push(hop);
            if !admitted {
                return Trace { hops, outcome: Outcome::TimedOut };
            }
        }
        let way = report.stance.way(leg.to, |ip| seen.index.node_of(ip));
        hops.push(Hop::Route {
            node: report.stance.node.clone(),
            address: leg.to,
            way: Leads::from(&way),
            range: range_of(report, leg.to.ip()),
        });
        let rest = match way {
            Way::Here => self.receive(seen, leg),
            Way::Node(_) if leg.hops >= MAX_HOPS => {
                Trace::end(Hop::Loop { node: report.stance.node.clone() }, Outcome::NoRoute)
            }
            Way::Node(peer) => match self.node(&peer) {
                Ok(peer) => self.receive(peer, Leg { hops: leg.hops + 1, ..leg }),
                Err(silent) => silent,
            },
            Way::Backend | Way::Outside => Trace { hops: vec![], outcome: Outcome::Left },
            Way::ClosedBackend => Trace { hops: vec![], outcome: Outcome::Refused },
            Way::Nowhere => Trace { hops: vec![], outcome: Outcome::NoRoute },
        };
        rest.after(hops)
    }

    /// It has come to the node that has the address.
    fn receive(&self, seen: &'a Seen, leg: Leg) -> Trace {
        let report = &seen.report;
        if pod_at(report, leg.to.ip()).is_some() {
            let (hop, admitted) = self.judge(seen, Direction::Ingress, leg);
            if !admitted {
                return Trace::end(hop, Outcome::TimedOut);
            }
            return self.arrive(seen, &report.stance.pod(leg.to.ip()), leg.to).after(vec![hop]);
        }
        let own = report.stance.own();
        let heard = report.listening.iter().any(|l| l.hears(self.question.protocol, leg.to));
        let node_port = seen.index.node_port(self.question.protocol, leg.to.port());
        match node_port {
            Some(target) if own.owns(leg.to.ip()) && !heard => {
                let policy = match self.question.protocol {
                    Protocol::Tcp => target.external_policy,
                    Protocol::Udp => TrafficPolicy::Cluster,
                };
                let from = report.stance.seen_through_node_port(policy, leg.from);
                let (source, traffic) = (Source::Fixed(from), Traffic::ExternalFromInside);
                self.serve(seen, &target, traffic, &source, leg.from, leg.to, leg.hops)
            }
            _ => self.arrive(seen, &own, leg.to),
        }
    }

    /// Whether somebody in a sandbox listens.
    fn arrive(&self, seen: &Seen, identity: &Identity, to: SocketAddr) -> Trace {
        let report = &seen.report;
        let pod = identity.addresses.first().and_then(|ip| pod_at(report, *ip));
        let nobody = pod.is_none() && !(identity.is_node && identity.is_private_or_own(to.ip()));
        let mut ports = pod.map_or(&report.listening, |pod| &pod.listening).iter();
        let listening = !nobody && ports.any(|l| l.hears(self.question.protocol, to));
        let outcome = match (nobody, listening) {
            (true, _) => Outcome::NoRoute,
            (false, true) => Outcome::Delivered,
            (false, false) => Outcome::Refused,
        };
        let hop = Hop::Port {
            node: report.stance.node.clone(),
            pod: pod.map(|pod| (pod.namespace.clone(), pod.name.clone())),
            address: to,
            nobody,
            listening,
        };
        Trace::end(hop, outcome)
    }

    fn judge(&self, seen: &Seen, direction: Direction, leg: Leg) -> (Hop, bool) {
        let Seen { report, .. } = seen;
        let (side, pod, peer) = match direction {
            Direction::Egress => (Side::Egress, leg.from, leg.to.ip()),
            Direction::Ingress => (Side::Ingress, leg.to.ip(), leg.from),
        };
        let judgement = match report.stance.exemption(direction, pod, peer) {
            Some(because) if report.rules.policed.contains_key(&pod) => {
                Judgement::Exempt { because }
            }
            _ => {
                let protocol = self.question.protocol;
                match report.rules.verdict(direction, pod, peer, protocol, leg.to) {
                    Verdict::Open => Judgement::Open,
                    Verdict::Allowed { policy, rule } => {
                        Judgement::Allowed { policy: policy.to_owned(), rule }
                    }
                    Verdict::Denied(names) => Judgement::Denied { policies: names.to_vec() },
                }
            }
        };
        let admitted = !matches!(judgement, Judgement::Denied { .. });
        let (node, destination) = (report.stance.node.clone(), leg.to);
        (Hop::Policy { node, side, pod, peer, destination, judgement }, admitted)
    }
}

impl Identity {
    fn is_private_or_own(&self, ip: IpAddr) -> bool {
        self.is_private(ip) || self.owns(ip)
    }
}

fn pod_at(report: &NodeReport, ip: IpAddr) -> Option<&PodReport> {
    report.pods.iter().find(|pod| pod.ip == ip)
}

fn range_of(report: &NodeReport, ip: IpAddr) -> Option<Cidr> {
    let all = report.rules.nodes.values().flat_map(|route| &route.pod_cidrs);
    all.chain([&report.stance.pod_cidr]).find(|range| range.contains(ip)).copied()
}

/// Why an endpoint is not drawn.
fn excluded(endpoint: &Endpoint, (node, policy): (&str, TrafficPolicy)) -> Choice {
    let why = if endpoint.terminating {
        "terminating".to_owned()
    } else if !endpoint.ready {
        "not ready".to_owned()
    } else if policy == TrafficPolicy::Local && endpoint.node.as_deref() != Some(node) {
        format!("not on {node}, where the policy Local looks")
    } else {
        "meant for other nodes or zones by its hints".to_owned()
    };
    Choice {
        address: endpoint.address,
        node: endpoint.node.clone(),
        odds: 0.0,
        chosen: false,
        outcome: None,
        excluded: Some(why),
    }
}
