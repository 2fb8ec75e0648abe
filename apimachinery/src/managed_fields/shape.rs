//! What of a new object decides who owns what: its shape.
//!
//! The fields that a creation owns follow from which fields are there, which of them are zero, and from what tells the
//! items of merged lists apart; most values do not matter. Objects made from one template have one shape, so what was
//! written down for the first serves for all. Two objects of equal shapes own equal fields; the other way round need not
//! hold.

use serde_json::Value;

use super::{
    compare::{is_type, is_zero},
    item::{Kind, kind, kind_of, step},
};
use crate::{
    object::Object,
    schema::{ListType, Struct},
};

/// An object's shape, as bytes that can be compared.
pub(super) fn shape(object: &Object, schema: &Struct, out: &mut Vec<u8>) {
    for (name, value) in object.0.iter().filter(|(name, _)| !is_type(name)) {
        member(name, value, schema, out);
    }
    out.push(END);
}

const END: u8 = 0;
const MEMBER: u8 = 1;
const ITEM: u8 = 2;
const NULL: u8 = 3;
const ZERO: u8 = 4;
const VALUE: u8 = 5;

fn member(name: &str, value: &Value, schema: &Struct, out: &mut Vec<u8>) {
    if let Some(field) = schema.field_or_open(name) {
        text(MEMBER, name, out);
        of_value(value, kind_of(field), out);
    }
}

fn of_value(value: &Value, kind_of_value: Kind<'_>, out: &mut Vec<u8>) {
    match (kind_of_value, value) {
        (Kind::Struct(schema), Value::Object(members)) => {
            members.iter().for_each(|(name, value)| member(name, value, schema, out));
            out.push(END);
        }
        (Kind::Map(shape), Value::Object(entries)) => {
            for (key, value) in entries {
                text(MEMBER, key, out);
                of_value(value, kind(shape, &ListType::Default), out);
            }
            out.push(END);
        }
        (Kind::List(shape, list), Value::Array(items)) => {
            // An item that cannot be told apart is nobody's.
            for (at, item) in items.iter().filter_map(|item| Some((step(list, item).ok()?, item))) {
                text(ITEM, &at, out);
                of_value(item, kind(shape, &ListType::Default), out);
            }
            out.push(END);
        }
        (_, Value::Null) => out.push(NULL),
        (_, value) if is_zero(value) => out.push(ZERO),
        // An empty struct is always there where Go has no pointer.
        (_, Value::Object(members)) if members.is_empty() => out.push(END),
        (_, _) => out.push(VALUE),
    }
}

/// With its length, so that no two sequences read the same.
fn text(tag: u8, text: &str, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&text.len().to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        managed_fields::{Scope, Writer, creator, shape_of, unowned},
        object::Object,
        resource,
        schema::{self, Struct},
    };

    fn schema_of(object: &Object) -> &'static Struct {
        let (group, version) = resource::split_api_version(object.api_version());
        schema::find(group, version, object.kind()).unwrap()
    }

    /// Whether two objects have one shape; they must own the same then.
    fn are_alike(a: &Value, b: &Value) -> bool {
        let (a, b) = (object(a), object(b));
        let unowned = unowned();
        let writer = Writer {
            manager: "m",
            api_version: a.api_version(),
            subresource: "",
            scope: Scope::Except(&unowned),
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        let of = |object: &Object| {
            let schema = schema_of(object);
            (shape_of(object, schema, &writer).unwrap(), creator(object, schema, &writer))
        };
        let (a, b) = (of(&a), of(&b));
        assert!(a.0 != b.0 || a.1 == b.1, "one shape, but {:?} and {:?}", a.1, b.1);
        a.0 == b.0
    }

    fn object(value: &Value) -> Object {
        Object::from_value(value.clone()).unwrap()
    }

    fn pod() -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "a", "namespace": "default", "labels": {"app": "web"}, "finalizers": ["a/b"]},
            "spec": {
                "containers": [{
                    "name": "c",
                    "image": "nginx",
                    "args": ["1"],
                    "env": [{"name": "A", "value": "1"}],
                    "ports": [{"containerPort": 80}],
                    "resources": {},
                }],
                "terminationGracePeriodSeconds": 30,
            },
        })
    }

    #[test]
    fn values_do_not_matter() {
        for (path, value) in [
            ("/metadata/name", json!("b")),
            ("/metadata/labels/app", json!("other")),
            ("/spec/containers/0/image", json!("redis")),
            ("/spec/containers/0/args", json!(["2", "3"])),
            ("/spec/containers/0/env/0/value", json!("2")),
            ("/spec/terminationGracePeriodSeconds", json!(5)),
        ] {
            let mut other = pod();
            *other.pointer_mut(path).unwrap() = value;
            assert!(are_alike(&pod(), &other), "{path}");
        }
    }

    #[test]
    fn what_is_there_and_what_tells_items_apart_does() {
        for (path, value) in [
            ("/metadata/labels", json!({"app": "web", "b": "c"})),
            ("/metadata/labels", json!({"ap": "pweb"})),
            ("/metadata/labels", json!({})),
            ("/metadata/labels", Value::Null),
            ("/metadata/finalizers", json!(["a/c"])),
            ("/metadata/finalizers", json!([])),
            ("/spec/containers/0/name", json!("d")),
            ("/spec/containers/0/image", json!("")),
            ("/spec/containers/0/env/0/name", json!("B")),
            ("/spec/containers/0/ports", json!([{"containerPort": 81}])),
            ("/spec/containers/0/ports", json!([{"containerPort": 80, "protocol": "UDP"}])),
            ("/spec/containers/0/resources", json!({"limits": {"cpu": "1"}})),
            ("/spec/terminationGracePeriodSeconds", json!(0)),
        ] {
            let mut other = pod();
            *other.pointer_mut(path).unwrap() = value.clone();
            assert!(!are_alike(&pod(), &other), "{path}: {value}");
        }
        // A port whose protocol is given is the one whose protocol is not.
        let mut same = pod();
        same["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "protocol": "TCP"}]);
        assert!(!are_alike(&pod(), &same), "the protocol is owned");
        let deployment = |replicas: i64| {
            json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "a"},
                "spec": {"replicas": replicas, "selector": {}, "template": {"spec": {}}},
            })
        };
        assert!(are_alike(&deployment(1), &deployment(2)));
        are_alike(&deployment(0), &deployment(2));
    }

    #[test]
    fn an_object_with_owners_has_no_shape() {
        let mut pod = pod();
        pod["metadata"]["managedFields"] = json!([]);
        let pod = object(&pod);
        let writer = Writer {
            manager: "m",
            api_version: "v1",
            subresource: "",
            scope: Scope::All,
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        assert_eq!(shape_of(&pod, schema_of(&pod), &writer), None);
    }
}
