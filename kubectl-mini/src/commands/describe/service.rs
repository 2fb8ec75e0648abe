//! Describes Services.

use apimachinery::{
    api::{
        core::{LoadBalancerIngress, Service, ServicePort},
        discovery::EndpointSlice,
    },
    int_or_string::IntOrString,
    object::Object,
};
use client::ListOptions;

use super::{
    Text,
    related::{Related, view},
};
use crate::{errors::CommandError, printers::table};

/// So many endpoints of a port are named, the others counted.
const SHOWN_ENDPOINTS: usize = 3;

pub(super) async fn describe<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let service: Service = view(object)?;
    let owned = ListOptions::labels(format!("kubernetes.io/service-name={}", object.name()));
    let slices: Vec<EndpointSlice> =
        related.list(object.namespace(), owned).await.unwrap_or_default();
    write(&service, &slices, &mut text);
    text.events(related.events(object).await);
    Ok(text)
}

fn write(service: &Service, slices: &[EndpointSlice], text: &mut Text<'_>) {
    let spec = &service.spec;
    text.head(&service.metadata);
    let selector = spec.selector.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    text.field(0, "Selector", table::format_labels(selector));
    text.field(0, "Type", spec.type_.as_deref().unwrap_or_default());
    if let Some(policy) = &spec.ip_family_policy {
        text.field(0, "IP Family Policy", policy);
    }
    text.field(0, "IP Families", joined(&spec.ip_families));
    text.field(0, "IP", spec.cluster_ip.as_deref().unwrap_or_default());
    text.field(0, "IPs", joined(&spec.cluster_ips));
    if !spec.external_ips.is_empty() {
        text.field(0, "External IPs", spec.external_ips.join(","));
    }
    text.optional(0, "Desired LoadBalancer IP", spec.load_balancer_ip.as_deref());
    text.optional(0, "External Name", spec.external_name.as_deref());
    let ingress = service.status.load_balancer.iter().flat_map(|status| &status.ingress);
    let ingress: Vec<String> = ingress.map(ingress_point).collect();
    if !ingress.is_empty() {
        text.field(0, "LoadBalancer Ingress", ingress.join(", "));
    }
    for port in &spec.ports {
        write_port(port, slices, text);
    }
    text.field(0, "Session Affinity", spec.session_affinity.as_deref().unwrap_or_default());
    text.optional(0, "External Traffic Policy", spec.external_traffic_policy.as_deref());
    if let Some(policy) = &spec.internal_traffic_policy {
        text.field(0, "Internal Traffic Policy", policy);
    }
    if let Some(port) = spec.health_check_node_port.filter(|port| *port != 0) {
        text.field(0, "HealthCheck NodePort", port);
    }
    if !spec.load_balancer_source_ranges.is_empty() {
        text.field(0, "LoadBalancer Source Ranges", spec.load_balancer_source_ranges.join(","));
    }
    if let Some(distribution) = &spec.traffic_distribution {
        text.field(0, "Traffic Distribution", distribution);
    }
}

fn joined(values: &[String]) -> String {
    if values.is_empty() { "<none>".to_owned() } else { values.join(",") }
}

fn ingress_point(ingress: &LoadBalancerIngress) -> String {
    match (&ingress.ip, &ingress.ip_mode) {
        (Some(ip), Some(mode)) if !ip.is_empty() => format!("{ip} ({mode})"),
        (Some(ip), None) if !ip.is_empty() => ip.clone(),
        _ => ingress.hostname.clone().unwrap_or_default(),
    }
}

fn write_port(port: &ServicePort, slices: &[EndpointSlice], text: &mut Text<'_>) {
    let protocol = port.protocol.as_deref().unwrap_or_default();
    let name = port.name.as_deref().unwrap_or_default();
    let shown = if name.is_empty() { "<unset>" } else { name };
    text.field(0, "Port", format_args!("{shown}\t{}/{protocol}", port.port));
    let target = port.target_port.clone().unwrap_or(IntOrString::Int(0));
    text.field(0, "TargetPort", format_args!("{target}/{protocol}"));
    if let Some(node_port) = port.node_port.filter(|port| *port != 0) {
        text.field(0, "NodePort", format_args!("{shown}\t{node_port}/{protocol}"));
    }
    text.field(0, "Endpoints", endpoints(slices, name));
}

/// The ready endpoints of the port of that name.
pub(super) fn endpoints(slices: &[EndpointSlice], port_name: &str) -> String {
    if slices.is_empty() {
        return "<none>".to_owned();
    }
    let mut ready = Vec::new();
    // kubectl says that there are more as soon as a fourth endpoint is looked at, ready or not.
    let mut more = false;
    for slice in slices {
        let ports: Vec<Option<i32>> = if slice.ports.is_empty() {
            vec![None]
        } else {
            let named = slice
                .ports
                .iter()
                .filter(|port| port.name.as_deref().unwrap_or_default() == port_name);
            named.map(|port| Some(port.port.unwrap_or_default())).collect()
        };
        for port in ports {
            for endpoint in &slice.endpoints {
                more |= ready.len() >= SHOWN_ENDPOINTS;
                let conditions = endpoint.conditions.as_ref();
                if conditions.and_then(|conditions| conditions.ready) == Some(false) {
                    continue;
                }
                let address = endpoint.addresses.first().map(String::as_str).unwrap_or_default();
                ready.push(match port {
                    None => address.to_owned(),
                    Some(port) if address.contains(':') => format!("[{address}]:{port}"),
                    Some(port) => format!("{address}:{port}"),
                });
            }
        }
    }
    let shown = ready[..ready.len().min(SHOWN_ENDPOINTS)].join(",");
    if more { format!("{shown} + {} more...", ready.len() - SHOWN_ENDPOINTS) } else { shown }
}

#[cfg(test)]
mod tests {
    use apimachinery::api::discovery::{Endpoint, EndpointConditions, EndpointPort};

    use super::*;

    #[test]
    fn endpoints_are_named_and_counted() {
        let check = |count: usize, unready: usize, expected: &str| {
            let endpoint = |at: usize| Endpoint {
                addresses: vec![format!("10.0.0.{at}")],
                conditions: Some(EndpointConditions {
                    ready: Some(at >= unready),
                    ..EndpointConditions::default()
                }),
                ..Endpoint::default()
            };
            let slice = EndpointSlice {
                ports: vec![EndpointPort { port: Some(80), ..EndpointPort::default() }],
                endpoints: (0..count).map(endpoint).collect(),
                ..EndpointSlice::default()
            };
            assert_eq!(endpoints(&[slice], ""), expected);
        };
        check(0, 0, "");
        check(2, 0, "10.0.0.0:80,10.0.0.1:80");
        check(2, 1, "10.0.0.1:80");
        check(5, 0, "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more...");
        assert_eq!(endpoints(&[], ""), "<none>");
    }
}
