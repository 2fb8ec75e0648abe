//! JSON sources: one value or several one after the other, with repeated keys treated as in YAML.

use std::{cell::Cell, fmt};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{Document, Repeated, YamlError, error};
use crate::field::go_quote;

pub(super) fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// `{"` is how a JSON object begins and a YAML flow mapping hardly ever.
pub(super) fn is_clearly_json(text: &str) -> bool {
    let inner = text.trim_start().strip_prefix('{').unwrap_or_default().trim_start();
    inner.starts_with('"')
}

pub(super) fn read(text: &str, policy: Repeated) -> Result<Vec<Document>, YamlError> {
    let mut documents = Vec::new();
    let mut start = 0;
    loop {
        let rest = &text[start..];
        let skipped = rest.len() - rest.trim_start().len();
        start += skipped;
        let rest = &text[start..];
        if rest.is_empty() {
            return Ok(documents);
        }
        let line = 1 + text[..start].matches('\n').count();
        let column = start - text[..start].rfind('\n').map_or(0, |i| i + 1);
        let mut deserializer = serde_json::Deserializer::from_str(rest);
        let repeated = Cell::new(false);
        let value = Checked { repeated: &repeated, policy }
            .deserialize(&mut deserializer)
            .map_err(|e| {
                let shift = if e.line() == 1 { column } else { 0 };
                let text = e.to_string();
                let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(m, _)| m);
                YamlError {
                    content: repeated.get(),
                    ..error(line + e.line().max(1) - 1, shift + e.column().max(1), message)
                }
            })?;
        // What follows the value starts where the deserializer stopped.
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<de::IgnoredAny>();
        stream.next();
        start += stream.byte_offset();
        if !value.is_null() {
            documents.push(Document { value, line });
        }
    }
}

/// Reads any value; a key that occurs twice in a map is refused, or replaced.
#[derive(Clone, Copy)]
struct Checked<'a> {
    repeated: &'a Cell<bool>,
    policy: Repeated,
}

impl<'de> DeserializeSeed<'de> for Checked<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        // Go reads what is above int64 as a float.
        Ok(i64::try_from(value).map_or_else(|_| Value::from(value as f64), Value::from))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if self.policy == Repeated::Refused && map.contains_key(&key) {
                self.repeated.set(true);
                let quoted = go_quote(&key);
                return Err(de::Error::custom(format_args!("key {quoted} already set in map")));
            }
            let value = access.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
