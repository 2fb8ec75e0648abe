//! A budget's status, as a pure function.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apimachinery::{
    api::{
        core::Pod,
        meta::Condition,
        policy::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    int_or_string::IntOrString,
    time::Time,
};
use jiff::{SignedDuration, Timestamp};

/// How long an eviction that was granted counts although the pod is still there: `DeletionTimeout`.
pub const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
/// The condition that tells whether a disruption is allowed.
pub const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";

/// What a sync decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The status, complete.
    pub status: PodDisruptionBudgetStatus,
    /// Pods whose granted eviction has not led to a deletion.
    pub not_deleted: Vec<Arc<Pod>>,
    /// Look again after this long: a granted eviction stops counting.
    pub again: Option<Duration>,
}

/// Whether the number of pods that there should be is asked of the pods' controllers.
#[must_use]
pub fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    budget.spec.max_unavailable.is_some()
        || matches!(budget.spec.min_available, Some(IntOrString::String(_)))
}

/// Works the status out; `scale` is how many pods their controllers want, where [`needs_scale`] says that it counts.
///
/// # Errors
/// A percentage is none.
pub fn plan(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    scale: i32,
    now: Timestamp,
) -> Result<Plan, String> {
    let (expected, desired) = expectation(budget, pods, scale)?;
    let mut plan = Plan::default();
    let mut disrupted = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let Some(granted) = budget.status.disrupted_pods.get(&name) else { continue };
        let due = granted.0.saturating_add(DELETION_TIMEOUT).unwrap_or(Timestamp::MAX);
        if due <= now {
            plan.not_deleted.push(pod.clone());
        } else {
            let left = Duration::try_from(due.duration_since(now)).unwrap_or_default();
            plan.again = Some(plan.again.map_or(left, |again| again.min(left)));
            disrupted.insert(name, *granted);
        }
    }
    let healthy = pods.iter().filter(|pod| is_healthy(pod, &disrupted, now)).count();
    let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    plan.status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: disrupted,
        observed_generation: budget.metadata.generation,
        conditions: budget.status.conditions.clone(),
    };
    let (status, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    set_condition(&mut plan.status, status, reason, String::new(), now);
    Ok(plan)
}

/// The status after a failure: nothing may be disrupted, and why.
#[must_use]
pub fn fail_safe(
    budget: &PodDisruptionBudget,
    message: &str,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone();
    status.disruptions_allowed = Some(0);
    set_condition(&mut status, "False", "SyncFailed", message.to_owned(), now);
    status
}

/// How many pods there should be, and how many of them healthy.
fn expectation(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    scale: i32,
) -> Result<(i32, i32), String> {
    if let Some(most) = &budget.spec.max_unavailable {
        return Ok((scale, (scale - most.scaled_value(scale, true)?).max(0)));
    }
    match &budget.spec.min_available {
        Some(IntOrString::Int(least)) => {
            Ok((i32::try_from(pods.len()).unwrap_or(i32::MAX), *least))
        }
        Some(share) => Ok((scale, share.scaled_value(scale, true)?)),
        None => Ok((0, 0)),
    }
}

/// Whether a pod counts: ready, and neither being deleted nor about to be.
fn is_healthy(pod: &Pod, disrupted: &BTreeMap<String, Time>, now: Timestamp) -> bool {
    let granted = pod.metadata.name.as_ref().and_then(|name| disrupted.get(name));
    let going = granted
        .is_some_and(|at| at.0.saturating_add(DELETION_TIMEOUT).unwrap_or(Timestamp::MAX) > now);
    let ready = pod.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
    ready && !going && pod.metadata.deletion_timestamp.is_none()
}

/// `SetStatusCondition`: the transition time is that of the last change of the status alone.
fn set_condition(
    to: &mut PodDisruptionBudgetStatus,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let mut condition = Condition {
        type_: DISRUPTION_ALLOWED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: to.observed_generation,
        last_transition_time: Some(Time(now).truncated()),
    };
    match to.conditions.iter_mut().find(|c| c.type_ == DISRUPTION_ALLOWED) {
        Some(present) => {
            if present.status == condition.status {
                condition.last_transition_time = present.last_transition_time;
            }
            *present = condition;
        }
        None => to.conditions.push(condition),
    }
}
