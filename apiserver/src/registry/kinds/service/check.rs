//! Validation of Services.

use apimachinery::{
    object::Object,
    validation::{
        is_dns1123_label, is_dns1123_subdomain, is_qualified_name, is_valid_ip, is_valid_port_num,
    },
};
use serde_json::{Value, json};

use super::{
    HEADLESS,
    addresses::{externally_accessible, needs_health_check},
};
use crate::registry::{
    defaults::Fields,
    meta,
    validation::{
        at::{At, Errors, same},
        labels, net,
    },
};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const ONLY_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
const NOT_EXTERNAL_NAME: &str = "may not be set for ExternalName services";
const ONCE: &str = "may not change once set";
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const MAX_AFFINITY_SECONDS: i64 = 86_400;

fn is_headless(spec: &At<'_>) -> bool {
    matches!(spec.get("clusterIPs").list(), [Value::String(only)] if only == HEADLESS)
}

/// The whole service.
pub(super) fn service(object: &Object, errors: &mut Errors) {
    meta::check(object, true, meta::dns1035_label, errors);
    if let (Some(mode), Some(hints)) = (object.annotation(MODE), object.annotation(HINTS))
        && mode != hints
    {
        let metadata = At::top(object, "metadata");
        let annotations = metadata.get("annotations");
        let detail = format!("must match annotations[{HINTS}] when both are specified");
        errors.invalid(&annotations.key(MODE), detail);
    }
    let spec = At::top(object, "spec");
    let kind = spec.str("type");
    let headless = is_headless(&spec);
    let ports = spec.get("ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required(&ports, "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let ips = spec.get("clusterIPs");
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.invalid(&ips.index(0), detail);
        }
        "ExternalName" => external_name(&spec, errors),
        _ => {}
    }
    let mut names: Vec<&str> = Vec::new();
    for port in ports.items() {
        check_port(&port, ports.len() > 1, &names, errors);
        names.push(port.str("name"));
    }
    labels::check(&spec.get("selector"), errors);
    session_affinity(&spec, errors);
    cluster_ips(&spec, errors);
    for ip in spec.get("externalIPs").items() {
        let messages = is_valid_ip(ip.text());
        if messages.is_empty() {
            net::not_special(&ip, errors);
        } else {
            errors.each(&ip, messages);
        }
    }
    errors.one_of(&spec.get("type"), &TYPES);
    if kind == "ClusterIP" {
        for port in ports.items() {
            let node_port = port.get("nodePort");
            if node_port.int() != 0 {
                errors.forbidden(&node_port, "may not be used when `type` is 'ClusterIP'");
            }
        }
    }
    duplicate_ports(&ports, errors);
    source_ranges(object, &spec, errors);
    let allocate = spec.get("allocateLoadBalancerNodePorts");
    if allocate.is_set() && kind != "LoadBalancer" {
        errors.forbidden(&allocate, ONLY_BALANCERS);
    }
    load_balancer_class(&spec, errors);
    traffic_policies(&spec, errors);
}

fn external_name(spec: &At<'_>, errors: &mut Errors) {
    for name in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let field = spec.get(name);
        if !field.is_empty() {
            errors.forbidden(&field, NOT_EXTERNAL_NAME);
        }
    }
    let name = spec.get("externalName");
    let host = name.text().strip_suffix('.').unwrap_or(name.text());
    if host.is_empty() {
        errors.required(&name, "");
    } else {
        errors.each_as(&name, host, is_dns1123_subdomain(host));
    }
}

fn check_port(port: &At<'_>, require_name: bool, names: &[&str], errors: &mut Errors) {
    let name = port.get("name");
    if require_name && name.is_empty() {
        errors.required(&name, "");
    } else if !name.is_empty() {
        errors.each(&name, is_dns1123_label(name.text()));
        if names.contains(&name.text()) {
            errors.duplicate(&name);
        }
    }
    let number = port.get("port");
    errors.each_as(&number, number.int(), is_valid_port_num(number.int()));
    errors.one_of(&port.get("protocol"), &net::PROTOCOLS);
    net::port_number_or_name(&port.get("targetPort"), errors);
    let app = port.get("appProtocol");
    if app.is_set() {
        errors.each(&app, is_qualified_name(app.text()));
    }
}

