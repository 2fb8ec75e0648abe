//! Defaulting (`SetDefaults_…`): fills in what a user left out, in the JSON itself, so that nothing unknown is lost.
//!
//! Two kinds of "left out", as in Kubernetes' types: a pointer field is unset when it is absent ([`set`]); a plain
//! field is unset also when it holds its zero value ([`set_zero`]). Fields of the wrong type are left alone: the
//! schema check has refused them before.

pub(crate) mod pod;

use apimachinery::{object::Object, quantity::Quantity};
use serde_json::{Map, Value};

/// A JSON object.
pub(crate) type Fields = Map<String, Value>;

/// Defaults a pointer field: absent or null.
pub(crate) fn set(fields: &mut Fields, name: &str, value: impl Into<Value>) {
    if fields.get(name).is_none_or(Value::is_null) {
        fields.insert(name.to_owned(), value.into());
    }
}

/// Defaults a plain field: absent, null, "" or 0.
pub(crate) fn set_zero(fields: &mut Fields, name: &str, value: impl Into<Value>) {
    let unset = match fields.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(_) => false,
    };
    if unset {
        fields.insert(name.to_owned(), value.into());
    }
}

/// The text of a field, "" where absent.
pub(crate) fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The object in a field.
pub(crate) fn child<'a>(fields: &'a mut Fields, name: &str) -> Option<&'a mut Fields> {
    fields.get_mut(name).and_then(Value::as_object_mut)
}

/// The object in a field, made when it is absent or null.
pub(crate) fn child_or_new<'a>(fields: &'a mut Fields, name: &str) -> Option<&'a mut Fields> {
    set(fields, name, Fields::new());
    child(fields, name)
}

/// The objects in the list in a field.
pub(crate) fn each<'a>(
    fields: &'a mut Fields,
    name: &str,
) -> impl Iterator<Item = &'a mut Fields> + 'a {
    fields
        .get_mut(name)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// Drops plain fields that hold their zero value, which Kubernetes does not write (`omitempty`).
pub(crate) fn drop_zero(fields: &mut Fields, names: &[&str]) {
    for name in names {
        let zero = match fields.get(*name) {
            Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Number(number)) => number.as_i64() == Some(0),
            _ => false,
        };
        if zero {
            fields.remove(*name);
        }
    }
}

/// Drops every null below `value`: Kubernetes reads it as absent.
pub(crate) fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => prune_map(map),
        Value::Array(list) => list.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

fn prune_map(map: &mut Fields) {
    if map.values().any(Value::is_null) {
        map.retain(|_, value| !value.is_null());
    }
    map.values_mut().for_each(prune_nulls);
}

/// Drops the nulls of a whole object (`creationTimestamp: null` and the like).
pub(crate) fn prune_object(object: &mut Object) {
    prune_map(&mut object.0);
}

/// Writes the quantities of a resource list in canonical form, rounded up to thousandths (`SetDefaults_ResourceList`).
pub(crate) fn resource_list(fields: &mut Fields, name: &str) {
    for value in child(fields, name).into_iter().flat_map(Map::values_mut) {
        canonical_quantity(value);
    }
}

/// Writes one quantity in canonical form; a number becomes text. What is no quantity is left to validation.
pub(crate) fn canonical_quantity(value: &mut Value) {
    let parsed: Option<Quantity> = match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    };
    let Some(quantity) = parsed else { return };
    let milli = quantity.milli_value();
    let rounded = match milli {
        i64::MIN | i64::MAX => quantity,
        _ => Quantity::from_milli(milli, quantity.format()),
    };
    let canonical = rounded.to_string();
    if value.as_str() != Some(&canonical) {
        *value = Value::String(canonical);
    }
}
