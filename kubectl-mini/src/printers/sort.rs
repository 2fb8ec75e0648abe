//! `--sort-by`.

use std::{borrow::Cow, cmp::Ordering};

use apimachinery::{jsonpath::JsonPath, quantity::Quantity, time::Time};
use serde_json::Value;

use super::go_sort;
use crate::errors::CommandError;

/// Sorts `items` by the field that `expression` names in the object which `object` gives. Items without the field come
/// first.
///
/// # Errors
/// kubectl's, when the expression cannot be read, or no item has the field.
pub fn sort_by<T>(
    items: &mut Vec<T>,
    expression: &str,
    object: impl Fn(&T) -> &Value,
) -> Result<(), CommandError> {
    let path = JsonPath::parse_relaxed(expression)
        .map_err(|error| CommandError::message(error.0))?
        .allow_missing_keys(true);
    let mut keyed = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        let found = path.find(object(&item)).map_err(|error| CommandError::message(error.0))?;
        let key = found.into_iter().flatten().next().map(Cow::into_owned);
        keyed.push((key, item));
    }
    if !keyed.is_empty() && keyed.iter().all(|(key, _)| key.is_none()) {
        items.extend(keyed.into_iter().map(|(_, item)| item));
        return Err(CommandError::message(format!(
            "couldn't find any field with path \"{}\" in the list of objects",
            braces(expression)
        )));
    }
    go_sort::sort(&mut keyed, |(a, _), (b, _)| less(a.as_ref(), b.as_ref()));
    items.extend(keyed.into_iter().map(|(_, item)| item));
    Ok(())
}

fn braces(expression: &str) -> String {
    let path = expression.trim_start_matches('{').trim_end_matches('}').trim_start_matches('.');
    format!("{{.{path}}}")
}

/// What has no such field comes first, in an order of Go's own.
fn less(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(a), Some(b)) => compare_values(a, b).is_lt(),
    }
}

fn compare_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default())
        }
        (Value::String(a), Value::String(b)) => compare_texts(a, b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => a
            .iter()
            .zip(b)
            .map(|(a, b)| compare_values(a, b))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.len().cmp(&b.len())),
        _ => Ordering::Equal,
    }
}

/// Times and quantities by what they mean, other texts so that `a2` comes before `a10`.
fn compare_texts(a: &str, b: &str) -> Ordering {
    if let (Ok(a), Ok(b)) = (a.parse::<Quantity>(), b.parse::<Quantity>()) {
        return a.cmp(&b);
    }
    if let (Some(a), Some(b)) = (time(a), time(b)) {
        return a.cmp(&b);
    }
    natural(a, b)
}

fn time(text: &str) -> Option<Time> {
    serde_json::from_value(Value::String(text.to_owned())).ok()
}

/// Runs of digits compare as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(&x), Some(&y)) = (a.first(), b.first()) else { return a.len().cmp(&b.len()) };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (left, rest_of_a) = digits(a);
            let (right, rest_of_b) = digits(b);
            let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
            if order.is_ne() {
                return order;
            }
            (a, b) = (rest_of_a, rest_of_b);
        } else if x != y {
            return x.cmp(&y);
        } else {
            (a, b) = (&a[1..], &b[1..]);
        }
    }
}

/// The leading number without its zeros, and what follows.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let start = number.iter().position(|byte| *byte != b'0').unwrap_or(number.len());
    (&number[start..], rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_are_sorted_by_a_field() {
        let check = |values: Value, expected: Value| {
            let mut items: Vec<Value> = values
                .as_array()
                .unwrap()
                .iter()
                .map(|value| if value.is_null() { json!({}) } else { json!({ "f": value }) })
                .collect();
            sort_by(&mut items, ".f", |item| item).unwrap();
            let sorted: Vec<Value> =
                items.iter().map(|item| item.get("f").cloned().unwrap_or_default()).collect();
            assert_eq!(Value::Array(sorted), expected);
        };
        check(json!([3, 1, 2]), json!([1, 2, 3]));
        check(json!(["a10", "a2", "a1"]), json!(["a1", "a2", "a10"]));
        check(json!(["1Gi", "500Mi", "2Ki"]), json!(["2Ki", "500Mi", "1Gi"]));
        check(json!(["b", null, "a"]), json!([null, "a", "b"]));
        check(
            json!(["2026-01-02T00:00:00Z", "2025-12-31T00:00:00Z"]),
            json!(["2025-12-31T00:00:00Z", "2026-01-02T00:00:00Z"]),
        );
        let error = sort_by(&mut vec![json!({})], "{.x}", |item| item).unwrap_err();
        assert_eq!(
            error.to_string(),
            "couldn't find any field with path \"{.x}\" in the list of objects"
        );
    }
}
