//! ReplicaSet (apps).

use apimachinery::{
    field::FieldError, object::Object, resource, resource::ResourceInfo, status::Status,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{STATUS, split_status, workload};
use crate::registry::{
    meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::at::{At, Errors, same},
    warnings,
};

const COLUMNS: [Column; 8] = [
    printers::NAME,
    printers::integer("Desired", "The number of desired pods."),
    printers::integer("Current", "The most recently observed number of non-terminating pods."),
    printers::integer("Ready", "The number of non-terminating pods with a Ready Condition."),
    printers::AGE,
    printers::CONTAINERS,
    printers::IMAGES,
    printers::SELECTOR,
];
const COUNTS: [&str; 5] = [
    "replicas",
    "fullyLabeledReplicas",
    "readyReplicas",
    "availableReplicas",
    "observedGeneration",
];

/// See the module.
pub(super) struct ReplicaSet;

impl Strategy for ReplicaSet {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::REPLICA_SETS
    }

    fn default(&self, object: &mut Object) {
        workload::default(object);
    }

    fn prepare_for_create(&self, _: &StrategyContext<'_>, object: &mut Object) {
        object.set(&["status"], json!({"replicas": 0}));
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Object, old: &Object) {
        split_status(ctx.subresource, object, old);
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
        if ctx.subresource == STATUS {
            workload::status_counts(&At::top(object, "status"), &COUNTS, &mut errors);
        } else {
            let (spec, old_spec) = (At::top(object, "spec"), At::top(old, "spec"));
            check_spec(&spec, &mut errors);
            errors.immutable(&spec.get("selector"), &old_spec.get("selector"));
        }
        errors.0
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::of_template(object)
    }

    fn generation_changed(&self, object: &Object, old: &Object) -> bool {
        !same(object.get(&["spec"]), old.get(&["spec"]))
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let replicas = object.get_i64(&["status", "replicas"]).unwrap_or_default();
        vec![("status.replicas", replicas.to_string())]
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let mut row = vec![
            printers::name(object),
            printers::number(object, &["spec", "replicas"]),
            printers::number(object, &["status", "replicas"]),
            printers::number(object, &["status", "readyReplicas"]),
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
    errors.non_negative(&spec.get("minReadySeconds"));
    workload::selector(spec, errors);
    workload::template(spec, errors);
}
