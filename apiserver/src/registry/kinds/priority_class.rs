//! PriorityClass (scheduling.k8s.io).

use apimachinery::{field::FieldError, object::Object, resource, resource::ResourceInfo};
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::at::{At, Errors},
};

const SYSTEM_PREFIX: &str = "system-";
/// Names and values of the classes that Kubernetes itself makes; none is the global default.
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
const HIGHEST_USER_VALUE: i64 = 1_000_000_000;
const COLUMNS: [Column; 5] = [
    printers::NAME,
    printers::integer("Value", "The integer value of this priority class."),
    Column {
        name: "Global-Default",
        kind: "boolean",
        format: "",
        description: "Whether pods without a class get this one.",
        priority: 0,
    },
    printers::AGE,
    printers::string("PreemptionPolicy", "Whether pods of this class preempt lower ones."),
];

/// See the module.
pub(super) struct PriorityClass;

impl Strategy for PriorityClass {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::PRIORITY_CLASSES
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        defaults::set(&mut object.0, "preemptionPolicy", "PreemptLowerPriority");
        defaults::drop_zero(&mut object.0, &["globalDefault", "description"]);
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        check(object, &mut errors);
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
        let value = At::top(object, "value");
        if value.int() != At::top(old, "value").int() {
            errors.forbidden(&value, "may not be changed in an update.");
        }
        let [new, old] = [object, old].map(|o| At::top(o, "preemptionPolicy"));
        errors.immutable(&new, &old);
        errors.0
    }

    /// It stays 1, as Kubernetes leaves it.
    fn generation_changed(&self, _: &Object, _: &Object) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        vec![
            printers::name(object),
            printers::number(object, &["value"]),
            object.get_bool(&["globalDefault"]).unwrap_or_default().into(),
            printers::age(object, now),
            printers::text_or(object, &["preemptionPolicy"], ""),
        ]
    }
}

fn check(object: &Object, errors: &mut Errors) {
    meta::check(object, false, meta::dns_subdomain, errors);
    let value = At::top(object, "value");
    if object.name().starts_with(SYSTEM_PREFIX) {
        if let Err(why) = known_system_class(object) {
            let metadata = At::top(object, "metadata");
            errors.forbidden(
                &metadata.get("name"),
                format!(
                    "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {why}"
                ),
            );
        }
    } else if value.int() > HIGHEST_USER_VALUE {
        errors.forbidden(
            &value,
            format!("maximum allowed value of a user defined priority is {HIGHEST_USER_VALUE}"),
        );
    }
    let policy = At::top(object, "preemptionPolicy");
    if policy.is_set() {
        errors.one_of(&policy, &["PreemptLowerPriority", "Never"]);
    }
}

fn known_system_class(object: &Object) -> Result<(), String> {
    let name = object.name();
    let Some((_, value)) = SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) else {
        return Err(format!("{name} is not a known system priority class"));
    };
    if object.get_i64(&["value"]) != Some(*value) {
        return Err(format!("value of {name} PriorityClass must be {value}"));
    }
    if object.get_bool(&["globalDefault"]) == Some(true) {
        return Err(format!("globalDefault of {name} PriorityClass must be false"));
    }
    Ok(())
}
