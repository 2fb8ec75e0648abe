//! The rules of each node against the API, read here by our own eyes: kube-proxy is whom this checks.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::{api::core::Service, object::ObjectKey};
use cni::{
    report::NodeReport,
    rules::{ServicePortName, ServiceRule},
};

use super::super::{
    finding::{Finding, Subject},
    snapshot::Snapshot,
};

/// Differences that are shown of one node.
const SHOWN: usize = 5;

fn answering(snapshot: &Snapshot) -> impl Iterator<Item = (&String, &NodeReport)> {
    snapshot.reports.iter().filter_map(|(name, report)| Some((name, report.as_ref().ok()?)))
}

pub(super) fn programmed(snapshot: &Snapshot) -> Vec<Finding> {
    let never = answering(snapshot).filter(|(_, report)| report.generation == 0);
    never
        .map(|(name, _)| {
            let cause = "has no rules: its kube-proxy has not programmed it since it started";
            let fix = format!("kube-mini logs kube-proxy-{name}");
            Finding::new("proxy", Subject::cluster("Node", name), cause, fix)
                .because("no Service answers from here")
        })
        .collect()
}

/// What a Service port should look like: addresses, ports, endpoints and whether they are ready.
type Expected = (BTreeSet<String>, BTreeMap<String, bool>);

pub(super) fn agree(snapshot: &Snapshot) -> Vec<Finding> {
    let mut expected = BTreeMap::new();
    for (key, service) in &snapshot.services {
        expect(snapshot, key, service, &mut expected);
    }
    let programmed = answering(snapshot).filter(|(_, report)| report.generation > 0);
    programmed.filter_map(|(name, report)| compare(snapshot, name, report, &expected)).collect()
}

/// What the API says of a Service's ports.
fn expect(
    snapshot: &Snapshot,
    key: &ObjectKey,
    service: &Service,
    expected: &mut BTreeMap<ServicePortName, Expected>,
) {
    let spec = &service.spec;
    let ip = spec.cluster_ip.as_deref().unwrap_or_default();
    let foreign = service.metadata.labels.contains_key("service.kubernetes.io/service-proxy-name");
    if foreign || matches!(ip, "" | "None") || spec.type_.as_deref() == Some("ExternalName") {
        return;
    }
    for port in &spec.ports {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        if !matches!(protocol, "TCP" | "UDP") {
            continue;
        }
        let port_name = port.name.clone().unwrap_or_default();
        let mut addresses = BTreeSet::from([format!("{ip}:{}", port.port)]);
        if matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer")) {
            addresses.extend(port.node_port.map(|number| format!("node:{number}")));
        }
        let mut endpoints = BTreeMap::new();
        let slices = snapshot.slices.get(key).into_iter().flatten();
        for slice in slices.filter(|slice| slice.address_type == "IPv4") {
            let own = slice.ports.iter().find(|p| {
                p.name.as_deref().unwrap_or_default() == port_name
                    && p.protocol.as_deref().unwrap_or("TCP") == protocol
            });
            let Some(number) = own.and_then(|port| port.port) else { continue };
            for endpoint in &slice.endpoints {
                let ready = endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
                if let Some(address) = endpoint.addresses.first() {
                    *endpoints.entry(format!("{address}:{number}")).or_default() |= ready;
                }
            }
        }
        let name = ServicePortName {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            port: port_name,
        };
        expected.insert(name, (addresses, endpoints));
    }
}

fn seen(rule: &ServiceRule) -> Expected {
    let addresses = rule.cluster_ips.iter().map(|ip| format!("{ip}:{}", rule.port));
    let addresses = addresses.chain(rule.node_port.map(|port| format!("node:{port}"))).collect();
    let endpoints = rule.endpoints.iter().map(|e| (e.address.to_string(), e.ready)).collect();
    (addresses, endpoints)
}

fn compare(
    snapshot: &Snapshot,
    node: &str,
    report: &NodeReport,
    expected: &BTreeMap<ServicePortName, Expected>,
) -> Option<Finding> {
    let mut differences = Vec::new();
    for (name, wanted) in expected {
        match report.rules.services.get(name).map(seen) {
            None => differences.push(format!("{name} is in the API, and no rule has it")),
            Some(seen) if seen != *wanted => {
                let text = |(addresses, endpoints): &Expected| {
                    let endpoints = endpoints.iter().map(|(address, ready)| {
                        if *ready { address.clone() } else { format!("{address} (not ready)") }
                    });
                    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
                    let endpoints: Vec<String> = endpoints.collect();
                    format!("{} → [{}]", addresses.join(" "), endpoints.join(" "))
                };
                differences.push(format!(
                    "{name}: the API has {}, the rule {}",
                    text(wanted),
                    text(&seen)
                ));
            }
            Some(_) => {}
        }
    }
    let gone = report.rules.services.keys().filter(|name| !expected.contains_key(*name));
    differences.extend(gone.map(|name| format!("{name} has a rule, and the API no such port")));
    for (name, object) in &snapshot.nodes {
        let ranges: BTreeSet<&str> = object.spec.pod_cidrs.iter().map(String::as_str).collect();
        let routed = report.rules.nodes.get(name);
        let routed: BTreeSet<String> =
            routed.iter().flat_map(|route| &route.pod_cidrs).map(ToString::to_string).collect();
        if ranges != routed.iter().map(String::as_str).collect() {
            differences.push(format!("the route to {name} is {routed:?}, the API has {ranges:?}"));
        }
    }
    if differences.is_empty() {
        return None;
    }
    let cause = format!(
        "its rules differ from the API in {} places: kube-proxy is behind, or away",
        differences.len()
    );
    let fix = format!("kube-mini logs kube-proxy-{node}");
    let mut finding = Finding::new("rules", Subject::cluster("Node", node), cause, fix);
    if let Some(seconds) = report.programmed_seconds_ago {
        finding = finding.because(format!("programmed last {seconds} s ago"));
    }
    let more = differences.len().saturating_sub(SHOWN);
    finding.evidence.extend(differences.into_iter().take(SHOWN));
    if more > 0 {
        finding = finding.because(format!("and {more} more"));
    }
    Some(finding)
}
