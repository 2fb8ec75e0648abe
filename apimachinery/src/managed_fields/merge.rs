//! Lays an applied configuration over the live object, and takes out what is applied no more.

use serde_json::Value;

use super::{
    item::{Kind, kind, kind_of, step},
    set::{FieldSet, Node, child, children, field_step, finished, is_member},
};
use crate::{
    object::Object,
    schema::{ListType, Shape, Struct},
};

/// The live object with what the configuration says.
pub(super) fn merge(live: &Object, config: &Object, schema: &Struct) -> Object {
    Object(merge_struct(&live.0, &config.0, schema))
}

fn merge_struct(live: &Node, config: &Node, schema: &Struct) -> Node {
    let mut merged = live.clone();
    for (name, value) in config {
        let of = schema.field_or_open(name).map_or(Kind::Leaf, kind_of);
        let value = match live.get(name) {
            Some(old) => merge_values(old, value, of),
            None => merge_values(&Value::Null, value, of),
        };
        merged.insert(name.clone(), value);
    }
    merged
}

fn merge_values(live: &Value, config: &Value, of: Kind<'_>) -> Value {
    let nothing = Node::new();
    let live_fields = live.as_object().unwrap_or(&nothing);
    match (of, config) {
        (Kind::Struct(schema), Value::Object(config)) => {
            Value::Object(merge_struct(live_fields, config, schema))
        }
        (Kind::Map(shape), Value::Object(config)) => {
            let mut merged = live_fields.clone();
            for (key, value) in config {
                let old = live_fields.get(key).unwrap_or(&Value::Null);
                merged.insert(key.clone(), merge_values(old, value, default_kind(shape)));
            }
            Value::Object(merged)
        }
        (Kind::List(shape, list), Value::Array(config)) => {
            let live = live.as_array().map(Vec::as_slice).unwrap_or_default();
            Value::Array(merge_lists(live, config, shape, list))
        }
        // What says nothing about a whole that is merged leaves it.
        (Kind::Struct(_) | Kind::Map(_), Value::Null) if !live_fields.is_empty() => live.clone(),
        (Kind::List(..), Value::Null) if live.as_array().is_some_and(|l| !l.is_empty()) => {
            live.clone()
        }
        (_, config) => config.clone(),
    }
}

fn default_kind(shape: &Shape) -> Kind<'_> {
    kind(shape, &ListType::Default)
}

/// Merges two lists by their items' steps. What only the live list has keeps its place among what both have, as far as
/// the configuration's order, which wins, allows.
fn merge_lists(live: &[Value], config: &[Value], shape: &Shape, list: &ListType) -> Vec<Value> {
    let steps = |items: &[Value]| -> Vec<Option<String>> {
        items.iter().map(|item| step(list, item).ok()).collect()
    };
    let (ours, theirs) = (steps(live), steps(config));
    let in_config = |at: &Option<String>| at.is_some() && theirs.contains(at);
    let mut shared = theirs.iter().filter(|at| at.is_some() && ours.contains(at)).peekable();
    let merged = |at: &Option<String>, new: &Value| {
        let old = ours.iter().position(|other| other == at).map(|index| &live[index]);
        merge_values(old.unwrap_or(&Value::Null), new, default_kind(shape))
    };
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let mut taken: Vec<&Option<String>> = Vec::new();
    let (mut l, mut r) = (0, 0);
    while l < live.len() || r < config.len() {
        if l < live.len() && r < config.len() {
            if ours[l].is_some() && ours[l] == theirs[r] {
                out.push(merged(&theirs[r], &config[r]));
                taken.push(&theirs[r]);
                shared.next();
                (l, r) = (l + 1, r + 1);
                continue;
            }
            if in_config(&ours[l]) && shared.peek().is_some_and(|next| **next != ours[l]) {
                // Both have it, but it is not its turn.
                l += 1;
                continue;
            }
        }
        if l < live.len() {
            if !in_config(&ours[l]) {
                out.push(live[l].clone());
                l += 1;
                continue;
            }
            if taken.contains(&&ours[l]) {
                l += 1;
            }
        }
        if r < config.len() {
            out.push(merged(&theirs[r], &config[r]));
            taken.push(&theirs[r]);
            if shared.peek().is_some_and(|next| **next == theirs[r]) {
                shared.next();
            }
            r += 1;
        }
    }
    out
}

/// The object without these fields. What is atomic goes as a whole or stays.
pub(super) fn remove(object: &Object, fields: &FieldSet, schema: &Struct) -> Object {
    match remove_struct(&object.0, &fields.0, schema) {
        Value::Object(left) => Object(left),
        _ => Object::default(),
    }
}

fn remove_struct(members: &Node, fields: &Node, schema: &Struct) -> Value {
    remove_entries(members, fields, |name| schema.field_or_open(name).map_or(Kind::Leaf, kind_of))
}

/// What is left of entries: null where nothing is.
fn remove_entries<'k>(entries: &Node, fields: &Node, kind_of: impl Fn(&str) -> Kind<'k>) -> Value {
    let mut left = Node::new();
    for (name, value) in entries {
        let value = match child(fields, &field_step(name)) {
            None => value.clone(),
            Some(node) if is_member(node) => continue,
            Some(node) => remove_below(value, node, kind_of(name)),
        };
        left.insert(name.clone(), value);
    }
    if left.is_empty() { Value::Null } else { Value::Object(left) }
}

fn remove_below(value: &Value, fields: &Node, of: Kind<'_>) -> Value {
    match (of, value) {
        (Kind::Struct(schema), Value::Object(members)) => remove_struct(members, fields, schema),
        (Kind::Map(shape), Value::Object(entries)) => {
            remove_entries(entries, fields, |_| default_kind(shape))
        }
        (Kind::List(shape, list), Value::Array(items)) => {
            let mut left = Vec::with_capacity(items.len());
            for item in items {
                let node = step(list, item).ok().and_then(|at| child(fields, &at));
                match node {
                    None => left.push(item.clone()),
                    Some(node) if is_member(node) => {}
                    Some(node) => left.push(remove_below(item, node, default_kind(shape))),
                }
            }
            if left.is_empty() { Value::Null } else { Value::Array(left) }
        }
        _ => Value::Null,
    }
}

/// The set with all named fields of structs that lead to a member: they go when all that is in them goes.
pub(super) fn with_named(fields: &FieldSet, schema: &Struct) -> FieldSet {
    FieldSet(named(&fields.0, &Kind::Struct(schema)))
}

fn named(node: &Node, of: &Kind<'_>) -> Node {
    let mut all = Node::new();
    for (at, below) in children(node) {
        let name = at.strip_prefix("f:").unwrap_or_default();
        let (of, is_named) = match of {
            Kind::Struct(schema) => match schema.field_or_open(name) {
                Some(field) => (kind_of(field), true),
                None => (Kind::Leaf, false),
            },
            Kind::Map(shape) | Kind::List(shape, _) => (default_kind(shape), false),
            Kind::Leaf => (Kind::Leaf, false),
        };
        let member = is_member(below) || is_named;
        let node = finished(named(below, &of), member).unwrap_or_default();
        all.insert(at.clone(), Value::Object(node));
    }
    all
}
