//! Following the API's objects, and publishing the records that come of them.
//!
//! A [`Directory`] belongs to the one task that hears of changes. It keeps the few facts of each object that records are
//! made of, remembers which Services a change touches, and at [`Directory::publish`] makes those anew in a copy of the
//! last snapshot. What comes out the same as before (a pod's heartbeat, a label) changes nothing.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use apimachinery::{
    api::{core::Service, discovery::EndpointSlice},
    object::ObjectKey,
};
use client::Stored;

use super::{
    Records, Zone,
    reverse::Owner,
    service::{ServiceFacts, ServiceKey, ServiceRecords, SliceFacts, key_bytes},
};

/// Which first list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// All Services.
    Services,
    /// All EndpointSlices.
    Slices,
    /// All Namespaces.
    Namespaces,
}

/// What is known of the cluster; makes [`Records`].
#[derive(Debug)]
pub struct Directory {
    published: Records,
    services: HashMap<ServiceKey, ServiceFacts>,
    slices: HashMap<ObjectKey, SliceFacts>,
    /// Slices by Service.
    members: HashMap<ServiceKey, BTreeSet<ObjectKey>>,
    namespaces: BTreeSet<Box<str>>,
    touched: HashSet<ServiceKey>,
    namespaces_touched: bool,
    listed: [bool; 3],
}

impl Directory {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(zone: Zone) -> Self {
        Self {
            published: Records::empty(zone),
            services: HashMap::new(),
            slices: HashMap::new(),
            members: HashMap::new(),
            namespaces: BTreeSet::new(),
            touched: HashSet::new(),
            namespaces_touched: false,
            listed: [false; 3],
        }
    }

    /// The records as of the last [`Self::publish`].
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.published
    }

    /// Takes all Services as they are now.
    pub fn replace_services(&mut self, services: &[Service]) {
        let now: HashSet<_> = services.iter().map(|service| service_key(&service.key())).collect();
        let gone: Vec<_> =
            self.services.keys().filter(|key| !now.contains(*key)).cloned().collect();
        for key in gone {
            self.services.remove(&key);
            self.touched.insert(key);
        }
        for service in services {
            self.set_service(service);
        }
        self.listed[Listed::Services as usize] = true;
    }

    /// Takes a Service that is new or has changed.
    pub fn set_service(&mut self, service: &Service) {
        let key = service_key(&service.key());
        let facts = ServiceFacts::of(service);
        if self.services.get(&key) != Some(&facts) {
            self.services.insert(Arc::clone(&key), facts);
            self.touched.insert(key);
        }
    }

    /// Forgets a Service.
    pub fn remove_service(&mut self, key: &ObjectKey) {
        let key = service_key(key);
        self.services.remove(&key);
        self.touched.insert(key);
    }

    /// Takes all EndpointSlices as they are now.
    pub fn replace_slices(&mut self, slices: &[EndpointSlice]) {
        let now: HashSet<_> = slices.iter().map(Stored::key).collect();
        let gone: Vec<_> = self.slices.keys().filter(|key| !now.contains(*key)).cloned().collect();
        for key in gone {
            self.remove_slice(&key);
        }
        for slice in slices {
            self.set_slice(slice);
        }
        self.listed[Listed::Slices as usize] = true;
    }

    /// Takes an EndpointSlice that is new or has changed.
    pub fn set_slice(&mut self, slice: &EndpointSlice) {
        let key = slice.key();
        let facts = SliceFacts::of(slice);
        if self.slices.get(&key) == facts.as_ref() {
            return;
        }
        self.remove_slice(&key);
        if let Some(facts) = facts {
            self.touched.insert(Arc::clone(&facts.service));
            self.members.entry(Arc::clone(&facts.service)).or_default().insert(key.clone());
            self.slices.insert(key, facts);
        }
    }

    /// Forgets an EndpointSlice.
    pub fn remove_slice(&mut self, key: &ObjectKey) {
        let Some(old) = self.slices.remove(key) else { return };
        if let Some(members) = self.members.get_mut(&old.service) {
            members.remove(key);
            if members.is_empty() {
                self.members.remove(&old.service);
            }
        }
        self.touched.insert(old.service);
    }

    /// Takes all Namespaces as they are now.
    pub fn replace_namespaces<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.namespaces = names.into_iter().map(Into::into).collect();
        self.namespaces_touched = true;
        self.listed[Listed::Namespaces as usize] = true;
    }

    /// Takes a Namespace.
    pub fn set_namespace(&mut self, name: &str) {
        self.namespaces_touched |= self.namespaces.insert(name.into());
    }

    /// Forgets a Namespace.
    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces_touched |= self.namespaces.remove(name);
    }

    /// Makes the records of what has changed; `serial` is the number of this state, which Kubernetes' DNS takes from the
    /// wall clock. Returns `None` when nothing came out different.
    pub fn publish(&mut self, serial: u32) -> Option<Records> {
        let mut next = self.published.clone();
        let mut changed = false;
        for key in std::mem::take(&mut self.touched) {
            changed |= self.make(&mut next, key);
        }
        if std::mem::take(&mut self.namespaces_touched) {
            next.namespaces = Arc::new(self.namespaces.clone());
            changed = true;
        }
        let synced = self.listed == [true; 3];
        changed |= next.synced != synced;
        next.synced = synced;
        if !changed {
            return None;
        }
        next.serial = serial;
        self.published = next.clone();
        Some(next)
    }

    fn make(&self, next: &mut Records, key: ServiceKey) -> bool {
        let old = next.services.get(&key).cloned();
        let new = self.services.get(&key).map(|service| {
            let members = self.members.get(&key).into_iter().flatten();
            let slices = members.filter_map(|member| self.slices.get(member));
            Arc::new(ServiceRecords::build(service, slices))
        });
        if old == new {
            return false;
        }
        let owners = |records: &Option<Arc<ServiceRecords>>| {
            records.as_deref().map(|records| Owner::all(&key, records)).unwrap_or_default()
        };
        let (before, after) = (owners(&old), owners(&new));
        for (ip, owner) in before.difference(&after) {
            disown(next, *ip, owner);
        }
        for (ip, owner) in after.difference(&before) {
            own(next, *ip, owner);
        }
        match new {
            Some(records) => next.services.insert(key, records),
            None => next.services.remove(&key),
        }
        true
    }
}

fn own(records: &mut Records, ip: IpAddr, owner: &Owner) {
    let mut owners = records.addresses.get(&ip).map(|owners| owners.to_vec()).unwrap_or_default();
    if let Err(place) = owners.binary_search(owner) {
        owners.insert(place, owner.clone());
        records.addresses.insert(ip, owners.into());
    }
}

fn disown(records: &mut Records, ip: IpAddr, owner: &Owner) {
    let Some(owners) = records.addresses.get(&ip) else { return };
    let left: Vec<_> = owners.iter().filter(|other| *other != owner).cloned().collect();
    if left.is_empty() {
        records.addresses.remove(&ip);
    } else {
        records.addresses.insert(ip, left.into());
    }
}

fn service_key(key: &ObjectKey) -> ServiceKey {
    key_bytes(key.namespace.as_bytes(), key.name.as_bytes()).into()
}
