//! Services and EndpointSlices to the endpoints of a backend: pure.
//!
//! Requests go to the pods directly, past the Service's address: only so can each be balanced, and a connection be kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};

use apimachinery::{
    api::{core::Service, discovery::EndpointSlice},
    object::ObjectKey,
};

use crate::routes::{Backend, BackendPort};

/// `discoveryv1.LabelServiceName`.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The `appProtocol`s of servers that speak HTTP/2 without TLS.
const H2C: [&str; 3] = ["kubernetes.io/h2c", "grpc", "h2c"];

/// The endpoints of a backend.
#[derive(Debug, Default)]
pub struct Upstream {
    /// Their addresses, sorted; none: nobody serves it now.
    pub endpoints: Vec<SocketAddr>,
    /// Whether they speak HTTP/2 without TLS.
    pub h2c: bool,
    next: AtomicUsize,
}

impl PartialEq for Upstream {
    fn eq(&self, other: &Self) -> bool {
        (&self.endpoints, self.h2c) == (&other.endpoints, other.h2c)
    }
}

impl Upstream {
    /// All endpoints, each time beginning with the next.
    pub fn rotation(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let count = self.endpoints.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed) % count.max(1);
        self.endpoints.iter().cycle().skip(first).take(count).copied()
    }
}

/// The `appProtocol`s of servers that speak TLS themselves.
const TLS: [&str; 3] = ["https", "kubernetes.io/wss", "wss"];

/// A port of a Service.
#[derive(Debug)]
struct Port {
    name: String,
    number: u16,
    h2c: bool,
    tls: bool,
}

impl Port {
    fn is(&self, named: &BackendPort) -> bool {
        match named {
            BackendPort::Name(name) => self.name == *name,
            BackendPort::Number(number) => self.number == *number,
        }
    }
}

/// A Service, as far as it is looked at.
#[derive(Debug, Default)]
struct Ports {
    ports: Vec<Port>,
    /// Wants a client to stay with its endpoint.
    sticky: bool,
}

/// What one slice says.
#[derive(Debug)]
struct Slice {
    ports: Vec<(String, u16)>,
    /// Address, and whether it is ready (else: serving while it terminates).
    endpoints: Vec<(IpAddr, bool)>,
}

/// What is known of Services and their slices.
#[derive(Debug, Default)]
pub struct Services {
    services: BTreeMap<ObjectKey, Ports>,
    slices: BTreeMap<ObjectKey, BTreeMap<String, Slice>>,
    service_of_slice: BTreeMap<ObjectKey, ObjectKey>,
    touched: Touched,
}

/// The Services whose endpoints may be others than before.
#[derive(Debug, PartialEq, Eq)]
pub enum Touched {
    /// All.
    All,
    /// These.
    Some(BTreeSet<ObjectKey>),
}

impl Default for Touched {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

impl Services {
    /// What has changed since the last call.
    pub fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    fn touch(&mut self, service: &ObjectKey) {
        if let Touched::Some(services) = &mut self.touched
            && !services.contains(service)
        {
            services.insert(service.clone());
        }
    }

    /// What a backend's Service asks for that nobody does here.
    #[must_use]
    pub fn unheeded(&self, backend: &Backend) -> Vec<String> {
        let Some(service) = self.services.get(&backend.service) else { return vec![] };
        let mut wishes = Vec::new();
        if service.ports.iter().any(|port| port.tls && port.is(&backend.port)) {
            wishes.push(format!(
                "Service {}: its appProtocol asks for TLS to the endpoints, which are spoken to without",
                backend.service
            ));
        }
        if service.sticky {
            wishes.push(format!(
                "Service {}: sessionAffinity does not hold for requests that come by an Ingress",
                backend.service
            ));
        }
        wishes
    }

    /// Learns of a Service.
    pub fn set_service(&mut self, key: ObjectKey, service: &Service) {
        self.touch(&key);
        let ports = service.spec.ports.iter().filter_map(|port| {
            let protocol = port.app_protocol.as_deref().unwrap_or_default();
            let (h2c, tls) = (H2C.contains(&protocol), TLS.contains(&protocol));
            let number = u16::try_from(port.port).ok()?;
            Some(Port { name: port.name.clone().unwrap_or_default(), number, h2c, tls })
        });
        let sticky = service.spec.session_affinity.as_deref() == Some("ClientIP");
        self.services.insert(key, Ports { ports: ports.collect(), sticky });
    }

    /// Learns that a Service is gone.
    pub fn remove_service(&mut self, key: &ObjectKey) {
        self.touch(key);
        self.services.remove(key);
    }

    /// Forgets all Services.
    pub fn clear_services(&mut self) {
        self.touched = Touched::All;
        self.services.clear();
    }

    /// Learns of a slice.
    pub fn set_slice(&mut self, key: &ObjectKey, slice: &EndpointSlice) {
        self.remove_slice(key);
        let Some(service) = slice.metadata.labels.get(SERVICE_NAME) else { return };
        if slice.address_type != "IPv4" {
            return;
        }
        let service = ObjectKey::new(&key.namespace, service);
        self.touch(&service);
        let ports =
            slice.ports.iter().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
        let ports = ports.filter_map(|port| {
            let number = u16::try_from(port.port?).ok()?;
            Some((port.name.clone().unwrap_or_default(), number))
        });
        let endpoints = slice.endpoints.iter().filter_map(|endpoint| {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let ready = conditions.ready.unwrap_or(true);
            let last_resort =
                conditions.serving.unwrap_or(ready) && conditions.terminating.unwrap_or(false);
            let address = endpoint.addresses.first()?.parse().ok()?;
            (ready || last_resort).then_some((address, ready))
        });
        let slice = Slice { ports: ports.collect(), endpoints: endpoints.collect() };
        self.slices.entry(service.clone()).or_default().insert(key.name.clone(), slice);
        self.service_of_slice.insert(key.clone(), service);
    }

