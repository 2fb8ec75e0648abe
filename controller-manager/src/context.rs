//! What controllers are started with.

use std::{fmt::Display, future::Future, hash::Hash};

use apimachinery::{
    api::{Resource, core::Pod, meta::ObjectMeta},
    object::ObjectKey,
    status::Status,
};
use client::{
    Client, EventRecorder, Patch, WorkQueue,
    controller::{self, Action},
    informer::Informers,
};
use component_base::{clock::Clock, shutdown::Shutdown};

use crate::options::Options;

/// Everything that a controller may use while it is being set up.
pub struct Setup<'a> {
    /// The API.
    pub client: Client,
    /// Time.
    pub clock: Clock,
    /// The end.
    pub shutdown: Shutdown,
    /// The informers that all controllers share; started when every controller is set up.
    pub informers: &'a mut Informers,
    /// The pods' network.
    pub cluster_cidr: String,
    /// Their settings.
    pub options: &'a Options,
}

impl Setup<'_> {
    /// A recorder of events in the name of one controller.
    #[must_use]
    pub fn recorder(&self, component: &str) -> EventRecorder {
        EventRecorder::start(&self.client, &self.clock, component, None, &self.shutdown)
    }

    /// An empty queue.
    #[must_use]
    pub fn queue<K: Clone + Eq + Hash>(&self) -> WorkQueue<K> {
        WorkQueue::new(&self.clock)
    }

    /// Puts every changed object of a kind into a queue.
    pub fn enqueue_changes<T: Resource>(&mut self, queue: &WorkQueue<ObjectKey>) {
        let queue = queue.clone();
        self.informers.on_change::<T, _>(move |delta| queue.add(key_of(delta.object().metadata())));
    }

    /// Runs workers once `synced` is done: before that, the stores do not tell the truth.
    pub fn run<K, F, Fut>(
        &self,
        name: &'static str,
        queue: &WorkQueue<K>,
        workers: usize,
        synced: impl Future<Output = ()> + Send + 'static,
        reconcile: F,
    ) where
        K: Clone + Eq + Hash + Display + Send + Sync + 'static,
        F: Fn(K) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Action, Status>> + Send,
    {
        let (shutdown, queue) = (self.shutdown.clone(), queue.clone());
        self.shutdown.spawn(name, async move {
            let token = shutdown.token().clone();
            if token.run_until_cancelled(synced).await.is_some() {
                controller::run(&shutdown, name, &queue, workers, reconcile);
            }
        });
    }
}

/// Whether a creation was refused because its namespace is being deleted: all that is left to do there is nothing.
#[must_use]
pub fn is_terminating(status: &Status) -> bool {
    status
        .details
        .as_ref()
        .is_some_and(|d| d.causes.iter().any(|c| c.reason == "NamespaceTerminating"))
}

/// Whether a write came too late or too early: what was to be made is there, what was to be changed is gone, or the
/// namespace goes. An event tells when that is not so any more.
#[must_use]
pub fn is_overtaken(status: &Status) -> bool {
    status.is_already_exists() || status.is_not_found() || is_terminating(status)
}

/// Namespace and name.
#[must_use]
pub fn key_of(metadata: &ObjectMeta) -> ObjectKey {
    ObjectKey {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// The uid of the owner that controls an object: an index over dependents.
#[must_use]
pub fn controller_uid<T: Resource>(object: &T) -> Vec<String> {
    let owners = &object.metadata().owner_references;
    owners.iter().filter(|o| o.controller == Some(true)).map(|o| o.uid.clone()).collect()
}

/// The name of that index.
pub const BY_CONTROLLER: &str = "controller-uid";

/// The name of the node that a pod is bound to: an index over pods.
#[must_use]
pub fn node_name(pod: &Pod) -> Vec<String> {
    pod.spec.node_name.iter().cloned().collect()
}

/// The name of that index.
pub const BY_NODE: &str = "node-name";

/// Takes the absence of an object for success: what was to be done to it needs no doing.
///
/// # Errors
/// Any other.
pub fn tolerate_absence<T>(result: Result<T, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

/// A patch that replaces the status of the object with this uid.
#[must_use]
pub fn replace_status(uid: Option<&str>, status: &serde_json::Value) -> Patch {
    Patch::Json(serde_json::json!([
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "add", "path": "/status", "value": status},
    ]))
}
