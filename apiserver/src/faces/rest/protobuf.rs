//! Request bodies in Kubernetes' protobuf, which kubectl's typed commands (`create deployment`, …) send.
//!
//! Only reading: what such a client accepts includes JSON, and JSON it gets. A body is the magic `k8s\0` and a
//! `runtime.Unknown` with the object's message in it. Which number is which field stands in `protobuf/fields.txt`, for
//! every kind of the schema table, served or not; a number that is not there is an error, never dropped.
//!
//! The messages come from Go structs: fields that are no pointers are always written, so a zero value there means
//! "absent" where Go's JSON would leave it out.

use std::{collections::HashMap, sync::OnceLock};

use apimachinery::{
    status::Status,
    time::{MicroTime, Time},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The media type.
pub(super) const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";
/// Messages are nested no deeper than this.
const MAX_DEPTH: usize = 64;

type Fields = HashMap<u32, Field>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    One,
    List,
    Map,
    /// Its fields stand in the outer object.
    Inline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Boolean,
    Double,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    Raw,
    Message(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: &'static str,
    shape: Shape,
    kind: Kind,
    omit_zero: bool,
}

fn table() -> &'static HashMap<&'static str, Fields> {
    static TABLE: OnceLock<HashMap<&'static str, Fields>> = OnceLock::new();
    TABLE.get_or_init(|| {
        include_str!("protobuf/fields.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (message, fields) = line.split_once(' ').unwrap_or((line, ""));
                (!message.is_empty())
                    .then(|| (message, fields.split(' ').filter_map(field).collect()))
            })
            .collect()
    })
}

fn field(text: &'static str) -> Option<(u32, Field)> {
    let (number, rest) = text.split_once(':')?;
    let (name, kind) = rest.split_once(':')?;
    let (kind, omit_zero) = kind.strip_suffix('~').map_or((kind, false), |kind| (kind, true));
    let (shape, kind) = if let Some(kind) = kind.strip_prefix("[]") {
        (Shape::List, kind)
    } else if let Some(kind) = kind.strip_prefix("{}") {
        (Shape::Map, kind)
    } else if name == "=" {
        (Shape::Inline, kind)
    } else {
        (Shape::One, kind)
    };
    let kind = match kind {
        "s" => Kind::Text,
        "i" => Kind::Integer,
        "b" => Kind::Boolean,
        "d" => Kind::Double,
        "y" => Kind::Bytes,
        "!time" => Kind::Time,
        "!microtime" => Kind::MicroTime,
        "!quantity" => Kind::Quantity,
        "!intorstring" => Kind::IntOrString,
        "!raw" => Kind::Raw,
        message => Kind::Message(message),
    };
    Some((number.parse().ok()?, Field { name, shape, kind, omit_zero }))
}

