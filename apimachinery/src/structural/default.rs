//! Defaults of schemas (`pkg/apiserver/schema/defaulting`).

use serde_json::Value;

use super::{Structural, is_type_or_metadata};

/// Fills in the defaults of an object, on every level that is there.
pub fn default(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(fields) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                let absent = match fields.get(name) {
                    None => true,
                    Some(value) => value.is_null() && property.refuses_null(),
                };
                if absent {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(child) = schema.field(name) {
                    replace_null(value, child);
                    default(value, child);
                }
            }
        }
        Value::Array(items) => {
            let Some(item) = &schema.items else { return };
            for value in items {
                replace_null(value, item);
                default(value, item);
            }
        }
        _ => {}
    }
}

fn replace_null(value: &mut Value, schema: &Structural) {
    if value.is_null()
        && schema.refuses_null()
        && let Some(default) = &schema.default
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
