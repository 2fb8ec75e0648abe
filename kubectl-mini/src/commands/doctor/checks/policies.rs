//! NetworkPolicies that keep out more than was meant: judged by the rules that the pods' nodes obey.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use apimachinery::{api::core::Pod, object::ObjectKey};
use cni::rules::{Direction, Peer, PolicyRule, Protocol, RuleSet, ServiceRule};

use super::{
    super::{
        finding::{Finding, Subject},
        snapshot::Snapshot,
    },
    dns,
    services::subject,
};

/// Somebody outside of every cluster.
const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

/// The policies that select a pod and speak of a direction.
fn speaking(rules: &RuleSet, pod: IpAddr, direction: Direction) -> Vec<(&str, &[PolicyRule])> {
    let names = rules.policed.get(&pod).into_iter().flatten();
    names
        .filter_map(|name| {
            let policy = rules.policies.get(name)?;
            let of = match direction {
                Direction::Ingress => policy.ingress.as_deref()?,
                Direction::Egress => policy.egress.as_deref()?,
            };
            Some((name.as_str(), of))
        })
        .collect()
}

/// One peer of each kind that some rule means: if none of them is let in, nobody is.
fn samples(rules: &RuleSet, speaking: &[(&str, &[PolicyRule])], pod: IpAddr) -> Vec<IpAddr> {
    let peers = speaking.iter().flat_map(|(_, of)| *of).flat_map(|rule| &rule.peers);
    let mut all = vec![ANYBODY];
    for peer in peers {
        match peer {
            Peer::Set(name) => all.extend(rules.ip_sets.get(name).into_iter().flatten()),
            Peer::Block { cidr, .. } => all.extend((0..4).filter_map(|n| cidr.nth(n))),
        }
    }
    // What a pod says to itself is no traffic of a Service.
    all.retain(|ip| *ip != pod);
    all
}

pub(super) fn nobody_in(snapshot: &Snapshot) -> Vec<Finding> {
    let reports = || snapshot.reports.values().filter_map(|report| report.as_ref().ok());
    let mut findings: Vec<Finding> = Vec::new();
    for report in reports().filter(|report| !report.rules.policed.is_empty()) {
        for (name, rule) in &report.rules.services {
            let key = ObjectKey::new(name.namespace.as_str(), name.name.as_str());
            let known = |finding: &Finding| finding.subject == subject(&key);
            if findings.iter().any(known) {
                continue;
            }
            if let Some((endpoint, policies)) = closed(&report.rules, rule) {
                let cause = format!("policies let nobody in to its port {}", rule.port);
                let fix = format!(
                    "kubectl-mini describe networkpolicy {} -n {}",
                    policies
                        .iter()
                        .filter_map(|p| p.split_once('/'))
                        .map(|(_, p)| p)
                        .collect::<Vec<_>>()
                        .join(" "),
                    key.namespace
                );
                let evidence =
                    format!("no rule of {} lets anybody in to {endpoint}", policies.join(", "));
                findings.push(Finding::new("policy", subject(&key), cause, fix).because(evidence));
            }
        }
    }
    findings
}

/// An endpoint of a Service, on the node of these rules, that nobody can reach.
fn closed(rules: &RuleSet, rule: &ServiceRule) -> Option<(SocketAddr, Vec<String>)> {
    let policed = rule.endpoints.iter().filter(|e| rules.policed.contains_key(&e.address.ip()));
    policed.map(|endpoint| endpoint.address).find_map(|to| {
        let speaking = speaking(rules, to.ip(), Direction::Ingress);
        if speaking.is_empty() {
            return None;
        }
        let admits = |peer: &IpAddr| {
            rules.verdict(Direction::Ingress, to.ip(), *peer, rule.protocol, to).admits()
        };
        let anybody = samples(rules, &speaking, to.ip()).iter().any(admits);
        let names = speaking.iter().map(|(name, _)| (*name).to_owned()).collect();
        (!anybody).then_some((to, names))
    })
}

pub(super) fn no_dns(snapshot: &Snapshot) -> Vec<Finding> {
    let key = dns::service_key();
    let mut findings = Vec::new();
    for report in snapshot.reports.values().filter_map(|report| report.as_ref().ok()) {
        let rules = &report.rules;
        let of_dns = rules.services.iter().filter(|(name, rule)| {
            name.namespace == key.namespace
                && name.name == key.name
                && rule.protocol == Protocol::Udp
        });
        let servers: Vec<SocketAddr> =
            of_dns.flat_map(|(_, rule)| &rule.endpoints).map(|e| e.address).collect();
        for pod in report.pods.iter().filter(|pod| rules.policed.contains_key(&pod.ip)) {
            let speaking = speaking(rules, pod.ip, Direction::Egress);
            // Who may go nowhere was meant to.
            let goes_out = speaking.iter().any(|(_, of)| !of.is_empty());
            let name = ObjectKey::new(pod.namespace.as_str(), pod.name.as_str());
            if servers.is_empty() || !goes_out || !asks_cluster(snapshot.pods.get(&name)) {
                continue;
            }
            let admits = |to: &&SocketAddr| {
                rules.verdict(Direction::Egress, pod.ip, to.ip(), Protocol::Udp, **to).admits()
            };
            if servers.iter().find(admits).is_none() {
                let policies: Vec<&str> = speaking.iter().map(|(name, _)| *name).collect();
                let cause = "resolves no name: policies let it out, but not to the DNS";
                let fix = format!(
                    "kubectl-mini edit networkpolicy {} -n {}",
                    policies.first().and_then(|p| p.split_once('/')).map_or("", |(_, name)| name),
                    pod.namespace
                );
                let subject = Subject::new("Pod", pod.namespace.as_str(), pod.name.as_str());
                let evidence =
                    format!("no rule of {} allows UDP 53 to kube-system", policies.join(", "));
                findings.push(Finding::new("policy-dns", subject, cause, fix).because(evidence));
            }
        }
    }
    findings
}

fn asks_cluster(pod: Option<&Pod>) -> bool {
    let policy = pod.and_then(|pod| pod.spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    policy.starts_with("ClusterFirst")
}
