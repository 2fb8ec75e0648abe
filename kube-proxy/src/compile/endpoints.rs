//! What EndpointSlices say to the network: kube-proxy's `EndpointSliceCache`.

use std::{collections::BTreeMap, net::SocketAddr};

use apimachinery::api::discovery::{self, EndpointSlice};
use cni::rules::{Endpoint, Hints, Protocol};

/// `discoveryv1.LabelServiceName`.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// `corev1.IsHeadlessService`, which the EndpointSlice controller puts on the slices of headless Services.
const HEADLESS: &str = "service.kubernetes.io/headless";
const SERVICE_PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// One slice's endpoints, by port name and protocol.
#[derive(Debug)]
pub(super) struct SlicePorts(BTreeMap<(String, Protocol), Vec<Endpoint>>);

impl SlicePorts {
    /// Reads a slice and the name of its Service; `None` for one that is not this proxy's.
    pub(super) fn of(slice: &EndpointSlice) -> Option<(String, Self)> {
        let labels = &slice.metadata.labels;
        let service = labels.get(SERVICE_NAME).filter(|name| !name.is_empty())?;
        if slice.address_type != "IPv4"
            || labels.contains_key(HEADLESS)
            || labels.contains_key(SERVICE_PROXY_NAME)
        {
            return None;
        }
        let mut ports = BTreeMap::<_, Vec<Endpoint>>::new();
        for port in &slice.ports {
            let protocol = match port.protocol.as_deref() {
                None | Some("TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some(_) => continue,
            };
            // Without a number a port means "all ports", which a proxy cannot serve.
            let Some(number) = port.port.and_then(|port| u16::try_from(port).ok()) else {
                continue;
            };
            let endpoints = slice.endpoints.iter().filter_map(|endpoint| {
                let conditions = endpoint.conditions.as_ref();
                // Unknown is taken for ready and serving, and for not terminating.
                let ready = conditions.and_then(|conditions| conditions.ready);
                let serving = conditions.and_then(|conditions| conditions.serving);
                let terminating = conditions.and_then(|conditions| conditions.terminating);
                Some(Endpoint {
                    // The further addresses are the same endpoint's.
                    address: SocketAddr::new(endpoint.addresses.first()?.parse().ok()?, number),
                    node: endpoint.node_name.clone(),
                    ready: ready.unwrap_or(true),
                    serving: serving.unwrap_or(true),
                    terminating: terminating.unwrap_or(false),
                    hints: hints(endpoint),
                })
            });
            let name = port.name.clone().unwrap_or_default();
            ports.entry((name, protocol)).or_default().extend(endpoints);
        }
        Some((service.clone(), Self(ports)))
    }
}

fn hints(endpoint: &discovery::Endpoint) -> Option<Box<Hints>> {
    let told = endpoint.hints.as_ref()?;
    let hints = Hints {
        zones: told.for_zones.iter().map(|zone| zone.name.clone()).collect(),
        nodes: told.for_nodes.iter().map(|node| node.name.clone()).collect(),
    };
    (hints != Hints::default()).then(|| Box::new(hints))
}

/// Joins the slices of one Service port, sorted by address. A pod that is in two slices for a moment counts once, as
/// its better self.
pub(super) fn join<'a>(
    slices: impl Iterator<Item = &'a SlicePorts>,
    port: &str,
    protocol: Protocol,
) -> Vec<Endpoint> {
    let mut joined = BTreeMap::<SocketAddr, Endpoint>::new();
    let wanted = (port.to_owned(), protocol);
    for endpoint in slices.filter_map(|slice| slice.0.get(&wanted)).flatten() {
        let better =
            |known: &Endpoint| (endpoint.ready, endpoint.serving) > (known.ready, known.serving);
        if joined.get(&endpoint.address).is_none_or(better) {
            joined.insert(endpoint.address, endpoint.clone());
        }
    }
    joined.into_values().collect()
}
