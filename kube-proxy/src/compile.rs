//! From Services, EndpointSlices and Nodes to the rules of a node's network: pure.
//!
//! A [`Compiler`] keeps the little of each object that rules are made of, and the rules as they were last taken.
//! Objects come and go one at a time and mark what they touch; [`Compiler::take_changes`] compiles only that. The
//! result is the same for any order of arrival, as [`compile`] shows.
//!
//! What is left out, as in Kubernetes' kube-proxy: headless Services and those of type ExternalName; Services that
//! name another proxy in the label `service.kubernetes.io/service-proxy-name`; slices that are not of IPv4, which is
//! what the pod network speaks. SCTP is not carried: [`Compiler::problems`] says so for each Service that wants it.

mod endpoints;
mod local;
mod service;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use apimachinery::{
    api::{
        core::{Node, Service},
        discovery::EndpointSlice,
        meta::ObjectMeta,
    },
    object::ObjectKey,
};
use cni::rules::{NodeRoute, RuleDelta, RuleSet, ServicePortName, ServiceRule};

pub use self::local::HealthCheck;
use self::{endpoints::SlicePorts, local::Local, service::ServicePorts};
use crate::policy::Policies;

/// `corev1.LabelTopologyZone`.
const ZONE: &str = "topology.kubernetes.io/zone";

/// Compiles everything at once.
#[must_use]
pub fn compile<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    nodes: impl IntoIterator<Item = &'a Node>,
) -> RuleSet {
    let mut compiler = Compiler::default();
    services.into_iter().for_each(|service| compiler.set_service(service));
    slices.into_iter().for_each(|slice| compiler.set_slice(slice));
    nodes.into_iter().for_each(|node| compiler.set_node(node));
    compiler.take_changes();
    compiler.rules
}

/// Something about a Service that this proxy cannot do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The Service.
    pub service: ObjectKey,
    /// Reason of an Event.
    pub reason: String,
    /// Message of an Event.
    pub message: String,
}

/// Keeps the rules of the objects that it was told of.
#[derive(Debug, Default)]
pub struct Compiler {
    services: BTreeMap<ObjectKey, ServicePorts>,
    /// By Service, then by the slice's name.
    slices: BTreeMap<ObjectKey, BTreeMap<String, SlicePorts>>,
    /// The Service of each slice, to find it again when its label has changed or it is gone.
    service_of_slice: BTreeMap<ObjectKey, ObjectKey>,
    nodes: BTreeMap<String, NodeRoute>,
    touched_services: BTreeSet<ObjectKey>,
    touched_nodes: BTreeSet<String>,
    rules: RuleSet,
    /// NetworkPolicies, and what they select from.
    policies: Policies,
    local: Local,
    /// The own node's addresses on the host.
    host_addresses: Vec<IpAddr>,
}

impl Compiler {
    /// Compiles for this node, whose own endpoints and addresses are told apart.
    #[must_use]
    pub fn for_node(node: &str, rules: RuleSet) -> Self {
        let mut compiler = Self::from_rules(rules);
        node.clone_into(&mut compiler.local.node);
        for (name, rule) in &compiler.rules.services {
            compiler.local.set(name, Some(rule));
        }
        compiler
    }

    /// Starts with rules that were compiled in an earlier life; what they say stays in force until objects or
    /// [`Self::forget_unknown`] say otherwise.
    #[must_use]
    pub fn from_rules(rules: RuleSet) -> Self {
        Self { rules, ..Self::default() }
    }

    /// NetworkPolicies, and what they select from.
    pub fn policies(&mut self) -> &mut Policies {
        &mut self.policies
    }

    /// Learns of a Service, new or changed.
    pub fn set_service(&mut self, service: &Service) {
        let key = key_of(&service.metadata);
        self.touched_services.insert(key.clone());
        match ServicePorts::of(service) {
            Some(ports) => self.services.insert(key, ports),
            None => self.services.remove(&key),
        };
    }

