//! Checks a value against a schema, with the messages of Kubernetes' strict JSON decoder.
//!
//! Kubernetes decodes into Go structs: a wrong type ends in Go's `json: cannot unmarshal …`, which
//! names the innermost struct and the JSON path from the object's root, without list indices and
//! map keys; types with a decoder of their own (quantities, times) end in that decoder's words; an
//! unknown field is collected by its whole path, indices included.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use super::{Field, Problem, Shape, Struct, go_time};
use crate::quantity::Quantity;

/// The decoder reports no more faults than this.
const MAX_PROBLEMS: usize = 100;

/// Checks an object and returns its faults: at most one [`Problem::Undecodable`], the first, ahead
/// of the unknown fields.
#[must_use]
pub fn check(value: &Value, schema: &Struct) -> Vec<Problem> {
    check_all(value, schema).problems
}

/// What there is to say of an object.
#[derive(Debug)]
pub struct Checked {
    /// Its faults, as [`check`] returns them.
    pub problems: Vec<Problem>,
    /// Whether some time is written otherwise than Kubernetes writes it: [`super::rewrite_times`] helps.
    pub odd_times: bool,
}

/// Checks an object, and looks whether its times are written as Kubernetes writes them.
#[must_use]
pub fn check_all(value: &Value, schema: &Struct) -> Checked {
    let mut checker = Checker { problems: Vec::new(), undecodable: None, odd_times: false };
    checker.fields(value, schema, None, None);
    if let Some(message) = checker.undecodable {
        checker.problems.insert(0, Problem::Undecodable(message));
    }
    Checked { problems: checker.problems, odd_times: checker.odd_times }
}

struct Checker {
    problems: Vec<Problem>,
    undecodable: Option<String>,
    odd_times: bool,
}

/// Where the walk is, as a list that lives on the stack.
struct Place<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

enum Step<'a> {
    Field(&'a Struct, &'a Field),
    Key(&'a str),
    Index(usize),
}

impl Checker {
    /// Checks a struct. `place` is `None` at the root; `target` is the field that it is in.
    fn fields(
        &mut self,
        value: &Value,
        schema: &Struct,
        place: Option<&Place<'_>>,
        go_type: Option<&str>,
    ) {
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null => return,
            other => {
                let go_type = go_type.unwrap_or(&schema.go_type);
                return self.mismatch(kind_of(other), place, go_type);
            }
        };
        let mut next = 0;
        for (name, value) in fields {
            // Both sides are sorted: the field is mostly one of the next few.
            while schema.fields.get(next).is_some_and(|field| *field.name < **name) {
                next += 1;
            }
            let field = match schema.fields.get(next) {
                Some(field) if field.name == *name => Some(field),
                _ => schema.field(name),
            };
            match field {
                Some(field) => {
                    let place = Place { parent: place, step: Step::Field(schema, field) };
                    self.shape(value, &field.shape, &place, &field.go_type);
                }
                None if self.problems.len() < MAX_PROBLEMS => {
                    let step = Place { parent: place, step: Step::Key(name) };
                    self.problems.push(Problem::UnknownField { path: step.path() });
                }
                None => {}
            }
        }
    }

    /// Checks a value; `go_type` is empty where Go's type follows from the shape.
    fn shape(&mut self, value: &Value, shape: &Shape, place: &Place<'_>, go_type: &str) {
        match (shape, value) {
            (_, Value::Null)
            | (Shape::Any, _)
            | (Shape::String, Value::String(_))
            | (Shape::Boolean, Value::Bool(_))
            | (Shape::Float64, Value::Number(_))
            | (Shape::IntOrString, Value::String(_)) => {}
            (Shape::Int64, Value::Number(number)) if number.is_i64() => {}
            (Shape::Int32, Value::Number(number)) if is_int32(number) => {}
            (Shape::IntOrString, Value::Number(number)) if is_int32(number) => {}
            (Shape::Int32 | Shape::Int64, Value::Number(number)) => {
                self.mismatch(&format!("number {number}"), Some(place), &named(go_type, shape));
            }
            (Shape::Struct(schema), value) => {
                self.fields(value, schema, Some(place), (!go_type.is_empty()).then_some(go_type));
            }
            (Shape::List(item), Value::Array(values)) => {
                let go_type = go_type.strip_prefix("[]").unwrap_or_default();
                for (index, value) in values.iter().enumerate() {
                    let place = Place { parent: Some(place), step: Step::Index(index) };
                    self.shape(value, item, &place, go_type);
                }
            }
            (Shape::Map(item), Value::Object(values)) => {
                let go_type = go_type.strip_prefix("map[string]").unwrap_or_default();
                for (key, value) in values {
                    let place = Place { parent: Some(place), step: Step::Key(key) };
                    self.shape(value, item, &place, go_type);
                }
            }
            (Shape::Bytes, Value::String(text)) => {
                if let Some(offset) = corrupt_base64(text.as_bytes()) {
                    self.fail(format!("illegal base64 data at input byte {offset}"));
                }
            }
            (Shape::Quantity, value) => self.quantity(value),
            (Shape::IntOrString, Value::Number(number)) => {
                self.mismatch(&format!("number {number}"), Some(place), "int32");
            }
            (Shape::IntOrString, value) => self.mismatch(kind_of(value), Some(place), "int32"),
            (Shape::Time | Shape::MicroTime, Value::String(text)) => {
                let micro = matches!(shape, Shape::MicroTime);
                if let Err(message) = go_time::check(text, micro) {
                    self.fail(message);
                }
                self.odd_times |= !text.ends_with('Z') || !micro && text.contains(['.', ',']);
            }
            (Shape::Time | Shape::MicroTime, value) => {
                self.mismatch(kind_of(value), Some(place), "string");
            }
            (shape, value) => self.mismatch(kind_of(value), Some(place), &named(go_type, shape)),
        }
    }

    fn quantity(&mut self, value: &Value) {
        let text = match value {
            Value::String(text) if text.is_empty() => return,
            Value::String(text) => Cow::Borrowed(text.trim()),
            other => Cow::Owned(other.to_string()),
        };
        if let Err(error) = text.parse::<Quantity>() {
            self.fail(error.to_string());
        }
    }

    /// Reports a JSON type that Go's type does not take.
    fn mismatch(&mut self, found: &str, place: Option<&Place<'_>>, go_type: &str) {
        if self.undecodable.is_some() {
            return;
        }
        let into = match place.and_then(Place::strukt) {
            Some((strukt, path)) => format!("Go struct field {}.{path}", strukt.name()),
            None => "Go value".to_owned(),
        };
        self.fail(format!("json: cannot unmarshal {found} into {into} of type {go_type}"));
    }

    /// Keeps the first message, as Go's decoder does.
    fn fail(&mut self, message: String) {
        self.undecodable.get_or_insert(message);
    }
}

