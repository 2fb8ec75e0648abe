//! Evicting a pod: a deletion that its PodDisruptionBudget may forbid (`pkg/registry/core/pod/storage/eviction.go`).
//!
//! Here is what is decided; the handler's `evict` reads and writes.
//!
//! 1. A pod that is over, not yet running or already being deleted disrupts nobody: it is deleted ([`ignores_budgets`]).
//! 2. More than one budget is an error, none a permission.
//! 3. A pod that is not ready may go when its budget says `AlwaysAllow`, or when enough others are healthy
//!    ([`allows_unhealthy`]).
//! 4. Else the budget must have a disruption left; the eviction takes it and notes the pod in `disruptedPods`, so that
//!    the disruption controller does not count it as available while it goes ([`take`]).
//!
//! Before it is deleted the pod gets the condition `DisruptionTarget`, so that controllers know why it went.

use apimachinery::{
    object::Object,
    resource::ResourceInfo,
    status::{Status, StatusCause, StatusReason},
    time::Time,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    conditions,
    validation::{at::At, labels},
};
use crate::request::{Preconditions, pseudo_resource};

/// A budget with more evictions under way than this takes no more.
const MAX_DISRUPTED_PODS: usize = 2000;
/// Seconds until a budget that is being counted anew may be asked again.
const PROCESSING_RETRY: i32 = 10;
const VIOLATION: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";

/// How errors about budgets name them.
static BUDGET: ResourceInfo =
    pseudo_resource("policy", "PodDisruptionBudget", "poddisruptionbudget");
/// How a failed precondition names the resource.
static POD: ResourceInfo = pseudo_resource("", "Pod", "Pod");

/// Whether the pod may go whatever a budget says.
pub(crate) fn ignores_budgets(pod: &Object) -> bool {
    pod.get_str(&["status", "phase"]) == "Pending" || is_over(pod)
}

/// Whether the pod has ended or is about to.
pub(crate) fn is_over(pod: &Object) -> bool {
    matches!(pod.get_str(&["status", "phase"]), "Succeeded" | "Failed")
        || pod.deletion_timestamp().is_some()
}

/// Whether a budget of the pod's namespace is about this pod.
pub(crate) fn guards(budget: &Object, pod: &Object) -> bool {
    let (metadata, spec) = (At::top(pod, "metadata"), At::top(budget, "spec"));
    let pod_labels = metadata.get("labels");
    // A broken selector selects nothing, an empty one every pod.
    labels::matches(&spec.get("selector"), &pod_labels).unwrap_or(false)
}

/// The pod has more than one budget.
pub(crate) fn several_budgets() -> Status {
    Status {
        code: 500,
        reason: StatusReason::Unknown,
        message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            .into(),
        ..Status::default()
    }
}

/// Whether a pod that is not ready may go without being counted.
pub(crate) fn allows_unhealthy(budget: &Object, pod: &Object) -> bool {
    let ready = pod
        .get_list(&["status", "conditions"])
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    if ready {
        return false;
    }
    if budget.get_str(&["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow" {
        return true;
    }
    let desired = count(budget, "desiredHealthy");
    desired > 0 && count(budget, "currentHealthy") >= desired
}

/// Takes one disruption from a budget for this pod.
///
/// # Errors
/// Too many requests, when there is none left or the budget has changed since it was counted.
pub(crate) fn take(budget: &mut Object, pod: &str, now: Timestamp) -> Result<(), Status> {
    if count(budget, "observedGeneration") < budget.generation() {
        return Err(being_processed(budget.name()));
    }
    let left = count(budget, "disruptionsAllowed");
    if left < 0 {
        return Err(Status::forbidden(
            &BUDGET,
            budget.name(),
            "pdb disruptions allowed is negative",
        ));
    }
    let under_way = budget.get(&["status", "disruptedPods"]).and_then(Value::as_object);
    if under_way.is_some_and(|pods| pods.len() > MAX_DISRUPTED_PODS) {
        return Err(Status::forbidden(
            &BUDGET,
            budget.name(),
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if left == 0 {
        return Err(violation(0, why_none_is_left(budget)));
    }
    budget.set(&["status", "disruptionsAllowed"], left - 1);
    if left == 1 {
        let mut condition = json!({
            "type": DISRUPTION_ALLOWED, "status": "False", "reason": "InsufficientPods", "message": "",
        });
        let generation = count(budget, "observedGeneration");
        if generation > 0 {
            condition["observedGeneration"] = generation.into();
        }
        conditions::set(budget, condition, now);
    }
    budget.set(&["status", "disruptedPods", pod], Time(now).truncated().to_string());
    Ok(())
}

/// The budget's counts are out of date: its controller has yet to see what changed.
pub(crate) fn being_processed(budget: &str) -> Status {
    violation(
        PROCESSING_RETRY,
        format!("The disruption budget {budget} is still being processed by the server."),
    )
}

/// Marks a pod as the target of an eviction, if it still is the pod that is meant; returns whether anything changed.
///
/// # Errors
/// A conflict when a precondition fails.
pub(crate) fn mark(
    pod: &mut Object,
    preconditions: &Preconditions,
    now: Timestamp,
) -> Result<bool, Status> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(uid) = given(&preconditions.uid).filter(|uid| uid != pod.uid()) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            pod.uid()
        );
        return Err(Status::conflict(&POD, pod.name(), why));
    }
    let version = given(&preconditions.resource_version);
    if let Some(version) = version.filter(|version| version != pod.resource_version()) {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            pod.resource_version()
        );
        return Err(Status::conflict(&POD, pod.name(), why));
    }
    let why = Some(("EvictionByEvictionAPI", "Eviction API: evicting"));
    Ok(conditions::set_pod_true(pod, "DisruptionTarget", why, now))
}

fn count(budget: &Object, field: &str) -> i64 {
    budget.get_i64(&["status", field]).unwrap_or_default()
}

fn why_none_is_left(budget: &Object) -> String {
    let name = budget.name();
    let failed = budget.get_list(&["status", "conditions"]).iter().find(|condition| {
        condition["type"] == DISRUPTION_ALLOWED
            && condition["status"] == "False"
            && condition["reason"] == "SyncFailed"
    });
    match failed {
        Some(condition) => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
            condition["message"].as_str().unwrap_or_default()
        ),
        None => format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            count(budget, "desiredHealthy"),
            count(budget, "currentHealthy")
        ),
    }
}

fn violation(retry_after: i32, message: String) -> Status {
    let mut status = Status::too_many_requests(VIOLATION, retry_after);
    status.details.get_or_insert_default().causes.push(StatusCause {
        reason: "DisruptionBudget".into(),
        message,
        field: String::new(),
    });
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_guards_what_it_selects() {
        let check = |selector: Value, pod_labels: Value, expected: bool| {
            let budget = Object::from_value(json!({"spec": {"selector": selector}})).unwrap();
            let pod = Object::from_value(json!({"metadata": {"labels": pod_labels}})).unwrap();
            assert_eq!(guards(&budget, &pod), expected, "{selector} {pod_labels}");
        };
        let web = json!({"matchLabels": {"app": "web"}});
        check(web.clone(), json!({"app": "web", "tier": "x"}), true);
        check(web.clone(), json!({"app": "db"}), false);
        check(web, json!(null), false);
        check(json!({}), json!({"app": "web"}), true);
        check(json!({}), json!(null), true);
        check(json!(null), json!({"app": "web"}), false);
        let broken = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
        check(broken, json!({"a": "b"}), false);
    }
}
