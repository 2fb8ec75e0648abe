//! Describes Ingresses, IngressClasses and NetworkPolicies.

use apimachinery::{
    api::{
        core::Service,
        discovery::EndpointSlice,
        meta::LabelSelector,
        networking::{
            Ingress, IngressBackend, IngressClass, IngressServiceBackend, NetworkPolicy,
            NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    int_or_string::IntOrString,
    labels::format_label_selector,
    object::Object,
};
use client::ListOptions;

use super::{
    Text,
    related::{Related, view},
    service,
};
use crate::errors::CommandError;

/// What stands before the lines of a policy's rules.
const INDENT: &str = "    ";

pub(super) async fn ingress<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let ingress: Ingress = view(object)?;
    let spec = &ingress.spec;
    text.field(0, "Name", object.name());
    text.labels("Labels", &ingress.metadata.labels);
    text.field(0, "Namespace", object.namespace());
    text.field(0, "Address", addresses(&ingress));
    text.field(0, "Ingress Class", spec.ingress_class_name.as_deref().unwrap_or("<none>"));
    let default = match &spec.default_backend {
        Some(default) => backend(default, object.namespace(), related).await,
        None => "<default>".to_owned(),
    };
    text.field(0, "Default backend", &default);
    if !spec.tls.is_empty() {
        text.line(0, "TLS:");
    }
    for tls in &spec.tls {
        let hosts = tls.hosts.join(",");
        match tls.secret_name.as_deref().filter(|name| !name.is_empty()) {
            Some(secret) => text.line(1, format_args!("{secret} terminates {hosts}")),
            None => text.line(1, format_args!("SNI routes {hosts}")),
        }
    }
    text.raw("Rules:\n  Host\tPath\tBackends\n  ----\t----\t--------\n");
    let mut any = false;
    for rule in &spec.rules {
        let Some(http) = &rule.http else { continue };
        any = true;
        let host = rule.host.as_deref().filter(|host| !host.is_empty()).unwrap_or("*");
        text.line(1, format_args!("{host}\t"));
        for path in &http.paths {
            let backend = backend(&path.backend, object.namespace(), related).await;
            let path = path.path.as_deref().unwrap_or_default();
            text.line(2, format_args!("\t{path} \t{backend}"));
        }
    }
    if !any {
        text.line(1, format_args!("*\t*\t{default}"));
    }
    text.annotations("Annotations", &ingress.metadata.annotations);
    text.events(related.events(object).await);
    Ok(text)
}

fn addresses(ingress: &Ingress) -> String {
    let points = ingress.status.load_balancer.iter().flat_map(|status| &status.ingress);
    let mut shown: Vec<&str> = points
        .filter_map(|point| {
            let given =
                |text: &'_ Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
            if given(&point.ip) { point.ip.as_deref() } else { point.hostname.as_deref() }
        })
        .collect();
    shown.sort_unstable();
    shown.dedup();
    shown.join(",")
}

/// `service:port (its endpoints)`.
async fn backend(backend: &IngressBackend, namespace: &str, related: &Related<'_>) -> String {
    if let Some(resource) = &backend.resource {
        let group = resource.api_group.as_deref().unwrap_or("<none>");
        return format!("APIGroup: {group}, Kind: {}, Name: {}", resource.kind, resource.name);
    }
    let Some(named) = &backend.service else { return String::new() };
    let shown = format!("{}:{}", named.name, port(named));
    match related.get::<Service>(namespace, &named.name).await {
        Err(error) => {
            let why = error.to_string();
            let why = why.strip_prefix("Error from server (NotFound): ").unwrap_or(&why);
            format!("{shown} (<error: {why}>)")
        }
        Ok(found) => {
            let of_service = format!("kubernetes.io/service-name={}", named.name);
            let listed = related.list(namespace, ListOptions::labels(of_service)).await;
            let slices: Vec<EndpointSlice> = listed.unwrap_or_default();
            let name = port_name(&found, named);
            format!("{shown} ({})", service::endpoints(&slices, &name))
        }
    }
}

fn port(backend: &IngressServiceBackend) -> String {
    let Some(port) = &backend.port else { return "0".to_owned() };
    match port.number.filter(|number| *number != 0) {
        Some(number) => number.to_string(),
        None => port.name.clone().unwrap_or_default(),
    }
}

/// The name of the Service's port that a backend means.
fn port_name(service: &Service, backend: &IngressServiceBackend) -> String {
    let is_meant = |name: &Option<String>, number: i32| {
        backend.port.as_ref().is_some_and(|port| match port.number.filter(|n| *n != 0) {
            Some(wanted) => wanted == number,
            None => port.name.is_some() && port.name == *name,
        })
    };
    let found = service.spec.ports.iter().find(|port| is_meant(&port.name, port.port));
    found.and_then(|port| port.name.clone()).unwrap_or_default()
}

pub(super) async fn ingress_class<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let class: IngressClass = view(object)?;
    text.field(0, "Name", object.name());
    text.labels("Labels", &class.metadata.labels);
    text.annotations("Annotations", &class.metadata.annotations);
    text.field(0, "Controller", class.spec.controller.as_deref().unwrap_or_default());
    if let Some(parameters) = &class.spec.parameters {
        text.line(0, "Parameters:");
        text.optional(1, "APIGroup", parameters.api_group.as_deref());
        text.field(1, "Kind", &parameters.kind);
        text.field(1, "Name", &parameters.name);
    }
    text.events(related.events(object).await);
    Ok(text)
}

