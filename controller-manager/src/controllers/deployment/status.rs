//! The Deployment's status: counts, conditions, the progress deadline.

use std::time::Duration;

use apimachinery::{
    api::apps::{Deployment, DeploymentCondition, DeploymentStatus},
    time::Time,
};
use jiff::Timestamp;

use super::{
    plan::{Action, Plan},
    revision, rolling,
};

/// A deadline of this many seconds means none.
const NO_DEADLINE: i32 = i32::MAX;

/// Whether the Deployment has a progress deadline.
pub(super) fn has_deadline(deployment: &Deployment) -> bool {
    deployment.spec.progress_deadline_seconds.is_some_and(|s| s != NO_DEADLINE)
}

/// A condition as of now.
pub(super) fn new_condition(
    type_: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(Time(now).truncated()),
        last_transition_time: Some(Time(now).truncated()),
    }
}

/// Finds a condition.
pub(super) fn condition<'a>(
    status: &'a DeploymentStatus,
    type_: &str,
) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().find(|c| c.type_ == type_)
}

/// Sets a condition; one with the same status and reason stays as it was, one with the same status keeps its
/// transition time: `SetDeploymentCondition`.
pub(super) fn set_condition(status: &mut DeploymentStatus, mut new: DeploymentCondition) {
    if let Some(current) = condition(status, &new.type_) {
        if current.status == new.status && current.reason == new.reason {
            return;
        }
        if current.status == new.status {
            new.last_transition_time.clone_from(&current.last_transition_time);
        }
    }
    remove_condition(status, &new.type_);
    status.conditions.push(new);
}

fn remove_condition(status: &mut DeploymentStatus, type_: &str) {
    status.conditions.retain(|c| c.type_ != type_);
}

/// Notes pause and resumption, so that the time of a pause does not count against the deadline.
pub(super) fn sync_paused_condition(plan: &mut Plan) {
    if !has_deadline(&plan.deployment) {
        return;
    }
    let current = condition(&plan.deployment.status, "Progressing");
    let reason = current.and_then(|c| c.reason.as_deref());
    if reason == Some("ProgressDeadlineExceeded") {
        return;
    }
    let was_paused = reason == Some("DeploymentPaused");
    let (reason, message) = match (plan.deployment.spec.paused == Some(true), was_paused) {
        (true, false) => ("DeploymentPaused", "Deployment is paused"),
        (false, true) => ("DeploymentResumed", "Deployment is resumed"),
        _ => return,
    };
    let condition = new_condition("Progressing", "Unknown", reason, message.into(), plan.now);
    set_condition(&mut plan.deployment.status, condition);
}

/// The counts, and whether the Deployment is available: `calculateStatus`.
pub(super) fn calculate(plan: &Plan) -> DeploymentStatus {
    let sum = |of: fn(&apimachinery::api::apps::ReplicaSetStatus) -> i32| -> i32 {
        plan.all().map(|rs| of(&rs.status)).sum()
    };
    let total: i32 = plan.all().map(|rs| rs.spec.replicas.unwrap_or(1)).sum();
    let available = sum(|s| s.available_replicas.unwrap_or(0));
    let count = |n: i32| (n != 0).then_some(n);
    let mut status = DeploymentStatus {
        observed_generation: plan.deployment.metadata.generation,
        replicas: count(sum(|s| s.replicas)),
        updated_replicas: count(plan.new.as_ref().map_or(0, |rs| rs.status.replicas)),
        ready_replicas: count(sum(|s| s.ready_replicas.unwrap_or(0))),
        available_replicas: count(available),
        unavailable_replicas: count((total - available).max(0)),
        collision_count: plan.deployment.status.collision_count,
        terminating_replicas: plan
            .all()
            .map(|rs| rs.status.terminating_replicas)
            .try_fold(0, |sum, count| Some(sum + count?)),
        conditions: plan.deployment.status.conditions.clone(),
    };
    let enough = plan.desired() - rolling::max_unavailable(&plan.deployment);
    let condition = if available >= enough {
        new_condition(
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.".into(),
            plan.now,
        )
    } else {
        new_condition(
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.".into(),
            plan.now,
        )
    };
    set_condition(&mut status, condition);
    status
}

/// Whether the rollout is done: all pods are of the new template and available.
#[must_use]
pub fn complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let desired = deployment.spec.replicas.unwrap_or(1);
    status.updated_replicas.unwrap_or(0) == desired
        && status.replicas.unwrap_or(0) == desired
        && status.available_replicas.unwrap_or(0) == desired
        && status.observed_generation >= deployment.metadata.generation
}

