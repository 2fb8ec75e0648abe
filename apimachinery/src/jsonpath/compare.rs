//! Comparison and naming of values as Go's text/template does it for filters.

use std::cmp::Ordering;

use serde_json::Value;

use super::{JsonPathError, Operator};
use crate::number::format_float;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Bool,
    Int,
    Float,
    Text,
}

fn kind(value: &Value) -> Result<Kind, JsonPathError> {
    match value {
        Value::Bool(_) => Ok(Kind::Bool),
        Value::Number(number) if number.is_f64() => Ok(Kind::Float),
        Value::Number(_) => Ok(Kind::Int),
        Value::String(_) => Ok(Kind::Text),
        _ => Err(JsonPathError("invalid type for comparison".to_owned())),
    }
}

/// Whether `left operator right` holds; values of different kinds cannot be compared, integers and floats included.
pub(super) fn holds(
    left: &Value,
    operator: &Operator,
    right: &Value,
) -> Result<bool, JsonPathError> {
    if let Operator::Unknown(operator) = operator {
        return Err(JsonPathError(format!("unrecognized filter operator {operator}")));
    }
    let (kind_left, kind_right) = (kind(left)?, kind(right)?);
    if kind_left != kind_right {
        return Err(JsonPathError("incompatible types for comparison".to_owned()));
    }
    if matches!(operator, Operator::Equal | Operator::NotEqual) {
        return Ok((left == right) == (*operator == Operator::Equal));
    }
    let order = match kind_left {
        Kind::Bool => return Err(JsonPathError("invalid type for comparison".to_owned())),
        Kind::Int => left.as_i64().cmp(&right.as_i64()),
        Kind::Float => left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal),
        Kind::Text => left.as_str().cmp(&right.as_str()),
    };
    Ok(match operator {
        Operator::Less => order.is_lt(),
        Operator::LessEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        _ => order.is_ge(),
    })
}

/// The Go type that a value has in client-go.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Go's `%v`.
pub(super) fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => format_float(float),
            None => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(go_text).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let entries = map.iter().map(|(k, v)| format!("{k}:{}", go_text(v)));
            format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
        }
    }
}
