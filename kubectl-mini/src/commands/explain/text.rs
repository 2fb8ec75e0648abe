//! A schema of OpenAPI v3 as text, the way kubectl's template renders it.
//!
//! A walk follows the fields that were asked for through references, lists, maps and `allOf`; at its end stand the
//! description and the fields. Recursion stops where a definition comes for the second time.

use std::fmt::Write;

use apimachinery::resource::ResourceInfo;
use serde_json::Value;

use super::wrap::wrap;

/// The definitions on the way to where we are.
type History = Vec<String>;

/// What comes before the description.
pub(super) fn head(info: &ResourceInfo) -> String {
    let mut out = String::new();
    if !info.group.is_empty() {
        let _ = writeln!(out, "GROUP:      {}", info.group);
    }
    let _ = writeln!(out, "KIND:       {}\nVERSION:    {}\n", info.kind, info.version);
    out
}

/// What is said of a field of a kind, `None` if there is no such field.
pub(super) fn explain(
    document: &Value,
    info: &ResourceInfo,
    fields: &[&str],
    recursive: bool,
) -> Option<String> {
    let schemas = document["components"]["schemas"].as_object()?;
    let ours = |schema: &&Value| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        kinds.into_iter().flatten().any(|kind| {
            kind["group"] == info.group
                && kind["version"] == info.version
                && kind["kind"] == info.kind
        })
    };
    let schema = schemas.values().find(ours)?;
    let mut out = Explanation { document, recursive, out: String::new() };
    out.output(schema, fields, &History::new());
    (!out.out.is_empty()).then(|| out.out + "\n")
}

struct Explanation<'a> {
    document: &'a Value,
    recursive: bool,
    out: String,
}

/// The members of a schema that hold others: the items of a list, the values of a map.
fn held(schema: &Value) -> Option<&Value> {
    let some = |name: &str| {
        schema.get(name).filter(|value| value.as_object().is_some_and(|inner| !inner.is_empty()))
    };
    some("items").or_else(|| some("additionalProperties"))
}

fn all_of(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["allOf"].as_array().into_iter().flatten()
}

fn indent(amount: usize, text: &str) -> String {
    let pad = " ".repeat(amount);
    format!("{pad}{}", text.replace('\n', &format!("\n{pad}")))
}

impl<'a> Explanation<'a> {
    /// The name that a schema refers to, and what it is.
    fn resolve(&self, schema: &'a Value) -> (&'a str, &'a Value) {
        let name = schema["$ref"].as_str().unwrap_or_default();
        let found = name.strip_prefix('#').and_then(|pointer| self.document.pointer(pointer));
        (name, found.unwrap_or(schema))
    }

    fn output(&mut self, schema: &'a Value, fields: &[&str], history: &History) {
        let (name, resolved) = self.resolve(schema);
        let mut next = history.clone();
        next.push(name.to_owned());
        let Some((first, rest)) = fields.split_first() else {
            return self.end(resolved);
        };
        if !name.is_empty() && history.iter().any(|seen| seen == name) {
            return;
        }
        if let Some(property) = resolved["properties"].get(first) {
            if rest.is_empty() {
                let _ = writeln!(self.out, "FIELD: {first} <{}>", self.type_of(property));
                self.long_enum(property);
                self.out.push_str("\n\n");
            }
            self.output(property, rest, &History::new());
        } else if let Some(inner) = held(resolved) {
            self.output(inner, fields, &next);
        } else {
            for one in all_of(resolved) {
                let before = self.out.len();
                self.output(one, fields, &next);
                if self.out.len() > before {
                    break;
                }
            }
        }
    }

    fn end(&mut self, resolved: &'a Value) {
        let mut said = String::new();
        self.description(resolved, &mut said);
        let said = if said.is_empty() { "<empty>" } else { &said };
        let _ = writeln!(self.out, "DESCRIPTION:\n{}", indent(4, &wrap(76, said)));
        let mut fields =
            Explanation { document: self.document, recursive: self.recursive, out: String::new() };
        fields.field_list(resolved, 1, &History::new());
        if !fields.out.is_empty() {
            let _ = write!(self.out, "FIELDS:\n{}", fields.out);
        }
    }

