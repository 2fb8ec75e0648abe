//! What the cluster's DNS answers: Kubernetes' DNS-Based Service Discovery specification, version 1.1.0. Pure.
//!
//! [`Directory`] takes objects and publishes [`Records`], an immutable snapshot; [`Records::lookup`] answers from it by
//! walking the labels from the right, so that its cost does not depend on the number of Services.
//!
//! | name under `cluster.local` | holds |
//! |---|---|
//! | (itself) | SOA, NS |
//! | `dns-version` | TXT `1.1.0` |
//! | `ns.dns` | A: the Service before this server |
//! | `SERVICE.NAMESPACE.svc` | A: ClusterIP, or ready endpoints when headless; SRV of all ports; CNAME for ExternalName |
//! | `_PORT._PROTOCOL.SERVICE.NAMESPACE.svc` | SRV |
//! | `HOST.SERVICE.NAMESPACE.svc` | A and SRV of an endpoint; HOST is its host name, else its address with dashes |
//! | `10-244-1-5.NAMESPACE.pod` | A: the address itself |
//! | `5.1.244.10.in-addr.arpa` | PTR to the Service of a ClusterIP, else to each endpoint of this address |
//!
//! Where the specification is silent we do as CoreDNS with kubeadm's Corefile: TTL 30 (28,800 for the version), pods
//! `insecure` (any address in a namespace that exists), a headless Service without ready endpoints does not exist,
//! several SRV records share a weight of 100, endpoints of ClusterIP Services have names, too.
//!
//! We differ from CoreDNS where it is at odds with DNS itself: a name that exists for one type has no data for others
//! (`_http._tcp.web…` has no A record; `_tcp.web…` and `dns` above `ns.dns` exist), and an alias is answered whatever is
//! asked for.

mod directory;
mod reverse;
mod service;
mod sharded;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::from_utf8,
    sync::Arc,
};

use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT},
    },
};

pub use self::directory::{Directory, Listed};
use self::{
    reverse::{Owner, ReverseName},
    service::{Endpoint, Port, Protocol, Publication, ServiceKey, ServiceRecords, key_bytes},
    sharded::Sharded,
};

/// The version of the specification.
const SCHEMA_VERSION: &str = "1.1.0";
/// Lifetime of the version's record, as the specification gives it.
const SCHEMA_TTL: u32 = 28_800;
/// Aliases that are followed inside the zone.
const MAX_ALIASES: usize = 8;
/// Labels below the domain of the longest name there is: `_port._protocol.service.namespace.svc`.
const MAX_LABELS: usize = 5;

/// What does not change while the server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// `cluster.local.`
    pub domain: Name,
    /// Lifetime of records, in seconds.
    pub ttl: u32,
    /// This server's own address: the Services before it are the zone's name servers.
    pub own_address: Option<IpAddr>,
}

impl Default for Zone {
    fn default() -> Self {
        let domain = Name::from_labels(["cluster", "local"]).expect("two short labels");
        Self { domain, ttl: 30, own_address: None }
    }
}

/// All records at one moment. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Records {
    zone: Arc<Zone>,
    serial: u32,
    synced: bool,
    namespaces: Arc<BTreeSet<Box<str>>>,
    services: Sharded<ServiceKey, Arc<ServiceRecords>>,
    addresses: Sharded<IpAddr, Arc<[Owner]>>,
}

/// Whose matter a question is.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Ours.
    Answer(Answer),
    /// The upstream servers'; without them, this is what there is to say.
    Upstream(Answer),
}

/// An answer of this zone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The verdict.
    pub code: ResponseCode,
    /// What was asked for.
    pub answers: Vec<Record>,
    /// The SOA record, when there is nothing to answer.
    pub authorities: Vec<Record>,
    /// Addresses of what the answers name.
    pub additionals: Vec<Record>,
    /// Where the last alias leads when that is outside the zone.
    pub alias: Option<Name>,
}

/// What is at one name, of one type.
enum Node {
    /// There is no such name.
    Missing,
    /// The name is there, but nothing of this type.
    Empty,
    Data {
        ttl: u32,
        data: Vec<RData>,
        additionals: Vec<Record>,
    },
    Alias(Name),
}

impl Records {
    fn empty(zone: Zone) -> Self {
        Self {
            zone: Arc::new(zone),
            serial: 0,
            synced: false,
            namespaces: Arc::default(),
            services: Sharded::new(),
            addresses: Sharded::new(),
        }
    }

