//! A worker for each pod that is bound to this node.

use std::{collections::HashMap, sync::Arc};

use apimachinery::{api::core::Pod, resource};
use client::reflector::{Change, ListWatch, Reflector};
use component_base::shutdown::Shutdown;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::NodeContext;
use crate::{
    checkpoint::PodCheckpoint,
    worker::{PodWorker, Shared, is_terminal},
};

/// What is known of the pods by uid: for logs, exec and their kin.
#[derive(Clone, Default)]
pub struct PodTable(Arc<RwLock<HashMap<String, Entry>>>);

#[derive(Clone)]
struct Entry {
    namespace: String,
    name: String,
    pod: Arc<Pod>,
    shared: Arc<RwLock<Shared>>,
}

impl PodTable {
    /// Finds a pod; with a uid only that very pod.
    #[must_use]
    pub fn find(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Option<(Arc<Pod>, Arc<RwLock<Shared>>)> {
        let table = self.0.read();
        let entry = if uid.is_empty() {
            // Of namesakes the one that is not on its way out.
            let namesakes = table.values().filter(|e| e.namespace == namespace && e.name == name);
            namesakes.min_by_key(|e| e.pod.metadata.deletion_timestamp.is_some())
        } else {
            table.get(uid)
        };
        entry.map(|e| (e.pod.clone(), e.shared.clone()))
    }
}

struct Running {
    updates: watch::Sender<Arc<Pod>>,
}

/// Follows the pods of this node until `shutdown`; then waits for the workers to let go.
pub(crate) async fn follow_pods(node: Arc<NodeContext>, table: PodTable, shutdown: Shutdown) {
    let tasks = TaskTracker::new();
    let mut workers: HashMap<String, Running> = HashMap::new();
    let (ended_sender, mut ended) = tokio::sync::mpsc::channel::<String>(64);
    let start = |pod: Arc<Pod>, checkpoint: Option<PodCheckpoint>| {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let (updates, receiver) = watch::channel(pod.clone());
        let shared = Arc::new(RwLock::new(Shared::default()));
        table.0.write().insert(
            uid.clone(),
            Entry {
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                name: pod.metadata.name.clone().unwrap_or_default(),
                pod: pod.clone(),
                shared: shared.clone(),
            },
        );
        let worker = PodWorker::new(node.clone(), pod, checkpoint, shared);
        let (stop, done) = (shutdown.token().clone(), ended_sender.clone());
        tasks.spawn(async move {
            worker.run(receiver, stop).await;
            // The receiver is gone only when the node stops.
            let _ = done.send(uid).await;
        });
        Running { updates }
    };
    // A node that reboots brings its pods back before it asks anybody.
    for checkpoint in node.checkpoints.load() {
        let pod = Arc::new(checkpoint.pod.clone());
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        workers.insert(uid, start(pod, Some(checkpoint)));
    }
    let source = ListWatch {
        field_selector: format!("spec.nodeName={}", node.settings.name),
        ..ListWatch::all(&resource::PODS)
    };
    let mut reflector: Reflector<Pod> =
        Reflector::new(node.client.clone(), node.clock.clone(), source);
    loop {
        let change = tokio::select! {
            change = reflector.next() => change,
            Some(uid) = ended.recv() => {
                workers.remove(&uid);
                table.0.write().remove(&uid);
                continue;
            }
            () = shutdown.cancelled() => break,
        };
        let applied = match change {
            Change::Replaced { objects, .. } => {
                let present: std::collections::HashSet<&str> =
                    objects.iter().filter_map(|p| p.metadata.uid.as_deref()).collect();
                // A worker whose sender is dropped ends its pod.
                workers.retain(|uid, _| present.contains(uid.as_str()));
                release_addresses(&node, &table, &present);
                objects
            }
            Change::Applied(pod) => vec![pod],
            Change::Deleted(pod) => {
                workers.remove(pod.metadata.uid.as_deref().unwrap_or_default());
                continue;
            }
            Change::Reached(_) => continue,
        };
        for pod in applied {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let pod = Arc::new(pod);
            if let Some(worker) = workers.get(&uid) {
                if let Some(entry) = table.0.write().get_mut(&uid) {
                    entry.pod = pod.clone();
                }
                // The worker may just have ended; then nobody needs the update.
                let _ = worker.updates.send(pod);
            } else if !is_terminal(&pod) {
                workers.insert(uid, start(pod, None));
            } else if pod.metadata.deletion_timestamp.is_some() {
                let (node, token) = (node.clone(), shutdown.token().clone());
                tasks.spawn(async move {
                    token.run_until_cancelled(node.statuses.delete(&pod, &node.clock)).await;
                });
            }
        }
    }
    // The workers' senders live until they have seen the node's end: a dropped one would mean a deleted pod.
    // Nobody hears of their ends any more: more of them than the channel holds must not wait for that.
    drop(ended);
    tasks.close();
    tasks.wait().await;
    drop(workers);
}

/// Frees the addresses of pods that vanished while the node was down; not of those that are just being ended.
fn release_addresses(
    node: &NodeContext,
    table: &PodTable,
    present: &std::collections::HashSet<&str>,
) {
    let ending = table.0.read();
    match node.network.release_all_but(|uid| present.contains(uid) || ending.contains_key(uid)) {
        Ok(released) if !released.is_empty() => {
            tracing::info!(count = released.len(), "released the addresses of vanished pods");
        }
        Ok(_) => {}
        Err(e) => tracing::error!(error = %e, "cannot release the addresses of vanished pods"),
    }
}
