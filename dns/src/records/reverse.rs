//! From addresses to names: `5.1.244.10.in-addr.arpa`.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::from_utf8,
    sync::Arc,
};

use hickory_proto::rr::Name;

use super::service::{Publication, ServiceKey, ServiceRecords};

/// Who has an address. The Service itself sorts before its endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    /// The endpoint's label; `None` for a ClusterIP.
    pub(super) host: Option<Box<str>>,
    pub(super) service: ServiceKey,
}

impl Owner {
    /// All addresses of a Service.
    pub(super) fn all(key: &ServiceKey, records: &ServiceRecords) -> BTreeSet<(IpAddr, Self)> {
        let own: &[IpAddr] = match &records.publication {
            Publication::Cluster { ips, .. } => ips,
            _ => &[],
        };
        let service = own.iter().map(|ip| (*ip, Self { host: None, service: Arc::clone(key) }));
        let endpoints = records.endpoints.iter().map(|endpoint| {
            let host = Some(endpoint.host.clone());
            (endpoint.ip, Self { host, service: Arc::clone(key) })
        });
        service.chain(endpoints).collect()
    }

    /// The name that a PTR record leads to.
    pub(super) fn name(&self, domain: &Name) -> Option<Name> {
        let (namespace, service) = split(&self.service)?;
        let host = self.host.iter().map(|host| host.as_bytes());
        let labels = host.chain([service, namespace, b"svc"]).chain(domain);
        Name::from_labels(labels).ok()
    }
}

fn split(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = key.iter().position(|byte| *byte == b'/')?;
    Some((&key[..slash], &key[slash + 1..]))
}

/// What a name in a reverse zone means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReverseName {
    /// Above addresses.
    Network,
    /// One address.
    Address(IpAddr),
    /// No such thing.
    Invalid,
}

/// The reverse zone of a name, and what it means there; `None` outside both. The name is in lower case.
pub(super) fn parse(name: &Name) -> Option<(Name, ReverseName)> {
    let mut labels = name.iter().rev();
    if labels.next()? != b"arpa" {
        return None;
    }
    let (zone, length) = match labels.next()? {
        b"in-addr" => (Name::from_labels(["in-addr", "arpa"]), 4),
        b"ip6" => (Name::from_labels(["ip6", "arpa"]), 32),
        _ => return None,
    };
    let zone = zone.ok()?;
    let labels: Vec<&[u8]> = labels.collect();
    let meaning = if length == 4 { ipv4(&labels) } else { ipv6(&labels) };
    Some((zone, meaning.unwrap_or(ReverseName::Invalid)))
}

fn ipv4(labels: &[&[u8]]) -> Option<ReverseName> {
    let mut octets = [0; 4];
    if labels.len() > octets.len() {
        return None;
    }
    for (octet, label) in octets.iter_mut().zip(labels) {
        let text = from_utf8(label).ok()?;
        *octet = text.parse::<u8>().ok().filter(|number| number.to_string() == text)?;
    }
    let whole = labels.len() == octets.len();
    Some(if whole {
        ReverseName::Address(Ipv4Addr::from(octets).into())
    } else {
        ReverseName::Network
    })
}

fn ipv6(labels: &[&[u8]]) -> Option<ReverseName> {
    if labels.len() > 32 {
        return None;
    }
    let mut bits = 0_u128;
    for label in labels {
        let [digit] = label else { return None };
        bits = bits << 4 | u128::from(char::from(*digit).to_digit(16)?);
    }
    let whole = labels.len() == 32;
    Some(if whole {
        ReverseName::Address(Ipv6Addr::from(bits).into())
    } else {
        ReverseName::Network
    })
}
