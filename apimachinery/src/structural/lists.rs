//! Lists that are sets or maps have no item twice (`pkg/apiserver/schema/listtype`).

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use serde_json::{Map, Value};

use super::{ListKind, Structural};
use crate::field::{FieldError, Path};

/// Tells the items that occur twice, anywhere in an object.
#[must_use]
pub fn validate(object: &Value, schema: &Structural) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(object, schema, &Path::root(), &mut errors);
    errors
}

fn walk(value: &Value, schema: &Structural, path: &Path, errors: &mut Vec<FieldError>) {
    match value {
        Value::Array(items) => {
            let list = schema.list_kind();
            if list != ListKind::Atomic {
                distinct(items, schema, path, errors);
            }
            let Some(item) = &schema.items else { return };
            for (index, value) in items.iter().enumerate() {
                walk(value, item, &path.index(index), errors);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(property) = schema.properties.get(name) {
                    walk(value, property, &path.child(name), errors);
                } else if let Some(additional) = schema.additional.schema() {
                    walk(value, additional, &path.key(name), errors);
                }
            }
        }
        _ => {}
    }
}

fn distinct(items: &[Value], schema: &Structural, path: &Path, errors: &mut Vec<FieldError>) {
    let mut seen: HashSet<Cow<'_, Value>> = HashSet::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let key = match schema.list_kind() {
            ListKind::Map => match keys_of(item, schema) {
                Some(key) => Cow::Owned(key),
                None => continue,
            },
            ListKind::Set | ListKind::Atomic => Cow::Borrowed(item),
        };
        if let Some(known) = seen.get(&key) {
            errors.push(FieldError::duplicate(&path.index(index), known.as_ref().clone()));
        } else {
            seen.insert(key);
        }
    }
}

/// The items of a former map list by their keys; of other lists none, as their items have no identity.
pub struct Former<'a> {
    by_keys: HashMap<Value, &'a Value>,
}

impl<'a> Former<'a> {
    /// The items of what a list was before.
    #[must_use]
    pub fn of(old: Option<&'a Value>, list: &Structural) -> Self {
        let items = old.and_then(Value::as_array).filter(|_| list.list_kind() == ListKind::Map);
        let mut by_keys = HashMap::new();
        for item in items.into_iter().flatten() {
            if let Some(key) = keys_of(item, list) {
                by_keys.entry(key).or_insert(item);
            }
        }
        Self { by_keys }
    }

    /// The item that had the same keys.
    #[must_use]
    pub fn get(&self, item: &Value, list: &Structural) -> Option<&'a Value> {
        if self.by_keys.is_empty() {
            return None;
        }
        self.by_keys.get(&keys_of(item, list)?).copied()
    }
}

/// The fields of an item of a map list that tell it apart.
#[must_use]
pub fn keys_of(item: &Value, schema: &Structural) -> Option<Value> {
    let fields = item.as_object()?;
    let mut key = Map::new();
    for name in &schema.list_map_keys {
        if let Some(value) = fields.get(name) {
            key.insert(name.clone(), value.clone());
        }
    }
    Some(Value::Object(key))
}
