//! The linked fields of a Service spec: cluster IPs, families, node ports, and what depends on the type.
//!
//! Follows `pkg/registry/core/service/storage` (`patchAllocatedValues`, `normalizeClusterIPs`,
//! `dropTypeDependentFields`, `initIPFamilyFields`) for a cluster of IPv4 alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::HEADLESS;
use crate::registry::{
    defaults::{Fields, each, text},
    validation::at::same,
};

/// Whether the service can be reached from outside of the cluster.
pub(super) fn externally_accessible(spec: &Fields) -> bool {
    match text(spec, "type") {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !list(spec, "externalIPs").is_empty(),
        _ => false,
    }
}

/// Whether a health check port goes with it.
pub(super) fn needs_health_check(spec: &Fields) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

fn needs_cluster_ip(spec: &Fields) -> bool {
    matches!(text(spec, "type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn needs_node_port(spec: &Fields) -> bool {
    match text(spec, "type") {
        "NodePort" => true,
        "LoadBalancer" => spec.get("allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)),
        _ => false,
    }
}

fn list<'a>(spec: &'a Fields, name: &str) -> &'a [Value] {
    spec.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn is_same(spec: &Fields, old: &Fields, name: &str) -> bool {
    same(spec.get(name), old.get(name))
}

fn copy(spec: &mut Fields, old: &Fields, name: &str) {
    if let Some(value) = old.get(name) {
        spec.insert(name.to_owned(), value.clone());
    }
}

fn node_ports(spec: &Fields) -> impl Iterator<Item = (&str, i64)> {
    list(spec, "ports").iter().map(|port| {
        (
            port.get("name").and_then(Value::as_str).unwrap_or_default(),
            port.get("nodePort").and_then(Value::as_i64).unwrap_or_default(),
        )
    })
}

/// A replacement that leaves out what was allocated keeps it.
pub(super) fn keep_allocated(spec: &mut Fields, old: &Fields) {
    if needs_cluster_ip(old) && needs_cluster_ip(spec) {
        if text(spec, "clusterIP").is_empty() {
            copy(spec, old, "clusterIP");
        }
        if list(spec, "clusterIPs").is_empty() && is_same(spec, old, "clusterIP") {
            copy(spec, old, "clusterIPs");
        }
    }
    if needs_node_port(old) && needs_node_port(spec) {
        let known: BTreeMap<String, i64> =
            node_ports(old).map(|(name, port)| (name.to_owned(), port)).collect();
        let mut used: Vec<i64> = node_ports(spec)
            .map(|(_, port)| port)
            .filter(|port| *port != 0 && known.values().any(|old| old == port))
            .collect();
        for port in each(spec, "ports") {
            let unset = port.get("nodePort").and_then(Value::as_i64).unwrap_or_default() == 0;
            let old = known.get(text(port, "name")).copied().unwrap_or_default();
            if unset && old != 0 && !used.contains(&old) {
                port.insert("nodePort".to_owned(), old.into());
                used.push(old);
            }
        }
    }
    if needs_health_check(old)
        && needs_health_check(spec)
        && !spec.contains_key("healthCheckNodePort")
    {
        copy(spec, old, "healthCheckNodePort");
    }
}

/// `clusterIP` and the first of `clusterIPs` are one; a client may know only the former.
pub(super) fn normalize(spec: &mut Fields, old: Option<&Fields>) {
    let ip = text(spec, "clusterIP").to_owned();
    let Some(old) = old else {
        if !ip.is_empty() && list(spec, "clusterIPs").is_empty() {
            spec.insert("clusterIPs".to_owned(), json!([ip]));
        }
        return;
    };
    let same_ip = ip == text(old, "clusterIP");
    if list(spec, "clusterIPs").is_empty() && !list(old, "clusterIPs").is_empty() && same_ip {
        copy(spec, old, "clusterIPs");
    }
    if !same_ip && is_same(spec, old, "clusterIPs") {
        if ip.is_empty() {
            spec.remove("clusterIPs");
        } else {
            spec.insert("clusterIPs".to_owned(), json!([ip]));
        }
    }
}

/// A change of the type wipes what the new type has no use for, unless the client changed it too.
pub(super) fn drop_what_type_has_no_use_for(spec: &mut Fields, old: &Fields) {
    fn wipe(spec: &mut Fields, old: &Fields, names: &[&str]) {
        if names.iter().all(|name| is_same(spec, old, name)) {
            for name in names {
                spec.remove(*name);
            }
        }
    }
    if needs_cluster_ip(old) && !needs_cluster_ip(spec) {
        wipe(spec, old, &["clusterIP", "clusterIPs"]);
        wipe(spec, old, &["ipFamilies"]);
        wipe(spec, old, &["ipFamilyPolicy"]);
    }
    if needs_node_port(old) && !needs_node_port(spec) {
        let ports = |fields| node_ports(fields).map(|(_, port)| port).collect::<Vec<_>>();
        let (mut new_ports, mut old_ports) = (ports(spec), ports(old));
        new_ports.sort_unstable();
        old_ports.sort_unstable();
        if new_ports == old_ports {
            each(spec, "ports").for_each(|port| {
                port.remove("nodePort");
            });
        }
    }
    if needs_health_check(old) && !needs_health_check(spec) {
        wipe(spec, old, &["healthCheckNodePort"]);
    }
    let balanced = |fields: &Fields| text(fields, "type") == "LoadBalancer";
    if balanced(old) && !balanced(spec) {
        wipe(spec, old, &["allocateLoadBalancerNodePorts"]);
        wipe(spec, old, &["loadBalancerClass"]);
    }
    if externally_accessible(old) && !externally_accessible(spec) {
        wipe(spec, old, &["externalTrafficPolicy"]);
    }
}

/// Families and their policy: this cluster speaks IPv4.
pub(super) fn init_families(spec: &mut Fields, old: Option<&Fields>) {
    if text(spec, "type") == "ExternalName" {
        return;
    }
    let headless_alone = text(spec, "clusterIP") == HEADLESS
        && spec.get("selector").and_then(Value::as_object).is_none_or(Fields::is_empty);
    if !spec.contains_key("ipFamilyPolicy") {
        let policy = match old.map(|old| text(old, "ipFamilyPolicy")) {
            Some(policy) if !policy.is_empty() => policy,
            _ if headless_alone => "RequireDualStack",
            _ => "SingleStack",
        };
        spec.insert("ipFamilyPolicy".to_owned(), policy.into());
    }
    if list(spec, "ipFamilies").is_empty() {
        let families: Vec<&str> = list(spec, "clusterIPs")
            .iter()
            .filter_map(Value::as_str)
            .filter(|ip| *ip != HEADLESS)
            .map(|ip| if ip.contains(':') { "IPv6" } else { "IPv4" })
            .collect();
        let families = if families.is_empty() { vec!["IPv4"] } else { families };
        spec.insert("ipFamilies".to_owned(), json!(families));
    }
    if headless_alone
        && text(spec, "ipFamilyPolicy") != "SingleStack"
        && let [Value::String(only)] = list(spec, "ipFamilies")
    {
        let both = if only == "IPv6" { ["IPv6", "IPv4"] } else { ["IPv4", "IPv6"] };
        spec.insert("ipFamilies".to_owned(), json!(both));
    }
}