impl Place<'_> {
    /// The whole path, with indices and map keys.
    fn path(&self) -> String {
        let mut path = self.parent.map(Self::path).unwrap_or_default();
        let name = match &self.step {
            Step::Field(_, field) => &field.name,
            Step::Key(key) => *key,
            Step::Index(index) => {
                write!(path, "[{index}]").expect("a String takes all that is written");
                return path;
            }
        };
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        path
    }

    /// The innermost struct, and the names of the fields on the way.
    fn strukt(&self) -> Option<(&Struct, String)> {
        let outer = self.parent.and_then(Self::strukt);
        match self.step {
            Step::Field(strukt, field) => {
                let path = match outer {
                    Some((_, outer)) => format!("{outer}.{}", field.name),
                    None => field.name.to_string(),
                };
                Some((strukt, path))
            }
            Step::Key(_) | Step::Index(_) => outer,
        }
    }
}

fn is_int32(number: &serde_json::Number) -> bool {
    number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
}

/// The name of Go's decoder for a JSON type.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Returns where Go's base64 decoder stops: it skips line breaks, wants padding, and does not mind
/// bits left over.
fn corrupt_base64(text: &[u8]) -> Option<usize> {
    let skip = |mut at: usize| {
        while matches!(text.get(at), Some(b'\r' | b'\n')) {
            at += 1;
        }
        at
    };
    let (mut at, mut digits) = (0, 0);
    loop {
        let Some(byte) = text.get(at) else {
            return (digits > 0).then(|| at - digits);
        };
        at += 1;
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => digits = (digits + 1) % 4,
            b'\r' | b'\n' => {}
            b'=' if digits >= 2 => {
                if digits == 2 {
                    at = skip(at);
                    match text.get(at) {
                        None => return Some(text.len()),
                        Some(b'=') => at += 1,
                        Some(_) => return Some(at - 1),
                    }
                }
                at = skip(at);
                return (at < text.len()).then_some(at);
            }
            _ => return Some(at - 1),
        }
    }
}

/// Go's name of a type: its own, or the one that follows from the shape.
fn named<'a>(go_type: &'a str, shape: &Shape) -> Cow<'a, str> {
    if go_type.is_empty() { Cow::Owned(go_name(shape)) } else { Cow::Borrowed(go_type) }
}

fn go_name(shape: &Shape) -> String {
    match shape {
        Shape::String => "string".to_owned(),
        Shape::Boolean => "bool".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Float64 => "float64".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::MicroTime => "v1.MicroTime".to_owned(),
        Shape::Any => "interface {}".to_owned(),
        Shape::Struct(schema) => schema.go_type.to_string(),
        Shape::List(item) => format!("[]{}", go_name(item)),
        Shape::Map(item) => format!("map[string]{}", go_name(item)),
    }
}
