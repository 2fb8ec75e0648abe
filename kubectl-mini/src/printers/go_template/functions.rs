//! What a template may call.

use std::{cmp::Ordering, fmt::Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{super::go_value, eval::Data};

const FUNCTIONS: &[&str] = &[
    "and",
    "base64decode",
    "eq",
    "exists",
    "ge",
    "gt",
    "html",
    "index",
    "js",
    "le",
    "len",
    "lt",
    "ne",
    "not",
    "or",
    "print",
    "printf",
    "println",
    "slice",
    "urlquery",
];

pub(super) fn is_function(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// Whether a value counts as true.
pub(super) fn truth(value: &Data) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(value)) => *value,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
    }
}

/// Calls a function; the error is what follows the place in Go's message.
pub(super) fn call(name: &str, mut arguments: Vec<Data>) -> Result<Data, String> {
    let least = match name {
        "eq" | "and" | "or" | "not" | "len" | "index" | "slice" | "exists" | "base64decode"
        | "printf" => 1,
        "ne" | "lt" | "le" | "gt" | "ge" => 2,
        _ => 0,
    };
    let most = match name {
        "not" | "len" | "base64decode" => 1,
        "ne" | "lt" | "le" | "gt" | "ge" => 2,
        _ => usize::MAX,
    };
    if arguments.len() < least || arguments.len() > most {
        let want = if least == most { least.to_string() } else { format!("at least {least}") };
        return Err(format!(
            "wrong number of args for {name}: want {want} got {}",
            arguments.len()
        ));
    }
    let failed = |message: String| format!("error calling {name}: {message}");
    let text = |text: String| Ok(Some(Value::from(text)));
    match name {
        "and" | "or" => Ok(arguments.pop().flatten()),
        "not" => Ok(Some(Value::from(!truth(&arguments[0])))),
        "len" => length(&arguments[0]).map_err(failed),
        "index" => index(arguments).map_err(failed),
        "slice" => slice(arguments).map_err(failed),
        "exists" => Ok(Some(Value::from(exists(arguments)))),
        "eq" => equal(&arguments).map(|equal| Some(Value::from(equal))).map_err(failed),
        "ne" => equal(&arguments).map(|equal| Some(Value::from(!equal))).map_err(failed),
        "lt" | "le" | "gt" | "ge" => {
            let order = compare(&arguments[0], &arguments[1]).map_err(failed)?;
            let holds = match name {
                "lt" => order == Some(Ordering::Less),
                "le" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                "gt" => order == Some(Ordering::Greater),
                _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            };
            Ok(Some(Value::from(holds)))
        }
        "print" => text(sprint(&arguments)),
        "println" => {
            let parts: Vec<String> = arguments.iter().map(shown).collect();
            text(parts.join(" ") + "\n")
        }
        "printf" => text(printf(&arguments).map_err(failed)?),
        "html" => text(escape_html(&sprint(&arguments))),
        "js" => text(escape_js(&sprint(&arguments))),
        "urlquery" => text(escape_query(&sprint(&arguments))),
        "base64decode" => {
            let Some(Value::String(encoded)) = &arguments[0] else {
                return Err("wrong type for value; expected string".to_owned());
            };
            let decoded = STANDARD
                .decode(encoded)
                .map_err(|error| failed(format!("base64 decode failed: {error}")))?;
            text(String::from_utf8_lossy(&decoded).into_owned())
        }
        _ => Err(format!("{name:?} is not a defined function")),
    }
}

/// `%v`, with what is not there as Go prints a nil.
fn shown(value: &Data) -> String {
    value.as_ref().map_or_else(|| "<nil>".to_owned(), go_value::plain)
}

/// A space between two operands neither of which is text.
fn sprint(arguments: &[Data]) -> String {
    let mut out = String::new();
    for (index, value) in arguments.iter().enumerate() {
        let is_text = |value: &Data| matches!(value, Some(Value::String(_)));
        if index > 0 && !is_text(value) && !is_text(&arguments[index - 1]) {
            out.push(' ');
        }
        out += &shown(value);
    }
    out
}

fn go_type(value: &Data) -> &'static str {
    match value {
        None | Some(Value::Null) => "<nil>",
        Some(Value::Bool(_)) => "bool",
        Some(Value::Number(number)) if number.is_f64() => "float64",
        Some(Value::Number(_)) => "int64",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "[]interface {}",
        Some(Value::Object(_)) => "map[string]interface {}",
    }
}

