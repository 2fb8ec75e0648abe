//! Values: JSON read through its schema, and what expressions make of it.

use std::{cmp::Ordering, collections::HashMap, fmt::Write as _, net::IpAddr, ops::Deref, rc::Rc};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    ast::Lit,
    net::{Cidr, Url},
    semver::Semver,
};
use crate::{
    duration::parse_go_duration,
    quantity::Quantity,
    structural::{ListKind, Structural, Type, is_type_or_metadata},
};

/// A value.
#[derive(Clone, Debug)]
pub enum Val<'a> {
    /// `null`
    Null,
    /// A boolean.
    Bool(bool),
    /// A signed whole number.
    Int(i64),
    /// An unsigned whole number.
    Uint(u64),
    /// A floating point number.
    Double(f64),
    /// A text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Rc<[u8]>),
    /// A list that an expression made.
    List(Rc<Made<Self>>),
    /// A map that an expression made, in the order of its keys.
    Map(Rc<Made<(Self, Self)>>),
    /// A list or an object of the resource.
    Json(Json<'a>),
    /// A span of time.
    Duration(SignedDuration),
    /// A point in time.
    Timestamp(Timestamp),
    /// `optional.of(…)`
    Optional(Option<Rc<Self>>),
    /// The name of a type.
    Type(&'static str),
    /// `quantity(…)`
    Quantity(Quantity),
    /// `ip(…)`
    Ip(IpAddr),
    /// `cidr(…)`
    Cidr(Cidr),
    /// `url(…)`
    Url(Rc<Url>),
    /// `semver(…)`
    Semver(Rc<Semver>),
    /// `format.dns1123Label()`
    Format(&'static str),
}

/// A text: a part of the resource or of the expression, or made and shared. To have it once more costs nothing.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// As it stands somewhere.
    Borrowed(&'a str),
    /// Made by an expression.
    Made(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl std::fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        self
    }
}

/// What an expression made of parts, with what they weigh: counted once, for a part may stand in many places.
#[derive(Debug)]
pub struct Made<T> {
    parts: Vec<T>,
    weight: u64,
}

impl<T> Deref for Made<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.parts
    }
}

/// A list or an object, with its schema where there is one.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a> {
    /// The JSON.
    pub value: &'a Value,
    /// Its schema.
    pub schema: Option<&'a Structural>,
    /// It is a whole resource, which has type and metadata besides what its schema tells.
    pub is_resource: bool,
}

