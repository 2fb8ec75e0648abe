//! Carries a Deployment's plan out.

use std::{sync::Arc, time::Duration};

use apimachinery::{
    api::{
        apps::{Deployment, ReplicaSet},
        core::Pod,
        meta::OwnerReference,
    },
    labels::Selector,
    object::ObjectKey,
    status::Status,
};
use client::{
    Client, DeleteOptions, EventRecorder, Patch, Store, controller::Action as Next,
    events::EventType, store::Delta,
};
use component_base::clock::Clock;
use serde_json::json;

use super::{
    plan::{Action, Snapshot, plan},
    revision::{REVISION, same_template},
    status::{has_deadline, new_condition, set_condition},
};
use crate::{
    context::{BY_CONTROLLER, Setup, controller_uid, is_terminating, key_of, replace_status},
    controllers::replica_set::plan::controller_of,
};

const WORKERS: usize = 5;
const CREATE_ERROR: &str = "ReplicaSetCreateError";

/// What an action means for those after it.
enum Follow {
    Next,
    /// The ReplicaSet was there already.
    Existed,
    Requeue(Duration),
}

#[derive(Clone)]
struct Reconciler {
    client: Client,
    clock: Clock,
    recorder: EventRecorder,
    deployments: Store<Deployment>,
    replica_sets: Store<ReplicaSet>,
    pods: Store<Pod>,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = setup.queue::<ObjectKey>();
    let reconciler = Reconciler {
        client: setup.client.with_field_manager("kube-controller-manager"),
        clock: setup.clock.clone(),
        recorder: setup.recorder("deployment-controller"),
        deployments: setup.informers.store(),
        replica_sets: setup.informers.indexed(BY_CONTROLLER, controller_uid::<ReplicaSet>),
        pods: setup.informers.indexed(BY_CONTROLLER, controller_uid::<Pod>),
    };
    setup.enqueue_changes::<Deployment>(&queue);

    // A ReplicaSet wakes its owner, old or new; an orphan wakes every Deployment that selects it.
    let (owners, deployments) = (queue.clone(), reconciler.deployments.clone());
    setup.informers.on_change::<ReplicaSet, _>(move |delta| {
        let (old, new) = delta.old_and_new();
        for set in [old, new].into_iter().flatten() {
            let namespace = set.metadata.namespace.clone().unwrap_or_default();
            match controller_of(&set.metadata) {
                Some(owner) if owner.kind == "Deployment" => {
                    owners.add(ObjectKey { namespace, name: owner.name.clone() });
                }
                Some(_) => {}
                None => {
                    for deployment in deployments.list_namespace(&namespace) {
                        let selector =
                            Selector::from_label_selector(Some(&deployment.spec.selector));
                        if selector.is_ok_and(|s| s.matches(&set.metadata.labels)) {
                            owners.add(key_of(&deployment.metadata));
                        }
                    }
                }
            }
        }
    });

    // Recreate waits for the last old pod to be gone.
    let (owners, sets) = (queue.clone(), reconciler.replica_sets.clone());
    setup.informers.on_change::<Pod, _>(move |delta| {
        let Delta::Deleted(pod) = delta else { return };
        let Some(owner) = controller_of(&pod.metadata) else { return };
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let key = ObjectKey { namespace: namespace.clone(), name: owner.name.clone() };
        let set = sets.get(&key).filter(|set| set.metadata.uid.as_ref() == Some(&owner.uid));
        if let Some(above) = set.as_ref().and_then(|set| controller_of(&set.metadata)) {
            owners.add(ObjectKey { namespace, name: above.name.clone() });
        }
    });

