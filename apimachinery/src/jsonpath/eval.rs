//! Applies a template to an object: every step maps a list of values to a list of values.

use std::borrow::Cow;

use serde_json::Value;

use super::{Item, JsonPath, JsonPathError, Node, Operator, Results, compare};

fn error<T>(message: impl Into<String>) -> Result<T, JsonPathError> {
    Err(JsonPathError(message.into()))
}

struct Evaluator {
    allow_missing_keys: bool,
}

pub(super) fn find<'a>(
    path: &JsonPath,
    data: &'a Value,
) -> Result<Vec<Results<'a>>, JsonPathError> {
    let evaluator = Evaluator { allow_missing_keys: path.allow_missing_keys };
    let mut all = Vec::new();
    evaluator.block(&path.block, &[Cow::Borrowed(data)], &mut all)?;
    Ok(all)
}

impl Evaluator {
    fn block<'a>(
        &self,
        block: &[Item],
        current: &[Cow<'a, Value>],
        all: &mut Vec<Results<'a>>,
    ) -> Result<(), JsonPathError> {
        for item in block {
            match item {
                Item::Text(text) => all.push(vec![Cow::Owned(text.as_str().into())]),
                Item::Action(nodes) => all.push(self.list(nodes, current.to_vec())?),
                Item::Range(nodes, body) => {
                    for value in self.list(nodes, current.to_vec())? {
                        self.block(body, &[value], all)?;
                    }
                }
                Item::StrayEnd => return error("not in range, nothing to end"),
            }
        }
        Ok(())
    }

    fn list<'a>(&self, nodes: &[Node], input: Results<'a>) -> Result<Results<'a>, JsonPathError> {
        nodes.iter().try_fold(input, |values, node| self.node(node, values))
    }

    fn node<'a>(&self, node: &Node, input: Results<'a>) -> Result<Results<'a>, JsonPathError> {
        let literal = |value: Value| Ok(vec![Cow::Owned(value); input.len()]);
        match node {
            Node::Text(text) => Ok(vec![Cow::Owned(text.as_str().into())]),
            Node::Int(value) => literal((*value).into()),
            Node::Float(value) => literal((*value).into()),
            Node::Bool(value) => literal((*value).into()),
            Node::Identifier(name) if name == "range" => Ok(input),
            Node::Identifier(name) => error(format!("unrecognized identifier {name}")),
            Node::Field(name) => self.field(name, input),
            Node::Array(bounds, single) => slice(bounds, *single, input),
            Node::Wildcard => Ok(input.into_iter().flat_map(children).collect()),
            Node::Recursive => {
                let mut out = Vec::new();
                input.into_iter().for_each(|value| descend(value, &mut out));
                Ok(out)
            }
            Node::Union(parts) => {
                let mut out = Vec::new();
                for part in parts {
                    out.extend(self.list(part, input.clone())?);
                }
                Ok(out)
            }
            Node::Filter(left, operator, right) => self.filter(left, operator, right, input),
        }
    }

    fn field<'a>(&self, name: &str, input: Results<'a>) -> Result<Results<'a>, JsonPathError> {
        if input.is_empty() {
            return Ok(input);
        }
        let found: Results<'a> = input
            .into_iter()
            .filter_map(|value| match value {
                Cow::Borrowed(value) => value.get(name).map(Cow::Borrowed),
                Cow::Owned(value) => value.get(name).cloned().map(Cow::Owned),
            })
            .collect();
        if found.is_empty() && !self.allow_missing_keys {
            return error(format!("{name} is not found"));
        }
        Ok(found)
    }

    fn filter<'a>(
        &self,
        left: &[Node],
        operator: &Operator,
        right: &[Node],
        input: Results<'a>,
    ) -> Result<Results<'a>, JsonPathError> {
        let mut out = Vec::new();
        for value in input {
            if !value.is_array() {
                return error(format!(
                    "{} is not array or slice and cannot be filtered",
                    compare::go_text(&value)
                ));
            }
            for item in children(value) {
                let lefts = self.list(left, vec![item.clone()]);
                if *operator == Operator::Exists {
                    // A key that is missing is not an error here.
                    if lefts.is_ok_and(|values| !values.is_empty()) {
                        out.push(item);
                    }
                    continue;
                }
                let Some(left) = single(lefts?)? else { continue };
                let Some(right) = single(self.list(right, vec![item.clone()])?)? else { continue };
                if compare::holds(&left, operator, &right)? {
                    out.push(item);
                }
            }
        }
        Ok(out)
    }
}

/// The only value; none is no error, several are.
fn single(mut values: Results<'_>) -> Result<Option<Cow<'_, Value>>, JsonPathError> {
    if values.len() > 1 {
        return error("can only compare one element at a time");
    }
    Ok(values.pop())
}

/// A collection's members; a text's bytes, as client-go has it.
fn children(value: Cow<'_, Value>) -> Results<'_> {
    match value {
        Cow::Borrowed(Value::Array(list)) => list.iter().map(Cow::Borrowed).collect(),
        Cow::Borrowed(Value::Object(map)) => map.values().map(Cow::Borrowed).collect(),
        Cow::Owned(Value::Array(list)) => list.into_iter().map(Cow::Owned).collect(),
        Cow::Owned(Value::Object(map)) => map.into_values().map(Cow::Owned).collect(),
        other => match other.as_str() {
            Some(text) => text.bytes().map(|b| Cow::Owned(b.into())).collect(),
            None => Vec::new(),
        },
    }
}

/// The value and all below it that have members themselves: collections and texts, but no numbers.
fn descend<'a>(value: Cow<'a, Value>, out: &mut Results<'a>) {
    let members = children(value.clone());
    if !members.is_empty() {
        out.push(value);
        members.into_iter().for_each(|member| descend(member, out));
    }
}

fn slice<'a>(
    bounds: &[Option<i64>; 3],
    single: bool,
    input: Results<'a>,
) -> Result<Results<'a>, JsonPathError> {
    let mut out = Vec::new();
    for value in input {
        if value.is_null() {
            continue;
        }
        let Some(list) = value.as_array() else {
            return error(format!("{} is not array or slice", compare::go_type(&value)));
        };
        let length = list.len() as i64;
        let from_end = |bound: i64| if bound < 0 { bound + length } else { bound };
        let start = from_end(bounds[0].unwrap_or(0));
        let end = if single { start + 1 } else { from_end(bounds[1].unwrap_or(length)) };
        if start == end {
            return Ok(out);
        }
        let out_of_bounds = |index: i64| {
            error(format!("array index out of bounds: index {index}, length {length}"))
        };
        if start >= length || start < 0 {
            return out_of_bounds(start);
        }
        if end > length || end < 0 {
            return out_of_bounds(end - 1);
        }
        if start > end {
            return error(format!("starting index {start} is greater than ending index {end}"));
        }
        let step = match bounds[2] {
            Some(step) if step <= 0 => return error("step must be > 0"),
            Some(step) => step as usize,
            None => 1,
        };
        let selected = children(value).into_iter().skip(start as usize);
        out.extend(selected.take((end - start) as usize).step_by(step));
    }
    Ok(out)
}
