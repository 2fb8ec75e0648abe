//! EndpointSlice (discovery.k8s.io).

use apimachinery::{
    field::FieldError,
    object::Object,
    resource,
    resource::ResourceInfo,
    validation::{is_dns1123_label, is_dns1123_subdomain, is_qualified_name, is_valid_port_num},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::{
        at::{At, Errors, same},
        labels, net,
    },
};

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_TOPOLOGY_LABELS: usize = 16;
const MAX_ZONE_HINTS: usize = 8;
const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
const COLUMNS: [Column; 5] = [
    printers::NAME,
    printers::string("AddressType", "The type of address carried by this slice."),
    printers::string("Ports", "The ports exposed by each endpoint in this slice."),
    printers::string("Endpoints", "The addresses of the endpoints in this slice."),
    printers::AGE,
];

/// See the module.
pub(super) struct EndpointSlice;

impl Strategy for EndpointSlice {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::ENDPOINT_SLICES
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        for port in defaults::each(&mut object.0, "ports") {
            defaults::set(port, "name", "");
            defaults::set(port, "protocol", "TCP");
        }
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        check(object, &mut errors);
        errors.0
    }

    fn validate_update(
        &self,
        _: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check_update(object, old, &mut errors);
        check(object, &mut errors);
        errors.immutable(&At::top(object, "addressType"), &At::top(old, "addressType"));
        errors.0
    }

    /// All but the metadata counts, and of that the labels.
    fn generation_changed(&self, object: &Object, old: &Object) -> bool {
        ["addressType", "endpoints", "ports"]
            .iter()
            .any(|name| !same(object.0.get(*name), old.0.get(*name)))
            || !same(object.get(&["metadata", "labels"]), old.get(&["metadata", "labels"]))
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let ports = object.get_list(&["ports"]).iter().map(|port| match &port["port"] {
            Value::Null => port["name"].as_str().unwrap_or("*").to_owned(),
            number => number.to_string(),
        });
        let addresses = object.get_list(&["endpoints"]).iter().flat_map(|endpoint| {
            endpoint["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str)
        });
        vec![
            printers::name(object),
            object.get_str(&["addressType"]).into(),
            printers::up_to_three(ports, "<unset>").into(),
            printers::up_to_three(addresses.map(str::to_owned), "<unset>").into(),
            printers::age(object, now),
        ]
    }
}

fn check(object: &Object, errors: &mut Errors) {
    meta::check(object, true, meta::dns_subdomain, errors);
    let address_type = At::top(object, "addressType");
    errors.one_of(&address_type, &ADDRESS_TYPES);
    let endpoints = At::top(object, "endpoints");
    if endpoints.len() > MAX_ENDPOINTS {
        errors.too_many(&endpoints, MAX_ENDPOINTS);
    } else {
        for endpoint in endpoints.items() {
            check_endpoint(&endpoint, address_type.text(), errors);
        }
    }
    check_ports(&At::top(object, "ports"), errors);
}

fn check_endpoint(endpoint: &At<'_>, address_type: &str, errors: &mut Errors) {
    let addresses = endpoint.get("addresses");
    if addresses.is_empty() {
        errors.required(&addresses, "must contain at least 1 address");
    } else if addresses.len() > MAX_ADDRESSES {
        errors.too_many(&addresses, MAX_ADDRESSES);
    }
    for address in addresses.items() {
        match address_type {
            "IPv4" => {
                net::ipv4(&address, errors);
                net::not_special(&address, errors);
            }
            "IPv6" => {
                net::ipv6(&address, errors);
                net::not_special(&address, errors);
            }
            "FQDN" => check_domain_name(&address, errors),
            _ => {}
        }
    }
    let node = endpoint.get("nodeName");
    if node.is_set() {
        errors.each(&node, meta::dns_subdomain(node.text(), false));
    }
    let topology = endpoint.get("deprecatedTopology");
    if topology.len() > MAX_TOPOLOGY_LABELS {
        errors.too_many(&topology, MAX_TOPOLOGY_LABELS);
    }
    labels::check(&topology, errors);
    let hostname = endpoint.get("hostname");
    if hostname.is_set() {
        errors.each(&hostname, is_dns1123_label(hostname.text()));
    }
    let hints = endpoint.get("hints");
    let zones = hints.get("forZones");
    if zones.len() > MAX_ZONE_HINTS {
        errors.too_many(&zones, MAX_ZONE_HINTS);
    }
    let mut seen = Vec::new();
    for zone in zones.items() {
        let name = zone.get("name");
        if seen.contains(&zone.str("name")) {
            errors.duplicate(&name);
        }
        seen.push(zone.str("name"));
        labels::name(&name, errors);
    }
}

fn check_domain_name(address: &At<'_>, errors: &mut Errors) {
    let name = address.text();
    if name.is_empty() {
        errors.required(address, "");
        return;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let messages = is_dns1123_subdomain(name);
    if !messages.is_empty() {
        errors.each_as(address, name, messages);
        return;
    }
    if !name.contains('.') {
        errors.invalid_as(
            address,
            name,
            "should be a domain with at least two segments separated by dots",
        );
        return;
    }
    for label in name.split('.') {
        errors.each_as(address, label, is_dns1123_label(label));
    }
}

fn check_ports(ports: &At<'_>, errors: &mut Errors) {
    if ports.len() > MAX_PORTS {
        errors.too_many(ports, MAX_PORTS);
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for port in ports.items() {
        let name = port.get("name");
        if !name.is_empty() {
            errors.each(&name, is_dns1123_label(name.text()));
        }
        if seen.contains(&name.text()) {
            errors.duplicate(&name);
        }
        seen.push(port.str("name"));
        let number = port.get("port");
        if number.is_set() {
            errors.each_as(&number, number.int(), is_valid_port_num(number.int()));
        }
        errors.one_of(&port.get("protocol"), &net::PROTOCOLS);
        let app = port.get("appProtocol");
        if app.is_set() {
            errors.each(&app, is_qualified_name(app.text()));
        }
    }
}
