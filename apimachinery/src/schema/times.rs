//! Writes times as Kubernetes does: in UTC, `metav1.Time` in whole seconds.

use serde_json::Value;

use super::{Shape, Struct};
use crate::time::{MicroTime, Time};

/// Rewrites every time of an object that is written otherwise, as decoding into Go's types and encoding them would.
///
/// Texts that are no times stay as they are.
pub fn rewrite_times(value: &mut Value, schema: &Struct) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields.iter_mut() {
        if let Some(field) = schema.field(name) {
            shape(value, &field.shape);
        }
    }
}

fn shape(value: &mut Value, shape: &Shape) {
    match (shape, value) {
        (Shape::Time, Value::String(text)) => {
            if let Ok(time) = text.parse::<Time>() {
                *text = time.to_string();
            }
        }
        (Shape::MicroTime, Value::String(text)) => {
            if let Ok(time) = text.parse::<MicroTime>() {
                *text = time.to_string();
            }
        }
        (Shape::Struct(schema), value) => rewrite_times(value, schema),
        (Shape::List(item), Value::Array(values)) => {
            values.iter_mut().for_each(|value| self::shape(value, item));
        }
        (Shape::Map(item), Value::Object(values)) => {
            values.values_mut().for_each(|value| self::shape(value, item));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::{check_all, find};

    #[test]
    fn times_are_written_in_utc() {
        let schema = find("", "v1", "Pod").unwrap();
        let pod = |time: &str| json!({"metadata": {"creationTimestamp": time, "managedFields": [{"time": time}]}});
        let check = |given: &str, expected: &str| {
            let mut value = pod(given);
            assert_eq!(check_all(&value, schema).odd_times, given != expected, "{given}");
            rewrite_times(&mut value, schema);
            assert_eq!(value, pod(expected));
        };
        check("2026-11-20T17:09:05Z", "2026-11-20T17:09:05Z");
        check("2026-11-20T17:09:05+00:00", "2026-11-20T17:09:05Z");
        check("2026-11-20T18:09:05.5+01:00", "2026-11-20T17:09:05Z");
        let lease = find("coordination.k8s.io", "v1", "Lease").unwrap();
        let mut value = json!({"spec": {"renewTime": "2026-11-20T18:09:05.123456+01:00"}});
        rewrite_times(&mut value, lease);
        assert_eq!(value, json!({"spec": {"renewTime": "2026-11-20T17:09:05.123456Z"}}));
    }
}
