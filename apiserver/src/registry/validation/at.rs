//! The cursor of validation: [`At`] is one field of an object's JSON, with its value and the way to it.
//!
//! A cursor borrows its parent, so that stepping down allocates nothing; the text of the path is built only when a
//! mistake is told. Validation is on the path of every write: a valid pod is checked without one allocation for
//! paths. Absent and null are the same, as in Kubernetes.

use std::fmt::Write as _;

use apimachinery::{
    field::{FieldError, Path},
    object::Object,
};
use serde_json::{Map, Value};

/// One step from a value to a part of it.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

/// One field: its value, where there is one, and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    value: Option<&'a Value>,
    step: Step<'a>,
    parent: Option<&'a Self>,
}

impl<'a> At<'a> {
    /// A top-level field of an object.
    pub(crate) fn top(object: &'a Object, name: &'a str) -> Self {
        Self { value: present(object.0.get(name)), step: Step::Field(name), parent: None }
    }

    /// A value that stands for itself under `name`.
    pub(crate) fn value(name: &'a str, value: Option<&'a Value>) -> Self {
        Self { value: present(value), step: Step::Field(name), parent: None }
    }

    /// The same place with another value (the same field of an older object, a part computed from it).
    pub(crate) fn with(self, value: Option<&'a Value>) -> Self {
        Self { value: present(value), ..self }
    }

    /// The field `name` of this object.
    pub(crate) fn get<'b>(&'b self, name: &'b str) -> At<'b> {
        At {
            value: present(self.value.and_then(|v| v.get(name))),
            step: Step::Field(name),
            parent: Some(self),
        }
    }

    /// The entry `key` of this map.
    pub(crate) fn key<'b>(&'b self, key: &'b str) -> At<'b> {
        At { step: Step::Key(key), ..self.get(key) }
    }

    /// The element `index` of this list.
    pub(crate) fn index(&self, index: usize) -> At<'_> {
        At {
            value: present(self.value.and_then(|v| v.get(index))),
            step: Step::Index(index),
            parent: Some(self),
        }
    }

    /// The elements of this list; none where it is absent or no list.
    pub(crate) fn items<'b>(&'b self) -> impl Iterator<Item = At<'b>> + 'b {
        self.list().iter().enumerate().map(|(index, value)| At {
            value: present(Some(value)),
            step: Step::Index(index),
            parent: Some(self),
        })
    }

    /// The entries of this map, sorted by key.
    pub(crate) fn entries<'b>(&'b self) -> impl Iterator<Item = (&'b str, At<'b>)> + 'b {
        self.map().into_iter().flatten().map(|(key, value)| {
            (
                key.as_str(),
                At { value: present(Some(value)), step: Step::Key(key), parent: Some(self) },
            )
        })
    }

    /// The value itself.
    pub(crate) fn raw(&self) -> Option<&'a Value> {
        self.value
    }

    /// Whether there is a value.
    pub(crate) fn is_set(&self) -> bool {
        self.value.is_some()
    }

    /// The list's elements; empty where this is no list.
    pub(crate) fn list(&self) -> &'a [Value] {
        self.value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// The map; None where this is none.
    pub(crate) fn map(&self) -> Option<&'a Map<String, Value>> {
        self.value.and_then(Value::as_object)
    }

    /// How many elements, entries or bytes; 0 where absent.
    pub(crate) fn len(&self) -> usize {
        match self.value {
            Some(Value::Array(list)) => list.len(),
            Some(Value::Object(map)) => map.len(),
            Some(Value::String(text)) => text.len(),
            _ => 0,
        }
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text; "" where absent.
    pub(crate) fn text(&self) -> &'a str {
        self.value.and_then(Value::as_str).unwrap_or_default()
    }

    /// The number; 0 where absent.
    pub(crate) fn int(&self) -> i64 {
        self.value.and_then(Value::as_i64).unwrap_or_default()
    }

    /// The boolean; false where absent.
    pub(crate) fn bool(&self) -> bool {
        self.value.and_then(Value::as_bool).unwrap_or_default()
    }

    /// The text of the field `name`; "" where absent.
    pub(crate) fn str(&self, name: &str) -> &'a str {
        self.value.and_then(|v| v.get(name)).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether the field `name` has a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        present(self.value.and_then(|v| v.get(name))).is_some()
    }

    /// The place in text form.
    pub(crate) fn path(&self) -> Path {
        let mut text = String::new();
        self.write_path(&mut text);
        Path::new(text)
    }

    fn write_path(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.write_path(out);
        }
        let written = match self.step {
            Step::Field(name) if out.is_empty() => write!(out, "{name}"),
            Step::Field(name) => write!(out, ".{name}"),
            Step::Index(index) => write!(out, "[{index}]"),
            Step::Key(key) => write!(out, "[{key}]"),
        };
        written.expect("writing to a String cannot fail");
    }

    /// The value as an error shows it: "" where absent.
    fn shown(&self) -> Value {
        self.value.cloned().unwrap_or_else(|| Value::String(String::new()))
    }
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|v| !v.is_null())
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Errors(pub(crate) Vec<FieldError>);

impl Errors {
    /// A value must be given.
    pub(crate) fn required(&mut self, at: &At<'_>, detail: &str) {
        self.0.push(FieldError::required(&at.path(), detail));
    }

    /// The value is malformed.
    pub(crate) fn invalid(&mut self, at: &At<'_>, detail: impl Into<String>) {
        self.0.push(FieldError::invalid(&at.path(), at.shown(), detail));
    }

