//! The formats of texts that Kubernetes checks (`k8s.io/kube-openapi/pkg/validation/strfmt`); unknown ones are not checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use jiff::SignedDuration;

use crate::{duration::parse_go_duration, validation};

/// A format's check.
type Check = fn(&str) -> bool;

const FORMATS: &[(&str, Check)] = &[
    ("bsonobjectid", |text| text.len() == 24 && is_hex(text)),
    ("byte", |text| STANDARD.decode(text).is_ok()),
    ("cidr", is_cidr),
    ("creditcard", is_credit_card),
    ("date", |text| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()),
    ("date-time", is_date_time),
    ("datetime", is_date_time),
    ("duration", |text| duration(text).is_some()),
    ("email", is_email),
    ("hexcolor", is_hex_color),
    ("hostname", is_hostname),
    ("ipv4", |text| text.parse::<Ipv4Addr>().is_ok()),
    ("ipv6", |text| text.parse::<Ipv6Addr>().is_ok()),
    ("isbn", |text| is_isbn_10(text) || is_isbn_13(text)),
    ("isbn10", is_isbn_10),
    ("isbn13", is_isbn_13),
    ("k8s-long-name", |text| validation::is_dns1123_subdomain(text).is_empty()),
    ("k8s-short-name", |text| validation::is_dns1123_label(text).is_empty()),
    ("mac", is_mac),
    ("password", |_| true),
    ("rgbcolor", is_rgb_color),
    ("ssn", is_ssn),
    ("uri", is_uri),
    ("uuid", |text| is_uuid(text, None)),
    ("uuid3", |text| is_uuid(text, Some('3'))),
    ("uuid4", |text| is_uuid(text, Some('4'))),
    ("uuid5", |text| is_uuid(text, Some('5'))),
];

/// Whether a text is of a format.
pub(crate) fn is_of(format: &str, text: &str) -> bool {
    FORMATS.iter().find(|(name, _)| *name == format).is_none_or(|(_, check)| check(text))
}

/// Whether a format is one that is checked.
pub(crate) fn is_known(format: &str) -> bool {
    FORMATS.iter().any(|(name, _)| *name == format)
}

/// Reads a duration: as Go does, or numbers with words such as `1 day 2 hours`, `3w`.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    const UNITS: [(&[&str], i64); 8] = [
        (&["ns", "nano"], 1),
        (&["us", "µs", "micro"], 1_000),
        (&["ms", "milli"], 1_000_000),
        (&["s", "sec"], 1_000_000_000),
        (&["m", "min"], 60_000_000_000),
        (&["h", "hr", "hour"], 3_600_000_000_000),
        (&["d", "day"], 86_400_000_000_000),
        (&["w", "wk", "week"], 604_800_000_000_000),
    ];
    let (negative, plain) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if let Some(span) = parse_go_duration(plain) {
        let span = SignedDuration::try_from(span).ok()?;
        return Some(if negative { -span } else { span });
    }
    let mut total: Option<i64> = None;
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = &rest[start..];
        let end = digits.find(|c: char| !c.is_ascii_digit())?;
        let word = digits[end..].trim_start();
        let stop = word.find(|c: char| !c.is_alphabetic()).unwrap_or(word.len());
        let unit = word[..stop].to_lowercase();
        // The longest name of a unit may go on: `seconds`.
        let (_, nanos) = UNITS.iter().find(|(names, _)| {
            names.contains(&unit.as_str())
                || names.last().is_some_and(|name| unit.starts_with(name))
        })?;
        let number: i64 = digits[..end].parse().ok()?;
        total = Some(total.unwrap_or_default().checked_add(number.checked_mul(*nanos)?)?);
        rest = &word[stop..];
    }
    total.map(SignedDuration::from_nanos)
}

