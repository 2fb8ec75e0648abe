//! The taint eviction controller: deletes pods that do not, or no longer, tolerate the NoExecute taints of their node.
//!
//! A pod tolerates a silent node for 300 s by default (DefaultTolerationSeconds). Each pod has its own deadline in a work
//! queue, and is judged afresh when it comes: a node that is back in time keeps the pods that are still there.
//! [`judge()`] is pure. Follows `pkg/controller/tainteviction` of Kubernetes.

pub mod judge;

use std::{collections::HashMap, sync::Arc, time::Duration};

use apimachinery::{
    api::core::{Node, Pod},
    object::ObjectKey,
    status::Status,
    time::Time,
};
use client::{
    Client, DeleteOptions, EventRecorder, Patch, Store, controller::Action, events::EventType,
};
use component_base::clock::Clock;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;

use self::judge::{Verdict, judge};
use crate::context::{BY_NODE, Setup, key_of, node_name, tolerate_absence};

const WORKERS: usize = 8;
const REASON: &str = "TaintManagerEviction";

type Scheduled = Arc<Mutex<HashMap<ObjectKey, Departure>>>;

/// That a pod is to go later.
#[derive(Clone)]
struct Departure {
    uid: Option<String>,
    /// Since when that is known.
    noticed: Timestamp,
    until: Timestamp,
    /// `until` on the monotonic clock: a wall clock that is set meanwhile gives a pod neither more time nor less.
    due: Duration,
}

#[derive(Clone)]
struct Evictor {
    client: Client,
    clock: Clock,
    recorder: EventRecorder,
    nodes: Store<Node>,
    pods: Store<Pod>,
    /// Pods that are to go later.
    scheduled: Scheduled,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = setup.queue::<ObjectKey>();
    let evictor = Evictor {
        client: setup.client.with_field_manager("kube-controller-manager"),
        clock: setup.clock.clone(),
        recorder: setup.recorder("taint-eviction-controller"),
        nodes: setup.informers.store(),
        pods: setup.informers.indexed(BY_NODE, node_name),
        scheduled: Arc::default(),
    };
    let (keys, pods) = (queue.clone(), evictor.pods.clone());
    setup.informers.on_change::<Node, _>(move |delta| {
        let (old, new) = delta.old_and_new();
        let taints =
            |node: Option<&Arc<Node>>| node.map(|n| n.spec.taints.clone()).unwrap_or_default();
        if taints(old) != taints(new) {
            let name = delta.object().metadata.name.as_deref().unwrap_or_default();
            for pod in pods.by_index(BY_NODE, name) {
                keys.add(key_of(&pod.metadata));
            }
        }
    });
    let (keys, nodes, scheduled) =
        (queue.clone(), evictor.nodes.clone(), evictor.scheduled.clone());
    setup.informers.on_change::<Pod, _>(move |delta| {
        let pod = delta.object();
        let key = key_of(&pod.metadata);
        let Some(name) = pod.spec.node_name.clone() else { return };
        let tainted = nodes
            .get(&ObjectKey { namespace: String::new(), name })
            .is_some_and(|n| n.spec.taints.iter().any(|t| t.effect == "NoExecute"));
        if tainted || scheduled.lock().contains_key(&key) {
            keys.add(key);
        }
    });
    let stores = evictor.clone();
    let synced = async move {
        stores.nodes.synced().await;
        stores.pods.synced().await;
    };
    setup.run("taint eviction", &queue, WORKERS, synced, move |key| {
        let evictor = evictor.clone();
        async move { evictor.reconcile(&key).await }
    });
}

impl Evictor {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let pod = self.pods.get(key).filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let node = pod.as_ref().and_then(|pod| {
            let name = pod.spec.node_name.clone()?;
            self.nodes.get(&ObjectKey { namespace: String::new(), name })
        });
        let (Some(pod), Some(node)) = (pod, node) else {
            self.scheduled.lock().remove(key);
            return Ok(Action::Done);
        };
        let now = self.clock.now();
        let known = self.scheduled.lock().get(key).cloned();
        let known = known.filter(|departure| departure.uid == pod.metadata.uid);
        let noticed = known.as_ref().map_or(now, |departure| departure.noticed);
        let verdict = judge(&pod.spec.tolerations, &node.spec.taints, noticed);
        if let Verdict::Until(until) = verdict {
            let monotonic = self.clock.monotonic();
            let due = match &known {
                Some(departure) if departure.until == until => departure.due,
                _ => {
                    let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                    monotonic.saturating_add(left)
                }
            };
            if due > monotonic {
                let uid = pod.metadata.uid.clone();
                self.scheduled.lock().insert(key.clone(), Departure { uid, noticed, until, due });
                return Ok(Action::RequeueAfter(due - monotonic));
            }
        }
        self.scheduled.lock().remove(key);
        if known.is_some() && !matches!(verdict, Verdict::Until(_)) {
            // What was to happen later happens now, or never.
            let text = format!("Cancelling deletion of Pod {key}");
            self.recorder.record(&*pod, EventType::Normal, REASON, text);
        }
        if verdict != Verdict::Stay {
            self.evict(key, &pod).await?;
        }
        Ok(Action::Done)
    }

    async fn evict(&self, key: &ObjectKey, pod: &Pod) -> Result<(), Status> {
        let text = format!("Marking for deletion Pod {key}");
        self.recorder.record(pod, EventType::Normal, REASON, text);
        if !is_target(pod) {
            self.mark(key, pod).await?;
        }
        let options = DeleteOptions::uid(pod.metadata.uid.clone().unwrap_or_default());
        tolerate_absence(self.client.delete::<Pod>(&key.namespace, &key.name, &options).await)
    }

    async fn mark(&self, key: &ObjectKey, pod: &Pod) -> Result<(), Status> {
        let condition = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "observedGeneration": pod.metadata.generation,
            "lastTransitionTime": Time(self.clock.now()).truncated(),
        }]}});
        let patched = self
            .client
            .patch::<Pod>(&key.namespace, &key.name, &Patch::Strategic(condition), "status")
            .await;
        tolerate_absence(patched)
    }
}

/// Whether the pod says already why it goes.
fn is_target(pod: &Pod) -> bool {
    pod.status.conditions.iter().any(|c| {
        c.type_ == "DisruptionTarget"
            && c.status == "True"
            && c.reason.as_deref() == Some("DeletionByTaintManager")
    })
}
