//! Floats as Go prints them.

/// The digits and the exponent of the first one, from Rust's shortest form: `1.2345e3` is ("12345", 3).
fn digits(scientific: &str) -> (String, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

/// Formats like Go's `strconv.FormatFloat(value, 'g', -1, 64)`: `1e+06`, `123456.5`, `1e-07`.
#[must_use]
pub fn format_float(value: f64) -> String {
    format_shortest(value, &format!("{:e}", value.abs()))
}

/// The same for Go's bit size 32, by which sigs.k8s.io/yaml turns a float into a key.
pub(super) fn format_float32(value: f32) -> String {
    format_shortest(value.into(), &format!("{:e}", value.abs()))
}

fn format_shortest(value: f64, scientific: &str) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let (digits, exponent) = digits(scientific);
    let sign = if value.is_sign_negative() { "-" } else { "" };
    // Go decides as if the precision were 6, whatever the number of digits.
    if (-4..6).contains(&exponent) {
        plain(sign, &digits, exponent)
    } else {
        exponential(sign, &digits, exponent)
    }
}

fn exponential(sign: &str, digits: &str, exponent: i32) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{rest}e{exponent_sign}{:02}", exponent.abs())
}

fn plain(sign: &str, digits: &str, exponent: i32) -> String {
    if exponent < 0 {
        let zeros = "0".repeat((-exponent - 1) as usize);
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        format!("{sign}{digits}{}", "0".repeat(whole - digits.len()))
    } else {
        format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
    }
}

/// The integer text that Go's JSON gives a float below 1e21 without fraction.
pub(super) fn integral_text(value: f64) -> Option<String> {
    if value.fract() != 0.0 || value.abs() >= 1e21 || !value.is_finite() {
        return None;
    }
    let (digits, exponent) = digits(&format!("{:e}", value.abs()));
    Some(plain(if value < 0.0 { "-" } else { "" }, &digits, exponent))
}