    /// Learns that a slice is gone.
    pub fn remove_slice(&mut self, key: &ObjectKey) {
        let Some(service) = self.service_of_slice.remove(key) else { return };
        self.touch(&service);
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.remove(&key.name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
    }

    /// Forgets all slices.
    pub fn clear_slices(&mut self) {
        self.touched = Touched::All;
        self.slices.clear();
        self.service_of_slice.clear();
    }

    /// The number of a Service's port, by name.
    #[must_use]
    pub fn port_named(&self, service: &ObjectKey, name: &str) -> Option<u16> {
        let service = self.services.get(service)?;
        service.ports.iter().find(|port| port.name == name).map(|port| port.number)
    }

    /// The endpoints of a backend: the ready ones, or else those that still serve while they terminate. None for a
    /// Service, or a port of it, that does not exist.
    #[must_use]
    pub fn upstream(&self, backend: &Backend) -> Option<Upstream> {
        let service = self.services.get(&backend.service)?;
        let port = service.ports.iter().find(|port| port.is(&backend.port))?;
        let (mut ready, mut last_resort) = (Vec::new(), Vec::new());
        for slice in self.slices.get(&backend.service).into_iter().flat_map(BTreeMap::values) {
            let Some((_, number)) = slice.ports.iter().find(|(name, _)| *name == port.name) else {
                continue;
            };
            for (ip, is_ready) in &slice.endpoints {
                let found = if *is_ready { &mut ready } else { &mut last_resort };
                found.push(SocketAddr::new(*ip, *number));
            }
        }
        let mut endpoints = if ready.is_empty() { last_resort } else { ready };
        endpoints.sort_unstable();
        endpoints.dedup();
        Some(Upstream { endpoints, h2c: port.h2c, next: AtomicUsize::new(0) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn services() -> Services {
        let mut services = Services::default();
        let service = json!({"spec": {"ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 90, "appProtocol": "kubernetes.io/h2c"}]}});
        services.set_service(
            ObjectKey::new("default", "web"),
            &serde_json::from_value(service).unwrap(),
        );
        for (name, endpoints) in [
            (
                "web-a",
                json!([{"addresses": ["10.244.1.2"]}, {"addresses": ["10.244.1.3"], "conditions": {"ready": false}}]),
            ),
            (
                "web-b",
                json!([{"addresses": ["10.244.2.2"], "conditions": {"ready": true}},
                {"addresses": ["10.244.2.9"], "conditions": {"ready": false, "serving": true, "terminating": true}}]),
            ),
        ] {
            let slice = json!({"addressType": "IPv4", "metadata": {"labels": {SERVICE_NAME: "web"}},
                "ports": [{"name": "http", "port": 8080}, {"name": "grpc", "port": 9090}], "endpoints": endpoints});
            services.set_slice(
                &ObjectKey::new("default", name),
                &serde_json::from_value(slice).unwrap(),
            );
        }
        services
    }

    fn backend(service: &str, port: BackendPort) -> Backend {
        Backend { service: ObjectKey::new("default", service), port }
    }

    #[test]
    fn a_backend_is_its_ready_endpoints() {
        let mut services = services();
        let check = |services: &Services, port: BackendPort, expected: Option<(&[&str], bool)>| {
            let found = services.upstream(&backend("web", port));
            let found = found.map(|found| {
                (found.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(), found.h2c)
            });
            let expected =
                expected.map(|(list, h2c)| (list.iter().map(ToString::to_string).collect(), h2c));
            assert_eq!(found, expected);
        };
        check(
            &services,
            BackendPort::Number(80),
            Some((&["10.244.1.2:8080", "10.244.2.2:8080"], false)),
        );
        check(
            &services,
            BackendPort::Name("grpc".into()),
            Some((&["10.244.1.2:9090", "10.244.2.2:9090"], true)),
        );
        check(&services, BackendPort::Number(8080), None);
        assert!(services.upstream(&backend("none", BackendPort::Number(80))).is_none());
        services.remove_slice(&ObjectKey::new("default", "web-a"));
        let going = json!({"addressType": "IPv4", "metadata": {"labels": {SERVICE_NAME: "web"}},
            "ports": [{"name": "http", "port": 8080}], "endpoints":
            [{"addresses": ["10.244.2.9"], "conditions": {"ready": false, "serving": true, "terminating": true}}]});
        services.set_slice(
            &ObjectKey::new("default", "web-b"),
            &serde_json::from_value(going).unwrap(),
        );
        check(&services, BackendPort::Number(80), Some((&["10.244.2.9:8080"], false)));
    }

    #[test]
    fn turns_go_round() {
        let upstream = services().upstream(&backend("web", BackendPort::Number(80))).unwrap();
        let firsts: Vec<_> = (0..4).filter_map(|_| upstream.rotation().next()).collect();
        assert_eq!(firsts[0], firsts[2]);
        assert_ne!(firsts[0], firsts[1]);
        assert_eq!(upstream.rotation().count(), 2);
        assert_eq!(Upstream::default().rotation().count(), 0);
    }
}
