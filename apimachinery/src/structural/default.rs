//! Defaults of schemas (`pkg/apiserver/schema/defaulting`).
//!
//! A default stands in a schema once and in an object as often as it has places for it, so a small object could become a
//! huge one. What is filled in is counted: after [`MAX_FILLED`] bytes the rest is left out, and an object of that size is
//! refused before it is stored.

use serde_json::Value;

use super::{Structural, is_type_or_metadata};

/// No more bytes of defaults than this are filled in: twice what is stored of any custom resource.
pub const MAX_FILLED: usize = 3 << 20;

/// Fills in the defaults of an object, on every level that is there.
pub fn default(value: &mut Value, schema: &Structural) {
    fill(value, schema, &mut MAX_FILLED.clone());
}

fn fill(value: &mut Value, schema: &Structural, left: &mut usize) {
    match value {
        Value::Object(fields) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                let absent = match fields.get(name) {
                    None => true,
                    Some(value) => value.is_null() && property.refuses_null(),
                };
                if absent && pay(name.len().saturating_add(4), default, left) {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(child) = schema.field(name) {
                    replace_null(value, child, left);
                    fill(value, child, left);
                }
            }
        }
        Value::Array(items) => {
            let Some(item) = &schema.items else { return };
            for value in items {
                replace_null(value, item, left);
                fill(value, item, left);
            }
        }
        _ => {}
    }
}

/// Whether a default can be filled in yet; if so, its size is taken from what is left.
fn pay(name: usize, default: &Value, left: &mut usize) -> bool {
    match left.checked_sub(name.saturating_add(size(default))) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => {
            *left = 0;
            false
        }
    }
}

/// How many bytes a value is as JSON, at least.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| 1 + size(item)).sum::<usize>(),
        Value::Object(fields) => {
            2 + fields.iter().map(|(name, value)| name.len() + 4 + size(value)).sum::<usize>()
        }
        _ => 1,
    }
}

fn replace_null(value: &mut Value, schema: &Structural, left: &mut usize) {
    if value.is_null()
        && schema.refuses_null()
        && let Some(default) = &schema.default
        && pay(0, default, left)
    {
        *value = default.clone();
    }
}

/// Drops nulls where null is no value and where there is no default to take their place: they mean absence.
pub fn drop_nulls(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| match schema.properties.get(name) {
                Some(property) => {
                    !(value.is_null() && property.refuses_null() && property.default.is_none())
                        || is_type_or_metadata(name)
                }
                None => true,
            });
            for (name, value) in fields.iter_mut() {
                if let Some(child) = schema.field(name) {
                    drop_nulls(value, child);
                }
            }
        }
        Value::Array(items) => {
            let Some(item) = &schema.items else { return };
            items.iter_mut().for_each(|value| drop_nulls(value, item));
        }
        _ => {}
    }
}
