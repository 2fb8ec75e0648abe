//! Services: what they select, their load balancers, and what the host lets them open.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::{api::core::Service, object::ObjectKey};
use cni::rules::ServicePortName;

use super::{
    super::{
        finding::{Finding, Subject},
        snapshot::Snapshot,
    },
    dns,
};
use crate::cli::distance;

type Labels = BTreeMap<String, String>;

/// What a Service is called in findings.
pub(super) fn subject(key: &ObjectKey) -> Subject {
    Subject::new("Service", key.namespace.as_str(), key.name.as_str())
}

pub(super) fn labels_text(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

fn is_alias(service: &Service) -> bool {
    service.spec.type_.as_deref() == Some("ExternalName")
}

pub(super) fn selector(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, service) in &snapshot.services {
        // That one is told of as the DNS.
        if is_alias(service) || key == &dns::service_key() {
            continue;
        }
        if service.spec.selector.is_empty() {
            let endpoints =
                snapshot.slices.get(key).into_iter().flatten().flat_map(|s| &s.endpoints);
            if endpoints.count() == 0 {
                let cause = "has no selector, and nobody has given it endpoints";
                let fix = format!(
                    "kubectl-mini set selector service {} KEY=VALUE -n {}",
                    key.name, key.namespace
                );
                findings.push(Finding::new("selector", subject(key), cause, fix));
            }
            continue;
        }
        if snapshot.selected(key, service).is_empty() {
            findings.push(nothing_selected(snapshot, key, service));
        }
    }
    findings
}

fn nothing_selected(snapshot: &Snapshot, key: &ObjectKey, service: &Service) -> Finding {
    let selector = &service.spec.selector;
    let wanted = labels_text(selector);
    let of = |labels: &Labels| selector.iter().all(|(name, value)| labels.get(name) == Some(value));
    let deployments = snapshot.deployments.iter();
    let mut own = deployments.filter(|(d, deployment)| {
        let labels = &deployment.spec.template.metadata.labels;
        d.namespace == key.namespace && of(labels)
    });
    if let Some((deployment, found)) = own.next() {
        let (name, namespace) = (&deployment.name, &key.namespace);
        let replicas = found.spec.replicas.unwrap_or(1);
        let cause = format!("has no pods: Deployment {name}, whose pods it selects, has none now");
        let fix = if replicas == 0 {
            format!("kubectl-mini scale deployment {name} --replicas=1 -n {namespace}")
        } else {
            format!("kubectl-mini describe deployment {name} -n {namespace}")
        };
        let evidence = format!("selector {wanted}; {replicas} replicas are asked for");
        return Finding::new("selector", subject(key), cause, fix).because(evidence);
    }
    let cause = format!("selects no pod: none in {} has the labels {wanted}", key.namespace);
    let mut sets: BTreeMap<&Labels, usize> = BTreeMap::new();
    for (_, pod) in snapshot.pods_in(&key.namespace) {
        *sets.entry(&pod.metadata.labels).or_default() += 1;
    }
    match nearest(selector, sets.keys().copied()) {
        Some((labels, near)) => {
            let count = sets.get(labels).copied().unwrap_or_default();
            let near = labels_text(&near);
            let fix = format!(
                "kubectl-mini set selector service {} {near} -n {}",
                key.name, key.namespace
            );
            let pods =
                if count == 1 { "1 pod has".to_owned() } else { format!("{count} pods have") };
            Finding::new("selector", subject(key), cause, fix)
                .because(format!("the nearest label: {near}, which {pods}"))
        }
        None => {
            let fix = format!("kubectl-mini get pods --show-labels -n {}", key.namespace);
            Finding::new("selector", subject(key), cause, fix)
                .because(format!("no pod of {} has a label like that", key.namespace))
        }
    }
}

/// The labels that are most like a selector, as a selector: of each pair the label nearest to it.
fn nearest<'a>(
    selector: &Labels,
    sets: impl Iterator<Item = &'a Labels>,
) -> Option<(&'a Labels, Labels)> {
    let mut best: Option<(usize, &Labels, Labels)> = None;
    for labels in sets {
        let mut cost = 0;
        let mut near = BTreeMap::new();
        for (name, value) in selector {
            let costs = labels.iter().map(|(other, theirs)| {
                (2 * distance(name, other) + distance(value, theirs), other, theirs)
            });
            let Some((pair, other, theirs)) = costs.min() else { break };
            cost += pair;
            near.insert(other.clone(), theirs.clone());
        }
        // What has little in common is not near.
        let length: usize = selector.iter().map(|(name, value)| name.len() + value.len()).sum();
        if near.is_empty() || 2 * cost > length {
            continue;
        }
        if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
            best = Some((cost, labels, near));
        }
    }
    best.map(|(_, labels, near)| (labels, near))
}

