//! Addresses, ports and protocols.

use std::net::{IpAddr, Ipv6Addr};

use apimachinery::validation::{is_valid_ip, is_valid_port_name, is_valid_port_num};
use serde_json::Value;

use super::at::{At, Errors};

/// The protocols of ports, sorted.
pub(crate) const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// A port by number or by name (`ValidatePortNumOrName`).
pub(crate) fn port_number_or_name(port: &At<'_>, errors: &mut Errors) {
    match port.raw() {
        Some(Value::String(name)) => errors.each(port, is_valid_port_name(name)),
        _ => errors.each_as(port, port.int(), is_valid_port_num(port.int())),
    }
}

/// An address that packets can be sent to (`ValidateNonSpecialIP`).
pub(crate) fn not_special(address: &At<'_>, errors: &mut Errors) {
    let text = address.text();
    let Ok(ip) = text.parse::<IpAddr>() else {
        errors.invalid(address, "must be a valid IP address");
        return;
    };
    if ip.is_unspecified() {
        errors.invalid(address, format!("may not be unspecified ({text})"));
    }
    if ip.is_loopback() {
        errors.invalid(address, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link_local, link_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), matches!(ip.octets(), [224, 0, 0, _])),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), is_link_local_multicast(ip)),
    };
    if link_local {
        errors.invalid(address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if link_multicast {
        errors.invalid(
            address,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        );
    }
}

fn is_link_local_multicast(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xff0f == 0xff02
}

/// An IPv4 address.
pub(crate) fn ipv4(address: &At<'_>, errors: &mut Errors) {
    if !matches!(address.text().parse(), Ok(IpAddr::V4(_))) {
        errors.invalid(address, "must be a valid IPv4 address");
    }
}

/// An IPv6 address.
pub(crate) fn ipv6(address: &At<'_>, errors: &mut Errors) {
    if !matches!(address.text().parse(), Ok(IpAddr::V6(_))) {
        errors.invalid(address, "must be a valid IPv6 address");
    }
}

/// Reads `address/bits`: whether it is of IPv6.
fn parse_cidr(text: &str) -> Option<bool> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let max = if address.is_ipv4() { 32 } else { 128 };
    let bits: u8 = bits.parse().ok()?;
    (bits <= max).then_some(address.is_ipv6())
}

/// A network, `10.9.8.0/24`.
pub(crate) fn cidr(network: &At<'_>, errors: &mut Errors) {
    if parse_cidr(network.text().trim()).is_none() {
        errors.invalid_as(
            network,
            network.text().trim(),
            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        );
    }
}

/// A list of networks, at most one per family.
pub(crate) fn cidr_per_family(list: &At<'_>, errors: &mut Errors) {
    list.items().for_each(|network| cidr(&network, errors));
    if list.len() < 2 {
        return;
    }
    let families: Vec<_> = list.items().map(|network| parse_cidr(network.text())).collect();
    if families.len() > 2 || families[0] == families[1] {
        errors.invalid(list, "may specify no more than one CIDR for each IP family");
    }
    unique(list, "", errors);
}

/// A list of `{ip: …}`, valid and at most one per family (`validatePodIPs`).
pub(crate) fn ip_per_family(list: &At<'_>, errors: &mut Errors) {
    for entry in list.items() {
        errors.each_as(&entry, entry.str("ip"), is_valid_ip(entry.str("ip")));
    }
    if list.len() < 2 {
        return;
    }
    let is_ipv6: Vec<bool> = list.items().map(|entry| entry.str("ip").contains(':')).collect();
    if is_ipv6.len() > 2 || is_ipv6[0] == is_ipv6[1] {
        errors.invalid(list, "may specify no more than one IP for each IP family");
    }
    unique(list, "ip", errors);
}

/// Each element, or each element's field `name`, occurs once.
fn unique(list: &At<'_>, name: &str, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for entry in list.items() {
        let text = if name.is_empty() { entry.text() } else { entry.str(name) };
        if seen.contains(&text) {
            errors.duplicate(&entry);
        }
        seen.push(text);
    }
}
