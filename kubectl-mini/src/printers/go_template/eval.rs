//! Applying a template.

use std::fmt::Display;

use serde_json::Value;

use super::{
    super::go_value, Branch, Command, Node, Operand, OperandKind, Pipeline, Template,
    TemplateError, functions, place,
};

/// A value of a template; `None` is what is not there, which prints as `<no value>`.
pub(super) type Data = Option<Value>;

/// How deep templates may call each other.
const DEPTH: usize = 100;

/// How a list of nodes ended.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

pub(super) fn execute(
    template: &Template,
    data: &Value,
    out: &mut String,
) -> Result<(), TemplateError> {
    let variables = vec![(String::new(), Some(data.clone()))];
    let mut state = State { template, name: "output", variables, out, depth: 0 };
    state.list(&template.body, &Some(data.clone())).map(drop)
}

struct State<'a> {
    template: &'a Template,
    /// The template that is being applied, for messages.
    name: &'a str,
    /// The innermost last; the one with the empty name is `$`.
    variables: Vec<(String, Data)>,
    out: &'a mut String,
    depth: usize,
}

impl<'a> State<'a> {
    fn error<T>(&self, at: usize, text: &str, message: impl Display) -> Result<T, TemplateError> {
        let (line, column) = place(&self.template.source, at);
        Err(TemplateError(format!(
            "template: output:{line}:{column}: executing {:?} at <{text}>: {message}",
            self.name
        )))
    }