impl<'a> Val<'a> {
    /// A value of the resource.
    #[must_use]
    pub fn of(value: &'a Value, schema: Option<&'a Structural>) -> Self {
        let format = schema.map_or("", |schema| schema.limits.format.as_str());
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => {
                let is_double = schema.is_some_and(|schema| schema.kind == Some(Type::Number));
                match number.as_i64() {
                    Some(n) if !is_double => Self::Int(n),
                    _ => Self::Double(number.as_f64().unwrap_or_default()),
                }
            }
            // No date is that long: what has passed validation before there was one is not read at every step.
            Value::String(text) if text.len() > MAX_TIME && is_time(format) => Self::Null,
            Value::String(text) => match format {
                "date-time" => text.parse().map_or(Self::Null, Self::Timestamp),
                "date" => format!("{text}T00:00:00Z").parse().map_or(Self::Null, Self::Timestamp),
                "duration" => {
                    crate::structural::duration_of(text).map_or(Self::Null, Self::Duration)
                }
                "byte" => {
                    use base64::{Engine as _, engine::general_purpose::STANDARD};
                    STANDARD.decode(text).map_or(Self::Null, |bytes| Self::Bytes(bytes.into()))
                }
                _ => Self::String(Text::Borrowed(text)),
            },
            Value::Array(_) | Value::Object(_) => {
                let is_resource = schema.is_some_and(|schema| schema.embedded);
                Self::Json(Json { value, schema, is_resource })
            }
        }
    }

    /// A text.
    pub(super) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::String(Text::Made(text.into()))
    }

    /// A list.
    pub(super) fn list(items: Vec<Self>) -> Self {
        let weight = items.iter().map(Self::weight).fold(1, u64::saturating_add);
        Self::List(Rc::new(Made { parts: items, weight }))
    }

    /// A map; None: a key that is none, or one that is there twice.
    pub(super) fn map(mut entries: Vec<(Self, Self)>) -> Result<Self, &'static str> {
        if entries.iter().any(|(key, _)| key.key_rank().is_none()) {
            return Err("unsupported key type");
        }
        entries.sort_by(|(a, _), (b, _)| a.compare_keys(b));
        if entries.windows(2).any(|pair| pair[0].0.compare_keys(&pair[1].0).is_eq()) {
            return Err("failed with repeated key");
        }
        let weights = entries.iter().map(|(k, v)| k.weight().saturating_add(v.weight()));
        let weight = weights.fold(1, u64::saturating_add);
        Ok(Self::Map(Rc::new(Made { parts: entries, weight })))
    }

    /// Which keys come first: texts, then numbers, then booleans; None: what is no key.
    fn key_rank(&self) -> Option<u8> {
        Some(match self {
            Self::String(_) => 0,
            Self::Int(_) | Self::Uint(_) => 1,
            Self::Bool(_) => 2,
            _ => return None,
        })
    }

    /// The order of a map's keys.
    fn compare_keys(&self, other: &Self) -> Ordering {
        let same = self.compare(other).flatten();
        same.unwrap_or_else(|| self.key_rank().cmp(&other.key_rank()))
    }

    /// A literal.
    pub(super) fn lit(lit: &'a Lit) -> Self {
        match lit {
            Lit::Null => Self::Null,
            Lit::Bool(flag) => Self::Bool(*flag),
            Lit::Int(n) => Self::Int(*n),
            Lit::Uint(n) => Self::Uint(*n),
            Lit::Double(n) => Self::Double(*n),
            Lit::String(text) => Self::String(Text::Borrowed(text)),
            Lit::Bytes(bytes) => Self::Bytes(bytes.as_slice().into()),
        }
    }

    /// The name of its type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Json(json) if json.value.is_array() => "list",
            Self::Json(_) => "map",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
        }
    }

    /// The items of a list, or the keys of a map, one after the other.
    pub(super) fn iter(&self) -> Option<Items<'a>> {
        Some(match self {
            Self::List(items) => Items::List(items.clone(), 0),
            Self::Map(entries) => Items::Map(entries.clone(), 0),
            Self::Json(Json { value: Value::Array(items), schema, .. }) => {
                Items::Array(items.iter(), schema.and_then(|schema| schema.items.as_deref()))
            }
            Self::Json(json) => Items::Object(json.value.as_object()?.keys(), *json),
            _ => return None,
        })
    }

    /// The items of a list, or the keys of a map.
    pub(super) fn items(&self) -> Option<Vec<Self>> {
        self.iter().map(Iterator::collect)
    }

    /// An item of a list.
    pub(super) fn nth(&self, index: usize) -> Option<Self> {
        match self {
            Self::List(items) => items.get(index).cloned(),
            Self::Json(Json { value: Value::Array(items), schema, .. }) => {
                let item = schema.and_then(|schema| schema.items.as_deref());
                items.get(index).map(|value| Val::of(value, item))
            }
            _ => None,
        }
    }

    /// Whether it is a map.
    pub(super) fn is_map(&self) -> bool {
        matches!(self, Self::Map(_)) || matches!(self, Self::Json(json) if json.value.is_object())
    }

    /// How long a text, a list or a map is.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::String(text) => Some(text.chars().count()),
            Self::Bytes(bytes) => Some(bytes.len()),
            Self::List(items) => Some(items.len()),
            Self::Map(entries) => Some(entries.len()),
            Self::Json(Json { value: Value::Array(items), .. }) => Some(items.len()),
            Self::Json(json) => Some(json.value.as_object()?.len()),
            _ => None,
        }
    }

    /// The entry of a map under a key.
    pub(super) fn entry(&self, key: &Self) -> Option<Self> {
        match (self, key) {
            (Self::Map(entries), key) => {
                let whole = key.as_whole();
                let key = whole.as_ref().unwrap_or(key);
                key.key_rank()?;
                let at = entries.binary_search_by(|(other, _)| other.compare_keys(key)).ok()?;
                Some(entries[at].1.clone())
            }
            (Self::Json(json), Self::String(name)) => json.field(name),
            _ => None,
        }
    }

    /// A double that is a whole number finds the key of that number.
    #[allow(clippy::cast_possible_truncation, reason = "whole, and within 2⁵³")]
    fn as_whole(&self) -> Option<Self> {
        match self {
            Self::Double(n) if n.fract() == 0.0 && n.abs() < 9e15 => Some(Self::Int(*n as i64)),
            _ => None,
        }
    }

    /// What steps of the budget it costs to look at the whole of it.
    pub(super) fn weight(&self) -> u64 {
        fn of(value: &Value) -> u64 {
            match value {
                Value::String(text) => weight_of(text.len()),
                Value::Array(items) => 1 + items.iter().map(of).sum::<u64>(),
                Value::Object(fields) => 1 + fields.values().map(of).sum::<u64>(),
                _ => 1,
            }
        }
        match self {
            Self::List(items) => items.weight,
            Self::Map(entries) => entries.weight,
            Self::Json(json) => of(json.value),
            Self::Optional(Some(of)) => of.weight().saturating_add(1),
            other => weight_of(other.size()),
        }
    }

    /// The bytes of a text, or of what is made of one.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Url(url) => url.size(),
            Self::Semver(version) => version.size(),
            _ => 0,
        }
    }

    /// Equality across the kinds of numbers; values of different types are unequal.
    pub(super) fn equals(&self, other: &Self) -> bool {
        if let Some(order) = self.compare_numbers(other) {
            return order == Some(Ordering::Equal);
        }
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => a.as_ref() == b.as_ref(),
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Type(a), Self::Type(b)) | (Self::Format(a), Self::Format(b)) => a == b,
            (Self::Quantity(a), Self::Quantity(b)) => a.cmp(b) == Ordering::Equal,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Semver(a), Self::Semver(b)) => a.cmp(b) == Ordering::Equal,
            (Self::Optional(a), Self::Optional(b)) => match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.equals(b),
                _ => false,
            },
            _ if self.is_map() && other.is_map() => same_maps(self, other),
            _ if self.is_map() || other.is_map() => false,
            _ if self.len() != other.len() => false,
            _ => match (self.iter(), other.iter()) {
                (Some(a), Some(b)) => self.same_items(a, b),
                _ => false,
            },
        }
    }

    /// Whether two lists of one length have the same items: those of sets and map lists in any order.
    fn same_items(&self, ours: Items<'a>, mut theirs: Items<'a>) -> bool {
        let Self::Json(Json { schema: Some(schema), .. }) = self else {
            return ours.zip(theirs).all(|(a, b)| a.equals(&b));
        };
        match schema.list_kind() {
            ListKind::Atomic => ours.zip(theirs).all(|(a, b)| a.equals(&b)),
            ListKind::Set => {
                let known: std::collections::HashSet<String> = ours.map(|a| a.identity()).collect();
                theirs.all(|b| known.contains(&b.identity()))
            }
            ListKind::Map => {
                let key = |item: &Self| -> String {
                    let keys = schema.list_map_keys.iter();
                    let keys = keys.map(|key| item.entry(&Self::String(Text::Borrowed(key))));
                    keys.map(|key| key.map_or_else(String::new, |key| key.identity())).collect()
                };
                let known: HashMap<String, Self> = ours.map(|a| (key(&a), a)).collect();
                theirs.all(|b| known.get(&key(&b)).is_some_and(|a| a.equals(&b)))
            }
        }
    }

    /// A text that equal values have in common, and others have not.
    fn identity(&self) -> String {
        let mut out = String::new();
        self.identify(&mut out);
        out
    }

    fn identify(&self, out: &mut String) {
        // A `String` takes all that is written.
        let mut put = |tag: &str, text: &dyn std::fmt::Display| {
            let _ = write!(out, "{tag}{text};");
        };
        match self {
            Self::Int(n) => put("n", n),
            Self::Uint(n) => put("n", n),
            Self::Double(n) => match self.as_whole() {
                Some(Self::Int(whole)) => put("n", &whole),
                _ => put("n", n),
            },
            Self::String(text) => {
                put("s", &text.len());
                out.push_str(text);
            }
            Self::Bytes(bytes) => put("b", &format_args!("{bytes:?}")),
            Self::Optional(Some(of)) => {
                put("o", &1);
                of.identify(out);
            }
            _ => match self.iter() {
                None => put(self.type_name(), &super::text::to_text(self).unwrap_or_default()),
                Some(items) => {
                    put(self.type_name(), &self.len().unwrap_or_default());
                    for item in items {
                        item.identify(out);
                        if self.is_map()
                            && let Some(value) = self.entry(&item)
                        {
                            value.identify(out);
                        }
                    }
                }
            },
        }
    }

    fn compare_numbers(&self, other: &Self) -> Option<Option<Ordering>> {
        Some(match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Uint(a), Self::Uint(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Uint(a), Self::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Double(a), b) => a.partial_cmp(&b.as_double()?),
            (a, Self::Double(b)) => a.as_double()?.partial_cmp(b),
            _ => return None,
        })
    }

    #[allow(clippy::cast_precision_loss, reason = "CEL compares numbers as doubles")]
    fn as_double(&self) -> Option<f64> {
        match self {
            Self::Int(n) => Some(*n as f64),
            Self::Uint(n) => Some(*n as f64),
            Self::Double(n) => Some(*n),
            _ => None,
        }
    }

    /// The order of two values of comparable types; the inner None: a number that is none.
    pub(super) fn compare(&self, other: &Self) -> Option<Option<Ordering>> {
        if let Some(order) = self.compare_numbers(other) {
            return Some(order);
        }
        Some(Some(match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::String(a), Self::String(b)) => a.as_ref().cmp(b.as_ref()),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Duration(a), Self::Duration(b)) => a.cmp(b),
            (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            _ => return None,
        }))
    }
}

