//! Values against their schema, with the messages of `k8s.io/kube-openapi/pkg/validation/validate` as an API server gives
//! them.
//!
//! An update is judged leniently (`CRDValidationRatcheting`): what is as it was before may stay, be it good or bad. Fields
//! are compared with those of the same name, items of a map list with those of the same keys.

use serde_json::{Map, Value};

use super::{Additional, Limits, Structural, Type, formats, lists::Former};
use crate::field::{ErrorType, FieldError, Path};

/// A text is matched with a pattern if its bytes times the pattern's states are no more: some seconds.
const MAX_MATCH: u64 = 200_000_000;

/// Validates an object; `old` is what it replaces.
#[must_use]
pub fn validate(object: &Value, old: Option<&Value>, schema: &Structural) -> Vec<FieldError> {
    validate_at(&Path::root(), object, old, schema)
}

/// Validates a value that stands at a place.
#[must_use]
pub fn validate_at(
    path: &Path,
    value: &Value,
    old: Option<&Value>,
    schema: &Structural,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(path, value, old, schema, &mut errors);
    errors
}

fn check(
    path: &Path,
    value: &Value,
    old: Option<&Value>,
    schema: &Structural,
    errors: &mut Vec<FieldError>,
) {
    if old == Some(value) || (value.is_null() && schema.nullable) {
        return;
    }
    let fits = fits_type(value, schema);
    if !fits {
        errors.push(wrong_type(path, value, schema));
    }
    composed(path, value, old, schema, errors);
    if fits {
        match value {
            Value::String(text) => text_limits(path, text, schema, errors),
            Value::Number(number) => number_limits(path, number, &schema.limits, errors),
            Value::Array(items) => list_limits(path, items, old, schema, errors),
            _ => {}
        }
    }
    enumerated(path, value, schema, errors);
    if let (true, Value::Object(fields)) = (fits, value) {
        object_limits(path, fields, old, schema, errors);
    }
}

fn fits_type(value: &Value, schema: &Structural) -> bool {
    if schema.int_or_string {
        return value.is_string() || is_integer(value);
    }
    match schema.kind {
        None => true,
        Some(Type::Object) => value.is_object(),
        Some(Type::Array) => value.is_array(),
        Some(Type::String) => value.is_string(),
        Some(Type::Boolean) => value.is_boolean(),
        Some(Type::Number) => value.is_number(),
        Some(Type::Integer) => is_integer(value),
    }
}

/// A whole number; one written with a fraction of zero is one, too.
fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(path: &Path, value: &Value, schema: &Structural) -> FieldError {
    let wanted = match schema.kind {
        Some(kind) => kind.as_str().to_owned(),
        None => "integer,string".to_owned(),
    };
    let found = type_name(value);
    let detail = format!("{} must be of type {wanted}: \"{found}\"", in_body(path));
    FieldError::type_invalid(path, found, detail)
}

/// How messages name the place.
fn in_body(path: &Path) -> String {
    match path.as_str() {
        "<nil>" => " in body".to_owned(),
        path => format!("{path} in body"),
    }
}

fn text_limits(path: &Path, text: &str, schema: &Structural, errors: &mut Vec<FieldError>) {
    let limits = &schema.limits;
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(max) = limits.max_length.filter(|max| length > *max) {
        errors.push(FieldError::too_long(path, usize::try_from(max).unwrap_or_default()));
    }
    if let Some(min) = limits.min_length.filter(|min| length < *min) {
        let detail = format!("{} should be at least {min} chars long", in_body(path));
        errors.push(FieldError::invalid(path, text, detail));
    }
    if let Some(pattern) = &limits.pattern {
        // Nothing stops a match that has begun.
        if (text.len() as u64).saturating_mul(pattern.regexp.states) > MAX_MATCH {
            let detail =
                format!("{} is too long to be matched with '{}'", in_body(path), pattern.text);
            errors.push(FieldError::invalid(path, "", detail));
        } else if !pattern.regexp.regex.is_match(text) {
            let detail = format!("{} should match '{}'", in_body(path), pattern.text);
            errors.push(FieldError::invalid(path, text, detail));
        }
    }
    if schema.kind == Some(Type::String) && !formats::is_of(&limits.format, text) {
        let detail = format!("{} must be of type {}: \"{text}\"", in_body(path), limits.format);
        errors.push(FieldError::type_invalid(path, text, detail));
    }
}