    fn list(&mut self, nodes: &'a [Node], dot: &Data) -> Result<Flow, TemplateError> {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        let text = value.as_ref().map(go_value::plain);
                        self.out.push_str(text.as_deref().unwrap_or("<no value>"));
                    }
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
                Node::Call(name, pipeline, at) => self.call(name, pipeline.as_ref(), *at, dot)?,
                Node::If(branch) | Node::With(branch) => {
                    let mark = self.variables.len();
                    let value = self.pipeline(&branch.pipeline, dot)?;
                    let inner = if matches!(node, Node::With(_)) { &value } else { dot };
                    let flow = if functions::truth(&value) {
                        self.list(&branch.then, inner)?
                    } else {
                        self.list(&branch.otherwise, dot)?
                    };
                    self.variables.truncate(mark);
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                }
                Node::Range(branch) => {
                    let mark = self.variables.len();
                    let flow = self.range(branch, dot)?;
                    self.variables.truncate(mark);
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                }
            }
        }
        Ok(Flow::On)
    }

    fn range(&mut self, branch: &'a Branch, dot: &Data) -> Result<Flow, TemplateError> {
        let value = self.commands(&branch.pipeline, dot)?;
        let items: Vec<(Value, Data)> = match value {
            Some(Value::Array(items)) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| (Value::from(index), present(item)))
                .collect(),
            // Maps come in the order of their keys.
            Some(Value::Object(fields)) => {
                let mut fields: Vec<_> = fields.into_iter().collect();
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                fields.into_iter().map(|(key, item)| (Value::from(key), present(item))).collect()
            }
            Some(Value::Number(number)) if number.is_i64() => (0..number.as_i64().unwrap_or(0))
                .map(|index| (Value::from(index), Some(Value::from(index))))
                .collect(),
            None | Some(Value::Null) => Vec::new(),
            Some(other) => {
                let command = &branch.pipeline.commands[0];
                let at = command.operands.first().map_or(0, |operand| operand.at);
                let told = format!("range can't iterate over {}", go_value::plain(&other));
                return self.error(at, &command.text, told);
            }
        };
        if items.is_empty() {
            return self.list(&branch.otherwise, dot);
        }
        let mark = self.variables.len();
        for (key, item) in items {
            match branch.pipeline.variables.as_slice() {
                [] => {}
                [one] => self.set(&branch.pipeline, one, item.clone()),
                [first, second, ..] => {
                    self.set(&branch.pipeline, first, Some(key));
                    self.set(&branch.pipeline, second, item.clone());
                }
            }
            let flow = self.list(&branch.then, &item)?;
            self.variables.truncate(mark);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn call(
        &mut self,
        name: &'a str,
        pipeline: Option<&'a Pipeline>,
        at: usize,
        dot: &Data,
    ) -> Result<(), TemplateError> {
        let text = format!("{{{{template {name:?}}}}}");
        let template: &'a Template = self.template;
        let Some(body) = template.defined.get(name) else {
            return self.error(at, &text, format!("template {name:?} not defined"));
        };
        let data = match pipeline {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => None,
        };
        if self.depth >= DEPTH {
            let told = format!("exceeded maximum template depth ({DEPTH})");
            return self.error(at, &text, told);
        }
        let outer = std::mem::replace(&mut self.name, name);
        let variables = std::mem::replace(&mut self.variables, vec![(String::new(), data.clone())]);
        self.depth += 1;
        let result = self.list(body, &data);
        self.depth -= 1;
        self.variables = variables;
        self.name = outer;
        result.map(drop)
    }

    fn set(&mut self, pipeline: &Pipeline, name: &str, value: Data) {
        if pipeline.assigns
            && let Some((_, known)) = self.variables.iter_mut().rev().find(|(n, _)| n == name)
        {
            *known = value;
            return;
        }
        self.variables.push((name.to_owned(), value));
    }

    /// The pipeline's value; its variables are set.
    fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Data) -> Result<Data, TemplateError> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.set(pipeline, name, value.clone());
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &'a Pipeline, dot: &Data) -> Result<Data, TemplateError> {
        let mut last: Option<Data> = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.flatten())
    }

    fn command(
        &mut self,
        command: &'a Command,
        dot: &Data,
        piped: Option<Data>,
    ) -> Result<Data, TemplateError> {
        let (first, rest) = command.operands.split_first().expect("a command has an operand");
        let OperandKind::Function(name) = &first.kind else {
            if !rest.is_empty() || piped.is_some() {
                let told = format!("can't give argument to non-function {}", first.text);
                return self.error(first.at, &first.text, told);
            }
            return self.operand(first, dot);
        };
        let mut arguments = Vec::new();
        // `and` and `or` look no further than they must.
        let stops_at = match name.as_str() {
            "and" => Some(false),
            "or" => Some(true),
            _ => None,
        };
        for operand in rest {
            let value = match operand.kind {
                OperandKind::Nil => None,
                _ => self.operand(operand, dot)?,
            };
            if stops_at == Some(functions::truth(&value)) {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(piped);
        functions::call(name, arguments).or_else(|message| {
            let text = if rest.is_empty() { &first.text } else { &command.text };
            self.error(first.at, text, message)
        })
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Data) -> Result<Data, TemplateError> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => self.error(operand.at, &operand.text, "nil is not a command"),
            OperandKind::Literal(value) => Ok(Some(value.clone())),
            OperandKind::Field(path) => self.fields(dot.clone(), path, operand),
            OperandKind::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let Some((_, value)) = found else {
                    return self.error(
                        operand.at,
                        &operand.text,
                        format!("undefined variable: ${name}"),
                    );
                };
                self.fields(value.clone(), path, operand)
            }
            OperandKind::Nested(pipeline, path) => {
                let value = self.pipeline(pipeline, dot)?;
                self.fields(value, path, operand)
            }
            OperandKind::Function(name) => functions::call(name, Vec::new())
                .or_else(|message| self.error(operand.at, &operand.text, message)),
        }
    }

    fn fields(
        &self,
        mut value: Data,
        path: &[String],
        operand: &Operand,
    ) -> Result<Data, TemplateError> {
        for name in path {
            value = match value {
                None if self.template.strict => {
                    let told = format!("nil data; no entry for key {name:?}");
                    return self.error(operand.at, &operand.text, told);
                }
                None => None,
                Some(Value::Object(mut fields)) => match fields.remove(name) {
                    None if self.template.strict => {
                        let told = format!("map has no entry for key {name:?}");
                        return self.error(operand.at, &operand.text, told);
                    }
                    found => found,
                },
                Some(Value::Null) => {
                    let told = format!("nil pointer evaluating interface {{}}.{name}");
                    return self.error(operand.at, &operand.text, told);
                }
                Some(_) => {
                    let told = format!("can't evaluate field {name} in type interface {{}}");
                    return self.error(operand.at, &operand.text, told);
                }
            };
        }
        Ok(value.and_then(present))
    }
}

/// What a template sees of null.
fn present(value: Value) -> Data {
    if value.is_null() { None } else { Some(value) }
}
