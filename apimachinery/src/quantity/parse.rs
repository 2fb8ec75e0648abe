//! Reads a quantity as permissively as Kubernetes' scanner: `1.G`, `.5`, `+`, `0001Ki` are all fine.

use super::{Format, NANO, ParseQuantityError, Quantity};

/// More digits than an `i128` of nanos can need.
const MAX_DIGITS: usize = 60;

pub(super) fn parse(text: &str) -> Result<Quantity, ParseQuantityError> {
    if text.is_empty() {
        return Err(ParseQuantityError::Format);
    }
    let (negative, rest) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, rest) = split_digits(rest);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_digits(rest),
        None => ("", rest),
    };
    let (format, scale) = suffix(rest)?;
    let nanos = match scale {
        Scale::Decimal(exponent) => decimal(whole, fraction, exponent, NANO_EXPONENT, 1)?,
        Scale::Binary(bits) => {
            // The cap is Kubernetes': 2^63-1.
            let limit = i128::from(i64::MAX) * NANO;
            decimal(whole, fraction, 0, NANO_EXPONENT, 1 << bits).map_or(limit, |n| n.min(limit))
        }
    };
    let fractional = nanos > 0 && nanos < NANO;
    let format = if format == Format::BinarySi && fractional { Format::DecimalSi } else { format };
    Ok(Quantity { nanos: if negative { -nanos } else { nanos }, format })
}

/// Whether Kubernetes' parser keeps a valid text instead of printing the number anew.
pub(super) fn is_kept(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, rest) = split_digits(unsigned);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_digits(rest),
        None => ("", rest),
    };
    let whole = whole.trim_start_matches('0');
    let digits = whole.len().max(1) + fraction.len();
    match suffix(rest) {
        Ok((_, Scale::Decimal(exponent))) => {
            let scale = i64::from(exponent) - fraction.len() as i64;
            // Go joins the parts, with "0" for an empty whole one.
            let trailing_zeros = format!("{whole}{fraction}").ends_with("000");
            digits <= 18 && scale >= -9 && scale % 3 == 0 && !trailing_zeros && !whole.is_empty()
        }
        Ok((_, Scale::Binary(bits))) => {
            let precise = digits + bits as usize * 3 / 10 < 15;
            let odd =
                whole.parse::<i64>().is_ok_and(|n| n & 7 != 0 && n.checked_shl(bits).is_some());
            fraction.is_empty() && precise && odd
        }
        Err(_) => false,
    }
}

const NANO_EXPONENT: i32 = 9;

enum Scale {
    Decimal(i32),
    Binary(u32),
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()))
}

/// The format and the scale that a suffix means.
fn suffix(text: &str) -> Result<(Format, Scale), ParseQuantityError> {
    let letters = text.bytes().position(|b| !b"eEinumkKMGTP".contains(&b)).unwrap_or(text.len());
    let (letter_part, exponent_part) = text.split_at(letters);
    let unsigned = exponent_part.strip_prefix(['-', '+']).unwrap_or(exponent_part);
    if !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseQuantityError::Format);
    }
    let decimal = |exponent| Ok((Format::DecimalSi, Scale::Decimal(exponent)));
    let binary = |bits| Ok((Format::BinarySi, Scale::Binary(bits)));
    match (letter_part, exponent_part) {
        ("n", "") => decimal(-9),
        ("u", "") => decimal(-6),
        ("m", "") => decimal(-3),
        ("", "") => decimal(0),
        ("k", "") => decimal(3),
        ("M", "") => decimal(6),
        ("G", "") => decimal(9),
        ("T", "") => decimal(12),
        ("P", "") => decimal(15),
        ("E", "") => decimal(18),
        ("Ki", "") => binary(10),
        ("Mi", "") => binary(20),
        ("Gi", "") => binary(30),
        ("Ti", "") => binary(40),
        ("Pi", "") => binary(50),
        ("Ei", "") => binary(60),
        ("e" | "E", _) if !unsigned.is_empty() => {
            let exponent = exponent_part.parse().map_err(|_| ParseQuantityError::Suffix)?;
            Ok((Format::DecimalExponent, Scale::Decimal(exponent)))
        }
        _ => Err(ParseQuantityError::Suffix),
    }
}

/// `whole.fraction × factor × 10^(exponent + shift)`, rounded away from zero.
fn decimal(
    whole: &str,
    fraction: &str,
    exponent: i32,
    shift: i32,
    factor: i128,
) -> Result<i128, ParseQuantityError> {
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() && fraction.is_empty() {
        return Ok(0);
    }
    if whole.len() > MAX_DIGITS {
        return Err(ParseQuantityError::Numeric);
    }
    // The binary factor makes deep fractions matter beyond nanos; anything deeper still only rounds up.
    let kept = fraction.len().min(18);
    let lost = fraction[kept..].bytes().any(|b| b != b'0');
    let mut mantissa: i128 = 0;
    for digit in whole.bytes().chain(fraction[..kept].bytes()) {
        mantissa = mantissa
            .checked_mul(10)
            .and_then(|m| m.checked_add(i128::from(digit - b'0')))
            .ok_or(ParseQuantityError::Numeric)?;
    }
    let power = i64::from(exponent) + i64::from(shift) - kept as i64;
    let up = |remainder: bool| i128::from(remainder || lost);
    if power >= 0 {
        if lost {
            return Err(ParseQuantityError::Numeric);
        }
        let scale = u32::try_from(power).ok().and_then(|p| 10i128.checked_pow(p));
        let scaled =
            scale.and_then(|s| mantissa.checked_mul(s)).and_then(|m| m.checked_mul(factor));
        return scaled.ok_or(ParseQuantityError::Numeric);
    }
    // With a negative power, the factor goes in first so that no precision is lost.
    let product = mantissa.checked_mul(factor).ok_or(ParseQuantityError::Numeric)?;
    let divisor = u32::try_from(-power).ok().and_then(|p| 10i128.checked_pow(p));
    Ok(divisor.map_or(1, |d| product / d + up(product % d != 0)))
}
