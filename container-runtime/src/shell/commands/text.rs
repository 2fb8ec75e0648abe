//! `echo`, `printf`, `seq`, `yes`, `clear`: commands that make text.

use super::{Outcome, fail};
use crate::program::ContainerContext;

pub(super) async fn echo(context: ContainerContext) -> Outcome {
    let (mut newline, mut escapes) = (true, false);
    let mut words = &context.args[1..];
    while let Some((first, rest)) = words.split_first() {
        let Some(flags) = first.strip_prefix('-').filter(|flags| !flags.is_empty()) else { break };
        if !flags.chars().all(|flag| matches!(flag, 'n' | 'e' | 'E')) {
            break;
        }
        for flag in flags.chars() {
            match flag {
                'n' => newline = false,
                other => escapes = other == 'e',
            }
        }
        words = rest;
    }
    let mut text = words.join(" ");
    if escapes {
        let (unescaped, stop) = unescape(&text, true);
        text = unescaped;
        newline &= !stop;
    }
    if newline {
        text.push('\n');
    }
    context.stdout.write_all(text).await?;
    Ok(0)
}

/// Resolves backslash escapes; true when `\c` asked to stop. `echo` wants a zero before octal digits.
pub(in crate::shell) fn unescape(text: &str, octal_zero: bool) -> (String, bool) {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..position]);
        rest = &rest[position + 1..];
        let Some(char) = rest.chars().next() else {
            out.push(b'\\');
            break;
        };
        rest = &rest[char.len_utf8()..];
        match char {
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            'r' => out.push(b'\r'),
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'v' => out.push(11),
            'e' => out.push(27),
            '\\' | '\'' | '"' => out.extend_from_slice(char.to_string().as_bytes()),
            'c' => return (String::from_utf8_lossy(&out).into_owned(), true),
            'x' => {
                let digits = digits(rest, 16, 2);
                match u8::from_str_radix(digits, 16) {
                    Ok(byte) => out.push(byte),
                    Err(_) => out.extend_from_slice(b"\\x"),
                }
                rest = &rest[digits.len()..];
            }
            '0'..='7' => {
                let start =
                    if octal_zero && char == '0' { String::new() } else { char.to_string() };
                let more = digits(rest, 8, 3 - start.len());
                let value = u32::from_str_radix(&format!("0{start}{more}"), 8).unwrap_or(0);
                out.push(u8::try_from(value & 0xff).unwrap_or(0));
                rest = &rest[more.len()..];
            }
            other => {
                out.push(b'\\');
                out.extend_from_slice(other.to_string().as_bytes());
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    (String::from_utf8_lossy(&out).into_owned(), false)
}

fn digits(text: &str, radix: u32, most: usize) -> &str {
    let end = text.char_indices().take(most).take_while(|(_, char)| char.is_digit(radix)).count();
    &text[..end]
}

pub(super) async fn printf(context: ContainerContext) -> Outcome {
    let mut words = &context.args[1..];
    if words.first().is_some_and(|word| word == "--") {
        words = &words[1..];
    }
    let Some((format, mut values)) = words.split_first() else {
        return fail(&context, 1, "printf: usage: printf FORMAT [ARG...]").await;
    };
    let mut out = String::new();
    let mut status = 0;
    loop {
        let before = values.len();
        let mut errors = Vec::new();
        let stop = format_once(format, &mut values, &mut out, &mut errors);
        for error in errors {
            status = fail(&context, 1, format!("printf: {error}")).await?;
        }
        // The format is used again while there are arguments that it uses up.
        if stop || values.is_empty() || values.len() == before {
            break;
        }
        if out.len() > 1 << 16 {
            context.stdout.write_all(std::mem::take(&mut out)).await?;
        }
    }
    context.stdout.write_all(out).await?;
    Ok(status)
}

/// One pass over the format; true when `\c` ended the output.
fn format_once(
    format: &str,
    values: &mut &[String],
    out: &mut String,
    errors: &mut Vec<String>,
) -> bool {
    let mut rest = format;
    while let Some(position) = rest.find('%') {
        let (text, stop) = unescape(&rest[..position], false);
        out.push_str(&text);
        if stop {
            return true;
        }
        rest = &rest[position + 1..];
        let flags_end = rest.find(|char: char| !"-+ #0".contains(char)).unwrap_or(rest.len());
        let flags = &rest[..flags_end];
        rest = &rest[flags_end..];
        let width = take_number(&mut rest, values);
        let precision = match rest.strip_prefix('.') {
            Some(after) => {
                rest = after;
                Some(take_number(&mut rest, values).unwrap_or(0))
            }
            None => None,
        };
        rest = rest.trim_start_matches(['l', 'h', 'z', 'j', 't']);
        let Some(conversion) = rest.chars().next() else {
            errors.push("%: invalid format".to_owned());
            return true;
        };
        rest = &rest[conversion.len_utf8()..];
        if conversion == '%' {
            out.push('%');
            continue;
        }
        let value = match values.split_first() {
            Some((first, others)) => {
                *values = others;
                first.as_str()
            }
            None => "",
        };
        let text = match convert(conversion, value, flags, precision) {
            Ok(text) => text,
            Err(error) => {
                errors.push(error);
                "0".to_owned()
            }
        };
        let fill = width.unwrap_or(0).saturating_sub(text.chars().count());
        let numeric = !matches!(conversion, 's' | 'c' | 'b');
        if flags.contains('-') {
            out.push_str(&text);
            out.extend(std::iter::repeat_n(' ', fill));
        } else if flags.contains('0') && numeric {
            let (sign, digits) = match text.strip_prefix('-') {
                Some(digits) => ("-", digits),
                None => ("", text.as_str()),
            };
            out.push_str(sign);
            out.extend(std::iter::repeat_n('0', fill));
            out.push_str(digits);
        } else {
            out.extend(std::iter::repeat_n(' ', fill));
            out.push_str(&text);
        }
        if conversion == 'b' && unescape(value, true).1 {
            return true;
        }
    }
    let (text, stop) = unescape(rest, false);
    out.push_str(&text);
    stop
}

/// A width or precision, `*` from the arguments; bounded.
fn take_number(rest: &mut &str, values: &mut &[String]) -> Option<usize> {
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        let (first, others) = values.split_first()?;
        *values = others;
        return first.parse::<usize>().ok().map(|number| number.min(65_536));
    }
    let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    let number = rest[..end].parse::<usize>().ok().map(|number| number.min(65_536));
    *rest = &rest[end..];
    number
}