    fn description(&self, schema: &'a Value, out: &mut String) {
        let (_, resolved) = self.resolve(schema);
        if let Some(said) = resolved["description"].as_str().filter(|said| !said.is_empty()) {
            out.push_str(said);
            out.push('\n');
        }
        for one in all_of(resolved) {
            self.description(one, out);
        }
        if let Some(inner) = held(resolved) {
            self.description(inner, out);
        }
    }

    fn field_list(&mut self, schema: &'a Value, level: usize, history: &History) {
        let (name, resolved) = self.resolve(schema);
        if !name.is_empty() && history.iter().any(|seen| seen == name) {
            return;
        }
        let mut next = history.clone();
        next.push(name.to_owned());
        for (field, property) in resolved["properties"].as_object().into_iter().flatten() {
            self.field(resolved, field, property, level);
            if self.recursive {
                self.field_list(property, level + 1, &next);
            }
        }
        for one in all_of(resolved) {
            self.field_list(one, level, &next);
        }
        if let Some(inner) = held(resolved) {
            self.field_list(inner, level, &next);
        }
    }

    fn field(&mut self, owner: &Value, name: &str, property: &'a Value, level: usize) {
        let amount = level * 2;
        let _ = write!(self.out, "{}\t<{}>", indent(amount, name), self.type_of(property));
        if owner["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name)) {
            self.out.push_str(" -required-");
        }
        if let Some(values) = enumerated(property) {
            let _ = write!(
                self.out,
                "\n{}enum: {}",
                " ".repeat(amount),
                values[..values.len().min(4)].join(", ")
            );
            if values.len() > 4 {
                self.out.push_str(", ....");
            }
        }
        self.out.push('\n');
        if !self.recursive {
            let said = property["description"].as_str().filter(|said| !said.is_empty());
            let said = wrap(78_usize.saturating_sub(amount), said.unwrap_or("<no description>"));
            let _ = write!(self.out, "{}\n\n", indent(amount + 2, &said));
        }
    }

    fn long_enum(&mut self, property: &Value) {
        if let Some(values) = enumerated(property) {
            self.out.push_str("ENUM:");
            for value in values {
                let _ = write!(self.out, "\n    {value}");
            }
        }
    }

    fn type_of(&self, schema: &'a Value) -> String {
        let own = schema["type"].as_str().unwrap_or("Object");
        let alternatives: Vec<&Value> = all_of(schema).collect();
        if let Some(items) = held(schema) {
            let list = schema.get("items").is_some_and(|one| std::ptr::eq(one, items));
            let prefix = if list { "[]" } else { "map[string]" };
            return format!("{prefix}{}", self.type_of(items));
        }
        if let ([one], None) = (alternatives.as_slice(), schema.get("properties")) {
            return self.type_of(one);
        }
        if let Some(name) = schema["$ref"].as_str() {
            let (_, referred) = self.resolve(schema);
            return match referred["type"].as_str() {
                Some(kind) if kind != "object" && !std::ptr::eq(referred, schema) => {
                    kind.to_owned()
                }
                _ => name.rsplit(['/', '.']).next().unwrap_or("Object").to_owned(),
            };
        }
        if own == "object" { "Object".to_owned() } else { own.to_owned() }
    }
}

/// The values of an enumeration as they are printed.
fn enumerated(property: &Value) -> Option<Vec<String>> {
    let values = property["enum"].as_array().filter(|values| !values.is_empty())?;
    let shown = values.iter().map(|value| match value.as_str() {
        Some("") => "\"\"".to_owned(),
        Some(text) => text.to_owned(),
        None => value.to_string(),
    });
    Some(shown.collect())
}
