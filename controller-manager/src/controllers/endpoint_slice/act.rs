//! Carries an EndpointSlice plan out.

use std::sync::Arc;

use apimachinery::{
    api::{
        core::{Node, Pod, Service},
        discovery::EndpointSlice,
    },
    object::ObjectKey,
    status::Status,
};
use client::{EventRecorder, Store, controller::Action, events::EventType, store::Delta};

use super::{
    plan::{MANAGER, Snapshot, plan},
    writer::{BY_SERVICE, ECHO, SliceWriter, keys_of, service_of, slices_of},
};
use crate::{
    context::{Setup, key_of},
    controllers::trigger_time::TriggerTimes,
};

const WORKERS: usize = 5;

#[derive(Clone)]
struct Reconciler {
    writer: SliceWriter,
    recorder: EventRecorder,
    services: Store<Service>,
    pods: Store<Pod>,
    slices: Store<EndpointSlice>,
    nodes: Store<Node>,
    trigger_times: TriggerTimes,
}

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
        writer: SliceWriter::new(setup),
        recorder: setup.recorder("endpoint-slice-controller"),
        services: setup.informers.store(),
        pods: setup.informers.store(),
        slices: setup.informers.indexed(BY_SERVICE, service_of),
        nodes: setup.informers.store(),
        trigger_times: TriggerTimes::default(),
    };
    setup.enqueue_changes::<Service>(&queue);
    let (keys, services) = (queue.clone(), reconciler.services.clone());
    setup
        .informers
        .on_change::<Pod, _>(move |delta| on_pod(delta, &services, &|key| keys.add(key)));
    let keys = queue.clone();
    setup.informers.on_change::<EndpointSlice, _>(move |delta| {
        keys_of(delta.object(), MANAGER).into_iter().for_each(|key| keys.add(key));
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
            self.writer.forget(key);
            self.trigger_times.forget(key);
            return Ok(Action::Done);
        };
        if service.spec.selector.is_empty() || service.spec.type_.as_deref() == Some("ExternalName")
        {
            return Ok(Action::Done);
        }
        let slices = slices_of(&self.slices, key, MANAGER);
        if !self.writer.has_seen(key, &slices) {
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
        let trigger_time = self.trigger_times.changed(key, &service, &pods);
        let plan = plan(&Snapshot { service: &service, pods, slices, node: &node, trigger_time });
        if let Err(status) = self.writer.write(key, plan).await {
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
}
