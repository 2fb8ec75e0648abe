//! What functions compute. Texts have a module of their own ([`super::strings`]), names and types, too
//! ([`super::signatures`]).
//!
//! Whoever calls has paid for what goes in; what comes out larger than that is paid for here, before it is made.

use std::{cmp::Ordering, collections::BTreeMap, net::IpAddr, rc::Rc};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    eval::{Budget, EvalError},
    format,
    net::{Cidr, Url, parse_ip},
    semver::Semver,
    signatures, strings, text,
    value::{Val, signed_duration},
};
use crate::{quantity::Quantity, regexp::Regexp};

const TYPES: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
    "google.protobuf.Duration",
    "google.protobuf.Timestamp",
];

type Outcome<'a> = Result<Val<'a>, EvalError>;

/// Functions that do not look into lists and maps: these go in and out at no cost.
pub(super) fn glances(name: &str) -> bool {
    matches!(
        name,
        "dyn"
            | "hasValue"
            | "optional.of"
            | "optional.ofNonZeroValue"
            | "or"
            | "orValue"
            | "size"
            | "type"
            | "value"
    )
}

/// A type's name as a value.
pub(super) fn type_named(name: &str) -> Option<&'static str> {
    TYPES.iter().copied().find(|other| *other == name)
}

/// Calls a function; the first argument of a method is its target.
pub(super) fn call<'a>(
    name: &str,
    is_method: bool,
    args: &[Val<'a>],
    pattern: Option<&Regexp>,
    budget: &mut Budget,
) -> Outcome<'a> {
    if is_method {
        return method(name, args, pattern, budget);
    }
    if name == "matches" {
        return strings::method(name, args, pattern, budget);
    }
    match (name, args) {
        ("size", [of]) => size(of),
        ("dyn", [of]) => Ok(of.clone()),
        ("type", [of]) => Ok(Val::Type(of.type_name())),
        ("strings.quote", [Val::String(text)]) => Ok(Val::text(crate::field::go_quote(text))),
        (
            "string" | "int" | "uint" | "double" | "bool" | "bytes" | "duration" | "timestamp",
            [of],
        ) => convert(name, of),
        ("optional.none", []) => Ok(Val::Optional(None)),
        ("optional.of", [of]) => Ok(Val::Optional(Some(Rc::new(of.clone())))),
        ("optional.ofNonZeroValue", [of]) => {
            Ok(Val::Optional((!is_zero(of)).then(|| Rc::new(of.clone()))))
        }
        ("sets.contains" | "sets.equivalent" | "sets.intersects", [a, b]) => {
            // Each of one is compared with each of the other.
            let each = |some: &Val<'_>, all: &Val<'_>| {
                some.weight().saturating_mul(all.len().unwrap_or_default() as u64)
            };
            budget.spend(each(a, b).max(each(b, a)))?;
            let (Some(a), Some(b)) = (a.items(), b.items()) else {
                return Err(EvalError::no_overload());
            };
            let has = |all: &[Val<'_>], item: &Val<'_>| all.iter().any(|other| other.equals(item));
            let within = |some: &[Val<'_>], all: &[Val<'_>]| some.iter().all(|i| has(all, i));
            Ok(Val::Bool(match name {
                "sets.contains" => within(&b, &a),
                "sets.equivalent" => within(&a, &b) && within(&b, &a),
                _ => a.iter().any(|item| has(&b, item)),
            }))
        }
        (_, [Val::String(text), rest @ ..]) => parsed(name, text, rest),
        (name, []) => {
            signatures::named_format(name).map(Val::Format).ok_or_else(EvalError::no_overload)
        }
        _ => Err(EvalError::no_overload()),
    }
}

