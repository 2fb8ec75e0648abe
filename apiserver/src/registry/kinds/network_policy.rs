//! NetworkPolicy (networking.k8s.io): which connections the selected pods take and open.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use apimachinery::{
    field::FieldError,
    object::Object,
    resource,
    resource::ResourceInfo,
    validation::{is_valid_port_name, is_valid_port_num},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::{
        at::{At, Errors},
        labels,
        net::{self, PROTOCOLS},
    },
};

const COLUMNS: [Column; 3] = [
    printers::NAME,
    printers::string("Pod-Selector", "The pods that the policy is for."),
    printers::AGE,
];
const TYPES: [&str; 2] = ["Egress", "Ingress"];
/// Of each direction: the rules, and who is at the other end.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

/// See the module.
pub(super) struct NetworkPolicy;

impl Strategy for NetworkPolicy {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::NETWORK_POLICIES
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        let Some(spec) = defaults::child_or_new(&mut object.0, "spec") else { return };
        for (rules, _) in DIRECTIONS {
            for rule in defaults::each(spec, rules) {
                for port in defaults::each(rule, "ports") {
                    defaults::set(port, "protocol", "TCP");
                }
            }
        }
        defaults::child_or_new(spec, "podSelector");
        let any = |name: &str| {
            let list = spec.get(name).and_then(Value::as_array);
            list.is_some_and(|list| !list.is_empty())
        };
        if !any("policyTypes") {
            let types =
                if any("egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            spec.insert("policyTypes".to_owned(), types);
        }
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check(object, true, meta::dns_subdomain, &mut errors);
        check_spec(&At::top(object, "spec"), &mut errors);
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
        check_spec(&At::top(object, "spec"), &mut errors);
        errors.0
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        let spec = At::top(object, "spec");
        let mut warnings = Vec::new();
        for (rules, _) in DIRECTIONS {
            for rule in spec.get(rules).items() {
                for port in rule.get("ports").items().filter(|port| port.str("protocol") == "SCTP")
                {
                    warnings.push(format!(
                        "{}: SCTP is not carried by the pod network: the rule matches nothing",
                        port.get("protocol").path()
                    ));
                }
            }
        }
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        vec![
            printers::name(object),
            printers::label_selector(object.get(&["spec", "podSelector"])).into(),
            printers::age(object, now),
        ]
    }
}

fn check_spec(spec: &At<'_>, errors: &mut Errors) {
    labels::selector(&spec.get("podSelector"), errors);
    for (rules, other_end) in DIRECTIONS {
        for rule in spec.get(rules).items() {
            for item in rule.get("ports").items() {
                port(&item, errors);
            }
            for item in rule.get(other_end).items() {
                peer(&item, errors);
            }
        }
    }
    let types = spec.get("policyTypes");
    if types.len() > TYPES.len() {
        errors.invalid(&types, "may not specify more than two policyTypes");
        return;
    }
    for item in types.items() {
        errors.one_of(&item, &TYPES);
    }
}

fn port(item: &At<'_>, errors: &mut Errors) {
    errors.one_of_if_set(&item.get("protocol"), &PROTOCOLS);
    let [port, end] = ["port", "endPort"].map(|name| item.get(name));
    match port.raw() {
        None if end.is_set() => {
            errors.invalid(&end, "may not be specified when `port` is not specified");
        }
        None => {}
        Some(Value::String(name)) => {
            if end.is_set() {
                errors.invalid(&end, "may not be specified when `port` is non-numeric");
            }
            errors.each(&port, is_valid_port_name(name));
        }
        Some(_) => {
            errors.each(&port, is_valid_port_num(port.int()));
            if end.is_set() {
                if end.int() < port.int() {
                    errors.invalid_as(&end, port.int(), "must be greater than or equal to `port`");
                }
                errors.each(&end, is_valid_port_num(end.int()));
            }
        }
    }
}

fn peer(peer: &At<'_>, errors: &mut Errors) {
    let [pods, namespaces, block] =
        ["podSelector", "namespaceSelector", "ipBlock"].map(|name| peer.get(name));
    for selector in [&pods, &namespaces] {
        labels::selector(selector, errors);
    }
    if block.is_set() {
        ip_block(&block, errors);
    }
    if !(pods.is_set() || namespaces.is_set() || block.is_set()) {
        errors.required(peer, "must specify a peer");
    } else if block.is_set() && (pods.is_set() || namespaces.is_set()) {
        errors.forbidden(peer, "may not specify both ipBlock and another peer");
    }
}

fn ip_block(block: &At<'_>, errors: &mut Errors) {
    let cidr = block.get("cidr");
    if cidr.is_empty() {
        errors.required(&cidr, "");
        return;
    }
    net::cidr(&cidr, errors);
    let Some(whole) = parse(cidr.text()) else { return };
    for except in block.get("except").items() {
        net::cidr(&except, errors);
        if let Some(part) = parse(except.text())
            && !is_strict_subset(part, whole)
        {
            errors.invalid(&except, "must be a strict subset of `cidr`");
        }
    }
}

/// The address's bits, aligned to the left, its width, and the prefix.
fn parse(text: &str) -> Option<(u128, u32, u32)> {
    let (address, prefix) = text.split_once('/')?;
    let (bits, width) = match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    prefix.parse().ok().filter(|prefix| *prefix <= width).map(|prefix| (bits, width, prefix))
}

fn is_strict_subset(
    (part, part_width, part_prefix): (u128, u32, u32),
    (whole, width, prefix): (u128, u32, u32),
) -> bool {
    let differing = if prefix == 0 { 0 } else { (part ^ whole) >> (128 - prefix) };
    part_width == width && part_prefix > prefix && differing == 0
}