fn convert(
    conversion: char,
    value: &str,
    flags: &str,
    precision: Option<usize>,
) -> Result<String, String> {
    let signed = |text: String| match flags.contains('+') && !text.starts_with('-') {
        true => format!("+{text}"),
        false => text,
    };
    Ok(match conversion {
        's' => value.chars().take(precision.unwrap_or(usize::MAX)).collect(),
        'b' => unescape(value, true).0,
        'c' => value.chars().take(1).collect(),
        'd' | 'i' => signed(integer(value)?.to_string()),
        'u' => integer(value)?.cast_unsigned().to_string(),
        'x' => format!("{:x}", integer(value)?),
        'X' => format!("{:X}", integer(value)?),
        'o' => format!("{:o}", integer(value)?),
        'f' | 'F' => {
            let number = float(value)?;
            signed(format!("{number:.*}", precision.unwrap_or(6)))
        }
        'e' | 'g' => {
            let number = float(value)?;
            signed(if conversion == 'g' { number.to_string() } else { format!("{number:e}") })
        }
        other => return Err(format!("%{other}: invalid format")),
    })
}

fn integer(value: &str) -> Result<i64, String> {
    let value = value.trim();
    if value.is_empty() {
        return Ok(0);
    }
    if let Some(char) = value.strip_prefix(['"', '\'']) {
        return Ok(char.chars().next().map_or(0, |char| i64::from(char as u32)));
    }
    let (negative, digits) = match value.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, value.strip_prefix('+').unwrap_or(value)),
    };
    let parsed = if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    let number = parsed.map_err(|_| format!("invalid number '{value}'"))?;
    Ok(if negative { number.wrapping_neg() } else { number })
}

fn float(value: &str) -> Result<f64, String> {
    match value.trim() {
        "" => Ok(0.0),
        value => value.parse().map_err(|_| format!("invalid number '{value}'")),
    }
}

pub(super) async fn seq(context: ContainerContext) -> Outcome {
    let mut words: Vec<&str> = context.args[1..].iter().map(String::as_str).collect();
    let mut separator = "\n".to_owned();
    let mut pad = false;
    while let Some(first) = words.first().copied() {
        match first {
            "-w" => pad = true,
            "-s" if words.len() > 1 => {
                separator = unescape(words[1], false).0;
                words.remove(0);
            }
            _ => break,
        }
        words.remove(0);
    }
    let mut numbers = Vec::new();
    for word in &words {
        match word.parse::<f64>() {
            Ok(number) => numbers.push(number),
            Err(_) => return fail(&context, 1, format!("seq: invalid number '{word}'")).await,
        }
    }
    let (first, step, last) = match numbers.as_slice() {
        [last] => (1.0, 1.0, *last),
        [first, last] => (*first, 1.0, *last),
        [first, step, last] => (*first, *step, *last),
        _ => return fail(&context, 1, "seq: usage: seq [-w] [-s SEP] [FIRST [INC]] LAST").await,
    };
    if step == 0.0 {
        return fail(&context, 1, "seq: invalid increment '0'").await;
    }
    let decimals = |word: &&str| word.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let precision = words.iter().map(decimals).max().unwrap_or(0);
    let width = if pad { format!("{last:.precision$}").len() } else { 0 };
    let mut out = String::new();
    let mut count = 0.0;
    loop {
        let number = first + count * step;
        if (step > 0.0 && number > last + 1e-9) || (step < 0.0 && number < last - 1e-9) {
            break;
        }
        if count > 0.0 {
            out.push_str(&separator);
        }
        out.push_str(&format!("{number:0width$.precision$}"));
        count += 1.0;
        if out.len() > 1 << 16 {
            context.stdout.write_all(std::mem::take(&mut out)).await?;
            tokio::task::yield_now().await;
        }
    }
    if count > 0.0 {
        out.push('\n');
    }
    context.stdout.write_all(out).await?;
    Ok(0)
}

pub(super) async fn yes(context: ContainerContext) -> Outcome {
    let words = &context.args[1..];
    let line = if words.is_empty() { "y".to_owned() } else { words.join(" ") } + "\n";
    let block = line.repeat((4096 / line.len()).max(1));
    loop {
        context.stdout.write_all(&block).await?;
        tokio::task::yield_now().await;
    }
}

pub(super) async fn clear(context: ContainerContext) -> Outcome {
    context.stdout.write_all("\x1b[H\x1b[J").await?;
    Ok(0)
}
