//! Durations for humans: the AGE column and its like, as `k8s.io/apimachinery/pkg/util/duration` prints them.
//!
//! Two or three significant figures: `45s`, `5m12s`, `3h20m`, `2d5h`, `400d`, `3y40d`. Up to two seconds of clock
//! difference into the future count as now; more is `<invalid>`.
//!
//! Durations in requests and annotations are Go's: see [`parse_go_duration`].

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::field::go_quote;

/// Prints as `HumanDuration`: `5m12s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub SignedDuration);

/// Prints as `ShortHumanDuration`, with one unit only: `5m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShortHumanDuration(pub SignedDuration);

impl HumanDuration {
    /// The time from `since` to `now`: an AGE.
    #[must_use]
    pub fn between(since: Timestamp, now: Timestamp) -> Self {
        Self(now.duration_since(since))
    }
}

/// Reads a duration as Go writes it: `1h30m`, `1.5s`, `500ms`, `0`; None: it is none, or negative.
#[must_use]
pub fn parse_go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(total).ok().filter(|_| !text.is_empty())
}

/// What Go says of a duration that it cannot read, without its `time: `.
#[must_use]
pub fn go_duration_error(text: &str) -> String {
    let quoted = go_quote(text);
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    while rest.starts_with(|c: char| c == '.' || c.is_ascii_digit()) {
        let digits = rest.find(|c: char| c != '.' && !c.is_ascii_digit());
        let Some(digits) = digits else { return format!("missing unit in duration {quoted}") };
        if rest[..digits].parse::<f64>().is_err() {
            break;
        }
        rest = &rest[digits..];
        let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = &rest[..end];
        if !matches!(unit, "h" | "m" | "s" | "ms" | "us" | "µs" | "μs" | "ns") {
            return format!("unknown unit {} in duration {quoted}", go_quote(unit));
        }
        rest = &rest[end..];
    }
    format!("invalid duration {quoted}")
}

/// Reads the value of a flag that is a duration.
///
/// # Errors
/// Go's words, where it is none, or negative.
pub fn parse_flag(text: &str) -> Result<Duration, String> {
    parse_go_duration(text).ok_or_else(|| format!("time: {}", go_duration_error(text)))
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0.as_secs();
        // A large unit, and a small one unless it is 0.
        let mut pair = |large: i64, unit: char, small: i64, small_unit: char| {
            if small == 0 {
                write!(f, "{large}{unit}")
            } else {
                write!(f, "{large}{unit}{small}{small_unit}")
            }
        };
        match s {
            ..-1 => f.write_str("<invalid>"),
            -1 => f.write_str("0s"),
            _ if s < 2 * MINUTE => write!(f, "{s}s"),
            _ if s < 10 * MINUTE => pair(s / MINUTE, 'm', s % MINUTE, 's'),
            _ if s < 3 * HOUR => write!(f, "{}m", s / MINUTE),
            _ if s < 8 * HOUR => pair(s / HOUR, 'h', s % HOUR / MINUTE, 'm'),
            _ if s < 2 * DAY => write!(f, "{}h", s / HOUR),
            _ if s < 8 * DAY => pair(s / DAY, 'd', s % DAY / HOUR, 'h'),
            _ if s < 2 * YEAR => write!(f, "{}d", s / DAY),
            _ if s < 8 * YEAR => pair(s / YEAR, 'y', s % YEAR / DAY, 'd'),
            _ => write!(f, "{}y", s / YEAR),
        }
    }
}

impl fmt::Display for ShortHumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0.as_secs();
        match s {
            ..-1 => f.write_str("<invalid>"),
            -1 => f.write_str("0s"),
            _ if s < MINUTE => write!(f, "{s}s"),
            _ if s < HOUR => write!(f, "{}m", s / MINUTE),
            _ if s < DAY => write!(f, "{}h", s / HOUR),
            _ if s < YEAR => write!(f, "{}d", s / DAY),
            _ => write!(f, "{}y", s / YEAR),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let check = |text, expected| assert_eq!(parse_go_duration(text), expected, "{text}");
        check("32s", Some(Duration::from_secs(32)));
        check("1m30s", Some(Duration::from_secs(90)));
        check("1.5s", Some(Duration::from_millis(1500)));
        check("0", Some(Duration::ZERO));
        for none in ["", "5", "5x", "-1s", "s", "1..5s"] {
            check(none, None);
        }
    }

    #[test]
    fn durations_print_as_kubectl_prints_them() {
        let check = |seconds: i64, human: &str, short: &str| {
            let d = SignedDuration::from_secs(seconds);
            assert_eq!(HumanDuration(d).to_string(), human);
            assert_eq!(ShortHumanDuration(d).to_string(), short);
        };
        check(-2, "<invalid>", "<invalid>");
        check(-1, "0s", "0s");
        check(0, "0s", "0s");
        check(119, "119s", "1m");
        check(120, "2m", "2m");
        check(312, "5m12s", "5m");
        check(599, "9m59s", "9m");
        check(600, "10m", "10m");
        check(3 * HOUR - 1, "179m", "2h");
        check(3 * HOUR, "3h", "3h");
        check(3 * HOUR + 20 * MINUTE, "3h20m", "3h");
        check(8 * HOUR - 1, "7h59m", "7h");
        check(8 * HOUR, "8h", "8h");
        check(2 * DAY - 1, "47h", "1d");
        check(2 * DAY, "2d", "2d");
        check(2 * DAY + 5 * HOUR, "2d5h", "2d");
        check(8 * DAY - 1, "7d23h", "7d");
        check(8 * DAY, "8d", "8d");
        check(2 * YEAR - 1, "729d", "1y");
        check(2 * YEAR, "2y", "2y");
        check(3 * YEAR + 40 * DAY, "3y40d", "3y");
        check(8 * YEAR, "8y", "8y");
    }
}
