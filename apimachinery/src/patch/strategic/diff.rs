//! Finds the strategic merge patch between two values.

use serde_json::{Map, Value, json};

use super::list::{self, Items};
use super::{
    DELETE_FROM_PRIMITIVE_LIST, DIRECTIVE, PatchError, RETAIN_KEYS, SET_ELEMENT_ORDER, Type,
};
use crate::schema::PatchStrategy;

/// What the patch is to hold.
#[derive(Clone, Copy)]
pub(super) struct Options {
    /// What `modified` adds and sets.
    pub(super) changes: bool,
    /// What `modified` does not have any more.
    pub(super) deletions: bool,
    /// Whether this object is merged by `$retainKeys`.
    pub(super) retain_keys: bool,
}

type Fields = Map<String, Value>;

/// Finds the patch that turns the members of `original` into those of `modified`.
pub(super) fn map(
    original: &Fields,
    modified: &Fields,
    of: Type<'_>,
    options: Options,
) -> Result<Fields, PatchError> {
    let mut patch = Fields::new();
    for (name, new) in modified {
        let Some(old) = original.get(name) else {
            if options.changes {
                patch.insert(name.clone(), new.clone());
            }
            continue;
        };
        match (old, new) {
            (old, new) if name == DIRECTIVE => {
                if !(old.is_string() && new.is_string()) {
                    return Err(PatchError::Failed(format!(
                        "invalid value for special key: {DIRECTIVE}"
                    )));
                }
                if old != new {
                    patch.insert(name.clone(), new.clone());
                }
            }
            (Value::Object(old), Value::Object(new)) => {
                member_map(&mut patch, name, old, new, of, options)?;
            }
            (Value::Array(old), Value::Array(new)) => {
                member_list(&mut patch, name, old, new, of, options)?;
            }
            (old, new) => {
                if options.changes && old != new {
                    patch.insert(name.clone(), new.clone());
                }
            }
        }
    }
    if options.deletions {
        for name in original.keys().filter(|name| !modified.contains_key(*name)) {
            patch.insert(name.clone(), Value::Null);
        }
    }
    if options.retain_keys {
        let retained: Vec<&String> =
            modified.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).collect();
        let mut others = original.iter().filter(|(_, value)| !value.is_null());
        let cleared = others.any(|(name, _)| !modified.contains_key(name));
        if !retained.is_empty() && (cleared || !patch.is_empty()) {
            patch.insert(RETAIN_KEYS.to_owned(), json!(retained));
        }
    }
    Ok(patch)
}

fn member_map(
    patch: &mut Fields,
    name: &str,
    old: &Fields,
    new: &Fields,
    of: Type<'_>,
    options: Options,
) -> Result<(), PatchError> {
    let (of, rule) = match of.member(name) {
        Ok(found) => found,
        // Without metadata equal values need no patch, and different ones cannot have one.
        Err(_) if old == new => return Ok(()),
        Err(error) => return Err(error),
    };
    if rule.strategy == PatchStrategy::Replace {
        if options.changes {
            patch.insert(name.to_owned(), Value::Object(new.clone()));
        }
        return Ok(());
    }
    let inner = map(old, new, of, Options { retain_keys: rule.retain_keys, ..options })?;
    if !inner.is_empty() {
        patch.insert(name.to_owned(), Value::Object(inner));
    }
    Ok(())
}

fn member_list(
    patch: &mut Fields,
    name: &str,
    old: &[Value],
    new: &[Value],
    of: Type<'_>,
    options: Options,
) -> Result<(), PatchError> {
    let (of, rule) = match of.member(name) {
        Ok(found) => found,
        Err(_) if old == new => return Ok(()),
        Err(error) => return Err(error),
    };
    if rule.strategy != PatchStrategy::Merge {
        if options.changes && old != new {
            patch.insert(name.to_owned(), Value::Array(new.to_vec()));
        }
        return Ok(());
    }
    let options = Options { retain_keys: rule.retain_keys, ..options };
    let lists = if old.is_empty() {
        let patch = if options.changes { new.to_vec() } else { Vec::new() };
        Lists { patch, ..Lists::default() }
    } else {
        match list::items(&[old, new])? {
            Some(Items::Objects) => objects(old, new, of.item(), &rule.merge_key, options)?,
            _ => scalars(old, new, options),
        }
    };
    for (prefix, list) in [
        ("", lists.patch),
        (DELETE_FROM_PRIMITIVE_LIST, lists.deletions),
        (SET_ELEMENT_ORDER, lists.order),
    ] {
        if !list.is_empty() {
            let slash = if prefix.is_empty() { "" } else { "/" };
            patch.insert(format!("{prefix}{slash}{name}"), Value::Array(list));
        }
    }
    Ok(())
}

