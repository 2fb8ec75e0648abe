//! The step that tells an item of a merged list from the others.

use serde_json::{Map, Value};

use crate::schema::{Field, Keys, ListType, Shape};

/// How the values of two owners meet.
pub(super) enum Kind<'a> {
    /// As a whole: scalars, and what is declared atomic.
    Leaf,
    /// Field by field.
    Struct(&'a crate::schema::Struct),
    /// Entry by entry.
    Map(&'a Shape),
    /// Item by item.
    List(&'a Shape, &'a ListType),
}

/// How a value of this shape is merged.
pub(super) fn kind<'a>(shape: &'a Shape, list: &'a ListType) -> Kind<'a> {
    match (shape, list) {
        (_, ListType::Atomic) => Kind::Leaf,
        (Shape::Struct(schema), ListType::Granular) => Kind::Struct(schema),
        (Shape::Struct(schema), _) if schema.atomic => Kind::Leaf,
        (Shape::Struct(schema), _) => Kind::Struct(schema),
        (Shape::Map(item), _) => Kind::Map(item),
        (Shape::List(item), ListType::Set | ListType::Map(_)) => Kind::List(item, list),
        _ => Kind::Leaf,
    }
}

/// How a field is merged.
pub(super) fn kind_of(field: &Field) -> Kind<'_> {
    kind(&field.shape, &field.list)
}

/// Values that key fields have when they are not given.
const DEFAULTS: &[(&str, &str)] = &[("protocol", "TCP")];

/// The step to an item of a merged list.
///
/// # Errors
/// Kubernetes' message for an item that cannot be told apart.
pub(super) fn step(list: &ListType, item: &Value) -> Result<String, String> {
    match (list, item) {
        (ListType::Map(keys), Value::Object(fields)) => keyed(keys, fields),
        (ListType::Map(_), Value::Null) => {
            Err("associative list with keys may not have a null element".into())
        }
        (ListType::Map(_), _) => {
            Err("associative list with keys may not have non-map elements".into())
        }
        (_, Value::Object(_)) => {
            Err("associative list without keys has an element that's a map type".into())
        }
        (_, Value::Array(_)) => {
            Err("not supported: associative list with lists as elements".into())
        }
        (_, Value::Null) => {
            Err("associative list without keys has an element that's an explicit null".into())
        }
        (_, scalar) => Ok(format!("v:{scalar}")),
    }
}

fn keyed(keys: &Keys, fields: &Map<String, Value>) -> Result<String, String> {
    let mut names: Vec<&str> = keys.iter().collect();
    names.sort_unstable();
    let mut step = String::with_capacity(32);
    step.push_str("k:{");
    for (index, name) in names.iter().enumerate() {
        let common = || match keys {
            Keys::Static(_) => DEFAULTS.iter().find(|(key, _)| key == name).map(|(_, v)| *v),
            Keys::Owned(_) => None,
        };
        let default = || {
            let own = keys.default_of(name).map(ToString::to_string);
            own.or_else(|| common().map(|value| Value::from(value).to_string()))
        };
        let given = fields.get(*name).filter(|value| !value.is_null()).map(ToString::to_string);
        let Some(value) = given.or_else(default) else {
            return Err(format!(
                "associative list with keys has an element that omits key field {name:?} (and doesn't have default value)"
            ));
        };
        if index > 0 {
            step.push(',');
        }
        step.push('"');
        step.push_str(name);
        step.push_str("\":");
        step.push_str(&value);
    }
    step.push('}');
    Ok(step)
}
