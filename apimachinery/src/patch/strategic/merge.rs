//! Lays a strategic merge patch over an object, or over another patch.

use serde_json::{Map, Value};

use super::list::{self, Items};
use super::{
    DELETE_FROM_PRIMITIVE_LIST, DIRECTIVE, PatchError, RETAIN_KEYS, SET_ELEMENT_ORDER, Type,
    directive, go_map, go_text,
};
use crate::schema::PatchStrategy;

/// What a patch is laid over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// An object: directives and `null` are carried out.
    Object,
    /// Another patch: directives and `null` are kept for the server.
    Patch,
}

type Fields = Map<String, Value>;

/// Merges the members of a patch into those of a target.
pub(super) fn map(
    mut original: Fields,
    mut patch: Fields,
    of: Type<'_>,
    target: Target,
) -> Result<Fields, PatchError> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Fields::new()),
            _ => Err(unknown_directive(directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch, target)?;
    ordered_lists(&mut original, &mut patch, of, target)?;
    for (name, value) in patch {
        let deletion = match directive(&name, DELETE_FROM_PRIMITIVE_LIST) {
            Some(_) if target == Target::Patch => {
                original.insert(name, value);
                continue;
            }
            Some(list) => Some(list?.to_owned()),
            None => None,
        };
        let deletes = deletion.is_some();
        let name = deletion.unwrap_or(name);
        if value.is_null() {
            original.remove(&name);
            if target == Target::Patch {
                original.insert(name, value);
            }
            continue;
        }
        let merged = match original.remove(&name) {
            Some(old) if list::kind(&old) == list::kind(&value) => {
                Some(member(old, value, &name, deletes, of, target)?)
            }
            old if deletes => old,
            _ if target == Target::Patch => Some(value),
            _ => cleaned(value),
        };
        if let Some(merged) = merged {
            original.insert(name, merged);
        }
    }
    Ok(original)
}

/// Merges two values of one member, which are of the same JSON type.
fn member(
    old: Value,
    new: Value,
    name: &str,
    deletes: bool,
    of: Type<'_>,
    target: Target,
) -> Result<Value, PatchError> {
    let (of, rule) = of.member(name)?;
    Ok(match (old, new) {
        (Value::Object(old), Value::Object(new)) if rule.strategy != PatchStrategy::Replace => {
            Value::Object(map(old, new, of, target)?)
        }
        (Value::Array(old), Value::Array(new)) if rule.strategy == PatchStrategy::Merge => {
            Value::Array(merge_lists(old, new, of.item(), &rule.merge_key, deletes, target)?)
        }
        (_, new) => new,
    })
}

fn unknown_directive(directive: &Value, patch: &Fields) -> PatchError {
    PatchError::Failed(format!(
        "unknown patch type: {} in map: {}",
        go_text(directive),
        go_map(patch)
    ))
}

/// Takes the directives and `null`s out of a value that is new to the object.
fn cleaned(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => None,
        Value::Object(fields) => Some(Value::Object(
            fields
                .into_iter()
                .filter(|(name, value)| {
                    !value.is_null()
                        && name != RETAIN_KEYS
                        && directive(name, SET_ELEMENT_ORDER).is_none()
                        && directive(name, DELETE_FROM_PRIMITIVE_LIST).is_none()
                })
                .filter_map(|(name, value)| Some((name, cleaned(value)?)))
                .collect(),
        )),
        Value::Array(items) => Some(items.into_iter().filter_map(cleaned).collect()),
        scalar => Some(scalar),
    }
}

/// Carries out `$retainKeys`: what it does not name goes, and a patch may set only what it names.
fn retain_keys(
    original: &mut Fields,
    patch: &mut Fields,
    target: Target,
) -> Result<(), PatchError> {
    let malformed = || PatchError::Malformed("invalid patch format of retainKeys".to_owned());
    let Some(retained) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    if target == Target::Patch {
        match original.get(RETAIN_KEYS) {
            Some(other) if *other != retained => {
                return Err(PatchError::Failed(format!(
                    "{} and {} are not deep equal: this may happen when calculating the 3-way diff patch",
                    go_text(other),
                    go_text(&retained)
                )));
            }
            Some(_) => {}
            None => {
                original.insert(RETAIN_KEYS.to_owned(), retained);
            }
        }
        return Ok(());
    }
    let names = retained.as_array().ok_or_else(malformed)?;
    let named = |name: &String| names.iter().any(|retained| retained == name.as_str());
    let is_list_directive = |name: &String| {
        name.starts_with(DELETE_FROM_PRIMITIVE_LIST) || name.starts_with(SET_ELEMENT_ORDER)
    };
    let mut set = patch.iter().filter(|(name, value)| !value.is_null() && !is_list_directive(name));
    if !set.all(|(name, _)| named(name)) {
        return Err(malformed());
    }
    original.retain(|name, _| named(name));
    Ok(())
}