fn session_affinity(spec: &At<'_>, errors: &mut Errors) {
    let affinity = spec.get("sessionAffinity");
    errors.one_of(&affinity, &["ClientIP", "None"]);
    let config = spec.get("sessionAffinityConfig");
    match affinity.text() {
        "None" if config.is_set() => {
            errors.forbidden(&config, "must not be set when session affinity is None");
        }
        "ClientIP" => {
            const WHEN: &str = "when session affinity type is ClientIP";
            let client = config.get("clientIP");
            let seconds = client.get("timeoutSeconds");
            if !config.is_set() {
                errors.required(&config, WHEN);
            } else if !client.is_set() {
                errors.required(&client, WHEN);
            } else if !seconds.is_set() {
                errors.required(&seconds, WHEN);
            } else if !(1..=MAX_AFFINITY_SECONDS).contains(&seconds.int()) {
                let detail = format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}");
                errors.invalid(&seconds, detail);
            }
        }
        _ => {}
    }
}

/// `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` must fit each other, and the cluster.
fn cluster_ips(spec: &At<'_>, errors: &mut Errors) {
    if spec.str("type") == "ExternalName" {
        return;
    }
    let before = errors.0.len();
    let names = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];
    let [ip, ips, families, policy] = names.map(|name| spec.get(name));
    match (ip.text(), ips.list().first()) {
        ("", None) => {}
        ("", Some(_)) => errors.invalid(&ips, "must be empty when `clusterIP` is not specified"),
        (_, None) => errors.required(&ips, ""),
        (ip, Some(first)) if first.as_str() != Some(ip) => {
            errors.invalid(&ips, "first value must match `clusterIP`");
        }
        _ => {}
    }
    let mut seen: Vec<&str> = Vec::new();
    for family in families.items() {
        if !FAMILIES.contains(&family.text()) {
            errors.not_supported(&family, &FAMILIES);
        }
        if seen.contains(&family.text()) {
            errors.duplicate(&family);
        }
        seen.push(family.text());
    }
    errors.one_of_if_set(&policy, &["PreferDualStack", "RequireDualStack", "SingleStack"]);
    let mut invalid = false;
    for (index, ip) in ips.items().enumerate() {
        if index == 0 && ip.text() == HEADLESS {
            if ips.len() > 1 {
                invalid = true;
                errors.invalid(&ips, "'None' must be the first and only value");
            }
            continue;
        }
        let messages = is_valid_ip(ip.text());
        invalid |= !messages.is_empty();
        errors.each(&ip, messages);
    }
    if ips.len() > 2 {
        errors.invalid(&ips, "may only hold up to 2 values");
    }
    if invalid {
        return;
    }
    let is_ipv6: Vec<bool> = ips.items().map(|ip| ip.text().contains(':')).collect();
    if let [first, second, ..] = is_ipv6[..]
        && first == second
    {
        errors.invalid(&ips, "may specify no more than one IP for each IP family");
    }
    if is_headless(spec) {
        configured(spec, errors.0.len() == before, errors);
        return;
    }
    for (index, (ip, family)) in ips.items().zip(families.items()).enumerate() {
        let of = if ip.text().contains(':') { "IPv6" } else { "IPv4" };
        if FAMILIES.contains(&family.text()) && of != family.text() {
            errors.invalid(
                &ip,
                format!(
                    "expected an {} value as indicated by `ipFamilies[{index}]`",
                    family.text()
                ),
            );
        }
    }
    configured(spec, errors.0.len() == before, errors);
}