fn number_limits(
    path: &Path,
    number: &serde_json::Number,
    limits: &Limits,
    errors: &mut Vec<FieldError>,
) {
    let Some(value) = number.as_f64() else { return };
    let mut wrong = |why: String| {
        let detail = format!("{} {why}", in_body(path));
        errors.push(FieldError::invalid(path, Value::Number(number.clone()), detail));
    };
    if let Some(factor) = limits.multiple_of.filter(|f| !is_multiple(number, value, *f)) {
        wrong(format!("should be a multiple of {factor}"));
    }
    match limits.maximum {
        Some(max) if limits.exclusive_maximum && value >= max => {
            wrong(format!("should be less than {max}"));
        }
        Some(max) if !limits.exclusive_maximum && value > max => {
            wrong(format!("should be less than or equal to {max}"));
        }
        _ => {}
    }
    match limits.minimum {
        Some(min) if limits.exclusive_minimum && value <= min => {
            wrong(format!("should be greater than {min}"));
        }
        Some(min) if !limits.exclusive_minimum && value < min => {
            wrong(format!("should be greater than or equal to {min}"));
        }
        _ => {}
    }
}

/// As Kubernetes' validation: whole numbers exactly, others within a relative error.
fn is_multiple(number: &serde_json::Number, value: f64, factor: f64) -> bool {
    const EPSILON: f64 = 1e-9;
    const MAX_WHOLE: f64 = 9_007_199_254_740_991.0;
    if factor == 0.0 {
        return true;
    }
    #[allow(clippy::cast_possible_truncation, reason = "whole, and within 2⁵³")]
    if let Some(whole) = number.as_i64()
        && factor.fract() == 0.0
        && factor.abs() <= MAX_WHOLE
    {
        return whole.checked_rem(factor as i64).is_none_or(|rest| rest == 0);
    }
    let times = if factor < 1.0 { 1.0 / factor * value } else { value / factor };
    if !times.is_finite() || times.abs() > MAX_WHOLE {
        return false;
    }
    let whole = times.round();
    times == whole
        || (whole != 0.0 && (times - whole).abs() / (times.abs() + whole.abs()) < EPSILON)
}

fn list_limits(
    path: &Path,
    items: &[Value],
    old: Option<&Value>,
    schema: &Structural,
    errors: &mut Vec<FieldError>,
) {
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if let Some(item) = &schema.items {
        let former = Former::of(old, schema);
        for (index, value) in items.iter().enumerate() {
            check(&path.index(index), value, former.get(value, schema), item, errors);
        }
    }
    if let Some(min) = schema.limits.min_items.filter(|min| count < *min) {
        let detail = format!("{} should have at least {min} items", in_body(path));
        errors.push(FieldError::invalid(path, count, detail));
    }
    if let Some(max) = schema.limits.max_items.filter(|max| count > *max) {
        let max = usize::try_from(max).unwrap_or_default();
        errors.push(FieldError::too_many(path, items.len(), max));
    }
}

fn enumerated(path: &Path, value: &Value, schema: &Structural, errors: &mut Vec<FieldError>) {
    let values = &schema.limits.enumeration;
    if values.is_empty() || values.contains(value) {
        return;
    }
    let shown: Vec<String> = values
        .iter()
        .map(|value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned))
        .collect();
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    errors.push(FieldError::not_supported(path, value.clone(), &shown));
}