    /// Tells whether the whole cluster is known. Until then a name that is not found is a failure of this server.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Finds the records of a name.
    #[must_use]
    pub fn lookup(&self, name: &Name, record_type: RecordType) -> Found {
        let lower = name.to_lowercase();
        if self.zone.domain.zone_of(&lower) {
            return Found::Answer(self.forward(name, lower, record_type));
        }
        match reverse::parse(&lower) {
            Some((zone, meaning)) => self.reverse(name, &zone, &meaning, record_type),
            None => Found::Upstream(Answer { code: ResponseCode::Refused, ..Answer::default() }),
        }
    }

    fn forward(&self, asked: &Name, lower: Name, record_type: RecordType) -> Answer {
        let mut answer = Answer::default();
        // Records bear the name as it was asked for: clients may check its case.
        let (mut owner, mut lower) = (asked.clone(), lower);
        let mut seen = Vec::new();
        while seen.len() < MAX_ALIASES {
            match self.node(&lower, record_type) {
                Node::Alias(target) => {
                    let alias = RData::CNAME(CNAME(target.clone()));
                    answer.answers.push(Record::from_rdata(owner, self.zone.ttl, alias));
                    if record_type == RecordType::CNAME {
                        break;
                    }
                    if !self.zone.domain.zone_of(&target) {
                        answer.alias = Some(target);
                        break;
                    }
                    let next = target.to_lowercase();
                    seen.push(std::mem::replace(&mut lower, next));
                    if seen.contains(&lower) {
                        break;
                    }
                    owner = target;
                }
                Node::Data { ttl, data, additionals } => {
                    let records = data.into_iter();
                    let records = records.map(|data| Record::from_rdata(owner.clone(), ttl, data));
                    answer.answers.extend(records);
                    answer.additionals = additionals;
                    break;
                }
                Node::Empty => {
                    answer.authorities = vec![self.soa(&self.zone.domain)];
                    break;
                }
                Node::Missing => {
                    if self.synced {
                        answer.code = ResponseCode::NXDomain;
                        answer.authorities = vec![self.soa(&self.zone.domain)];
                    } else {
                        answer.code = ResponseCode::ServFail;
                    }
                    break;
                }
            }
        }
        answer
    }

    fn reverse(&self, name: &Name, zone: &Name, meaning: &ReverseName, asked: RecordType) -> Found {
        let mut answer = Answer::default();
        let owners = match meaning {
            ReverseName::Address(ip) => self.addresses.get(ip).map(|owners| &**owners),
            ReverseName::Network | ReverseName::Invalid => None,
        };
        if let Some(owners) = owners {
            // A ClusterIP has one name; it is the Service's alone.
            let is_service = owners.first().is_some_and(|owner| owner.host.is_none());
            let count = if is_service { 1 } else { owners.len() };
            if asked == RecordType::PTR {
                let names = owners[..count].iter().filter_map(|o| o.name(&self.zone.domain));
                let records = names.map(|target| {
                    Record::from_rdata(name.clone(), self.zone.ttl, RData::PTR(PTR(target)))
                });
                answer.answers = records.collect();
            } else {
                answer.authorities = vec![self.soa(zone)];
            }
            return Found::Answer(answer);
        }
        answer.code = match meaning {
            _ if !self.synced => ResponseCode::ServFail,
            ReverseName::Network => ResponseCode::NoError,
            ReverseName::Address(_) | ReverseName::Invalid => ResponseCode::NXDomain,
        };
        if self.synced {
            answer.authorities = vec![self.soa(zone)];
        }
        Found::Upstream(answer)
    }

    /// Finds a name of the domain, in lower case.
    fn node(&self, name: &Name, asked: RecordType) -> Node {
        // Not `num_labels`: that does not count an asterisk.
        let skipped = self.zone.domain.iter().len();
        let below = name.iter().len() - skipped;
        if below > MAX_LABELS {
            return Node::Missing;
        }
        let mut labels = [&[][..]; MAX_LABELS];
        // From the right.
        for (place, label) in labels.iter_mut().zip(name.iter().rev().skip(skipped)) {
            *place = label;
        }
        match &labels[..below] {
            [] => self.apex(asked),
            [b"dns-version"] => match asked {
                RecordType::TXT => {
                    let text = TXT::new(vec![SCHEMA_VERSION.to_owned()]);
                    let data = vec![RData::TXT(text)];
                    Node::Data { ttl: SCHEMA_TTL, data, additionals: Vec::new() }
                }
                _ => Node::Empty,
            },
            [b"dns" | b"svc" | b"pod"] => Node::Empty,
            [b"dns", b"ns"] => self.addresses(&self.nameservers(), asked),
            [b"svc" | b"pod", namespace] if self.has_namespace(namespace) => Node::Empty,
            [b"pod", namespace, host] if self.has_namespace(namespace) => match pod_address(host) {
                Some(ip) => self.addresses(&[ip], asked),
                None => Node::Missing,
            },
            [b"svc", namespace, service, rest @ ..] => {
                match self.services.get(key_bytes(namespace, service).as_slice()) {
                    Some(records) => self.service(records, name, rest, asked),
                    None => Node::Missing,
                }
            }
            _ => Node::Missing,
        }
    }

