//! Objects for this crate's tests.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::scheduler::{Change, Input};

/// A node `name` with so much cpu; `extra` is merged into it.
pub(crate) fn node(name: &str, cpu: &str, extra: Value) -> Input {
    let mut value = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}},
    });
    merge(&mut value, extra);
    Input::Node(Change::Applied(Arc::new(serde_json::from_value(value).unwrap())))
}

/// A pod of the namespace `default` that asks for one core; `extra` is merged into it, and lists replace lists.
pub(crate) fn pod(name: &str, extra: Value) -> Input {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"containers": [{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "1"}}}]},
    });
    merge(&mut value, extra);
    Input::Pod(Change::Applied(Arc::new(serde_json::from_value(value).unwrap())))
}

/// Merges `from` into `into`, key by key.
pub(crate) fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Asks for so much cpu instead.
pub(crate) fn requests(cpu: &str) -> Value {
    json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
}

/// Any object as a change.
pub(crate) fn applied<T: serde::de::DeserializeOwned>(value: Value) -> Change<T> {
    Change::Applied(Arc::new(serde_json::from_value(value).unwrap()))
}
