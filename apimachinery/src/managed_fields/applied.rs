//! What an applied configuration says: whether it fits the schema, and which fields it names.

use serde_json::Value;

use super::{
    item::{Kind, kind, kind_of, step},
    set::{FieldSet, Node, field_step, finished},
};
use crate::{
    field::go_quote,
    object::Object,
    schema::{ListType, Shape, Struct},
};

/// The fields that an object names: leaves, list items and map entries; `apiVersion` and `kind` are left out.
pub(super) fn fields_of(object: &Object, schema: &Struct) -> FieldSet {
    let mut node = struct_node(&object.0, schema);
    node.remove("f:apiVersion");
    node.remove("f:kind");
    FieldSet(node)
}

fn struct_node(members: &Node, schema: &Struct) -> Node {
    let mut below = Node::new();
    for (name, value) in members {
        let Some(field) = schema.field_or_open(name) else { continue };
        // A struct's field is named by what is in it, unless there is nothing in it.
        if let Some(node) =
            finished(below_of(value, kind_of(field)), is_named(value, kind_of(field)))
        {
            below.insert(field_step(name), Value::Object(node));
        }
    }
    below
}

/// Whether a struct's field is a member itself.
fn is_named(value: &Value, kind: Kind<'_>) -> bool {
    match (kind, value) {
        (_, Value::Null) | (Kind::Leaf, _) => true,
        (_, Value::Object(fields)) => fields.is_empty(),
        // A value without a schema that turns out to be no object.
        (Kind::Map(_), _) => true,
        _ => false,
    }
}

fn below_of(value: &Value, of: Kind<'_>) -> Node {
    match (of, value) {
        (Kind::Struct(schema), Value::Object(members)) => struct_node(members, schema),
        (Kind::Map(shape), Value::Object(entries)) => {
            entries.iter().map(|(key, value)| (field_step(key), entry(value, shape))).collect()
        }
        (Kind::List(shape, list), Value::Array(items)) => items
            .iter()
            .filter_map(|item| Some((step(list, item).ok()?, entry(item, shape))))
            .collect(),
        _ => Node::new(),
    }
}

/// An entry of a map or list is always a member.
fn entry(value: &Value, shape: &Shape) -> Value {
    let below = below_of(value, kind(shape, &ListType::Default));
    Value::Object(finished(below, true).unwrap_or_default())
}

/// Checks a configuration against the schema, with the messages of Kubernetes' typed values.
///
/// # Errors
/// All that is wrong with it, as one text.
pub(super) fn check(object: &Object, schema: &Struct) -> Result<(), String> {
    let mut errors = Vec::new();
    check_struct(&object.0, schema, "", &mut errors);
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        several => Err(format!("errors:\n  {}", several.join("\n  "))),
    }
}

fn check_struct(members: &Node, schema: &Struct, path: &str, errors: &mut Vec<String>) {
    for (name, value) in members {
        let path = format!("{path}.{name}");
        match schema.field_or_open(name) {
            Some(field) => check_value(value, &field.shape, &field.list, &path, errors),
            None => errors.push(format!("{path}: field not declared in schema")),
        }
    }
}

fn check_value(
    value: &Value,
    shape: &Shape,
    list: &ListType,
    path: &str,
    errors: &mut Vec<String>,
) {
    let mut expected =
        |what: &str| errors.push(format!("{path}: expected {what}, got {}", got(value)));
    match (shape, value) {
        (_, Value::Null) | (Shape::Any, _) => {}
        (shape, _) if shape.is_deduced() => {}
        (Shape::String | Shape::Bytes | Shape::Time | Shape::MicroTime, _) => {
            if !value.is_string() {
                expected("string");
            }
        }
        (Shape::Boolean, _) => {
            if !value.is_boolean() {
                expected("boolean");
            }
        }
        (Shape::Int32 | Shape::Int64 | Shape::Float64, _) => {
            if !value.is_number() {
                expected("numeric (int or float)");
            }
        }
        // These are untyped in Kubernetes' schema.
        (Shape::Quantity | Shape::IntOrString, _) => {
            if !value.is_string() && !value.is_number() {
                expected("string or number");
            }
        }
        (Shape::Struct(schema), Value::Object(members)) => {
            check_struct(members, schema, path, errors);
        }
        (Shape::Map(item), Value::Object(entries)) => {
            for (key, value) in entries {
                check_value(value, item, &ListType::Default, &format!("{path}.{key}"), errors);
            }
        }
        (Shape::List(item), Value::Array(items)) => check_list(items, item, list, path, errors),
        (Shape::Struct(_) | Shape::Map(_), _) => expected("map"),
        (Shape::List(_), _) => expected("list"),
    }
}

fn check_list(
    items: &[Value],
    shape: &Shape,
    list: &ListType,
    path: &str,
    errors: &mut Vec<String>,
) {
    let merged = matches!(list, ListType::Set | ListType::Map(_));
    let mut seen: Vec<String> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = if merged {
            match step(list, item) {
                Ok(at) => at,
                Err(why) => {
                    errors.push(format!("{path}: element {index}: {why}"));
                    continue;
                }
            }
        } else {
            format!("i:{index}")
        };
        let shown = FieldSet([(at.clone(), Value::Object(Node::new()))].into_iter().collect());
        let shown = shown.paths().concat();
        if merged && seen.contains(&at) {
            errors.push(format!("{path}: duplicate entries for key {shown}"));
        }
        seen.push(at);
        check_value(item, shape, &ListType::Default, &format!("{path}{shown}"), errors);
    }
}

/// A value as Go prints what its typed values wrap.
fn got(value: &Value) -> String {
    format!("&value.valueUnstructured{{Value:{}}}", go_syntax(value))
}

fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => go_quote(text),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}:{}", go_quote(key), go_syntax(value)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
    }
}
