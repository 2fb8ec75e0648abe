//! Rolling back to an earlier revision at the wish of an annotation, as clients of long ago express it. `kubectl rollout
//! undo` patches the template instead, which needs nothing here.

use apimachinery::api::apps::{Deployment, ReplicaSet};

use super::{
    plan::{Action, Plan},
    revision::{self, same_template},
};

/// The annotation with the revision to go back to; 0 is the one before the present.
pub(super) const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";

/// The revision that the annotation asks for.
pub(super) fn wanted(deployment: &Deployment) -> Option<i64> {
    deployment.metadata.annotations.get(ROLLBACK_TO)?.parse().ok()
}

/// Takes the template of that revision over and the annotation away: `rollback`.
pub(super) fn roll_back(plan: &mut Plan, revision: i64) {
    revision::sync_new(plan, true);
    let revision = if revision == 0 { last(plan) } else { Some(revision) };
    let Some(revision) = revision else {
        return give_up(plan, "Unable to find last revision.");
    };
    let found = plan.all().find(|set| revision::of(set) == revision).cloned();
    let Some(set) = found else {
        return give_up(plan, "Unable to find the revision to rollback to.");
    };
    let name = plan.name().to_owned();
    let mut deployment = plan.deployment.clone();
    deployment.metadata.annotations.remove(ROLLBACK_TO);
    let template = set.spec.template.clone().unwrap_or_default();
    if same_template(&template, &deployment.spec.template) {
        let message = format!(
            "The rollback revision contains the same template as current deployment {name:?}"
        );
        warn(plan, "DeploymentRollbackTemplateUnchanged", message);
        plan.actions.push(Action::Revise(Box::new(deployment)));
        return;
    }
    deployment.spec.template = template;
    deployment.spec.template.metadata.labels.remove(revision::HASH_LABEL);
    take_annotations(&mut deployment, &set);
    plan.actions.push(Action::Revise(Box::new(deployment)));
    let message = format!("Rolled back deployment {name:?} to revision {revision}");
    plan.actions.push(Action::Event("Normal", "DeploymentRollback", message));
}

/// The second highest revision: `LastRevision`.
fn last(plan: &Plan) -> Option<i64> {
    let mut revisions: Vec<i64> = plan.all().map(revision::of).collect();
    revisions.sort_unstable();
    revisions.pop();
    revisions.pop().filter(|revision| *revision > 0)
}

/// The Deployment's annotations become the ReplicaSet's, but for those that each keeps for itself:
/// `SetDeploymentAnnotationsTo`.
fn take_annotations(deployment: &mut Deployment, set: &ReplicaSet) {
    let own = |key: &str| revision::OWN_ANNOTATIONS.contains(&key);
    let annotations = &mut deployment.metadata.annotations;
    annotations.retain(|key, _| own(key));
    let others = set.metadata.annotations.iter().filter(|(key, _)| !own(key));
    annotations.extend(others.map(|(key, value)| (key.clone(), value.clone())));
}

fn give_up(plan: &mut Plan, message: &str) {
    warn(plan, "DeploymentRollbackRevisionNotFound", message.to_owned());
    let mut deployment = plan.deployment.clone();
    deployment.metadata.annotations.remove(ROLLBACK_TO);
    plan.actions.push(Action::Revise(Box::new(deployment)));
}

fn warn(plan: &mut Plan, reason: &'static str, message: String) {
    plan.actions.push(Action::Event("Warning", reason, message));
}