    /// Learns of all Services there are.
    pub fn replace_services(&mut self, services: &[Service]) {
        let known = keys_of(services.iter().map(|service| &service.metadata));
        let gone = self.services.keys().filter(|key| !known.contains(key)).cloned();
        for key in gone.collect::<Vec<_>>() {
            self.remove_service(&key);
        }
        services.iter().for_each(|service| self.set_service(service));
    }

    /// Learns that a Service is gone.
    pub fn remove_service(&mut self, key: &ObjectKey) {
        if self.services.remove(key).is_some() {
            self.touched_services.insert(key.clone());
        }
    }

    /// Learns of an EndpointSlice, new or changed.
    pub fn set_slice(&mut self, slice: &EndpointSlice) {
        let slice_key = key_of(&slice.metadata);
        self.remove_slice(&slice_key);
        if let Some((service, ports)) = SlicePorts::of(slice) {
            let service = ObjectKey { namespace: slice_key.namespace.clone(), name: service };
            self.slices.entry(service.clone()).or_default().insert(slice_key.name.clone(), ports);
            self.touched_services.insert(service.clone());
            self.service_of_slice.insert(slice_key, service);
        }
    }

    /// Learns of all EndpointSlices there are.
    pub fn replace_slices(&mut self, slices: &[EndpointSlice]) {
        let known = keys_of(slices.iter().map(|slice| &slice.metadata));
        let gone = self.service_of_slice.keys().filter(|key| !known.contains(key)).cloned();
        for key in gone.collect::<Vec<_>>() {
            self.remove_slice(&key);
        }
        slices.iter().for_each(|slice| self.set_slice(slice));
    }

    /// Learns that an EndpointSlice is gone.
    pub fn remove_slice(&mut self, key: &ObjectKey) {
        let Some(service) = self.service_of_slice.remove(key) else { return };
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.remove(&key.name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
        self.touched_services.insert(service);
    }

    /// Learns of a Node, new or changed.
    pub fn set_node(&mut self, node: &Node) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let route = node_route(node);
        if name == self.local.node {
            self.host_addresses = host_addresses(node);
        }
        if self.nodes.get(&name) != Some(&route) {
            self.nodes.insert(name.clone(), route);
            self.touched_nodes.insert(name);
        }
    }

