//! A structural schema as the table that field ownership and server-side apply read ([`crate::schema`]).
//!
//! What a schema leaves open is merged as its values turn out: objects field by field, anything else as a whole.

use std::{borrow::Cow, sync::Arc};

use super::{ListKind, Structural, Type};
use crate::schema::{self, Field, Keys, ListType, Patch, Shape, Shared, Struct};

/// The schema of a whole resource: its own fields, type and metadata.
#[must_use]
pub fn schema_of(root: &Structural) -> Shared<Struct> {
    Shared::Counted(Arc::new(strukt(root, true)))
}

fn strukt(of: &Structural, is_resource: bool) -> Struct {
    let mut fields: Vec<Field> = of
        .properties
        .iter()
        .filter(|(name, _)| !(is_resource && super::is_type_or_metadata(name)))
        .map(|(name, child)| {
            let (shape, list) = shape(child);
            field(name, shape, list)
        })
        .collect();
    if is_resource {
        fields.push(field("apiVersion", Shape::String, ListType::Default));
        fields.push(field("kind", Shape::String, ListType::Default));
        let metadata = Shape::Struct(Shared::Static(schema::object_meta()));
        fields.push(field("metadata", metadata, ListType::Default));
    }
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    Struct {
        go_type: Cow::Borrowed(""),
        fields: fields.into(),
        atomic: of.atomic,
        open: of.preserve_unknown,
    }
}

fn field(name: &str, shape: Shape, list: ListType) -> Field {
    Field {
        name: Cow::Owned(name.to_owned()),
        shape,
        required: false,
        list,
        patch: Patch::NONE,
        go_type: Cow::Borrowed(""),
    }
}

fn shape(of: &Structural) -> (Shape, ListType) {
    if of.int_or_string {
        return (Shape::IntOrString, ListType::Default);
    }
    let map_type = if of.atomic { ListType::Atomic } else { ListType::Default };
    match of.kind {
        Some(Type::Object) => {
            if let Some(item) = of.additional.schema() {
                return (Shape::Map(Shared::from(shape(item).0)), map_type);
            }
            if of.properties.is_empty() && of.preserve_unknown && !of.embedded {
                return (Shape::deduced(), map_type);
            }
            (Shape::Struct(Shared::from(strukt(of, of.embedded))), map_type)
        }
        Some(Type::Array) => {
            let Some(item) = &of.items else { return (Shape::Any, ListType::Atomic) };
            let list = match of.list_kind() {
                ListKind::Atomic => ListType::Atomic,
                ListKind::Set => ListType::Set,
                ListKind::Map => ListType::Map(Keys::Owned(keys(of, item))),
            };
            (Shape::List(Shared::from(shape(item).0)), list)
        }
        Some(Type::String) => (Shape::String, ListType::Default),
        Some(Type::Integer) => (Shape::Int64, ListType::Default),
        Some(Type::Number) => (Shape::Float64, ListType::Default),
        Some(Type::Boolean) => (Shape::Boolean, ListType::Default),
        None => (Shape::deduced(), ListType::Default),
    }
}

fn keys(list: &Structural, item: &Structural) -> Vec<(String, Option<serde_json::Value>)> {
    let default = |key: &String| item.properties.get(key).and_then(|p| p.default.clone());
    list.list_map_keys.iter().map(|key| (key.clone(), default(key))).collect()
}
