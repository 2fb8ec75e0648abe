//! Carries a ReplicaSet's plan out.

use std::sync::Arc;

use apimachinery::{
    api::{
        Resource,
        apps::{ReplicaSet, ReplicaSetStatus},
        core::Pod,
    },
    labels::Selector,
    object::ObjectKey,
    status::Status,
};
use client::{
    Client, DeleteOptions, EventRecorder, Patch, Store, controller::Action, events::EventType,
    store::Delta,
};
use component_base::clock::Clock;
use futures::future::join_all;
use serde_json::json;

use super::plan::{Snapshot, controller_of, new_pod, plan, status};
use crate::{
    context::{BY_CONTROLLER, Setup, controller_uid, is_terminating, key_of, replace_status},
    expectations::Expectations,
};

const WORKERS: usize = 5;
/// The first batch of creations: `SlowStartInitialBatchSize`.
const FIRST_BATCH: usize = 1;

#[derive(Clone)]
struct Reconciler {
    client: Client,
    clock: Clock,
    recorder: EventRecorder,
    sets: Store<ReplicaSet>,
    pods: Store<Pod>,
    expectations: Arc<Expectations>,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = setup.queue::<ObjectKey>();
    let reconciler = Reconciler {
        client: setup.client.with_field_manager("kube-controller-manager"),
        clock: setup.clock.clone(),
        recorder: setup.recorder("replicaset-controller"),
        sets: setup.informers.indexed(BY_CONTROLLER, controller_uid::<ReplicaSet>),
        pods: setup.informers.indexed(BY_CONTROLLER, controller_uid::<Pod>),
        expectations: Arc::default(),
    };
    let (keys, expectations) = (queue.clone(), reconciler.expectations.clone());
    setup.informers.on_change::<ReplicaSet, _>(move |delta| {
        let key = key_of(delta.object().metadata());
        if matches!(delta, Delta::Deleted(_)) {
            expectations.forget(&key);
        }
        keys.add(key);
    });
    let (keys, expectations, sets) =
        (queue.clone(), reconciler.expectations.clone(), reconciler.sets.clone());
    setup.informers.on_change::<Pod, _>(move |delta| {
        on_pod(delta, &sets, &expectations, &|key| keys.add(key));
    });
    let stores = reconciler.clone();
    let synced = async move {
        stores.sets.synced().await;
        stores.pods.synced().await;
    };
    setup.run("replicaset", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
}

/// Ticks expectations off, and wakes the owner, or whoever could adopt an orphan.
fn on_pod(
    delta: &Delta<Pod>,
    sets: &Store<ReplicaSet>,
    expectations: &Expectations,
    wake: &dyn Fn(ObjectKey),
) {
    let (old, new) = delta.old_and_new();
    let owner = |pod: &Pod| {
        let owner = controller_of(&pod.metadata).filter(|o| o.kind == "ReplicaSet")?;
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        Some(ObjectKey { namespace, name: owner.name.clone() })
    };
    let (was, is) = (old.and_then(|p| owner(p)), new.and_then(|p| owner(p)));
    let going = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
    // One that is on its way out when it is first seen is no creation that anybody waits for.
    if let (None, Some(key)) = (&old, &is)
        && new.is_some_and(|pod| !going(pod))
    {
        expectations.created(key, 1);
    }
    let ended = new.is_none_or(|p| going(p));
    if let (Some(pod), Some(key)) = (new.or(old), was.as_ref().or(is.as_ref()))
        && ended
    {
        expectations.deleted(key, pod.metadata.uid.as_deref().unwrap_or_default());
    }
    if was.is_some() && was != is {
        was.into_iter().for_each(wake);
    }
    match (is, new) {
        (Some(key), _) => wake(key),
        (None, Some(pod)) if controller_of(&pod.metadata).is_none() => {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            for set in sets.list_namespace(namespace) {
                let selector = Selector::from_label_selector(Some(&set.spec.selector));
                if selector.is_ok_and(|s| !s.is_everything() && s.matches(&pod.metadata.labels)) {
                    wake(key_of(&set.metadata));
                }
            }
        }
        _ => {}
    }
}

impl Reconciler {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(set) = self.sets.get(key) else { return Ok(Action::Done) };
        let snapshot = Snapshot {
            pods: self.candidates(&set),
            related: self.related(&set),
            settled: self.expectations.met(key, self.clock.monotonic()),
            now: self.clock.now(),
            set: set.clone(),
        };
        let plan = plan(&snapshot);
        if !plan.adopt.is_empty() {
            self.may_adopt(key, &set).await?;
        }
        for pod in &plan.adopt {
            self.adopt(&set, pod).await?;
        }
        for pod in &plan.release {
            self.release(&set, pod).await?;
        }
        let outcome = self.manage(key, &set, plan.create, &plan.delete).await;
        let failure = match (&outcome, plan.create > 0) {
            (Err(status), true) => Some(("FailedCreate", status.message.clone())),
            (Err(status), false) => Some(("FailedDelete", status.message.clone())),
            (Ok(()), _) => None,
        };
        let wanted = status(&set, &plan.claimed, plan.terminating, failure, self.clock.now());
        self.write_status(&set, &wanted).await?;
        outcome?;
        Ok(plan.requeue_after.map_or(Action::Done, Action::RequeueAfter))
    }

