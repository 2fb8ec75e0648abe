//! Deployment (apps).

use apimachinery::{
    field::FieldError, object::Object, resource, resource::ResourceInfo, status::Status,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{STATUS, split_status, take_metadata, workload};
use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Owned, Strategy, StrategyContext},
    validation::{
        at::{At, Errors, same},
        percent,
    },
    warnings,
};

const COLUMNS: [Column; 8] = [
    printers::NAME,
    printers::string("Ready", "Number of the pod with ready state"),
    printers::string("Up-to-date", "Pods of this deployment that have the desired template."),
    printers::string("Available", "Pods that are ready for at least minReadySeconds."),
    printers::AGE,
    printers::CONTAINERS,
    printers::IMAGES,
    printers::SELECTOR,
];
const COUNTS: [&str; 6] = [
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
];

/// See the module.
pub(super) struct Deployment;

impl Strategy for Deployment {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::DEPLOYMENTS
    }

    fn default(&self, object: &mut Object) {
        workload::default(object);
        let Some(spec) = defaults::child(&mut object.0, "spec") else { return };
        defaults::set(spec, "revisionHistoryLimit", 10);
        defaults::set(spec, "progressDeadlineSeconds", 600);
        let Some(strategy) = defaults::child_or_new(spec, "strategy") else { return };
        defaults::set_zero(strategy, "type", "RollingUpdate");
        if defaults::text(strategy, "type") != "RollingUpdate" {
            return;
        }
        if let Some(rolling) = defaults::child_or_new(strategy, "rollingUpdate") {
            defaults::set(rolling, "maxUnavailable", "25%");
            defaults::set(rolling, "maxSurge", "25%");
        }
    }

    fn prepare_for_create(&self, _: &StrategyContext<'_>, object: &mut Object) {
        object.set(&["status"], json!({}));
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Object, old: &Object) {
        split_status(ctx.subresource, object, old);
        if ctx.subresource == STATUS {
            take_metadata(object, old, "labels");
        }
    }

    fn owned(&self, subresource: &str) -> Owned {
        match subresource {
            STATUS => Owned::Except(&[&["spec"], &["metadata", "labels"]]),
            _ => Owned::Except(&[&["status"]]),
        }
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check(object, true, meta::dns_subdomain, &mut errors);
        check_spec(&At::top(object, "spec"), &mut errors);
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
        let (spec, old_spec) = (At::top(object, "spec"), At::top(old, "spec"));
        if ctx.subresource == STATUS {
            check_status(&At::top(object, "status"), &At::top(old, "status"), &mut errors);
        } else {
            check_spec(&spec, &mut errors);
            errors.immutable(&spec.get("selector"), &old_spec.get("selector"));
        }
        errors.0
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::of_template(object)
    }

    /// Annotations count too: the deployment controller copies them to its ReplicaSets.
    fn generation_changed(&self, object: &Object, old: &Object) -> bool {
        !same(object.get(&["spec"]), old.get(&["spec"]))
            || !same(
                object.get(&["metadata", "annotations"]),
                old.get(&["metadata", "annotations"]),
            )
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let status = |field| object.get_i64(&["status", field]).unwrap_or_default();
        let desired = object.get_i64(&["spec", "replicas"]).unwrap_or_default();
        let mut row = vec![
            printers::name(object),
            format!("{}/{desired}", status("readyReplicas")).into(),
            status("updatedReplicas").into(),
            status("availableReplicas").into(),
            printers::age(object, now),
        ];
        row.extend(printers::workload_tail(object));
        row
    }

    fn to_scale(&self, object: &Object) -> Result<Object, Status> {
        workload::to_scale(object)
    }

    fn from_scale(&self, object: &mut Object, scale: &Object) -> Result<(), Status> {
        workload::from_scale(object, scale)
    }
}

fn check_spec(spec: &At<'_>, errors: &mut Errors) {
    errors.non_negative(&spec.get("replicas"));
    workload::selector(spec, errors);
    workload::template(spec, errors);
    check_strategy(&spec.get("strategy"), errors);
    let min_ready = spec.get("minReadySeconds");
    errors.non_negative(&min_ready);
    errors.non_negative(&spec.get("revisionHistoryLimit"));
    let deadline = spec.get("progressDeadlineSeconds");
    if deadline.is_set() {
        errors.non_negative(&deadline);
        if deadline.int() <= min_ready.int() {
            errors.invalid(&deadline, "must be greater than minReadySeconds");
        }
    }
}

fn check_strategy(strategy: &At<'_>, errors: &mut Errors) {
    let (kind, rolling) = (strategy.get("type"), strategy.get("rollingUpdate"));
    match kind.text() {
        "Recreate" => {
            if rolling.is_set() {
                errors
                    .forbidden(&rolling, "may not be specified when strategy `type` is 'Recreate'");
            }
        }
        "RollingUpdate" if !rolling.is_set() => {
            errors.required(&rolling, "this should be defaulted and never be nil");
        }
        "RollingUpdate" => check_rolling_update(&rolling, errors),
        _ => errors.not_supported(&kind, &["Recreate", "RollingUpdate"]),
    }
}

fn check_rolling_update(rolling: &At<'_>, errors: &mut Errors) {
    let [unavailable, surge] = ["maxUnavailable", "maxSurge"].map(|name| rolling.get(name));
    for field in [&unavailable, &surge] {
        percent::positive_int_or_percent(field, errors);
    }
    if [&unavailable, &surge].iter().all(|field| percent::int_or_percent(field) == 0) {
        errors.invalid(&unavailable, "may not be 0 when `maxSurge` is 0");
    }
    percent::not_more_than_100(&unavailable, errors);
}

fn check_status(status: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    workload::status_counts(status, &COUNTS[..5], errors);
    errors.non_negative(&status.get("unavailableReplicas"));
    let collisions = status.get("collisionCount");
    if collisions.is_set() {
        errors.non_negative(&collisions);
    }
    let old_collisions = old.get("collisionCount");
    if old_collisions.is_set() && collisions.int() < old_collisions.int() {
        let shown = collisions.raw().cloned().unwrap_or(Value::Null);
        errors.invalid_as(&collisions, shown, "cannot be decremented");
    }
}
