//! What an Ingress must be: `pkg/apis/networking/validation`.

use std::net::IpAddr;

use apimachinery::{
    object::Object,
    validation::{
        is_dns1035_label, is_dns1123_subdomain, is_valid_ip, is_valid_port_name, is_valid_port_num,
        is_wildcard_dns1123_subdomain,
    },
};

use crate::registry::{
    meta,
    validation::at::{At, Errors},
};

/// In the order in which Kubernetes names them.
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
const INVALID_SEQUENCES: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const INVALID_ENDS: [&str; 2] = ["/..", "/."];

/// The whole object.
pub(super) fn ingress(object: &Object, errors: &mut Errors) {
    meta::check(object, true, meta::dns_subdomain, errors);
    let spec = At::top(object, "spec");
    let rules = spec.get("rules");
    let default = spec.get("defaultBackend");
    if rules.is_empty() && !default.is_set() {
        errors.invalid_as(
            &spec,
            serde_json::json!([]),
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    if default.is_set() {
        backend(&default, errors);
    }
    for item in rules.items() {
        rule(&item, errors);
    }
    for tls in spec.get("tls").items() {
        for name in tls.get("hosts").items() {
            host_name(&name, errors);
        }
        let secret = tls.get("secretName");
        if !secret.is_empty() {
            errors.each(&secret, is_dns1123_subdomain(secret.text()));
        }
    }
    let class = spec.get("ingressClassName");
    if class.is_set() {
        errors.each(&class, is_dns1123_subdomain(class.text()));
    }
}

fn host_name(host: &At<'_>, errors: &mut Errors) {
    let mistakes = if host.text().contains('*') {
        is_wildcard_dns1123_subdomain(host.text())
    } else {
        is_dns1123_subdomain(host.text())
    };
    errors.each(host, mistakes);
}

fn rule(rule: &At<'_>, errors: &mut Errors) {
    let host = rule.get("host");
    if !host.is_empty() {
        if host.text().parse::<IpAddr>().is_ok() {
            errors.invalid(&host, "must be a DNS name, not an IP address");
        }
        host_name(&host, errors);
    }
    let http = rule.get("http");
    if !http.is_set() {
        return;
    }
    let paths = http.get("paths");
    if paths.is_empty() {
        errors.required(&paths, "");
    }
    for item in paths.items() {
        path(&item, errors);
    }
}

fn path(item: &At<'_>, errors: &mut Errors) {
    let [kind, path] = ["pathType", "path"].map(|name| item.get(name));
    if !kind.is_set() {
        errors.required(&kind, "pathType must be specified");
        return;
    }
    let text = path.text();
    match kind.text() {
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.invalid(&path, "must be an absolute path");
            }
            for sequence in INVALID_SEQUENCES.iter().filter(|sequence| text.contains(**sequence)) {
                errors.invalid(&path, format!("must not contain '{sequence}'"));
            }
            for end in INVALID_ENDS.iter().filter(|end| text.ends_with(**end)) {
                errors.invalid(&path, format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.invalid(&path, "must be an absolute path");
            }
        }
        _ => errors.not_supported(&kind, &PATH_TYPES),
    }
    backend(&item.get("backend"), errors);
}

fn backend(backend: &At<'_>, errors: &mut Errors) {
    let [service, resource] = ["service", "resource"].map(|name| backend.get(name));
    match (service.is_set(), resource.is_set()) {
        (true, true) => {
            errors.invalid_as(backend, "", "cannot set both resource and service backends");
        }
        (false, false) => errors.invalid_as(backend, "", "resource or service backend is required"),
        (false, true) => reference(&resource, errors),
        (true, false) => {
            let name = service.get("name");
            if name.is_empty() {
                errors.required(&name, "");
            } else {
                errors.each(&name, is_dns1035_label(name.text()));
            }
            let port = service.get("port");
            let [port_name, number] = ["name", "number"].map(|name| port.get(name));
            match (!port_name.is_empty(), number.int() != 0) {
                (true, true) => {
                    errors.invalid_as(backend, "", "cannot set both port name & port number");
                }
                (true, false) => errors.each(&port_name, is_valid_port_name(port_name.text())),
                (false, true) => errors.each(&number, is_valid_port_num(number.int())),
                (false, false) => errors.required(backend, "port name or number is required"),
            }
        }
    }
}

/// A reference to an object of the same namespace (`validateIngressTypedLocalObjectReference`).
pub(in crate::registry::kinds) fn reference(reference: &At<'_>, errors: &mut Errors) {
    let group = reference.get("apiGroup");
    if group.is_set() {
        errors.each(&group, is_dns1123_subdomain(group.text()));
    }
    for (field, missing) in [("kind", "kind is required"), ("name", "name is required")] {
        let at = reference.get(field);
        if at.is_empty() {
            errors.required(&at, missing);
        } else {
            errors.each(&at, meta::path_segment(at.text(), false));
        }
    }
}

/// `status.loadBalancer` (`ValidateIngressLoadBalancerStatus`).
pub(super) fn status(object: &Object, errors: &mut Errors) {
    let status = At::top(object, "status");
    let balancer = status.get("loadBalancer");
    for entry in balancer.get("ingress").items() {
        let [ip, hostname] = ["ip", "hostname"].map(|name| entry.get(name));
        if !ip.is_empty() {
            errors.each(&ip, is_valid_ip(ip.text()));
        }
        if !hostname.is_empty() {
            errors.each(&hostname, is_dns1123_subdomain(hostname.text()));
            if is_valid_ip(hostname.text()).is_empty() {
                errors.invalid(&hostname, "must be a DNS name, not an IP address");
            }
        }
    }
}