    let stores = reconciler.clone();
    let synced = async move {
        stores.deployments.synced().await;
        stores.replica_sets.synced().await;
        stores.pods.synced().await;
    };
    setup.run("deployment", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
}

impl Reconciler {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Status> {
        let Some(deployment) = self.deployments.get(key) else { return Ok(Next::Done) };
        let replica_sets = self.claim(&deployment).await?;
        let pods = replica_sets
            .iter()
            .filter_map(|set| set.metadata.uid.as_deref())
            .flat_map(|uid| self.pods.by_index(BY_CONTROLLER, uid))
            .collect();
        let snapshot =
            Snapshot { deployment: deployment.clone(), replica_sets, pods, now: self.clock.now() };
        let mut next = Next::Done;
        let mut existed = false;
        for action in plan(snapshot) {
            // What was there already was told of when it was made.
            if existed && matches!(action, Action::Event("Normal", "ScalingReplicaSet", _)) {
                continue;
            }
            match self.act(&deployment, action).await? {
                Follow::Next => {}
                Follow::Existed => existed = true,
                Follow::Requeue(delay) => next = Next::RequeueAfter(delay),
            }
        }
        Ok(next)
    }

    /// The ReplicaSets that the Deployment controls; orphans that it selects are adopted, others released.
    async fn claim(&self, deployment: &Deployment) -> Result<Vec<Arc<ReplicaSet>>, Status> {
        let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let Ok(selector) = Selector::from_label_selector(Some(&deployment.spec.selector)) else {
            return Ok(Vec::new());
        };
        let deleting = deployment.metadata.deletion_timestamp.is_some();
        let mut claimed = Vec::new();
        for set in self.replica_sets.list_namespace(namespace) {
            let matches = selector.matches(&set.metadata.labels);
            match controller_of(&set.metadata) {
                Some(owner) if owner.uid != uid => {}
                Some(_) if matches => claimed.push(set),
                Some(_) if !deleting => self.release(&set, uid).await?,
                Some(_) => {}
                None if matches && !deleting && set.metadata.deletion_timestamp.is_none() => {
                    claimed.push(Arc::new(self.adopt(deployment, &set).await?));
                }
                None => {}
            }
        }
        Ok(claimed)
    }

    async fn adopt(&self, deployment: &Deployment, set: &ReplicaSet) -> Result<ReplicaSet, Status> {
        // The cache may be behind: only a Deployment that still lives may adopt.
        let key = key_of(&deployment.metadata);
        let fresh: Deployment = self.client.get(&key.namespace, &key.name).await?;
        if fresh.metadata.uid != deployment.metadata.uid
            || fresh.metadata.deletion_timestamp.is_some()
        {
            return Err(Status::internal(format!("{key} is gone: it adopts nothing")));
        }
        let owner = OwnerReference {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            name: key.name.clone(),
            uid: deployment.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        };
        let patch = json!({"metadata": {"uid": set.metadata.uid, "ownerReferences": [owner]}});
        let own = key_of(&set.metadata);
        self.client.patch(&own.namespace, &own.name, &Patch::Strategic(patch), "").await
    }

