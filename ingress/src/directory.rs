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
    routes::{Backend, Routes, is_of_class, own_classes},
    upstreams::{Services, Upstream},
};

/// The Service that leads to this controller.
pub const OWN_SERVICE: (&str, &str) = ("ingress", "ingress-kube-mini");

/// What requests read; never changed, only replaced.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Where requests go.
    pub routes: Arc<Routes>,
    /// Who serves them.
    pub upstreams: HashMap<Backend, Arc<Upstream>>,
    /// What is presented to TLS clients.
    pub certificates: Certificates,
    /// Our own Service's ports: plain and TLS.
    pub ports: [Option<u16>; 2],
    /// Whether everything that routes need is known.
    pub synced: bool,
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
    routes_changed: bool,
    problems: Vec<String>,
    published: HashMap<Backend, Arc<Upstream>>,
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
        self.secrets.insert(key, certificates::read(secret));
    }

    /// Learns that a Secret is gone.
    pub fn remove_secret(&mut self, key: &ObjectKey) {
        self.secrets.remove(key);
    }

    /// Forgets all Secrets.
    pub fn clear_secrets(&mut self) {
        self.secrets.clear();
    }

    /// The Ingresses that are served here, as of the last [`Self::publish`].
    #[must_use]
    pub fn served(&self) -> &BTreeSet<ObjectKey> {
        &self.served
    }

    /// Makes the snapshot of what is known, and tells what is newly wrong with it.
    pub fn publish(&mut self) -> (Snapshot, Vec<String>) {
        if std::mem::take(&mut self.routes_changed) {
            let classes = own_classes(self.classes.values());
            let own = |ingress: &&Ingress| {
                ingress.metadata.deletion_timestamp.is_none() && is_of_class(ingress, &classes)
            };
            let served = || self.ingresses.values().filter(own);
            self.routes = Arc::new(Routes::new(served()));
            self.served = served().map(crate::routes::key_of).collect();
        }
        let mut problems = Vec::new();
        let mut upstreams = HashMap::new();
        let complete = self.listed[List::Services as usize] && self.listed[List::Slices as usize];
        for backend in self.routes.backends() {
            match self.services.upstream(backend) {
                Some(upstream) => {
                    // An upstream that has not changed goes on with its turns.
                    let known = self.published.get(backend).filter(|known| ***known == upstream);
                    let shared = known.cloned().unwrap_or_else(|| Arc::new(upstream));
                    upstreams.insert(backend.clone(), shared);
                }
                None if complete => problems.push(format!(
                    "there is no Service {} with port {}",
                    backend.service,
                    match &backend.port {
                        crate::routes::BackendPort::Name(name) => name.clone(),
                        crate::routes::BackendPort::Number(number) => number.to_string(),
                    }
                )),
                None => {}
            }
        }
        self.published.clone_from(&upstreams);
        let (certificates, broken) = certificates::join(self.routes.secrets(), &self.secrets);
        if self.listed[List::Secrets as usize] {
            problems.extend(broken);
        }
        let new = problems.iter().filter(|problem| !self.problems.contains(problem)).cloned();
        let new = new.collect();
        self.problems = problems;
        let own = ObjectKey::new(OWN_SERVICE.0, OWN_SERVICE.1);
        let needs_all = !self.served.is_empty();
        let snapshot = Snapshot {
            routes: self.routes.clone(),
            upstreams,
            certificates,
            ports: ["http", "https"].map(|name| self.services.port_named(&own, name)),
            synced: self.listed[..2].iter().all(|listed| *listed)
                && (!needs_all || self.listed.iter().all(|listed| *listed)),
        };
        (snapshot, new)
    }
}
