//! `create namespace`, `serviceaccount` and `priorityclass`.

use std::collections::BTreeMap;

use apimachinery::object::Object;
use serde_json::json;

use super::{metadata, object};

/// Makes a Namespace.
#[must_use]
pub fn namespace(name: &str) -> Object {
    object(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata(name, &BTreeMap::new()),
        "spec": {},
        "status": {},
    }))
}

/// Makes a ServiceAccount.
#[must_use]
pub fn service_account(name: &str) -> Object {
    object(json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(name, &BTreeMap::new()),
    }))
}

/// What the flags of `create priorityclass` say.
#[derive(Clone, Debug, Default)]
pub struct PriorityClass {
    /// Its name.
    pub name: String,
    /// The priority.
    pub value: i32,
    /// Whether pods without a class get it.
    pub global_default: bool,
    /// In words.
    pub description: String,
    /// `PreemptLowerPriority` or `Never`.
    pub preemption_policy: String,
}

impl PriorityClass {
    /// Makes the object.
    #[must_use]
    pub fn generate(&self) -> Object {
        let mut class = object(json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": metadata(&self.name, &BTreeMap::new()),
            "value": self.value,
            "preemptionPolicy": self.preemption_policy,
        }));
        if self.global_default {
            class.set(&["globalDefault"], true);
        }
        if !self.description.is_empty() {
            class.set(&["description"], self.description.as_str());
        }
        class
    }
}