    fn apex(&self, asked: RecordType) -> Node {
        let domain = &self.zone.domain;
        match asked {
            RecordType::SOA => self.data(vec![self.soa(domain).data]),
            RecordType::NS => {
                let Some(server) = below(domain, &["ns", "dns"]) else { return Node::Empty };
                let glue = self.nameservers();
                let glue = glue.iter().map(|ip| self.address_record(&server, *ip)).collect();
                let data = vec![RData::NS(NS(server))];
                Node::Data { ttl: self.zone.ttl, data, additionals: glue }
            }
            _ => Node::Empty,
        }
    }

    fn service(
        &self,
        records: &ServiceRecords,
        name: &Name,
        rest: &[&[u8]],
        asked: RecordType,
    ) -> Node {
        let all = &*records.endpoints;
        match (&records.publication, rest) {
            (Publication::External(target), []) => Node::Alias(target.clone()),
            (Publication::External(_) | Publication::Nothing, _) => Node::Missing,
            (Publication::Cluster { ips, ports }, []) => match asked {
                RecordType::SRV => self.srv_of_service(name, ips, ports.iter()),
                _ => self.addresses(ips, asked),
            },
            (Publication::Headless, []) => self.endpoints(all.iter(), name, asked),
            (_, [label]) => match Protocol::of_label(label) {
                // Nothing is here, but something below.
                Some(protocol) => {
                    let mut named = records.ports().filter(|port| !port.name.is_empty());
                    if named.any(|port| port.protocol == protocol) {
                        Node::Empty
                    } else {
                        Node::Missing
                    }
                }
                None => {
                    let named = all.iter().filter(|endpoint| endpoint.host.as_bytes() == *label);
                    self.endpoints(named, name, asked)
                }
            },
            (publication, [protocol, [b'_', port @ ..]]) => {
                let Some(protocol) = Protocol::of_label(protocol) else { return Node::Missing };
                let wanted = |candidate: &&Port| {
                    candidate.protocol == protocol
                        && !port.is_empty()
                        && candidate.name.as_bytes() == port
                };
                if records.ports().find(wanted).is_none() {
                    return Node::Missing;
                }
                match (asked, publication) {
                    (RecordType::SRV, Publication::Cluster { ips, ports }) => {
                        self.srv_of_service(name, ips, ports.iter().filter(wanted))
                    }
                    (RecordType::SRV, _) => self.srv_of_endpoints(name, all.iter(), wanted),
                    _ => Node::Empty,
                }
            }
            _ => Node::Missing,
        }
    }

