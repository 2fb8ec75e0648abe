//! NetworkPolicies, Pods and Namespaces to what one node obeys: pure.
//!
//! Kept are the policies as parsed, and of pods and namespaces the little that selectors look at. [`Policies::compile`]
//! makes all tables anew: for the pods of this node the policies that select them, of those the rules, and the sets of
//! addresses that their selectors come to in the whole cluster. What differs from the tables in force is sent.
//!
//! Pods with `hostNetwork` are the node: no policy selects them and none names them. Pods that have ended have no
//! address any more. SCTP is not carried, so a rule for it alone allows nothing.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use apimachinery::{
    api::{
        meta::LabelSelector,
        networking::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    },
    int_or_string::IntOrString,
    labels::Selector,
    object::ObjectKey,
};
use cni::{
    cidr::Cidr,
    rules::{NamedPort, Peer, Policy, PolicyRule, PortMatch, Ports, Protocol, RuleSet},
};

type Labels = BTreeMap<String, String>;

/// What policies look at in a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its address; None: it has none, or none of its own.
    pub ip: Option<IpAddr>,
    /// The node that it is bound to.
    pub node: String,
    /// Its labels.
    pub labels: Labels,
    /// The ports that its containers name.
    pub ports: Vec<NamedPort>,
}

/// Whose pods a peer means.
#[derive(Debug)]
enum Namespaces {
    Own,
    Matching(Selector),
}

#[derive(Debug)]
enum ParsedPeer {
    Pods(Namespaces, Selector),
    Block { cidr: Cidr, except: Vec<Cidr> },
}

#[derive(Debug)]
struct ParsedRule {
    peers: Vec<ParsedPeer>,
    ports: Vec<PortMatch>,
}

#[derive(Debug)]
struct Parsed {
    pods: Selector,
    ingress: Option<Vec<ParsedRule>>,
    egress: Option<Vec<ParsedRule>>,
}

/// All policies, and what they select from.
#[derive(Debug, Default)]
pub struct Policies {
    policies: BTreeMap<ObjectKey, Parsed>,
    pods: BTreeMap<ObjectKey, PodFacts>,
    namespaces: BTreeMap<String, Labels>,
    /// Whether pods and namespaces are known.
    listed: [bool; 2],
    changed: bool,
}

impl Policies {
    /// Learns of a policy.
    pub fn set_policy(&mut self, key: ObjectKey, policy: &NetworkPolicy) {
        self.changed = true;
        match parse(policy) {
            Some(parsed) => self.policies.insert(key, parsed),
            None => self.policies.remove(&key),
        };
    }

    /// Learns that a policy is gone.
    pub fn remove_policy(&mut self, key: &ObjectKey) {
        self.changed |= self.policies.remove(key).is_some();
    }

    /// Learns that there are no policies but those that follow.
    pub fn clear_policies(&mut self) {
        self.changed = true;
        self.policies.clear();
    }

    /// Learns of a pod.
    pub fn set_pod(&mut self, key: ObjectKey, facts: PodFacts) {
        if self.pods.get(&key) != Some(&facts) {
            self.changed = true;
            self.pods.insert(key, facts);
        }
    }

    /// Learns that a pod is gone.
    pub fn remove_pod(&mut self, key: &ObjectKey) {
        self.changed |= self.pods.remove(key).is_some();
    }

    /// Learns of all pods there are.
    pub fn replace_pods(&mut self, pods: impl IntoIterator<Item = (ObjectKey, PodFacts)>) {
        self.pods = pods.into_iter().collect();
        (self.changed, self.listed[0]) = (true, true);
    }

    /// Learns of a namespace.
    pub fn set_namespace(&mut self, name: String, labels: Labels) {
        if self.namespaces.get(&name) != Some(&labels) {
            self.changed = true;
            self.namespaces.insert(name, labels);
        }
    }

    /// Learns that a namespace is gone.
    pub fn remove_namespace(&mut self, name: &str) {
        self.changed |= self.namespaces.remove(name).is_some();
    }

