//! The records of one Service, made from the Service and its EndpointSlices.

use std::{net::IpAddr, sync::Arc};

use apimachinery::api::{
    core::Service,
    discovery::{Endpoint as SliceEndpoint, EndpointSlice},
};
use hickory_proto::rr::Name;

/// A Service's name in the maps: namespace, slash, name. No query can spell another one's.
pub(super) type ServiceKey = Arc<[u8]>;

/// Joins the two labels to a [`ServiceKey`]'s bytes.
pub(super) fn key_bytes(namespace: &[u8], name: &[u8]) -> Vec<u8> {
    [namespace, b"/", name].concat()
}

/// Transport protocols that Kubernetes knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }

    /// Reads the second label of an SRV record's name.
    pub(super) fn of_label(label: &[u8]) -> Option<Self> {
        match label {
            b"_tcp" => Some(Self::Tcp),
            b"_udp" => Some(Self::Udp),
            b"_sctp" => Some(Self::Sctp),
            _ => None,
        }
    }
}

/// A port of a Service or of its endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    /// Empty when it has none.
    pub(super) name: Box<str>,
    pub(super) protocol: Protocol,
    pub(super) number: u16,
}

/// One address of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Endpoint {
    pub(super) ip: IpAddr,
    /// The label under the Service's name.
    pub(super) host: Box<str>,
    pub(super) ports: Arc<[Port]>,
}

/// What stands at the Service's own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Publication {
    /// The ClusterIPs.
    Cluster { ips: Box<[IpAddr]>, ports: Box<[Port]> },
    /// The endpoints.
    Headless,
    /// A name elsewhere.
    External(Name),
    /// Nothing: an ExternalName that is no host name.
    Nothing,
}

/// The records of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceRecords {
    pub(super) publication: Publication,
    /// The published ones, sorted.
    pub(super) endpoints: Box<[Endpoint]>,
}

/// What is kept of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceFacts {
    publication: Publication,
    publish_not_ready: bool,
}

/// What is kept of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SliceFacts {
    pub(super) service: ServiceKey,
    /// Each address, and whether it is ready.
    endpoints: Vec<(Endpoint, bool)>,
}

impl ServiceFacts {
    pub(super) fn of(service: &Service) -> Self {
        let spec = &service.spec;
        let publication = if spec.type_.as_deref() == Some("ExternalName") {
            external(spec.external_name.as_deref().unwrap_or_default())
        } else if spec.cluster_ip.as_deref() == Some("None") {
            Publication::Headless
        } else {
            let ips: Vec<&String> = match spec.cluster_ips.as_slice() {
                [] => spec.cluster_ip.iter().collect(),
                ips => ips.iter().collect(),
            };
            let ports = spec.ports.iter().filter_map(|port| {
                self::port(port.name.as_deref(), port.protocol.as_deref(), Some(port.port))
            });
            Publication::Cluster {
                ips: ips.into_iter().filter_map(|ip| ip.parse().ok()).collect(),
                ports: ports.collect(),
            }
        };
        let publish_not_ready = spec.publish_not_ready_addresses == Some(true);
        Self { publication, publish_not_ready }
    }
}

/// A name that looks like an address is no alias: Kubernetes takes it for digits, and DNS servers resolve no such name.
fn external(name: &str) -> Publication {
    let absolute = format!("{}.", name.trim_end_matches('.'));
    if name.parse::<IpAddr>().is_ok() {
        return Publication::Nothing;
    }
    match Name::from_ascii(absolute) {
        Ok(name) if !name.is_root() => Publication::External(name),
        _ => Publication::Nothing,
    }
}

fn port(name: Option<&str>, protocol: Option<&str>, number: Option<i32>) -> Option<Port> {
    Some(Port {
        name: name.unwrap_or_default().to_ascii_lowercase().into(),
        protocol: Protocol::parse(protocol)?,
        number: u16::try_from(number?).ok()?,
    })
}

impl SliceFacts {
    /// Takes what concerns us, or nothing when the slice belongs to no Service or has no addresses.
    pub(super) fn of(slice: &EndpointSlice) -> Option<Self> {
        let labels = slice.metadata.labels.get("kubernetes.io/service-name")?;
        if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6") {
            return None;
        }
        let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
        let ports: Arc<[Port]> = slice
            .ports
            .iter()
            .filter_map(|port| {
                self::port(port.name.as_deref(), port.protocol.as_deref(), port.port)
            })
            .collect();
        let endpoints = slice.endpoints.iter().flat_map(|endpoint| {
            let ready = endpoint.conditions.as_ref().is_none_or(|c| c.ready != Some(false));
            let addresses = endpoint.addresses.iter().filter_map(|ip| ip.parse::<IpAddr>().ok());
            addresses
                .map(|ip| {
                    let host = host_label(endpoint, ip);
                    (Endpoint { ip, host, ports: Arc::clone(&ports) }, ready)
                })
                .collect::<Vec<_>>()
        });
        Some(Self {
            service: key_bytes(namespace.as_bytes(), labels.as_bytes()).into(),
            endpoints: endpoints.collect(),
        })
    }
}

/// The endpoint's own label: its host name, or its address with dashes.
fn host_label(endpoint: &SliceEndpoint, ip: IpAddr) -> Box<str> {
    match endpoint.hostname.as_deref() {
        Some(host) if !host.is_empty() => host.to_ascii_lowercase().into(),
        _ => ip.to_string().replace(['.', ':'], "-").into(),
    }
}

impl ServiceRecords {
    /// Joins a Service and its slices.
    pub(super) fn build<'a>(
        service: &ServiceFacts,
        slices: impl Iterator<Item = &'a SliceFacts>,
    ) -> Self {
        let mut endpoints: Vec<Endpoint> = match service.publication {
            Publication::External(_) | Publication::Nothing => Vec::new(),
            Publication::Cluster { .. } | Publication::Headless => slices
                .flat_map(|slice| &slice.endpoints)
                .filter(|(_, ready)| *ready || service.publish_not_ready)
                .map(|(endpoint, _)| endpoint.clone())
                .collect(),
        };
        endpoints.sort_unstable();
        // An endpoint may be in two slices while it moves from one to the other.
        endpoints.dedup();
        Self { publication: service.publication.clone(), endpoints: endpoints.into() }
    }

    /// The ports that SRV records can name.
    pub(super) fn ports(&self) -> impl Iterator<Item = &Port> {
        let (own, endpoints): (&[Port], &[Endpoint]) = match &self.publication {
            Publication::Cluster { ports, .. } => (ports, &[]),
            Publication::Headless => (&[], &self.endpoints),
            Publication::External(_) | Publication::Nothing => (&[], &[]),
        };
        own.iter().chain(endpoints.iter().flat_map(|endpoint| endpoint.ports.iter()))
    }
}