pub(super) fn load_balancer(snapshot: &Snapshot) -> Vec<Finding> {
    let wanting = snapshot.services.iter().filter(|(_, service)| {
        let has = service.status.load_balancer.iter().any(|status| !status.ingress.is_empty());
        service.spec.type_.as_deref() == Some("LoadBalancer")
            && service.spec.load_balancer_class.is_none()
            && !has
    });
    wanting
        .map(|(key, _)| {
            let cause = "waits for a load balancer: it has no address";
            let fix = "kube-mini logs kube-controller-manager";
            let finding = Finding::new("load-balancer", subject(key), cause, fix);
            match snapshot.warning("Service", key, &[]) {
                Some(event) => finding.because(event.message.clone().unwrap_or_default()),
                None => finding,
            }
        })
        .collect()
}

/// Another cluster has 127.0.0.1's node ports: the Service answers at its own addresses, as an Event tells.
const ELSEWHERE: &str = "NodePortNotOnLocalhost";

pub(super) fn host_port(snapshot: &Snapshot) -> Vec<Finding> {
    let reports = snapshot.reports.values().filter_map(|report| report.as_ref().ok());
    let refused = reports.flat_map(|report| {
        report.refused.iter().map(move |refusal| (report.stance.node.as_str(), refusal))
    });
    let mut findings: Vec<Finding> = Vec::new();
    for (node, refusal) in refused.filter(|(_, refusal)| refusal.reason != ELSEWHERE) {
        let ServicePortName { namespace, name, .. } = &refusal.service;
        let key = ObjectKey::new(namespace.as_str(), name.as_str());
        let cause = format!("the host does not open a port for it: {}", refusal.reason);
        let evidence = format!("{node}: {}", refusal.message);
        let fix = match refusal.message.split_once("run: ") {
            Some((_, command)) => command.split(';').next().unwrap_or_default().trim().to_owned(),
            None => other_port(snapshot, &refusal.service, &refusal.message),
        };
        let finding = Finding::new("host-port", subject(&key), cause, fix);
        match findings.iter_mut().find(|known| known.is_same(&finding)) {
            Some(known) => known.evidence.push(evidence),
            None => findings.push(finding.because(evidence)),
        }
    }
    findings
}

/// Gives a Service port a node port that nobody has.
fn other_port(snapshot: &Snapshot, name: &ServicePortName, message: &str) -> String {
    let key = ObjectKey::new(name.namespace.as_str(), name.name.as_str());
    let ports = snapshot.services.get(&key).map(|s| s.spec.ports.as_slice()).unwrap_or_default();
    let own = ports.iter().position(|p| p.name.as_deref().unwrap_or_default() == name.port);
    let node_port = own.and_then(|own| ports[own].node_port);
    let taken: BTreeSet<i32> = snapshot
        .services
        .values()
        .flat_map(|service| &service.spec.ports)
        .filter_map(|port| port.node_port)
        .collect();
    let free = (30_086..=32_767).find(|port| !taken.contains(port));
    match (own, node_port, free) {
        (Some(own), Some(port), Some(free)) if message.contains(&format!(":{port}/")) => format!(
            "kubectl-mini patch service {} -n {} --type=json -p '[{{\"op\":\"replace\",\"path\":\"/spec/ports/{own}/nodePort\",\"value\":{free}}}]'",
            key.name, key.namespace
        ),
        _ => format!("kubectl-mini edit service {} -n {}", key.name, key.namespace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_labels_are_found() {
        let labels = |text: &str| -> BTreeMap<String, String> {
            text.split(',')
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect()
        };
        let sets = [labels("app=web,tier=front"), labels("app=shop"), labels("")];
        let check = |selector: &str, expected: Option<&str>| {
            let found = nearest(&labels(selector), sets.iter());
            assert_eq!(found.map(|(_, near)| labels_text(&near)).as_deref(), expected);
        };
        check("app=wbe", Some("app=web"));
        check("ap=web", Some("app=web"));
        check("app=shops", Some("app=shop"));
        check("app=web,tier=back", Some("app=web,tier=front"));
        check("app=web,tier=frnt", Some("app=web,tier=front"));
        check("completely=different", None);
    }
}