    /// Learns of all Nodes there are.
    pub fn replace_nodes(&mut self, nodes: &[Node]) {
        let known: BTreeSet<_> =
            nodes.iter().filter_map(|node| node.metadata.name.as_ref()).collect();
        let gone = self.nodes.keys().filter(|name| !known.contains(name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.remove_node(&name);
        }
        nodes.iter().for_each(|node| self.set_node(node));
    }

    /// Learns that a Node is gone.
    pub fn remove_node(&mut self, name: &str) {
        if self.nodes.remove(name).is_some() {
            self.touched_nodes.insert(name.to_owned());
        }
    }

    /// Marks everything that rules of an earlier life speak of and no object does: to be called once all objects
    /// are known.
    pub fn forget_unknown(&mut self) {
        self.policies.touch();
        let services = self.rules.services.keys();
        let services = services
            .map(|name| ObjectKey { namespace: name.namespace.clone(), name: name.name.clone() });
        self.touched_services
            .extend(services.filter(|key| !self.services.contains_key(key)).collect::<Vec<_>>());
        let nodes = self.rules.nodes.keys().filter(|name| !self.nodes.contains_key(*name));
        self.touched_nodes.extend(nodes.cloned().collect::<Vec<_>>());
    }

    /// Compiles what was touched since the last call, and returns what that changes.
    pub fn take_changes(&mut self) -> RuleDelta {
        let mut delta = RuleDelta::default();
        for key in std::mem::take(&mut self.touched_services) {
            let new = self.compile_service(&key);
            for name in self.rule_names(&key) {
                if !new.contains_key(&name) {
                    delta.services.insert(name, None);
                }
            }
            let check = self.services.get(&key).and_then(|service| service.health_check);
            self.local.set_check(&key, check, new.values());
            for (name, rule) in new {
                if self.rules.services.get(&name) != Some(&rule) {
                    delta.services.insert(name, Some(rule));
                }
            }
        }
        for name in std::mem::take(&mut self.touched_nodes) {
            let route = self.nodes.get(&name);
            if self.rules.nodes.get(&name) != route {
                delta.nodes.insert(name, route.cloned());
            }
        }
        for (name, rule) in &delta.services {
            self.local.set(name, rule.as_ref());
        }
        if let Some(tables) = self.policies.take_changed(&self.local.node) {
            let RuleDelta { services, nodes, .. } = delta;
            delta = RuleDelta { services, nodes, ..self.rules.diff_policies(&tables) };
        }
        self.rules.apply(delta.clone());
        delta
    }

    /// How many Service ports have the policy `Local` and no endpoint at this node, by policy: internal, external.
    #[must_use]
    pub fn without_local_endpoints(&self) -> [usize; 2] {
        self.local.without_endpoints()
    }

    /// The ports at which load balancers ask after this node's endpoints, as of the last [`Self::take_changes`].
    #[must_use]
    pub fn health_checks(&self) -> &BTreeMap<ObjectKey, HealthCheck> {
        &self.local.checks
    }

    /// Where this node answers on the host.
    #[must_use]
    pub fn host_addresses(&self) -> &[IpAddr] {
        &self.host_addresses
    }

    /// Returns the rules as of the last [`Self::take_changes`].
    #[must_use]
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Returns the UID of a Service of this proxy.
    #[must_use]
    pub fn service_uid(&self, key: &ObjectKey) -> Option<String> {
        self.services.get(key)?.uid.clone()
    }

    /// Lists what the Services want and do not get.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let unsupported = self.services.iter().flat_map(|(key, ports)| {
            ports.unsupported.iter().map(|(port, protocol)| Problem {
                service: key.clone(),
                reason: "ProtocolNotSupported".into(),
                message: format!(
                    "port {port}/{protocol} is not served: the pod network carries TCP and UDP"
                ),
            })
        });
        unsupported.collect()
    }

    fn compile_service(&self, key: &ObjectKey) -> BTreeMap<ServicePortName, ServiceRule> {
        let Some(service) = self.services.get(key) else { return BTreeMap::new() };
        let slices = self.slices.get(key);
        let rules = service.rules.iter().map(|(port, rule)| {
            let name = ServicePortName {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                port: port.clone(),
            };
            let slices = slices.into_iter().flat_map(BTreeMap::values);
            let endpoints = endpoints::join(slices, port, rule.protocol);
            (name, ServiceRule { endpoints, ..rule.clone() })
        });
        rules.collect()
    }

    /// The names that the rules in force have for a Service.
    fn rule_names(&self, key: &ObjectKey) -> Vec<ServicePortName> {
        let first = ServicePortName {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            port: String::new(),
        };
        self.rules
            .services
            .range(first..)
            .map(|(name, _)| name)
            .take_while(|name| name.namespace == key.namespace && name.name == key.name)
            .cloned()
            .collect()
    }
}

fn key_of(metadata: &ObjectMeta) -> ObjectKey {
    ObjectKey {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

fn keys_of<'a>(objects: impl Iterator<Item = &'a ObjectMeta>) -> BTreeSet<ObjectKey> {
    objects.map(key_of).collect()
}

/// The ExternalIPs that are the host's loopback: nothing else is ever opened.
fn host_addresses(node: &Node) -> Vec<IpAddr> {
    let external = node.status.addresses.iter().filter(|address| address.type_ == "ExternalIP");
    let parsed = external.filter_map(|address| address.address.parse::<IpAddr>().ok());
    parsed.filter(IpAddr::is_loopback).collect()
}

fn node_route(node: &Node) -> NodeRoute {
    let single = node.spec.pod_cidr.iter().filter(|_| node.spec.pod_cidrs.is_empty());
    let ranges = node.spec.pod_cidrs.iter().chain(single);
    let addresses = node.status.addresses.iter().filter(|address| address.type_ == "InternalIP");
    NodeRoute {
        pod_cidrs: ranges.filter_map(|range| range.parse().ok()).collect(),
        addresses: addresses.filter_map(|address| address.address.parse().ok()).collect(),
        zone: node.metadata.labels.get(ZONE).filter(|zone| !zone.is_empty()).cloned(),
    }
}
