//! NetworkPolicies as a node obeys them: which connections its pods may take and open.
//!
//! Kubernetes' rules: a pod that no policy selects in a direction is open in it; one that some do takes what any of
//! their rules allows, and nothing else. Always allowed is what a pod says to itself, and what its own node says to it:
//! both come from the node's gateway address. Only new connections are judged.
//!
//! Policies are kept as they were written, with their selectors resolved to sets of addresses that several may share;
//! a pod's entry names the policies that select it. So one pod that comes or goes changes a set, not every policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use super::{Protocol, RuleSet};
use crate::cidr::Cidr;

/// Which way a connection goes, seen from the pod that a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the pod.
    Ingress,
    /// From the pod.
    Egress,
}

/// A NetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Policy {
    /// What may come to its pods; `None`: it says nothing about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Vec<PolicyRule>>,
    /// Where its pods may go; `None`: it says nothing about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<Vec<PolicyRule>>,
}

/// One rule: whoever is among the peers may use the ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PolicyRule {
    /// The other ends; none: everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
    /// The ports of the destination; none: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMatch>,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Peer {
    /// The addresses of a set, by its name.
    Set(String),
    /// A range without some parts of it.
    Block {
        /// The range.
        cidr: Cidr,
        /// What does not count.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        except: Vec<Cidr>,
    },
}

/// A port, several, or one that the destination pod names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortMatch {
    /// Their protocol.
    pub protocol: Protocol,
    /// Which.
    pub port: Ports,
}

/// The ports of a [`PortMatch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ports {
    /// All of the protocol.
    All,
    /// From the first to the last.
    Range(u16, u16),
    /// The container port of this name.
    Named(String),
}

/// A port that a pod's containers name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedPort {
    /// The name.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// The number.
    pub port: u16,
}

/// What the policies say about a connection, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// No policy selects the pod.
    Open,
    /// A rule of this policy allows it.
    Allowed {
        /// `namespace/name`.
        policy: &'a str,
        /// Which of its rules of this direction.
        rule: usize,
    },
    /// Policies select the pod, and none allows it: these.
    Denied(&'a [String]),
}

impl Verdict<'_> {
    /// Whether the connection may be made.
    #[must_use]
    pub fn admits(&self) -> bool {
        !matches!(self, Self::Denied(_))
    }
}

impl RuleSet {
    /// Judges a connection of or to `pod`, whose other end is `peer`. `destination` is where it goes, after Services are
    /// translated. What is always allowed is the caller's to know: see the module.
    #[must_use]
    pub fn verdict(
        &self,
        direction: Direction,
        pod: IpAddr,
        peer: IpAddr,
        protocol: Protocol,
        destination: SocketAddr,
    ) -> Verdict<'_> {
        let Some(names) = self.policed.get(&pod) else { return Verdict::Open };
        let mut isolated = false;
        for name in names {
            let Some(policy) = self.policies.get(name) else { continue };
            let rules = match direction {
                Direction::Ingress => &policy.ingress,
                Direction::Egress => &policy.egress,
            };
            let Some(rules) = rules else { continue };
            isolated = true;
            let allows = |rule: &PolicyRule| {
                self.has_peer(rule, peer) && self.has_port(rule, protocol, destination)
            };
            if let Some(rule) = rules.iter().position(allows) {
                return Verdict::Allowed { policy: name, rule };
            }
        }
        if isolated { Verdict::Denied(names) } else { Verdict::Open }
    }

    fn has_peer(&self, rule: &PolicyRule, ip: IpAddr) -> bool {
        let is = |peer: &Peer| match peer {
            Peer::Set(name) => self.ip_sets.get(name).is_some_and(|set| set.contains(&ip)),
            Peer::Block { cidr, except } => {
                cidr.contains(ip) && !except.iter().any(|except| except.contains(ip))
            }
        };
        rule.peers.is_empty() || rule.peers.iter().any(is)
    }

    fn has_port(&self, rule: &PolicyRule, protocol: Protocol, to: SocketAddr) -> bool {
        let is = |wanted: &PortMatch| {
            wanted.protocol == protocol
                && match &wanted.port {
                    Ports::All => true,
                    Ports::Range(first, last) => (*first..=*last).contains(&to.port()),
                    Ports::Named(name) => self.named_ports.get(&to.ip()).is_some_and(|ports| {
                        let is = |port: &NamedPort| {
                            port.name == *name
                                && port.protocol == protocol
                                && port.port == to.port()
                        };
                        ports.iter().any(is)
                    }),
                }
        };
        rule.ports.is_empty() || rule.ports.iter().any(is)
    }
}

/// The policies that select a pod of this node, sorted: an entry of [`RuleSet::policed`].
pub type PolicyNames = Vec<String>;

/// The sets of addresses that policies speak of, by what they were made of.
pub type IpSets = BTreeMap<String, BTreeSet<IpAddr>>;
