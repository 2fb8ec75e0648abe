//! `x-kubernetes-validations`: are the rules good ones, and does an object keep them?
//!
//! Follows `pkg/apiserver/schema/cel`. A rule sees its value as `self`; a transition rule sees what the value was as
//! `oldSelf`, and does not run where there was none, unless it takes an optional. All rules of one object share a budget.

use serde_json::Value;

use super::{ListKind, Rule, Structural, Type, lists::Former};
use crate::{
    cel::{
        self, Budget, EvalError, Val,
        check::{Ty, check as check_types, check_message},
        eval::eval,
        value::Json,
    },
    field::{ErrorType, FieldError, Path},
};

/// All rules of one object may take this many steps (`RuntimeCELCostBudget`).
pub const BUDGET: u64 = 10_000_000;
const MAX_MESSAGE: usize = 5120;
const REASONS: [&str; 4] =
    ["FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired", "FieldValueDuplicate"];

/// Judges the rules of a schema when it is written.
pub fn check(schema: &Structural, path: &Path, errors: &mut Vec<FieldError>) {
    check_rules(schema, path, true, true, errors);
}

fn check_rules(
    schema: &Structural,
    path: &Path,
    correlatable: bool,
    is_root: bool,
    errors: &mut Vec<FieldError>,
) {
    for (index, rule) in schema.rules.iter().enumerate() {
        let path = path.child("x-kubernetes-validations").index(index);
        check_rule(schema, rule, &path, correlatable, is_root, errors);
    }
    for (name, property) in &schema.properties {
        check_rules(property, &path.child("properties").key(name), correlatable, false, errors);
    }
    if let Some(additional) = schema.additional.schema() {
        let path = path.child("additionalProperties");
        check_rules(additional, &path, correlatable, false, errors);
    }
    if let Some(items) = &schema.items {
        let correlatable = correlatable && schema.list_kind() == ListKind::Map;
        check_rules(items, &path.child("items"), correlatable, false, errors);
    }
}

fn check_rule(
    schema: &Structural,
    rule: &Rule,
    path: &Path,
    correlatable: bool,
    is_root: bool,
    errors: &mut Vec<FieldError>,
) {
    let trimmed = rule.rule.trim();
    if trimmed.is_empty() {
        errors.push(FieldError::required(&path.child("rule"), "rule is not specified"));
        return;
    }
    let message = path.child("message");
    if !rule.message.is_empty() && rule.message.trim().is_empty() {
        let detail = "message must be non-empty if specified";
        errors.push(FieldError::invalid(&message, rule.message.as_str(), detail));
    } else if rule.message.trim().contains('\n') {
        let detail = "message must not contain line breaks";
        errors.push(FieldError::invalid(&message, rule.message.as_str(), detail));
    } else if trimmed.contains('\n') && rule.message.is_empty() {
        let detail = "message must be specified if rule contains line breaks";
        errors.push(FieldError::required(&message, detail));
    }
    if !rule.reason.is_empty() && !REASONS.contains(&rule.reason.as_str()) {
        let error =
            FieldError::not_supported(&path.child("reason"), rule.reason.as_str(), &REASONS);
        errors.push(error);
    }
    if !rule.field_path.is_empty()
        && let Err(why) = field_path(&rule.field_path, schema)
    {
        let detail = format!("fieldPath must be a valid path: {why}");
        errors.push(FieldError::invalid(
            &path.child("fieldPath"),
            rule.field_path.as_str(),
            detail,
        ));
    }
    let own = Ty::Schema(schema, is_root || schema.embedded);
    let own = if is_collection(schema) { own } else { scalar(schema) };
    let old = if rule.optional_old_self { Ty::Dyn } else { own };
    let variables = [("self", own), ("oldSelf", old)];
    let compiled = rule.program.as_ref().map_err(Clone::clone);
    match compiled.and_then(|p| check_types(&p.expr, &variables, &rule.rule).map(|()| p)) {
        Ok(program) if program.uses("oldSelf") && !correlatable => {
            let detail = format!(
                "oldSelf cannot be used on the uncorrelatable portion of the schema within {path}"
            );
            errors.push(FieldError::invalid(&path.child("rule"), rule.rule.as_str(), detail));
        }
        Ok(program) if rule.optional_old_self && !program.uses("oldSelf") => {
            let detail = "must not be set if oldSelf is not used in rule";
            errors.push(FieldError::invalid(&path.child("optionalOldSelf"), true, detail));
        }
        Ok(_) => {}
        Err(why) => {
            let detail = format!("compilation failed: {why}");
            errors.push(FieldError::invalid(&path.child("rule"), rule.rule.as_str(), detail));
        }
    }
    if let Some(program) = &rule.message_program {
        let source = rule.message_expression.as_str();
        let compiled = program.as_ref().map_err(Clone::clone);
        if let Err(why) = compiled.and_then(|p| check_message(&p.expr, &variables, source)) {
            let detail = format!("messageExpression compilation failed: {why}");
            errors.push(FieldError::invalid(&path.child("messageExpression"), source, detail));
        }
    }
}

