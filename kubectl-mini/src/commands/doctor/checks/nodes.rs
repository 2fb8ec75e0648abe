//! Nodes: Ready, reachable, with a range and addresses for pods.

use apimachinery::{api::core::Node, object::ObjectKey};

use super::super::{
    finding::{Finding, Subject},
    snapshot::Snapshot,
};

fn subject(name: &str) -> Subject {
    Subject::cluster("Node", name)
}

fn condition<'a>(node: &'a Node, name: &str) -> Option<(&'a str, String)> {
    let found = node.status.conditions.iter().find(|c| c.type_ == name)?;
    let reason = found.reason.as_deref().unwrap_or_default();
    let message = found.message.as_deref().unwrap_or_default();
    Some((found.status.as_str(), format!("{name}: {}, {reason}: {message}", found.status)))
}

pub(super) fn ready(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, node) in &snapshot.nodes {
        let logs = format!("kube-mini logs kubelet-{name}");
        let silent = snapshot.reports.get(name).and_then(|report| report.as_ref().err());
        match condition(node, "Ready") {
            Some(("True", _)) => {
                if let Some(why) = silent {
                    let cause = "says that it is Ready, but its kubelet cannot be asked";
                    findings
                        .push(Finding::new("node-ready", subject(name), cause, logs).because(why));
                }
            }
            told => {
                let unknown = told.as_ref().is_some_and(|(status, _)| *status == "Unknown");
                let cause = if unknown || told.is_none() {
                    "is unreachable: its kubelet has stopped telling of it"
                } else {
                    "is not Ready"
                };
                let mut finding = Finding::new("node-ready", subject(name), cause, logs);
                finding.evidence.extend(told.map(|(_, text)| text));
                finding.evidence.extend(silent.cloned());
                findings.push(finding);
            }
        }
        for pressure in ["MemoryPressure", "DiskPressure", "PIDPressure"] {
            if let Some(("True", text)) = condition(node, pressure) {
                let fix = format!("kubectl-mini describe node {name}");
                let cause = format!("has {pressure}: pods are evicted and none are placed here");
                findings.push(Finding::new("node-ready", subject(name), cause, fix).because(text));
            }
        }
    }
    findings
}

pub(super) fn pod_cidr(snapshot: &Snapshot) -> Vec<Finding> {
    let without = snapshot.nodes.iter().filter(|(_, node)| {
        node.spec.pod_cidrs.is_empty()
            && node.spec.pod_cidr.as_deref().unwrap_or_default().is_empty()
    });
    without
        .map(|(name, _)| {
            let cause = "has no podCIDR: its pods get no addresses";
            let finding = Finding::new(
                "pod-cidr",
                subject(name),
                cause,
                "kube-mini logs kube-controller-manager",
            );
            let key = ObjectKey::cluster(name.as_str());
            match snapshot.warning("Node", &key, &["CIDRNotAvailable"]) {
                Some(event) => finding.because(event.message.clone().unwrap_or_default()),
                None => finding.because("the controller manager's node IPAM gives it"),
            }
        })
        .collect()
}

pub(super) fn addresses(snapshot: &Snapshot) -> Vec<Finding> {
    let reports =
        snapshot.reports.iter().filter_map(|(name, report)| Some((name, report.as_ref().ok()?)));
    let full = reports.filter(|(_, report)| report.addresses.used >= report.addresses.capacity);
    full.map(|(name, report)| {
        let fix = format!("kubectl-mini drain {name} --ignore-daemonsets");
        let cause = format!("has no address left in {} for pods", report.stance.pod_cidr);
        let evidence =
            format!("{} of {} are given", report.addresses.used, report.addresses.capacity);
        Finding::new("addresses", subject(name), cause, fix).because(evidence)
    })
    .collect()
}