/// The type of what stands in a template, where a number is an int.
fn type_of_key(value: &Data) -> &'static str {
    match go_type(value) {
        "int64" => "int",
        other => other,
    }
}

fn length(value: &Data) -> Result<Data, String> {
    let length = match value {
        Some(Value::String(text)) => text.len(),
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(fields)) => fields.len(),
        None | Some(Value::Null) => return Err("len of untyped nil".to_owned()),
        other => return Err(format!("len of type {}", go_type(other))),
    };
    Ok(Some(Value::from(length)))
}

fn position(value: &Data, length: usize) -> Result<usize, String> {
    let Some(number) = value.as_ref().and_then(Value::as_i64) else {
        return Err(match value {
            None => "cannot index slice/array with nil".to_owned(),
            other => format!("cannot index slice/array with type {}", type_of_key(other)),
        });
    };
    usize::try_from(number)
        .ok()
        .filter(|position| *position <= length)
        .ok_or_else(|| format!("index out of range: {number}"))
}

fn index(arguments: Vec<Data>) -> Result<Data, String> {
    let mut arguments = arguments.into_iter();
    let Some(mut item) = arguments.next().flatten() else {
        return Err("index of untyped nil".to_owned());
    };
    for key in arguments {
        let found = match item {
            Value::Array(mut items) => {
                let at = position(&key, items.len())?;
                if at == items.len() {
                    return Err("reflect: slice index out of range".to_owned());
                }
                Some(items.swap_remove(at))
            }
            Value::Object(mut fields) => match &key {
                Some(Value::String(name)) => fields.remove(name),
                None => return Err("value is nil; should be of type string".to_owned()),
                other => {
                    return Err(format!("value has type {}; should be string", type_of_key(other)));
                }
            },
            Value::Null => return Err("index of nil pointer".to_owned()),
            other => return Err(format!("can't index item of type {}", go_type(&Some(other)))),
        };
        item = found.unwrap_or(Value::Null);
    }
    Ok(if item.is_null() { None } else { Some(item) })
}

fn exists(arguments: Vec<Data>) -> bool {
    let mut arguments = arguments.into_iter();
    let Some(mut item) = arguments.next().flatten() else { return false };
    for key in arguments {
        let found = match (&item, &key) {
            (Value::Object(fields), Some(Value::String(name))) => fields.get(name).cloned(),
            (Value::Array(items), Some(Value::Number(number))) => number
                .as_u64()
                .and_then(|at| usize::try_from(at).ok())
                .and_then(|at| items.get(at).cloned()),
            _ => None,
        };
        match found {
            Some(found) => item = found,
            None => return false,
        }
    }
    true
}

fn slice(arguments: Vec<Data>) -> Result<Data, String> {
    let mut arguments = arguments.into_iter();
    let Some(item) = arguments.next().flatten() else {
        return Err("slice of untyped nil".to_owned());
    };
    let length = match &item {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        other => {
            return Err(format!("can't slice item of type {}", go_type(&Some(other.clone()))));
        }
    };
    let mut bounds = [0, length];
    for (bound, given) in bounds.iter_mut().zip(arguments) {
        *bound = position(&given, length)?;
    }
    let [from, to] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(Some(match item {
        Value::String(text) => text.get(from..to).unwrap_or_default().into(),
        Value::Array(items) => items[from..to].to_vec().into(),
        other => other,
    }))
}

const INCOMPATIBLE: &str = "incompatible types for comparison";

fn equal(arguments: &[Data]) -> Result<bool, String> {
    let (first, rest) = arguments.split_first().ok_or("missing argument for comparison")?;
    if rest.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in rest {
        let equal = match (first, other) {
            (None | Some(Value::Null), None | Some(Value::Null)) => true,
            (None | Some(Value::Null), _) | (_, None | Some(Value::Null)) => false,
            (Some(a), Some(b)) if go_type(first) == go_type(other) => a == b,
            _ => return Err(INCOMPATIBLE.to_owned()),
        };
        if equal {
            return Ok(true);
        }
    }
    Ok(false)
}

