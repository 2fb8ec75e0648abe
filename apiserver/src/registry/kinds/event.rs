//! Event (core/v1); [`super::event_v1`] is the same in other words.

use apimachinery::{
    field::FieldError,
    object::Object,
    resource,
    resource::ResourceInfo,
    validation::{is_dns1123_subdomain, is_qualified_name},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::{
    defaults, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::at::{At, Errors},
};

/// The field that names who reports.
const CORE_CONTROLLER: &str = "reportingComponent";
const MAX_SHORT_TEXT: usize = 128;
const MAX_NOTE: usize = 1024;
const COLUMNS: [Column; 10] = [
    printers::string("Last Seen", "When the event was last observed."),
    printers::string("Type", "Normal or Warning."),
    printers::string("Reason", "Why the transition happened, for machines."),
    printers::string("Object", "The object that this event is about."),
    printers::wide("Subobject", "The part of the object that this event is about."),
    printers::wide("Source", "The component that reported the event."),
    printers::string("Message", "What happened, for humans."),
    printers::wide("First Seen", "When the event was first observed."),
    Column {
        name: "Count",
        kind: "integer",
        format: "",
        description: "How often it was observed.",
        priority: 1,
    },
    Column {
        name: "Name",
        kind: "string",
        format: "name",
        description: printers::NAME.description,
        priority: 1,
    },
];
const SELECTABLE: [&str; 11] = [
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// See the module.
pub(super) struct Event;

impl Strategy for Event {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::EVENTS
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        defaults::set(&mut object.0, "source", defaults::Fields::new());
        defaults::set(&mut object.0, "reportingComponent", "");
        defaults::set(&mut object.0, "reportingInstance", "");
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        check(object, CORE_CONTROLLER, &mut errors);
        errors.0
    }

    fn validate_update(
        &self,
        _: &StrategyContext<'_>,
        object: &Object,
        _: &Object,
    ) -> Vec<FieldError> {
        let mut errors = Errors::default();
        check(object, CORE_CONTROLLER, &mut errors);
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
        SELECTABLE
            .iter()
            .map(|name| {
                let value = match *name {
                    "source" => source_component(object),
                    path => object.get_str(&path.split('.').collect::<Vec<_>>()),
                };
                (*name, value.to_owned())
            })
            .collect()
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let time = |path: &[&str]| printers::parse_time(object.get(path));
        let age = |time: Option<Timestamp>| {
            time.map_or_else(|| "<unknown>".to_owned(), |time| printers::ago(time, now))
        };
        let first = time(&["firstTimestamp"]).or_else(|| time(&["eventTime"]));
        let mut last = time(&["lastTimestamp"]).or(first);
        let mut count = object.get_i64(&["count"]).unwrap_or_default();
        if object.get(&["series"]).is_some_and(Value::is_object) {
            last = time(&["series", "lastObservedTime"]);
            count = object.get_i64(&["series", "count"]).unwrap_or_default();
        } else if count == 0 {
            count = 1;
        }
        let kind = object.get_str(&["involvedObject", "kind"]).to_lowercase();
        let target = match object.get_str(&["involvedObject", "name"]) {
            "" => kind,
            name => format!("{kind}/{name}"),
        };
        vec![
            age(last).into(),
            object.get_str(&["type"]).into(),
            object.get_str(&["reason"]).into(),
            target.into(),
            object.get_str(&["involvedObject", "fieldPath"]).into(),
            source(object).into(),
            object.get_str(&["message"]).trim().into(),
            age(first).into(),
            count.into(),
            printers::name(object),
        ]
    }
}

fn source_component(object: &Object) -> &str {
    match object.get_str(&["source", "component"]) {
        "" => object.get_str(&["reportingComponent"]),
        component => component,
    }
}

fn source(object: &Object) -> String {
    let instance = match object.get_str(&["source", "host"]) {
        "" => object.get_str(&["reportingInstance"]),
        host => host,
    };
    match instance {
        "" => source_component(object).to_owned(),
        instance => format!("{}, {instance}", source_component(object)),
    }
}

/// Events are checked leniently, metadata hardly at all (`legacyValidateEvent`). `controller` is what the caller calls the
/// field `reportingComponent`.
pub(super) fn check(object: &Object, controller: &str, errors: &mut Errors) {
    let namespace = object.namespace();
    let involved = At::top(object, "involvedObject");
    let involved_namespace = involved.get("namespace");
    if printers::parse_time(object.get(&["eventTime"])).is_none() {
        let matches = match involved_namespace.text() {
            "" => matches!(namespace, "" | "default"),
            other => other == namespace,
        };
        if !matches {
            errors.invalid(&involved_namespace, "does not match event.namespace");
        }
    } else {
        if involved_namespace.is_empty() && !matches!(namespace, "default" | "kube-system") {
            errors.invalid(&involved_namespace, "does not match event.namespace");
        }
        let reporting = At::top(object, CORE_CONTROLLER);
        let controller = At::value(controller, reporting.raw());
        if controller.is_empty() {
            errors.required(&controller, "");
        }
        errors.each(&controller, is_qualified_name(controller.text()));
        for name in ["reportingInstance", "action", "reason"] {
            let field = At::top(object, name);
            if field.is_empty() {
                errors.required(&field, "");
            }
            at_most(&field, MAX_SHORT_TEXT, errors);
        }
        at_most(&At::top(object, "message"), MAX_NOTE, errors);
    }
    errors.each_as(&At::value("namespace", None), namespace, is_dns1123_subdomain(namespace));
}

fn at_most(field: &At<'_>, max: usize, errors: &mut Errors) {
    if field.len() > max {
        errors.invalid_as(field, "", format!("can have at most {max} characters"));
    }
}
