//! Namespace: kept alive by `spec.finalizers` until its contents are gone.
//!
//! Setting `Terminating` and removing the last finalizer is the work of the store and of the namespace controller;
//! the controller writes `spec.finalizers` through the `finalize` subresource only.

use apimachinery::{
    field::FieldError, object::Object, resource, resource::ResourceInfo,
    validation::is_qualified_name,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{STATUS, keep_all_but_status, take_field};
use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::at::{At, Errors},
};

const NAME_LABEL: &str = "kubernetes.io/metadata.name";
const FINALIZER: &str = "kubernetes";
const COLUMNS: [Column; 3] =
    [printers::NAME, printers::string("Status", "The status of the namespace"), printers::AGE];

/// See the module.
pub(super) struct Namespace;

impl Strategy for Namespace {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::NAMESPACES
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        let name = object.name().to_owned();
        if !name.is_empty() {
            object.set(&["metadata", "labels", NAME_LABEL], name);
        }
        if let Some(status) = defaults::child_or_new(&mut object.0, "status") {
            defaults::set_zero(status, "phase", "Active");
        }
    }

    fn prepare_for_create(&self, _: &StrategyContext<'_>, object: &mut Object) {
        object.set(&["status"], json!({"phase": "Active"}));
        let mut finalizers = object.get_list(&["spec", "finalizers"]).to_vec();
        if !finalizers.iter().any(|f| f == FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
        object.set(&["spec", "finalizers"], finalizers);
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Object, old: &Object) {
        match ctx.subresource {
            STATUS => keep_all_but_status(object, old),
            "finalize" => take_field(object, old, "status"),
            _ => {
                take_field(object, old, "spec");
                take_field(object, old, "status");
            }
        }
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check(object, false, meta::dns_label, &mut errors);
        let spec = At::top(object, "spec");
        let finalizers = spec.get("finalizers");
        for finalizer in finalizers.items() {
            check_finalizer(&finalizers.with(finalizer.raw()), &mut errors);
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
        match ctx.subresource {
            STATUS => check_phase(object, &mut errors),
            "finalize" => {
                let spec = At::top(object, "spec");
                spec.get("finalizers").items().for_each(|f| check_finalizer(&f, &mut errors));
            }
            _ => {}
        }
        errors.0
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        vec![("status.phase", object.get_str(&["status", "phase"]).to_owned())]
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        vec![
            printers::name(object),
            object.get_str(&["status", "phase"]).into(),
            printers::age(object, now),
        ]
    }
}

fn check_finalizer(finalizer: &At<'_>, errors: &mut Errors) {
    errors.each(finalizer, is_qualified_name(finalizer.text()));
    meta::kube_finalizer(finalizer, errors);
}

fn check_phase(object: &Object, errors: &mut Errors) {
    let deleted = object.deletion_timestamp().is_some();
    let (phase, is) = if deleted { ("Terminating", "is not") } else { ("Active", "is") };
    let actual = object.get(&["status", "phase"]);
    if actual.and_then(Value::as_str) != Some(phase) {
        let status = At::top(object, "status");
        let at = status.get("Phase").with(actual);
        errors.invalid(&at, format!("may only be '{phase}' if `deletionTimestamp` {is} empty"));
    }
}
