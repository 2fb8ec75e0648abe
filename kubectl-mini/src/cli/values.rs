//! Values of flags as Go reads them, with Go's messages.

use std::time::Duration;

use apimachinery::field::go_quote;

/// `strconv.ParseBool`.
///
/// # Errors
/// Go's message.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {}: invalid syntax", go_quote(text))),
    }
}

/// `strconv.ParseInt(text, 0, 64)`: decimal, `0x`, `0o`, `0b`, leading zero for octal, `_` between digits.
///
/// # Errors
/// Go's message.
pub fn parse_i64(text: &str) -> Result<i64, String> {
    let error =
        |problem: &str| Err(format!("strconv.ParseInt: parsing {}: {problem}", go_quote(text)));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return error("invalid syntax");
    }
    let signed = if negative { format!("-{digits}") } else { digits.to_owned() };
    i64::from_str_radix(&signed, radix).or_else(|_| error("value out of range"))
}

/// A 32-bit flag, as [`parse_i64`].
///
/// # Errors
/// Go's message.
pub fn parse_i32(text: &str) -> Result<i32, String> {
    let value = parse_i64(text)?;
    i32::try_from(value)
        .map_err(|_| format!("strconv.ParseInt: parsing {}: value out of range", go_quote(text)))
}

/// `time.ParseDuration`: `1h30m`, `1.5s`, `100ms`, `0`, possibly negative (which is given as `None`).
///
/// # Errors
/// Go's message.
pub fn parse_duration(text: &str) -> Result<Signed, String> {
    let invalid = || format!("time: invalid duration {}", go_quote(text));
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Signed::default());
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let value: f64 = rest[..number].parse().map_err(|_| invalid())?;
        rest = &rest[number..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "" => return Err(format!("time: missing unit in duration {}", go_quote(text))),
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            other => {
                return Err(format!(
                    "time: unknown unit {} in duration {}",
                    go_quote(other),
                    go_quote(text)
                ));
            }
        };
        total += value * seconds;
        rest = &rest[unit..];
    }
    let magnitude = Duration::try_from_secs_f64(total).map_err(|_| invalid())?;
    Ok(Signed { negative: negative && !magnitude.is_zero(), magnitude })
}

/// A duration that may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// Below zero.
    pub negative: bool,
    /// How long, without the sign.
    pub magnitude: Duration,
}

impl Signed {
    /// Whether it is above zero.
    #[must_use]
    pub fn is_positive(self) -> bool {
        !self.negative && !self.magnitude.is_zero()
    }
}

/// `time.Duration`'s own text: `1h30m0s`, `1.5s`, `100ms`, `0s`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let nanoseconds = duration.subsec_nanos();
    let seconds = duration.as_secs();
    if seconds == 0 && nanoseconds > 0 {
        let (unit, size) = match nanoseconds {
            n if n >= 1_000_000 => ("ms", 1e6),
            n if n >= 1_000 => ("µs", 1e3),
            _ => ("ns", 1.0),
        };
        return format!("{}{unit}", f64::from(nanoseconds) / size);
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let fraction = format!("{nanoseconds:09}");
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let rest = format!("{}{point}{fraction}s", seconds % 60);
    match (hours, minutes) {
        (0, 0) => rest,
        (0, minutes) => format!("{minutes}m{rest}"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_gos() {
        let check = |milliseconds: u64, expected: &str| {
            assert_eq!(format_duration(Duration::from_millis(milliseconds)), expected);
        };
        check(0, "0s");
        check(5, "5ms");
        check(1500, "1.5s");
        check(90_000, "1m30s");
        check(3_600_000, "1h0m0s");
        assert_eq!(format_duration(Duration::from_nanos(1500)), "1.5µs");
    }

    #[test]
    fn numbers_are_gos() {
        let check = |text: &str, expected: Result<i64, &str>| {
            assert_eq!(parse_i64(text), expected.map_err(ToOwned::to_owned), "{text}");
        };
        check("5", Ok(5));
        check("-5", Ok(-5));
        check("0x10", Ok(16));
        check("010", Ok(8));
        check("0", Ok(0));
        check("a", Err("strconv.ParseInt: parsing \"a\": invalid syntax"));
        check("", Err("strconv.ParseInt: parsing \"\": invalid syntax"));
        check(
            "99999999999999999999",
            Err("strconv.ParseInt: parsing \"99999999999999999999\": value out of range"),
        );
    }

    #[test]
    fn durations_are_gos() {
        let check = |text: &str, expected: Result<(bool, u64), &str>| {
            let parsed = parse_duration(text).map(|d| (d.negative, d.magnitude.as_millis() as u64));
            assert_eq!(parsed, expected.map_err(ToOwned::to_owned), "{text}");
        };
        check("0", Ok((false, 0)));
        check("1h30m", Ok((false, 5_400_000)));
        check("1.5s", Ok((false, 1500)));
        check("-1s", Ok((true, 1000)));
        check("100ms", Ok((false, 100)));
        check("x", Err("time: invalid duration \"x\""));
        check("5", Err("time: missing unit in duration \"5\""));
        check("5y", Err("time: unknown unit \"y\" in duration \"5y\""));
        check("", Err("time: invalid duration \"\""));
    }
}
