//! The table of checks: each looks at a snapshot and gives findings. Pure.

pub mod access;
mod dns;
mod ingresses;
mod namespaces;
mod nodes;
mod pods;
mod policies;
mod ports;
mod rules;
mod services;
#[cfg(test)]
mod tests;

use super::{finding::Finding, snapshot::Snapshot};

/// One check.
pub struct Check {
    /// Its name, in findings.
    pub name: &'static str,
    /// What it finds.
    pub about: &'static str,
    /// Finds it.
    pub find: fn(&Snapshot) -> Vec<Finding>,
}

const fn check(
    name: &'static str,
    about: &'static str,
    find: fn(&Snapshot) -> Vec<Finding>,
) -> Check {
    Check { name, about, find }
}

/// All checks, from the ground up: who reads the findings from the top mends causes before consequences.
pub static CHECKS: &[Check] = &[
    check("node-ready", "a node is not Ready, or cannot be asked", nodes::ready),
    check("pod-cidr", "a node has no range for its pods", nodes::pod_cidr),
    check("addresses", "a node has no address left for pods", nodes::addresses),
    check("proxy", "kube-proxy has not programmed a node", rules::programmed),
    check("rules", "a node's rules are not what the API says", rules::agree),
    check("dns", "the cluster's DNS does not serve", dns::serves),
    check("pending", "no node takes a pod", pods::pending),
    check("image", "an image cannot be pulled", pods::image),
    check("crash", "a container ends again and again, or cannot be started", pods::crash),
    check("not-ready", "a pod is not ready", pods::not_ready),
    check("selector", "a Service selects no pod", services::selector),
    check("load-balancer", "a Service has no load balancer", services::load_balancer),
    check("host-port", "the host does not let a port be opened", services::host_port),
    check("target-port", "nobody listens at a Service's target port", ports::target),
    check("protocol", "a Service's port has another protocol", ports::protocol),
    check("policy", "policies let nobody in to a Service", policies::nobody_in),
    check("policy-dns", "policies do not let a pod ask the DNS", policies::no_dns),
    check("ingress-class", "no controller takes an Ingress", ingresses::class),
    check("ingress-backend", "an Ingress leads to nobody", ingresses::backend),
    check("ingress-secret", "an Ingress' certificate is missing", ingresses::secret),
    check("permissions", "a controller may not do what it must", access::missing),
    check("namespace", "a namespace cannot be deleted", namespaces::stuck),
];

/// Runs all checks.
#[must_use]
pub fn run(snapshot: &Snapshot) -> Vec<Finding> {
    CHECKS.iter().flat_map(|check| (check.find)(snapshot)).collect()
}