/// Merges each list that has a `$setElementOrder`, and takes list and directive out of the patch.
fn ordered_lists(
    original: &mut Fields,
    patch: &mut Fields,
    of: Type<'_>,
    target: Target,
) -> Result<(), PatchError> {
    let directives: Vec<String> =
        patch.keys().filter(|name| name.starts_with(SET_ELEMENT_ORDER)).cloned().collect();
    for directive_name in directives {
        let Some(order) = patch.remove(&directive_name) else { continue };
        if target == Target::Patch {
            if original.get(&directive_name).is_some_and(|other| *other != order) {
                return Err(bad_order());
            }
            original.insert(directive_name.clone(), order.clone());
        }
        let order = array(order)?;
        let name = directive(&directive_name, SET_ELEMENT_ORDER).ok_or_else(bad_order)??;
        let live = original.get(name).cloned().map(array).transpose()?;
        let new = patch.get(name).cloned().map(array).transpose()?;
        let (of, rule) = of.member(name)?;
        let key = rule.merge_key.as_ref();
        check_order(new.as_deref().unwrap_or_default(), &order, key)?;
        let both = [live.as_deref().unwrap_or_default(), new.as_deref().unwrap_or_default()];
        list::items(&both)?;
        let merged = match (live.clone(), new) {
            (None, None) => continue,
            (Some(live), None) => live,
            (None, Some(new)) => match target {
                Target::Patch => new,
                Target::Object => new.into_iter().filter_map(cleaned).collect(),
            },
            (Some(live), Some(new)) => match rule.strategy {
                PatchStrategy::Merge => merge_lists(live, new, of.item(), key, false, target)?,
                _ => new,
            },
        };
        let live = live.unwrap_or_default();
        let arranged = list::arrange(merged, &order, &live, key)?;
        original.insert(name.to_owned(), Value::Array(arranged));
        patch.remove(name);
    }
    Ok(())
}

fn bad_order() -> PatchError {
    PatchError::Malformed("invalid patch format of setElementOrder list".to_owned())
}

fn array(value: Value) -> Result<Vec<Value>, PatchError> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(PatchError::Failed(format!(
            "expected a []interface {{}}, but received a {}",
            list::go_kind(&other)
        ))),
    }
}

/// Checks that the items of a patch's list stand in its `$setElementOrder`, in that order.
fn check_order(patch: &[Value], order: &[Value], key: &str) -> Result<(), PatchError> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut places = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let wanted = list::identity(item, key)?;
        loop {
            let Some(place) = places.next() else {
                return Err(PatchError::Failed(format!(
                    "The order in patch list:\n{}\n doesn't match {SET_ELEMENT_ORDER} list:\n{}\n",
                    go_text(&Value::Array(patch.to_vec())),
                    go_text(&Value::Array(order.to_vec()))
                )));
            };
            if list::identity(place, key)? == wanted {
                break;
            }
        }
    }
    Ok(())
}

/// Merges two lists; `deletes`: the patch's list names scalars to take out.
fn merge_lists(
    original: Vec<Value>,
    patch: Vec<Value>,
    item: Type<'_>,
    key: &str,
    deletes: bool,
    target: Target,
) -> Result<Vec<Value>, PatchError> {
    match list::items(&[&original, &patch])? {
        None => Ok(original),
        Some(Items::Scalars) if deletes => {
            Ok(original.into_iter().filter(|item| !patch.contains(item)).collect())
        }
        Some(Items::Scalars) => {
            let mut merged: Vec<Value> = Vec::with_capacity(original.len() + patch.len());
            for item in original.iter().chain(&patch) {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            list::arrange(merged, &patch, &original, "")
        }
        Some(Items::Objects) if key.is_empty() => Err(PatchError::Failed(
            "cannot merge lists without merge key for type struct".to_owned(),
        )),
        Some(Items::Objects) => merge_objects(original, patch, item, key, target),
    }
}

fn merge_objects(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    of: Type<'_>,
    key: &str,
    target: Target,
) -> Result<Vec<Value>, PatchError> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        let fields = list::object(&item)?;
        match fields.get(DIRECTIVE) {
            None => plain.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    let identity = list::identity(&item, key)?;
                    original.retain(|other| other.get(key) != Some(identity));
                }
                // Go on, to drop the other directives.
                Some("replace") => replace = true,
                Some("merge") => {
                    return Err(PatchError::Failed(
                        "merging lists cannot yet be specified in the patch".to_owned(),
                    ));
                }
                _ => return Err(unknown_directive(directive, fields)),
            },
        }
    }
    if replace {
        return match target {
            Target::Patch => Ok(plain),
            Target::Object => Ok(plain.into_iter().filter_map(cleaned).collect()),
        };
    }
    let order = plain.clone();
    let live = original.clone();
    for item in plain {
        let found = list::position(&original, list::identity(&item, key)?, key);
        match (found, item) {
            (Some(index), Value::Object(fields)) => {
                if let Value::Object(old) = original[index].take() {
                    original[index] = Value::Object(map(old, fields, of, target)?);
                }
            }
            (_, item) if target == Target::Patch => original.push(item),
            (_, item) => original.extend(cleaned(item)),
        }
    }
    list::arrange(original, &order, &live, key)
}
