//! Applies a patch to a stored object.

use apimachinery::{
    object::Object,
    patch::{self, PatchError},
    resource::split_api_version,
    schema,
    status::{Status, StatusCause, StatusReason},
    yaml,
};
use serde_json::Value;

use crate::request::{FieldValidation, PatchType};

/// A JSON patch with more operations than this is refused, as Kubernetes refuses it.
const MAX_JSON_OPERATIONS: usize = 10_000;

/// Reads the configuration of a server-side apply: YAML, of which JSON is a part.
///
/// # Errors
/// Bad request for what is neither, or has fields twice where that is forbidden.
pub(crate) fn parse_apply(
    body: &[u8],
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Object, Status> {
    if let Ok((object, duplicates)) = super::json::read_object(body) {
        return match validation {
            FieldValidation::Strict if !duplicates.is_empty() => Err(Status::bad_request(format!(
                "error strict decoding YAML: {}",
                duplicates.join(", ")
            ))),
            FieldValidation::Warn => {
                warnings.extend(duplicates);
                Ok(object)
            }
            FieldValidation::Strict | FieldValidation::Ignore => Ok(object),
        };
    }
    let bad = |why: String| Status::bad_request(format!("error decoding YAML: {why}"));
    let text = std::str::from_utf8(body).map_err(|error| bad(error.to_string()))?;
    let documents = yaml::read(text, "body").map_err(|error| bad(error.go_message()))?;
    let first = documents.into_iter().next().map_or(Value::Null, |document| document.value);
    Object::from_value(first).map_err(|status| bad(status.message))
}

/// Reads a patch.
///
/// # Errors
/// Bad request for what is no JSON.
pub(crate) fn parse(body: &[u8]) -> Result<Value, Status> {
    let patch: Value = serde_json::from_slice(body)
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    if let Value::Array(operations) = &patch
        && operations.len() > MAX_JSON_OPERATIONS
    {
        return Err(Status::request_entity_too_large(format!(
            "The allowed maximum operations in a JSON patch is {MAX_JSON_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    Ok(patch)
}

/// The object that the patch makes of `target`, which is of this kind.
///
/// # Errors
/// The status that Kubernetes gives for the kind of failure.
pub(crate) fn apply(
    patch_type: PatchType,
    patch: &Value,
    target: &Object,
) -> Result<Object, Status> {
    let (group, version) = split_api_version(target.api_version());
    let schema = schema::find(group, version, target.kind());
    let mut value = Value::Object(target.0.clone());
    let outcome = match (patch_type, schema) {
        (PatchType::Json, _) => patch::json::apply(&mut value, patch),
        (PatchType::Strategic, Some(schema)) => patch::strategic::apply(&mut value, patch, schema),
        _ => patch::merge::apply(&mut value, patch),
    };
    outcome.map_err(patch_error)?;
    Object::from_value(value)
}

/// What an error about the outcome shows of a patch: Kubernetes prints a strategic patch as Go prints a map, and of the
/// others the whole outcome.
pub(crate) fn shown(patch_type: PatchType, patch: &Value, patched: &Object) -> String {
    match patch_type {
        PatchType::Strategic => {
            let mut out = String::new();
            go_print(patch, &mut out);
            out
        }
        _ => Value::Object(patched.0.clone()).to_string(),
    }
}

/// Go's `%+v` of decoded JSON.
fn go_print(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::String(text) => out.push_str(text),
        Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                go_print(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push_str("map[");
            for (index, (key, value)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                go_print(value, out);
            }
            out.push(']');
        }
    }
}

fn patch_error(error: PatchError) -> Status {
    match error {
        PatchError::Malformed(message) => Status::bad_request(message),
        PatchError::Inapplicable(message) => {
            let mut status = Status {
                code: 422,
                reason: StatusReason::Invalid,
                message: "the server rejected our request due to an error in our request".into(),
                ..Status::default()
            };
            status.details.get_or_insert_default().causes.push(StatusCause {
                reason: "UnexpectedServerResponse".into(),
                message,
                field: String::new(),
            });
            status
        }
        PatchError::Failed(message) => Status { code: 500, message, ..Status::default() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_are_shown_as_go_shows_them() {
        let patch = json!({"spec": {"replica": 2, "x": null, "l": ["a", true]}, "a": "b"});
        let object = Object::from_value(json!({"kind": "X"})).unwrap();
        assert_eq!(
            shown(PatchType::Strategic, &patch, &object),
            "map[a:b spec:map[l:[a true] replica:2 x:<nil>]]"
        );
        assert_eq!(shown(PatchType::Merge, &patch, &object), r#"{"kind":"X"}"#);
    }
}