pub(super) async fn network_policy<'a>(
    object: &'a Object,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let policy: NetworkPolicy = view(object)?;
    let metadata = &policy.metadata;
    text.field(0, "Name", object.name());
    text.field(0, "Namespace", object.namespace());
    text.field(0, "Created on", text.go_time(metadata.creation_timestamp));
    text.labels("Labels", &metadata.labels);
    text.annotations("Annotations", &metadata.annotations);
    write_policy(&policy.spec, &mut text);
    Ok(text)
}

fn write_policy(spec: &NetworkPolicySpec, text: &mut Text<'_>) {
    text.line(0, "Spec:");
    let selector = spec.pod_selector.clone().unwrap_or_default();
    let selected = if selector == LabelSelector::default() {
        "<none> (Allowing the specific traffic to all pods in this namespace)".to_owned()
    } else {
        format_label_selector(Some(&selector))
    };
    // Both parts are indented, the second in the middle of the line.
    text.line(1, format_args!("PodSelector:     {selected}"));
    let has = |name: &str| spec.policy_types.iter().any(|type_| type_ == name);
    if spec.policy_types.is_empty() || has("Ingress") {
        text.line(1, "Allowing ingress traffic:");
        let rules = spec.ingress.iter().map(|rule| (rule.ports.as_slice(), rule.from.as_slice()));
        write_rules(rules, ("ingress", "From", "source"), text);
    } else {
        text.line(1, "Not affecting ingress traffic");
    }
    if has("Egress") || (spec.policy_types.is_empty() && !spec.egress.is_empty()) {
        text.line(1, "Allowing egress traffic:");
        let rules = spec.egress.iter().map(|rule| (rule.ports.as_slice(), rule.to.as_slice()));
        write_rules(rules, ("egress", "To", "destination"), text);
    } else {
        text.line(1, "Not affecting egress traffic");
    }
    text.line(1, format_args!("Policy Types: {}", spec.policy_types.join(", ")));
}

fn write_rules<'r>(
    rules: impl ExactSizeIterator<Item = (&'r [NetworkPolicyPort], &'r [NetworkPolicyPeer])>,
    (direction, preposition, other_end): (&str, &str, &str),
    text: &mut Text<'_>,
) {
    let mut line = |shown: String| text.raw(&format!("{INDENT}{shown}\n"));
    let count = rules.len();
    if count == 0 {
        line(format!("<none> (Selected pods are isolated for {direction} connectivity)"));
    }
    for (index, (ports, peers)) in rules.enumerate() {
        if ports.is_empty() {
            line("To Port: <any> (traffic allowed to all ports)".to_owned());
        }
        ports.iter().for_each(|port| line(port_line(port)));
        if peers.is_empty() {
            line(format!("{preposition}: <any> (traffic not restricted by {other_end})"));
        }
        for peer in peers {
            line(format!("{preposition}:"));
            peer_lines(peer).into_iter().for_each(&mut line);
        }
        if index + 1 < count {
            line("----------".to_owned());
        }
    }
}

fn port_line(port: &NetworkPolicyPort) -> String {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let first = port.port.as_ref().map_or_else(|| "<nil>".to_owned(), IntOrString::to_string);
    match port.end_port {
        Some(last) => format!("To Port Range: {first}-{last}/{protocol}"),
        None => format!("To Port: {first}/{protocol}"),
    }
}

fn peer_lines(peer: &NetworkPolicyPeer) -> Vec<String> {
    if let Some(block) = &peer.ip_block {
        let except = block.except.join(", ");
        return vec![
            "  IPBlock:".to_owned(),
            format!("{INDENT}CIDR: {}", block.cidr),
            format!("{INDENT}Except: {except}"),
        ];
    }
    let selectors =
        [("NamespaceSelector", &peer.namespace_selector), ("PodSelector", &peer.pod_selector)];
    let given = selectors.into_iter().filter(|(_, selector)| selector.is_some());
    given
        .map(|(name, selector)| format!("  {name}: {}", format_label_selector(selector.as_ref())))
        .collect()
}