/// Kubernetes' types from their texts.
fn parsed<'a>(name: &str, text: &str, rest: &[Val<'a>]) -> Outcome<'a> {
    let flag = |rest: &[Val<'_>]| matches!(rest, [Val::Bool(true)]);
    let fails = |what: &str| {
        EvalError::failed(format!("{what} parse error during conversion from string: {text:?}"))
    };
    match name {
        "quantity" => {
            text.parse().map(Val::Quantity).map_err(|e| EvalError::failed(format!("{e}")))
        }
        "isQuantity" => Ok(Val::Bool(text.parse::<Quantity>().is_ok())),
        "url" => Url::parse(text).map(|u| Val::Url(Rc::new(u))).ok_or_else(|| fails("URL")),
        "isURL" => Ok(Val::Bool(Url::parse(text).is_some())),
        "ip" => parse_ip(text).map(Val::Ip).ok_or_else(|| fails("IP Address")),
        "isIP" => Ok(Val::Bool(parse_ip(text).is_some())),
        "ip.isCanonical" => match parse_ip(text) {
            Some(address) => Ok(Val::Bool(address.to_string() == text)),
            None => Err(fails("IP Address")),
        },
        "cidr" => Cidr::parse(text).map(Val::Cidr).ok_or_else(|| fails("CIDR")),
        "isCIDR" => Ok(Val::Bool(Cidr::parse(text).is_some())),
        "semver" => Semver::parse(text, flag(rest))
            .map(|version| Val::Semver(Rc::new(version)))
            .ok_or_else(|| fails("semver")),
        "isSemver" => Ok(Val::Bool(Semver::parse(text, flag(rest)).is_some())),
        "format.named" => {
            let found = format::NAMES.iter().find(|other| **other == text);
            Ok(Val::Optional(found.map(|name| Rc::new(Val::Format(name)))))
        }
        _ => Err(EvalError::no_overload()),
    }
}

fn size<'a>(of: &Val<'a>) -> Outcome<'a> {
    let length = of.len().ok_or_else(EvalError::no_overload)?;
    Ok(Val::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn is_zero(value: &Val<'_>) -> bool {
    match value {
        Val::Null | Val::Bool(false) | Val::Int(0) | Val::Uint(0) => true,
        Val::Double(n) => *n == 0.0,
        Val::Duration(span) => span.is_zero(),
        other => other.len() == Some(0),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "CEL's conversions between numbers, ranges checked"
)]
fn convert<'a>(to: &str, of: &Val<'a>) -> Outcome<'a> {
    let range = || EvalError::failed("integer overflow");
    let syntax = |text: &str| {
        EvalError::failed(format!("type conversion error from 'string' to '{to}': {text:?}"))
    };
    match (to, of) {
        ("int", Val::Int(_))
        | ("uint", Val::Uint(_))
        | ("double", Val::Double(_))
        | ("bool", Val::Bool(_))
        | ("bytes", Val::Bytes(_))
        | ("string", Val::String(_))
        | ("duration", Val::Duration(_))
        | ("timestamp", Val::Timestamp(_)) => Ok(of.clone()),
        ("string", of) => text::to_text(of).map(Val::text).ok_or_else(EvalError::no_overload),
        ("int", Val::Uint(n)) => i64::try_from(*n).map(Val::Int).map_err(|_| range()),
        ("int", Val::Double(n)) if n.abs() < 9.2e18 => Ok(Val::Int(*n as i64)),
        ("int", Val::Double(_)) => Err(range()),
        ("int", Val::String(s)) => s.parse().map(Val::Int).map_err(|_| syntax(s)),
        ("int", Val::Timestamp(at)) => Ok(Val::Int(at.as_second())),
        ("int", Val::Duration(span)) => Ok(Val::Int(span.as_secs())),
        ("uint", Val::Int(n)) => u64::try_from(*n).map(Val::Uint).map_err(|_| range()),
        ("uint", Val::Double(n)) if *n >= 0.0 && *n < 1.8e19 => Ok(Val::Uint(*n as u64)),
        ("uint", Val::Double(_)) => Err(range()),
        ("uint", Val::String(s)) => s.parse().map(Val::Uint).map_err(|_| syntax(s)),
        ("double", Val::Int(n)) => Ok(Val::Double(*n as f64)),
        ("double", Val::Uint(n)) => Ok(Val::Double(*n as f64)),
        ("double", Val::String(s)) => s.parse().map(Val::Double).map_err(|_| syntax(s)),
        ("bool", Val::String(s)) => match s.as_ref() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Val::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Val::Bool(false)),
            _ => Err(syntax(s)),
        },
        ("bytes", Val::String(s)) => Ok(Val::Bytes(s.as_bytes().into())),
        ("duration", Val::String(s)) => {
            signed_duration(s).map(Val::Duration).ok_or_else(|| syntax(s))
        }
        ("timestamp", Val::String(s)) => s.parse().map(Val::Timestamp).map_err(|_| syntax(s)),
        ("timestamp", Val::Int(n)) => {
            Timestamp::from_second(*n).map(Val::Timestamp).map_err(|_| range())
        }
        _ => Err(EvalError::no_overload()),
    }
}

