//! Floats as Go prints them: in YAML and text (`%g`) and in JSON.

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
pub(crate) fn format_float32(value: f32) -> String {
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
pub(crate) fn integral_text(value: f64) -> Option<String> {
    if value.fract() != 0.0 || value.abs() >= 1e21 || !value.is_finite() {
        return None;
    }
    let (digits, exponent) = digits(&format!("{:e}", value.abs()));
    Some(plain(if value < 0.0 { "-" } else { "" }, &digits, exponent))
}

/// Formats a finite float like Go's encoding/json: `1.5`, `100000000000000000000`, `1e+21`, `1e-7`.
#[must_use]
pub fn format_json_float(value: f64) -> String {
    let (digits, exponent) = digits(&format!("{:e}", value.abs()));
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value == 0.0 || (-6..21).contains(&exponent) {
        return plain(sign, &digits, exponent);
    }
    let text = exponential(sign, &digits, exponent);
    // Go drops the zero of a one-digit negative exponent, and of no other.
    text.replace("e-0", "e-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        let check = |value: f64, text: &str, json: &str| {
            assert_eq!(format_float(value), text);
            assert_eq!(format_json_float(value), json);
        };
        check(0.0, "0", "0");
        check(1.5, "1.5", "1.5");
        check(-0.5, "-0.5", "-0.5");
        check(100_000.0, "100000", "100000");
        check(1_000_000.5, "1.0000005e+06", "1000000.5");
        check(1e20, "1e+20", "100000000000000000000");
        check(1e21, "1e+21", "1e+21");
        check(0.0001, "0.0001", "0.0001");
        check(0.00001, "1e-05", "0.00001");
        check(1e-7, "1e-07", "1e-7");
        check(1.25e-10, "1.25e-10", "1.25e-10");
        check(9_223_372_036_854_775_808.0, "9.223372036854776e+18", "9223372036854776000");
        assert_eq!(format_float(f64::INFINITY), ".inf");
        assert_eq!(format_float32(0.1), "0.1");
    }
}
