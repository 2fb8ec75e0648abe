//! Structural schemas: what a CustomResourceDefinition says of its objects, ready to be applied to them.
//!
//! A schema arrives as JSON (`openAPIV3Schema`, a `JSONSchemaProps`) and is parsed once into a [`Structural`]; then each
//! question has one module that walks schema and value side by side:
//!
//! | module | does |
//! |---|---|
//! | [`rules`] | says why a schema is not structural, when the definition is written |
//! | [`prune`](mod@prune) | drops what the schema does not know, and tells the paths |
//! | [`default`](mod@default) | fills in defaults, drops nulls that may not be |
//! | [`validate`](mod@validate) | types, ranges, enumerations, `oneOf` and its kin, with Kubernetes' messages |
//! | [`lists`] | lists that are sets or maps have no item twice |
//! | [`rules_of_cel`] | evaluates `x-kubernetes-validations` |
//! | [`merge`] | the same schema as a [`crate::schema::Struct`], for field ownership and server-side apply |
//!
//! The rules and their words are those of `k8s.io/apiextensions-apiserver/pkg/apiserver/schema` and
//! `k8s.io/kube-openapi/pkg/validation`. Patterns are read by a linear-time engine with ASCII classes, as Go's is; one
//! that it does not know (`\p{…}`) is refused when the definition is written, and so are those that together unfold to
//! more than [`MAX_STATES`].

pub mod default;
mod formats;
pub mod lists;
pub mod merge;
mod parse;
pub mod prune;
pub mod rules;
pub mod rules_of_cel;
pub mod validate;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{cel, regexp::Regexp};

/// All patterns of a schema, those in its rules included, have no more states than this: some tens of megabytes.
pub const MAX_STATES: u64 = 500_000;

/// `type` of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A map with known or free keys.
    Object,
    /// A list.
    Array,
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
}

