//! Carries a load balancer plan out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use apimachinery::{api::core::Service, object::ObjectKey, status::Status};
use client::{Client, EventRecorder, Patch, Store, controller::Action, events::EventType};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::plan::{
    FINALIZER, Plan, Pool, addresses, changes, concerns, is_older, is_rebalanced, plan,
    wants_load_balancer,
};
use crate::context::{Setup, key_of, tolerate_absence};

/// Addresses are handed out one after the other: a second worker could take the same.
const WORKERS: usize = 1;
/// An index over the Services that have or want a load balancer.
const BALANCED: &str = "load-balancer";

#[derive(Clone)]
struct Reconciler {
    client: Client,
    recorder: EventRecorder,
    services: Store<Service>,
    pool: Pool,
    memory: Arc<Mutex<Memory>>,
}

/// What the cache does not show (yet).
#[derive(Default)]
struct Memory {
    /// Addresses given here.
    given: BTreeMap<ObjectKey, Ipv4Addr>,
    /// Services that have changed in a way that their load balancers must follow.
    changed: BTreeSet<ObjectKey>,
}

/// Sets the controller up; without a network to take addresses from there is none, as in Kubernetes without a cloud.
pub fn start(setup: &mut Setup<'_>) {
    let Some(network) = setup.options.load_balancer_network else { return };
    let queue = setup.queue::<ObjectKey>();
    let balanced: fn(&Service) -> Vec<String> = |service| {
        let is = wants_load_balancer(service) || addresses(service).next().is_some();
        if is { vec![String::new()] } else { vec![] }
    };
    let reconciler = Reconciler {
        client: setup.client.with_field_manager("service-controller"),
        recorder: setup.recorder("service-controller"),
        services: setup.informers.indexed(BALANCED, balanced),
        pool: Pool::of(network),
        memory: Arc::default(),
    };
    let (wake, watching) = (queue.clone(), reconciler.clone());
    setup.informers.on_change::<Service, _>(move |delta| {
        let (old, new) = delta.old_and_new();
        let key = key_of(&delta.object().metadata);
        if let (Some(old), Some(new)) = (old, new) {
            watching.note_changes(&key, old, new);
        }
        // One that is gone is forgotten by the worker, too, or an address could be given while it is being taken.
        if old.into_iter().chain(new).any(|service| concerns(service)) {
            wake.add(key);
        }
    });
    let services = reconciler.services.clone();
    let synced = async move { services.synced().await };
    setup.run("service-lb", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
}

impl Reconciler {
    fn note_changes(&self, key: &ObjectKey, old: &Service, new: &Service) {
        let told = changes(old, new);
        if !told.is_empty() || is_rebalanced(old, new) {
            self.memory.lock().changed.insert(key.clone());
        }
        for (reason, message) in told {
            self.recorder.record(new, EventType::Normal, reason, message);
        }
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(service) = self.services.get(key) else {
            let mut memory = self.memory.lock();
            memory.given.remove(key);
            memory.changed.remove(key);
            return Ok(Action::Done);
        };
        let taken = self.taken(key, &service);
        let changed = self.memory.lock().changed.contains(key);
        match plan(&service, self.pool, &taken) {
            Plan::Nothing => {
                // The address is as it was, but what stands behind it is not.
                if let Some(ip) =
                    addresses(&service).next().filter(|_| changed && wants_load_balancer(&service))
                {
                    self.ensure(key, &service, ip, None).await?;
                }
            }
            Plan::Ensure { ip, instead } => self.ensure(key, &service, ip, instead).await?,
            Plan::Release { had } => self.release(key, &service, had).await?,
            Plan::Exhausted => {
                let why = format!(
                    "no address is left in {}: delete a Service of type LoadBalancer, or make this one a NodePort",
                    self.pool.range()
                );
                let message =
                    format!("Error syncing load balancer: failed to ensure load balancer: {why}");
                self.recorder.record(
                    &*service,
                    EventType::Warning,
                    "SyncLoadBalancerFailed",
                    message,
                );
                return Err(Status::internal(why));
            }
        }
        // Not before: what failed is done again.
        self.memory.lock().changed.remove(key);
        Ok(Action::Done)
    }

    /// The addresses that this Service may not have: given to others, or in the status of others, unless it is the
    /// older of two that have the same.
    fn taken(&self, key: &ObjectKey, service: &Service) -> BTreeSet<Ipv4Addr> {
        let own: BTreeSet<Ipv4Addr> = addresses(service).collect();
        let mut taken = BTreeSet::new();
        for other in self.services.by_index(BALANCED, "") {
            if key_of(&other.metadata) != *key {
                let keeps = |ip: &Ipv4Addr| !own.contains(ip) || is_older(&other, service);
                taken.extend(addresses(&other).filter(keeps));
            }
        }
        let memory = self.memory.lock();
        taken.extend(
            memory
                .given
                .iter()
                .filter(|(of, _)| *of != key)
                .map(|(_, ip)| *ip)
                .filter(|ip| !own.contains(ip)),
        );
        taken
    }

    async fn ensure(
        &self,
        key: &ObjectKey,
        service: &Service,
        ip: Ipv4Addr,
        instead: Option<String>,
    ) -> Result<(), Status> {
        let tell =
            |type_, reason, message: String| self.recorder.record(service, type_, reason, message);
        tell(EventType::Normal, "EnsuringLoadBalancer", "Ensuring load balancer".into());
        if let Some(why) = instead {
            tell(EventType::Warning, "LoadBalancerIPNotAvailable", why);
        }
        self.memory.lock().given.insert(key.clone(), ip);
        let mut finalizers = service.metadata.finalizers.clone();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
        }
        let ingress = json!([{"ip": ip.to_string(), "ipMode": "VIP"}]);
        let written = self.write(service, &finalizers, &ingress).await;
        if let Err(status) = written {
            if !status.is_conflict() {
                let message = format!("Error syncing load balancer: {}", status.message);
                tell(EventType::Warning, "SyncLoadBalancerFailed", message);
            }
            return Err(status);
        }
        tell(EventType::Normal, "EnsuredLoadBalancer", "Ensured load balancer".into());
        Ok(())
    }

    async fn release(&self, key: &ObjectKey, service: &Service, had: bool) -> Result<(), Status> {
        let tell = |reason, message: &str| {
            self.recorder.record(service, EventType::Normal, reason, message.to_owned());
        };
        if had {
            tell("DeletingLoadBalancer", "Deleting load balancer");
        }
        let mut finalizers = service.metadata.finalizers.clone();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        self.write(service, &finalizers, &Value::Null).await?;
        self.memory.lock().given.remove(key);
        tell("DeletedLoadBalancer", "Deleted load balancer");
        Ok(())
    }

    /// Writes the finalizers and the status in one, against the Service as it was seen: somebody else's finalizer is not
    /// to be lost.
    async fn write(
        &self,
        service: &Service,
        finalizers: &[String],
        ingress: &Value,
    ) -> Result<(), Status> {
        let metadata = &service.metadata;
        let patch = Patch::Merge(json!({
            "metadata": {
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
                "finalizers": finalizers,
            },
            "status": {"loadBalancer": {"ingress": ingress}},
        }));
        let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        let written = self.client.patch::<Service>(namespace, name, &patch, "status").await;
        tolerate_absence(written)
    }
}
