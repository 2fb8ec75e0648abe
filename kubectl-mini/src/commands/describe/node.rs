//! Describes Nodes.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::{
    api::{
        coordination::Lease,
        core::{Node, Pod, Taint},
    },
    object::Object,
    quantity::Quantity,
    status::Status,
};
use client::ListOptions;

use super::{
    Text,
    related::{Related, view},
};
use crate::{errors::CommandError, resources::pod_resources};

type Quantities = BTreeMap<String, Quantity>;

pub(super) async fn describe<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let node: Node = view(object)?;
    let name = object.name();
    let running = format!("spec.nodeName={name},status.phase!=Succeeded,status.phase!=Failed");
    let pods: Option<Vec<Pod>> = match related.list("", ListOptions::fields(running)).await {
        Ok(pods) => Some(pods),
        Err(error) if error.status().is_some_and(Status::is_forbidden) => None,
        Err(error) => return Err(error),
    };
    let lease = related.get::<Lease>("kube-node-lease", name).await;
    write_head(&node, &mut text);
    match &lease {
        Ok(lease) => write_lease(lease, &mut text),
        Err(error) => text.field(0, "Lease", format_args!("Failed to get lease: {error}")),
    }
    write_status(&node, &mut text);
    match &pods {
        Some(pods) => write_pods(&node, pods, &mut text),
        None => text.field(0, "Pods", "not authorized"),
    }
    // Controllers write the node's uid into their events, kubelets its name.
    let mut events = related.events(object).await;
    if let Some(events) = &mut events {
        events.extend(related.events_of(object, "Node", name).await.unwrap_or_default());
    }
    text.events(events);
    Ok(text)
}

fn write_head(node: &Node, text: &mut Text<'_>) {
    let metadata = &node.metadata;
    text.field(0, "Name", metadata.name.as_deref().unwrap_or_default());
    let roles: Vec<&str> = roles(&metadata.labels).into_iter().collect();
    text.field(0, "Roles", if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") });
    text.labels("Labels", &metadata.labels);
    text.annotations("Annotations", &metadata.annotations);
    text.field(0, "CreationTimestamp", text.time(metadata.creation_timestamp));
    let mut taints: Vec<&Taint> = node.spec.taints.iter().collect();
    taints.sort_by_key(|taint| (&taint.effect, &taint.key));
    let taints: Vec<String> = taints.into_iter().map(describe_taint).collect();
    text.multiline("Taints", &taints);
    text.field(0, "Unschedulable", node.spec.unschedulable.unwrap_or_default());
}

fn roles(labels: &BTreeMap<String, String>) -> BTreeSet<&str> {
    labels
        .iter()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None => (key == "kubernetes.io/role").then_some(value.as_str()),
        })
        .filter(|role| !role.is_empty())
        .collect()
}

/// `key=value:Effect`.
fn describe_taint(taint: &Taint) -> String {
    let value = taint.value.as_deref().unwrap_or_default();
    match (taint.effect.is_empty(), value.is_empty()) {
        (true, true) => taint.key.clone(),
        (true, false) => format!("{}={value}:", taint.key),
        (false, true) => format!("{}:{}", taint.key, taint.effect),
        (false, false) => format!("{}={value}:{}", taint.key, taint.effect),
    }
}

fn write_lease(lease: &Lease, text: &mut Text<'_>) {
    let unset = || "<unset>".to_owned();
    text.line(0, "Lease:");
    text.field(1, "HolderIdentity", lease.spec.holder_identity.as_deref().unwrap_or("<unset>"));
    let acquired = lease.spec.acquire_time.map_or_else(unset, |time| text.date(time.0));
    text.field(1, "AcquireTime", acquired);
    let renewed = lease.spec.renew_time.map_or_else(unset, |time| text.date(time.0));
    text.field(1, "RenewTime", renewed);
}

fn write_status(node: &Node, text: &mut Text<'_>) {
    let status = &node.status;
    if !status.conditions.is_empty() {
        text.raw(
            "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage\n",
        );
        text.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
        for condition in &status.conditions {
            let line = format!(
                "{} \t{} \t{} \t{} \t{} \t{}",
                condition.type_,
                condition.status,
                text.time(condition.last_heartbeat_time),
                text.time(condition.last_transition_time),
                condition.reason.as_deref().unwrap_or_default(),
                condition.message.as_deref().unwrap_or_default()
            );
            text.line(1, line);
        }
    }
    text.line(0, "Addresses:");
    for address in &status.addresses {
        text.field(1, &address.type_, &address.address);
    }
    for (title, quantities) in
        [("Capacity", &status.capacity), ("Allocatable", &status.allocatable)]
    {
        if !quantities.is_empty() {
            text.line(0, format_args!("{title}:"));
        }
        for (name, quantity) in quantities {
            text.field(1, name, quantity);
        }
    }
    let info = status.node_info.clone().unwrap_or_default();
    text.line(0, "System Info:");
    for (name, value) in [
        ("Machine ID", &info.machine_id),
        ("System UUID", &info.system_uuid),
        ("Boot ID", &info.boot_id),
        ("Kernel Version", &info.kernel_version),
        ("OS Image", &info.os_image),
        ("Operating System", &info.operating_system),
        ("Architecture", &info.architecture),
        ("Container Runtime Version", &info.container_runtime_version),
        ("Kubelet Version", &info.kubelet_version),
        ("Kube-Proxy Version", &info.kube_proxy_version),
    ] {
        text.field(1, name, value);
    }
    text.optional(0, "PodCIDR", node.spec.pod_cidr.as_deref());
    if !node.spec.pod_cidrs.is_empty() {
        text.field(0, "PodCIDRs", node.spec.pod_cidrs.join(","));
    }
    text.optional(0, "ProviderID", node.spec.provider_id.as_deref());
}

