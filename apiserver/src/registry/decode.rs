//! From a request's body to an object: JSON, the right kind, known fields of the right types.
//!
//! What Kubernetes' decoder drops by decoding into Go types is dropped here by the schema: unknown fields. Whether they
//! are an error, a warning or nothing is the caller's choice (`fieldValidation`); a wrong type is always an error.

use apimachinery::{
    field::{FieldError, Path},
    object::Object,
    resource::{ResourceInfo, find_object_kind, split_api_version},
    schema::{self, Checked, Problem},
    status::Status,
};
use serde_json::Value;

use super::strategy::Strategy;
use crate::request::{FieldValidation, pseudo_resource};

/// Reads a body as an object of this kind; `custom` is the strategy of a resource that is defined at run time. Faults that are no errors are added to `warnings`.
///
/// # Errors
/// Bad request, in Kubernetes' words.
pub(crate) fn decode(
    info: &ResourceInfo,
    custom: Option<&dyn Strategy>,
    kind: &str,
    api_version: &str,
    body: &[u8],
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Object, Status> {
    let (mut object, duplicates) = super::json::read_object(body)?;
    check_kind(info, custom, kind, api_version, &mut object)?;
    let cannot = |why: String| {
        let (_, version) = split_api_version(api_version);
        Status::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
        ))
    };
    settle(custom, &mut object, duplicates, validation, warnings).map_err(cannot)?;
    Ok(object)
}

/// Checks the object that a patch made; `shown` is what an error shows of the patch.
///
/// # Errors
/// Invalid, in Kubernetes' words.
pub(crate) fn check_patched(
    info: &ResourceInfo,
    custom: Option<&dyn Strategy>,
    object: &mut Object,
    shown: &dyn Fn(&Object) -> String,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    check_kind(info, custom, info.kind, &info.api_version(), object)?;
    settle(custom, object, Vec::new(), validation, warnings).map_err(|why| {
        let error = FieldError::invalid(&Path::new("patch"), shown(object), why);
        Status::invalid(&NO_KIND, "", vec![error])
    })
}

/// Drops unknown fields, or tells what is wrong.
fn settle(
    custom: Option<&dyn Strategy>,
    object: &mut Object,
    duplicates: Vec<String>,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let (group, version) = split_api_version(object.api_version());
    let Some(schema) = schema::find(group, version, object.kind()) else {
        let Some(custom) = custom else { return Ok(()) };
        let problems = custom.check_fields(object);
        return judge(&problems, duplicates, validation, warnings);
    };
    let mut value = Value::Object(std::mem::take(&mut object.0));
    let Checked { problems, odd_times } = schema::check_all(&value, schema);
    let unknown = problems.iter().any(Problem::is_strict);
    let outcome = judge(&problems, duplicates, validation, warnings);
    if unknown && outcome.is_ok() {
        schema::prune(&mut value, schema);
    }
    if odd_times {
        schema::rewrite_times(&mut value, schema);
    }
    if let Value::Object(fields) = value {
        object.0 = fields;
    }
    outcome
}

fn judge(
    problems: &[Problem],
    duplicates: Vec<String>,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    if let Some(Problem::Undecodable(message)) = problems.iter().find(|p| !p.is_strict()) {
        return Err(message.clone());
    }
    let mut faults = duplicates;
    faults.extend(problems.iter().map(ToString::to_string));
    match validation {
        FieldValidation::Strict if !faults.is_empty() => {
            return Err(format!("strict decoding error: {}", faults.join(", ")));
        }
        FieldValidation::Warn => warnings.extend(faults),
        FieldValidation::Strict | FieldValidation::Ignore => {}
    }
    Ok(())
}

/// How errors about a patch name the kind: not at all.
static NO_KIND: ResourceInfo = pseudo_resource("", "", "");

/// The object says of itself what the path says of it, or nothing.
fn check_kind(
    info: &ResourceInfo,
    custom: Option<&dyn Strategy>,
    kind: &str,
    api_version: &str,
    object: &mut Object,
) -> Result<(), Status> {
    if custom.is_some() && kind == info.kind {
        return check_custom_kind(api_version, object);
    }
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

/// A kind that is defined at run time is decoded whatever it is; whether it is the right one is validated.
fn check_custom_kind(api_version: &str, object: &Object) -> Result<(), Status> {
    let shown = || Value::Object(object.0.clone()).to_string();
    if object.kind().is_empty() {
        return Err(Status::bad_request(format!("Object 'Kind' is missing in '{}'", shown())));
    }
    let given = object.api_version();
    if given.is_empty() {
        return Err(Status::bad_request(format!(
            "Object 'apiVersion' is missing in '{}'",
            shown()
        )));
    }
    if given != api_version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({api_version})"
        )));
    }
    Ok(())
}
