//! Brings pods' statuses to the API server: the kubelet's status manager.
//!
//! Each pod has one slot with its newest status. A status that equals what was last sent is not sent again; statuses
//! that come faster than they can be sent are merged. A status is a strategic merge patch under the pod's uid: it
//! names the kubelet's own conditions only, so that nobody else's are touched, and clears fields that are no more.
//! What somebody else wrote into the kubelet's part, as the node lifecycle controller does while a node is silent, is
//! set right again.
//! The statuses of a pod arrive in the order in which they were set: one travels at a time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use apimachinery::{
    api::core::{Pod, PodStatus},
    object::ObjectKey,
    status::Status,
};
use client::{Client, DeleteOptions, Patch, WorkQueue, controller};
use component_base::{clock::Clock, shutdown::Shutdown};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::{memory::Bursts, status::is_own};

/// How many statuses of a process travel at once, over all its nodes, and of each node.
const WORKERS: (usize, usize) = (64, 16);
/// Pauses after a failure: an API server that was away for long is not kept waiting for longer.
const RETRY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(10));

struct Slot {
    key: ObjectKey,
    /// As JSON text, which is a tenth of the size of its tree; empty: not known. Shared with `sent` once it has been sent.
    wanted: Arc<[u8]>,
    sent: Arc<[u8]>,
    /// The version of the object that `sent` is known of.
    version: u64,
}

struct Inner {
    client: Client,
    slots: Mutex<HashMap<String, Slot>>,
    queue: WorkQueue<String>,
    sent: Notify,
    bursts: Bursts,
}

/// The status manager; clones are the same one.
#[derive(Clone)]
pub struct Statuses(Arc<Inner>);

impl Statuses {
    /// Starts sending, as one of so many nodes of the process.
    #[must_use]
    pub(crate) fn start(
        client: Client,
        clock: &Clock,
        shutdown: &Shutdown,
        nodes: usize,
        bursts: Bursts,
    ) -> Self {
        let workers = (WORKERS.0 / nodes.max(1)).clamp(1, WORKERS.1);
        let statuses = Self(Arc::new(Inner {
            client,
            slots: Mutex::default(),
            queue: WorkQueue::with_retry(clock, RETRY.0, RETRY.1),
            sent: Notify::new(),
            bursts,
        }));
        let sender = statuses.clone();
        controller::run(shutdown, "pod status", &statuses.0.queue, workers, move |uid: String| {
            let sender = sender.clone();
            async move { sender.send(&uid).await.map(|()| controller::Action::Done) }
        });
        statuses
    }

    /// The newest status of a pod.
    pub fn set(&self, pod: &Pod, status: &PodStatus) {
        let wanted = own_part(status);
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut slots = self.0.slots.lock();
        let slot = slots.entry(uid.clone()).or_insert_with(|| Slot {
            key: ObjectKey {
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                name: pod.metadata.name.clone().unwrap_or_default(),
            },
            wanted: Arc::default(),
            sent: own_part(&pod.status),
            version: version_of(pod),
        });
        // Somebody else wrote: what the API server has now counts, not what it was sent.
        let foreign = version_of(pod) > slot.version;
        if foreign {
            slot.version = version_of(pod);
            slot.sent = own_part(&pod.status);
        }
        let idle =
            (slot.wanted == wanted && !foreign) || (slot.wanted.is_empty() && slot.sent == wanted);
        // Most of the time they are the same: one text for both.
        slot.wanted = if slot.sent == wanted { slot.sent.clone() } else { wanted };
        if idle {
            return;
        }
        drop(slots);
        self.0.queue.add(uid);
    }

    async fn send(&self, uid: &str) -> Result<(), Status> {
        let Some((key, wanted, patch, before)) = self.next(uid) else { return Ok(()) };
        let patched = self
            .0
            .client
            .patch::<Pod>(&key.namespace, &key.name, &Patch::Strategic(patch), "status")
            .await;
        let mut version = before;
        match patched {
            Ok(pod) => version = version_of(&pod),
            // The pod is gone, or another one bears its name.
            Err(status) if status.is_not_found() || status.is_conflict() => {
                tracing::debug!(pod = %key, %status, "its status is not wanted any more");
            }
            // The next attempt may fare better: the server is away, or busy.
            Err(status) if status.code >= 500 || status.code == 429 => return Err(status),
            Err(status) if client::wire::transport_failure(&status).is_some() => {
                return Err(status);
            }
            Err(status) => {
                tracing::warn!(pod = %key, %status, "the API server refuses a pod's status");
            }
        }
        if let Some(slot) = self.0.slots.lock().get_mut(uid) {
            if slot.version == before {
                slot.sent = wanted;
            } else {
                // Something newer was seen meanwhile: it is compared once more.
                self.0.queue.add(uid.to_owned());
            }
            slot.version = slot.version.max(version);
        }
        self.0.sent.notify_waiters();
        self.0.bursts.told();
        Ok(())
    }