/// The cluster has one family, IPv4; a headless service without selector may name any.
fn configured(spec: &At<'_>, clean: bool, errors: &mut Errors) {
    let policy = spec.get("ipFamilyPolicy");
    let families = spec.get("ipFamilies");
    if !clean || (is_headless(spec) && spec.get("selector").is_empty()) {
        return;
    }
    if policy.text() == "SingleStack" {
        for (name, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
            if spec.get(name).len() > 1 {
                errors.invalid(
                    &policy,
                    format!(
                        "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                    ),
                );
            }
        }
    }
    if policy.text() == "RequireDualStack" {
        errors.invalid(&policy, "this cluster is not configured for dual-stack services");
    }
    for family in families.items().filter(|family| family.text() == "IPv6") {
        errors.invalid(&family, "not configured on this cluster");
    }
}

fn duplicate_ports(ports: &At<'_>, errors: &mut Errors) {
    let mut node_ports = Vec::new();
    for port in ports.items() {
        let node_port = port.get("nodePort");
        let key = (port.str("protocol"), node_port.int());
        if key.1 != 0 && node_ports.contains(&key) {
            errors.duplicate(&node_port);
        }
        node_ports.push(key);
    }
    let mut numbers = Vec::new();
    for port in ports.items() {
        let key = (port.str("protocol"), port.get("port").int());
        if numbers.contains(&key) {
            // What Kubernetes shows is its internal type, with nothing but the pair in it.
            let shown = json!({
                "AppProtocol": null, "Name": "", "NodePort": 0, "Port": key.1, "Protocol": key.0,
                "TargetPort": 0,
            });
            errors.duplicate_as(&port, shown);
        }
        numbers.push(key);
    }
}

fn source_ranges(object: &Object, spec: &At<'_>, errors: &mut Errors) {
    let is_balancer = spec.str("type") == "LoadBalancer";
    let given = spec.get("loadBalancerSourceRanges");
    if !given.is_empty() {
        let told = spec.get("LoadBalancerSourceRanges");
        let ranges = told.with(given.raw());
        if !is_balancer {
            errors.forbidden(&ranges, ONLY_BALANCERS);
        }
        ranges.items().for_each(|range| net::cidr(&range, errors));
        return;
    }
    let metadata = At::top(object, "metadata");
    let annotations = metadata.get("annotations");
    let ranges = annotations.key(SOURCE_RANGES);
    if !ranges.is_set() {
        return;
    }
    if !is_balancer {
        errors.forbidden(&ranges, ONLY_BALANCERS);
    }
    for range in ranges.text().split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let value = Value::String(range.to_owned());
        net::cidr(&ranges.with(Some(&value)), errors);
    }
}

fn load_balancer_class(spec: &At<'_>, errors: &mut Errors) {
    let class = spec.get("loadBalancerClass");
    if !class.is_set() {
        return;
    }
    if spec.str("type") == "LoadBalancer" {
        errors.each(&class, is_qualified_name(class.text()));
    } else {
        errors.forbidden(&class, ONLY_BALANCERS);
    }
}

fn traffic_policies(spec: &At<'_>, errors: &mut Errors) {
    let empty = Fields::new();
    let fields = spec.map().unwrap_or(&empty);
    let external = spec.get("externalTrafficPolicy");
    if externally_accessible(fields) {
        errors.one_of(&external, &["Cluster", "Local"]);
    } else if !external.is_empty() {
        errors.invalid(&external, "may only be set for externally-accessible services");
    }
    let health = spec.get("healthCheckNodePort");
    if health.int() != 0 {
        if needs_health_check(fields) {
            errors.each(&health, is_valid_port_num(health.int()));
        } else {
            errors.invalid(
                &health,
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            );
        }
    }
    let internal = spec.get("internalTrafficPolicy");
    if !internal.is_set() && matches!(spec.str("type"), "ClusterIP" | "NodePort" | "LoadBalancer") {
        errors.required(&internal, "");
    }
    errors.one_of_if_set(&internal, &["Cluster", "Local"]);
    errors.one_of_if_set(
        &spec.get("trafficDistribution"),
        &["PreferClose", "PreferSameNode", "PreferSameZone"],
    );
}

