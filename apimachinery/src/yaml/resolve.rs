//! What a scalar means: goyaml v2's `resolve`, by which the reader types plain scalars and the emitter knows which
//! texts must be quoted.

use serde_json::{Number, Value};

use crate::number::integral_text;

/// A plain scalar's meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// Above the `i64` range.
    Uint(u64),
    Float(f64),
    /// A timestamp; its text is kept.
    Timestamp,
    /// `<<`
    Merge,
    Str,
}

impl Scalar {
    /// The short tag, for messages.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::Null => "!!null",
            Self::Bool(_) => "!!bool",
            Self::Int(_) | Self::Uint(_) => "!!int",
            Self::Float(_) => "!!float",
            Self::Timestamp => "!!timestamp",
            Self::Merge => "!!merge",
            Self::Str => "!!str",
        }
    }

    /// The JSON value; an error for numbers that JSON does not have.
    pub(super) fn to_json(self, text: &str) -> Result<Value, String> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => value.into(),
            Self::Int(value) => value.into(),
            Self::Uint(value) => float(value as f64)?,
            Self::Float(value) => float(value)?,
            Self::Timestamp | Self::Merge | Self::Str => text.into(),
        })
    }
}

/// A float as Go's JSON and back gives it: an integer where it is one and fits.
fn float(value: f64) -> Result<Value, String> {
    if let Some(integer) = integral_text(value).and_then(|t| t.parse::<i64>().ok()) {
        return Ok(integer.into());
    }
    let unsupported = match value {
        v if v.is_nan() => "NaN",
        v if v > 0.0 => "+Inf",
        _ => "-Inf",
    };
    Number::from_f64(value)
        .map(Value::Number)
        .ok_or_else(|| format!("json: unsupported value: {unsupported}"))
}

/// Resolves a plain scalar.
pub(super) fn resolve(text: &str) -> Scalar {
    let Some(first) = text.bytes().next() else { return Scalar::Null };
    if let Some(known) = known(text) {
        return known;
    }
    match first {
        b'.' => float_literal(text).map_or(Scalar::Str, Scalar::Float),
        b'0'..=b'9' | b'+' | b'-' => {
            if is_timestamp(text) {
                return Scalar::Timestamp;
            }
            let plain = text.replace('_', "");
            integer(&plain)
                .or_else(|| float_literal(&plain).map(Scalar::Float))
                .unwrap_or(Scalar::Str)
        }
        _ => Scalar::Str,
    }
}

fn known(text: &str) -> Option<Scalar> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        "~" | "null" | "Null" | "NULL" => Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        "<<" => Scalar::Merge,
        _ => return None,
    })
}

/// Go's `ParseInt(text, 0, 64)`, then `ParseUint`.
fn integer(text: &str) -> Option<Scalar> {
    let (sign, unsigned) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = unsigned.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match lower.as_deref() {
        Some("0x") => (16, &unsigned[2..]),
        Some("0o") => (8, &unsigned[2..]),
        Some("0b") => (2, &unsigned[2..]),
        Some(s) if s.starts_with('0') => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    if let Ok(value) = i64::from_str_radix(&format!("{sign}{digits}"), radix) {
        return Some(Scalar::Int(value));
    }
    // Unsigned numbers take no sign at all.
    let bare = !text.starts_with(['-', '+']);
    u64::from_str_radix(digits, radix).ok().filter(|_| bare).map(Scalar::Uint)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?` within the range of a float.
fn float_literal(text: &str) -> Option<f64> {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(i) => (&rest[..i], Some(&rest[i + 1..])),
        None => (rest, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let exponent_ok = exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)));
    let mantissa_ok = match mantissa.split_once('.') {
        None => digits(mantissa),
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
    };
    if !exponent_ok || !mantissa_ok {
        return None;
    }
    text.parse::<f64>().ok().filter(|v| v.is_finite())
}

/// A number in base 60, which YAML 1.1 readers other than goyaml would take for a number.
pub(super) fn is_base60_float(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (body, fraction) = match rest.find('.') {
        Some(i) => (&rest[..i], &rest[i + 1..]),
        None => (rest, ""),
    };
    let mut parts = body.split(':');
    let first = parts.next().unwrap_or_default();
    let mut sixties = 0;
    let all_sixties = parts.all(|p| {
        sixties += 1;
        match p.as_bytes() {
            [b] => b.is_ascii_digit(),
            [a, b] => (b'0'..=b'5').contains(a) && b.is_ascii_digit(),
            _ => false,
        }
    });
    let number = |b: u8| b.is_ascii_digit() || b == b'_';
    sixties > 0
        && all_sixties
        && first.starts_with(|c: char| c.is_ascii_digit())
        && first.bytes().all(number)
        && fraction.bytes().all(number)
}

/// Whether Go's time package would read the text by one of goyaml's layouts.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 5 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let mut rest = &text[5..];
    let (Some(month), true) = (number(&mut rest), eat(&mut rest, "-")) else { return false };
    let Some(day) = number(&mut rest) else { return false };
    let year: i16 = text[..4].parse().unwrap_or_default();
    let valid = |n: i64| i8::try_from(n).unwrap_or_default();
    if jiff::civil::Date::new(year, valid(month), valid(day)).is_err() {
        return false;
    }
    if rest.is_empty() {
        return true;
    }
    let spaced = rest.starts_with(' ');
    if !["T", "t", " "].iter().any(|separator| eat(&mut rest, separator)) {
        return false;
    }
    let below = |n: Option<i64>, limit: i64| n.is_some_and(|n| n < limit);
    if !(below(number(&mut rest), 24)
        && eat(&mut rest, ":")
        && below(number(&mut rest), 60)
        && eat(&mut rest, ":")
        && below(number(&mut rest), 60))
    {
        return false;
    }
    if let [b'.' | b',', b'0'..=b'9', ..] = rest.as_bytes() {
        rest = rest[1..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    if spaced {
        return rest.is_empty();
    }
    match rest.as_bytes() {
        b"Z" => true,
        [b'+' | b'-', a, b, b':', c, d] => {
            [a, b, c, d].iter().all(|b| b.is_ascii_digit())
                && rest[1..3].parse::<u8>().is_ok_and(|h| h <= 24)
                && rest[4..].parse::<u8>().is_ok_and(|m| m <= 60)
        }
        _ => false,
    }
}

/// One or two digits.
fn number(rest: &mut &str) -> Option<i64> {
    let length = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let (digits, tail) = rest.split_at(length);
    *rest = tail;
    digits.parse().ok()
}

fn eat(rest: &mut &str, prefix: &str) -> bool {
    match rest.strip_prefix(prefix) {
        Some(tail) => {
            *rest = tail;
            true
        }
        None => false,
    }
}
