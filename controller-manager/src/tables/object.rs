//! Objects from words, and what is compared.

use apimachinery::resource::{self, ResourceInfo};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::Table;

/// `Kind [namespace/]name`, as objects and writes are named.
pub(super) struct Named<'a> {
    pub(super) info: &'static ResourceInfo,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

/// The kind of this name.
pub(super) fn kind(name: &str) -> &'static ResourceInfo {
    let found = resource::RESOURCES.iter().find(|info| info.kind == name);
    found.unwrap_or_else(|| panic!("no kind {name}"))
}

impl<'a> Named<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let (kind_name, name) = text.split_once(' ').unwrap_or((text, ""));
        let info = kind(kind_name);
        let default = if info.namespaced { "n" } else { "" };
        let (namespace, name) = name.split_once('/').unwrap_or((default, name));
        Self { info, namespace, name }
    }
}

/// A whole object.
pub(super) fn make(table: &Table, named: &Named<'_>, fields: &Value, now: Timestamp) -> Value {
    let mut object = json!({
        "apiVersion": named.info.api_version(),
        "kind": named.info.kind,
        "metadata": {"name": named.name, "uid": named.name, "creationTimestamp": "now-3600s"},
    });
    if !named.namespace.is_empty() {
        object["metadata"]["namespace"] = named.namespace.into();
    }
    if let Some(base) = table.base.get(named.info.kind) {
        merge(&mut object, base);
    }
    apply(table, &mut object, fields);
    set_times(&mut object, now);
    object
}

/// Adds words or fields to an object.
pub(super) fn change(table: &Table, object: &mut Value, fields: &Value, now: Timestamp) {
    apply(table, object, fields);
    set_times(object, now);
}

fn apply(table: &Table, object: &mut Value, fields: &Value) {
    match fields {
        Value::Null => {}
        Value::String(words) => {
            for word in words.split_whitespace() {
                let (word, value) = word.split_once('=').unwrap_or((word, ""));
                let meaning = table.words.get(word).unwrap_or_else(|| panic!("no word {word}"));
                let mut meaning = meaning.clone();
                substitute(&mut meaning, value);
                apply(table, object, &meaning);
            }
        }
        Value::Array(parts) => parts.iter().for_each(|part| apply(table, object, part)),
        Value::Object(_) => merge(object, fields),
        other => panic!("neither words nor fields: {other}"),
    }
}

/// Puts a word's value in the place of `$`.
fn substitute(meaning: &mut Value, value: &str) {
    match meaning {
        Value::String(text) if text == "$" => {
            let number = value.parse::<i64>().map(Value::from);
            *meaning = number.unwrap_or_else(|_| value.into());
        }
        // Twice: a text, even if it is a number.
        Value::String(text) if text == "$$" => *meaning = value.into(),
        Value::String(text) => *text = text.replace('$', value),
        Value::Array(items) => items.iter_mut().for_each(|item| substitute(item, value)),
        Value::Object(fields) => fields.values_mut().for_each(|item| substitute(item, value)),
        _ => {}
    }
}

/// Fields are merged, lists added to (replaced where the field's name ends with `!`), null removes.
fn merge(object: &mut Value, fields: &Value) {
    let Value::Object(fields) = fields else {
        *object = fields.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    for (key, value) in fields {
        if let Some(key) = key.strip_suffix('!') {
            object[key] = value.clone();
            continue;
        }
        match (&mut object[key], value) {
            (Value::Array(present), Value::Array(more)) => present.extend(more.iter().cloned()),
            (place, Value::Object(_)) => merge(place, value),
            (place, _) => *place = value.clone(),
        }
        if value.is_null()
            && let Value::Object(object) = object
        {
            object.remove(key);
        }
    }
}

/// Makes times of `now`, `now+5s` and `now-5s`.
pub(super) fn set_times(value: &mut Value, now: Timestamp) {
    match value {
        Value::String(text) => {
            if let Some(rest) = text.strip_prefix("now") {
                let seconds = rest.strip_suffix('s').map_or(Some(0), |n| n.parse::<i64>().ok());
                if let Some(seconds) = seconds.filter(|_| rest.is_empty() || rest.ends_with('s')) {
                    *text = (now + SignedDuration::from_secs(seconds)).to_string();
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| set_times(item, now)),
        Value::Object(fields) => fields.values_mut().for_each(|item| set_times(item, now)),
        _ => {}
    }
}

/// Whether a text is as a pattern says, in which `*` stands for anything.
pub(super) fn fits(text: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    loop {
        if fits(text, rest) {
            return true;
        }
        let mut chars = text.chars();
        if chars.next().is_none() {
            return false;
        }
        text = chars.as_str();
    }
}

/// Whether a body has these fields: lists are compared whole, null is nothing, `*` in a text is anything.
pub(super) fn has(body: &Value, fields: &Value) -> bool {
    match (body, fields) {
        (_, Value::String(text)) if text == "*" => !body.is_null(),
        (Value::String(body), Value::String(text)) => fits(body, text),
        (Value::Object(body), Value::Object(fields)) => {
            fields.iter().all(|(key, value)| has(body.get(key).unwrap_or(&Value::Null), value))
        }
        (Value::Null, Value::Object(fields)) => fields.values().all(Value::is_null),
        // As in Go.
        (Value::Null, Value::Array(items)) => items.is_empty(),
        (Value::Array(body), Value::Array(items)) => {
            body.len() == items.len() && body.iter().zip(items).all(|(b, i)| has(b, i))
        }
        _ => body == fields,
    }
}