    /// The pods that the set controls, and the orphans of its namespace.
    fn candidates(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let mut pods = self.pods.by_index(BY_CONTROLLER, uid);
        pods.extend(
            self.pods
                .list_namespace(namespace)
                .into_iter()
                .filter(|pod| controller_of(&pod.metadata).is_none()),
        );
        pods
    }

    /// The pods of all ReplicaSets with the same owner; a set without an owner has no relatives, not even itself.
    fn related(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let Some(owner) = controller_of(&set.metadata) else { return Vec::new() };
        let siblings = self.sets.by_index(BY_CONTROLLER, &owner.uid);
        let uids = siblings.iter().filter_map(|set| set.metadata.uid.as_deref());
        uids.flat_map(|uid| self.pods.by_index(BY_CONTROLLER, uid)).collect()
    }

    /// The cache may be behind: only a set that still lives may adopt, or the pods that its deletion orphaned would be
    /// collected with it.
    async fn may_adopt(&self, key: &ObjectKey, set: &ReplicaSet) -> Result<(), Status> {
        let fresh: ReplicaSet = self.client.get(&key.namespace, &key.name).await?;
        if fresh.metadata.uid != set.metadata.uid || fresh.metadata.deletion_timestamp.is_some() {
            return Err(Status::internal(format!("{key} is gone: it adopts nothing")));
        }
        Ok(())
    }

    async fn adopt(&self, set: &ReplicaSet, pod: &Pod) -> Result<(), Status> {
        let owner = new_pod(set).metadata.owner_references;
        let patch = json!({"metadata": {"uid": pod.metadata.uid, "ownerReferences": owner}});
        self.patch_pod(pod, patch).await
    }

    async fn release(&self, set: &ReplicaSet, pod: &Pod) -> Result<(), Status> {
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let patch = json!({"metadata": {"uid": pod.metadata.uid,
            "ownerReferences": [{"$patch": "delete", "uid": uid}]}});
        self.patch_pod(pod, patch).await
    }

    async fn patch_pod(&self, pod: &Pod, patch: serde_json::Value) -> Result<(), Status> {
        let key = key_of(&pod.metadata);
        let patched =
            self.client.patch::<Pod>(&key.namespace, &key.name, &Patch::Strategic(patch), "").await;
        match patched {
            Err(status) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn manage(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        create: usize,
        delete: &[Arc<Pod>],
    ) -> Result<(), Status> {
        if create > 0 {
            self.expectations.expect(key, create, [], self.clock.monotonic());
            return self.create_pods(key, set, create).await;
        }
        if delete.is_empty() {
            return Ok(());
        }
        let uids = delete.iter().filter_map(|pod| pod.metadata.uid.clone());
        self.expectations.expect(key, 0, uids, self.clock.monotonic());
        let deletions = delete.iter().map(|pod| self.delete_pod(key, set, pod));
        join_all(deletions).await.into_iter().collect()
    }

    /// Creates pods in batches of 1, 2, 4, …; after a failed batch the rest is given up.
    async fn create_pods(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        count: usize,
    ) -> Result<(), Status> {
        let pod = new_pod(set);
        let (mut left, mut batch) = (count, FIRST_BATCH);
        while left > 0 {
            let size = batch.min(left);
            let created = join_all((0..size).map(|_| self.client.create(&pod))).await;
            let mut failure = None;
            for result in created {
                match result {
                    Ok(pod) => {
                        let name = pod.metadata.name.unwrap_or_default();
                        let message = format!("Created pod: {name}");
                        self.recorder.record(set, EventType::Normal, "SuccessfulCreate", message);
                    }
                    Err(status) if is_terminating(&status) => {
                        // The namespace goes, and the set with it: nobody needs to hear of it, and what is expected
                        // stays so, lest it be tried again.
                        return Ok(());
                    }
                    Err(status) => {
                        self.expectations.created(key, 1);
                        let message = format!("Error creating: {}", status.message);
                        self.recorder.record(set, EventType::Warning, "FailedCreate", message);
                        failure = Some(status);
                    }
                }
            }
            left -= size;
            if let Some(status) = failure {
                self.expectations.created(key, left);
                return Err(status);
            }
            batch *= 2;
        }
        Ok(())
    }

    async fn delete_pod(&self, key: &ObjectKey, set: &ReplicaSet, pod: &Pod) -> Result<(), Status> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let own = key_of(&pod.metadata);
        let options = DeleteOptions::uid(uid.clone());
        match self.client.delete::<Pod>(&own.namespace, &own.name, &options).await {
            Ok(()) => {
                let message = format!("Deleted pod: {}", own.name);
                self.recorder.record(set, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(status) => {
                self.expectations.deleted(key, &uid);
                if status.is_not_found() || status.is_conflict() {
                    return Ok(());
                }
                let message = format!("Error deleting: {}", status.message);
                self.recorder.record(set, EventType::Warning, "FailedDelete", message);
                Err(status)
            }
        }
    }

    async fn write_status(
        &self,
        set: &ReplicaSet,
        wanted: &ReplicaSetStatus,
    ) -> Result<(), Status> {
        if *wanted == set.status {
            return Ok(());
        }
        let key = key_of(&set.metadata);
        let patch = replace_status(set.metadata.uid.as_deref(), &json!(wanted));
        match self.client.patch::<ReplicaSet>(&key.namespace, &key.name, &patch, "status").await {
            Err(status) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}