    /// Learns of all namespaces there are.
    pub fn replace_namespaces(&mut self, namespaces: impl IntoIterator<Item = (String, Labels)>) {
        self.namespaces = namespaces.into_iter().collect();
        (self.changed, self.listed[1]) = (true, true);
    }

    /// Forgets pods and namespaces, which nobody follows any more.
    pub fn forget_pods(&mut self) {
        self.pods.clear();
        self.namespaces.clear();
        self.listed = [false; 2];
    }

    /// Whether there is any policy: only then pods and namespaces matter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Whether all is known that the policies need.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_empty() || self.listed == [true; 2]
    }

    /// Has the next [`Self::take_changed`] compile.
    pub fn touch(&mut self) {
        self.changed = true;
    }

    /// Compiles for `node` if anything has changed and all is known: a rule set with nothing but policies in it.
    pub fn take_changed(&mut self, node: &str) -> Option<RuleSet> {
        if !self.changed || !self.is_complete() {
            return None;
        }
        self.changed = false;
        Some(self.compile(node))
    }

    /// Makes the tables of a node's pods.
    #[must_use]
    pub fn compile(&self, node: &str) -> RuleSet {
        let mut tables = RuleSet::default();
        if self.is_empty() {
            return tables;
        }
        let mut names = BTreeSet::new();
        let local = self.pods.iter().filter(|(_, pod)| pod.node == node);
        for (key, ip, pod) in local.filter_map(|(key, pod)| Some((key, pod.ip?, pod))) {
            let selecting = self.policies.iter().filter(|(policy, parsed)| {
                policy.namespace == key.namespace && parsed.pods.matches(&pod.labels)
            });
            let selecting: Vec<&ObjectKey> = selecting.map(|(policy, _)| policy).collect();
            if !selecting.is_empty() {
                tables.policed.insert(ip, selecting.iter().map(ToString::to_string).collect());
                names.extend(selecting);
            }
        }
        for key in names {
            let Some(parsed) = self.policies.get(key) else { continue };
            let mut rules = |rules: &Option<Vec<ParsedRule>>| {
                let rules = rules.as_ref()?;
                Some(
                    rules.iter().map(|rule| self.rule(&key.namespace, rule, &mut tables)).collect(),
                )
            };
            let policy = Policy { ingress: rules(&parsed.ingress), egress: rules(&parsed.egress) };
            tables.policies.insert(key.to_string(), policy);
        }
        self.name_ports(&mut tables);
        tables
    }

    fn rule(&self, namespace: &str, rule: &ParsedRule, tables: &mut RuleSet) -> PolicyRule {
        let mut peer = |peer: &ParsedPeer| match peer {
            ParsedPeer::Block { cidr, except } => {
                Peer::Block { cidr: *cidr, except: except.clone() }
            }
            ParsedPeer::Pods(namespaces, pods) => {
                let name = match namespaces {
                    Namespaces::Own => format!("{namespace}/pods({pods})"),
                    Namespaces::Matching(selector) => {
                        format!("namespaces({selector})/pods({pods})")
                    }
                };
                if !tables.ip_sets.contains_key(&name) {
                    let set = self.addresses(namespace, namespaces, pods);
                    tables.ip_sets.insert(name.clone(), set);
                }
                Peer::Set(name)
            }
        };
        PolicyRule { peers: rule.peers.iter().map(&mut peer).collect(), ports: rule.ports.clone() }
    }

    fn addresses(&self, own: &str, namespaces: &Namespaces, pods: &Selector) -> BTreeSet<IpAddr> {
        let is_meant = |namespace: &str| match namespaces {
            Namespaces::Own => namespace == own,
            Namespaces::Matching(selector) => {
                self.namespaces.get(namespace).is_some_and(|labels| selector.matches(labels))
            }
        };
        let meant = self
            .pods
            .iter()
            .filter(|(key, pod)| is_meant(&key.namespace) && pods.matches(&pod.labels));
        meant.filter_map(|(_, pod)| pod.ip).collect()
    }

    /// The ports of the names that the rules use, of all pods that have such.
    fn name_ports(&self, tables: &mut RuleSet) {
        let rules = tables.policies.values().flat_map(|policy| [&policy.ingress, &policy.egress]);
        let ports = rules.flatten().flatten().flat_map(|rule| &rule.ports);
        let used: BTreeSet<&str> = ports
            .filter_map(|port| match &port.port {
                Ports::Named(name) => Some(name.as_str()),
                Ports::All | Ports::Range(..) => None,
            })
            .collect();
        let mut named = BTreeMap::new();
        for pod in self.pods.values() {
            let ports = pod.ports.iter().filter(|port| used.contains(port.name.as_str()));
            let mut ports: Vec<NamedPort> = ports.cloned().collect();
            ports.sort();
            if let (Some(ip), false) = (pod.ip, ports.is_empty()) {
                named.insert(ip, ports);
            }
        }
        tables.named_ports = named;
    }
}

