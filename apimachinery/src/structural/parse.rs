//! From `JSONSchemaProps` to [`Structural`].
//!
//! Whether the schema is a good one is not judged here ([`super::rules`]): only what has no meaning at all fails.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::{Additional, Limits, ListKind, Pattern, Rule, Structural, Type};
use crate::cel;

pub(super) fn parse(schema: &Value) -> Result<Structural, String> {
    let Value::Object(fields) = schema else {
        return Err("a schema must be an object".to_owned());
    };
    Ok(Structural {
        kind: kind(text(fields, "type"))?,
        default: fields.get("default").cloned(),
        nullable: flag(fields, "nullable"),
        properties: children(fields, "properties")?,
        additional: additional(fields.get("additionalProperties"))?,
        items: child(fields, "items")?,
        preserve_unknown: flag(fields, "x-kubernetes-preserve-unknown-fields"),
        embedded: flag(fields, "x-kubernetes-embedded-resource"),
        int_or_string: flag(fields, "x-kubernetes-int-or-string"),
        list_kind: match text(fields, "x-kubernetes-list-type") {
            "" => None,
            "set" => Some(ListKind::Set),
            "map" => Some(ListKind::Map),
            _ => Some(ListKind::Atomic),
        },
        list_map_keys: texts(fields, "x-kubernetes-list-map-keys"),
        atomic: text(fields, "x-kubernetes-map-type") == "atomic",
        limits: limits(fields)?,
        rules: rules(fields),
    })
}

fn kind(name: &str) -> Result<Option<Type>, String> {
    Ok(Some(match name {
        "" => return Ok(None),
        "object" => Type::Object,
        "array" => Type::Array,
        "string" => Type::String,
        "integer" => Type::Integer,
        "number" => Type::Number,
        "boolean" => Type::Boolean,
        other => return Err(format!("unknown type {other:?}")),
    }))
}

fn limits(fields: &Map<String, Value>) -> Result<Limits, String> {
    let number = |name: &str| fields.get(name).and_then(Value::as_f64);
    let count = |name: &str| fields.get(name).and_then(Value::as_i64);
    let pattern = match text(fields, "pattern") {
        "" => None,
        pattern => {
            let regex = Regex::new(pattern)
                .map_err(|error| format!("pattern {pattern:?} cannot be read: {error}"))?;
            Some(Pattern { text: pattern.to_owned(), regex })
        }
    };
    Ok(Limits {
        format: text(fields, "format").to_owned(),
        minimum: number("minimum"),
        exclusive_minimum: flag(fields, "exclusiveMinimum"),
        maximum: number("maximum"),
        exclusive_maximum: flag(fields, "exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        pattern,
        min_items: count("minItems"),
        max_items: count("maxItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        required: texts(fields, "required"),
        enumeration: fields.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
        all_of: list(fields, "allOf")?,
        any_of: list(fields, "anyOf")?,
        one_of: list(fields, "oneOf")?,
        not: child(fields, "not")?,
    })
}

fn rules(fields: &Map<String, Value>) -> Vec<Rule> {
    let rules = fields.get("x-kubernetes-validations").and_then(Value::as_array);
    rules.into_iter().flatten().filter_map(Value::as_object).map(rule).collect()
}

fn rule(fields: &Map<String, Value>) -> Rule {
    let message_expression = text(fields, "messageExpression");
    Rule {
        rule: text(fields, "rule").to_owned(),
        message: text(fields, "message").to_owned(),
        message_expression: message_expression.to_owned(),
        reason: text(fields, "reason").to_owned(),
        field_path: text(fields, "fieldPath").to_owned(),
        optional_old_self: flag(fields, "optionalOldSelf"),
        program: cel::Program::compile(text(fields, "rule")),
        message_program: (!message_expression.is_empty())
            .then(|| cel::Program::compile(message_expression)),
    }
}

fn additional(value: Option<&Value>) -> Result<Additional, String> {
    match value {
        None | Some(Value::Null) => Ok(Additional::None),
        Some(Value::Bool(allows)) => Ok(Additional::Allows(*allows)),
        Some(schema) => Ok(Additional::Schema(Box::new(parse(schema)?))),
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn flag(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn texts(fields: &Map<String, Value>, name: &str) -> Vec<String> {
    let list = fields.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

fn child(fields: &Map<String, Value>, name: &str) -> Result<Option<Box<Structural>>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(schema) => Ok(Some(Box::new(parse(schema).map_err(|why| format!("{name}: {why}"))?))),
    }
}

fn list(fields: &Map<String, Value>, name: &str) -> Result<Vec<Structural>, String> {
    let list = fields.get(name).and_then(Value::as_array);
    list.into_iter().flatten().map(|s| parse(s).map_err(|why| format!("{name}: {why}"))).collect()
}

fn children(
    fields: &Map<String, Value>,
    name: &str,
) -> Result<BTreeMap<String, Structural>, String> {
    let children = fields.get(name).and_then(Value::as_object);
    children
        .into_iter()
        .flatten()
        .map(|(key, schema)| {
            let child = parse(schema).map_err(|why| format!("{name}[{key}]: {why}"))?;
            Ok((key.clone(), child))
        })
        .collect()
}