/// The lists by which a patch changes one list.
#[derive(Default)]
struct Lists {
    patch: Vec<Value>,
    deletions: Vec<Value>,
    order: Vec<Value>,
}

fn scalars(old: &[Value], new: &[Value], options: Options) -> Lists {
    let sorted = |list: &[Value]| {
        let mut list = list.to_vec();
        list.sort_by(list::by_text);
        list
    };
    let (sorted_old, sorted_new) = (sorted(old), sorted(new));
    let mut lists = Lists::default();
    walk(&sorted_old, &sorted_new, list::by_text, |pair| match pair {
        (Some(gone), None) if options.deletions && !lists.deletions.contains(gone) => {
            lists.deletions.push(gone.clone());
        }
        (None, Some(added)) if options.changes => lists.patch.push(added.clone()),
        _ => {}
    });
    list::sort_by(&mut lists.patch, new, "");
    // Kubernetes compares `new` with the old list *sorted*, by an oversight: it tells the order of
    // an unsorted list that did not change, and misses a change to the sorted order.
    if (options.deletions && !lists.deletions.is_empty()) || (options.changes && old != new) {
        lists.order = new.to_vec();
    }
    lists
}

fn objects(
    old: &[Value],
    new: &[Value],
    of: Type<'_>,
    key: &str,
    options: Options,
) -> Result<Lists, PatchError> {
    let old_keys = identities(old, key)?;
    let new_keys = identities(new, key)?;
    let mut patch = Vec::new();
    let mut deletions = Vec::new();
    let mut failed = None;
    walk(
        &sorted(old, &old_keys),
        &sorted(new, &new_keys),
        |(a, _), (b, _)| list::by_text(a, b),
        |pair| match pair {
            (Some((_, old)), Some((identity, new))) => {
                let (Value::Object(old), Value::Object(new)) = (old, new) else { return };
                match map(old, new, of, options) {
                    Ok(inner) if inner.is_empty() => {}
                    Ok(mut inner) => {
                        inner.insert(key.to_owned(), (*identity).clone());
                        patch.push(Value::Object(inner));
                    }
                    Err(error) => failed = failed.take().or(Some(error)),
                }
            }
            (None, Some((_, added))) if options.changes => patch.push((*added).clone()),
            (Some((gone, _)), None) if options.deletions => {
                let gone = (*gone).clone();
                deletions.push(json!({key: gone, DIRECTIVE: "delete"}));
            }
            _ => {}
        },
    );
    if let Some(error) = failed {
        return Err(error);
    }
    list::sort_by(&mut patch, new, key);
    patch.extend(deletions);
    let told = !patch.is_empty();
    let moved = old_keys != new_keys;
    let mut lists = Lists { patch, ..Lists::default() };
    if (options.changes && (told || moved)) || (options.deletions && told) {
        lists.order = new_keys.into_iter().map(|identity| json!({key: identity})).collect();
    }
    Ok(lists)
}

fn identities<'a>(list: &'a [Value], key: &str) -> Result<Vec<&'a Value>, PatchError> {
    list.iter()
        .map(|item| {
            let fields = list::object(item)?;
            fields.get(key).ok_or_else(|| list::no_merge_key(fields, key))
        })
        .collect()
}

fn sorted<'a>(list: &'a [Value], keys: &[&'a Value]) -> Vec<(&'a Value, &'a Value)> {
    let mut pairs: Vec<_> = keys.iter().copied().zip(list).collect();
    pairs.sort_by(|(a, _), (b, _)| list::by_text(a, b));
    pairs
}

/// Walks two sorted lists side by side and calls back for each pair of equals, and for each item
/// that only one list has.
fn walk<'a, T>(
    old: &'a [T],
    new: &'a [T],
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
    mut visit: impl FnMut((Option<&'a T>, Option<&'a T>)),
) {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let which = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Less,
            (None, Some(_)) => Greater,
            (Some(old), Some(new)) => order(old, new),
        };
        visit(match which {
            Less => (old.next(), None),
            Equal => (old.next(), new.next()),
            Greater => (None, new.next()),
        });
    }
}
