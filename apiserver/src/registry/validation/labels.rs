//! Labels and label selectors (`k8s.io/apimachinery/pkg/apis/meta/v1/validation`).

use apimachinery::{
    api::meta::LabelSelector,
    labels::Selector,
    validation::{is_qualified_name, is_valid_label_value},
};
use serde::Deserialize;

use super::at::{At, Errors};

/// A map of labels.
pub(crate) fn check(labels: &At<'_>, errors: &mut Errors) {
    for (key, value) in labels.entries() {
        errors.each_as(labels, key, is_qualified_name(key));
        errors.each_as(labels, value.text(), is_valid_label_value(value.text()));
    }
}

/// The name of one label.
pub(crate) fn name(name: &At<'_>, errors: &mut Errors) {
    errors.each(name, is_qualified_name(name.text()));
}

/// A label selector; an absent one is fine.
pub(crate) fn selector(selector: &At<'_>, errors: &mut Errors) {
    check(&selector.get("matchLabels"), errors);
    for expression in selector.get("matchExpressions").items() {
        requirement(&expression, errors);
    }
}

fn requirement(expression: &At<'_>, errors: &mut Errors) {
    let values = expression.get("values");
    let operator = expression.get("operator");
    match operator.text() {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                errors.forbidden(
                    &values,
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
        }
        _ => errors.invalid(&operator, "not a valid selector operator"),
    }
    name(&expression.get("key"), errors);
    for value in values.items() {
        errors.each(&value, is_valid_label_value(value.text()));
    }
}

/// Whether a selector selects nothing in particular.
pub(crate) fn is_empty(selector: &At<'_>) -> bool {
    selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty()
}

/// Whether a label selector matches a map of labels; none selects nothing.
///
/// # Errors
/// When the selector is broken.
pub(crate) fn matches(selector: &At<'_>, labels: &At<'_>) -> Result<bool, BrokenSelector> {
    let Some(value) = selector.raw() else { return Ok(false) };
    let parsed = LabelSelector::deserialize(value).map_err(|_| BrokenSelector)?;
    let parsed = Selector::from_label_selector(Some(&parsed)).map_err(|_| BrokenSelector)?;
    Ok(labels
        .map()
        .map_or_else(|| parsed.matches(&serde_json::Map::new()), |labels| parsed.matches(labels)))
}

/// A label selector that cannot be read; [`selector`] tells why.
#[derive(Debug)]
pub(crate) struct BrokenSelector;