    fn endpoints<'a>(
        &self,
        endpoints: impl Iterator<Item = &'a Endpoint> + Clone,
        name: &Name,
        asked: RecordType,
    ) -> Node {
        if endpoints.clone().next().is_none() {
            return Node::Missing;
        }
        match asked {
            RecordType::SRV => self.srv_of_endpoints(name, endpoints, |_| true),
            _ => {
                let mut ips: Vec<IpAddr> = endpoints.map(|endpoint| endpoint.ip).collect();
                // They are sorted by address.
                ips.dedup();
                self.addresses(&ips, asked)
            }
        }
    }

    fn srv_of_service<'a>(
        &self,
        name: &Name,
        ips: &[IpAddr],
        ports: impl Iterator<Item = &'a Port>,
    ) -> Node {
        let target = self.service_name(name);
        let glue = ips.iter().map(|ip| self.address_record(&target, *ip)).collect();
        let targets = ports.map(|port| (target.clone(), port.number)).collect();
        self.srv(targets, glue)
    }

    fn srv_of_endpoints<'a>(
        &self,
        name: &Name,
        endpoints: impl Iterator<Item = &'a Endpoint>,
        wanted: impl Fn(&&Port) -> bool,
    ) -> Node {
        let service = self.service_name(name);
        let (mut targets, mut glue) = (Vec::new(), Vec::new());
        for endpoint in endpoints {
            let Ok(target) = service.prepend_label(endpoint.host.as_bytes()) else { continue };
            let before = targets.len();
            let ports = endpoint.ports.iter().filter(&wanted);
            targets.extend(ports.map(|port| (target.clone(), port.number)));
            if targets.len() > before {
                let record = self.address_record(&target, endpoint.ip);
                // The same host of two slices is its own neighbour.
                if glue.last() != Some(&record) {
                    glue.push(record);
                }
            }
        }
        self.srv(targets, glue)
    }

    fn srv(&self, targets: Vec<(Name, u16)>, additionals: Vec<Record>) -> Node {
        let mut distinct = Vec::with_capacity(targets.len());
        for target in targets {
            // One host's addresses, or ports of several slices, make the same record; they are neighbours or few.
            if !distinct.iter().rev().take(16).any(|other| *other == target) {
                distinct.push(target);
            }
        }
        if distinct.is_empty() {
            return Node::Empty;
        }
        let weight = u16::try_from(100 / distinct.len()).unwrap_or(1).max(1);
        let records = distinct.into_iter();
        let data = records.map(|(target, port)| RData::SRV(SRV::new(0, weight, port, target)));
        Node::Data { ttl: self.zone.ttl, data: data.collect(), additionals }
    }

    /// The Service's own name within a name below it.
    fn service_name(&self, name: &Name) -> Name {
        name.trim_to(self.zone.domain.iter().len() + 3)
    }

    fn addresses(&self, ips: &[IpAddr], asked: RecordType) -> Node {
        let data: Vec<RData> = match asked {
            RecordType::A => ips.iter().filter(|ip| ip.is_ipv4()).map(|ip| address(*ip)).collect(),
            RecordType::AAAA => {
                ips.iter().filter(|ip| ip.is_ipv6()).map(|ip| address(*ip)).collect()
            }
            _ => Vec::new(),
        };
        self.data(data)
    }

    fn data(&self, data: Vec<RData>) -> Node {
        if data.is_empty() {
            return Node::Empty;
        }
        Node::Data { ttl: self.zone.ttl, data, additionals: Vec::new() }
    }

    fn address_record(&self, name: &Name, ip: IpAddr) -> Record {
        Record::from_rdata(name.clone(), self.zone.ttl, address(ip))
    }

    /// The ClusterIPs of the Services that this server is an endpoint of, else its own address.
    fn nameservers(&self) -> Vec<IpAddr> {
        let Some(own) = self.zone.own_address else { return Vec::new() };
        let owners = self.addresses.get(&own).into_iter().flat_map(|owners| owners.iter());
        let services = owners.filter_map(|owner| self.services.get(&owner.service));
        let found: BTreeSet<IpAddr> = services
            .flat_map(|records| match &records.publication {
                Publication::Cluster { ips, .. } => ips.iter().copied(),
                _ => [].iter().copied(),
            })
            .collect();
        if found.is_empty() { vec![own] } else { found.into_iter().collect() }
    }

    fn has_namespace(&self, label: &[u8]) -> bool {
        from_utf8(label).is_ok_and(|name| self.namespaces.contains(name))
    }

    fn soa(&self, zone: &Name) -> Record {
        let server = below(zone, &["ns", "dns"]).unwrap_or_else(|| zone.clone());
        let mailbox = below(zone, &["hostmaster"]).unwrap_or_else(|| zone.clone());
        let soa = SOA::new(server, mailbox, self.serial, 7200, 1800, 86_400, self.zone.ttl);
        Record::from_rdata(zone.clone(), self.zone.ttl, RData::SOA(soa))
    }
}

fn below(name: &Name, labels: &[&str]) -> Option<Name> {
    let labels = labels.iter().map(|label| label.as_bytes());
    Name::from_labels(labels.chain(name)).ok()
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// Reads `10-244-1-5`, or an IPv6 address with dashes for colons.
fn pod_address(label: &[u8]) -> Option<IpAddr> {
    let text = from_utf8(label).ok()?;
    let dashes = text.bytes().filter(|byte| *byte == b'-').count();
    if dashes == 3 && !text.contains("--") {
        return text.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    text.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}
