//! A JSON reader that tells which fields occur twice.
//!
//! Kubernetes' decoder lets the last of two equal fields win and reports `duplicate field "spec.replicas"`; so does
//! this. The reader gives what `serde_json` gives otherwise, at the same speed: paths are only spelled out when a
//! duplicate is met.

use std::{cell::RefCell, fmt};

use apimachinery::{object::Object, status::Status};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// The decoder reports no more faults than this.
const MAX_DUPLICATES: usize = 100;

/// Reads an object, and the faults of repeated fields.
///
/// # Errors
/// Bad request for what is no JSON object.
pub(crate) fn read_object(json: &[u8]) -> Result<(Object, Vec<String>), Status> {
    let invalid = |error: serde_json::Error| {
        Status::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    };
    let duplicates = RefCell::default();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = Reader { place: None, duplicates: &duplicates }
        .deserialize(&mut deserializer)
        .map_err(invalid)?;
    deserializer.end().map_err(invalid)?;
    Ok((Object::from_value(value)?, duplicates.into_inner()))
}

/// Where the reader is, as a list that lives on the stack.
#[derive(Clone, Copy)]
struct Place<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Field(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Field(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    place: Option<&'a Place<'a>>,
    duplicates: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::with_capacity(items.size_hint().unwrap_or(0));
        loop {
            let place = Place { parent: self.place, step: Step::Index(list.len()) };
            let reader = Reader { place: Some(&place), duplicates: self.duplicates };
            match items.next_element_seed(reader)? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let place = Place { parent: self.place, step: Step::Field(&key) };
            let reader = Reader { place: Some(&place), duplicates: self.duplicates };
            let value = entries.next_value_seed(reader)?;
            if map.contains_key(&key) {
                let mut duplicates = self.duplicates.borrow_mut();
                let fault = format!("duplicate field \"{place}\"");
                if duplicates.len() < MAX_DUPLICATES && !duplicates.contains(&fault) {
                    duplicates.push(fault);
                }
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_named_and_the_last_wins() {
        let check = |json: &str, value: serde_json::Value, faults: &[&str]| {
            let (object, duplicates) = read_object(json.as_bytes()).unwrap();
            assert_eq!(Value::Object(object.0), value);
            assert_eq!(duplicates, faults);
        };
        check(
            r#"{"a": 1, "b": [true, null, -2, 1.5, "x"]}"#,
            serde_json::json!({"a": 1, "b": [true, null, -2, 1.5, "x"]}),
            &[],
        );
        check(
            r#"{"spec": {"l": [{"a": 1, "a": 2}], "r": 1, "r": 2, "r": 3}}"#,
            serde_json::json!({"spec": {"l": [{"a": 2}], "r": 3}}),
            &["duplicate field \"spec.l[0].a\"", "duplicate field \"spec.r\""],
        );
        for bad in ["", "{", "[]", "{} {}", "nul"] {
            assert!(read_object(bad.as_bytes()).unwrap_err().is_bad_request(), "{bad}");
        }
    }
}
