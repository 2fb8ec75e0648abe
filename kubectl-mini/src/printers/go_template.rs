//! `-o go-template`: Go's `text/template` over an object, as far as templates over JSON need it.
//!
//! [`parse`](Template::parse) makes a tree of the text, `eval` walks it, `functions` has what a template may call: Go's
//! own functions but `call`, and kubectl's `exists` and `base64decode`. What Go knows and this does not (`call`, complex
//! numbers, some verbs of `printf`) is an error.

mod eval;
mod functions;
mod lex;
mod parse;

use std::collections::BTreeMap;

use apimachinery::{field::go_quote, json};
use serde_json::Value;

use super::go_value;
use crate::errors::CommandError;

/// Why a template cannot be read or applied, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct TemplateError(String);

/// A template, ready to be applied.
#[derive(Clone, Debug)]
pub(super) struct Template {
    source: String,
    body: Vec<Node>,
    defined: BTreeMap<String, Vec<Node>>,
    /// Whether an absent key is an error.
    strict: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Action(Pipeline),
    If(Branch),
    Range(Branch),
    With(Branch),
    Call(String, Option<Pipeline>, usize),
    Break,
    Continue,
}

#[derive(Clone, Debug, PartialEq)]
struct Branch {
    pipeline: Pipeline,
    then: Vec<Node>,
    otherwise: Vec<Node>,
}

/// `$a, $b := command | command`.
#[derive(Clone, Debug, PartialEq)]
struct Pipeline {
    variables: Vec<String>,
    /// `=` rather than `:=`.
    assigns: bool,
    commands: Vec<Command>,
}

/// `function argument…`, or a value.
#[derive(Clone, Debug, PartialEq)]
struct Command {
    operands: Vec<Operand>,
    /// As written.
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Operand {
    kind: OperandKind,
    /// Where messages say it is.
    at: usize,
    /// As written.
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
enum OperandKind {
    Dot,
    Nil,
    Literal(Value),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Function(String),
    Nested(Box<Pipeline>, Vec<String>),
}

impl Template {
    /// Reads a template.
    pub(super) fn parse(text: &str, allow_missing_keys: bool) -> Result<Self, CommandError> {
        parse::parse(text)
            .map(|(body, defined)| Self {
                source: text.to_owned(),
                body,
                defined,
                strict: !allow_missing_keys,
            })
            .map_err(|error| {
                CommandError::message(format!("error parsing template {text}, {error}\n"))
            })
    }

    /// Applies it. What was printed before an error is printed, followed by what helps to find it.
    pub(super) fn print(&self, object: &Value) -> Result<String, (String, CommandError)> {
        let mut out = String::new();
        match eval::execute(self, object, &mut out) {
            Ok(()) => Ok(out),
            Err(error) => {
                out += &format!(
                    "Error executing template: {error}. Printing more information for debugging the template:\n\ttemplate was:\n\t\t{}\n\traw data was:\n\t\t{}\n\tobject given to template engine was:\n\t\t{}\n\n",
                    self.source,
                    json::to_string(object),
                    go_value::plain(object)
                );
                let told = CommandError::message(format!(
                    "error executing template {}: {error}",
                    go_quote(&self.source)
                ));
                Err((out, told))
            }
        }
    }
}

/// Line and column of a place, as messages tell them.
fn place(source: &str, at: usize) -> (usize, usize) {
    let before = &source[..at.min(source.len())];
    let line = before.matches('\n').count() + 1;
    // Go counts from the line break, or from the start of the text, where there is none.
    let column = before.rfind('\n').map_or(before.len(), |newline| before.len() - newline);
    (line, column)
}

#[cfg(test)]
mod tests;
