//! Carries an EndpointSlice plan out.

use std::{collections::HashMap, sync::Arc, time::Duration};

use apimachinery::{
    api::{
        core::{Node, Pod, Service},
        discovery::EndpointSlice,
    },
    object::ObjectKey,
    status::Status,
};
use client::{
    Client, DeleteOptions, EventRecorder, Store, controller::Action, events::EventType,
    store::Delta,
};
use component_base::clock::Clock;
use parking_lot::Mutex;

use super::plan::{MANAGED_BY, MANAGER, SERVICE_NAME, Snapshot, plan};
use crate::context::{Setup, key_of};

const WORKERS: usize = 5;
const BY_SERVICE: &str = "service-name";

#[derive(Clone)]
struct Reconciler {
    client: Client,
    clock: Clock,
    recorder: EventRecorder,
    services: Store<Service>,
    pods: Store<Pod>,
    slices: Store<EndpointSlice>,
    nodes: Store<Node>,
    /// Versions of slices that we wrote and have not seen yet: a plan over older ones would write twice.
    written: Arc<Mutex<HashMap<ObjectKey, Written>>>,
}

/// What was last written for one Service.
#[derive(Clone, Debug, Default)]
struct Written {
    /// Slices by name with the generation written.
    applied: HashMap<String, i64>,
    /// Deleted slices.
    deleted: Vec<String>,
    /// When.
    at: Duration,
}

/// A cache that does not show a write after this long never will: somebody else undid it.
const ECHO: Duration = Duration::from_secs(5);

/// The Services that select a pod.
pub(crate) fn services_of(services: &Store<Service>, pod: &Pod) -> Vec<ObjectKey> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    services
        .list_namespace(namespace)
        .iter()
        .filter(|service| selects(service, pod))
        .map(|service| key_of(&service.metadata))
        .collect()
}

/// Whether a Service's selector selects a pod; one without a selector selects none.
pub(crate) fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = &service.spec.selector;
    !selector.is_empty()
        && selector.iter().all(|(key, value)| pod.metadata.labels.get(key) == Some(value))
}

/// Wakes the Services that a pod's change concerns: those that selected it before or do so now.
pub(crate) fn on_pod(delta: &Delta<Pod>, services: &Store<Service>, wake: &dyn Fn(ObjectKey)) {
    let (old, new) = delta.old_and_new();
    if let (Some(old), Some(new)) = (old, new)
        && !matters(old, new)
    {
        return;
    }
    for pod in [old, new].into_iter().flatten() {
        services_of(services, pod).into_iter().for_each(wake);
    }
}

