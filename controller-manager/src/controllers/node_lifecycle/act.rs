//! Watches Leases and nodes, and acts on silence.

use std::{collections::HashMap, sync::Arc, time::Duration};

use apimachinery::{
    api::{
        coordination::Lease,
        core::{Node, Pod},
    },
    object::ObjectKey,
    status::Status,
    time::Time,
};
use client::{
    Client, DeleteOptions, EventRecorder, Patch, Store, WorkQueue, controller::Action,
    events::EventType,
};
use component_base::clock::Clock;
use parking_lot::Mutex;
use serde_json::json;

use super::{
    eviction::{Verdict, judge},
    health::{GRACE, silent, taints},
};
use crate::context::{Setup, key_of};

const WORKERS: usize = 4;
const LEASES: &str = "kube-node-lease";
const BY_NODE: &str = "node-name";

#[derive(Clone)]
struct Reconciler {
    client: Client,
    clock: Clock,
    recorder: EventRecorder,
    nodes: Store<Node>,
    leases: Store<Lease>,
    pods: Store<Pod>,
    /// When a node was last heard of, on this process's own clock.
    heard: Arc<Mutex<HashMap<String, Duration>>>,
    evictions: WorkQueue<ObjectKey>,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = setup.queue::<ObjectKey>();
    let reconciler = Reconciler {
        client: setup.client.with_field_manager("kube-controller-manager"),
        clock: setup.clock.clone(),
        recorder: setup.recorder("node-controller"),
        nodes: setup.informers.store(),
        leases: setup.informers.store(),
        pods: setup
            .informers
            .indexed(BY_NODE, |pod: &Pod| pod.spec.node_name.iter().cloned().collect()),
        heard: Arc::default(),
        evictions: setup.queue(),
    };
    setup.enqueue_changes::<Node>(&queue);
    let (pods, evictions) = (reconciler.pods.clone(), reconciler.evictions.clone());
    let (heard, clock, keys) = (reconciler.heard.clone(), setup.clock.clone(), queue.clone());
    setup.informers.on_change::<Lease, _>(move |delta| {
        let lease = delta.object();
        if lease.metadata.namespace.as_deref() == Some(LEASES) {
            let name = lease.metadata.name.clone().unwrap_or_default();
            let before = heard.lock().insert(name.clone(), clock.monotonic());
            // A node that was given up speaks again.
            if before.is_some_and(|at| clock.monotonic().saturating_sub(at) >= GRACE) {
                keys.add(ObjectKey { namespace: String::new(), name });
            }
        }
    });
    let (heard, clock) = (reconciler.heard.clone(), setup.clock.clone());
    setup.informers.on_change::<Node, _>(move |delta| {
        // A status that the node itself wrote shows by its heartbeat; what this controller writes keeps the old one.
        let heartbeat = |node: &Arc<Node>| {
            let ready = node.status.conditions.iter().find(|c| c.type_ == "Ready")?;
            ready.last_heartbeat_time
        };
        let (old, new) = delta.old_and_new();
        if new.is_some() && old.and_then(heartbeat) != new.and_then(heartbeat) {
            let name = delta.object().metadata.name.clone().unwrap_or_default();
            heard.lock().insert(name, clock.monotonic());
        }
    });
    setup.informers.on_change::<Node, _>(move |delta| {
        // A pod is judged again when the taints of its node change.
        let (old, new) = delta.old_and_new();
        let of = |node: Option<&Arc<Node>>| node.map(|n| n.spec.taints.clone()).unwrap_or_default();
        if of(old) != of(new) {
            let name = delta.object().metadata.name.as_deref().unwrap_or_default();
            for pod in pods.by_index(BY_NODE, name) {
                evictions.add(key_of(&pod.metadata));
            }
        }
    });
    let (nodes, evictions) = (reconciler.nodes.clone(), reconciler.evictions.clone());
    setup.informers.on_change::<Pod, _>(move |delta| {
        let pod = delta.object();
        let Some(node) = pod.spec.node_name.clone() else { return };
        let tainted = nodes
            .get(&ObjectKey { namespace: String::new(), name: node })
            .is_some_and(|n| n.spec.taints.iter().any(|t| t.effect == "NoExecute"));
        if tainted {
            evictions.add(key_of(&pod.metadata));
        }
    });
    let stores = reconciler.clone();
    let synced = async move {
        stores.nodes.synced().await;
        stores.leases.synced().await;
        stores.pods.synced().await;
    };
    let evictor = reconciler.clone();
    setup.run("node lifecycle", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
    let (queue, nodes) = (evictor.evictions.clone(), evictor.nodes.clone());
    let synced = async move { nodes.synced().await };
    setup.run("taint eviction", &queue, WORKERS, synced, move |key| {
        let evictor = evictor.clone();
        async move { evictor.evict(&key).await }
    });
}

impl Reconciler {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(node) = self.nodes.get(key) else {
            self.heard.lock().remove(&key.name);
            return Ok(Action::Done);
        };
        let quiet_for = self.quiet_for(&key.name);
        let left = GRACE.saturating_sub(quiet_for);
        if left.is_zero()
            && let Some(conditions) = silent(&node, self.clock.now())
        {
            let patch = json!({"metadata": {"uid": node.metadata.uid}, "status": {"conditions": conditions}});
            let patched =
                self.client.patch::<Node>("", &key.name, &Patch::Strategic(patch), "status").await;
            tolerate_absence(patched)?;
            let text = format!("Node {} status is now: NodeNotReady", key.name);
            self.recorder.record(&*node, EventType::Normal, "NodeNotReady", text);
            self.mark_pods(&key.name).await?;
        } else if let Some(taints) = taints(&node, self.clock.now()) {
            // Against the version read: somebody else's taint must not be lost.
            let patch = json!({"metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
                               "spec": {"taints": taints}});
            tolerate_absence(
                self.client.patch::<Node>("", &key.name, &Patch::Merge(patch), "").await,
            )?;
        }
        // A silent node is woken by its next Lease or status.
        Ok(if left.is_zero() { Action::Done } else { Action::RequeueAfter(left) })
    }

