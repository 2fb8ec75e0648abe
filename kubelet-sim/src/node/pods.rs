//! A worker for each pod that is bound to this node.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use apimachinery::{
    api::core::{Pod, PodStatus},
    resource,
};
use client::{
    events::EventType,
    reflector::{Change, ListWatch, Reflector},
};
use component_base::shutdown::Shutdown;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{
    NodeContext,
    admission::{self, Rejection},
    status::pressures,
};
use crate::{
    checkpoint::PodCheckpoint,
    simulation::{self, PodSimulation},
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

    /// All pods, by namespace and name.
    pub(crate) fn all(&self) -> Vec<(Arc<Pod>, Arc<RwLock<Shared>>)> {
        let mut entries: Vec<Entry> = self.0.read().values().cloned().collect();
        entries.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        entries.into_iter().map(|entry| (entry.pod, entry.shared)).collect()
    }

    /// The uids of those of some pods that have not ended.
    pub(crate) fn unfinished(&self, of: impl Fn(&Pod) -> bool) -> Vec<String> {
        let table = self.0.read();
        let left = table.iter().filter(|(_, e)| of(&e.pod) && !e.shared.read().finished);
        left.map(|(uid, _)| uid.clone()).collect()
    }
}

struct Running {
    updates: watch::Sender<Arc<Pod>>,
    /// What was told of its annotations.
    problems: Vec<String>,
}

impl Running {
    /// Tells what is not understood of what the pod is to act out, once.
    fn tell_problems(&mut self, node: &NodeContext, pod: &Pod) {
        let problems = PodSimulation::of(pod).problems;
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            node.event(pod, EventType::Warning, simulation::INVALID, problem);
        }
        self.problems = problems;
    }
}

/// Follows the pods of this node until `shutdown`; then waits for the workers to let go.
pub(crate) async fn follow_pods(node: Arc<NodeContext>, table: PodTable, shutdown: Shutdown) {
    let tasks = TaskTracker::new();
    let mut workers: HashMap<String, Running> = HashMap::new();
    // Those that may not run here.
    let mut rejected: HashSet<String> = HashSet::new();
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
        Running { updates, problems: Vec::new() }
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
    let mut stages = node.own.stages();
    loop {
        let change = tokio::select! {
            change = reflector.next() => change,
            Some(uid) = ended.recv() => {
                workers.remove(&uid);
                table.0.write().remove(&uid);
                node.own.tell_end();
                continue;
            }
            Ok(()) = stages.changed() => {
                // Each looks whether it is its turn to end.
                for worker in workers.values() {
                    worker.updates.send_modify(|_| ());
                }
                continue;
            }
            () = shutdown.cancelled() => break,
        };
        let applied = match change {
            Change::Replaced { objects, .. } => {
                let present: HashSet<&str> =
                    objects.iter().filter_map(|p| p.metadata.uid.as_deref()).collect();
                // A worker whose sender is dropped ends its pod.
                workers.retain(|uid, _| present.contains(uid.as_str()));
                rejected.retain(|uid| present.contains(uid.as_str()));
                release_addresses(&node, &table, &present);
                objects
            }
            Change::Applied(pod) => vec![pod],
            Change::Deleted(pod) => {
                let uid = pod.metadata.uid.as_deref().unwrap_or_default();
                workers.remove(uid);
                rejected.remove(uid);
                continue;
            }
            Change::Reached(_) => continue,
        };
        for pod in in_order(applied, &workers) {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let pod = Arc::new(pod);
            let deleting = pod.metadata.deletion_timestamp.is_some();
            if let Some(worker) = workers.get_mut(&uid) {
                worker.tell_problems(&node, &pod);
                if let Some(entry) = table.0.write().get_mut(&uid) {
                    entry.pod = pod.clone();
                }
                // The worker may just have ended; then nobody needs the update.
                let _ = worker.updates.send(pod);
            } else if !is_terminal(&pod) && !rejected.contains(&uid) {
                let admitted = if deleting { Ok(()) } else { admit(&node, &pod, &workers) };
                match admitted {
                    Ok(()) => {
                        let mut worker = start(pod.clone(), None);
                        worker.tell_problems(&node, &pod);
                        workers.insert(uid, worker);
                    }
                    Err(rejection) => {
                        reject(&node, &pod, &rejection);
                        rejected.insert(uid);
                    }
                }
            } else if deleting {
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

/// Pods that run come first, so that it is known which of them have ended; then the others as they were made.
fn in_order(mut pods: Vec<Pod>, workers: &HashMap<String, Running>) -> Vec<Pod> {
    let runs = |pod: &Pod| pod.metadata.uid.as_ref().is_some_and(|uid| workers.contains_key(uid));
    pods.sort_by_cached_key(|pod| (!runs(pod), pod.metadata.creation_timestamp));
    pods
}

/// Whether the node takes a pod beside those that run.
fn admit(
    node: &NodeContext,
    pod: &Pod,
    workers: &HashMap<String, Running>,
) -> Result<(), Rejection> {
    let known: Vec<Arc<Pod>> =
        workers.values().map(|worker| worker.updates.borrow().clone()).collect();
    let pods: Vec<&Pod> = known.iter().map(|pod| &**pod).filter(|pod| !is_terminal(pod)).collect();
    let view = admission::View {
        node: &node.own.node(),
        allocatable: &node.allocatable,
        pods: &pods,
        pressures: &pressures(&node.own.simulation()),
        shutting_down: node.own.shutting_down(),
    };
    admission::admit(pod, &view)
}

/// Makes a pod Failed that may not run here.
fn reject(node: &NodeContext, pod: &Pod, rejection: &Rejection) {
    let Rejection { reason, message } = rejection;
    node.event(pod, EventType::Warning, reason, message);
    let status = PodStatus {
        phase: Some("Failed".into()),
        reason: Some(reason.clone()),
        message: Some(format!("Pod was rejected: {message}")),
        observed_generation: pod.metadata.generation,
        qos_class: pod.status.qos_class.clone(),
        ..PodStatus::default()
    };
    node.statuses.set(pod, &status);
}

/// Frees the addresses of pods that vanished while the node was down; not of those that are just being ended.
fn release_addresses(node: &NodeContext, table: &PodTable, present: &HashSet<&str>) {
    let ending = table.0.read();
    match node.network.release_all_but(|uid| present.contains(uid) || ending.contains_key(uid)) {
        Ok(released) if !released.is_empty() => {
            tracing::info!(count = released.len(), "released the addresses of vanished pods");
        }
        Ok(_) => {}
        Err(e) => tracing::error!(error = %e, "cannot release the addresses of vanished pods"),
    }
}
