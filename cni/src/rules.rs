//! What a node's network is told: Services, policies and routes.
//!
//! A [`RuleSet`] is plain data, sorted, so that two equal ones have equal JSON and a dump can be compared. Changes
//! travel as a [`RuleDelta`]. Who may serve which traffic is decided by [`ServiceRule::reachable`], from the rule
//! alone: the data plane uses it to carry a connection, `trace` to explain one.

mod policy;
mod topology;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

pub use policy::{
    Direction, IpSets, NamedPort, Peer, Policy, PolicyNames, PolicyRule, PortMatch, Ports, Verdict,
};
pub use topology::{Place, Reachable, Traffic};

use crate::cidr::Cidr;

/// Everything a node's network obeys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RuleSet {
    /// One entry per port of a Service.
    pub services: BTreeMap<ServicePortName, ServiceRule>,
    /// Where the pods and addresses of each node are, by node name.
    pub nodes: BTreeMap<String, NodeRoute>,
    /// NetworkPolicies that select pods of this node, by `namespace/name`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<String, Policy>,
    /// The pods of this node that policies select, and which do.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub policed: BTreeMap<IpAddr, PolicyNames>,
    /// The sets of addresses that policies speak of.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ip_sets: IpSets,
    /// The ports that policies speak of by name, by the pod that names them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub named_ports: BTreeMap<IpAddr, Vec<NamedPort>>,
}

/// A change of a rule set: new values, or `None` for what is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RuleDelta {
    /// Changed Service ports.
    pub services: BTreeMap<ServicePortName, Option<ServiceRule>>,
    /// Changed nodes.
    pub nodes: BTreeMap<String, Option<NodeRoute>>,
    /// Changed policies.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<String, Option<Policy>>,
    /// Pods whose policies are others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub policed: BTreeMap<IpAddr, Option<PolicyNames>>,
    /// Changed sets of addresses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ip_sets: BTreeMap<String, Option<BTreeSet<IpAddr>>>,
    /// Pods whose named ports are others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub named_ports: BTreeMap<IpAddr, Option<Vec<NamedPort>>>,
}

/// Names one port of a Service; printed as kube-proxy does, `default/web:http`, or `default/web` without a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServicePortName {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// Name of the port; empty when it has none.
    pub port: String,
}

/// The transport protocols of a Service that this network carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

/// `internalTrafficPolicy` and `externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// Every endpoint of the cluster.
    #[default]
    Cluster,
    /// Endpoints of the node that the traffic entered by.
    Local,
}

/// One port of a Service: the addresses it answers on, and who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceRule {
    /// Protocol of all its addresses.
    pub protocol: Protocol,
    /// ClusterIPs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_ips: Vec<IpAddr>,
    /// Port on ClusterIPs, external and load balancer addresses.
    pub port: u16,
    /// Port on every node's own addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
    /// `spec.externalIPs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress`, as far as its mode is VIP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`: who may use the load balancer's addresses; empty: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_ranges: Vec<Cidr>,
    /// ClientIP affinity: how many seconds a client sticks to its endpoint after its last connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_seconds: Option<u32>,
    /// Who serves traffic of pods to the ClusterIP.
    #[serde(default)]
    pub internal_policy: TrafficPolicy,
    /// Who serves traffic that comes from outside.
    #[serde(default)]
    pub external_policy: TrafficPolicy,
    /// Every endpoint, ready or not, sorted.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

/// One backend of a Service port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// Address and port of the pod.
    pub address: SocketAddr,
    /// Node that hosts it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Takes new connections.
    pub ready: bool,
    /// Passes its readiness probe, terminating or not.
    pub serving: bool,
    /// Is being deleted.
    pub terminating: bool,
    /// Whom it is meant for, where its slice says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hints: Option<Box<Hints>>,
}

/// `hints` of an endpoint: who should prefer it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Hints {
    /// Nodes of these zones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// These nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

/// Where a node's pods and addresses are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NodeRoute {
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<Cidr>,
    /// InternalIPs: the node's own addresses in the cluster.
    pub addresses: Vec<IpAddr>,
    /// `topology.kubernetes.io/zone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

impl RuleSet {
    /// Returns the change that makes `newer` of this set.
    #[must_use]
    pub fn diff(&self, newer: &Self) -> RuleDelta {
        RuleDelta {
            services: diff_map(&self.services, &newer.services),
            nodes: diff_map(&self.nodes, &newer.nodes),
            ..self.diff_policies(newer)
        }
    }

