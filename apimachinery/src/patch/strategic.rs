//! Strategic merge patch: a merge patch that knows which lists are merged, and by which key.
//!
//! Besides plain members a patch holds directives. In an object or list item: `$patch: replace` or
//! `delete`; `$retainKeys`, the members that stay; `$deleteFromPrimitiveList/<list>`, scalars to
//! take out; `$setElementOrder/<list>`, the order of the items that the patch's author knows of.
//! Which lists are merged is in the schema ([`crate::schema::Patch`]).
//!
//! The order of a merged list: items that the patch knows keep the order of `$setElementOrder`
//! (else of the patch), items only the server has keep theirs, and the two runs are interleaved by
//! the live order as far as possible.
//!
//! The behaviour follows `k8s.io/apimachinery/pkg/util/strategicpatch` and was compared with
//! kubectl; its order of map iteration, which is random, is sorted here.
//!
//! - [`merge`](mod@merge) lays a patch over an object, or over another patch;
//! - [`diff`] finds what differs;
//! - [`list`] has what both need of lists.

mod diff;
mod list;
mod merge;

use serde_json::{Map, Value};

use self::diff::Options;
use self::merge::Target;
use super::PatchError;
use crate::schema::{Patch, Shape, Struct};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList";
const SET_ELEMENT_ORDER: &str = "$setElementOrder";

/// Applies a patch to an object.
///
/// # Errors
/// When the patch has a wrong form or names what the schema does not have; the target is then lost.
pub fn apply(target: &mut Value, patch: &Value, schema: &Struct) -> Result<(), PatchError> {
    let patch = object(patch)?;
    let Value::Object(original) = target.take() else { return Err(bad_document()) };
    *target = Value::Object(merge::map(original, patch, Type::Struct(schema), Target::Object)?);
    Ok(())
}

/// Creates the patch that turns `original` into `modified`.
///
/// # Errors
/// When an item of a merged list has no merge key, or an object holds what the schema does not.
pub fn create_two_way(
    original: &Value,
    modified: &Value,
    schema: &Struct,
) -> Result<Value, PatchError> {
    let options = Options { changes: true, deletions: true, retain_keys: false };
    diff::map(&object(original)?, &object(modified)?, Type::Struct(schema), options)
        .map(Value::Object)
}

/// Creates the patch that `kubectl apply` sends: `original` is the last applied manifest, `modified`
/// the new one, `current` the live object.
///
/// # Errors
/// As [`create_two_way`].
pub fn create_three_way(
    original: &Value,
    modified: &Value,
    current: &Value,
    schema: &Struct,
) -> Result<Value, PatchError> {
    let (original, modified, current) = (object(original)?, object(modified)?, object(current)?);
    let schema = Type::Struct(schema);
    let changes = Options { changes: true, deletions: false, retain_keys: false };
    let changes = diff::map(&current, &modified, schema, changes)?;
    let deletions = Options { changes: false, deletions: true, retain_keys: false };
    let deletions = diff::map(&original, &modified, schema, deletions)?;
    merge::map(deletions, changes, schema, Target::Patch).map(Value::Object)
}

/// Reads an object; `null` is an empty one, as an absent last-applied manifest is.
fn object(value: &Value) -> Result<Map<String, Value>, PatchError> {
    match value {
        Value::Object(fields) => Ok(fields.clone()),
        Value::Null => Ok(Map::new()),
        _ => Err(bad_document()),
    }
}

fn bad_document() -> PatchError {
    PatchError::Malformed("invalid JSON document".to_owned())
}

/// The type of the value that a walk is at.
#[derive(Clone, Copy)]
enum Type<'a> {
    Struct(&'a Struct),
    Shape(&'a Shape),
}

impl<'a> Type<'a> {
    /// Finds the type and the merge rule of a member.
    fn member(self, name: &str) -> Result<(Self, &'a Patch), PatchError> {
        const NONE: &Patch = &Patch::NONE;
        let missing = |strukt: &str| {
            PatchError::Failed(format!(
                "unable to find api field in struct {strukt} for the json field {name:?}"
            ))
        };
        match self {
            Type::Struct(strukt) => {
                let field = strukt.field(name).ok_or_else(|| missing(strukt.name()))?;
                Ok((Type::Shape(&field.shape), &field.patch))
            }
            Type::Shape(Shape::Struct(strukt)) => Type::Struct(strukt).member(name),
            Type::Shape(Shape::Map(item)) => Ok((Type::Shape(item), NONE)),
            Type::Shape(_) => Err(missing("RawExtension")),
        }
    }

    /// The type of a list's items.
    fn item(self) -> Self {
        match self {
            Type::Shape(Shape::List(item)) => Type::Shape(item),
            _ => Type::Shape(&Shape::Any),
        }
    }
}

/// Splits `$setElementOrder/containers`; `None` for members that are no such directive.
fn directive<'a>(name: &'a str, prefix: &str) -> Option<Result<&'a str, PatchError>> {
    let rest = name.strip_prefix(prefix)?;
    Some(rest.strip_prefix('/').ok_or_else(|| {
        let list = if prefix == SET_ELEMENT_ORDER { "setElementOrder" } else { "primitive" };
        PatchError::Malformed(format!("invalid patch format of {list} list"))
    }))
}

/// Prints a value as Go's `%v` does, for messages and for sorting.
fn go_text(value: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(" ");
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", join(items.iter().map(go_text).collect())),
        Value::Object(fields) => go_map(fields),
        scalar => scalar.to_string(),
    }
}

fn go_map(fields: &Map<String, Value>) -> String {
    let parts: Vec<String> =
        fields.iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
    format!("map[{}]", parts.join(" "))
}

#[cfg(test)]
mod tests;
