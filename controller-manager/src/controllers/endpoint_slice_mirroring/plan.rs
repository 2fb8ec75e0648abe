//! The slices of one Endpoints object, as a pure function.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use apimachinery::api::{
    core::{EndpointAddress, Endpoints},
    discovery::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    meta::{ObjectMeta, OwnerReference},
};

use crate::controllers::{
    endpoint_slice::plan::{MANAGED_BY, Plan, SERVICE_NAME},
    trigger_time::TRIGGER_TIME,
};

/// This controller's value of the label that tells who keeps a slice.
pub const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The slices, and what they leave out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mirror {
    /// The writes that bring them up to date.
    pub writes: Plan,
    /// Addresses that are none.
    pub invalid: usize,
    /// These, and addresses that are too many.
    pub skipped: usize,
}

/// A family of addresses, and ports: what the endpoints of a slice have in common.
type Group = (&'static str, String);

/// The ports and endpoints of a slice.
type Contents = (Vec<EndpointPort>, Vec<Endpoint>);

/// Decides the writes.
#[must_use]
pub fn plan(endpoints: &Endpoints, slices: &[Arc<EndpointSlice>], most: usize) -> Mirror {
    let mut mirror = Mirror::default();
    let mut wanted: BTreeMap<Group, Contents> = BTreeMap::new();
    for (ports, addresses) in repack(endpoints) {
        let (mut added, all) = (0, addresses.len());
        for (address, ready) in addresses {
            if added == most {
                break;
            }
            let Ok(ip) = address.ip.parse::<IpAddr>() else {
                mirror.invalid += 1;
                continue;
            };
            added += 1;
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let group = wanted.entry((family, key(&ports)));
            let (_, endpoints) = group.or_insert_with(|| (ports.clone(), Vec::new()));
            endpoints.push(endpoint(&address, ready));
        }
        mirror.skipped += all - added;
    }
    let mut existing: BTreeMap<Group, Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in slices {
        let family = if slice.address_type == "IPv6" { "IPv6" } else { "IPv4" };
        existing.entry((family, key(&slice.ports))).or_default().push(slice);
    }
    for (group, (ports, desired)) in wanted {
        let mut present = existing.remove(&group).unwrap_or_default().into_iter();
        let slice = new_slice(endpoints, group.0, ports, desired);
        match present.next() {
            None => mirror.writes.create.push(slice),
            Some(first) if is_same(first, &slice) => {}
            Some(first) => {
                let mut metadata = first.metadata.clone();
                metadata.labels = slice.metadata.labels;
                metadata.annotations = slice.metadata.annotations;
                mirror.writes.update.push(EndpointSlice { metadata, ..slice });
            }
        }
        mirror.writes.delete.extend(present.filter_map(|slice| slice.metadata.name.clone()));
    }
    let left = existing.into_values().flatten();
    mirror.writes.delete.extend(left.filter_map(|slice| slice.metadata.name.clone()));
    reuse(&mut mirror.writes, slices);
    mirror
}

/// Changes slices that would be deleted into those that would be made.
fn reuse(writes: &mut Plan, slices: &[Arc<EndpointSlice>]) {
    let mut kept = Vec::new();
    for name in std::mem::take(&mut writes.delete) {
        let old = slices.iter().find(|slice| slice.metadata.name.as_ref() == Some(&name));
        let family = old.map(|slice| slice.address_type.as_str());
        let at = writes.create.iter().position(|new| Some(new.address_type.as_str()) == family);
        match (old, at) {
            (Some(old), Some(at)) => {
                let new = writes.create.remove(at);
                let mut metadata = old.metadata.clone();
                metadata.labels = new.metadata.labels;
                metadata.annotations = new.metadata.annotations;
                writes.update.push(EndpointSlice { metadata, ..new });
            }
            _ => kept.push(name),
        }
    }
    writes.delete = kept;
}

/// Addresses with whether they are ready.
type Addresses = Vec<(EndpointAddress, bool)>;

/// Brings the addresses of all subsets together by the ports that they have in all: `RepackSubsets`. An address that is
/// ready in one subset and not in another is not.
fn repack(endpoints: &Endpoints) -> Vec<(Vec<EndpointPort>, Addresses)> {
    let mut by_address: BTreeMap<String, (EndpointAddress, bool, BTreeMap<String, EndpointPort>)> =
        BTreeMap::new();
    for subset in &endpoints.subsets {
        let ready = subset.addresses.iter().map(|address| (address, true));
        let others = subset.not_ready_addresses.iter().map(|address| (address, false));
        for (address, ready) in ready.chain(others) {
            let uid = address.target_ref.as_ref().and_then(|t| t.uid.clone()).unwrap_or_default();
            let entry = by_address
                .entry(format!("{} {uid}", address.ip))
                .or_insert_with(|| (address.clone(), true, BTreeMap::new()));
            entry.1 &= ready;
            for port in &subset.ports {
                let port = EndpointPort {
                    name: Some(port.name.clone().unwrap_or_default()),
                    port: Some(port.port),
                    protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                    app_protocol: port.app_protocol.clone(),
                };
                entry.2.insert(key(std::slice::from_ref(&port)), port);
            }
        }
    }
    let mut by_ports: BTreeMap<Vec<String>, (Vec<EndpointPort>, Addresses)> = BTreeMap::new();
    for (address, ready, ports) in by_address.into_values() {
        let group = by_ports.entry(ports.keys().cloned().collect());
        let (_, addresses) = group.or_insert_with(|| (ports.into_values().collect(), Vec::new()));
        addresses.push((address, ready));
    }
    // Ready ones come first: they are the last to be left out.
    let mut groups: Vec<_> = by_ports.into_values().collect();
    for (_, addresses) in &mut groups {
        addresses.sort_by_key(|(_, ready)| !ready);
    }
    groups
}

/// Ports as a text, whatever their order.
fn key(ports: &[EndpointPort]) -> String {
    let parts: BTreeSet<String> =
        ports.iter().map(|port| serde_json::to_string(port).unwrap_or_default()).collect();
    parts.into_iter().collect::<Vec<_>>().join(",")
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn new_slice(
    endpoints: &Endpoints,
    family: &str,
    ports: Vec<EndpointPort>,
    desired: Vec<Endpoint>,
) -> EndpointSlice {
    let name = endpoints.metadata.name.clone().unwrap_or_default();
    let mut labels = endpoints.metadata.labels.clone();
    labels.insert(SERVICE_NAME.to_owned(), name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = endpoints.metadata.annotations.clone();
    annotations.retain(|key, _| key != TRIGGER_TIME && key != LAST_APPLIED);
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: endpoints.metadata.namespace.clone(),
            labels,
            annotations,
            owner_references: vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Endpoints".to_owned(),
                name,
                uid: endpoints.metadata.uid.clone().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }],
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: desired,
        ports,
    }
}

/// Whether a slice needs no change: the order of its endpoints is no matter.
fn is_same(present: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    let sorted = |slice: &EndpointSlice| {
        let mut all: Vec<String> = slice
            .endpoints
            .iter()
            .map(|endpoint| serde_json::to_string(endpoint).unwrap_or_default())
            .collect();
        all.sort();
        all
    };
    present.metadata.labels == wanted.metadata.labels
        && present.metadata.annotations == wanted.metadata.annotations
        && sorted(present) == sorted(wanted)
}
