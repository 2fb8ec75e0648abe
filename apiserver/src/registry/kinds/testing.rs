//! The vocabulary of the kinds' tests: a good object, a few edits, and what comes of it.
//!
//! An edit is a path and a value: dots separate steps, numbers are indices (one past the end appends), `~` stands
//! for a dot within a key, null removes.

use apimachinery::{field::FieldError, object::Object};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    registry::strategy::{Strategy, StrategyContext},
    request::UserInfo,
};

/// One edit.
pub(super) type Edit<'a> = (&'a str, Value);

/// The time at which all tests run.
pub(super) fn now() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

/// What a strategy is told of a write.
pub(super) fn context(subresource: &str) -> StrategyContext<'_> {
    static USER: std::sync::LazyLock<UserInfo> =
        std::sync::LazyLock::new(|| UserInfo { name: "admin".into(), ..UserInfo::default() });
    StrategyContext { now: now(), subresource, user: &USER }
}

/// An object with edits made.
pub(super) fn edited(base: &Value, edits: &[Edit<'_>]) -> Object {
    let mut value = base.clone();
    for (path, new) in edits {
        let steps: Vec<String> = path.split('.').map(|step| step.replace('~', ".")).collect();
        set(&mut value, &steps, new.clone());
    }
    Object::from_value(value).unwrap()
}

fn set(value: &mut Value, steps: &[String], new: Value) {
    let (step, rest) = steps.split_first().unwrap();
    let index: Option<usize> = step.parse().ok();
    let next = match (index, &mut *value) {
        (Some(index), Value::Array(list)) => {
            if index == list.len() {
                list.push(Value::Null);
            }
            &mut list[index]
        }
        (Some(0), _) => {
            *value = Value::Array(vec![Value::Null]);
            &mut value[0]
        }
        (_, Value::Object(map)) if rest.is_empty() && new.is_null() => {
            map.remove(step);
            return;
        }
        (_, Value::Object(map)) => map.entry(step.as_str()).or_insert(Value::Null),
        _ => {
            *value = Value::Object(Map::new());
            value.as_object_mut().unwrap().entry(step.as_str()).or_insert(Value::Null)
        }
    };
    if rest.is_empty() { *next = new } else { set(next, rest, new) }
}

/// The value at a path of the same form.
pub(super) fn at(object: &Object, path: &str) -> Value {
    let mut value = Value::Object(object.0.clone());
    for step in path.split('.').map(|step| step.replace('~', ".")) {
        value = match step.parse::<usize>() {
            Ok(index) if value.is_array() => value.get(index).cloned(),
            _ => value.get(&step).cloned(),
        }
        .unwrap_or_default();
    }
    value
}

/// A new object as the registry makes it.
pub(super) fn created(strategy: &dyn Strategy, base: &Value, edits: &[Edit<'_>]) -> Object {
    let mut object = edited(base, edits);
    strategy.default(&mut object);
    strategy.prepare_for_create(&context(""), &mut object);
    object
}

/// A replacement as the registry makes it.
pub(super) fn replaced(
    strategy: &dyn Strategy,
    subresource: &str,
    old: &Object,
    edits: &[Edit<'_>],
) -> Object {
    let mut object = edited(&Value::Object(old.0.clone()), edits);
    strategy.default(&mut object);
    strategy.prepare_for_update(&context(subresource), &mut object, old);
    object
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn compare(what: &str, edits: &[Edit<'_>], errors: &[String], expected: &[&str]) {
    assert_eq!(errors, expected, "{what} with {edits:?}");
}

/// Creates `base` with `edits`; these mistakes are told.
pub(super) fn check_create(
    strategy: &dyn Strategy,
    base: &Value,
    edits: &[Edit<'_>],
    expected: &[&str],
) {
    let object = created(strategy, base, edits);
    let errors = strategy.validate_create(&context(""), &object);
    compare("create", edits, &texts(&errors), expected);
}

/// Creates `base`, then replaces it by itself with `edits`; these mistakes are told.
pub(super) fn check_update(
    strategy: &dyn Strategy,
    subresource: &str,
    base: &Value,
    edits: &[Edit<'_>],
    expected: &[&str],
) {
    let old = created(strategy, base, &[]);
    let object = replaced(strategy, subresource, &old, edits);
    let errors = strategy.validate_update(&context(subresource), &object, &old);
    compare("update", edits, &texts(&errors), expected);
}

/// Defaults `base` with `edits`; then these fields have these values.
pub(super) fn check_default(
    strategy: &dyn Strategy,
    base: &Value,
    edits: &[Edit<'_>],
    expected: &[Edit<'_>],
) {
    let mut object = edited(base, edits);
    strategy.default(&mut object);
    for (path, value) in expected {
        assert_eq!(&at(&object, path), value, "{path} with {edits:?}");
    }
    let once = object.clone();
    strategy.default(&mut object);
    assert_eq!(object, once, "defaulting twice changes nothing more, with {edits:?}");
}

/// The row of `base` with `edits`, cells joined by `|`.
pub(super) fn check_row(strategy: &dyn Strategy, base: &Value, edits: &[Edit<'_>], expected: &str) {
    let object = edited(base, edits);
    let row = strategy.row(&object, now());
    assert_eq!(row.len(), strategy.columns().len(), "a cell for each column");
    let cells: Vec<String> = row
        .iter()
        .map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned))
        .collect();
    assert_eq!(cells.join("|"), expected, "row with {edits:?}");
}

/// The warnings for `base` with `edits`.
pub(super) fn check_warnings(
    strategy: &dyn Strategy,
    base: &Value,
    edits: &[Edit<'_>],
    expected: &[&str],
) {
    let object = created(strategy, base, edits);
    compare("warnings", edits, &strategy.warnings(&object), expected);
}

/// Rows of `path = value, … => [message, …];` given to a check after its fixed arguments.
macro_rules! rows {
    (@one $check:ident ($($fixed:expr),+) $edits:expr, $expected:expr) => {
        $check($($fixed),+, $edits, $expected)
    };
    ($check:ident $fixed:tt; $($($path:literal = $value:tt),* => [$($expected:expr),* $(,)?];)*) => {
        $(rows!(@one $check $fixed &[$(($path, serde_json::json!($value))),*], &[$($expected),*]);)*
    };
}

/// Rows of `path = value, … => path = value, …;` for `check_default`.
macro_rules! defaults {
    ($strategy:expr, $base:expr; $($($path:literal = $value:tt),* => $($told:literal = $is:tt),*;)*) => {
        $(check_default(
            $strategy,
            $base,
            &[$(($path, serde_json::json!($value))),*],
            &[$(($told, serde_json::json!($is))),*],
        );)*
    };
}

/// Rows of `path = value, … => "cell|cell";` for `check_row`.
macro_rules! cells {
    ($strategy:expr, $base:expr; $($($path:literal = $value:tt),* => $expected:literal;)*) => {
        $(check_row($strategy, $base, &[$(($path, serde_json::json!($value))),*], $expected);)*
    };
}

pub(super) use {cells, defaults, rows};