    /// Returns the change of the policies alone.
    #[must_use]
    pub fn diff_policies(&self, newer: &Self) -> RuleDelta {
        RuleDelta {
            policies: diff_map(&self.policies, &newer.policies),
            policed: diff_map(&self.policed, &newer.policed),
            ip_sets: diff_map(&self.ip_sets, &newer.ip_sets),
            named_ports: diff_map(&self.named_ports, &newer.named_ports),
            ..RuleDelta::default()
        }
    }

    /// Makes a change, and returns the one that would undo it.
    pub fn apply(&mut self, delta: RuleDelta) -> RuleDelta {
        RuleDelta {
            services: apply_map(&mut self.services, delta.services),
            nodes: apply_map(&mut self.nodes, delta.nodes),
            policies: apply_map(&mut self.policies, delta.policies),
            policed: apply_map(&mut self.policed, delta.policed),
            ip_sets: apply_map(&mut self.ip_sets, delta.ip_sets),
            named_ports: apply_map(&mut self.named_ports, delta.named_ports),
        }
    }
}

impl RuleDelta {
    /// Reports whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.nodes.is_empty()
            && self.policies.is_empty()
            && self.policed.is_empty()
            && self.ip_sets.is_empty()
            && self.named_ports.is_empty()
    }
}

fn diff_map<K: Ord + Clone, V: PartialEq + Clone>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
) -> BTreeMap<K, Option<V>> {
    let gone = old.keys().filter(|key| !new.contains_key(key)).map(|key| (key.clone(), None));
    let changed = new
        .iter()
        .filter(|(key, value)| old.get(key) != Some(value))
        .map(|(key, value)| (key.clone(), Some(value.clone())));
    gone.chain(changed).collect()
}

fn apply_map<K: Ord + Clone, V>(
    map: &mut BTreeMap<K, V>,
    delta: BTreeMap<K, Option<V>>,
) -> BTreeMap<K, Option<V>> {
    let change = |(key, value): (K, Option<V>)| {
        let former = match value {
            Some(value) => map.insert(key.clone(), value),
            None => map.remove(&key),
        };
        (key, former)
    };
    delta.into_iter().map(change).collect()
}

impl fmt::Display for ServicePortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)?;
        if self.port.is_empty() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Tells that a text does not name a Service port.
#[derive(Debug, thiserror::Error)]
#[error("not a service port name: {0:?}")]
pub struct InvalidServicePortName(String);

impl FromStr for ServicePortName {
    type Err = InvalidServicePortName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, rest) =
            text.split_once('/').ok_or_else(|| InvalidServicePortName(text.to_owned()))?;
        let (name, port) = rest.split_once(':').unwrap_or((rest, ""));
        Ok(Self { namespace: namespace.into(), name: name.into(), port: port.into() })
    }
}

impl TryFrom<String> for ServicePortName {
    type Error = InvalidServicePortName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ServicePortName> for String {
    fn from(name: ServicePortName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(port: u16) -> ServiceRule {
        ServiceRule {
            protocol: Protocol::Tcp,
            cluster_ips: vec!["10.96.0.9".parse().unwrap()],
            port,
            node_port: None,
            external_ips: vec![],
            load_balancer_ips: vec![],
            source_ranges: vec![],
            affinity_seconds: None,
            internal_policy: TrafficPolicy::Cluster,
            external_policy: TrafficPolicy::Cluster,
            endpoints: vec![],
        }
    }

    #[test]
    fn a_delta_leads_from_one_set_to_the_other() {
        let name = |text: &str| text.parse::<ServicePortName>().unwrap();
        let mut old = RuleSet::default();
        old.services.insert(name("default/a"), rule(1));
        old.services.insert(name("default/b:http"), rule(2));
        old.nodes.insert("node-1".into(), NodeRoute::default());
        let mut new = old.clone();
        new.services.remove(&name("default/a"));
        new.services.insert(name("default/b:http"), rule(3));
        new.services.insert(name("default/c"), rule(4));
        let pod_cidrs = vec!["10.244.2.0/24".parse().unwrap()];
        let route = NodeRoute { pod_cidrs, ..NodeRoute::default() };
        new.nodes.insert("node-2".into(), route);

        let delta = old.diff(&new);
        assert_eq!(delta.services.len(), 3);
        assert_eq!(delta.nodes.len(), 1);
        let wire = serde_json::to_vec(&delta).unwrap();
        let before = old.clone();
        let undo = old.apply(serde_json::from_slice(&wire).unwrap());
        assert_eq!(old, new);
        assert!(old.diff(&new).is_empty());
        old.apply(undo);
        assert_eq!(old, before);

        let dump = serde_json::to_string(&new).unwrap();
        assert_eq!(serde_json::from_str::<RuleSet>(&dump).unwrap(), new);
        assert!(dump.contains(r#""default/b:http":{"protocol":"TCP""#), "{dump}");
    }
}
