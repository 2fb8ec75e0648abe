//! From a request's body to an object: JSON, the right kind, known fields of the right types.
//!
//! What Kubernetes' decoder drops by decoding into Go types is dropped here by the schema: unknown fields. Whether they
//! are an error, a warning or nothing is the caller's choice (`fieldValidation`); a wrong type is always an error.

use apimachinery::{
    object::Object,
    resource::{ResourceInfo, find_object_kind},
    schema::{self, Problem},
    status::Status,
};

use crate::request::FieldValidation;

/// Reads a body as an object of this kind. Faults that are no errors are added to `warnings`.
///
/// # Errors
/// Bad request, in Kubernetes' words.
pub(crate) fn decode(
    info: &ResourceInfo,
    kind: &str,
    api_version: &str,
    body: &[u8],
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Object, Status> {
    let (object, duplicates) = super::json::read_object(body)?;
    settle(info, kind, api_version, object, duplicates, validation, warnings)
}

/// Checks an object that was read already: the result of a patch.
///
/// # Errors
/// Bad request, in Kubernetes' words.
pub(crate) fn settle(
    info: &ResourceInfo,
    kind: &str,
    api_version: &str,
    mut object: Object,
    duplicates: Vec<String>,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Object, Status> {
    check_kind(info, kind, api_version, &mut object)?;
    let (group, version) = apimachinery::resource::split_api_version(api_version);
    let Some(schema) = schema::find(group, version, kind) else { return Ok(object) };
    let value = serde_json::Value::Object(std::mem::take(&mut object.0));
    let problems = schema::check(&value, schema);
    let serde_json::Value::Object(fields) = value else { return Ok(object) };
    object.0 = fields;
    if problems.is_empty() && duplicates.is_empty() {
        return Ok(object);
    }
    let cannot = |why: String| {
        Status::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
        ))
    };
    if let Some(Problem::Undecodable(message)) =
        problems.iter().find(|problem| !problem.is_strict())
    {
        return Err(cannot(message.clone()));
    }
    let faults: Vec<String> =
        duplicates.into_iter().chain(problems.iter().map(ToString::to_string)).collect();
    match validation {
        FieldValidation::Strict => {
            return Err(cannot(format!("strict decoding error: {}", faults.join(", "))));
        }
        FieldValidation::Warn => warnings.extend(faults),
        FieldValidation::Ignore => {}
    }
    if !problems.is_empty() {
        let mut value = serde_json::Value::Object(object.0);
        schema::prune(&mut value, schema);
        object = Object::from_value(value)?;
    }
    Ok(object)
}

/// The object says of itself what the path says of it, or nothing.
fn check_kind(
    info: &ResourceInfo,
    kind: &str,
    api_version: &str,
    object: &mut Object,
) -> Result<(), Status> {
    if object.api_version().is_empty() {
        object.0.insert("apiVersion".into(), api_version.into());
    }
    if object.kind().is_empty() {
        object.0.insert("kind".into(), kind.into());
    }
    if object.kind() == kind && object.api_version() == api_version {
        return Ok(());
    }
    let (given_kind, given_version) = (object.kind(), object.api_version());
    if given_version != api_version && find_object_kind(given_version, given_kind).is_some() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )));
    }
    if find_object_kind(given_version, given_kind).is_none() {
        return Err(Status::bad_request(format!(
            "no kind \"{given_kind}\" is registered for version \"{given_version}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        )));
    }
    Err(Status::bad_request(format!(
        "{given_kind} in version \"{}\" cannot be handled as a {kind}: the body is of another kind than the resource {}",
        info.version,
        info.group_resource()
    )))
}
