//! Describes Endpoints and EndpointSlices.

use apimachinery::{
    api::{
        core::{EndpointAddress, Endpoints},
        discovery::EndpointSlice,
    },
    object::Object,
};

use super::{
    Text,
    related::{Related, view},
    text::or_none,
};
use crate::errors::CommandError;

const UNSET: &str = "<unset>";

pub(super) async fn endpoints<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let endpoints: Endpoints = view(object)?;
    text.head(&endpoints.metadata);
    text.line(0, "Subsets:");
    for subset in &endpoints.subsets {
        text.field(1, "Addresses", addresses(&subset.addresses));
        text.field(1, "NotReadyAddresses", addresses(&subset.not_ready_addresses));
        if !subset.ports.is_empty() {
            text.line(1, "Ports:");
            text.line(2, "Name\tPort\tProtocol");
            text.line(2, "----\t----\t--------");
            for port in &subset.ports {
                let name = port.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(UNSET);
                let protocol = port.protocol.as_deref().unwrap_or_default();
                text.line(2, format_args!("{name}\t{}\t{protocol}", port.port));
            }
        }
        text.raw("\n");
    }
    text.events(related.events(object).await);
    Ok(text)
}

fn addresses(addresses: &[EndpointAddress]) -> String {
    let ips: Vec<&str> = addresses.iter().map(|address| address.ip.as_str()).collect();
    or_none(Some(&ips.join(","))).to_owned()
}

pub(super) async fn endpoint_slice<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let slice: EndpointSlice = view(object)?;
    write_slice(&slice, &mut text);
    text.events(related.events(object).await);
    Ok(text)
}

fn write_slice(slice: &EndpointSlice, text: &mut Text<'_>) {
    text.head(&slice.metadata);
    text.field(0, "AddressType", &slice.address_type);
    if slice.ports.is_empty() {
        text.line(0, "Ports: <unset>");
    } else {
        text.line(0, "Ports:");
        text.line(1, "Name\tPort\tProtocol");
        text.line(1, "----\t----\t--------");
        for port in &slice.ports {
            let name = port.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(UNSET);
            let number = port.port.map_or_else(|| UNSET.to_owned(), |port| port.to_string());
            let protocol = port.protocol.as_deref().unwrap_or_default();
            text.line(1, format_args!("{name}\t{number}\t{protocol}"));
        }
    }
    if slice.endpoints.is_empty() {
        text.line(0, "Endpoints: <none>");
        return;
    }
    text.line(0, "Endpoints:");
    for endpoint in &slice.endpoints {
        text.field(1, "- Addresses", or_none(Some(&endpoint.addresses.join(", "))));
        text.line(2, "Conditions:");
        let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
        text.field(3, "Ready", ready.map_or_else(|| UNSET.to_owned(), |ready| ready.to_string()));
        text.field(2, "Hostname", endpoint.hostname.as_deref().unwrap_or(UNSET));
        if let Some(target) = &endpoint.target_ref {
            let kind = target.kind.as_deref().unwrap_or_default();
            let name = target.name.as_deref().unwrap_or_default();
            text.field(2, "TargetRef", format_args!("{kind}/{name}"));
        }
        text.field(2, "NodeName", endpoint.node_name.as_deref().unwrap_or(UNSET));
        text.field(2, "Zone", endpoint.zone.as_deref().unwrap_or(UNSET));
    }
}