/// What a replacement may not change.
pub(super) fn update(object: &Object, old: &Object, errors: &mut Errors) {
    let (spec, old_spec) = (At::top(object, "spec"), At::top(old, "spec"));
    if spec.str("type") != "ExternalName" && old_spec.str("type") != "ExternalName" {
        addresses_update(&spec, &old_spec, errors);
    }
    let is_balancer = |spec: &At<'_>| spec.str("type") == "LoadBalancer";
    let class = spec.get("loadBalancerClass");
    let same_class = same(class.raw(), old_spec.get("loadBalancerClass").raw());
    if is_balancer(&spec) && is_balancer(&old_spec) && !same_class {
        let shown = class.raw().cloned().unwrap_or(Value::Null);
        errors.invalid_as(&class, shown, ONCE);
    }
    let empty = Fields::new();
    let needs = |spec: &At<'_>| needs_health_check(spec.map().unwrap_or(&empty));
    let health = spec.get("healthCheckNodePort");
    if needs(&spec) && needs(&old_spec) && health.int() != old_spec.get("healthCheckNodePort").int()
    {
        errors.forbidden(&health, "field is immutable");
    }
}

fn addresses_update(spec: &At<'_>, old_spec: &At<'_>, errors: &mut Errors) {
    let (headless, was_headless) = (is_headless(spec), is_headless(old_spec));
    if headless && was_headless {
        return;
    }
    let (ips, old_ips) = (spec.get("clusterIPs"), old_spec.get("clusterIPs"));
    once(&ips, &old_ips, "primary clusterIP can not be unset", errors);
    if headless == was_headless {
        let (families, old_families) = (spec.get("ipFamilies"), old_spec.get("ipFamilies"));
        once(&families, &old_families, "primary ipFamily can not be unset", errors);
    }
}

/// A list whose elements may come and go at its end only.
fn once(new: &At<'_>, old: &At<'_>, unset: &str, errors: &mut Errors) {
    let shown = || new.raw().cloned().unwrap_or(Value::Null);
    if new.is_empty() && !old.is_empty() {
        errors.invalid_as(&new.index(0), shown(), unset);
        return;
    }
    for (index, (value, was)) in new.list().iter().zip(old.list()).enumerate() {
        if value != was {
            errors.invalid_as(&new.index(index), shown(), ONCE);
        }
    }
}

/// `status.loadBalancer`.
pub(super) fn status(object: &Object, errors: &mut Errors) {
    let status = At::top(object, "status");
    let balancer = status.get("loadBalancer");
    let ingress = balancer.get("ingress");
    if ingress.is_empty() {
        return;
    }
    if object.get_str(&["spec", "type"]) != "LoadBalancer" {
        errors.forbidden(&ingress, "may only be used when `spec.type` is 'LoadBalancer'");
        return;
    }
    for entry in ingress.items() {
        let [ip, mode, hostname] = ["ip", "ipMode", "hostname"].map(|name| entry.get(name));
        if !ip.is_empty() {
            errors.each(&ip, is_valid_ip(ip.text()));
            if !mode.is_set() {
                errors.required(&mode, "must be specified when `ip` is set");
            }
        } else if mode.is_set() {
            errors.forbidden(&mode, "may not be specified when `ip` is not set");
        }
        if !ip.is_empty() {
            errors.one_of_if_set(&mode, &["Proxy", "VIP"]);
        }
        if !hostname.is_empty() {
            errors.each(&hostname, is_dns1123_subdomain(hostname.text()));
            if is_valid_ip(hostname.text()).is_empty() {
                errors.invalid(&hostname, "must be a DNS name, not an IP address");
            }
        }
    }
}
