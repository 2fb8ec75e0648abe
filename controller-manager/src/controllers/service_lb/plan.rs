//! Which address a Service gets, and what is told about it: pure.

use std::{collections::BTreeSet, net::Ipv4Addr};

use apimachinery::api::core::Service;

/// `servicehelper.LoadBalancerCleanupFinalizer`.
pub const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";
/// The first and last of the last bytes that load balancers have.
const LAST_BYTES: std::ops::RangeInclusive<u8> = 128..=254;

/// The addresses that there are to give: the upper half of a /24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    network: [u8; 3],
}

impl Pool {
    /// The pool in the /24 around an address.
    #[must_use]
    pub fn of(network: Ipv4Addr) -> Self {
        let [a, b, c, _] = network.octets();
        Self { network: [a, b, c] }
    }

    fn address(self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, last)
    }

    /// Whether an address is one to give. `127.0.0.1` is for who asks for it by name.
    #[must_use]
    pub fn contains(self, ip: Ipv4Addr) -> bool {
        let [.., last] = ip.octets();
        ip == Ipv4Addr::LOCALHOST || self.address(last) == ip && LAST_BYTES.contains(&last)
    }

    fn first_free(self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        LAST_BYTES.map(|last| self.address(last)).find(|ip| !taken.contains(ip))
    }

    /// First and last, as people write ranges.
    #[must_use]
    pub fn range(self) -> String {
        format!("{}-{}", self.address(*LAST_BYTES.start()), self.address(*LAST_BYTES.end()))
    }
}

/// What is to be done about a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: it has what it wants.
    Nothing,
    /// Give it this address.
    Ensure {
        /// The address.
        ip: Ipv4Addr,
        /// Why it is not the one that was asked for.
        instead: Option<String>,
    },
    /// There is no address left.
    Exhausted,
    /// Take its address, if it has one, and the finalizer.
    Release {
        /// Whether it has an address of ours.
        had: bool,
    },
}

/// `wantsLoadBalancer`: one of another class is somebody else's.
#[must_use]
pub fn wants_load_balancer(service: &Service) -> bool {
    service.spec.type_.as_deref() == Some("LoadBalancer")
        && service.spec.load_balancer_class.is_none()
}

/// `HasLBFinalizer`.
#[must_use]
pub fn has_finalizer(service: &Service) -> bool {
    service.metadata.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
}

/// `needsCleanup`: it goes, or has become another type.
fn needs_cleanup(service: &Service) -> bool {
    has_finalizer(service)
        && (service.metadata.deletion_timestamp.is_some()
            || service.spec.type_.as_deref() != Some("LoadBalancer"))
}

/// Whether a Service is this controller's matter.
#[must_use]
pub fn concerns(service: &Service) -> bool {
    wants_load_balancer(service) || needs_cleanup(service)
}

/// The addresses in a Service's status.
pub fn addresses(service: &Service) -> impl Iterator<Item = Ipv4Addr> {
    let ingress = service.status.load_balancer.iter().flat_map(|status| &status.ingress);
    ingress.filter_map(|ingress| ingress.ip.as_deref()?.parse().ok())
}

/// Whether the first of two Services has the better right to an address that both have.
#[must_use]
pub fn is_older(one: &Service, other: &Service) -> bool {
    let age = |service: &Service| {
        let metadata = &service.metadata;
        (metadata.creation_timestamp.map(|time| time.0), metadata.uid.clone())
    };
    age(one) < age(other)
}