/// Reads a policy; None for one whose pods cannot be told.
fn parse(policy: &NetworkPolicy) -> Option<Parsed> {
    let spec = &policy.spec;
    let everything = LabelSelector::default();
    let pods =
        Selector::from_label_selector(Some(spec.pod_selector.as_ref().unwrap_or(&everything)));
    let types = &spec.policy_types;
    let has = |name: &str| types.iter().any(|type_| type_ == name);
    let ingress = types.is_empty() || has("Ingress");
    let egress = if types.is_empty() { !spec.egress.is_empty() } else { has("Egress") };
    Some(Parsed {
        pods: pods.ok()?,
        ingress: ingress
            .then(|| spec.ingress.iter().filter_map(|r| parse_rule(&r.from, &r.ports)).collect()),
        egress: egress
            .then(|| spec.egress.iter().filter_map(|r| parse_rule(&r.to, &r.ports)).collect()),
    })
}

/// Reads a rule; None for one that can match nothing.
fn parse_rule(peers: &[NetworkPolicyPeer], ports: &[NetworkPolicyPort]) -> Option<ParsedRule> {
    let parsed = ParsedRule {
        peers: peers.iter().filter_map(parse_peer).collect(),
        ports: ports.iter().filter_map(parse_port).collect(),
    };
    // A list of which nothing is left would mean "all".
    let whole = (parsed.peers.is_empty() == peers.is_empty())
        && (parsed.ports.is_empty() == ports.is_empty());
    whole.then_some(parsed)
}

fn parse_peer(peer: &NetworkPolicyPeer) -> Option<ParsedPeer> {
    if let Some(IPBlock { cidr, except }) = &peer.ip_block {
        let except = except.iter().filter_map(|except| except.parse().ok()).collect();
        return Some(ParsedPeer::Block { cidr: cidr.parse().ok()?, except });
    }
    let everything = LabelSelector::default();
    let pods = peer.pod_selector.as_ref().unwrap_or(&everything);
    let pods = Selector::from_label_selector(Some(pods)).ok()?;
    let namespaces = match &peer.namespace_selector {
        None if peer.pod_selector.is_none() => return None,
        None => Namespaces::Own,
        Some(selector) => Namespaces::Matching(Selector::from_label_selector(Some(selector)).ok()?),
    };
    Some(ParsedPeer::Pods(namespaces, pods))
}

fn parse_port(port: &NetworkPolicyPort) -> Option<PortMatch> {
    let protocol = match port.protocol.as_deref() {
        None | Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some(_) => return None,
    };
    let number = |number: i32| u16::try_from(number).ok();
    let port = match &port.port {
        None => Ports::All,
        Some(IntOrString::String(name)) => Ports::Named(name.clone()),
        Some(IntOrString::Int(first)) => {
            Ports::Range(number(*first)?, number(port.end_port.unwrap_or(*first))?)
        }
    };
    Some(PortMatch { protocol, port })
}