fn method<'a>(
    name: &str,
    args: &[Val<'a>],
    pattern: Option<&Regexp>,
    budget: &mut Budget,
) -> Outcome<'a> {
    let Some((target, rest)) = args.split_first() else { return Err(EvalError::no_overload()) };
    match (target, name) {
        (_, "size") if rest.is_empty() => size(target),
        (Val::Optional(of), _) => optional(of.as_ref(), name, rest),
        (Val::String(_), _) => strings::method(name, args, pattern, budget),
        (Val::Timestamp(at), _) => time(*at, name, rest),
        (Val::Duration(span), _) => {
            let seconds = span.as_secs();
            Ok(Val::Int(match name {
                "getHours" => seconds / 3600,
                "getMinutes" => seconds / 60,
                "getSeconds" => seconds,
                "getMilliseconds" => i64::from(span.subsec_millis()),
                _ => return Err(EvalError::no_overload()),
            }))
        }
        (Val::Quantity(quantity), _) => of_quantity(*quantity, name, rest),
        (Val::Ip(address), _) => of_address(*address, name),
        (Val::Cidr(cidr), _) => of_cidr(*cidr, name, rest),
        (Val::Url(url), _) => of_url(url, name, budget),
        (Val::Semver(version), _) => of_semver(version, name, rest),
        (Val::Format(format), "validate") => match rest {
            [Val::String(text)] => {
                let mistakes = format::validate(format, text);
                let some = (!mistakes.is_empty())
                    .then(|| Rc::new(Val::list(mistakes.into_iter().map(Val::text).collect())));
                Ok(Val::Optional(some))
            }
            _ => Err(EvalError::no_overload()),
        },
        _ => of_list(target, name, rest, budget),
    }
}

fn optional<'a>(of: Option<&Rc<Val<'a>>>, name: &str, rest: &[Val<'a>]) -> Outcome<'a> {
    match (name, rest) {
        ("hasValue", []) => Ok(Val::Bool(of.is_some())),
        ("value", []) => of
            .map(|value| value.as_ref().clone())
            .ok_or_else(|| EvalError::failed("optional.none() dereference")),
        ("orValue", [other]) => Ok(of.map_or_else(|| other.clone(), |v| v.as_ref().clone())),
        ("or", [other]) => {
            Ok(of.map_or_else(|| other.clone(), |value| Val::Optional(Some(value.clone()))))
        }
        _ => Err(EvalError::no_overload()),
    }
}

fn time<'a>(at: Timestamp, name: &str, rest: &[Val<'a>]) -> Outcome<'a> {
    let zone = match rest {
        [] => TimeZone::UTC,
        [Val::String(name)] => {
            zone(name).ok_or_else(|| EvalError::failed(format!("unknown time zone {name}")))?
        }
        _ => return Err(EvalError::no_overload()),
    };
    let at = at.to_zoned(zone);
    Ok(Val::Int(i64::from(match name {
        "getFullYear" => i32::from(at.year()),
        "getMonth" => i32::from(at.month()) - 1,
        "getDate" => i32::from(at.day()),
        "getDayOfMonth" => i32::from(at.day()) - 1,
        "getDayOfWeek" => i32::from(at.weekday().to_sunday_zero_offset()),
        "getDayOfYear" => i32::from(at.day_of_year()) - 1,
        "getHours" => i32::from(at.hour()),
        "getMinutes" => i32::from(at.minute()),
        "getSeconds" => i32::from(at.second()),
        "getMilliseconds" => i32::from(at.millisecond()),
        _ => return Err(EvalError::no_overload()),
    })))
}