    /// Whose status is to be sent, the status, the patch, and the version that it starts from.
    fn next(&self, uid: &str) -> Option<(ObjectKey, Arc<[u8]>, Value, u64)> {
        let slots = self.0.slots.lock();
        let slot = slots.get(uid)?;
        if slot.wanted == slot.sent || slot.wanted.is_empty() {
            return None;
        }
        let patch = json!({"metadata": {"uid": uid}, "status": difference(&tree(&slot.sent), &tree(&slot.wanted))});
        Some((slot.key.clone(), slot.wanted.clone(), patch, slot.version))
    }

    /// Waits until the newest status has been sent.
    pub async fn flush(&self, uid: &str) {
        loop {
            let notified = self.0.sent.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.next(uid).is_none() {
                return;
            }
            notified.await;
        }
    }

    /// Deletes the pod's object for good, trying until the API server answers; false: it was gone.
    pub async fn delete(&self, pod: &Pod, clock: &Clock) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let options =
            DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::uid(uid.clone()) };
        let mut pause = client::Backoff::new(
            std::time::Duration::from_millis(100),
            std::time::Duration::from_secs(10),
        );
        let deleted = loop {
            match self.0.client.delete::<Pod>(namespace, name, &options).await {
                Ok(()) => break true,
                Err(status) if status.is_not_found() || status.is_conflict() => break false,
                Err(status) => {
                    tracing::debug!(pod = name, %status, "cannot delete a pod yet");
                    clock.sleep(pause.next(clock)).await;
                }
            }
        };
        self.0.slots.lock().remove(&uid);
        deleted
    }
}

/// Versions of one object can be compared: the newer one is greater.
fn version_of(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// The part of a status that the kubelet writes.
fn own_part(status: &PodStatus) -> Arc<[u8]> {
    let mut status = status.clone();
    status.conditions.retain(is_own);
    status.nominated_node_name = None;
    serde_json::to_vec(&status).unwrap_or_default().into()
}

/// The tree of a text; null where there is none.
fn tree(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or(Value::Null)
}

/// What turns `old` into `new` at the first level: changed fields whole, vanished ones as null. Conditions are merged
/// one by one, so that each names its vanished reason and message, too.
fn difference(old: &Value, new: &Value) -> Value {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut patch = Map::new();
    for (key, value) in new {
        if old.get(key) != Some(value) {
            patch.insert(key.clone(), value.clone());
        }
    }
    let mut order = Vec::new();
    for condition in patch.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten()
    {
        if let Some(fields) = condition.as_object_mut() {
            order.extend(fields.get("type").map(|type_| json!({"type": type_})));
            for name in ["reason", "message"] {
                fields.entry(name).or_insert(Value::Null);
            }
        }
    }
    if !order.is_empty() {
        patch.insert("$setElementOrder/conditions".into(), order.into());
    }
    // Lists that a patch merges by address must lose the former one.
    for key in ["podIPs", "hostIPs"] {
        if old.contains_key(key)
            && let Some(list) = patch.get_mut(key).and_then(Value::as_array_mut)
        {
            list.push(json!({"$patch": "replace"}));
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_names_what_differs() {
        let check = |old: Value, new: Value, expected: Value| {
            assert_eq!(difference(&old, &new), expected, "{old} to {new}");
        };
        check(
            json!({"phase": "Pending"}),
            json!({"phase": "Running"}),
            json!({"phase": "Running"}),
        );
        check(json!({"a": 1, "b": 2}), json!({"a": 1}), json!({"b": null}));
        check(json!({"a": [1]}), json!({"a": [1]}), json!({}));
        check(
            json!({"podIPs": [{"ip": "a"}]}),
            json!({"podIPs": [{"ip": "b"}]}),
            json!({"podIPs": [{"ip": "b"}, {"$patch": "replace"}]}),
        );
        check(json!({}), json!({"podIPs": [{"ip": "b"}]}), json!({"podIPs": [{"ip": "b"}]}));
        check(
            json!({"conditions": [{"type": "Ready", "reason": "x"}]}),
            json!({"conditions": [{"type": "Ready"}]}),
            json!({"conditions": [{"type": "Ready", "reason": null, "message": null}],
                   "$setElementOrder/conditions": [{"type": "Ready"}]}),
        );
    }

    #[test]
    fn foreign_conditions_are_not_sent() {
        let status: PodStatus = serde_json::from_value(json!({
            "conditions": [{"type": "example.com/lb", "status": "True"}, {"type": "DisruptionTarget", "status": "True"},
                           {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}, {"type": "Ready", "status": "True"}],
            "nominatedNodeName": "n",
        }))
        .unwrap();
        let own = tree(&own_part(&status));
        assert_eq!(own["conditions"].as_array().map(Vec::len), Some(2));
        assert_eq!(own.get("nominatedNodeName"), None);
    }
}
