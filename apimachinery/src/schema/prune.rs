//! Drops what a schema does not know.

use serde_json::Value;

use super::{Shape, Struct};

/// Removes every unknown field from the value, at any depth, as decoding into Go's types would.
pub fn prune(value: &mut Value, schema: &Struct) {
    let Value::Object(fields) = value else { return };
    let mut unknown = false;
    for (name, value) in fields.iter_mut() {
        match schema.field(name) {
            Some(field) => shape(value, &field.shape),
            None => unknown = true,
        }
    }
    if unknown {
        fields.retain(|name, _| schema.field(name).is_some());
    }
}

fn shape(value: &mut Value, shape: &Shape) {
    match (shape, value) {
        (Shape::Struct(schema), value) => prune(value, schema),
        (Shape::List(item), Value::Array(values)) => {
            values.iter_mut().for_each(|value| self::shape(value, item));
        }
        (Shape::Map(item), Value::Object(values)) => {
            values.values_mut().for_each(|value| self::shape(value, item));
        }
        _ => {}
    }
}
