//! What merging and diffing need of lists: kinds of items, keys, order.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{DIRECTIVE, PatchError, go_map, go_text};

/// What the items of a list are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Items {
    Scalars,
    Objects,
}

/// Tells what the items of lists that are to be merged are; `None` when there are none at all.
pub(super) fn items(lists: &[&[Value]]) -> Result<Option<Items>, PatchError> {
    let mut all = lists.iter().copied().flatten();
    let Some(first) = all.next() else { return Ok(None) };
    if first.is_array() {
        return Err(PatchError::Inapplicable("lists of lists are not supported".to_owned()));
    }
    if !all.all(|item| kind(item) == kind(first)) {
        let lists: Vec<String> =
            lists.iter().map(|list| go_text(&Value::Array(list.to_vec()))).collect();
        return Err(PatchError::Failed(format!(
            "list element types are not identical: [{}]",
            lists.join(" ")
        )));
    }
    Ok(Some(if first.is_object() { Items::Objects } else { Items::Scalars }))
}

/// Tells Go's types of decoded JSON apart.
pub(super) fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(number) if number.is_f64() => 2,
        Value::Number(_) => 3,
        Value::String(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    }
}

pub(super) fn go_kind(value: &Value) -> &'static str {
    ["<nil>", "bool", "float64", "int64", "string", "[]interface {}", "map[string]interface {}"]
        [usize::from(kind(value))]
}

pub(super) fn object(item: &Value) -> Result<&Map<String, Value>, PatchError> {
    item.as_object().ok_or_else(|| {
        PatchError::Failed(format!(
            "expected a map[string]interface {{}}, but received a {}",
            go_kind(item)
        ))
    })
}

/// The value by which an item is told apart: that of its merge key, or itself.
pub(super) fn identity<'a>(item: &'a Value, merge_key: &str) -> Result<&'a Value, PatchError> {
    if merge_key.is_empty() {
        return Ok(item);
    }
    let fields = object(item)?;
    fields.get(merge_key).ok_or_else(|| no_merge_key(fields, merge_key))
}

pub(super) fn no_merge_key(fields: &Map<String, Value>, merge_key: &str) -> PatchError {
    PatchError::Failed(format!(
        "map: {} does not contain declared merge key: {merge_key}",
        go_map(fields)
    ))
}

/// Finds the item of the same identity; items without a merge key match nothing.
pub(super) fn position(list: &[Value], identity: &Value, merge_key: &str) -> Option<usize> {
    list.iter().position(|item| match merge_key {
        "" => item == identity,
        key => item.get(key) == Some(identity),
    })
}

/// Whether an item only deletes its like.
pub(super) fn deletes(item: &Value) -> bool {
    item.get(DIRECTIVE).is_some_and(|directive| directive == "delete")
}

/// Sorts a list by the order in which another has its items; unknown items and deletions go last.
pub(super) fn sort_by(list: &mut [Value], order: &[Value], merge_key: &str) {
    list.sort_by_cached_key(|item| {
        let found = match merge_key {
            "" => position(order, item, ""),
            key => item.get(key).and_then(|identity| position(order, identity, key)),
        };
        (deletes(item), found.unwrap_or(usize::MAX))
    });
}

/// Puts a merged list in order: `known` are the items that the patch's author has an order for,
/// `live` is the list as the server had it.
pub(super) fn arrange(
    merged: Vec<Value>,
    known: &[Value],
    live: &[Value],
    merge_key: &str,
) -> Result<Vec<Value>, PatchError> {
    let (mut from_patch, mut from_server) = (Vec::new(), Vec::new());
    for item in merged {
        let identity = identity(&item, merge_key)?;
        let side = if position(known, identity, merge_key).is_some() {
            &mut from_patch
        } else {
            &mut from_server
        };
        side.push(item);
    }
    sort_by(&mut from_patch, known, merge_key);
    sort_by(&mut from_server, live, merge_key);

    let place = |item: &Value| position(live, identity(item, merge_key).ok()?, merge_key);
    let mut arranged = Vec::with_capacity(from_patch.len() + from_server.len());
    let mut from_patch = from_patch.into_iter().peekable();
    for item in from_server {
        let mine = place(&item);
        while let Some(other) = from_patch.peek() {
            if matches!((mine, place(other)), (Some(mine), Some(other)) if mine < other) {
                break;
            }
            arranged.extend(from_patch.next());
        }
        arranged.push(item);
    }
    arranged.extend(from_patch);
    Ok(arranged)
}

/// Orders scalars, or items by their merge key, by how Go prints them.
pub(super) fn by_text(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => go_text(a).cmp(&go_text(b)),
    }
}