fn same_maps(a: &Val<'_>, b: &Val<'_>) -> bool {
    a.len() == b.len()
        && a.iter()
            .into_iter()
            .flatten()
            .all(|key| matches!((a.entry(&key), b.entry(&key)), (Some(a), Some(b)) if a.equals(&b)))
}

/// The items of a list, or the keys of a map.
pub(super) enum Items<'a> {
    List(Rc<Made<Val<'a>>>, usize),
    Map(Rc<Made<(Val<'a>, Val<'a>)>>, usize),
    Array(std::slice::Iter<'a, Value>, Option<&'a Structural>),
    Object(serde_json::map::Keys<'a>, Json<'a>),
}

impl<'a> Iterator for Items<'a> {
    type Item = Val<'a>;

    fn next(&mut self) -> Option<Val<'a>> {
        match self {
            Self::List(items, at) => {
                *at += 1;
                items.get(*at - 1).cloned()
            }
            Self::Map(entries, at) => {
                *at += 1;
                entries.get(*at - 1).map(|(key, _)| key.clone())
            }
            Self::Array(items, schema) => items.next().map(|value| Val::of(value, *schema)),
            Self::Object(names, json) => {
                let name = names.find(|name| json.knows(name))?;
                Some(Val::String(Text::Borrowed(name)))
            }
        }
    }
}

