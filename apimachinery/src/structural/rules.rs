//! Why a schema is not accepted: the rules of v1 schemas and of structural ones, with Kubernetes' messages.
//!
//! They follow `pkg/apis/apiextensions/validation` and `pkg/apiserver/schema/validation.go`, and read the JSON itself: most of
//! them are about fields that may not be there. [`extensions`] has those about Kubernetes' own extensions.

mod extensions;

use serde_json::{Map, Value};

use super::{Structural, prune, validate};
use crate::{
    field::{FieldError, Path},
    regexp::{self, Regexp},
};

/// What a schema may have at its root when there is a `status` subresource, in Go's names.
const AT_ROOT: &[&str] = &[
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Enum",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
];
/// Further fields by their JSON names: whatever is not listed above.
const NOT_AT_ROOT: &[&str] = &[
    "additionalProperties",
    "allOf",
    "anyOf",
    "default",
    "not",
    "nullable",
    "oneOf",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
];
/// Fields of JSON Schema that Kubernetes does not take.
const UNSUPPORTED: &[&str] =
    &["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];
/// What may not stand in a schema below `allOf` and its kin, and what it must be instead.
const NOT_NESTED: &[(&str, &str)] = &[
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("externalDocs", "must be undefined to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

type Schema = Map<String, Value>;

/// Judges the schema of one version; `path` is the place of its `openAPIV3Schema`.
#[must_use]
pub fn check(path: &Path, schema: &Value, has_status: bool) -> Vec<FieldError> {
    check_within(path, schema, has_status, &mut super::MAX_STATES.clone())
}

/// As [`check`], for one of several schemas, whose patterns may have so many states yet.
#[must_use]
pub fn check_within(
    path: &Path,
    schema: &Value,
    has_status: bool,
    states: &mut u64,
) -> Vec<FieldError> {
    let Value::Object(root) = schema else {
        return vec![FieldError::required(path, "schemas are required")];
    };
    let mut errors = Vec::new();
    if has_status && NOT_AT_ROOT.iter().any(|name| is_told(root, name)) {
        let detail = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            AT_ROOT.join(" ")
        );
        errors.push(FieldError::invalid(path, schema.clone(), detail));
    }
    let mut judge = Judge { errors: Vec::new(), states: 0 };
    judge.schema(root, Level::Root, path);
    judge.complete(root, root, path, path);
    judge.errors.sort_by_cached_key(ToString::to_string);
    errors.append(&mut judge.errors);
    if errors.is_empty() {
        match super::parse::parse(schema, states) {
            Ok(parsed) => {
                defaults(&parsed, path, &mut errors);
                super::rules_of_cel::check(&parsed, path, &mut errors);
            }
            Err(why) => errors.push(FieldError::invalid(path, "", why)),
        }
    }
    errors
}

/// Whether a field is there and not its zero value.
fn is_told(schema: &Schema, name: &str) -> bool {
    match schema.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => {
            // `additionalProperties: false` says something.
            name == "additionalProperties" && schema.get(name) == Some(&Value::Bool(false))
        }
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(_) => true,
    }
}

fn text<'a>(schema: &'a Schema, name: &str) -> &'a str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn flag(schema: &Schema, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn object<'a>(schema: &'a Schema, name: &str) -> Option<&'a Schema> {
    schema.get(name).and_then(Value::as_object)
}

fn properties(schema: &Schema) -> impl Iterator<Item = (&String, &Schema)> {
    let properties = object(schema, "properties").into_iter().flatten();
    properties.filter_map(|(name, schema)| Some((name, schema.as_object()?)))
}

fn nested(schema: &Schema) -> Vec<(String, &Schema)> {
    let mut found = Vec::new();
    for junctor in ["anyOf", "allOf", "oneOf"] {
        let list = schema.get(junctor).and_then(Value::as_array).into_iter().flatten();
        let list = list.filter_map(Value::as_object).enumerate();
        found.extend(list.map(|(index, schema)| (format!("{junctor}[{index}]"), schema)));
    }
    found.extend(object(schema, "not").map(|schema| ("not".to_owned(), schema)));
    found
}

struct Judge {
    errors: Vec<FieldError>,
    /// Of the patterns so far.
    states: u64,
}

impl Judge {
    fn schema(&mut self, schema: &Schema, level: Level, path: &Path) {
        self.json_schema(schema, path);
        self.types(schema, level, path);
        self.metadata(schema, level, path);
        extensions::check(schema, path, &mut self.errors);
        self.pattern(schema, path);
        let int_or_string = flag(schema, "x-kubernetes-int-or-string");
        for (at, below) in nested(schema) {
            let path = path.child(&at);
            if int_or_string && is_int_or_string_pattern(schema, &at) {
                continue;
            }
            self.nested(below, int_or_string && at == "allOf[0]", &path);
        }
        if let Some(items) = object(schema, "items") {
            self.schema(items, Level::Item, &path.child("items"));
        }
        for (name, property) in properties(schema) {
            self.schema(property, Level::Field, &path.child("properties").key(name));
        }
        if let Some(additional) = object(schema, "additionalProperties") {
            self.schema(additional, Level::Field, &path.child("additionalProperties"));
        }
    }

    /// What no schema may have.
    fn json_schema(&mut self, schema: &Schema, path: &Path) {
        for name in UNSUPPORTED {
            if is_told(schema, name) {
                let detail = format!("{name} is not supported");
                self.errors.push(FieldError::forbidden(&path.child(name), detail));
            }
        }
        if schema.get("items").is_some_and(Value::is_array) {
            let detail = "items must be a schema object and not an array";
            self.errors.push(FieldError::forbidden(&path.child("items"), detail));
        }
        if flag(schema, "uniqueItems") {
            let detail =
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.errors.push(FieldError::forbidden(&path.child("uniqueItems"), detail));
        }
        let additional = path.child("additionalProperties");
        match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => self.errors.push(FieldError::forbidden(
                &additional,
                "additionalProperties cannot be set to false",
            )),
            Some(Value::Object(_)) if properties(schema).next().is_some() => {
                self.errors.push(FieldError::forbidden(
                    &additional,
                    "additionalProperties and properties are mutual exclusive",
                ));
            }
            _ => {}
        }
    }

    fn types(&mut self, schema: &Schema, level: Level, path: &Path) {
        let at = path.child("type");
        let kind = text(schema, "type");
        if kind == "null" {
            let detail = "type cannot be set to null, use nullable as an alternative";
            self.errors.push(FieldError::forbidden(&at, detail));
        } else if !matches!(
            kind,
            "" | "array" | "boolean" | "integer" | "number" | "object" | "string"
        ) {
            let kinds = ["array", "boolean", "integer", "number", "object", "string"];
            self.errors.push(FieldError::not_supported(&at, kind, &kinds));
        }
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let open = flag(schema, "x-kubernetes-preserve-unknown-fields")
            || flag(schema, "x-kubernetes-int-or-string");
        if embedded && kind != "object" {
            let detail = "must be object if x-kubernetes-embedded-resource is true";
            self.errors.push(if kind.is_empty() {
                FieldError::required(&at, detail)
            } else {
                FieldError::invalid(&at, kind, detail)
            });
        } else if kind.is_empty() && !open {
            let detail = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            self.errors.push(FieldError::required(&at, detail));
        }
        if level == Level::Root && !matches!(kind, "" | "object") {
            self.errors.push(FieldError::invalid(&at, kind, "must be object at the root"));
        }
        if kind == "array" && !schema.get("items").is_some_and(Value::is_object) {
            self.errors.push(FieldError::required(&path.child("items"), "must be specified"));
        }
        let additional = path.child("additionalProperties");
        if level == Level::Root && schema.get("additionalProperties").is_some_and(|a| !a.is_null())
        {
            let detail = "must not be used at the root";
            self.errors.push(FieldError::forbidden(&additional, detail));
        }
        if embedded && schema.contains_key("additionalProperties") {
            let detail = "must not be used if x-kubernetes-embedded-resource is set";
            self.errors.push(FieldError::forbidden(&additional, detail));
        }
    }

    /// What a schema may say of the fields that every resource has.
    fn metadata(&mut self, schema: &Schema, level: Level, path: &Path) {
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let at = path.child("properties");
        if embedded
            && !flag(schema, "x-kubernetes-preserve-unknown-fields")
            && properties(schema).next().is_none()
        {
            let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            self.errors.push(FieldError::required(&at, detail));
        }
        if level != Level::Root && !embedded {
            return;
        }
        for (name, property) in properties(schema) {
            let kind = text(property, "type");
            let at = at.key(name);
            match name.as_str() {
                "kind" | "apiVersion" if kind != "string" => {
                    self.errors.push(FieldError::invalid(
                        &at.child("type"),
                        kind,
                        "must be string",
                    ));
                }
                "metadata" => {
                    if kind != "object" {
                        let error = FieldError::invalid(&at.child("type"), kind, "must be object");
                        self.errors.push(error);
                    }
                    let only_names = properties(property)
                        .all(|(name, _)| matches!(name.as_str(), "name" | "generateName"));
                    let more = property.keys().any(|key| {
                        !matches!(key.as_str(), "type" | "properties" | "description")
                            && is_told(property, key)
                    });
                    if level == Level::Root && (!only_names || more) {
                        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
                        self.errors.push(FieldError::forbidden(&at, detail));
                    }
                }
                _ => {}
            }
        }
    }

    fn pattern(&mut self, schema: &Schema, path: &Path) {
        let pattern = text(schema, "pattern");
        // More than may be is told of the schema as a whole.
        self.states = self.states.saturating_add(regexp::states(pattern).unwrap_or_default());
        if self.states > super::MAX_STATES {
            return;
        }
        if let Err(error) = Regexp::new(pattern) {
            let detail = format!("must be a valid regular expression, but isn't: {error}");
            self.errors.push(FieldError::invalid(&path.child("pattern"), pattern, detail));
        }
    }

    /// A schema below `allOf` and its kin: value validations alone.
    fn nested(&mut self, schema: &Schema, first_of_all: bool, path: &Path) {
        self.pattern(schema, path);
        for (name, detail) in NOT_NESTED {
            if is_told(schema, name) {
                self.errors.push(FieldError::forbidden(&path.child(name), *detail));
            }
        }
        for (at, below) in nested(schema) {
            if first_of_all && is_int_or_string_pattern(schema, &at) {
                continue;
            }
            self.nested(below, false, &path.child(&at));
        }
        if let Some(items) = object(schema, "items") {
            self.nested(items, false, &path.child("items"));
        }
        for (name, property) in properties(schema) {
            let path = path.child("properties").key(name);
            if name == "metadata" {
                let detail = "must not be specified in a nested context";
                self.errors.push(FieldError::forbidden(&path, detail));
            }
            self.nested(property, false, &path);
        }
    }

    /// Whatever a nested schema speaks of is specified outside, too.
    fn complete(&mut self, outer: &Schema, schema: &Schema, outer_path: &Path, path: &Path) {
        for (at, below) in nested(schema) {
            self.covered(outer, below, outer_path, &path.child(&at));
        }
        for (name, property) in properties(schema) {
            let at = path.child("properties").key(name);
            self.complete(property, property, &at, &at);
        }
        for name in ["items", "additionalProperties"] {
            if let Some(child) = object(schema, name) {
                let at = path.child(name);
                self.complete(child, child, &at, &at);
            }
        }
    }

    fn covered(&mut self, outer: &Schema, inner: &Schema, outer_path: &Path, path: &Path) {
        for (at, below) in nested(inner) {
            self.covered(outer, below, outer_path, &path.child(&at));
        }
        for (name, property) in properties(inner) {
            let at = path.child("properties").key(name);
            let outer_at = outer_path.child("properties").key(name);
            let own = object(outer, "properties").and_then(|all| all.get(name));
            match own.and_then(Value::as_object) {
                Some(own) => self.covered(own, property, &outer_at, &at),
                None => {
                    let detail = format!("because it is defined in {at}");
                    self.errors.push(FieldError::required(&outer_at, detail));
                }
            }
        }
        if let Some(items) = object(inner, "items") {
            let (at, outer_at) = (path.child("items"), outer_path.child("items"));
            match object(outer, "items") {
                Some(own) => self.covered(own, items, &outer_at, &at),
                None => {
                    let detail = format!("because it is defined in {at}");
                    self.errors.push(FieldError::required(&outer_at, detail));
                }
            }
        }
    }
}

