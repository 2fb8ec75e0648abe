//! Takes back the `DisruptionTarget` condition of pods that nobody deleted after all.

use std::time::Duration;

use apimachinery::{api::core::Pod, object::ObjectKey, status::Status, time::Time};
use client::{Client, Patch, Store, controller::Action};
use component_base::clock::Clock;
use jiff::Timestamp;
use serde_json::json;

use crate::context::{Setup, key_of};

const WORKERS: usize = 1;
/// How long a pod may be a target without being deleted: `stalePodDisruptionTimeout`.
const TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Clone)]
struct Cleaner {
    client: Client,
    clock: Clock,
    pods: Store<Pod>,
}

/// Sets the cleaner up.
pub(super) fn start(setup: &mut Setup<'_>) {
    let queue = setup.queue::<ObjectKey>();
    let cleaner = Cleaner {
        client: setup.client.with_field_manager("DisruptionController"),
        clock: setup.clock.clone(),
        pods: setup.informers.store(),
    };
    let (keys, clock) = (queue.clone(), setup.clock.clone());
    setup.informers.on_change::<Pod, _>(move |delta| {
        let (_, Some(pod)) = delta.old_and_new() else { return };
        if let Some(left) = stale_in(pod, clock.now()) {
            keys.add_after(key_of(&pod.metadata), left);
        }
    });
    let pods = cleaner.pods.clone();
    let synced = async move { pods.synced().await };
    setup.run("stale-pod-disruption", &queue, WORKERS, synced, move |key| {
        let cleaner = cleaner.clone();
        async move { cleaner.clean(&key).await }
    });
}

/// When a pod's condition is stale; None: it has none that could be.
fn stale_in(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if pod.metadata.deletion_timestamp.is_some() || ended {
        return None;
    }
    let mut conditions = pod.status.conditions.iter();
    let target = conditions.find(|c| c.type_ == "DisruptionTarget" && c.status == "True")?;
    // The kubelet takes its time between the condition and the end.
    if target.reason.as_deref() == Some("TerminationByKubelet") {
        return None;
    }
    let since = target.last_transition_time.unwrap_or_default().0;
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Some(TIMEOUT.saturating_sub(passed))
}

impl Cleaner {
    async fn clean(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(pod) = self.pods.get(key) else { return Ok(Action::Done) };
        match stale_in(&pod, self.clock.now()) {
            None => return Ok(Action::Done),
            Some(left) if !left.is_zero() => return Ok(Action::RequeueAfter(left)),
            Some(_) => {}
        }
        let patch = Patch::Strategic(json!({
            "metadata": {"uid": pod.metadata.uid},
            "status": {"conditions": [{
                "type": "DisruptionTarget", "status": "False",
                "lastTransitionTime": Time(self.clock.now()).truncated(),
            }]},
        }));
        match self.client.patch::<Pod>(&key.namespace, &key.name, &patch, "status").await {
            Err(status) if status.is_not_found() => Ok(Action::Done),
            patched => patched.map(|_| Action::Done),
        }
    }
}