    /// The value, shown as `value`, is malformed.
    pub(crate) fn invalid_as(
        &mut self,
        at: &At<'_>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) {
        self.0.push(FieldError::invalid(&at.path(), value, detail));
    }

    /// One mistake for each message.
    pub(crate) fn each(&mut self, at: &At<'_>, messages: Vec<String>) {
        for message in messages {
            self.invalid(at, message);
        }
    }

    /// One mistake for each message, the value shown as `value`.
    pub(crate) fn each_as(&mut self, at: &At<'_>, value: impl Into<Value>, messages: Vec<String>) {
        if messages.is_empty() {
            return;
        }
        let value: Value = value.into();
        for message in messages {
            self.invalid_as(at, value.clone(), message);
        }
    }

    /// The value is none of `valid`.
    pub(crate) fn not_supported(&mut self, at: &At<'_>, valid: &[&str]) {
        self.0.push(FieldError::not_supported(&at.path(), at.shown(), valid));
    }

    /// The text must be one of `valid`; an absent one is told as required.
    pub(crate) fn one_of(&mut self, at: &At<'_>, valid: &[&str]) {
        match at.text() {
            "" => self.required(at, ""),
            text if valid.contains(&text) => {}
            _ => self.not_supported(at, valid),
        }
    }

    /// The text, where there is one, must be one of `valid`.
    pub(crate) fn one_of_if_set(&mut self, at: &At<'_>, valid: &[&str]) {
        if at.is_set() && !valid.contains(&at.text()) {
            self.not_supported(at, valid);
        }
    }

    /// The value occurs again.
    pub(crate) fn duplicate(&mut self, at: &At<'_>) {
        self.0.push(FieldError::duplicate(&at.path(), at.shown()));
    }

    /// The value, shown as `value`, occurs again.
    pub(crate) fn duplicate_as(&mut self, at: &At<'_>, value: impl Into<Value>) {
        self.0.push(FieldError::duplicate(&at.path(), value));
    }

    /// The value is not permitted here.
    pub(crate) fn forbidden(&mut self, at: &At<'_>, detail: impl Into<String>) {
        self.0.push(FieldError::forbidden(&at.path(), detail));
    }

    /// More than `max` bytes.
    pub(crate) fn too_long(&mut self, at: &At<'_>, max: usize) {
        self.0.push(FieldError::too_long(&at.path(), max));
    }

    /// More than `max` items.
    pub(crate) fn too_many(&mut self, at: &At<'_>, max: usize) {
        self.0.push(FieldError::too_many(&at.path(), at.len(), max));
    }

    /// The reference leads nowhere.
    pub(crate) fn not_found(&mut self, at: &At<'_>) {
        self.0.push(FieldError::not_found(&at.path(), at.shown()));
    }

    /// The number must not be negative.
    pub(crate) fn non_negative(&mut self, at: &At<'_>) {
        if at.int() < 0 {
            self.invalid(at, "must be greater than or equal to 0");
        }
    }

    /// The field must be what it was.
    pub(crate) fn immutable(&mut self, new: &At<'_>, old: &At<'_>) {
        if !same(new.raw(), old.raw()) {
            let shown = new.raw().cloned().unwrap_or(match old.raw() {
                Some(Value::String(_)) => Value::String(String::new()),
                _ => Value::Null,
            });
            self.invalid_as(new, shown, "field is immutable");
        }
    }
}

/// Whether two values mean the same: absent, null, an empty list, and a map with nothing in it are one
/// (`apiequality.Semantic.DeepEqual`; quantities are canonical since defaulting).
pub(crate) fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a.filter(|v| !is_nothing(v)), b.filter(|v| !is_nothing(v))) {
        (None, None) => true,
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            a.iter().all(|(key, value)| same(Some(value), b.get(key)))
                && b.iter().all(|(key, value)| is_nothing(value) || a.contains_key(key))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_nothing),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cursor_knows_its_way() {
        let object = Object::from_value(json!({
            "spec": {"containers": [{"name": "a"}, {"ports": [{"x": null}], "limits": {"cpu": "1"}}]}
        }))
        .unwrap();
        let spec = At::top(&object, "spec");
        let containers = spec.get("containers");
        let second = containers.index(1);
        assert_eq!(
            second.get("ports").index(0).get("x").path().to_string(),
            "spec.containers[1].ports[0].x"
        );
        assert!(!second.get("ports").index(0).has("x"));
        assert_eq!(
            second.get("limits").key("cpu").path().to_string(),
            "spec.containers[1].limits[cpu]"
        );
        assert_eq!(
            containers.items().map(|c| c.str("name").to_owned()).collect::<Vec<_>>(),
            ["a", ""]
        );
    }

    #[test]
    fn nothing_equals_nothing() {
        let check = |a: Value, b: Value, expected: bool| {
            assert_eq!(same(Some(&a), Some(&b)), expected, "{a} {b}");
            assert_eq!(same(Some(&b), Some(&a)), expected, "{b} {a}");
        };
        check(json!({"a": null, "b": []}), json!({}), true);
        check(json!({"a": {"b": {}}}), json!({"a": {}}), true);
        check(json!({"a": 0}), json!({}), false);
        check(json!([1, 2]), json!([1]), false);
        check(json!({"a": "x"}), json!({"a": "y"}), false);
        assert!(same(None, Some(&json!({}))));
        assert!(!same(None, Some(&json!(false))));
    }
}
