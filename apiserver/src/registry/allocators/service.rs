//! What a Service needs from the ranges: `pkg/registry/core/service/storage/alloc.go` as a plan.
//!
//! The strategy has brought the fields in order before: what an update leaves out is there again, `clusterIP` and
//! `clusterIPs` agree, and what the type has no use for is gone.

use std::{collections::BTreeMap, collections::BTreeSet, net::Ipv4Addr};

use apimachinery::{
    field::{FieldError, Path},
    object::Object,
    resource,
    status::Status,
};
use serde_json::{Value, json};

use super::{Allocators, IP_CLAIMS, PORT_CLAIMS, Reservation};
use crate::storage::{Compare, Put, Txn};

/// One value in use by a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    Address(Ipv4Addr),
    Port(u16),
}

impl Claim {
    /// The key under which the claim is stored.
    pub(crate) fn key(self) -> String {
        match self {
            Self::Address(address) => format!("{IP_CLAIMS}{address}"),
            Self::Port(port) => format!("{PORT_CLAIMS}{port}"),
        }
    }

    /// Reads a claim's key.
    pub(crate) fn parse(key: &str) -> Option<Self> {
        if let Some(address) = key.strip_prefix(IP_CLAIMS) {
            return address.parse().ok().map(Self::Address);
        }
        key.strip_prefix(PORT_CLAIMS)?.parse().ok().map(Self::Port)
    }

    /// The stored claim of a Service.
    pub(crate) fn put(self, service: &Object) -> Put {
        let value = json!({
            "service": format!("{}/{}", service.namespace(), service.name()),
            "uid": service.uid(),
        });
        Put::new(self.key(), value.to_string())
    }
}

fn service_type(service: &Object) -> &str {
    service.get_str(&["spec", "type"])
}

fn needs_address(service: &Object) -> bool {
    service_type(service) != "ExternalName" && service.get_str(&["spec", "clusterIP"]) != "None"
}

fn needs_ports(service: &Object) -> bool {
    match service_type(service) {
        "NodePort" => true,
        "LoadBalancer" => {
            service.get_bool(&["spec", "allocateLoadBalancerNodePorts"]).unwrap_or(true)
        }
        _ => false,
    }
}

/// A LoadBalancer with local traffic policy has a port on which nodes tell whether they have endpoints.
fn needs_health_port(service: &Object) -> bool {
    service_type(service) == "LoadBalancer"
        && service.get_str(&["spec", "externalTrafficPolicy"]) == "Local"
}

/// All values that a Service holds.
pub(crate) fn claims(service: &Object) -> BTreeSet<Claim> {
    let mut claims = BTreeSet::new();
    if service_type(service) != "ExternalName" {
        let all = service.get_list(&["spec", "clusterIPs"]).iter().filter_map(Value::as_str);
        for address in all.chain([service.get_str(&["spec", "clusterIP"])]) {
            claims.extend(address.parse().ok().map(Claim::Address));
        }
    }
    if matches!(service_type(service), "NodePort" | "LoadBalancer") {
        for port in service.get_list(&["spec", "ports"]) {
            claims.extend(port_of(port.get("nodePort")).map(Claim::Port));
        }
    }
    claims.extend(port_of(service.get(&["spec", "healthCheckNodePort"])).map(Claim::Port));
    claims
}

fn port_of(value: Option<&Value>) -> Option<u16> {
    value
        .and_then(Value::as_u64)
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
}

/// What a transaction on a Service does to the ranges.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    taken: Vec<(Claim, Reservation)>,
    released: Vec<Claim>,
}

impl Plan {
    /// Adds the claims to the Service's transaction.
    pub(crate) fn extend(&self, txn: &mut Txn, service: &Object) {
        for (claim, _) in &self.taken {
            txn.compares.push(Compare::absent(claim.key()));
            txn.puts.push(claim.put(service));
        }
        txn.deletes.extend(self.released.iter().map(|claim| claim.key().into()));
    }

    /// The transaction is durable.
    pub(crate) fn commit(self, allocators: &Allocators) {
        for (_, reservation) in self.taken {
            reservation.keep();
        }
        for claim in self.released {
            allocators.release(claim);
        }
    }

    /// The transaction found a value taken behind our back: it stays taken here too.
    pub(crate) fn conflicted(self, key: &str) {
        for (claim, reservation) in self.taken {
            if claim.key() == key {
                reservation.keep();
            }
        }
    }
}

/// Releases everything that a deleted Service holds.
pub(crate) fn release(old: &Object) -> Plan {
    Plan { taken: Vec::new(), released: claims(old).into_iter().collect() }
}