fn is_collection(schema: &Structural) -> bool {
    matches!(schema.kind, Some(Type::Object | Type::Array))
}

/// The type of a scalar, seen as an item of a list of its own.
fn scalar(schema: &Structural) -> Ty<'_> {
    match schema.kind {
        Some(Type::Integer) if !schema.int_or_string => Ty::Scalar("int"),
        Some(Type::Number) => Ty::Scalar("double"),
        Some(Type::Boolean) => Ty::Scalar("bool"),
        Some(Type::String) if schema.limits.format.is_empty() => Ty::Scalar("string"),
        _ => Ty::Dyn,
    }
}

/// Reads a rule's `fieldPath`: `.a.b`, `['c']`; it leads to a field of the schema.
fn field_path(text: &str, schema: &Structural) -> Result<Vec<(String, bool)>, String> {
    let mut steps = Vec::new();
    let mut schema = schema;
    let mut rest = text;
    while !rest.is_empty() {
        let (name, left) = if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            (&after[..end], &after[end..])
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = after.find(']').ok_or("unexpected end of JSON path")?;
            let quoted = &after[..end];
            let name = quoted.strip_prefix('\'').and_then(|name| name.strip_suffix('\''));
            let name =
                name.ok_or_else(|| format!("expected single quoted string but got {quoted}"))?;
            (name, &after[end + 1..])
        } else {
            return Err(format!("expected [ or . but got: {rest}"));
        };
        let is_field = !schema.properties.is_empty();
        schema = schema.field(name).ok_or("does not refer to a valid field")?;
        steps.push((name.to_owned(), is_field));
        rest = left;
    }
    Ok(steps)
}

/// Evaluates the rules over an object; `old` is what it replaces.
#[must_use]
pub fn validate(object: &Value, old: Option<&Value>, schema: &Structural) -> Vec<FieldError> {
    let mut run = Run { errors: Vec::new(), budget: Budget::new(BUDGET) };
    // Whoever runs out of budget has said so.
    let _ = run.value(&Path::root(), object, old, schema, true);
    run.errors
}

/// The budget is used up.
struct Exhausted;

struct Run {
    errors: Vec<FieldError>,
    budget: Budget,
}