/// Reads a body as JSON.
///
/// # Errors
/// Bad request for what is malformed, or holds what the table does not know.
pub(super) fn to_json(body: &[u8]) -> Result<Bytes, Status> {
    let object = envelope(body).map_err(|error| {
        Status::bad_request(format!("failed to decode the protobuf body: {error}"))
    })?;
    Ok(Value::Object(object).to_string().into())
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Error {
    #[error("it does not begin as Kubernetes' protobuf does")]
    Magic,
    #[error("it ends too early")]
    Short,
    #[error("{0} has no text where text belongs")]
    Text(String),
    #[error("{0} is malformed")]
    Malformed(String),
    #[error("field {1} of {0} is not known to this server; send JSON")]
    UnknownField(String, u32),
    #[error("{0} is not known to this server; send JSON")]
    UnknownKind(String),
}

fn envelope(body: &[u8]) -> Result<Map<String, Value>, Error> {
    let mut reader = Reader(body.strip_prefix(MAGIC).ok_or(Error::Magic)?);
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(meta)) => {
                let mut meta = Reader(meta);
                while let Some((number, wire)) = meta.next()? {
                    match number {
                        1 => api_version = wire.text("apiVersion")?,
                        2 => kind = wire.text("kind")?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (group, version) = apimachinery::resource::split_api_version(&api_version);
    let package = match (kind.as_str(), group.split('.').next().unwrap_or("")) {
        ("DeleteOptions", _) => "meta",
        (_, "") => "core",
        (_, package) => package,
    };
    let message = format!("{package}.{version}.{kind}");
    let message = if package == "meta" { "meta.v1.DeleteOptions" } else { &message };
    let (name, _) = table()
        .get_key_value(message)
        .ok_or_else(|| Error::UnknownKind(format!("{api_version} {kind}")))?;
    let mut object = Map::new();
    read_message(name, raw, &mut object, 0)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(object)
}

fn read_message(
    message: &'static str,
    bytes: &[u8],
    object: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), Error> {
    let malformed = || Error::Malformed(message.to_owned());
    if depth > MAX_DEPTH {
        return Err(malformed());
    }
    let fields = table().get(message).ok_or_else(|| Error::UnknownKind(message.to_owned()))?;
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        let field =
            fields.get(&number).ok_or_else(|| Error::UnknownField(message.to_owned(), number))?;
        match field.shape {
            Shape::Inline => {
                let (Kind::Message(inner), Wire::Bytes(bytes)) = (field.kind, wire) else {
                    return Err(malformed());
                };
                read_message(inner, bytes, object, depth + 1)?;
            }
            Shape::One => {
                let value = read_value(field, wire, depth)?;
                if !(value.is_null() || field.omit_zero && is_zero(&value)) {
                    object.insert(field.name.to_owned(), value);
                }
            }
            Shape::List => {
                let value = read_value(field, wire, depth)?;
                let list = object.entry(field.name).or_insert_with(|| json!([]));
                list.as_array_mut().ok_or_else(malformed)?.push(value);
            }
            Shape::Map => {
                let Wire::Bytes(entry) = wire else { return Err(malformed()) };
                let (mut key, mut value) = (String::new(), zero(field.kind));
                let mut entry = Reader(entry);
                while let Some((number, wire)) = entry.next()? {
                    match number {
                        1 => key = wire.text(field.name)?,
                        2 => value = read_value(field, wire, depth)?,
                        _ => return Err(malformed()),
                    }
                }
                let map = object.entry(field.name).or_insert_with(|| json!({}));
                map.as_object_mut().ok_or_else(malformed)?.insert(key, value);
            }
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

/// What a map's entry holds when its value is left out.
fn zero(kind: Kind) -> Value {
    match kind {
        Kind::Message(_) => json!({}),
        Kind::Integer => json!(0),
        Kind::Boolean => json!(false),
        _ => json!(""),
    }
}

fn read_value(field: &Field, wire: Wire<'_>, depth: usize) -> Result<Value, Error> {
    let malformed = || Error::Malformed(field.name.to_owned());
    Ok(match (field.kind, wire) {
        (Kind::Text, wire) => wire.text(field.name)?.into(),
        // Two's complement: a negative number is a large one on the wire.
        (Kind::Integer, Wire::Varint(number)) => Value::from(number.cast_signed()),
        (Kind::Boolean, Wire::Varint(number)) => (number != 0).into(),
        (Kind::Double, Wire::Fixed64(bits)) => go_number(f64::from_bits(bits)),
        (Kind::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Kind::Time | Kind::MicroTime, Wire::Bytes(bytes)) => {
            let (seconds, nanos) = integers(bytes)?;
            if seconds == 0 && nanos == 0 {
                return Ok(Value::Null);
            }
            let nanos = i32::try_from(nanos).map_err(|_| malformed())?;
            let time = Timestamp::new(seconds, nanos).map_err(|_| malformed())?;
            match field.kind {
                Kind::Time => Time(time).to_string().into(),
                _ => MicroTime(time).to_string().into(),
            }
        }
        (Kind::Quantity, Wire::Bytes(bytes)) => {
            let mut reader = Reader(bytes);
            let mut text = "0".to_owned();
            while let Some((number, wire)) = reader.next()? {
                if number == 1 {
                    text = wire.text(field.name)?;
                }
            }
            text.into()
        }
        (Kind::IntOrString, Wire::Bytes(bytes)) => {
            let mut reader = Reader(bytes);
            let (mut is_text, mut number_value, mut text) = (false, 0, String::new());
            while let Some((number, wire)) = reader.next()? {
                match (number, wire) {
                    (1, Wire::Varint(kind)) => is_text = kind != 0,
                    (2, Wire::Varint(number)) => number_value = number.cast_signed(),
                    (3, wire) => text = wire.text(field.name)?,
                    _ => return Err(malformed()),
                }
            }
            if is_text { text.into() } else { number_value.into() }
        }
        (Kind::Raw, Wire::Bytes(bytes)) => {
            let mut reader = Reader(bytes);
            let mut value = Value::Null;
            while let Some((number, wire)) = reader.next()? {
                if let (1, Wire::Bytes(json)) = (number, wire)
                    && !json.is_empty()
                {
                    value = serde_json::from_slice(json).map_err(|_| malformed())?;
                }
            }
            value
        }
        (Kind::Message(message), Wire::Bytes(bytes)) => {
            let mut inner = Map::new();
            read_message(message, bytes, &mut inner, depth + 1)?;
            match wrapped(message) {
                Some(empty) => inner.remove(WRAPPED).unwrap_or(empty),
                None => Value::Object(inner),
            }
        }
        _ => return Err(malformed()),
    })
}

/// The name of a field whose value stands for its whole message: JSON has no object there.
const WRAPPED: &str = "|";

/// Whether a message stands for its value, and what it is without one.
fn wrapped(message: &str) -> Option<Value> {
    let fields = table().get(message)?;
    let first = fields.values().find(|field| field.name == WRAPPED)?;
    let only_list = fields.len() == 1 && first.shape == Shape::List;
    Some(if only_list { json!([]) } else { Value::Null })
}

/// A number as Go writes it: without a fraction where there is none.
fn go_number(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "only whole numbers far below the limit")]
    if number.fract() == 0.0 && number.abs() < 1e15 {
        (number as i64).into()
    } else {
        number.into()
    }
}

/// The integers of fields 1 and 2.
fn integers(bytes: &[u8]) -> Result<(i64, i64), Error> {
    let mut reader = Reader(bytes);
    let (mut first, mut second) = (0, 0);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Varint(value)) => first = value.cast_signed(),
            (2, Wire::Varint(value)) => second = value.cast_signed(),
            _ => return Err(Error::Malformed("time".to_owned())),
        }
    }
    Ok((first, second))
}

/// One field's value as it stands on the wire.
#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

impl Wire<'_> {
    fn text(self, what: &str) -> Result<String, Error> {
        match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(ToOwned::to_owned),
            _ => None,
        }
        .ok_or_else(|| Error::Text(what.to_owned()))
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Error::Short)?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes"))),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Error::Short)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            _ => return Err(Error::Short),
        };
        Ok(Some((number, wire)))
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::Short)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Error::Short)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