/// Completes a Service with an address and ports, taking those that `old` does not hold.
///
/// # Errors
/// Invalid, with Kubernetes' field and text, when an explicit value cannot be had; internal when a range is full.
pub(crate) fn allocate(
    allocators: &Allocators,
    service: &mut Object,
    old: Option<&Object>,
) -> Result<Plan, Status> {
    let held = old.map(claims).unwrap_or_default();
    let mut plan = Plan::default();
    if needs_address(service) {
        allocate_address(allocators, service, &held, &mut plan)?;
    } else if service_type(service) != "ExternalName"
        && service.get_list(&["spec", "clusterIPs"]).is_empty()
    {
        service.set(&["spec", "clusterIPs"], json!(["None"]));
    }
    if matches!(service_type(service), "NodePort" | "LoadBalancer") {
        allocate_ports(allocators, service, &held, &mut plan)?;
    }
    if needs_health_port(service) {
        allocate_health_port(allocators, service, &held, &mut plan)?;
    }
    let now = claims(service);
    plan.released = held.difference(&now).copied().collect();
    Ok(plan)
}

fn allocate_address(
    allocators: &Allocators,
    service: &mut Object,
    held: &BTreeSet<Claim>,
    plan: &mut Plan,
) -> Result<(), Status> {
    let requested = service.get_str(&["spec", "clusterIP"]).to_owned();
    if requested.is_empty() {
        let (address, reservation) = allocators.take_any_address().map_err(|error| {
            Status::internal(format!("failed to allocate a serviceIP: {error}"))
        })?;
        plan.taken.push((Claim::Address(address), reservation));
        service.set(&["spec", "clusterIP"], address.to_string());
    } else {
        let address: Ipv4Addr = requested
            .parse()
            .map_err(|_| Status::internal(format!("failed to parse service IP \"{requested}\"")))?;
        let claim = Claim::Address(address);
        if !held.contains(&claim) {
            let reservation = allocators.take_address(address).map_err(|error| {
                let all = service
                    .get(&["spec", "clusterIPs"])
                    .cloned()
                    .unwrap_or_else(|| json!([requested]));
                invalid(
                    service,
                    FieldError::invalid(
                        &Path::new("spec").child("clusterIPs"),
                        all,
                        format!("failed to allocate IP {requested}: {error}"),
                    ),
                )
            })?;
            plan.taken.push((claim, reservation));
        }
    }
    if service.get_list(&["spec", "clusterIPs"]).is_empty() {
        let address = service.get_str(&["spec", "clusterIP"]).to_owned();
        service.set(&["spec", "clusterIPs"], json!([address]));
    }
    Ok(())
}

/// Ports of one number and different protocols share a node port, as Kubernetes gives DNS 53/TCP and 53/UDP one.
fn allocate_ports(
    allocators: &Allocators,
    service: &mut Object,
    held: &BTreeSet<Claim>,
    plan: &mut Plan,
) -> Result<(), Status> {
    let dynamic = needs_ports(service);
    let mut ports = match service.get(&["spec", "ports"]) {
        Some(Value::Array(ports)) => ports.clone(),
        _ => return Ok(()),
    };
    let mut node_port_of: BTreeMap<u64, u16> = BTreeMap::new();
    for index in 0..ports.len() {
        let number = ports[index].get("port").and_then(Value::as_u64).unwrap_or(0);
        let explicit = port_of(ports[index].get("nodePort"));
        if explicit.is_none() && !dynamic {
            continue;
        }
        let wanted = explicit.or_else(|| node_port_of.get(&number).copied()).or_else(|| {
            ports[index..]
                .iter()
                .filter(|port| port.get("port").and_then(Value::as_u64) == Some(number))
                .find_map(|port| port_of(port.get("nodePort")))
        });
        let node_port = match wanted {
            Some(wanted) => {
                take_port(allocators, wanted, held, plan).map_err(|error| {
                    let field = Path::new("spec").child("ports").index(index).child("nodePort");
                    invalid(service, FieldError::invalid(&field, wanted, error.to_string()))
                })?;
                wanted
            }
            None => {
                let (port, reservation) = allocators.take_any_port().map_err(|error| {
                    Status::internal(format!("failed to allocate a nodePort: {error}"))
                })?;
                plan.taken.push((Claim::Port(port), reservation));
                port
            }
        };
        ports[index]["nodePort"] = node_port.into();
        node_port_of.entry(number).or_insert(node_port);
    }
    service.set(&["spec", "ports"], Value::Array(ports));
    Ok(())
}

fn take_port(
    allocators: &Allocators,
    port: u16,
    held: &BTreeSet<Claim>,
    plan: &mut Plan,
) -> Result<(), super::AllocationError> {
    let claim = Claim::Port(port);
    if !held.contains(&claim) && !plan.taken.iter().any(|(taken, _)| *taken == claim) {
        plan.taken.push((claim, allocators.take_port(port)?));
    }
    Ok(())
}

fn allocate_health_port(
    allocators: &Allocators,
    service: &mut Object,
    held: &BTreeSet<Claim>,
    plan: &mut Plan,
) -> Result<(), Status> {
    match port_of(service.get(&["spec", "healthCheckNodePort"])) {
        Some(port) => take_port(allocators, port, held, plan).map_err(|error| {
            Status::internal(format!(
                "failed to allocate requested HealthCheck NodePort {port}: {error}"
            ))
        }),
        None => {
            let (port, reservation) = allocators.take_any_port().map_err(|error| {
                Status::internal(format!("failed to allocate a HealthCheck NodePort : {error}"))
            })?;
            plan.taken.push((Claim::Port(port), reservation));
            service.set(&["spec", "healthCheckNodePort"], port);
            Ok(())
        }
    }
}

