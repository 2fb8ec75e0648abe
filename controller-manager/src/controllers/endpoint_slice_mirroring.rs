//! The EndpointSlice mirroring controller: Endpoints that somebody keeps by hand become EndpointSlices, which is what
//! proxies and DNS read.
//!
//! That is for Services without a selector; an Endpoints object may refuse it by a label. Each set of ports becomes one
//! slice per address family, with all labels and annotations of the Endpoints, whose property it is. Addresses that are
//! none, and those beyond `--mirroring-max-endpoints-per-subset`, are left out, and an event says so. [`plan()`] is pure.
//! Follows `pkg/controller/endpointslicemirroring` of Kubernetes.

pub mod plan;

use apimachinery::{
    api::{
        core::{Endpoints, Service},
        discovery::EndpointSlice,
    },
    object::ObjectKey,
    status::Status,
};
use client::{EventRecorder, Store, controller::Action, events::EventType};

use self::plan::{MANAGER, plan};
use super::{
    endpoint_slice::{
        plan::Plan,
        writer::{BY_SERVICE, ECHO, SliceWriter, keys_of, service_of, slices_of},
    },
    endpoints::LEADER,
};
use crate::context::Setup;

const WORKERS: usize = 5;
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";

#[derive(Clone)]
struct Reconciler {
    writer: SliceWriter,
    recorder: EventRecorder,
    services: Store<Service>,
    endpoints: Store<Endpoints>,
    slices: Store<EndpointSlice>,
    max_endpoints: usize,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = setup.queue::<ObjectKey>();
    let reconciler = Reconciler {
        writer: SliceWriter::new(setup),
        recorder: setup.recorder("endpoint-slice-mirroring-controller"),
        services: setup.informers.store(),
        endpoints: setup.informers.store(),
        slices: setup.informers.indexed(BY_SERVICE, service_of),
        max_endpoints: setup.options.mirroring_max_endpoints_per_subset,
    };
    setup.enqueue_changes::<Endpoints>(&queue);
    setup.enqueue_changes::<Service>(&queue);
    let keys = queue.clone();
    setup.informers.on_change::<EndpointSlice, _>(move |delta| {
        keys_of(delta.object(), MANAGER).into_iter().for_each(|key| keys.add(key));
    });
    let stores = reconciler.clone();
    let synced = async move {
        stores.services.synced().await;
        stores.endpoints.synced().await;
        stores.slices.synced().await;
    };
    setup.run("endpointslice mirroring", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
}

impl Reconciler {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let slices = slices_of(&self.slices, key, MANAGER);
        let endpoints = self.endpoints.get(key).filter(|endpoints| is_mirrored(endpoints));
        let by_hand = self.services.get(key).is_some_and(|s| s.spec.selector.is_empty());
        let Some(endpoints) = endpoints.filter(|_| by_hand) else {
            self.writer.forget(key);
            let delete = slices.iter().filter_map(|slice| slice.metadata.name.clone()).collect();
            self.writer.write(key, Plan { delete, ..Plan::default() }).await?;
            return Ok(Action::Done);
        };
        if !self.writer.has_seen(key, &slices) {
            // The echo of our last write wakes us again; if it never comes, time does.
            return Ok(Action::RequeueAfter(ECHO));
        }
        let mirror = plan(&endpoints, &slices, self.max_endpoints);
        let warn = |reason, text: String| {
            self.recorder.record(&*endpoints, EventType::Warning, reason, text);
        };
        if mirror.invalid > 0 {
            warn(
                "InvalidIPAddress",
                format!(
                    "Skipped {} invalid IP addresses when mirroring to EndpointSlices",
                    mirror.invalid
                ),
            );
        }
        if mirror.skipped > mirror.invalid {
            warn(
                "TooManyAddressesToMirror",
                format!(
                    "A max of {} addresses can be mirrored to EndpointSlices per Endpoints subset. {} addresses were skipped",
                    self.max_endpoints, mirror.skipped
                ),
            );
        }
        if let Err(status) = self.writer.write(key, mirror.writes).await {
            let text = format!(
                "Error updating Endpoint Slices for Endpoints {}/{}: {}",
                key.namespace, key.name, status.message
            );
            warn("FailedToUpdateEndpointSlices", text);
            return Err(status);
        }
        Ok(Action::Done)
    }
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    endpoints.metadata.labels.get(SKIP).map(String::as_str) != Some("true")
        && !endpoints.metadata.annotations.contains_key(LEADER)
}
