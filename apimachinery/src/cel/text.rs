//! Values as text.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::value::Val;

/// What `string(value)` gives; None for values that have no text.
pub(super) fn to_text(value: &Val<'_>) -> Option<String> {
    Some(match value {
        Val::Bool(flag) => flag.to_string(),
        Val::Int(n) => n.to_string(),
        Val::Uint(n) => n.to_string(),
        Val::Double(n) => double(*n),
        Val::String(text) => text.to_string(),
        Val::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
        Val::Duration(span) => duration(*span),
        Val::Timestamp(at) => timestamp(*at),
        Val::Ip(address) => address.to_string(),
        Val::Cidr(cidr) => cidr.to_string(),
        Val::Type(name) => (*name).to_owned(),
        _ => return None,
    })
}

/// A number as Go prints it: no fraction where there is none, an exponent where it is large.
pub(super) fn double(n: f64) -> String {
    if n.is_nan() {
        return "NaN".to_owned();
    }
    if n.is_infinite() {
        return if n > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if n != 0.0 && (n.abs() >= 1e21 || n.abs() < 1e-4) {
        let text = format!("{n:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    n.to_string()
}

/// Seconds with a fraction: `3600s`, `0.5s`.
pub(super) fn duration(span: SignedDuration) -> String {
    let nanos = span.subsec_nanos().unsigned_abs();
    let sign = if span.is_negative() { "-" } else { "" };
    let mut text = format!("{sign}{}", span.as_secs().unsigned_abs());
    if nanos > 0 {
        let fraction = format!("{nanos:09}");
        text.push('.');
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('s');
    text
}

/// RFC 3339.
pub(super) fn timestamp(at: Timestamp) -> String {
    at.to_string()
}

/// `template.format(args)`: `%s`, `%d`, `%f`, `%.2f`, `%e`, `%b`, `%o`, `%x`, `%X`, `%%`.
pub(super) fn format(template: &str, args: &[Val<'_>]) -> Result<String, String> {
    let mut out = String::with_capacity(template.len());
    let mut args = args.iter();
    let mut rest = template.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = rest.next().ok_or("unexpected end of format string")?;
        let mut precision = String::new();
        if verb == '.' {
            loop {
                verb = rest.next().ok_or("unexpected end of format string")?;
                if !verb.is_ascii_digit() {
                    break;
                }
                precision.push(verb);
            }
        }
        if verb == '%' {
            out.push('%');
            continue;
        }
        let arg = args.next().ok_or("index out of range")?;
        let precision = precision.parse::<usize>().unwrap_or(6).min(100);
        one(&mut out, verb, precision, arg)?;
    }
    match args.next() {
        None => Ok(out),
        Some(_) => Err("too many arguments supplied to string.format".to_owned()),
    }
}

fn one(out: &mut String, verb: char, precision: usize, arg: &Val<'_>) -> Result<(), String> {
    let wrong = || format!("error during formatting: %{verb} of {}", arg.type_name());
    let written = match (verb, arg) {
        ('s', _) => {
            shown(arg, out);
            Ok(())
        }
        ('d', Val::Int(_) | Val::Uint(_) | Val::Double(_)) => {
            shown(arg, out);
            Ok(())
        }
        ('f', Val::Double(n)) => write!(out, "{n:.precision$}"),
        ('f', Val::Int(n)) => write!(out, "{n}.{}", "0".repeat(precision)),
        ('e', Val::Double(n)) => write!(out, "{n:.precision$e}"),
        ('b', Val::Int(n)) => write!(out, "{n:b}"),
        ('b', Val::Uint(n)) => write!(out, "{n:b}"),
        ('b', Val::Bool(flag)) => write!(out, "{}", u8::from(*flag)),
        ('o', Val::Int(n)) => write!(out, "{n:o}"),
        ('o', Val::Uint(n)) => write!(out, "{n:o}"),
        ('x', Val::Int(n)) => write!(out, "{n:x}"),
        ('x', Val::Uint(n)) => write!(out, "{n:x}"),
        ('X', Val::Int(n)) => write!(out, "{n:X}"),
        ('X', Val::Uint(n)) => write!(out, "{n:X}"),
        ('x', Val::String(text)) => text.bytes().try_for_each(|byte| write!(out, "{byte:02x}")),
        ('X', Val::String(text)) => text.bytes().try_for_each(|byte| write!(out, "{byte:02X}")),
        _ => return Err(wrong()),
    };
    written.map_err(|_| wrong())
}

/// How `%s` shows a value.
fn shown(value: &Val<'_>, out: &mut String) {
    if let Some(text) = to_text(value) {
        out.push_str(&text);
        return;
    }
    if value.is_map() {
        let mut keys = value.items().unwrap_or_default();
        keys.sort_by_cached_key(|key| to_text(key).unwrap_or_default());
        out.push('{');
        for (index, key) in keys.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            shown(key, out);
            out.push_str(": ");
            if let Some(value) = value.entry(key) {
                shown(&value, out);
            }
        }
        out.push('}');
        return;
    }
    match value.items() {
        Some(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                shown(item, out);
            }
            out.push(']');
        }
        None => out.push_str(if matches!(value, Val::Null) { "null" } else { value.type_name() }),
    }
}
