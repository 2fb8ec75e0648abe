//! All that is known of the cluster, and the snapshot of it that requests read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use apimachinery::{
    api::{
        core::Secret,
        networking::{Ingress, IngressClass},
    },
    object::ObjectKey,
};
use rustls::sign::CertifiedKey;

use crate::{
    certificates::{self, Certificates},
    routes::{Backend, BackendPort, Routes, bare_host, is_of_class, own_classes},
    upstreams::{Services, Touched, Upstream},
};

/// The Service that leads to this controller.
pub const OWN_SERVICE: (&str, &str) = ("ingress", "ingress-kube-mini");

/// What requests read; never changed, only replaced.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Where requests go.
    pub routes: Arc<Routes>,
    /// Who serves them.
    pub upstreams: Arc<HashMap<Backend, Arc<Upstream>>>,
    /// What is presented to TLS clients.
    pub certificates: Arc<Certificates>,
    /// Our own Service's ports: plain and TLS.
    pub ports: [Option<u16>; 2],
    /// Whether everything that routes need is known.
    pub synced: bool,
}

impl Snapshot {
    /// Whether a host has a certificate of its own: requests for it belong on TLS. `host` is as in the request.
    #[must_use]
    pub fn has_certificate(&self, host: &str) -> bool {
        certificates::choose(&self.certificates, &bare_host(host)).is_some()
    }
}

/// The lists that make a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Ingresses.
    Ingresses,
    /// IngressClasses.
    Classes,
    /// Services.
    Services,
    /// EndpointSlices.
    Slices,
    /// Secrets.
    Secrets,
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Directory {
    /// By key.
    pub ingresses: BTreeMap<ObjectKey, Ingress>,
    /// By name.
    pub classes: BTreeMap<String, IngressClass>,
    /// Services and EndpointSlices.
    pub services: Services,
    secrets: HashMap<ObjectKey, Result<Arc<CertifiedKey>, String>>,
    listed: [bool; 5],
    routes: Arc<Routes>,
    served: BTreeSet<ObjectKey>,
    /// All that the routes lead to.
    backends: BTreeSet<Backend>,
    published: Arc<HashMap<Backend, Arc<Upstream>>>,
    certificates: Arc<Certificates>,
    routes_changed: bool,
    secrets_changed: bool,
    /// What the last snapshot said of our ports and of the lists.
    told: ([Option<u16>; 2], bool),
    /// What is wrong with the classes, with the Secrets, and all that has been told of late.
    of_classes: BTreeSet<String>,
    broken: Vec<String>,
    problems: BTreeSet<String>,
}

impl Directory {
    /// Notes that a list is in.
    pub fn listed(&mut self, list: List) {
        self.listed[list as usize] = true;
    }

    /// Notes that Ingresses or classes have changed.
    pub fn touch_routes(&mut self) {
        self.routes_changed = true;
    }

    /// Learns of a Secret.
    pub fn set_secret(&mut self, key: ObjectKey, secret: &Secret) {
        self.secrets_changed = true;
        self.secrets.insert(key, certificates::read(secret));
    }

    /// Learns that a Secret is gone.
    pub fn remove_secret(&mut self, key: &ObjectKey) {
        self.secrets_changed = true;
        self.secrets.remove(key);
    }

    /// Forgets all Secrets.
    pub fn clear_secrets(&mut self) {
        self.secrets_changed = true;
        self.secrets.clear();
    }

    /// The Ingresses that are served here, as of the last [`Self::publish`].
    #[must_use]
    pub fn served(&self) -> &BTreeSet<ObjectKey> {
        &self.served
    }

    /// Makes the snapshot of what is known, and tells what is newly wrong with it; None as long as nothing has changed
    /// that requests could tell. Of endpoints only those are looked at whose Service has changed.
    pub fn publish(&mut self) -> Option<(Snapshot, Vec<String>)> {
        let routes_changed = std::mem::take(&mut self.routes_changed);
        if routes_changed {
            self.join_routes();
        }
        let touched: Vec<Backend> = match self.services.take_touched() {
            Touched::Some(services) if !routes_changed => {
                services.iter().flat_map(|service| self.backends_of(service)).cloned().collect()
            }
            _ => self.backends.iter().cloned().collect(),
        };
        let upstreams_changed = self.join_upstreams(&touched, routes_changed);
        let secrets_changed = std::mem::take(&mut self.secrets_changed);
        if routes_changed || secrets_changed {
            let joined = certificates::join(self.routes.secrets(), &self.secrets);
            (self.certificates, self.broken) = (Arc::new(joined.0), joined.1);
        }
        let own = ObjectKey::new(OWN_SERVICE.0, OWN_SERVICE.1);
        let needs_all = !self.served.is_empty();
        let ports = ["http", "https"].map(|name| self.services.port_named(&own, name));
        let synced = self.listed[..2].iter().all(|listed| *listed)
            && (!needs_all || self.listed.iter().all(|listed| *listed));
        let differs = (ports, synced) != self.told;
        self.told = (ports, synced);
        let changed = routes_changed || upstreams_changed || secrets_changed || differs;
        let problems = if changed || !touched.is_empty() { self.new_problems() } else { vec![] };
        (changed || !problems.is_empty()).then(|| {
            let snapshot = Snapshot {
                routes: self.routes.clone(),
                upstreams: self.published.clone(),
                certificates: self.certificates.clone(),
                ports,
                synced,
            };
            (snapshot, problems)
        })
    }