impl Type {
    /// The word in schemas.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// `additionalProperties`.
#[derive(Clone, Debug, Default)]
pub enum Additional {
    /// Not given.
    #[default]
    None,
    /// `true` or `false`.
    Allows(bool),
    /// A schema of the values.
    Schema(Box<Structural>),
}

impl Additional {
    /// The schema of the values, if there is one.
    #[must_use]
    pub fn schema(&self) -> Option<&Structural> {
        match self {
            Self::Schema(schema) => Some(schema),
            Self::None | Self::Allows(_) => None,
        }
    }
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    /// Replaced as a whole.
    #[default]
    Atomic,
    /// Distinct scalars.
    Set,
    /// Objects that are told apart by [`Structural::list_map_keys`].
    Map,
}

/// A schema, or a part of one below `allOf`, `anyOf`, `oneOf`, `not`.
#[derive(Clone, Debug, Default)]
pub struct Structural {
    /// None where no type is told.
    pub kind: Option<Type>,
    /// What a value is when it is not given.
    pub default: Option<Value>,
    /// Whether null is a value.
    pub nullable: bool,
    /// Known fields.
    pub properties: BTreeMap<String, Self>,
    /// Further fields.
    pub additional: Additional,
    /// A list's items.
    pub items: Option<Box<Self>>,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-list-type`, as far as it is told.
    pub list_kind: Option<ListKind>,
    /// `x-kubernetes-list-map-keys`.
    pub list_map_keys: Vec<String>,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic: bool,
    /// What values must be.
    pub limits: Limits,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
    /// Whether there are rules here or below.
    ruled: bool,
}

/// The value validations of a schema.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// `date-time`, `ipv4`, …
    pub format: String,
    /// Inclusive, unless the flag says otherwise.
    pub minimum: Option<f64>,
    /// The minimum itself is too little.
    pub exclusive_minimum: bool,
    /// Inclusive, unless the flag says otherwise.
    pub maximum: Option<f64>,
    /// The maximum itself is too much.
    pub exclusive_maximum: bool,
    /// The value is a multiple of it.
    pub multiple_of: Option<f64>,
    /// In characters.
    pub min_length: Option<i64>,
    /// In characters.
    pub max_length: Option<i64>,
    /// A text must match somewhere.
    pub pattern: Option<Pattern>,
    /// Of a list.
    pub min_items: Option<i64>,
    /// Of a list.
    pub max_items: Option<i64>,
    /// Of an object.
    pub min_properties: Option<i64>,
    /// Of an object.
    pub max_properties: Option<i64>,
    /// Fields that must be there.
    pub required: Vec<String>,
    /// The values that are allowed; empty: all.
    pub enumeration: Vec<Value>,
    /// All of them hold.
    pub all_of: Vec<Structural>,
    /// One of them holds.
    pub any_of: Vec<Structural>,
    /// Exactly one of them holds.
    pub one_of: Vec<Structural>,
    /// It does not hold.
    pub not: Option<Box<Structural>>,
}

/// A regular expression with its text.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As written.
    pub text: String,
    /// Ready to match.
    pub regexp: Regexp,
}

/// One rule of `x-kubernetes-validations`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As written.
    pub rule: String,
    /// What to say instead of the rule.
    pub message: String,
    /// Gives the message.
    pub message_expression: String,
    /// `FieldValueInvalid` and its kin; empty: invalid.
    pub reason: String,
    /// Below which field the error stands.
    pub field_path: String,
    /// `oldSelf` is an optional, and the rule runs without one, too.
    pub optional_old_self: bool,
    /// The rule, compiled; why it is none otherwise.
    pub program: Result<cel::Program, String>,
    /// The message's expression, compiled.
    pub message_program: Option<Result<cel::Program, String>>,
}

impl Structural {
    /// Reads a schema.
    ///
    /// # Errors
    /// What is no schema at all, and where.
    pub fn parse(schema: &Value) -> Result<Self, String> {
        parse::parse(schema, &mut MAX_STATES.clone())
    }

    /// The kind of list that this is; told or not.
    #[must_use]
    pub fn list_kind(&self) -> ListKind {
        self.list_kind.unwrap_or_default()
    }

    /// Whether null may not stand here.
    #[must_use]
    pub fn refuses_null(&self) -> bool {
        !self.nullable
    }

    /// Whether any rule stands here or below.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.ruled
    }

    /// The schema of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or_else(|| self.additional.schema())
    }
}

/// Whether a text is of a format; unknown formats take all.
#[must_use]
pub fn is_of_format(format: &str, text: &str) -> bool {
    formats::is_of(format, text)
}

/// Reads a text of the format `duration`.
#[must_use]
pub fn duration_of(text: &str) -> Option<jiff::SignedDuration> {
    formats::duration(text)
}

/// The formats in a schema that are not checked, each once: those of texts that are not known, and those of values that
/// have none.
#[must_use]
pub fn unknown_formats(schema: &Value) -> std::collections::BTreeSet<String> {
    let mut found = std::collections::BTreeSet::new();
    let mut left = vec![schema];
    while let Some(schema) = left.pop() {
        let text = |name: &str| schema[name].as_str().unwrap_or_default();
        let (kind, format) = (text("type"), text("format"));
        let checked = match kind {
            "string" => is_known_format(format),
            "" | "integer" | "number" => true,
            _ => false,
        };
        if !format.is_empty() && !checked {
            found.insert(format.to_owned());
        }
        left.extend(schema["properties"].as_object().into_iter().flat_map(|all| all.values()));
        left.extend(["items", "additionalProperties"].into_iter().filter_map(|at| schema.get(at)));
    }
    found
}

/// Whether a format is one that is checked.
#[must_use]
pub fn is_known_format(format: &str) -> bool {
    formats::is_known(format)
}

/// The fields that a resource and an embedded resource have besides their own.
#[must_use]
pub fn is_type_or_metadata(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

#[cfg(test)]
mod tests;
