//! Field errors: where in an object something is wrong, and what, in Kubernetes' words.
//!
//! Mirrors `k8s.io/apimachinery/pkg/util/validation/field`. A [`Path`] prints as `spec.containers[0].name`; a
//! [`FieldError`] prints as `spec.replicas: Invalid value: -1: must be greater than or equal to 0`; [`aggregate`]
//! joins several as an API status does.

use std::fmt;

use serde_json::Value;

/// A place in an object, as `spec.containers[0].name` or `metadata.labels[key]`.
///
/// Cheap enough for validation: a child copies its parent's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(String);

impl Path {
    /// The path of a top-level field; dots in `name` separate levels (`Path::new("spec.template")`).
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The object itself; its children print without a leading dot.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The field `name` of the object at this path.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The element `index` of the list at this path.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The entry `key` of the map at this path.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The text form; `<nil>` for the object itself, as Kubernetes prints it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { "<nil>" } else { &self.0 }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&str> for Path {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// What kind of mistake a [`FieldError`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// A reference leads nowhere.
    NotFound,
    /// A value must be given.
    Required,
    /// A value that must be unique is not.
    Duplicate,
    /// A malformed value.
    Invalid,
    /// Not one of the enumerated values.
    NotSupported,
    /// A valid value that is not permitted here.
    Forbidden,
    /// Too many bytes.
    TooLong,
    /// Too few characters.
    TooShort,
    /// Too many items.
    TooMany,
    /// Too few items.
    TooFew,
    /// Not the caller's mistake.
    Internal,
    /// A value of the wrong type.
    TypeInvalid,
}

impl ErrorType {
    /// The `reason` of a `metav1.StatusCause`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooShort => "FieldValueTooShort",
            Self::TooMany => "FieldValueTooMany",
            Self::TooFew => "FieldValueTooFew",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooShort => "Too short",
            Self::TooMany => "Too many",
            Self::TooFew => "Too few",
            Self::Internal => "Internal error",
        }
    }
}

/// One mistake in one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What kind of mistake.
    pub error_type: ErrorType,
    /// Where.
    pub field: String,
    /// The value found there, where the message shows it.
    pub bad_value: Option<Value>,
    /// What would be right.
    pub detail: String,
}

/// The mistakes of one object.
pub type FieldErrors = Vec<FieldError>;

impl FieldError {
    fn make(
        error_type: ErrorType,
        field: &Path,
        bad_value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self { error_type, field: field.to_string(), bad_value, detail: detail.into() }
    }

    /// A value must be given.
    #[must_use]
    pub fn required(field: &Path, detail: impl Into<String>) -> Self {
        Self::make(ErrorType::Required, field, None, detail)
    }

    /// A malformed value.
    #[must_use]
    pub fn invalid(field: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::make(ErrorType::Invalid, field, Some(value.into()), detail)
    }

    /// A value of the wrong type.
    #[must_use]
    pub fn type_invalid(field: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::make(ErrorType::TypeInvalid, field, Some(value.into()), detail)
    }

    /// Not one of `valid` (printed in the order given; Kubernetes' callers sort).
    #[must_use]
    pub fn not_supported(field: &Path, value: impl Into<Value>, valid: &[&str]) -> Self {
        let quoted: Vec<String> = valid.iter().map(|v| go_quote(v)).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self::make(ErrorType::NotSupported, field, Some(value.into()), detail)
    }

    /// A value that must be unique occurs again.
    #[must_use]
    pub fn duplicate(field: &Path, value: impl Into<Value>) -> Self {
        Self::make(ErrorType::Duplicate, field, Some(value.into()), "")
    }

    /// A valid value that is not permitted here.
    #[must_use]
    pub fn forbidden(field: &Path, detail: impl Into<String>) -> Self {
        Self::make(ErrorType::Forbidden, field, None, detail)
    }