fn compare(a: &Data, b: &Data) -> Result<Option<Ordering>, String> {
    match (a, b) {
        (Some(Value::String(a)), Some(Value::String(b))) => Ok(Some(a.cmp(b))),
        (Some(Value::Number(x)), Some(Value::Number(y))) if go_type(a) == go_type(b) => {
            Ok(match (x.as_i64(), y.as_i64()) {
                (Some(x), Some(y)) => Some(x.cmp(&y)),
                _ => x.as_f64().partial_cmp(&y.as_f64()),
            })
        }
        (Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)), _) => {
            Err("invalid type for comparison".to_owned())
        }
        _ => Err(INCOMPATIBLE.to_owned()),
    }
}

/// Go's `fmt.Sprintf` with the verbs that make sense here; another is an error, where Go prints it as it is.
fn printf(arguments: &[Data]) -> Result<String, String> {
    let Some(Value::String(format)) = &arguments[0] else {
        return Err("wrong type for value; expected string".to_owned());
    };
    let mut values = arguments[1..].iter();
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = String::new();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | '#' | '0' | ' ')) {
            flags.push(flag);
        }
        let mut number = || {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            digits
        };
        let width: usize = number().parse().unwrap_or(0);
        let mut precision: Option<usize> = None;
        if chars.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            precision = Some(digits.parse().unwrap_or(0));
        }
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = values.next() else {
            let _ = write!(out, "%!{verb}(MISSING)");
            continue;
        };
        let text = formatted(verb, value, precision, &flags)?;
        let zeros = flags.contains('0') && !flags.contains('-') && verb != 's' && verb != 'v';
        let missing = width.saturating_sub(text.chars().count());
        if flags.contains('-') {
            out += &text;
            out += &" ".repeat(missing);
        } else if zeros {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            out += sign;
            out += &"0".repeat(missing);
            out += digits;
        } else {
            out += &" ".repeat(missing);
            out += &text;
        }
    }
    let extra: Vec<String> =
        values.map(|value| format!("{}={}", go_type(value), shown(value))).collect();
    if !extra.is_empty() {
        let _ = write!(out, "%!(EXTRA {})", extra.join(", "));
    }
    Ok(out)
}

fn formatted(
    verb: char,
    value: &Data,
    precision: Option<usize>,
    flags: &str,
) -> Result<String, String> {
    let plus = |text: String| {
        if flags.contains('+') && !text.starts_with('-') { format!("+{text}") } else { text }
    };
    let wrong = || Ok(format!("%!{verb}({}={})", go_type(value), shown(value)));
    match (verb, value) {
        ('v', None) => Ok("<no value>".to_owned()),
        ('v', value) => Ok(shown(value)),
        ('T', value) => Ok(go_type(value).to_owned()),
        ('s', Some(Value::String(text))) => Ok(match precision {
            Some(length) => text.chars().take(length).collect(),
            None => text.clone(),
        }),
        ('q', Some(Value::String(text))) => Ok(apimachinery::field::go_quote(text)),
        ('d', Some(Value::Number(number))) if !number.is_f64() => Ok(plus(number.to_string())),
        ('x', Some(Value::Number(number))) if !number.is_f64() => {
            Ok(format!("{:x}", number.as_i64().unwrap_or_default()))
        }
        ('x', Some(Value::String(text))) => {
            Ok(text.bytes().map(|byte| format!("{byte:02x}")).collect())
        }
        ('f', Some(Value::Number(number))) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            Ok(plus(format!("{float:.*}", precision.unwrap_or(6))))
        }
        ('g', Some(Value::Number(number))) if number.is_f64() && precision.is_none() => {
            Ok(plus(shown(value)))
        }
        ('t', Some(Value::Bool(value))) => Ok(value.to_string()),
        ('s', Some(Value::Array(_) | Value::Object(_))) => {
            Err("%s of a list or a map is not supported: use %v".to_owned())
        }
        ('s' | 'q' | 'd' | 'x' | 'f' | 'g' | 't', _) => wrong(),
        _ => Err(format!("the verb %{verb} is not supported")),
    }
}

fn escape_html(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            '\0' => out.push('\u{FFFD}'),
            c => out.push(c),
        }
        out
    })
}

fn escape_js(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
        out
    })
}

fn escape_query(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}