    async fn release(&self, set: &ReplicaSet, owner_uid: &str) -> Result<(), Status> {
        let patch = json!({"metadata": {"uid": set.metadata.uid,
            "ownerReferences": [{"$patch": "delete", "uid": owner_uid}]}});
        let own = key_of(&set.metadata);
        let released = self
            .client
            .patch::<ReplicaSet>(&own.namespace, &own.name, &Patch::Strategic(patch), "")
            .await;
        match released {
            Err(status) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn act(&self, deployment: &Deployment, action: Action) -> Result<Follow, Status> {
        match action {
            Action::Create(set) => return self.create(deployment, &set).await,
            Action::Update(set) => {
                let patch = json!({
                    "metadata": {"uid": set.metadata.uid, "annotations": set.metadata.annotations},
                    "spec": {"replicas": set.spec.replicas,
                             "minReadySeconds": set.spec.min_ready_seconds.unwrap_or(0)},
                });
                let own = key_of(&set.metadata);
                self.client
                    .patch::<ReplicaSet>(&own.namespace, &own.name, &Patch::Merge(patch), "")
                    .await?;
            }
            Action::Delete(set) => {
                let own = key_of(&set.metadata);
                let options = DeleteOptions::uid(set.metadata.uid.clone().unwrap_or_default());
                match self.client.delete::<ReplicaSet>(&own.namespace, &own.name, &options).await {
                    Err(status) if !status.is_not_found() => return Err(status),
                    _ => {}
                }
            }
            Action::SetRevision(revision) => {
                let key = key_of(&deployment.metadata);
                let patch = json!({"metadata": {"uid": deployment.metadata.uid,
                    "annotations": {REVISION: revision}}});
                // With the status: so it is nothing that was wished for, and no new generation.
                self.client
                    .patch::<Deployment>(&key.namespace, &key.name, &Patch::Merge(patch), "status")
                    .await?;
            }
            Action::UpdateStatus(status) => {
                if *status != deployment.status {
                    self.write_status(deployment, &json!(status)).await?;
                }
            }
            Action::Event(kind, reason, message) => {
                let kind = if kind == "Normal" { EventType::Normal } else { EventType::Warning };
                self.recorder.record(deployment, kind, reason, message);
            }
            Action::Revise(revised) => {
                let key = key_of(&deployment.metadata);
                let patch = json!([
                    {"op": "test", "path": "/metadata/uid", "value": deployment.metadata.uid},
                    {"op": "test", "path": "/metadata/resourceVersion",
                     "value": deployment.metadata.resource_version},
                    {"op": "add", "path": "/metadata/annotations",
                     "value": revised.metadata.annotations},
                    {"op": "replace", "path": "/spec/template", "value": revised.spec.template},
                ]);
                self.client
                    .patch::<Deployment>(&key.namespace, &key.name, &Patch::Json(patch), "")
                    .await?;
            }
            Action::RequeueAfter(delay) => return Ok(Follow::Requeue(delay)),
        }
        Ok(Follow::Next)
    }

    /// Replaces the status, and nothing else: only the generation seen is claimed as observed, so another writer's
    /// change in between is no harm.
    async fn write_status(
        &self,
        deployment: &Deployment,
        status: &serde_json::Value,
    ) -> Result<(), Status> {
        let key = key_of(&deployment.metadata);
        let patch = replace_status(deployment.metadata.uid.as_deref(), status);
        match self.client.patch::<Deployment>(&key.namespace, &key.name, &patch, "status").await {
            Err(status) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Creates a ReplicaSet. Where the name is taken: our own earlier creation that the cache misses is fine; another
    /// template under the same hash counts as a collision, and the next attempt hashes with the higher count.
    async fn create(&self, deployment: &Deployment, set: &ReplicaSet) -> Result<Follow, Status> {
        let Err(error) = self.client.create(set).await else { return Ok(Follow::Next) };
        if is_terminating(&error) {
            return Err(error);
        }
        if !error.is_already_exists() {
            let message = format!(
                "Failed to create new replica set {:?}: {}",
                set.metadata.name.as_deref().unwrap_or_default(),
                error.message
            );
            if has_deadline(deployment) {
                let mut status = deployment.status.clone();
                let now = self.clock.now();
                let condition =
                    new_condition("Progressing", "False", CREATE_ERROR, message.clone(), now);
                set_condition(&mut status, condition);
                if status != deployment.status {
                    // The error that led here is the one to tell of.
                    drop(self.write_status(deployment, &json!(status)).await);
                }
            }
            self.recorder.record(deployment, EventType::Warning, CREATE_ERROR, message);
            return Err(error);
        }
        let own = key_of(&set.metadata);
        let existing: ReplicaSet = self.client.get(&own.namespace, &own.name).await?;
        let ours = controller_of(&existing.metadata)
            .is_some_and(|o| Some(&o.uid) == deployment.metadata.uid.as_ref());
        let same = existing
            .spec
            .template
            .as_ref()
            .is_some_and(|t| same_template(t, &deployment.spec.template));
        if ours && same {
            return Ok(Follow::Existed);
        }
        let mut status = deployment.status.clone();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.write_status(deployment, &json!(status)).await?;
        Err(error)
    }
}