fn invalid(service: &Object, error: FieldError) -> Status {
    Status::invalid(&resource::SERVICES, service.name(), vec![error])
}

#[cfg(test)]
mod tests {
    use component_base::clock::Clock;

    use super::*;
    use crate::registry::allocators::Ipv4Range;

    fn allocators() -> Allocators {
        Allocators::new(Ipv4Range::parse("10.96.0.0/12").unwrap(), (30000, 32767), Clock::real())
    }

    fn service(spec: impl Into<Value>) -> Object {
        let mut service = json!({"metadata": {"name": "web", "namespace": "default"}});
        service["spec"] = spec.into();
        Object::from_value(service).unwrap()
    }

    #[test]
    fn a_node_port_service_gets_all_it_needs() {
        let allocators = allocators();
        let mut web = service(json!({"type": "NodePort", "ports": [
            {"name": "tcp", "port": 53}, {"name": "udp", "port": 53, "protocol": "UDP"}, {"name": "x", "port": 80, "nodePort": 30080}]}));
        let plan = allocate(&allocators, &mut web, None).unwrap();
        let ports: Vec<_> = web
            .get_list(&["spec", "ports"])
            .iter()
            .map(|port| port["nodePort"].as_u64().unwrap())
            .collect();
        assert_eq!(ports[0], ports[1]);
        assert!(ports[0] >= 30086);
        assert_eq!(ports[2], 30080);
        assert_eq!(
            web.get_list(&["spec", "clusterIPs"])[0],
            *web.get(&["spec", "clusterIP"]).unwrap()
        );
        assert_eq!(plan.taken.len(), 3);
        plan.commit(&allocators);

        let mut other =
            service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}));
        let error = allocate(&allocators, &mut other, None).unwrap_err();
        assert_eq!(
            error.message,
            "Service \"web\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
        );
        let mut other =
            service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 29999}]}));
        assert_eq!(
            allocate(&allocators, &mut other, None).unwrap_err().message,
            "Service \"web\" is invalid: spec.ports[0].nodePort: Invalid value: 29999: provided port is not in the valid range. The range of valid ports is 30000-32767"
        );

        // What is held already is not taken again; a change of type gives the ports back.
        let mut again = web.clone();
        let plan = allocate(&allocators, &mut again, Some(&web)).unwrap();
        assert!(plan.taken.is_empty() && plan.released.is_empty(), "{plan:?}");
        let mut plain = service(json!({"type": "ClusterIP", "ports": [{"port": 80}],
            "clusterIP": web.get_str(&["spec", "clusterIP"])}));
        let plan = allocate(&allocators, &mut plain, Some(&web)).unwrap();
        assert_eq!(plan.released.len(), 2);
        plan.commit(&allocators);
        let plan = allocate(&allocators, &mut other, None);
        assert!(plan.is_err());
        let mut free =
            service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}));
        allocate(&allocators, &mut free, None).unwrap();
    }

    #[test]
    fn addresses_are_kubernetes() {
        let allocators = allocators();
        let mut headless =
            service(json!({"type": "ClusterIP", "clusterIP": "None", "ports": [{"port": 80}]}));
        assert!(allocate(&allocators, &mut headless, None).unwrap().taken.is_empty());
        assert_eq!(headless.get_list(&["spec", "clusterIPs"]), [json!("None")]);
        let mut external = service(json!({"type": "ExternalName", "externalName": "a.b"}));
        assert!(allocate(&allocators, &mut external, None).unwrap().taken.is_empty());
        let mut dns = service(
            json!({"type": "ClusterIP", "clusterIP": "10.96.0.10", "ports": [{"port": 53}]}),
        );
        allocate(&allocators, &mut dns, None).unwrap().commit(&allocators);
        let mut thief = service(
            json!({"type": "ClusterIP", "clusterIP": "10.96.0.10", "ports": [{"port": 53}]}),
        );
        assert_eq!(
            allocate(&allocators, &mut thief, None).unwrap_err().message,
            "Service \"web\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: provided IP is already allocated"
        );
        // A failed plan keeps nothing.
        let mut half = service(
            json!({"type": "NodePort", "clusterIP": "10.96.0.11", "ports": [{"port": 1, "nodePort": 1}]}),
        );
        allocate(&allocators, &mut half, None).unwrap_err();
        let mut whole = service(
            json!({"type": "ClusterIP", "clusterIP": "10.96.0.11", "ports": [{"port": 1}]}),
        );
        allocate(&allocators, &mut whole, None).unwrap();
    }

    #[test]
    fn claims_have_keys() {
        for claim in [Claim::Address(Ipv4Addr::new(10, 96, 0, 10)), Claim::Port(30080)] {
            assert_eq!(Claim::parse(&claim.key()), Some(claim));
        }
        assert_eq!(Claim::parse("/registry/pods/x"), None);
    }
}
