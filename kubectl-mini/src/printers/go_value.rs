//! JSON values as Go's fmt prints them.

use std::fmt::Write;

use apimachinery::{field::go_quote, number::format_float};
use serde_json::{Number, Value};

/// `%v`.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => number(value),
        Value::String(value) => value.clone(),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(plain).collect::<Vec<_>>().join(" "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

/// `%#v`.
pub(crate) fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => number(value),
        Value::String(value) => go_quote(value),
        Value::Array(values) => {
            format!(
                "[]interface {{}}{{{}}}",
                values.iter().map(syntax).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Object(fields) => {
            let mut text = String::from("map[string]interface {}{");
            for (index, (key, value)) in fields.iter().enumerate() {
                let comma = if index > 0 { ", " } else { "" };
                let _ = write!(text, "{comma}{}:{}", go_quote(key), syntax(value));
            }
            text + "}"
        }
    }
}

fn number(value: &Number) -> String {
    match value.as_f64() {
        Some(float) if value.is_f64() => format_float(float),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_print_as_in_go() {
        let value = json!({ "a": [1, "x", null], "b": { "c": true } });
        assert_eq!(plain(&value), "map[a:[1 x <nil>] b:map[c:true]]");
        assert_eq!(
            syntax(&value),
            "map[string]interface {}{\"a\":[]interface {}{1, \"x\", interface {}(nil)}, \"b\":map[string]interface {}{\"c\":true}}"
        );
    }
}
