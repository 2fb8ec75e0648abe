use proptest::prelude::*;

use super::*;

#[test]
fn texts_become_canonical() {
    let check = |text: &str, expected: &str| {
        assert_eq!(
            text.parse::<Quantity>().map(|q| q.to_string()).as_deref(),
            Ok(expected),
            "{text}"
        );
    };
    for (text, expected) in [
        ("0", "0"),
        ("0Gi", "0"),
        ("-0", "0"),
        ("+", "0"),
        (".", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("-1", "-1"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1500", "1500"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.5", "1500m"),
        ("1.G", "1G"),
        ("100m", "100m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1536Mi", "1536Mi"),
        ("0.1Ki", "102400m"),
        ("0.5Ki", "512"),
        ("1Ki", "1Ki"),
        ("1000Ki", "1000Ki"),
        ("2000Ki", "2000Ki"),
        ("1.0001Ki", "1024102400u"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("12e6", "12e6"),
        ("1e-3", "1e-3"),
        ("100e-3", "100e-3"),
        ("10e0", "10"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("1.00000000001", "1000000001n"),
        ("9Ei", "9223372036854775807"),
        ("1E", "1E"),
        ("10E", "10E"),
        ("1000E", "1000E"),
        ("00012", "12"),
        ("-1.5Gi", "-1536Mi"),
    ] {
        check(text, expected);
    }
}

/// What kubectl 1.33 made of resource requests.
#[test]
fn texts_become_what_the_recorded_kubectl_made() {
    let recorded: Vec<(String, serde_json::Value)> =
        serde_json::from_str(include_str!("testdata/canonical.json")).unwrap();
    assert!(recorded.len() > 300);
    let mut wrong = Vec::new();
    for (text, expected) in recorded {
        let ours = match canonicalize(&text) {
            Ok(canonical) => serde_json::json!({"ok": canonical}),
            Err(error) => serde_json::json!({"error": error.to_string()}),
        };
        if ours != expected {
            wrong.push(format!("{text:?}: {ours} instead of {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_no_quantity_is_refused_in_kubernetes_words() {
    use ParseQuantityError::{Format, Numeric, Suffix};
    for (text, error) in [
        ("", Format),
        ("1 ", Format),
        ("1Gi ", Format),
        ("1Gi1x", Format),
        ("x", Format),
        ("1x", Format),
        ("1i", Suffix),
        ("1Kii", Suffix),
        ("1e", Suffix),
        ("1K", Suffix),
        ("1Mi5", Suffix),
        ("1.1.1", Format),
        ("1e400", Numeric),
    ] {
        assert_eq!(text.parse::<Quantity>(), Err(error), "{text}");
    }
}

#[test]
fn values_round_away_from_zero() {
    let check = |text: &str, value: i64, milli: i64| {
        let q: Quantity = text.parse().unwrap();
        assert_eq!((q.value(), q.milli_value()), (value, milli), "{text}");
    };
    check("1500m", 2, 1500);
    check("-1500m", -2, -1500);
    check("1u", 1, 1);
    check("1Gi", 1 << 30, (1 << 30) * 1000);
    check("10E", i64::MAX, i64::MAX);
}

#[test]
fn json_takes_numbers_and_texts() {
    let check = |json: &str, expected: &str| {
        let q: Quantity = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&q).unwrap(), expected);
    };
    check("\"0.5\"", "\"500m\"");
    check("0.5", "\"500m\"");
    check("2", "\"2\"");
    check("\" 2 \"", "\"2\"");
    assert!(serde_json::from_str::<Quantity>("\"two\"").is_err());
    assert!(serde_json::from_str::<Quantity>("true").is_err());
}

#[test]
fn sums_keep_the_first_form() {
    let q = |text: &str| text.parse::<Quantity>().unwrap();
    assert_eq!((q("1Gi") + q("1Gi")).to_string(), "2Gi");
    assert_eq!((q("0") + q("1Gi")).to_string(), "1Gi");
    assert_eq!((q("1") - q("1500m")).to_string(), "-500m");
    assert_eq!([q("100m"), q("200m")].into_iter().sum::<Quantity>().to_string(), "300m");
}

fn quantity_text() -> impl Strategy<Value = String> {
    let suffixes = prop::sample::select(vec![
        "", "n", "u", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "e3", "e-3", "E6",
    ]);
    ("[+-]?[0-9]{1,8}(\\.[0-9]{0,6})?", suffixes).prop_map(|(number, s)| format!("{number}{s}"))
}

proptest! {
    #[test]
    fn printing_and_reading_give_the_same(text in quantity_text()) {
        let q: Quantity = text.parse().unwrap();
        let printed = q.to_string();
        let again: Quantity = printed.parse().unwrap();
        prop_assert_eq!(q, again);
        prop_assert_eq!(again.to_string(), printed);
    }

    #[test]
    fn order_is_that_of_the_numbers(a in any::<i32>(), b in any::<i32>()) {
        let (qa, qb) = (Quantity::from_milli(a.into(), Format::DecimalSi), Quantity::from_milli(b.into(), Format::BinarySi));
        prop_assert_eq!(qa.cmp(&qb), a.cmp(&b));
        prop_assert_eq!((qa + qb).milli_value(), i64::from(a) + i64::from(b));
        prop_assert_eq!(qa.to_string().parse::<Quantity>().unwrap(), qa);
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,12}") {
        let _ = text.parse::<Quantity>();
    }
}