    fn join_routes(&mut self) {
        let classes = own_classes(self.classes.values());
        let own = |ingress: &&Ingress| {
            ingress.metadata.deletion_timestamp.is_none() && is_of_class(ingress, &classes)
        };
        let served = || self.ingresses.values().filter(own);
        self.routes = Arc::new(Routes::new(served()));
        self.served = served().map(crate::routes::key_of).collect();
        self.backends = self.routes.backends().into_iter().cloned().collect();
        let with_parameters = self
            .classes
            .iter()
            .filter(|(name, class)| classes.contains(*name) && class.spec.parameters.is_some());
        let told = with_parameters.map(|(name, _)| {
            format!("IngressClass {name}: its parameters are not read, there are none here")
        });
        self.of_classes = told.collect();
    }

    fn backends_of<'a>(&'a self, service: &'a ObjectKey) -> impl Iterator<Item = &'a Backend> {
        // Names come before numbers: this is the first that there can be.
        let first = Backend { service: service.clone(), port: BackendPort::Name(String::new()) };
        self.backends.range(first..).take_while(move |backend| backend.service == *service)
    }

    /// Finds the endpoints of some backends anew; whether any are others than before. With new routes those go that
    /// nothing leads to any more.
    fn join_upstreams(&mut self, touched: &[Backend], routes_changed: bool) -> bool {
        let mut found = HashMap::new();
        for backend in touched {
            let upstream = self.services.upstream(backend);
            // An upstream that has not changed goes on with its turns.
            let known =
                self.published.get(backend).filter(|known| upstream.as_ref() == Some(&***known));
            if known.is_none() && (upstream.is_some() || self.published.contains_key(backend)) {
                found.insert(backend.clone(), upstream.map(Arc::new));
            }
        }
        let published = self.published.keys().filter(|_| routes_changed);
        let gone = published.filter(|backend| !self.backends.contains(*backend));
        found.extend(gone.map(|backend| (backend.clone(), None)).collect::<Vec<_>>());
        if found.is_empty() {
            return false;
        }
        // Requests may still read the former.
        let published = Arc::make_mut(&mut self.published);
        for (backend, upstream) in found {
            match upstream {
                Some(upstream) => drop(published.insert(backend, upstream)),
                None => drop(published.remove(&backend)),
            }
        }
        true
    }

    /// What is wrong with what there is, as far as it has not been told yet.
    fn new_problems(&mut self) -> Vec<String> {
        let complete = self.listed[List::Services as usize] && self.listed[List::Slices as usize];
        let mut problems = self.of_classes.clone();
        for backend in self.backends.iter().filter(|_| complete) {
            if !self.published.contains_key(backend) {
                let port = match &backend.port {
                    BackendPort::Name(name) => name.clone(),
                    BackendPort::Number(number) => number.to_string(),
                };
                problems
                    .insert(format!("there is no Service {} with port {port}", backend.service));
            }
            problems.extend(self.services.unheeded(backend));
        }
        if self.listed[List::Secrets as usize] {
            problems.extend(self.broken.iter().cloned());
        }
        let new = problems.difference(&self.problems).cloned().collect();
        self.problems = problems;
        new
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(
        name: &str,
        affinity: &str,
        protocol: &str,
    ) -> (ObjectKey, apimachinery::api::core::Service) {
        let service = json!({"spec": {"sessionAffinity": affinity,
            "ports": [{"name": "http", "port": 80, "appProtocol": protocol}]}});
        (ObjectKey::new("default", name), serde_json::from_value(service).unwrap())
    }

    fn world() -> Directory {
        let mut directory = Directory::default();
        let class = json!({"metadata": {"name": "kube-mini"}, "spec": {"controller": crate::routes::CONTROLLER,
            "parameters": {"kind": "Settings", "name": "x"}}});
        directory.classes.insert("kube-mini".into(), serde_json::from_value(class).unwrap());
        let ingress = json!({"metadata": {"namespace": "default", "name": "web"}, "spec": {
            "ingressClassName": "kube-mini",
            "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}});
        let key = ObjectKey::new("default", "web");
        directory.ingresses.insert(key, serde_json::from_value(ingress).unwrap());
        directory.touch_routes();
        for list in [List::Ingresses, List::Classes, List::Services, List::Slices, List::Secrets] {
            directory.listed(list);
        }
        directory
    }

    #[test]
    fn only_what_requests_can_tell_is_published() {
        let mut directory = world();
        let (snapshot, problems) = directory.publish().unwrap();
        assert!(snapshot.synced && snapshot.upstreams.is_empty());
        assert_eq!(
            problems,
            [
                "IngressClass kube-mini: its parameters are not read, there are none here",
                "there is no Service default/web with port 80",
            ]
        );
        assert!(directory.publish().is_none());
        let (key, other) = service("other", "None", "http");
        directory.services.set_service(key, &other);
        assert!(directory.publish().is_none(), "no Ingress speaks of it");
        let (key, web) = service("web", "None", "http");
        directory.services.set_service(key.clone(), &web);
        let (snapshot, problems) = directory.publish().unwrap();
        assert_eq!((snapshot.upstreams.len(), problems.len()), (1, 0));
        directory.services.set_service(key.clone(), &web);
        assert!(directory.publish().is_none(), "it is as it was");
        directory.services.remove_service(&key);
        let (snapshot, problems) = directory.publish().unwrap();
        assert_eq!((snapshot.upstreams.len(), problems.len()), (0, 1));
    }

    #[test]
    fn wishes_that_nobody_heeds_are_told_once() {
        let mut directory = world();
        directory.publish();
        let (key, web) = service("web", "ClientIP", "https");
        directory.services.set_service(key.clone(), &web);
        let (_, problems) = directory.publish().unwrap();
        assert_eq!(
            problems,
            [
                "Service default/web: its appProtocol asks for TLS to the endpoints, which are spoken to without",
                "Service default/web: sessionAffinity does not hold for requests that come by an Ingress",
            ]
        );
        directory.services.set_service(key, &web);
        assert!(directory.publish().is_none());
    }
}
