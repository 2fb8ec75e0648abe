//! One step of a Deployment, as a pure function.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apimachinery::{
    api::{
        apps::{Deployment, DeploymentStatus, ReplicaSet},
        core::Pod,
    },
    labels::Selector,
};
use jiff::Timestamp;

use super::{revision, rollback, rolling, status};

/// What a sync looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The Deployment.
    pub deployment: Arc<Deployment>,
    /// The ReplicaSets that it controls.
    pub replica_sets: Vec<Arc<ReplicaSet>>,
    /// The pods that those control.
    pub pods: Vec<Arc<Pod>>,
    /// Wall clock.
    pub now: Timestamp,
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Store a new ReplicaSet; where its name is taken by another template, count a collision.
    Create(Box<ReplicaSet>),
    /// Change a ReplicaSet's size, annotations or minReadySeconds to those given.
    Update(Box<ReplicaSet>),
    /// Delete a ReplicaSet of old history.
    Delete(Box<ReplicaSet>),
    /// Write the Deployment's own revision annotation.
    SetRevision(String),
    /// Write the Deployment's template and annotations as these are: a rollback, or its end.
    Revise(Box<Deployment>),
    /// Write the status.
    UpdateStatus(Box<DeploymentStatus>),
    /// Tell the user: type, reason, message.
    Event(&'static str, &'static str, String),
    /// Look again after this long, even if nothing happens.
    RequeueAfter(Duration),
}

/// The working state of one plan: the ReplicaSets as they will be once the actions so far are done.
pub(super) struct Plan {
    pub(super) deployment: Deployment,
    pub(super) new: Option<ReplicaSet>,
    pub(super) old: Vec<ReplicaSet>,
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) now: Timestamp,
    pub(super) actions: Vec<Action>,
}

/// Decides the next step.
#[must_use]
pub fn plan(snapshot: Snapshot) -> Vec<Action> {
    let deployment = (*snapshot.deployment).clone();
    let selector = Selector::from_label_selector(Some(&deployment.spec.selector));
    if selector.as_ref().map_or(true, Selector::is_everything) {
        return refuse_empty_selector(deployment);
    }
    let mut sets: Vec<ReplicaSet> = snapshot.replica_sets.iter().map(|rs| (**rs).clone()).collect();
    sets.sort_by(revision::by_creation);
    let new_name = revision::find_new(&deployment, &sets).and_then(|rs| rs.metadata.name.clone());
    let (new, old): (Vec<_>, Vec<_>) =
        sets.into_iter().partition(|rs| new_name.is_some() && rs.metadata.name == new_name);
    let mut plan = Plan {
        deployment,
        new: new.into_iter().next(),
        old,
        pods: snapshot.pods,
        now: snapshot.now,
        actions: Vec::new(),
    };
    if plan.deployment.metadata.deletion_timestamp.is_some() {
        status::sync_status(&mut plan);
        return plan.actions;
    }
    status::sync_paused_condition(&mut plan);
    let paused = plan.deployment.spec.paused == Some(true);
    let rollback = rollback::wanted(&plan.deployment);
    if let Some(revision) = rollback.filter(|_| !paused) {
        rollback::roll_back(&mut plan, revision);
        return plan.actions;
    }
    if paused || rolling::is_scaling_event(&plan) {
        revision::sync_new(&mut plan, false);
        rolling::scale(&mut plan);
        if paused && rollback.is_none() {
            clean_up_history(&mut plan);
        }
        status::sync_status(&mut plan);
        return plan.actions;
    }
    let strategy = plan.deployment.spec.strategy.as_ref().and_then(|s| s.type_.as_deref());
    if strategy == Some("Recreate") {
        roll_out_recreate(&mut plan);
    } else {
        roll_out_rolling(&mut plan);
    }
    plan.actions
}

fn refuse_empty_selector(deployment: Deployment) -> Vec<Action> {
    let mut actions = vec![Action::Event(
        "Warning",
        "SelectingAll",
        "This deployment is selecting all pods. A non-empty selector is required.".into(),
    )];
    if deployment.status.observed_generation < deployment.metadata.generation {
        let mut status = deployment.status;
        status.observed_generation = deployment.metadata.generation;
        actions.push(Action::UpdateStatus(Box::new(status)));
    }
    actions
}

fn roll_out_rolling(plan: &mut Plan) {
    revision::sync_new(plan, true);
    if !rolling::reconcile_new(plan) && !rolling::reconcile_old(plan) {
        let status = status::calculate(plan);
        if status::complete(&plan.deployment, &status) {
            clean_up_history(plan);
        }
    }
    status::sync_rollout_status(plan);
}