/// The digits of a text that has only digits, hyphens and blanks; an `X` at the end of ten counts as ten.
fn digits(text: &str) -> Option<Vec<u32>> {
    let plain: Vec<char> = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    let digit = |(at, c): (usize, &char)| match c {
        'X' if at == 9 && plain.len() == 10 => Some(10),
        c => c.to_digit(10),
    };
    plain.iter().enumerate().map(digit).collect()
}

fn is_isbn_10(text: &str) -> bool {
    digits(text).is_some_and(|digits| {
        digits.len() == 10 && (1..).zip(&digits).map(|(place, d)| place * d).sum::<u32>() % 11 == 0
    })
}

fn is_isbn_13(text: &str) -> bool {
    digits(text).is_some_and(|digits| {
        let weighed = digits.iter().zip([1, 3].into_iter().cycle()).map(|(d, weight)| d * weight);
        digits.len() == 13 && weighed.sum::<u32>().is_multiple_of(10)
    })
}

/// Digits of a known issuer with a right check digit (Luhn).
fn is_credit_card(text: &str) -> bool {
    let Some(digits) = digits(text).filter(|digits| (13..=19).contains(&digits.len())) else {
        return false;
    };
    let first = |count: usize| digits[..count].iter().fold(0, |number, digit| number * 10 + digit);
    let issued = match digits.len() {
        13 => first(1) == 4,
        14 => matches!(first(3), 300..=305) || matches!(first(2), 36 | 38),
        15 => matches!(first(2), 34 | 37) || matches!(first(4), 2131 | 1800),
        16 => {
            first(1) == 4
                || matches!(first(2), 35 | 51..=55 | 62 | 65 | 67)
                || matches!(first(4), 2221..=2720 | 6011)
        }
        _ => false,
    };
    let sum: u32 = (0..)
        .zip(digits.iter().rev())
        .map(|(place, digit)| match place % 2 {
            0 => *digit,
            _ if *digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    issued && sum.is_multiple_of(10)
}

/// `123-45-6789`, with blanks or nothing between.
fn is_ssn(text: &str) -> bool {
    let bare: Vec<usize> =
        text.char_indices().filter(|(_, c)| matches!(c, '-' | ' ')).map(|(at, _)| at).collect();
    let plain =
        text.bytes().filter(u8::is_ascii_digit).count() == 9 && text.len() == 9 + bare.len();
    plain && matches!(bare.as_slice(), [] | [3, 6] | [3] | [5])
}

/// `rgb(1, 2, 255)`
fn is_rgb_color(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    let parts: Vec<&str> = inner.into_iter().flat_map(|inner| inner.split(',')).collect();
    let good = |part: &&str| {
        let part = part.trim();
        part.bytes().all(|b| b.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
            && part.parse::<u8>().is_ok()
    };
    parts.len() == 3 && parts.iter().all(good)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_date_time(text: &str) -> bool {
    text.len() >= 20
        && text.as_bytes()[10].eq_ignore_ascii_case(&b't')
        && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let max = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.bytes().all(|byte| byte.is_ascii_digit())
        && length.parse::<u8>().is_ok_and(|length| length <= max)
}

fn is_email(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !local.contains(char::is_whitespace) && is_hostname(domain)
    })
}

fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && is_hex(digits)
}

fn is_hostname(text: &str) -> bool {
    let good = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 255 && text.strip_suffix('.').unwrap_or(text).split('.').all(good)
}

fn is_mac(text: &str) -> bool {
    let separator = if text.contains('-') { '-' } else { ':' };
    let parts: Vec<&str> = text.split(separator).collect();
    matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(|part| part.len() == 2 && is_hex(part))
}

/// As Go's `url.ParseRequestURI`: an absolute URL, or an absolute path.
pub(crate) fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let plain = parts.len() == 1 && text.len() == 32;
    (plain || lengths == [8, 4, 4, 4, 12])
        && parts.iter().all(|part| is_hex(part))
        && version.is_none_or(|version| parts.get(2).is_some_and(|part| part.starts_with(version)))
}
