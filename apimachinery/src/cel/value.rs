//! Values: JSON read through its schema, and what expressions make of it.

use std::{borrow::Cow, cmp::Ordering, net::IpAddr, rc::Rc};

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
    String(Cow<'a, str>),
    /// Bytes.
    Bytes(Rc<[u8]>),
    /// A list that an expression made.
    List(Rc<Vec<Self>>),
    /// A map that an expression made.
    Map(Rc<Vec<(Self, Self)>>),
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
            Value::String(text) => match format {
                "date-time" => text.parse().map_or(Self::Null, Self::Timestamp),
                "date" => format!("{text}T00:00:00Z").parse().map_or(Self::Null, Self::Timestamp),
                "duration" => signed_duration(text).map_or(Self::Null, Self::Duration),
                "byte" => {
                    use base64::{Engine as _, engine::general_purpose::STANDARD};
                    STANDARD.decode(text).map_or(Self::Null, |bytes| Self::Bytes(bytes.into()))
                }
                _ => Self::String(Cow::Borrowed(text)),
            },
            Value::Array(_) | Value::Object(_) => {
                let is_resource = schema.is_some_and(|schema| schema.embedded);
                Self::Json(Json { value, schema, is_resource })
            }
        }
    }

    /// A text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::String(Cow::Owned(text.into()))
    }

    /// A list.
    pub(super) fn list(items: Vec<Self>) -> Self {
        Self::List(Rc::new(items))
    }

    /// A literal.
    pub(super) fn lit(lit: &'a Lit) -> Self {
        match lit {
            Lit::Null => Self::Null,
            Lit::Bool(flag) => Self::Bool(*flag),
            Lit::Int(n) => Self::Int(*n),
            Lit::Uint(n) => Self::Uint(*n),
            Lit::Double(n) => Self::Double(*n),
            Lit::String(text) => Self::String(Cow::Borrowed(text)),
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

    /// The items of a list, or the keys of a map.
    pub(super) fn items(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) => Some(items.as_ref().clone()),
            Self::Map(entries) => Some(entries.iter().map(|(key, _)| key.clone()).collect()),
            Self::Json(Json { value: Value::Array(items), schema, .. }) => {
                let item = schema.and_then(|schema| schema.items.as_deref());
                Some(items.iter().map(|value| Val::of(value, item)).collect())
            }
            Self::Json(json) => {
                let fields = json.value.as_object()?;
                let known = fields.keys().filter(|name| json.knows(name));
                Some(known.map(|name| Self::String(Cow::Borrowed(name.as_str()))).collect())
            }
            _ => None,
        }
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
                entries.iter().find(|(other, _)| other.equals(key)).map(|(_, v)| v.clone())
            }
            (Self::Json(json), Self::String(name)) => json.field(name),
            _ => None,
        }
    }

    /// What steps of the budget it costs to look at the whole of it.
    pub(super) fn weight(&self) -> u64 {
        fn of(value: &Value) -> u64 {
            match value {
                Value::String(text) => 1 + text.len() as u64 / 10,
                Value::Array(items) => 1 + items.iter().map(of).sum::<u64>(),
                Value::Object(fields) => 1 + fields.values().map(of).sum::<u64>(),
                _ => 1,
            }
        }
        match self {
            Self::String(text) => 1 + text.len() as u64 / 10,
            Self::Bytes(bytes) => 1 + bytes.len() as u64 / 10,
            Self::List(items) => 1 + items.iter().map(Self::weight).sum::<u64>(),
            Self::Map(entries) => {
                1 + entries.iter().map(|(k, v)| k.weight() + v.weight()).sum::<u64>()
            }
            Self::Json(json) => of(json.value),
            _ => 1,
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
            (Self::String(a), Self::String(b)) => a == b,
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
            _ => match (self.items(), other.items()) {
                (Some(a), Some(b)) => same_lists(&a, &b, self.is_unordered()),
                _ => false,
            },
        }
    }

    /// Sets and map lists are equal in any order.
    fn is_unordered(&self) -> bool {
        matches!(self, Self::Json(Json { schema: Some(schema), .. })
            if schema.list_kind() != ListKind::Atomic)
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
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Duration(a), Self::Duration(b)) => a.cmp(b),
            (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            _ => return None,
        }))
    }
}

fn same_lists(a: &[Val<'_>], b: &[Val<'_>], unordered: bool) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if unordered {
        return a.iter().all(|item| b.iter().any(|other| item.equals(other)));
    }
    a.iter().zip(b).all(|(a, b)| a.equals(b))
}

fn same_maps(a: &Val<'_>, b: &Val<'_>) -> bool {
    a.len() == b.len()
        && a.items()
            .into_iter()
            .flatten()
            .all(|key| matches!((a.entry(&key), b.entry(&key)), (Some(a), Some(b)) if a.equals(&b)))
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
