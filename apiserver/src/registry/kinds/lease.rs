//! Lease (coordination.k8s.io).

use apimachinery::{
    field::FieldError, object::Object, resource, resource::ResourceInfo,
    validation::is_qualified_name,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::at::{At, Errors},
};

const COLUMNS: [Column; 3] = [
    printers::NAME,
    printers::string("Holder", "The identity of the holder of the lease."),
    printers::AGE,
];

/// See the module.
pub(super) struct Lease;

impl Strategy for Lease {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::LEASES
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check(object, true, meta::dns_subdomain, &mut errors);
        spec(&At::top(object, "spec"), &mut errors);
        errors.0
    }

    fn validate_update(
        &self,
        _: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check_update(object, old, &mut errors);
        spec(&At::top(object, "spec"), &mut errors);
        errors.0
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        vec![
            printers::name(object),
            object.get_str(&["spec", "holderIdentity"]).into(),
            printers::age(object, now),
        ]
    }
}

fn spec(spec: &At<'_>, errors: &mut Errors) {
    let seconds = spec.get("leaseDurationSeconds");
    if seconds.is_set() && seconds.int() <= 0 {
        errors.invalid(&seconds, "must be greater than 0");
    }
    errors.non_negative(&spec.get("leaseTransitions"));
    let strategy = spec.get("strategy");
    if strategy.is_set() {
        errors.each(&strategy, is_qualified_name(strategy.text()));
    }
    let preferred = spec.get("preferredHolder");
    if !preferred.is_empty() && strategy.is_empty() {
        errors.forbidden(&preferred, "may only be specified if `strategy` is defined");
    }
}
