//! Lists of `metav1.Condition` (`k8s.io/apimachinery/pkg/apis/meta/v1/validation.ValidateConditions`).

use apimachinery::validation::is_valid_condition_reason;

use super::{
    at::{At, Errors},
    labels,
};

const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32 << 10;

/// Checks a list of conditions.
pub(crate) fn check(conditions: &At<'_>, errors: &mut Errors) {
    for (index, condition) in conditions.items().enumerate() {
        let kind = condition.get("type");
        if conditions.items().take(index).any(|earlier| earlier.str("type") == kind.text()) {
            errors.duplicate(&kind);
        }
        check_one(&condition, errors);
    }
}

fn check_one(condition: &At<'_>, errors: &mut Errors) {
    labels::name(&condition.get("type"), errors);
    let status = condition.get("status");
    if !matches!(status.text(), "False" | "True" | "Unknown") {
        errors.not_supported(&status, &["False", "True", "Unknown"]);
    }
    let generation = condition.get("observedGeneration");
    if generation.int() < 0 {
        errors.invalid(&generation, "must be greater than or equal to zero");
    }
    let transition = condition.get("lastTransitionTime");
    if !transition.is_set() {
        errors.required(&transition, "must be set");
    }
    let reason = condition.get("reason");
    if reason.is_empty() {
        errors.required(&reason, "must be set");
    } else {
        errors.each(&reason, is_valid_condition_reason(reason.text()));
        if reason.len() > MAX_REASON {
            errors.too_long(&reason, MAX_REASON);
        }
    }
    let message = condition.get("message");
    if message.len() > MAX_MESSAGE {
        errors.too_long(&message, MAX_MESSAGE);
    }
}
