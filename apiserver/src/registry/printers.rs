//! Tables: what the columns of several kinds share (`pkg/printers/internalversion`).
//!
//! A kind's own columns stand in its file in `kinds/`; here are the columns that all have, ages, lists of containers
//! and selectors. Rows are printed wide: kubectl hides columns of priority 1 itself.

use std::collections::BTreeMap;

use apimachinery::{
    api::meta::LabelSelector,
    duration::HumanDuration,
    labels::Selector,
    object::Object,
    time::{MicroTime, Time},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::registry::strategy::Column;

/// What Kubernetes prints for nothing.
pub(crate) const NONE: &str = "<none>";
/// What Kubernetes prints for a time that is not there.
const UNKNOWN: &str = "<unknown>";

/// The first column of every kind.
pub(crate) const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    description: "Name must be unique within a namespace. Cannot be updated.",
    priority: 0,
};

/// How long the object exists.
pub(crate) const AGE: Column =
    string("Age", "The time since the object was created, by the server's clock.");

/// A column of text.
pub(crate) const fn string(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", description, priority: 0 }
}

/// A column of numbers.
pub(crate) const fn integer(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "integer", format: "", description, priority: 0 }
}

/// A column of text that only `-o wide` shows.
pub(crate) const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", description, priority: 1 }
}

/// The columns of every workload with a template, shown by `-o wide`.
pub(crate) const CONTAINERS: Column =
    wide("Containers", "Names of each container in the template.");
/// See [`CONTAINERS`].
pub(crate) const IMAGES: Column =
    wide("Images", "Images referenced by each container in the template.");
/// See [`CONTAINERS`].
pub(crate) const SELECTOR: Column = wide("Selector", "The pods that the object selects.");

/// The name cell.
pub(crate) fn name(object: &Object) -> Value {
    object.name().into()
}

/// The age cell.
pub(crate) fn age(object: &Object, now: Timestamp) -> Value {
    since(object.get(&["metadata", "creationTimestamp"]), now).into()
}

/// How long ago a JSON time was, `<unknown>` without one.
pub(crate) fn since(time: Option<&Value>, now: Timestamp) -> String {
    parse_time(time).map_or_else(|| UNKNOWN.to_owned(), |time| ago(time, now))
}

/// How long ago a time was.
pub(crate) fn ago(time: Timestamp, now: Timestamp) -> String {
    HumanDuration::between(time, now).to_string()
}

/// A JSON time; null and Go's zero time are none.
pub(crate) fn parse_time(time: Option<&Value>) -> Option<Timestamp> {
    let time: MicroTime = time?.as_str()?.parse().ok()?;
    (time.0 != Time::default().0).then_some(time.0)
}

/// An integer cell; 0 where the field is absent.
pub(crate) fn number(object: &Object, path: &[&str]) -> Value {
    object.get_i64(path).unwrap_or_default().into()
}

/// A text cell, `fallback` where the field is absent or empty.
pub(crate) fn text_or(object: &Object, path: &[&str], fallback: &str) -> Value {
    match object.get_str(path) {
        "" => fallback.into(),
        text => text.into(),
    }
}

/// `name,name` and `image,image` of a template's containers.
pub(crate) fn containers(object: &Object) -> [Value; 2] {
    let containers = object.get_list(&["spec", "template", "spec", "containers"]);
    ["name", "image"].map(|field| {
        let cells: Vec<&str> =
            containers.iter().map(|c| c[field].as_str().unwrap_or_default()).collect();
        cells.join(",").into()
    })
}

/// A map of labels as `a=1,b=2`, `<none>` when empty.
pub(crate) fn label_map(labels: Option<&Value>) -> String {
    let pairs: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") }
}

/// A label selector in its text form, `<none>` when it selects all, `<error>` when it is broken.
pub(crate) fn label_selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return NONE.to_owned() };
    let parsed = LabelSelector::deserialize(selector)
        .ok()
        .and_then(|s| Selector::from_label_selector(Some(&s)).ok());
    match parsed.map(|s| s.to_string()) {
        None => "<error>".to_owned(),
        Some(text) if text.is_empty() => NONE.to_owned(),
        Some(text) => text,
    }
}

/// Up to three things, then `+ N more...`.
pub(crate) fn up_to_three(things: impl Iterator<Item = String>, fallback: &str) -> String {
    const SHOWN: usize = 3;
    let (mut shown, mut count) = (Vec::with_capacity(SHOWN), 0);
    for thing in things {
        count += 1;
        if shown.len() < SHOWN {
            shown.push(thing);
        }
    }
    let text = shown.join(",");
    match count {
        0 => fallback.to_owned(),
        _ if count > SHOWN => format!("{text} + {} more...", count - SHOWN),
        _ => text,
    }
}

/// The whole `-o wide` tail of a workload: containers, images, selector.
pub(crate) fn workload_tail(object: &Object) -> [Value; 3] {
    let [names, images] = containers(object);
    [names, images, label_selector(object.get(&["spec", "selector"])).into()]
}

/// How many entries the maps at `paths` have together.
pub(crate) fn count(object: &Object, fields: &[&str]) -> Value {
    let sum: usize =
        fields.iter().filter_map(|f| object.get(&[f])?.as_object()).map(serde_json::Map::len).sum();
    json!(sum)
}

/// Groups texts by a key, each group joined by `separator`.
pub(crate) fn grouped<'a>(
    pairs: impl Iterator<Item = (&'a str, String)>,
    separator: &str,
) -> BTreeMap<&'a str, String> {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (key, text) in pairs {
        groups.entry(key).or_default().push(text);
    }
    groups.into_iter().map(|(key, texts)| (key, texts.join(separator))).collect()
}