fn progressing(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let of = |n: Option<i32>| n.unwrap_or(0);
    let outdated = |s: &DeploymentStatus| of(s.replicas) - of(s.updated_replicas);
    of(new.updated_replicas) > of(old.updated_replicas)
        || outdated(new) < outdated(old)
        || of(new.ready_replicas) > of(old.ready_replicas)
        || of(new.available_replicas) > of(old.available_replicas)
}

/// Writes the counts; outside a rollout the Progressing condition stays.
pub(super) fn sync_status(plan: &mut Plan) {
    let status = calculate(plan);
    write(plan, status);
}

/// The counts and how the rollout goes: `syncRolloutStatus`.
pub(super) fn sync_rollout_status(plan: &mut Plan) {
    let mut status = calculate(plan);
    if !has_deadline(&plan.deployment) {
        remove_condition(&mut status, "Progressing");
        move_replica_failure(plan, &mut status);
        write(plan, status);
        return;
    }
    let current = condition(&plan.deployment.status, "Progressing").cloned();
    let reason = current.as_ref().and_then(|c| c.reason.as_deref());
    let done_before =
        status.replicas == status.updated_replicas && reason == Some("NewReplicaSetAvailable");
    if !done_before {
        let subject = match &plan.new {
            Some(rs) => {
                format!("ReplicaSet {:?}", rs.metadata.name.as_deref().unwrap_or_default())
            }
            None => format!("Deployment {:?}", plan.name()),
        };
        let now = plan.now;
        if complete(&plan.deployment, &status) {
            let message = format!("{subject} has successfully progressed.");
            set_condition(
                &mut status,
                new_condition("Progressing", "True", "NewReplicaSetAvailable", message, now),
            );
        } else if progressing(&plan.deployment.status, &status) {
            let message = format!("{subject} is progressing.");
            let mut new = new_condition("Progressing", "True", "ReplicaSetUpdated", message, now);
            if let Some(current) = current.as_ref().filter(|c| c.status == "True") {
                new.last_transition_time.clone_from(&current.last_transition_time);
            }
            remove_condition(&mut status, "Progressing");
            status.conditions.push(new);
        } else if timed_out(plan, &status) {
            let message = format!("{subject} has timed out progressing.");
            set_condition(
                &mut status,
                new_condition("Progressing", "False", "ProgressDeadlineExceeded", message, now),
            );
        }
    }
    move_replica_failure(plan, &mut status);
    requeue_before_deadline(plan, &status);
    write(plan, status);
}

/// A failure to create pods shows on the Deployment as well.
fn move_replica_failure(plan: &Plan, status: &mut DeploymentStatus) {
    let failure = plan
        .new
        .iter()
        .chain(&plan.old)
        .flat_map(|rs| &rs.status.conditions)
        .find(|c| c.type_ == "ReplicaFailure");
    if let Some(failure) = failure {
        let mut condition = new_condition(
            "ReplicaFailure",
            &failure.status,
            failure.reason.as_deref().unwrap_or_default(),
            failure.message.clone().unwrap_or_default(),
            plan.now,
        );
        condition.last_transition_time.clone_from(&failure.last_transition_time);
        condition.last_update_time.clone_from(&failure.last_transition_time);
        set_condition(status, condition);
    } else {
        remove_condition(status, "ReplicaFailure");
    }
}

fn timed_out(plan: &Plan, status: &DeploymentStatus) -> bool {
    let Some(current) = condition(status, "Progressing") else { return false };
    match current.reason.as_deref() {
        Some("NewReplicaSetAvailable") => false,
        Some("ProgressDeadlineExceeded") => true,
        _ => {
            let deadline = i64::from(plan.deployment.spec.progress_deadline_seconds.unwrap_or(600));
            let since = revision::seconds(current.last_update_time.as_ref());
            since.saturating_add(deadline) < plan.now.as_second()
        }
    }
}

/// A rollout that stands still must be looked at again when its deadline passes: `requeueStuckDeployment`.
fn requeue_before_deadline(plan: &mut Plan, status: &DeploymentStatus) {
    let Some(current) = condition(status, "Progressing") else { return };
    let settled = current.reason.as_deref() == Some("ProgressDeadlineExceeded");
    if !has_deadline(&plan.deployment) || settled || complete(&plan.deployment, status) {
        return;
    }
    let deadline = i64::from(plan.deployment.spec.progress_deadline_seconds.unwrap_or(600));
    let since = revision::seconds(current.last_update_time.as_ref());
    let left = since.saturating_add(deadline).saturating_sub(plan.now.as_second());
    let left = Duration::from_secs(u64::try_from(left).unwrap_or(0) + 1);
    plan.actions.push(Action::RequeueAfter(left));
}

fn write(plan: &mut Plan, status: DeploymentStatus) {
    plan.actions.push(Action::UpdateStatus(Box::new(status)));
}