fn object_limits(
    path: &Path,
    fields: &Map<String, Value>,
    old: Option<&Value>,
    schema: &Structural,
    errors: &mut Vec<FieldError>,
) {
    let limits = &schema.limits;
    let count = i64::try_from(fields.len()).unwrap_or(i64::MAX);
    if let Some(min) = limits.min_properties.filter(|min| count < *min) {
        let detail = format!("{} should have at least {min} properties", in_body(path));
        errors.push(FieldError::invalid(path, count, detail));
    }
    if let Some(max) = limits.max_properties.filter(|max| count > *max) {
        let max = usize::try_from(max).unwrap_or_default();
        errors.push(FieldError::too_many(path, fields.len(), max));
    }
    for (name, value) in fields {
        let old = old.and_then(|old| old.get(name));
        let at = path.child(name);
        if let Some(property) = schema.properties.get(name) {
            check(&at, value, old, property, errors);
        } else {
            match &schema.additional {
                Additional::Schema(additional) => check(&at, value, old, additional, errors),
                Additional::Allows(false) if !schema.preserve_unknown => {
                    let detail = format!("{} is a forbidden property", in_body(&at));
                    errors.push(FieldError::invalid(&at, "", detail));
                }
                Additional::Allows(_) | Additional::None => {}
            }
        }
    }
    for name in limits.required.iter().filter(|name| !fields.contains_key(*name)) {
        errors.push(FieldError::required(&path.child(name), ""));
    }
}

/// `allOf`, `anyOf`, `oneOf`, `not`.
fn composed(
    path: &Path,
    value: &Value,
    old: Option<&Value>,
    schema: &Structural,
    errors: &mut Vec<FieldError>,
) {
    let limits = &schema.limits;
    let outcome = |schema: &Structural| {
        let mut found = Vec::new();
        check(path, value, old, schema, &mut found);
        found
    };
    // These messages have no field of their own, but name it.
    let mut fails = |why: &str, best: Vec<FieldError>| {
        let shown = if path.as_str() == "<nil>" { "" } else { path.as_str() };
        errors.push(FieldError {
            error_type: ErrorType::Invalid,
            field: "<nil>".to_owned(),
            bad_value: Some("".into()),
            detail: format!("\"{shown}\" must {why}"),
        });
        errors.extend(best);
    };
    if !limits.any_of.is_empty() {
        let outcomes: Vec<_> = limits.any_of.iter().map(outcome).collect();
        if !outcomes.iter().any(Vec::is_empty) {
            fails("validate at least one schema (anyOf)", best(outcomes));
        }
    }
    if !limits.one_of.is_empty() {
        let outcomes: Vec<_> = limits.one_of.iter().map(outcome).collect();
        match outcomes.iter().filter(|found| found.is_empty()).count() {
            1 => {}
            0 => {
                fails("validate one and only one schema (oneOf). Found none valid", best(outcomes));
            }
            count => fails(
                &format!(
                    "validate one and only one schema (oneOf). Found {count} valid alternatives"
                ),
                Vec::new(),
            ),
        }
    }
    if !limits.all_of.is_empty() {
        let outcomes: Vec<_> = limits.all_of.iter().map(outcome).collect();
        let valid = outcomes.iter().filter(|found| found.is_empty()).count();
        if valid != outcomes.len() {
            let more = if valid == 0 { ". None validated" } else { "" };
            fails(
                &format!("validate all the schemas (allOf){more}"),
                outcomes.into_iter().flatten().collect(),
            );
        }
    }
    if limits.not.as_deref().is_some_and(|not| outcome(not).is_empty()) {
        fails("not validate the schema (not)", Vec::new());
    }
}

/// The mistakes of the alternative that has come closest.
fn best(outcomes: Vec<Vec<FieldError>>) -> Vec<FieldError> {
    outcomes.into_iter().min_by_key(Vec::len).unwrap_or_default()
}
