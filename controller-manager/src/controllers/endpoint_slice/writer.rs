//! Finding and writing a Service's slices, for all controllers that keep some.

use std::{collections::HashMap, sync::Arc, time::Duration};

use apimachinery::{api::discovery::EndpointSlice, object::ObjectKey, status::Status};
use client::{Client, DeleteOptions, Store};
use component_base::clock::Clock;
use parking_lot::Mutex;

use super::plan::{MANAGED_BY, Plan, SERVICE_NAME};
use crate::context::Setup;

/// A cache that does not show a write after this long never will: somebody else undid it.
pub(crate) const ECHO: Duration = Duration::from_secs(5);
/// The index of slices by Service.
pub(crate) const BY_SERVICE: &str = "service-name";

/// The Service of a slice, as the index has it.
pub(crate) fn service_of(slice: &EndpointSlice) -> Vec<String> {
    let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
    let service = slice.metadata.labels.get(SERVICE_NAME);
    service.map(|name| format!("{namespace}/{name}")).into_iter().collect()
}

/// The Service of a slice that `manager` keeps.
pub(crate) fn keys_of(slice: &EndpointSlice, manager: &str) -> Option<ObjectKey> {
    let name = slice.metadata.labels.get(SERVICE_NAME)?.clone();
    let namespace = slice.metadata.namespace.clone().unwrap_or_default();
    is_kept(slice, manager).then_some(ObjectKey { namespace, name })
}

fn is_kept(slice: &EndpointSlice, manager: &str) -> bool {
    slice.metadata.labels.get(MANAGED_BY).map(String::as_str) == Some(manager)
}

/// The slices that `manager` keeps for a Service, but for those that are going.
pub(crate) fn slices_of(
    slices: &Store<EndpointSlice>,
    service: &ObjectKey,
    manager: &str,
) -> Vec<Arc<EndpointSlice>> {
    let index = format!("{}/{}", service.namespace, service.name);
    slices
        .by_index(BY_SERVICE, &index)
        .into_iter()
        .filter(|slice| is_kept(slice, manager))
        .filter(|slice| slice.metadata.deletion_timestamp.is_none())
        .collect()
}

/// Writes slices, and remembers what it wrote until the cache shows it: a plan over older slices would write twice.
#[derive(Clone)]
pub(crate) struct SliceWriter {
    client: Client,
    clock: Clock,
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

impl SliceWriter {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        Self {
            client: setup.client.with_field_manager("kube-controller-manager"),
            clock: setup.clock.clone(),
            written: Arc::default(),
        }
    }

    /// The Service is gone.
    pub(crate) fn forget(&self, service: &ObjectKey) {
        self.written.lock().remove(service);
    }

    /// Whether the cache shows everything that was written for the Service.
    pub(crate) fn has_seen(&self, service: &ObjectKey, slices: &[Arc<EndpointSlice>]) -> bool {
        let mut written = self.written.lock();
        let Some(expected) = written.get(service) else { return true };
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
            written.remove(service);
        }
        seen
    }

    /// Carries a plan out.
    pub(crate) async fn write(&self, service: &ObjectKey, plan: Plan) -> Result<(), Status> {
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
                let namespace = &service.namespace;
                match self.client.delete::<EndpointSlice>(namespace, name, &options).await {
                    Err(status) if !status.is_not_found() => return Err(status),
                    _ => written.deleted.push(name.clone()),
                }
            }
            Ok(())
        }
        .await;
        // After a failure the next attempt looks at whatever the cache shows by then.
        if outcome.is_ok() && !(written.applied.is_empty() && written.deleted.is_empty()) {
            self.written.lock().insert(service.clone(), written);
        }
        outcome
    }
}