/// `UTC`, or an offset such as `-08:00`; there is no time zone database.
fn zone(name: &str) -> Option<TimeZone> {
    if matches!(name, "UTC" | "GMT" | "") {
        return Some(TimeZone::UTC);
    }
    let (sign, rest) = match name.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, name.strip_prefix('+').unwrap_or(name)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (hours.parse::<i8>().ok()?, minutes.parse::<i8>().ok()?);
    let seconds = sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60);
    Some(TimeZone::fixed(jiff::tz::Offset::from_seconds(seconds).ok()?))
}

fn of_quantity<'a>(quantity: Quantity, name: &str, rest: &[Val<'a>]) -> Outcome<'a> {
    let is_integer = quantity.milli_value() % 1000 == 0;
    let other = match rest {
        [Val::Quantity(other)] => Some(*other),
        [Val::Int(n)] => Some(Quantity::new(*n, quantity.format())),
        _ => None,
    };
    let order = other.map(|other| quantity.cmp(&other));
    match (name, other, order) {
        ("sign", None, _) => Ok(Val::Int(i64::from(quantity.sign()))),
        ("isInteger", None, _) => Ok(Val::Bool(is_integer)),
        ("asInteger", None, _) if is_integer => Ok(Val::Int(quantity.value())),
        ("asInteger", None, _) => Err(EvalError::failed("cannot convert value to integer")),
        ("asApproximateFloat", None, _) => Ok(Val::Double(quantity.as_f64())),
        ("add", Some(other), _) => Ok(Val::Quantity(quantity + other)),
        ("sub", Some(other), _) => Ok(Val::Quantity(quantity - other)),
        (_, Some(_), Some(order)) => ordered(order, name),
        _ => Err(EvalError::no_overload()),
    }
}

fn ordered<'a>(order: Ordering, name: &str) -> Outcome<'a> {
    match name {
        "isLessThan" => Ok(Val::Bool(order.is_lt())),
        "isGreaterThan" => Ok(Val::Bool(order.is_gt())),
        "compareTo" => Ok(Val::Int(order as i64)),
        _ => Err(EvalError::no_overload()),
    }
}

fn of_address<'a>(address: IpAddr, name: &str) -> Outcome<'a> {
    let link_local_unicast = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let link_local_multicast = match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    };
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    Ok(Val::Bool(match name {
        "family" => return Ok(Val::Int(if address.is_ipv4() { 4 } else { 6 })),
        "isUnspecified" => address.is_unspecified(),
        "isLoopback" => address.is_loopback(),
        "isLinkLocalMulticast" => link_local_multicast,
        "isLinkLocalUnicast" => link_local_unicast,
        "isGlobalUnicast" => {
            !(address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || link_local_unicast
                || broadcast)
        }
        _ => return Err(EvalError::no_overload()),
    }))
}

fn of_cidr<'a>(cidr: Cidr, name: &str, rest: &[Val<'a>]) -> Outcome<'a> {
    let unreadable = || EvalError::failed("the argument is no address");
    match (name, rest) {
        ("containsIP", [Val::Ip(address)]) => Ok(Val::Bool(cidr.contains(*address))),
        ("containsIP", [Val::String(text)]) => {
            parse_ip(text).map(|a| Val::Bool(cidr.contains(a))).ok_or_else(unreadable)
        }
        ("containsCIDR", [Val::Cidr(other)]) => Ok(Val::Bool(cidr.contains_range(*other))),
        ("containsCIDR", [Val::String(text)]) => {
            Cidr::parse(text).map(|o| Val::Bool(cidr.contains_range(o))).ok_or_else(unreadable)
        }
        ("ip", []) => Ok(Val::Ip(cidr.address)),
        ("masked", []) => Ok(Val::Cidr(cidr.masked())),
        ("prefixLength", []) => Ok(Val::Int(i64::from(cidr.length))),
        _ => Err(EvalError::no_overload()),
    }
}