    /// How long nothing was heard of the node.
    fn quiet_for(&self, name: &str) -> Duration {
        let now = self.clock.monotonic();
        let at = *self.heard.lock().entry(name.to_owned()).or_insert(now);
        now.saturating_sub(at)
    }

    /// The pods of a silent node are no longer ready: `MarkPodsNotReady`.
    async fn mark_pods(&self, node: &str) -> Result<(), Status> {
        for pod in self.pods.by_index(BY_NODE, node) {
            let ready =
                pod.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
            if !ready {
                continue;
            }
            let key = key_of(&pod.metadata);
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [{
                "type": "Ready", "status": "False",
                "lastTransitionTime": Time(self.clock.now()).truncated(),
            }]}});
            let patched = self
                .client
                .patch::<Pod>(&key.namespace, &key.name, &Patch::Strategic(patch), "status")
                .await;
            tolerate_absence(patched)?;
            self.recorder.record(&*pod, EventType::Warning, "NodeNotReady", "Node is not ready");
        }
        Ok(())
    }

    async fn evict(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(pod) = self.pods.get(key) else { return Ok(Action::Done) };
        if pod.metadata.deletion_timestamp.is_some() {
            return Ok(Action::Done);
        }
        let name = pod.spec.node_name.clone().unwrap_or_default();
        let Some(node) = self.nodes.get(&ObjectKey { namespace: String::new(), name }) else {
            return Ok(Action::Done);
        };
        match judge(&pod.spec.tolerations, &node.spec.taints) {
            Verdict::Stay => return Ok(Action::Done),
            Verdict::Now => {}
            Verdict::After(allowed) => {
                let since = node
                    .spec
                    .taints
                    .iter()
                    .filter(|t| t.effect == "NoExecute")
                    .filter_map(|t| t.time_added)
                    .map(|t| t.0)
                    .min()
                    .unwrap_or_else(|| self.clock.now());
                let passed = self.clock.now().as_second().saturating_sub(since.as_second());
                let left =
                    allowed.saturating_sub(Duration::from_secs(u64::try_from(passed).unwrap_or(0)));
                if !left.is_zero() {
                    return Ok(Action::RequeueAfter(left));
                }
            }
        }
        let text = format!("Marking for deletion Pod {key}");
        self.recorder.record(&*pod, EventType::Normal, "TaintManagerEviction", text);
        let condition = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": Time(self.clock.now()).truncated(),
        }]}});
        let patched = self
            .client
            .patch::<Pod>(&key.namespace, &key.name, &Patch::Strategic(condition), "status")
            .await;
        tolerate_absence(patched)?;
        let options = DeleteOptions::uid(pod.metadata.uid.clone().unwrap_or_default());
        tolerate_absence(self.client.delete::<Pod>(&key.namespace, &key.name, &options).await)?;
        Ok(Action::Done)
    }
}

fn tolerate_absence<T>(result: Result<T, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}