fn roll_out_recreate(plan: &mut Plan) {
    revision::sync_new(plan, false);
    let mut scaled_down = false;
    for at in 0..plan.old.len() {
        scaled_down |= plan.scale_old(at, 0);
    }
    let counted = plan.old.iter().any(|rs| rs.status.replicas > 0);
    if !scaled_down && !counted && !old_pods_running(plan) {
        revision::sync_new(plan, true);
        let desired = plan.desired();
        plan.scale_new(desired);
        let status = status::calculate(plan);
        if status::complete(&plan.deployment, &status) {
            clean_up_history(plan);
        }
    }
    status::sync_rollout_status(plan);
}

/// Whether a pod of an old ReplicaSet has not ended yet; terminating ones count, for they still run.
fn old_pods_running(plan: &Plan) -> bool {
    let new_uid = plan.new.as_ref().and_then(|rs| rs.metadata.uid.as_deref());
    plan.pods.iter().any(|pod| {
        let owner = pod.metadata.owner_references.iter().find(|o| o.controller == Some(true));
        owner.is_some_and(|o| Some(o.uid.as_str()) != new_uid)
            && !matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    })
}

/// Deletes old ReplicaSets beyond `revisionHistoryLimit`: `cleanupDeployment`.
fn clean_up_history(plan: &mut Plan) {
    let Some(limit) = plan.deployment.spec.revision_history_limit else { return };
    let mut alive: Vec<&ReplicaSet> =
        plan.old.iter().filter(|rs| rs.metadata.deletion_timestamp.is_none()).collect();
    let excess = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    alive.sort_by_key(|rs| revision::of(rs));
    let deletions: Vec<Action> = alive
        .into_iter()
        .take(excess)
        .filter(|rs| {
            rs.status.replicas == 0
                && rs.spec.replicas.unwrap_or(1) == 0
                && rs.metadata.generation <= rs.status.observed_generation
        })
        .map(|rs| Action::Delete(Box::new(rs.clone())))
        .collect();
    plan.actions.extend(deletions);
}

impl Plan {
    /// `spec.replicas`.
    pub(super) fn desired(&self) -> i32 {
        self.deployment.spec.replicas.unwrap_or(1)
    }

    /// The Deployment's name.
    pub(super) fn name(&self) -> &str {
        self.deployment.metadata.name.as_deref().unwrap_or_default()
    }

    /// The old ReplicaSets and the new one.
    pub(super) fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.old.iter().chain(&self.new)
    }

    pub(super) fn scale_new(&mut self, replicas: i32) -> bool {
        let Some(mut set) = self.new.take() else { return false };
        let changed = self.scale_set(&mut set, replicas);
        self.new = Some(set);
        changed
    }

    pub(super) fn scale_old(&mut self, at: usize, replicas: i32) -> bool {
        let mut set = self.old[at].clone();
        let changed = self.scale_set(&mut set, replicas);
        self.old[at] = set;
        changed
    }

    /// Sizes a ReplicaSet and notes the Deployment's own size on it, even if only that changes: `scaleReplicaSet`.
    pub(super) fn size_set(&mut self, set: &mut ReplicaSet, replicas: i32) {
        let noted = rolling::note_size(&self.deployment, &mut set.metadata.annotations);
        if noted && set.spec.replicas.unwrap_or(1) == replicas {
            self.actions.push(Action::Update(Box::new(set.clone())));
        } else {
            self.scale_set(set, replicas);
        }
    }

    /// Scales a ReplicaSet, if that changes its size, and notes the Deployment's own size on it:
    /// `scaleReplicaSetAndRecordEvent`.
    fn scale_set(&mut self, set: &mut ReplicaSet, replicas: i32) -> bool {
        let from = set.spec.replicas.unwrap_or(1);
        if from == replicas {
            return false;
        }
        rolling::note_size(&self.deployment, &mut set.metadata.annotations);
        set.spec.replicas = Some(replicas);
        // A set that this very plan creates is stored at its final size.
        let name = set.metadata.name.clone();
        let creation = self.actions.iter_mut().find_map(|action| match action {
            Action::Create(created) if created.metadata.name == name => Some(created),
            _ => None,
        });
        if let Some(created) = creation {
            **created = set.clone();
        } else {
            self.actions.push(Action::Update(Box::new(set.clone())));
        }
        let direction = if from < replicas { "up" } else { "down" };
        let message = format!(
            "Scaled {direction} replica set {} from {from} to {replicas}",
            set.metadata.name.as_deref().unwrap_or_default()
        );
        self.actions.push(Action::Event("Normal", "ScalingReplicaSet", message));
        true
    }
}

/// The annotations of an object.
pub type Annotations = BTreeMap<String, String>;

#[cfg(test)]
mod tests;