fn of_url<'a>(url: &Url, name: &str, budget: &mut Budget) -> Outcome<'a> {
    Ok(match name {
        "getScheme" => Val::text(url.scheme.as_str()),
        "getHost" => Val::text(url.host.as_str()),
        "getHostname" => Val::text(url.hostname()),
        "getPort" => Val::text(url.port()),
        "getEscapedPath" => Val::text(url.path.as_str()),
        "getQuery" => {
            let mut query: BTreeMap<String, Vec<Val<'a>>> = BTreeMap::new();
            for (name, value) in url.query() {
                budget.spend(2)?;
                query.entry(name).or_default().push(Val::text(value));
            }
            let query =
                query.into_iter().map(|(name, values)| (Val::text(name), Val::list(values)));
            return Val::map(query.collect()).map_err(EvalError::failed);
        }
        _ => return Err(EvalError::no_overload()),
    })
}

fn of_semver<'a>(version: &Semver, name: &str, rest: &[Val<'a>]) -> Outcome<'a> {
    let number = |n: u64| Ok(Val::Int(i64::try_from(n).unwrap_or(i64::MAX)));
    match (name, rest) {
        ("major", []) => number(version.major),
        ("minor", []) => number(version.minor),
        ("patch", []) => number(version.patch),
        (_, [Val::Semver(other)]) => ordered(version.cmp(other), name),
        _ => Err(EvalError::no_overload()),
    }
}

fn of_list<'a>(target: &Val<'a>, name: &str, rest: &[Val<'a>], budget: &mut Budget) -> Outcome<'a> {
    let items = match target {
        _ if target.is_map() => None,
        _ => target.items(),
    };
    let items = items.ok_or_else(EvalError::no_overload)?;
    if let [wanted] = rest {
        budget.spend(super::eval::search(target, wanted))?;
    }
    let order = |a: &Val<'a>, b: &Val<'a>| {
        a.compare(b)
            .ok_or_else(EvalError::no_overload)
            .map(|order| order.unwrap_or(Ordering::Equal))
    };
    let place = |found: Option<usize>| {
        Ok(Val::Int(found.map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX))))
    };
    match (name, rest) {
        ("isSorted", []) => {
            for pair in items.windows(2) {
                if order(&pair[0], &pair[1])?.is_gt() {
                    return Ok(Val::Bool(false));
                }
            }
            Ok(Val::Bool(true))
        }
        ("min" | "max", []) => {
            let wanted = if name == "min" { Ordering::Less } else { Ordering::Greater };
            let mut items = items.into_iter();
            let mut best = items
                .next()
                .ok_or_else(|| EvalError::failed(format!("{name} called on empty list")))?;
            for item in items {
                if order(&item, &best)? == wanted {
                    best = item;
                }
            }
            Ok(best)
        }
        ("sum", []) => {
            let mut total: Option<Val<'a>> = None;
            for item in items {
                // Only what is added at one step: a sum of texts would copy the first one again and again.
                if !matches!(item, Val::Int(_) | Val::Uint(_) | Val::Double(_) | Val::Duration(_)) {
                    return Err(EvalError::no_overload());
                }
                total = Some(match total {
                    None => item,
                    Some(total) => super::eval::add(&total, &item)?,
                });
            }
            Ok(total.unwrap_or(Val::Int(0)))
        }
        ("indexOf", [wanted]) => place(items.iter().position(|item| item.equals(wanted))),
        ("lastIndexOf", [wanted]) => place(items.iter().rposition(|item| item.equals(wanted))),
        ("join", separator) => {
            let separator = match separator {
                [] => "",
                [Val::String(separator)] => separator,
                _ => return Err(EvalError::no_overload()),
            };
            let mut texts = Vec::with_capacity(items.len());
            budget.spend(items.len().saturating_mul(separator.len()) as u64 / 10)?;
            for item in &items {
                match item {
                    Val::String(text) => texts.push(text.as_ref()),
                    _ => return Err(EvalError::no_overload()),
                }
            }
            Ok(Val::text(texts.join(separator)))
        }
        _ => Err(EvalError::no_overload()),
    }
}