    /// More than `max` bytes.
    #[must_use]
    pub fn too_long(field: &Path, max: usize) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        Self::make(ErrorType::TooLong, field, None, format!("may not be more than {max} {unit}"))
    }

    /// Fewer than `min` characters.
    #[must_use]
    pub fn too_short(field: &Path, min: usize) -> Self {
        let unit = if min == 1 { "character" } else { "characters" };
        Self::make(ErrorType::TooShort, field, None, format!("must be at least {min} {unit}"))
    }

    /// `actual` items where `max` are allowed.
    #[must_use]
    pub fn too_many(field: &Path, actual: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {unit}");
        Self::make(ErrorType::TooMany, field, Some(actual.into()), detail)
    }

    /// A reference leads nowhere.
    #[must_use]
    pub fn not_found(field: &Path, value: impl Into<Value>) -> Self {
        Self::make(ErrorType::NotFound, field, Some(value.into()), "")
    }

    /// Not the caller's mistake.
    #[must_use]
    pub fn internal(field: &Path, message: impl Into<String>) -> Self {
        Self::make(ErrorType::Internal, field, None, message)
    }

    /// The message without the field: `Invalid value: "x": detail`.
    #[must_use]
    pub fn body(&self) -> String {
        let mut text = self.error_type.text().to_owned();
        if let Some(value) = &self.bad_value {
            text.push_str(": ");
            match value {
                Value::String(s) => text.push_str(&go_quote(s)),
                other => text.push_str(&other.to_string()),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for FieldError {}

/// Joins errors as Kubernetes' aggregate does: one alone, several as `[a, b]`, repeated messages once.
#[must_use]
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut messages: Vec<String> = Vec::with_capacity(errors.len());
    for message in errors.iter().map(ToString::to_string) {
        if !messages.contains(&message) {
            messages.push(message);
        }
    }
    match messages.len() {
        1 => messages.remove(0),
        _ => format!("[{}]", messages.join(", ")),
    }
}

/// Quotes text as Go's `%q` does.
#[must_use]
pub fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    out
}

/// Go's `strconv.IsPrint`, near enough: no controls, no separators but the space, no private use, no format marks.
fn is_printable(c: char) -> bool {
    !(c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c as u32,
            0xad | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff0..=0xfffb
            | 0xe000..=0xf8ff | 0xe0000..=0x10ffff))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_print_as_kubernetes_prints_them() {
        let check = |error: FieldError, expected: &str| assert_eq!(error.to_string(), expected);
        let spec = Path::new("spec");
        check(
            FieldError::invalid(&spec.child("replicas"), -1, "must be greater than or equal to 0"),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        );
        check(
            FieldError::required(&spec.child("containers").index(0).child("name"), ""),
            "spec.containers[0].name: Required value",
        );
        check(
            FieldError::not_supported(&spec.child("type"), "X", &["A", "B"]),
            r#"spec.type: Unsupported value: "X": supported values: "A", "B""#,
        );
        check(
            FieldError::too_long(&Path::new("metadata.labels").key("a"), 63),
            "metadata.labels[a]: Too long: may not be more than 63 bytes",
        );
        check(
            FieldError::too_many(&spec.child("x"), 3, 1),
            "spec.x: Too many: 3: must have at most 1 item",
        );
        check(
            FieldError::invalid(&spec, json!({"b": 1, "a": [true]}), "no"),
            r#"spec: Invalid value: {"a":[true],"b":1}: no"#,
        );
        check(FieldError::duplicate(&spec, "a\"b\u{1}"), r#"spec: Duplicate value: "a\"b\x01""#);
        check(FieldError::forbidden(&Path::root(), "no"), "<nil>: Forbidden: no");
    }

    #[test]
    fn aggregates_join_and_drop_repetitions() {
        let a = FieldError::required(&Path::new("a"), "");
        let b = FieldError::required(&Path::new("b"), "");
        assert_eq!(aggregate(std::slice::from_ref(&a)), "a: Required value");
        assert_eq!(aggregate(&[a.clone(), b, a]), "[a: Required value, b: Required value]");
    }
}
