//! What the rules mean at one node: the endpoints there, for load balancers and for the metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use apimachinery::object::ObjectKey;
use cni::rules::{Place, Reachable, ServicePortName, ServiceRule, Traffic, TrafficPolicy};

/// A port that tells whether a Service has endpoints at this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// `spec.healthCheckNodePort`.
    pub port: u16,
    /// How many ready endpoints there are here.
    pub endpoints: usize,
}

/// Kept up to date rule by rule.
#[derive(Debug, Default)]
pub(super) struct Local {
    pub(super) node: String,
    /// Service ports whose policy looks for endpoints here and finds none, by policy: internal, external.
    without: [BTreeSet<ServicePortName>; 2],
    pub(super) checks: BTreeMap<ObjectKey, HealthCheck>,
}

impl Local {
    /// Takes a rule in.
    pub(super) fn set(&mut self, name: &ServicePortName, rule: Option<&ServiceRule>) {
        let traffics = [Traffic::Internal, Traffic::External];
        for (without, traffic) in self.without.iter_mut().zip(traffics) {
            let place = Place { node: &self.node, zone: None };
            let nobody = rule.is_some_and(|rule| {
                policy(rule, traffic) == TrafficPolicy::Local
                    && rule.reachable(traffic, place) == Reachable::NoneLocal
            });
            if nobody {
                without.insert(name.clone());
            } else {
                without.remove(name);
            }
        }
    }

    /// How many Service ports find nobody here, by policy: internal, external.
    pub(super) fn without_endpoints(&self) -> [usize; 2] {
        [self.without[0].len(), self.without[1].len()]
    }

    /// Takes the rules of a Service in, and the port at which it wants to be asked about.
    pub(super) fn set_check<'a>(
        &mut self,
        service: &ObjectKey,
        port: Option<u16>,
        rules: impl Iterator<Item = &'a ServiceRule>,
    ) {
        let Some(port) = port else {
            self.checks.remove(service);
            return;
        };
        let here = |node: &Option<String>| node.as_deref() == Some(self.node.as_str());
        let local: BTreeSet<IpAddr> = rules
            .flat_map(|rule| &rule.endpoints)
            .filter(|endpoint| endpoint.ready && here(&endpoint.node))
            .map(|endpoint| endpoint.address.ip())
            .collect();
        self.checks.insert(service.clone(), HealthCheck { port, endpoints: local.len() });
    }
}

fn policy(rule: &ServiceRule, traffic: Traffic) -> TrafficPolicy {
    match traffic {
        Traffic::Internal => rule.internal_policy,
        Traffic::External => rule.external_policy,
        Traffic::ExternalFromInside => TrafficPolicy::Cluster,
    }
}
