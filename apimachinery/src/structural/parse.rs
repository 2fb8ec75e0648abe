//! From `JSONSchemaProps` to [`Structural`].
//!
//! Whether the schema is a good one is not judged here ([`super::rules`]): only what has no meaning at all fails.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Additional, Limits, ListKind, Pattern, Rule, Structural, Type};
use crate::{
    cel,
    regexp::{self, Regexp},
};

/// Reads a schema; `left` is how many states its patterns may have yet.
pub(super) fn parse(schema: &Value, left: &mut u64) -> Result<Structural, String> {
    let Value::Object(fields) = schema else {
        return Err("a schema must be an object".to_owned());
    };
    let mut parsed = Structural {
        kind: kind(text(fields, "type"))?,
        default: fields.get("default").cloned(),
        nullable: flag(fields, "nullable"),
        properties: children(fields, "properties", left)?,
        additional: additional(fields.get("additionalProperties"), left)?,
        items: child(fields, "items", left)?,
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
        limits: limits(fields, left)?,
        rules: rules(fields, left)?,
        ruled: false,
    };
    let below = parsed.properties.values().chain(parsed.items.as_deref());
    parsed.ruled = !parsed.rules.is_empty()
        || below.chain(parsed.additional.schema()).any(Structural::has_rules);
    Ok(parsed)
}

/// Takes the states of a pattern from those that are left.
fn spend(states: u64, left: &mut u64) -> Result<(), String> {
    *left = left.checked_sub(states).ok_or("the schema's patterns are too large together")?;
    Ok(())
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

fn limits(fields: &Map<String, Value>, left: &mut u64) -> Result<Limits, String> {
    let number = |name: &str| fields.get(name).and_then(Value::as_f64);
    let count = |name: &str| fields.get(name).and_then(Value::as_i64);
    let pattern = match text(fields, "pattern") {
        "" => None,
        pattern => {
            let refused = |why| format!("pattern {pattern:?} cannot be read: {why}");
            spend(regexp::states(pattern).map_err(refused)?, left)?;
            let regexp = Regexp::new(pattern).map_err(refused)?;
            Some(Pattern { text: pattern.to_owned(), regexp })
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
        all_of: list(fields, "allOf", left)?,
        any_of: list(fields, "anyOf", left)?,
        one_of: list(fields, "oneOf", left)?,
        not: child(fields, "not", left)?,
    })
}

fn rules(fields: &Map<String, Value>, left: &mut u64) -> Result<Vec<Rule>, String> {
    let rules = fields.get("x-kubernetes-validations").and_then(Value::as_array);
    let rules = rules.into_iter().flatten().filter_map(Value::as_object);
    rules
        .map(|fields| {
            let rule = rule(fields);
            let programs = [Some(&rule.program), rule.message_program.as_ref()];
            for program in programs.into_iter().flatten().flatten() {
                spend(program.expr.states(), left)?;
            }
            Ok(rule)
        })
        .collect()
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

fn additional(value: Option<&Value>, left: &mut u64) -> Result<Additional, String> {
    match value {
        None | Some(Value::Null) => Ok(Additional::None),
        Some(Value::Bool(allows)) => Ok(Additional::Allows(*allows)),
        Some(schema) => Ok(Additional::Schema(Box::new(parse(schema, left)?))),
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

fn child(
    fields: &Map<String, Value>,
    name: &str,
    left: &mut u64,
) -> Result<Option<Box<Structural>>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(schema) => {
            let child = parse(schema, left).map_err(|why| format!("{name}: {why}"))?;
            Ok(Some(Box::new(child)))
        }
    }
}

fn list(
    fields: &Map<String, Value>,
    name: &str,
    left: &mut u64,
) -> Result<Vec<Structural>, String> {
    let list = fields.get(name).and_then(Value::as_array).into_iter().flatten();
    list.map(|schema| parse(schema, left).map_err(|why| format!("{name}: {why}"))).collect()
}

fn children(
    fields: &Map<String, Value>,
    name: &str,
    left: &mut u64,
) -> Result<BTreeMap<String, Structural>, String> {
    let children = fields.get(name).and_then(Value::as_object);
    children
        .into_iter()
        .flatten()
        .map(|(key, schema)| {
            let child = parse(schema, left).map_err(|why| format!("{name}[{key}]: {why}"))?;
            Ok((key.clone(), child))
        })
        .collect()
}
