//! The structure of printed YAML: block maps sorted as goyaml sorts, lists not indented below their key, empty
//! collections as `{}` and `[]`.

use std::cmp::Ordering;

use serde_json::Value;

use super::scalar::Writer;
use crate::number::{format_float, integral_text};

/// Prints a value as `kubectl get -o yaml` does, with a final line break.
#[must_use]
pub fn emit(value: &Value) -> String {
    let mut writer = Writer::new();
    node(&mut writer, value, Position { indent: None, in_map: false });
    writer.finish()
}

/// Where a node stands.
#[derive(Clone, Copy)]
struct Position {
    /// Indentation of the surrounding collection; None at the root.
    indent: Option<usize>,
    /// Whether it is a map's value, behind its key on the same line.
    in_map: bool,
}

impl Position {
    /// The indentation of content below this place.
    fn deeper(self) -> usize {
        self.indent.map_or(0, |indent| indent + 2)
    }
}

fn node(writer: &mut Writer, value: &Value, position: Position) {
    match value {
        Value::Object(map) if map.is_empty() => writer.indicator("{}"),
        Value::Array(list) if list.is_empty() => writer.indicator("[]"),
        Value::Object(map) => {
            let indent = position.deeper();
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by(|(a, _), (b, _)| natural_order(a, b));
            for (key, value) in entries {
                writer.indent(indent);
                let simple_key = writer.key(key, indent);
                node(writer, value, Position { indent: Some(indent), in_map: simple_key });
            }
        }
        Value::Array(list) => {
            // A list that is a map's value stays at the map's own indentation.
            let indent = match position {
                Position { indent: Some(indent), in_map: true } => indent,
                _ => position.deeper(),
            };
            for item in list {
                writer.indent(indent);
                writer.dash();
                node(writer, item, Position { indent: Some(indent), in_map: false });
            }
        }
        Value::String(text) => writer.text(text, position.indent.map_or(2, |i| i + 2)),
        Value::Null => writer.plain("null"),
        Value::Bool(value) => writer.plain(if *value { "true" } else { "false" }),
        Value::Number(number) => {
            let text = match number.as_f64().filter(|_| number.is_f64()) {
                // Through JSON and back, as sigs.k8s.io/yaml goes: whole floats come out as integers if they fit.
                Some(float) => integral_text(float)
                    .filter(|t| t.parse::<i64>().is_ok() || t.parse::<u64>().is_ok())
                    .unwrap_or_else(|| format_float(float)),
                None => number.to_string(),
            };
            writer.plain(&text);
        }
    }
}

/// goyaml's order of keys: letters after everything else, runs of digits by their number.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (ar, br): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(i) = ar.iter().zip(&br).position(|(x, y)| x != y) else {
        return ar.len().cmp(&br.len());
    };
    match (ar[i].is_alphabetic(), br[i].is_alphabetic()) {
        (true, true) => return ar[i].cmp(&br[i]),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // A zero within a number is not a leading one.
    let inside_number = (ar[i] == '0' || br[i] == '0')
        && ar[..i].iter().rev().take_while(|c| c.is_numeric()).any(|c| *c != '0');
    let number = |chars: &[char]| {
        let digits = chars.iter().take_while(|c| c.is_numeric());
        digits.fold((i64::from(inside_number), 0usize), |(n, count), c| {
            let digit = i64::from(*c as u32) - i64::from(b'0');
            (n.wrapping_mul(10).wrapping_add(digit), count + 1)
        })
    };
    number(&ar[i..]).cmp(&number(&br[i..])).then(ar[i].cmp(&br[i]))
}