/// `anyOf: [{type: integer}, {type: string}]`, the one place where types may be nested.
fn is_int_or_string_pattern(schema: &Schema, at: &str) -> bool {
    let types = |schema: &Schema| -> Vec<String> {
        let list = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        let only_type = |s: &Schema| s.len() == 1;
        list.filter_map(Value::as_object)
            .filter(|s| only_type(s))
            .map(|s| text(s, "type").to_owned())
            .collect()
    };
    at.starts_with("anyOf[") && types(schema) == ["integer", "string"]
}

/// Default values are good values themselves.
fn defaults(schema: &Structural, path: &Path, errors: &mut Vec<FieldError>) {
    if let Some(default) = &schema.default {
        let at = path.child("default");
        if prune::has_unknown(default, schema) {
            let detail = "must not have unknown fields";
            errors.push(FieldError::invalid(&at, default.clone(), detail));
        }
        let mut filled = default.clone();
        super::default::default(&mut filled, schema);
        errors.extend(validate::validate_at(&at, &filled, None, schema));
    }
    for (name, property) in &schema.properties {
        defaults(property, &path.child("properties").key(name), errors);
    }
    if let Some(items) = &schema.items {
        defaults(items, &path.child("items"), errors);
    }
    if let Some(additional) = schema.additional.schema() {
        defaults(additional, &path.child("additionalProperties"), errors);
    }
}
