//! A number or a text: `intstr.IntOrString`, for ports by number or name and for counts or percentages.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::field::go_quote;

/// An integer or a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A text: a port's name or a percentage such as `25%`.
    String(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl IntOrString {
    /// The number, or the share of `total` that a percentage means.
    ///
    /// # Errors
    /// Kubernetes' message when the text is no percentage.
    pub fn scaled_value(&self, total: i32, round_up: bool) -> Result<i32, String> {
        let text = match self {
            Self::Int(value) => return Ok(*value),
            Self::String(text) => text,
        };
        let percent = self.percent().map_err(|e| match text.strip_suffix('%') {
            None => format!("invalid value for IntOrString: {e}"),
            Some(_) => {
                format!("invalid value for IntOrString: invalid value {}: {e}", go_quote(text))
            }
        })?;
        let product = i64::from(percent) * i64::from(total);
        let scaled = if round_up {
            product.div_euclid(100) + i64::from(product.rem_euclid(100) != 0)
        } else {
            product.div_euclid(100)
        };
        i32::try_from(scaled).map_err(|_| "invalid value for IntOrString: out of range".to_owned())
    }

    /// The number before the `%`.
    fn percent(&self) -> Result<i32, String> {
        let Self::String(text) = self else {
            return Err("invalid type: neither int nor percentage".to_owned());
        };
        let Some(digits) = text.strip_suffix('%') else {
            return Err("invalid type: string is not a percentage".to_owned());
        };
        digits
            .parse()
            .map_err(|_| format!("strconv.Atoi: parsing {}: invalid syntax", go_quote(digits)))
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i32> {
        match self {
            Self::Int(value) => Some(*value),
            Self::String(_) => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Int(_) => None,
            Self::String(text) => Some(text),
        }
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::String(text) => f.write_str(text),
        }
    }
}

impl From<i32> for IntOrString {
    fn from(value: i32) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for IntOrString {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl Serialize for IntOrString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(value) => serializer.serialize_i32(*value),
            Self::String(text) => serializer.serialize_str(text),
        }
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = IntOrString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer or a string")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<IntOrString, E> {
        i32::try_from(value).map(IntOrString::Int).map_err(|_| {
            E::custom(format_args!(
                "json: cannot unmarshal number {value} into Go value of type int32"
            ))
        })
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<IntOrString, E> {
        i32::try_from(value).map(IntOrString::Int).map_err(|_| {
            E::custom(format_args!(
                "json: cannot unmarshal number {value} into Go value of type int32"
            ))
        })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<IntOrString, E> {
        Ok(IntOrString::String(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_scale() {
        let check = |value: IntOrString, total, up, expected: Result<i32, &str>| {
            assert_eq!(value.scaled_value(total, up), expected.map_err(str::to_owned), "{value}");
        };
        check(3.into(), 10, true, Ok(3));
        check("25%".into(), 10, true, Ok(3));
        check("25%".into(), 10, false, Ok(2));
        check("100%".into(), 10, false, Ok(10));
        check("0%".into(), 10, true, Ok(0));
        check(
            "http".into(),
            10,
            true,
            Err("invalid value for IntOrString: invalid type: string is not a percentage"),
        );
        check(
            "x%".into(),
            10,
            true,
            Err(
                r#"invalid value for IntOrString: invalid value "x%": strconv.Atoi: parsing "x": invalid syntax"#,
            ),
        );
    }

    #[test]
    fn json_keeps_the_type() {
        for text in ["80", "\"http\"", "\"80\""] {
            let value: IntOrString = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&value).unwrap(), text);
        }
        for text in ["1.5", "null", "true", "3000000000", "{}"] {
            assert!(serde_json::from_str::<IntOrString>(text).is_err(), "{text}");
        }
    }
}
