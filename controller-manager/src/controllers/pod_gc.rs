//! The pod garbage collector: deletes pods that nobody else will.
//!
//! | pods | go |
//! |---|---|
//! | that have ended, beyond `--terminated-pod-gc-threshold` | evicted ones first, then the oldest |
//! | of a node that is not there (any more) | after 40 s, and once the API has confirmed that the node is absent |
//! | being deleted, on a node that is out of service and not ready | at once |
//! | being deleted, without a node | at once |
//!
//! Nothing answers for such pods, so they are marked Failed and deleted without grace. Kubernetes sweeps every 20 s; here
//! a change that may matter calls for one sweep 20 s later, and a quiet cluster has none. [`plan()`] is pure. Follows
//! `pkg/controller/podgc` of Kubernetes.

pub mod plan;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apimachinery::{
    api::core::{Node, Pod},
    object::ObjectKey,
    status::Status,
    time::Time,
};
use client::{Client, DeleteOptions, Patch, Store, WorkQueue, controller::Action, store::Delta};
use component_base::clock::Clock;
use parking_lot::Mutex;
use serde_json::json;

use self::plan::{Snapshot, has_ended, is_out_of_service, plan};
use crate::context::{Setup, key_of};

/// Sweeps follow one another: a second one would delete the same pods.
const WORKERS: usize = 1;
/// From a change to the sweep that looks at it: `gcCheckPeriod`.
const PERIOD: Duration = Duration::from_secs(20);
/// The only key.
const SWEEP: &str = "sweep";

#[derive(Clone)]
struct Collector {
    client: Client,
    clock: Clock,
    pods: Store<Pod>,
    nodes: Store<Node>,
    threshold: i32,
    /// Absent nodes that pods name, and since when.
    quarantine: Arc<Mutex<BTreeMap<String, Duration>>>,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue: WorkQueue<&'static str> = setup.queue();
    let collector = Collector {
        client: setup.client.with_field_manager("kube-controller-manager"),
        clock: setup.clock.clone(),
        pods: setup.informers.store(),
        nodes: setup.informers.store(),
        threshold: setup.options.terminated_pod_gc_threshold,
        quarantine: Arc::default(),
    };
    queue.add(SWEEP);
    let (sweeps, nodes) = (queue.clone(), collector.nodes.clone());
    setup.informers.on_change::<Pod, _>(move |delta| {
        let (_, Some(pod)) = delta.old_and_new() else { return };
        let homeless =
            || pod.spec.node_name.as_ref().is_some_and(|name| nodes.get(&node_key(name)).is_none());
        if has_ended(pod) || pod.metadata.deletion_timestamp.is_some() || homeless() {
            sweeps.add_after(SWEEP, PERIOD);
        }
    });
    let sweeps = queue.clone();
    setup.informers.on_change::<Node, _>(move |delta| match delta {
        Delta::Deleted(_) => sweeps.add(SWEEP),
        Delta::Added(node) | Delta::Updated { new: node, .. } if is_out_of_service(node) => {
            sweeps.add_after(SWEEP, PERIOD);
        }
        Delta::Added(_) | Delta::Updated { .. } => {}
    });
    let stores = collector.clone();
    let synced = async move {
        stores.pods.synced().await;
        stores.nodes.synced().await;
    };
    setup.run("pod-gc", &queue, WORKERS, synced, move |_| {
        let collector = collector.clone();
        async move { collector.sweep().await }
    });
}

fn node_key(name: &str) -> ObjectKey {
    ObjectKey { namespace: String::new(), name: name.to_owned() }
}

impl Collector {
    async fn sweep(&self) -> Result<Action, Status> {
        let now = self.clock.monotonic();
        let quarantine = self.quarantine.lock().clone();
        let plan = plan(&Snapshot {
            pods: self.pods.list(),
            nodes: self.nodes.list(),
            quarantine,
            threshold: self.threshold,
            now,
        });
        *self.quarantine.lock() = plan.quarantine;
        let mut failure = None;
        for pod in &plan.delete {
            self.delete(pod, false).await.unwrap_or_else(|status| failure = Some(status));
        }
        for (node, pods) in &plan.absent {
            match self.client.get::<Node>("", node).await {
                Err(status) if status.is_not_found() => {}
                // The cache is behind: the node has its time anew, and needs it only while the cache stays so.
                Ok(_) => {
                    self.quarantine.lock().insert(node.clone(), now);
                    continue;
                }
                Err(status) => {
                    failure = Some(status);
                    continue;
                }
            }
            for pod in pods {
                self.delete(pod, true).await.unwrap_or_else(|status| failure = Some(status));
            }
        }
        match failure {
            Some(status) => Err(status),
            None => Ok(plan.again.map_or(Action::Done, Action::RequeueAfter)),
        }
    }

    /// Marks a pod Failed, unless it has ended by itself, and deletes it without grace.
    async fn delete(&self, pod: &Pod, orphaned: bool) -> Result<(), Status> {
        let key = key_of(&pod.metadata);
        if !matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            let mut status = json!({"phase": "Failed"});
            if orphaned {
                status["conditions"] = json!([{
                    "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                    "message": "PodGC: node no longer exists",
                    "observedGeneration": pod.metadata.generation,
                    "lastTransitionTime": Time(self.clock.now()).truncated(),
                }]);
            }
            let patch =
                Patch::Strategic(json!({"metadata": {"uid": pod.metadata.uid}, "status": status}));
            match self.client.patch::<Pod>(&key.namespace, &key.name, &patch, "status").await {
                Err(status) if status.is_not_found() => return Ok(()),
                patched => drop(patched?),
            }
        }
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            ..DeleteOptions::uid(pod.metadata.uid.clone().unwrap_or_default())
        };
        match self.client.delete::<Pod>(&key.namespace, &key.name, &options).await {
            Err(status) if status.is_not_found() => Ok(()),
            deleted => deleted,
        }
    }
}