/// Whether the change of a pod can change an endpoint.
fn matters(old: &Pod, new: &Pod) -> bool {
    let ready =
        |pod: &Pod| pod.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
    old.metadata.labels != new.metadata.labels
        || old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        || old.status.pod_ip != new.status.pod_ip
        || old.status.phase != new.status.phase
        || old.spec.node_name != new.spec.node_name
        || old.spec.hostname != new.spec.hostname
        || ready(old) != ready(new)
        || (new.metadata.deletion_timestamp.is_some()
            && old.status.container_statuses != new.status.container_statuses)
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = setup.queue::<ObjectKey>();
    let reconciler = Reconciler {
        client: setup.client.with_field_manager("kube-controller-manager"),
        clock: setup.clock.clone(),
        recorder: setup.recorder("endpoint-slice-controller"),
        services: setup.informers.store(),
        pods: setup.informers.store(),
        slices: setup.informers.indexed(BY_SERVICE, |slice: &EndpointSlice| {
            let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
            let service = slice.metadata.labels.get(SERVICE_NAME);
            service.map(|name| format!("{namespace}/{name}")).into_iter().collect()
        }),
        nodes: setup.informers.store(),
        written: Arc::default(),
    };
    setup.enqueue_changes::<Service>(&queue);
    let (keys, services) = (queue.clone(), reconciler.services.clone());
    setup
        .informers
        .on_change::<Pod, _>(move |delta| on_pod(delta, &services, &|key| keys.add(key)));
    let keys = queue.clone();
    setup.informers.on_change::<EndpointSlice, _>(move |delta| {
        let slice = delta.object();
        if slice.metadata.labels.get(MANAGED_BY).map(String::as_str) == Some(MANAGER)
            && let Some(service) = slice.metadata.labels.get(SERVICE_NAME)
        {
            let namespace = slice.metadata.namespace.clone().unwrap_or_default();
            keys.add(ObjectKey { namespace, name: service.clone() });
        }
    });
    let stores = reconciler.clone();
    let synced = async move {
        stores.services.synced().await;
        stores.pods.synced().await;
        stores.slices.synced().await;
        stores.nodes.synced().await;
    };
    setup.run("endpointslice", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
}

impl Reconciler {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(service) = self.services.get(key) else {
            // Its slices go with it, by garbage collection.
            self.written.lock().remove(key);
            return Ok(Action::Done);
        };
        if service.spec.selector.is_empty()
            || service.spec.type_.as_deref() == Some("ExternalName")
            || service.metadata.deletion_timestamp.is_some()
        {
            return Ok(Action::Done);
        }
        let index = format!("{}/{}", key.namespace, key.name);
        let slices: Vec<Arc<EndpointSlice>> = self
            .slices
            .by_index(BY_SERVICE, &index)
            .into_iter()
            .filter(|s| s.metadata.labels.get(MANAGED_BY).map(String::as_str) == Some(MANAGER))
            .filter(|s| s.metadata.deletion_timestamp.is_none())
            .collect();
        if !self.seen(key, &slices) {
            // The echo of our last write wakes us again; if it never comes, time does.
            return Ok(Action::RequeueAfter(ECHO));
        }
        let pods: Vec<Arc<Pod>> = self
            .pods
            .list_namespace(&key.namespace)
            .into_iter()
            .filter(|pod| selects(&service, pod))
            .collect();
        let nodes = self.nodes.clone();
        let node = move |name: &str| {
            nodes.get(&ObjectKey { namespace: String::new(), name: name.to_owned() })
        };
        let trigger_time = last_change(&pods, &slices);
        let plan = plan(&Snapshot { service: &service, pods, slices, node: &node, trigger_time });
        if let Err(status) = self.carry_out(key, plan).await {
            let text = format!(
                "Error updating Endpoint Slices for Service {}/{}: {}",
                key.namespace, key.name, status.message
            );
            self.recorder.record(
                &*service,
                EventType::Warning,
                "FailedToUpdateEndpointSlices",
                text,
            );
            return Err(status);
        }
        Ok(Action::Done)
    }

    /// Whether the cache shows everything that was written for the Service.
    fn seen(&self, key: &ObjectKey, slices: &[Arc<EndpointSlice>]) -> bool {
        let mut written = self.written.lock();
        let Some(expected) = written.get(key) else { return true };
        let generation = |name: &str| {
            slices
                .iter()
                .find(|s| s.metadata.name.as_deref() == Some(name))
                .map(|s| s.metadata.generation.unwrap_or(0))
        };
        let applied = expected.applied.iter().all(|(name, g)| generation(name) >= Some(*g));
        let deleted = expected.deleted.iter().all(|name| generation(name).is_none());
        let waited = self.clock.monotonic().saturating_sub(expected.at) >= ECHO;
        let seen = waited || (applied && deleted);
        if seen {
            written.remove(key);
        }
        seen
    }

    async fn carry_out(&self, key: &ObjectKey, plan: super::plan::Plan) -> Result<(), Status> {
        let mut written = Written { at: self.clock.monotonic(), ..Written::default() };
        let outcome = async {
            for slice in &plan.create {
                let created: EndpointSlice = self.client.create(slice).await?;
                written.applied.insert(
                    created.metadata.name.unwrap_or_default(),
                    created.metadata.generation.unwrap_or(0),
                );
            }
            for slice in &plan.update {
                let updated: EndpointSlice = self.client.update(slice).await?;
                written.applied.insert(
                    updated.metadata.name.unwrap_or_default(),
                    updated.metadata.generation.unwrap_or(0),
                );
            }
            for name in &plan.delete {
                let options = DeleteOptions::default();
                match self.client.delete::<EndpointSlice>(&key.namespace, name, &options).await {
                    Err(status) if !status.is_not_found() => return Err(status),
                    _ => written.deleted.push(name.clone()),
                }
            }
            Ok(())
        }
        .await;
        // After a failure the next attempt looks at whatever the cache shows by then.
        if outcome.is_ok() && !(written.applied.is_empty() && written.deleted.is_empty()) {
            self.written.lock().insert(key.clone(), written);
        }
        outcome
    }
}

/// When the newest change of the pods took place that the slices do not show yet.
fn last_change(pods: &[Arc<Pod>], slices: &[Arc<EndpointSlice>]) -> Option<String> {
    let shown = slices
        .iter()
        .filter_map(|s| {
            s.metadata.annotations.get("endpoints.kubernetes.io/last-change-trigger-time")
        })
        .max();
    let newest = pods
        .iter()
        .flat_map(|pod| &pod.status.conditions)
        .filter(|c| c.type_ == "Ready")
        .filter_map(|c| c.last_transition_time.as_ref())
        .map(|t| t.0.to_string())
        .max();
    newest.filter(|newest| shown.is_none_or(|shown| newest > shown))
}
