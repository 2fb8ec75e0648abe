//! PodDisruptionBudget (policy).
//!
//! Its status is written by two hands: the disruption controller counts, and an eviction takes one from
//! `disruptionsAllowed`.

use apimachinery::{field::FieldError, object::Object, resource, resource::ResourceInfo};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{STATUS, split_status};
use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::{
        at::{At, Errors},
        conditions, labels, percent,
    },
};

const COLUMNS: [Column; 5] = [
    printers::NAME,
    printers::string("Min Available", "How many pods must stay available."),
    printers::string("Max Unavailable", "How many pods may be unavailable."),
    printers::integer("Allowed Disruptions", "How many pods may be disrupted now."),
    printers::AGE,
];
const POLICIES: [&str; 2] = ["AlwaysAllow", "IfHealthyBudget"];
/// Counts that Kubernetes always writes, zero or not; each must not be negative.
const COUNTS: [&str; 4] =
    ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];

/// See the module.
pub(super) struct PodDisruptionBudget;

impl Strategy for PodDisruptionBudget {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::POD_DISRUPTION_BUDGETS
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        if let Some(status) = defaults::child(&mut object.0, "status") {
            for name in COUNTS {
                defaults::set(status, name, 0);
            }
        }
    }

    fn prepare_for_create(&self, _: &StrategyContext<'_>, object: &mut Object) {
        let counts: defaults::Fields =
            COUNTS.into_iter().map(|name| (name.to_owned(), json!(0))).collect();
        object.set(&["status"], counts);
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Object, old: &Object) {
        split_status(ctx.subresource, object, old);
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        check_spec(&At::top(object, "spec"), &mut errors);
        if errors.0.is_empty() {
            meta::check(object, true, meta::path_segment, &mut errors);
        }
        errors.0
    }

    fn validate_update(
        &self,
        ctx: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check_update(object, old, &mut errors);
        if ctx.subresource == STATUS {
            let status = At::top(object, "status");
            conditions::check(&status.get("conditions"), &mut errors);
            for name in COUNTS {
                errors.non_negative(&status.get(name));
            }
        } else {
            check_spec(&At::top(object, "spec"), &mut errors);
        }
        errors.0
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let bound = |name| match object.get(&["spec", name]) {
            Some(Value::String(text)) => Value::from(text.as_str()),
            Some(Value::Number(number)) => number.to_string().into(),
            _ => "N/A".into(),
        };
        vec![
            printers::name(object),
            bound("minAvailable"),
            bound("maxUnavailable"),
            printers::number(object, &["status", "disruptionsAllowed"]),
            printers::age(object, now),
        ]
    }
}

fn check_spec(spec: &At<'_>, errors: &mut Errors) {
    let bounds = ["minAvailable", "maxUnavailable"].map(|name| spec.get(name));
    if bounds.iter().all(At::is_set) {
        errors.invalid(spec, "minAvailable and maxUnavailable cannot be both set");
    }
    for bound in bounds.iter().filter(|bound| bound.is_set()) {
        percent::positive_int_or_percent(bound, errors);
        percent::not_more_than_100(bound, errors);
    }
    labels::selector(&spec.get("selector"), errors);
    errors.one_of_if_set(&spec.get("unhealthyPodEvictionPolicy"), &POLICIES);
}
