//! Timestamps as Kubernetes writes them: [`Time`] to the second, [`MicroTime`] to the microsecond, always UTC.
//!
//! Both wrap [`jiff::Timestamp`]. Reading takes any RFC 3339 text; writing truncates, as `metav1.Time` does. There is
//! no clock here.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Go's zero time, 0001-01-01T00:00:00Z.
const GO_ZERO: i64 = -62_135_596_800;

/// `metav1.Time`: seconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

/// `metav1.MicroTime`: always six decimals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MicroTime(pub Timestamp);

fn zero() -> Timestamp {
    Timestamp::from_second(GO_ZERO).expect("the year 1 is within jiff's range")
}

impl Default for Time {
    fn default() -> Self {
        Self(zero())
    }
}

impl Default for MicroTime {
    fn default() -> Self {
        Self(zero())
    }
}

impl Time {
    /// The same instant without the fraction of a second that would not survive writing.
    #[must_use]
    pub fn truncated(self) -> Self {
        Self(Timestamp::from_second(floor_seconds(self.0)).unwrap_or(self.0))
    }
}

/// Whole seconds since the epoch, towards the past.
fn floor_seconds(time: Timestamp) -> i64 {
    let seconds = time.as_second();
    if time.subsec_nanosecond() < 0 { seconds - 1 } else { seconds }
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl From<Timestamp> for MicroTime {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.truncated().0, f)
    }
}

impl fmt::Display for MicroTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_nanosecond().div_euclid(1_000);
        let time = Timestamp::from_microsecond(i64::try_from(micros).unwrap_or(i64::MAX))
            .unwrap_or(self.0);
        write!(f, "{time:.6}")
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for MicroTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl FromStr for MicroTime {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for MicroTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct TextVisitor;

impl de::Visitor<'_> for TextVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an RFC 3339 time")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse().map_err(|_| {
            // What Go's time package says.
            let quoted = crate::field::go_quote(text);
            E::custom(format_args!(
                "parsing time {quoted} as \"2006-01-02T15:04:05Z07:00\": cannot parse {quoted} as \"2006\""
            ))
        })
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for MicroTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_seconds_and_micros() {
        let check = |text: &str, seconds: &str, micros: &str| {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), seconds);
            assert_eq!(text.parse::<MicroTime>().unwrap().to_string(), micros);
        };
        check("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z");
        check(
            "2026-01-02T03:04:05.9999999Z",
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.999999Z",
        );
        check("2026-01-02T05:04:05.5+02:00", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.500000Z");
        assert_eq!(Time::default().to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn json_is_text() {
        let time: Time = serde_json::from_str("\"2026-01-02T03:04:05Z\"").unwrap();
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2026-01-02T03:04:05Z\"");
        assert!(serde_json::from_str::<Time>("\"yesterday\"").is_err());
        assert!(serde_json::from_str::<MicroTime>("5").is_err());
    }
}