/// What it costs to look at so many bytes.
pub(super) fn weight_of(bytes: usize) -> u64 {
    1 + bytes as u64 / 10
}

/// No date, time or duration is longer.
const MAX_TIME: usize = 256;

fn is_time(format: &str) -> bool {
    matches!(format, "date" | "date-time" | "duration")
}

impl<'a> Json<'a> {
    /// A resource as a whole.
    #[must_use]
    pub fn resource(value: &'a Value, schema: &'a Structural) -> Self {
        Self { value, schema: Some(schema), is_resource: true }
    }

    /// Whether rules may see a field: unknown ones that are only kept, they may not.
    fn knows(&self, name: &str) -> bool {
        self.schema.is_none_or(|schema| {
            schema.field(name).is_some() || (self.is_resource && is_type_or_metadata(name))
        })
    }

    fn field(&self, name: &str) -> Option<Val<'a>> {
        if !self.knows(name) {
            return None;
        }
        let value = self.value.get(name)?;
        Some(Val::of(value, self.schema.and_then(|schema| schema.field(name))))
    }
}

/// Reads a duration in Go's form, with a sign.
pub(super) fn signed_duration(text: &str) -> Option<SignedDuration> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let duration = SignedDuration::try_from(parse_go_duration(text)?).ok()?;
    Some(if negative { -duration } else { duration })
}