/// The node's pods, and how much of it they take.
fn write_pods(node: &Node, pods: &[Pod], text: &mut Text<'_>) {
    let status = &node.status;
    let allocatable =
        if status.allocatable.is_empty() { &status.capacity } else { &status.allocatable };
    text.field(0, "Non-terminated Pods", format_args!("({} in total)", pods.len()));
    text.line(
        1,
        "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge",
    );
    text.line(
        1,
        "---------\t----\t\t------------\t----------\t---------------\t-------------\t---",
    );
    let mut requests = Quantities::new();
    let mut limits = Quantities::new();
    for pod in pods {
        let pod_requests = pod_resources::requests(&pod.spec);
        let pod_limits = pod_resources::limits(&pod.spec);
        let line = format!(
            "{}\t{}\t\t{}\t{}\t{}\t{}\t{}",
            pod.metadata.namespace.as_deref().unwrap_or_default(),
            pod.metadata.name.as_deref().unwrap_or_default(),
            share(&pod_requests, allocatable, "cpu"),
            share(&pod_limits, allocatable, "cpu"),
            share(&pod_requests, allocatable, "memory"),
            share(&pod_limits, allocatable, "memory"),
            text.age(pod.metadata.creation_timestamp)
        );
        text.line(1, line);
        pod_resources::add(&mut requests, &pod_requests);
        pod_resources::add(&mut limits, &pod_limits);
    }
    text.line(0, "Allocated resources:");
    text.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    text.line(1, "Resource\tRequests\tLimits");
    text.line(1, "--------\t--------\t------");
    let huge_pages = allocatable.keys().filter(|name| name.starts_with("hugepages-"));
    let standard = ["cpu", "memory", "ephemeral-storage"];
    for name in standard.into_iter().chain(huge_pages.map(String::as_str)) {
        let request = share(&requests, allocatable, name);
        let limit = share(&limits, allocatable, name);
        text.line(1, format_args!("{name}\t{request}\t{limit}"));
    }
    let amount = |of: &Quantities, name: &str| of.get(name).copied().unwrap_or(Quantity::ZERO);
    for name in allocatable.keys() {
        let extended =
            !standard.contains(&name.as_str()) && name != "pods" && !name.starts_with("hugepages-");
        if extended {
            let request = amount(&requests, name);
            text.line(1, format_args!("{name}\t{request}\t{}", amount(&limits, name)));
        }
    }
}

/// `250m (12%)`.
fn share(of: &Quantities, allocatable: &Quantities, name: &str) -> String {
    let quantity = of.get(name).copied().unwrap_or(Quantity::ZERO);
    let whole = allocatable.get(name).copied().unwrap_or(Quantity::ZERO);
    let (part, whole) = if name == "cpu" {
        (quantity.milli_value(), whole.milli_value())
    } else {
        (quantity.value(), whole.value())
    };
    let percent = if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
    format!("{quantity} ({}%)", percent as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_percents() {
        let quantities =
            |text: &str| -> Quantities { [("cpu".to_owned(), text.parse().unwrap())].into() };
        let check = |part: &str, whole: &str, expected: &str| {
            assert_eq!(share(&quantities(part), &quantities(whole), "cpu"), expected);
        };
        check("250m", "2", "250m (12%)");
        check("0", "2", "0 (0%)");
        check("3", "2", "3 (150%)");
        check("3", "0", "3 (0%)");
    }

    #[test]
    fn taints_are_short() {
        let check = |value: Option<&str>, effect: &str, expected: &str| {
            let taint = Taint {
                key: "k".to_owned(),
                value: value.map(ToOwned::to_owned),
                effect: effect.to_owned(),
                ..Taint::default()
            };
            assert_eq!(describe_taint(&taint), expected);
        };
        check(Some("v"), "NoSchedule", "k=v:NoSchedule");
        check(None, "NoExecute", "k:NoExecute");
    }
}
