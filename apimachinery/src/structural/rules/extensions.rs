//! The rules of Kubernetes' extensions of schemas: list and map types, int-or-string, unknown fields.

use serde_json::Value;

use super::{Schema, flag, is_told, object, text};
use crate::field::{FieldError, Path};

const KEYS: &str = "x-kubernetes-list-map-keys";
const LIST_TYPE: &str = "x-kubernetes-list-type";
const MAP_TYPE: &str = "x-kubernetes-map-type";
const OPEN: &str = "x-kubernetes-preserve-unknown-fields";

pub(super) fn check(schema: &Schema, path: &Path, errors: &mut Vec<FieldError>) {
    if flag(schema, "x-kubernetes-int-or-string") {
        for name in [OPEN, "x-kubernetes-embedded-resource"] {
            if flag(schema, name) {
                let detail = "must be false if x-kubernetes-int-or-string is true";
                errors.push(FieldError::invalid(&path.child(name), true, detail));
            }
        }
        if is_told(schema, "type") {
            let detail = "must be empty if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(&path.child("type"), text(schema, "type"), detail));
        }
    }
    if schema.get(OPEN) == Some(&Value::Bool(false)) {
        errors.push(FieldError::invalid(&path.child(OPEN), false, "must be true or undefined"));
    }
    belongs_to(schema, MAP_TYPE, "object", path, errors);
    one_of(schema, MAP_TYPE, &["atomic", "granular"], path, errors);
    belongs_to(schema, LIST_TYPE, "array", path, errors);
    one_of(schema, LIST_TYPE, &["atomic", "map", "set"], path, errors);
    list_map(schema, path, errors);
}

/// The extension stands only at its type.
fn belongs_to(
    schema: &Schema,
    extension: &str,
    kind: &str,
    path: &Path,
    errors: &mut Vec<FieldError>,
) {
    let found = text(schema, "type");
    if !is_told(schema, extension) || found == kind {
        return;
    }
    let (at, detail) = (path.child("type"), format!("must be {kind} if {extension} is specified"));
    errors.push(if found.is_empty() {
        FieldError::required(&at, detail)
    } else {
        FieldError::invalid(&at, found, detail)
    });
}

fn one_of(
    schema: &Schema,
    extension: &str,
    values: &[&str],
    path: &Path,
    errors: &mut Vec<FieldError>,
) {
    let value = text(schema, extension);
    if is_told(schema, extension) && !values.contains(&value) {
        errors.push(FieldError::not_supported(&path.child(extension), value, values));
    }
}

fn list_map(schema: &Schema, path: &Path, errors: &mut Vec<FieldError>) {
    let list_type = text(schema, LIST_TYPE);
    let keys = schema.get(KEYS).cloned().unwrap_or_default();
    let names: Vec<&str> =
        keys.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if list_type != "map" {
        if !names.is_empty() {
            let at = path.child(LIST_TYPE);
            let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
            errors.push(if list_type.is_empty() {
                FieldError::required(&at, detail)
            } else {
                FieldError::invalid(&at, list_type, detail)
            });
        }
        return;
    }
    if names.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(&path.child(KEYS), detail));
    }
    let at = path.child("items");
    let Some(items) = object(schema, "items") else {
        let detail = "must have a schema if x-kubernetes-list-type is map";
        errors.push(FieldError::required(&at, detail));
        return;
    };
    let kind = text(items, "type");
    if kind != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(&at.child("type"), kind, detail));
    }
    let required: Vec<&str> = items
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            let detail = "must not contain duplicate entries";
            errors.push(FieldError::invalid(&path.child(KEYS), keys.clone(), detail));
        }
        let property = object(items, "properties").and_then(|all| all.get(*name));
        let Some(property) = property.and_then(Value::as_object) else {
            let detail = "entries must all be names of item properties";
            errors.push(FieldError::invalid(&path.child(KEYS), keys.clone(), detail));
            continue;
        };
        let at = at.child("properties").key(name);
        if matches!(text(property, "type"), "array" | "object") {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(&at.child("type"), kind, detail));
        }
        if !required.contains(name) && !property.contains_key("default") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(&at.child("default"), detail));
        }
    }
}