/// Decides. `taken` are the addresses of all others (of which an older Service's claim counts more than its own status).
#[must_use]
pub fn plan(service: &Service, pool: Pool, taken: &BTreeSet<Ipv4Addr>) -> Plan {
    if needs_cleanup(service) {
        return Plan::Release { had: addresses(service).any(|ip| pool.contains(ip)) };
    }
    if !wants_load_balancer(service) || service.metadata.deletion_timestamp.is_some() {
        return Plan::Nothing;
    }
    let free = |ip: &Ipv4Addr| pool.contains(*ip) && !taken.contains(ip);
    let has: Vec<Ipv4Addr> = addresses(service).collect();
    let requested = service.spec.load_balancer_ip.as_deref().filter(|text| !text.is_empty());
    let parsed = requested.and_then(|text| text.parse::<Ipv4Addr>().ok());
    let still_wanted = |ip: &Ipv4Addr| *ip != Ipv4Addr::LOCALHOST || parsed == Some(*ip);
    let current = match has[..] {
        [only] => Some(only).filter(|ip| free(ip) && still_wanted(ip)),
        _ => None,
    };
    let chosen = parsed.filter(free).or(current).or_else(|| pool.first_free(taken));
    match chosen {
        None => Plan::Exhausted,
        Some(ip) if current == Some(ip) && has_finalizer(service) => Plan::Nothing,
        Some(ip) => {
            let missed = requested.filter(|_| parsed != Some(ip));
            let instead = missed.map(|text| match parsed {
                Some(wanted) if pool.contains(wanted) => {
                    format!("loadBalancerIP {text} belongs to another Service: {ip} is given instead")
                }
                _ => format!(
                    "loadBalancerIP {text} is not of this cluster, whose load balancers have {}: {ip} is given instead",
                    pool.range()
                ),
            });
            Plan::Ensure { ip, instead }
        }
    }
}

/// What a change of a Service means to its load balancer, as events; empty: nothing (`needsUpdate`).
#[must_use]
pub fn changes(old: &Service, new: &Service) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (was, is) = (&old.spec, &new.spec);
    let mut told = Vec::new();
    if wants_load_balancer(old) != wants_load_balancer(new) {
        told.push(("Type", format!("{} -> {}", text(&was.type_), text(&is.type_))));
        return told;
    }
    if !wants_load_balancer(new) {
        return told;
    }
    let (ranges, now) = (&was.load_balancer_source_ranges, &is.load_balancer_source_ranges);
    if ranges != now {
        let list = |ranges: &[String]| format!("[{}]", ranges.join(" "));
        told.push(("LoadBalancerSourceRanges", format!("{} -> {}", list(ranges), list(now))));
    }
    if was.load_balancer_ip != is.load_balancer_ip {
        let (was, is) = (text(&was.load_balancer_ip), text(&is.load_balancer_ip));
        told.push(("LoadbalancerIP", format!("{was} -> {is}")));
    }
    if was.external_ips.len() != is.external_ips.len() {
        let count = format!("Count: {} -> {}", was.external_ips.len(), is.external_ips.len());
        told.push(("ExternalIP", count));
    } else if let Some(added) = is.external_ips.iter().find(|ip| !was.external_ips.contains(ip)) {
        told.push(("ExternalIP", format!("Added: {added}")));
    }
    if was.external_traffic_policy != is.external_traffic_policy {
        let (was, is) = (text(&was.external_traffic_policy), text(&is.external_traffic_policy));
        told.push(("ExternalTrafficPolicy", format!("{was} -> {is}")));
    }
    if was.health_check_node_port != is.health_check_node_port {
        let (was, is) = (was.health_check_node_port, is.health_check_node_port);
        let told_as = format!("{} -> {}", was.unwrap_or(0), is.unwrap_or(0));
        told.push(("HealthCheckNodePort", told_as));
    }
    told
}

/// Whether its ports or the way it balances changed, of which no event tells, but which has it ensured again.
#[must_use]
pub fn is_rebalanced(old: &Service, new: &Service) -> bool {
    let ports = |service: &Service| -> Vec<_> {
        let ports = service.spec.ports.iter();
        ports.map(|p| (p.name.clone(), p.protocol.clone(), p.port, p.node_port)).collect()
    };
    wants_load_balancer(old)
        && wants_load_balancer(new)
        && (ports(old) != ports(new) || old.spec.session_affinity != new.spec.session_affinity)
}
