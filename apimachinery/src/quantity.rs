//! Quantities: `100m`, `1.5Gi`, `12e6`; Kubernetes' `resource.Quantity`.
//!
//! A quantity is a whole number of nanounits and the form it was written in. Kubernetes rounds what is finer than a
//! nano away from zero ("if you want some resources, you should get some") and caps binary quantities at 2⁶³−1, so an
//! `i128` of nanos holds all that it can hold, up to 1.7×10²⁹; larger decimal texts, which Kubernetes would keep, are
//! refused. Printing is canonical: no fraction, the largest suffix that loses nothing.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

mod parse;

const NANO: i128 = 1_000_000_000;

/// The form in which a quantity is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `12M`, `100m`, `5`.
    #[default]
    DecimalSi,
    /// `12Mi`.
    BinarySi,
    /// `12e6`.
    DecimalExponent,
}

/// A fixed-point number with a preferred way of writing it. Equality and order look at the number only.
#[derive(Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity; the messages are Kubernetes'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    /// Not `<signed number><suffix>`.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number cannot be read.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// No such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Zero.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// A whole number.
    #[must_use]
    pub const fn new(value: i64, format: Format) -> Self {
        Self { nanos: value as i128 * NANO, format }
    }

    /// Thousandths, as CPU is counted.
    #[must_use]
    pub const fn from_milli(value: i64, format: Format) -> Self {
        Self { nanos: value as i128 * (NANO / 1000), format }
    }

    /// How it prefers to be written.
    #[must_use]
    pub const fn format(self) -> Format {
        self.format
    }

    /// The number in whole units, rounded away from zero, as `Quantity.Value`; saturates at the `i64` range.
    #[must_use]
    pub fn value(self) -> i64 {
        self.scaled(NANO)
    }

    /// The number in thousandths, rounded away from zero, as `Quantity.MilliValue`; saturates.
    #[must_use]
    pub fn milli_value(self) -> i64 {
        self.scaled(NANO / 1000)
    }

    fn scaled(self, unit: i128) -> i64 {
        let up = i128::from(self.nanos % unit != 0) * self.nanos.signum();
        let value = self.nanos / unit + up;
        i64::try_from(value).unwrap_or(if value > 0 { i64::MAX } else { i64::MIN })
    }

    /// The number as a float, for ratios.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// Whether the number is 0.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// -1, 0 or 1.
    #[must_use]
    pub const fn sign(self) -> i32 {
        self.nanos.signum() as i32
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;

    /// The sum, in the form of the left side unless that is zero.
    fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_sub(other.nanos), format }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self { nanos: self.nanos.saturating_neg(), format: self.format }
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
        quantities.fold(Self::ZERO, |sum, q| sum + q)
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
        parse::parse(text)
    }
}

/// The text that Kubernetes stores for a quantity that a user wrote.
///
/// That is the canonical form, except where Kubernetes' parser takes its fast path and thinks the text canonical: it
/// keeps `1.125`, `2.500` and `+3Ki` as they are. A [`Quantity`] always prints the canonical form.
///
/// # Errors
/// When the text is no quantity.
pub fn canonicalize(text: &str) -> Result<String, ParseQuantityError> {
    let text = text.trim();
    let quantity: Quantity = text.parse()?;
    Ok(if parse::is_kept(text) { text.to_owned() } else { quantity.to_string() })
}

const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// From 10⁻⁹ in steps of 10³.
const DECIMAL_SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos % NANO == 0;
        if self.format == Format::BinarySi && whole && (self.nanos / NANO).abs() >= 1024 {
            let (mut value, mut step) = (self.nanos / NANO, 0);
            while value % 1024 == 0 && step + 1 < BINARY_SUFFIXES.len() {
                value /= 1024;
                step += 1;
            }
            return write!(f, "{value}{}", BINARY_SUFFIXES[step]);
        }
        let exponential = self.format == Format::DecimalExponent;
        let (mut value, mut step) = (self.nanos, 0);
        while value % 1000 == 0 && (exponential || step + 1 < DECIMAL_SUFFIXES.len()) {
            value /= 1000;
            step += 1;
        }
        match (exponential, step) {
            (false, _) => write!(f, "{value}{}", DECIMAL_SUFFIXES[step]),
            (true, 3) => write!(f, "{value}"),
            (true, _) => write!(f, "{value}e{}", step as i32 * 3 - 9),
        }
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        text.trim().parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Quantity, E> {
        Ok(Quantity::new(value, Format::DecimalSi))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Quantity, E> {
        Ok(Quantity { nanos: i128::from(value) * NANO, format: Format::DecimalSi })
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Quantity, E> {
        value.to_string().parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    /// Takes text and numbers, as Kubernetes does (`cpu: 0.5`).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests;
