//! Fields that hold a number or a percentage (`pkg/apis/apps/validation`).

use apimachinery::validation::is_valid_percent;
use serde_json::Value;

use super::at::{At, Errors};

/// A text must be a percentage, a number must not be negative (`ValidatePositiveIntOrPercent`).
pub(crate) fn positive_int_or_percent(field: &At<'_>, errors: &mut Errors) {
    if let Some(Value::String(text)) = field.raw() {
        errors.each(field, is_valid_percent(text));
    } else {
        errors.non_negative(field);
    }
}

/// A percentage must not be more than the whole (`IsNotMoreThan100Percent`).
pub(crate) fn not_more_than_100(field: &At<'_>, errors: &mut Errors) {
    if percent(field).is_some_and(|percent| percent > 100) {
        errors.invalid(field, "must not be greater than 100%");
    }
}

/// The number, or the percentage as a number; what is malformed counts as 0.
pub(crate) fn int_or_percent(field: &At<'_>) -> i64 {
    percent(field).unwrap_or_else(|| field.int())
}

fn percent(field: &At<'_>) -> Option<i64> {
    field.raw()?.as_str()?.strip_suffix('%')?.parse().ok()
}
