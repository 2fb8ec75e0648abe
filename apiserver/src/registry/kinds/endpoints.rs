//! Endpoints, the older twin of EndpointSlices.

use apimachinery::{
    field::FieldError,
    object::Object,
    resource,
    resource::ResourceInfo,
    validation::{is_dns1123_label, is_qualified_name, is_valid_ip, is_valid_port_num},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::{
        at::{At, Errors},
        net,
    },
};

const COLUMNS: [Column; 3] = [
    printers::NAME,
    printers::string("Endpoints", "The addresses and ports that are ready."),
    printers::AGE,
];

/// See the module.
pub(super) struct Endpoints;

impl Strategy for Endpoints {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::ENDPOINTS
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        for subset in defaults::each(&mut object.0, "subsets") {
            for port in defaults::each(subset, "ports") {
                defaults::set_zero(port, "protocol", "TCP");
            }
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
        errors.0
    }

    fn warnings(&self, _: &Object) -> Vec<String> {
        vec![
            "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
                .to_owned(),
        ]
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        vec![printers::name(object), ready_addresses(object).into(), printers::age(object, now)]
    }
}

fn ready_addresses(object: &Object) -> String {
    let subsets = object.get_list(&["subsets"]);
    let addresses = |subset: &Value| -> Vec<String> {
        let list = subset["addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|a| a["ip"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let all = subsets.iter().flat_map(|subset| -> Vec<String> {
        let ips = addresses(subset);
        match subset["ports"].as_array().filter(|ports| !ports.is_empty()) {
            None => ips,
            Some(ports) => ports
                .iter()
                .flat_map(|port| ips.iter().map(move |ip| host_port(ip, &port["port"])))
                .collect(),
        }
    });
    printers::up_to_three(all, if subsets.is_empty() { printers::NONE } else { "" })
}

fn host_port(ip: &str, port: &Value) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn check(object: &Object, errors: &mut Errors) {
    meta::check(object, true, meta::dns_subdomain, errors);
    for subset in At::top(object, "subsets").items() {
        let lists = ["addresses", "notReadyAddresses"].map(|name| subset.get(name));
        if lists.iter().all(At::is_empty) {
            errors.required(&subset, "must specify `addresses` or `notReadyAddresses`");
        }
        for list in &lists {
            list.items().for_each(|address| check_address(&address, errors));
        }
        let ports = subset.get("ports");
        for port in ports.items() {
            check_port(&port, ports.len() > 1, errors);
        }
    }
}

fn check_address(address: &At<'_>, errors: &mut Errors) {
    let ip = address.get("ip");
    errors.each(&ip, is_valid_ip(ip.text()));
    let hostname = address.get("hostname");
    if !hostname.is_empty() {
        errors.each(&hostname, is_dns1123_label(hostname.text()));
    }
    let node = address.get("nodeName");
    if node.is_set() {
        errors.each(&node, meta::dns_subdomain(node.text(), false));
    }
    net::not_special(&ip, errors);
}

fn check_port(port: &At<'_>, require_name: bool, errors: &mut Errors) {
    let name = port.get("name");
    if require_name && name.is_empty() {
        errors.required(&name, "");
    } else if !name.is_empty() {
        errors.each(&name, is_dns1123_label(name.text()));
    }
    let number = port.get("port");
    errors.each_as(&number, number.int(), is_valid_port_num(number.int()));
    errors.one_of(&port.get("protocol"), &net::PROTOCOLS);
    let app = port.get("appProtocol");
    if app.is_set() {
        errors.each(&app, is_qualified_name(app.text()));
    }
}
