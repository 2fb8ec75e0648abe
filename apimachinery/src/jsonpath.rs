//! JSONPath in Kubernetes' dialect: `-o jsonpath=`, `--sort-by`, custom columns, `wait --for=jsonpath=`.
//!
//! A template is text with actions in braces: `{range .items[*]}{.metadata.name}{"\n"}{end}`. [`parse`](JsonPath::parse)
//! makes a tree of it in which a range owns its body; [`execute`](JsonPath::execute) walks it. Behaviour, oddities and
//! messages are those of `k8s.io/client-go/util/jsonpath`, but for two: the order of maps, which is random there, is by
//! key here; and a range without `{end}` ends with the template, where client-go goes on to apply its body once more,
//! outside of it.

use std::borrow::Cow;

use serde_json::Value;

use crate::{json, number::format_float};

mod compare;
mod eval;
mod parse;

/// Why a template cannot be read or applied, in kubectl's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonPathError(pub String);

/// Values that one part of a template selects: borrowed from the object, or literals of the template.
pub type Results<'a> = Vec<Cow<'a, Value>>;

/// A template, ready to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    block: Vec<Item>,
    allow_missing_keys: bool,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    /// Text outside of braces.
    Text(String),
    /// What stands in one pair of braces.
    Action(Vec<Node>),
    /// `{range …}`, and all up to its `{end}`.
    Range(Vec<Node>, Vec<Self>),
    /// An `{end}` without a range.
    StrayEnd,
}

/// A step of an action: it takes values and gives values.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Field(String),
    Array([Option<i64>; 3], /* a single index */ bool),
    Filter(Vec<Self>, Operator, Vec<Self>),
    Int(i64),
    Float(f64),
    Bool(bool),
    Wildcard,
    Recursive,
    Union(Vec<Vec<Self>>),
    Identifier(String),
}

/// How a filter compares.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    Less,
    Greater,
    Equal,
    NotEqual,
    LessEqual,
    GreaterEqual,
    Unknown(String),
}

impl JsonPath {
    /// Reads a template. Missing keys give nothing, kubectl's default; see
    /// [`allow_missing_keys`](Self::allow_missing_keys).
    ///
    /// # Errors
    /// client-go's message; kubectl prints it after `error parsing jsonpath TEMPLATE, `.
    pub fn parse(template: &str) -> Result<Self, JsonPathError> {
        Ok(Self { block: parse::parse(template)?, allow_missing_keys: true })
    }

    /// Reads an expression as `--sort-by`, custom columns and `wait` take it: `.a.b`, `a.b`, `{.a.b}` or `{a.b}`.
    ///
    /// # Errors
    /// kubectl's message about the form, or that of [`parse`](Self::parse).
    pub fn parse_relaxed(expression: &str) -> Result<Self, JsonPathError> {
        Self::parse(&relaxed(expression)?)
    }

    /// Whether a missing key is nothing (true) or an error.
    #[must_use]
    pub fn allow_missing_keys(mut self, allow: bool) -> Self {
        self.allow_missing_keys = allow;
        self
    }

    /// What each part of the template selects, range bodies once per element.
    ///
    /// # Errors
    /// client-go's message.
    pub fn find<'a>(&self, data: &'a Value) -> Result<Vec<Results<'a>>, JsonPathError> {
        eval::find(self, data)
    }

    /// The text that kubectl prints for `-o jsonpath=`.
    ///
    /// # Errors
    /// client-go's message.
    pub fn execute(&self, data: &Value) -> Result<String, JsonPathError> {
        let mut out = String::new();
        for results in self.find(data)? {
            for (i, value) in results.iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                out.push_str(&print(value));
            }
        }
        Ok(out)
    }

    /// The text that kubectl prints for `-o jsonpath-as-json=`: a list for each part.
    ///
    /// # Errors
    /// client-go's message.
    pub fn execute_as_json(&self, data: &Value) -> Result<String, JsonPathError> {
        let mut out = String::new();
        for results in self.find(data)? {
            let list = Value::Array(results.into_iter().map(Cow::into_owned).collect());
            out.push_str(&json::to_string_pretty(&list));
            out.push('\n');
        }
        Ok(out)
    }
}

/// Texts as they are, collections as JSON, numbers as Go prints them.
fn print(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            format_float(number.as_f64().unwrap_or_default())
        }
        other => json::to_string(other),
    }
}

/// Turns the relaxed forms into a template.
fn relaxed(expression: &str) -> Result<String, JsonPathError> {
    if expression.is_empty() {
        return Ok(String::new());
    }
    let inner =
        expression.strip_prefix('{').and_then(|e| e.strip_suffix('}')).unwrap_or(expression);
    let path = inner.strip_prefix('.').filter(|p| !p.is_empty()).unwrap_or(inner);
    if path.is_empty() || path.contains(['{', '}']) {
        return Err(JsonPathError(
            "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'"
                .to_owned(),
        ));
    }
    Ok(format!("{{.{path}}}"))
}

#[cfg(test)]
mod tests;
