//! Event (events.k8s.io/v1): the events of core/v1 in the words of their newer group, and with its stricter rules.
//!
//! Both are one set of objects, stored as core/v1: [`FIELDS`] tells which field is called what. What one client writes in
//! one group others read in the other.

use apimachinery::{field::FieldError, object::Object, resource, resource::ResourceInfo};
use jiff::Timestamp;
use serde_json::Value;

use super::event;
use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::at::{At, Errors, same},
};

const API_VERSION: &str = "events.k8s.io/v1";
/// Fields that bear two names: here, and in core/v1.
const FIELDS: [(&str, &str); 7] = [
    ("deprecatedCount", "count"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedSource", "source"),
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
];
const SELECTABLE: [&str; 10] = [
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "type",
];
/// What stays as it was made, as core/v1 calls it.
const IMMUTABLE: [&str; 9] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    // Kubernetes asks twice.
    "reason",
    "type",
];

/// See the module.
pub(super) struct Event;

impl Strategy for Event {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::EVENTS_V1
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        for field in ["regarding", "deprecatedSource"] {
            defaults::set(&mut object.0, field, defaults::Fields::new());
        }
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let object = &to_core(object);
        let mut errors = Errors::default();
        event::check(object, "reportingController", &mut errors);
        meta::check(object, true, meta::dns_subdomain, &mut errors);
        check_series(object, &mut errors);
        let top = |name| At::top(object, name);
        if !top("eventTime").is_set() {
            errors.required(&top("eventTime"), "");
        }
        let kind = object.get_str(&["type"]);
        if !matches!(kind, "Normal" | "Warning") {
            errors.invalid_as(&top("type"), "", format!("has invalid value: {kind}"));
        }
        let source = |field: &str| !object.get_str(&["source", field]).is_empty();
        for (field, set) in [
            ("firstTimestamp", top("firstTimestamp").is_set()),
            ("lastTimestamp", top("lastTimestamp").is_set()),
            ("count", top("count").int() != 0),
            ("source", source("component") || source("host")),
        ] {
            if set {
                errors.invalid_as(&top(field), "", "needs to be unset");
            }
        }
        errors.0
    }

    fn validate_update(
        &self,
        _: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError> {
        let (object, old) = (&to_core(object), &to_core(old));
        let mut errors = Errors::default();
        event::check(object, "reportingController", &mut errors);
        meta::check_update(object, old, &mut errors);
        if !same(object.get(&["series"]), old.get(&["series"])) {
            check_series(object, &mut errors);
        }
        let mut immutable = |told: &'static str, field: &str| {
            let (new, old) = (object.0.get(field), old.0.get(field));
            errors.immutable(&At::value(told, new), &At::value(told, old));
        };
        IMMUTABLE.into_iter().for_each(|field| immutable(field, field));
        // What is finer than a microsecond is not kept by all clients.
        let micros = |event: &Object| {
            printers::parse_time(event.get(&["eventTime"])).map(Timestamp::as_microsecond)
        };
        if micros(object) != micros(old) {
            immutable("eventTime", "eventTime");
        }
        for field in ["action", "related"] {
            immutable(field, field);
        }
        immutable("reportingController", "reportingComponent");
        immutable("reportingInstance", "reportingInstance");
        errors.0
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &SELECTABLE
    }

    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let value = |name: &str| object.get_str(&name.split('.').collect::<Vec<_>>()).to_owned();
        SELECTABLE.iter().map(|name| (*name, value(name))).collect()
    }

    fn columns(&self) -> &'static [Column] {
        event::Event.columns()
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        event::Event.row(&to_core(object), now)
    }

    fn converts_on_read(&self) -> bool {
        true
    }

    fn on_read(&self, object: &Object) -> Option<Object> {
        if object.api_version() == API_VERSION {
            return None;
        }
        let mut served = object.clone();
        for (ours, core) in FIELDS {
            if let Some(value) = served.0.remove(core) {
                // What core/v1 writes though it is empty is left out here.
                if value.as_str().is_none_or(|text| !text.is_empty()) {
                    served.0.insert(ours.to_owned(), value);
                }
            }
        }
        if served.get_str(&["reportingInstance"]).is_empty() {
            served.0.remove("reportingInstance");
        }
        served.set(&["apiVersion"], API_VERSION);
        Some(served)
    }

    fn to_storage(&self, object: &mut Object) {
        *object = to_core(object);
        event::Event.default(object);
    }
}

/// The event in the words of core/v1.
fn to_core(object: &Object) -> Object {
    let mut stored = object.clone();
    for (ours, core) in FIELDS {
        if let Some(value) = stored.0.remove(ours) {
            stored.0.insert(core.to_owned(), value);
        }
    }
    stored.set(&["apiVersion"], resource::EVENTS.api_version());
    stored
}

fn check_series(object: &Object, errors: &mut Errors) {
    let series = At::top(object, "series");
    if !series.is_set() {
        return;
    }
    let (count, last) = (series.get("count"), series.get("lastObservedTime"));
    if count.int() < 2 {
        errors.invalid_as(&count, "", "should be at least 2");
    }
    if printers::parse_time(last.raw()).is_none() {
        errors.required(&last, "");
    }
}