impl Run {
    fn value(
        &mut self,
        path: &Path,
        value: &Value,
        old: Option<&Value>,
        schema: &Structural,
        is_root: bool,
    ) -> Result<(), Exhausted> {
        if value.is_null() || !schema.has_rules() {
            return Ok(());
        }
        let old = old.filter(|old| !old.is_null());
        for rule in &schema.rules {
            self.rule(path, value, old, (schema, is_root), rule)?;
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let old = old.and_then(|old| old.get(name));
                    if let Some(property) = schema.properties.get(name) {
                        self.value(&path.child(name), value, old, property, false)?;
                    } else if let Some(additional) = schema.additional.schema() {
                        self.value(&path.key(name), value, old, additional, false)?;
                    }
                }
            }
            Value::Array(items) => {
                let Some(item) = &schema.items else { return Ok(()) };
                let former = Former::of(old, schema);
                for (index, value) in items.iter().enumerate() {
                    let old = former.get(value, schema);
                    self.value(&path.index(index), value, old, item, false)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rule(
        &mut self,
        path: &Path,
        value: &Value,
        old: Option<&Value>,
        (schema, is_root): (&Structural, bool),
        rule: &Rule,
    ) -> Result<(), Exhausted> {
        let kind = schema.kind.map_or("", Type::as_str);
        let program = match &rule.program {
            Ok(program) => program,
            Err(why) => {
                let detail = format!("rule compile error: {why}");
                self.errors.push(FieldError::invalid(path, kind, detail));
                return Ok(());
            }
        };
        let transition = program.uses("oldSelf");
        if transition && old.is_none() && !rule.optional_old_self {
            return Ok(());
        }
        // What breaks a rule and is as it was may stay.
        let unchanged = !transition && old == Some(value);
        let outcome = self.run(program, value, old, (schema, is_root), rule);
        let said = if rule.message.is_empty() { &rule.rule } else { &rule.message };
        let said = said.trim();
        let fail = |detail: String| FieldError::invalid(path, kind, detail);
        match outcome {
            Ok(Val::Bool(true)) => return Ok(()),
            Ok(_) => {}
            Err(EvalError::OverBudget) => {
                let detail = if self.budget.total == 0 {
                    "validation failed due to running out of cost budget, no further validation rules will be run".to_owned()
                } else {
                    format!(
                        "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {said}",
                        EvalError::OverBudget
                    )
                };
                self.errors.push(fail(detail));
                return Err(Exhausted);
            }
            Err(EvalError::Failed(why)) => {
                let detail = if why.starts_with("no such overload") {
                    format!(
                        "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {said}"
                    )
                } else {
                    format!("{why} evaluating rule: {said}")
                };
                self.errors.push(fail(detail));
                return Ok(());
            }
        }
        if unchanged {
            return Ok(());
        }
        let detail = self.message(value, old, (schema, is_root), rule);
        self.errors.push(broken(path, value, schema, rule, detail));
        Ok(())
    }

    fn run<'a>(
        &mut self,
        program: &'a cel::Program,
        value: &'a Value,
        old: Option<&'a Value>,
        (schema, is_root): (&'a Structural, bool),
        rule: &Rule,
    ) -> Result<Val<'a>, EvalError> {
        let seen = |value: &'a Value| {
            if is_root {
                Val::Json(Json::resource(value, schema))
            } else {
                Val::of(value, Some(schema))
            }
        };
        let mut variables = vec![("self", seen(value))];
        if rule.optional_old_self {
            let old = old.map(|old| std::rc::Rc::new(seen(old)));
            variables.push(("oldSelf", Val::Optional(old)));
        } else if let Some(old) = old {
            variables.push(("oldSelf", seen(old)));
        }
        eval(&program.expr, variables, &mut self.budget)
    }

    /// What is said of a broken rule: its expression's text, its message, or the rule itself.
    fn message(
        &mut self,
        value: &Value,
        old: Option<&Value>,
        at: (&Structural, bool),
        rule: &Rule,
    ) -> String {
        if let Some(Ok(program)) = &rule.message_program
            && let Ok(Val::String(text)) = self.run(program, value, old, at, rule)
        {
            let text = text.trim();
            if !text.is_empty() && !text.contains('\n') && text.len() <= MAX_MESSAGE {
                return text.to_owned();
            }
        }
        if rule.message.is_empty() {
            format!("failed rule: {}", rule.rule.trim())
        } else {
            rule.message.trim().to_owned()
        }
    }
}

fn broken(
    path: &Path,
    value: &Value,
    schema: &Structural,
    rule: &Rule,
    detail: String,
) -> FieldError {
    let mut path = path.clone();
    if let Ok(steps) = field_path(&rule.field_path, schema) {
        for (name, is_field) in steps {
            path = if is_field { path.child(&name) } else { path.key(&name) };
        }
    }
    let error_type = match rule.reason.as_str() {
        "FieldValueForbidden" => return FieldError::forbidden(&path, detail),
        "FieldValueRequired" => return FieldError::required(&path, detail),
        "FieldValueDuplicate" => ErrorType::Duplicate,
        _ => ErrorType::Invalid,
    };
    // Objects and lists are not shown: they may be large.
    let bad_value = (!is_collection(schema)).then(|| value.clone());
    let detail = if error_type == ErrorType::Duplicate { String::new() } else { detail };
    FieldError { error_type, field: path.to_string(), bad_value, detail }
}
