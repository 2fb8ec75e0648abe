use proptest::prelude::*;
use serde_json::{Number, json};

use super::*;

fn value(text: &str) -> Value {
    let mut documents = read(text, "test.yaml").unwrap_or_else(|e| panic!("{text:?}: {e}"));
    assert_eq!(documents.len(), 1, "{text:?}");
    documents.remove(0).value
}

fn message(text: &str) -> String {
    read(text, "f.yaml").expect_err(text).to_string()
}

#[test]
fn plain_scalars_mean_what_goyaml_says() {
    let check = |text: &str, expected: Value| {
        assert_eq!(value(&format!("a: {text}")), json!({"a": expected}), "{text}");
    };
    for text in
        ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE", "!!bool \"yes\""]
    {
        check(text, json!(true));
    }
    for text in ["n", "N", "no", "off", "OFF", "false", "False"] {
        check(text, json!(false));
    }
    for text in ["", "~", "null", "Null", "NULL", "!!null \"\""] {
        check(text, json!(null));
    }
    for (text, number) in [
        ("0644", 420),
        ("0o644", 420),
        ("0x1F", 31),
        ("0X1f", 31),
        ("0b11", 3),
        ("-0b11", -3),
        ("+0b11", 3),
        ("1_000", 1000),
        ("1_", 1),
        ("08", 8),
        ("1e3", 1000),
        ("1.5E3", 1500),
        ("1.", 1),
        ("-0", 0),
        ("+1", 1),
        ("-0x1f", -31),
        ("9223372036854775807", i64::MAX),
        ("!!int \"5\"", 5),
        ("!!float 1", 1),
    ] {
        check(text, json!(number));
    }
    for (text, number) in [
        (".5", 0.5),
        ("-.5", -0.5),
        ("1e21", 1e21),
        ("1e20", 1e20),
        ("9223372036854775808", 9223372036854775808.0),
    ] {
        check(text, json!(number));
    }
    for text in [
        "yEs",
        "_1",
        "0o8",
        ".",
        "._1",
        "1.2.3",
        "2001-01-01",
        "2001-01-01T00:00:00Z",
        "12:30:45",
        "0x",
        "1e400",
        "<<",
        "=",
        "1,000",
        "0.1e",
        "e3",
        "Infinity",
        "nan",
        "0b",
        "\"5\"",
        "'yes'",
    ] {
        check(text, json!(text.trim_matches(['"', '\''])));
    }
    check("!!str 5", json!("5"));
    check("!foo 5", json!("5"));
    check("! 5", json!("5"));
    check("!!binary aGVsbG8=", json!("hello"));
}

#[test]
fn keys_become_text() {
    assert_eq!(
        value("{1: a, 1.5: b, true: c, 2001-01-01: d, \"x\": e, 0x10: f, 1e30: g, 'no': h}"),
        json!({"1": "a", "1.5": "b", "true": "c", "2001-01-01": "d", "x": "e", "16": "f", "1e+30": "g", "no": "h"})
    );
}

#[test]
fn blocks_fold_and_chomp() {
    assert_eq!(
        value("a: |\n  x\n   y\nb: >-\n  x\n  y\n\n  z\nc: |+\n  x\n\nd: \"a\\n\\u00e9\\\n  b\"\n"),
        json!({"a": "x\n y\n", "b": "x y\nz", "c": "x\n\n", "d": "a\néb"})
    );
}

#[test]
fn aliases_and_merges_expand() {
    let text = "base: &b {x: 1, v: 2}\nc: &c {v: 7, z: 8}\nm1: {x: 9, <<: *b}\nm2: {<<: *b, x: 9}\n\
        m3: {<<: [*b, *c]}\nm4: {\"<<\": *b}\nl: [&s text, *s]";
    let expected = json!({
        "base": {"x": 1, "v": 2}, "c": {"v": 7, "z": 8}, "m1": {"x": 1, "v": 2}, "m2": {"x": 9, "v": 2},
        "m3": {"x": 1, "v": 2, "z": 8}, "m4": {"<<": {"x": 1, "v": 2}}, "l": ["text", "text"],
    });
    assert_eq!(value(text), expected);
}

#[test]
fn documents_keep_their_lines() {
    let text = "# first\n---\na: 1\n---\n---\n# second\n\nb: 2\n...\n---\n- c\n";
    let documents = read(text, "f").unwrap();
    let lines: Vec<_> = documents.iter().map(|d| (d.line, d.value.clone())).collect();
    assert_eq!(lines, [(3, json!({"a": 1})), (8, json!({"b": 2})), (11, json!(["c"]))]);
    assert_eq!(read("", "f"), Ok(vec![]));
    assert_eq!(read("# nothing\n", "f"), Ok(vec![]));
    assert_eq!(read("\u{feff}a: 1\r\nb: 2\r\n", "f").unwrap()[0].value, json!({"a": 1, "b": 2}));
}

#[test]
fn json_is_read_as_json() {
    let documents =
        read("{\"a\": \"\\ud83d\\ude00\\/\", \"b\": 1e2}\n\n {\"c\": 18446744073709551615}\n", "f")
            .unwrap();
    assert_eq!(documents[0].value, json!({"a": "😀/", "b": 100.0}));
    assert_eq!(documents[1], Document { value: json!({"c": 18446744073709551615.0}), line: 3 });
    assert_eq!(value("{a: b}"), json!({"a": "b"}));
    assert_eq!(message("{\"a\": 1,\n \"a\": 2}"), "f.yaml:2:4: key \"a\" already set in map");
    assert_eq!(message("{\"a\": 1,\n \"b\" 2}"), "f.yaml:2:6: expected `:`");
}

#[test]
fn mistakes_have_a_place() {
    let check = |text: &str, expected: &str| assert_eq!(message(text), expected, "{text:?}");
    check("a: 1\nb: 2\n\na: 3\n", "f.yaml:4:4: key \"a\" already set in map");
    check("x:\n  - a: 1\n    \"a\": 2\n", "f.yaml:3:10: key \"a\" already set in map");
    check("a: !!int x", "f.yaml:1:4: cannot decode !!str `x` as a !!int");
    check("a: .inf", "f.yaml:1:4: json: unsupported value: +Inf");
    check("a: {~: 1}", "f.yaml:1:5: unsupported map key of type: null");
    check("a: {<<: 1}", "f.yaml:1:9: map merge requires map or sequence of maps as the value");
    check("a: &x [*x]", "f.yaml:1:8: anchor value contains itself");
    check("a: !!binary x", "f.yaml:1:4: !!binary value contains invalid base64 data");
    for text in
        ["a: [1", "a: b: c", "a: *x", "a:\n\t- b", "a: \"x", "a: 'x", "%x", "- a\nb: c", "a: @b"]
    {
        assert!(message(text).starts_with("f.yaml:"), "{text}");
    }
    let error = read("a: 1\na: 2", "f.yaml").unwrap_err();
    assert_eq!(
        error.go_message(),
        "yaml: unmarshal errors:\n  line 2: key \"a\" already set in map"
    );
}

#[test]
fn what_goyaml_forgives_is_forgiven() {
    let check = |text: &str, expected: Value| assert_eq!(value(text), expected, "{text:?}");
    check("x:\n  a: [\n    1\n  ]\n  b: 2\n", json!({"x": {"a": [1], "b": 2}}));
    check(
        "x:\n  a: [\n  1,\n 2\n]\n  b: {\nc: d\n}\n",
        json!({"x": {"a": [1, 2], "b": {"c": "d"}}}),
    );
    check("- a: [\n  x,\n  z\n  ]\n- b\n", json!([{"a": ["x", "z"]}, "b"]));
    check("x:\n  a:\tb\n  c: \t d\n", json!({"x": {"a": "b", "c": "d"}}));
    assert_eq!(message("x:\n  a: [\n  1,\n  @\n  ]\n"), "f.yaml:4:3: unexpected character: `@'");
}

/// What kubectl 1.33 made of odd but well-formed documents.
#[test]
fn documents_match_the_recorded_kubectl() {
    let recorded: Vec<(String, Value)> =
        serde_json::from_str(include_str!("testdata/documents.json")).unwrap();
    assert!(recorded.len() > 80);
    for (text, expected) in recorded {
        assert_eq!(value(&text)["data"], expected, "{text:?}");
    }
}

#[test]
fn growth_has_bounds() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..10 {
        let below = i - 1;
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{below}"); 9].join(", ")));
    }
    assert!(message(&bomb).ends_with("document contains excessive aliasing"));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(127), "f").is_ok());
    assert!(message(&nested(128)).ends_with("exceeded max depth of 127"));
    assert!(message(&nested(20_000)).ends_with("recursion limit exceeded"));
}

/// What kubectl 1.33 printed for each value of a map.
#[test]
fn printing_matches_the_recorded_kubectl() {
    let recorded: Vec<(String, String)> =
        serde_json::from_str(include_str!("testdata/emitted.json")).unwrap();
    assert!(recorded.len() > 100);
    let mut wrong = Vec::new();
    for (text, expected) in recorded {
        let printed = emit(&json!({"data": {"k": text}}));
        if printed != expected {
            wrong.push(format!("{text:?}\n--- ours\n{printed}--- kubectl\n{expected}"));
        }
        assert_eq!(value(&printed), json!({"data": {"k": text}}), "{text:?}");
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn structure_prints_as_goyaml_prints_it() {
    let check = |value: Value, expected: &str| assert_eq!(emit(&value), expected);
    check(json!({}), "{}\n");
    check(json!([]), "[]\n");
    check(json!("x"), "x\n");
    check(json!(null), "null\n");
    check(
        json!({"b": [1, {"x": [], "y": {}}, [[2], "z"]], "a": {"n": null, "t": true, "f": 1e20, "g": 1e19, "h": 1.5e6}}),
        "a:\n  f: 1e+20\n  g: 10000000000000000000\n  h: 1500000\n  \"n\": null\n  t: true\nb:\n- 1\n- x: []\n  \"y\": {}\n- - - 2\n  - z\n",
    );
    check(
        json!({"a10": 1, "a2": 1, "a-b": 1, "a.b": 1, "aB": 1, "Ab": 1, "é": 1, "a02": 1, "": 1, "1": 1}),
        "\"\": 1\n\"1\": 1\nAb: 1\na-b: 1\na.b: 1\na2: 1\na02: 1\na10: 1\naB: 1\né: 1\n",
    );
}

#[test]
fn printed_structures_match_the_recorded_kubectl() {
    let recorded: Vec<(Value, String)> =
        serde_json::from_str(include_str!("testdata/structures.json")).unwrap();
    assert!(recorded.len() > 50);
    for (value, expected) in recorded {
        assert_eq!(emit(&value), expected);
    }
}

/// What kubectl 1.33 made of plain scalars.
#[test]
fn plain_scalars_match_the_recorded_kubectl() {
    let recorded: Vec<(String, Value)> =
        serde_json::from_str(include_str!("testdata/scalars.json")).unwrap();
    assert!(recorded.len() > 500);
    let numbers = |v: &Value| v.as_f64().filter(|_| v.is_f64());
    for (text, expected) in recorded {
        let read = value(&format!("k: {text}"))["k"].take();
        // Floats are compared as such: JSON writes them in many ways.
        let same = numbers(&read).map_or(read == expected, |f| expected.as_f64() == Some(f));
        assert!(same, "{text:?}: {read} instead of {expected}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        "[a-z :#'\"\\-\\n\\t\\\\]{0,16}",
        "(word |a  b |x\\n){0,40}",
        "\\PC{0,6}",
        "[0-9+\\-._eExob:T]{0,10}",
        prop::sample::select(vec![
            "yes", "~", "null", "0644", "1e3", "", "---", "...", "<<", " ", "\n", "\u{85}",
            "\u{2028}", "\u{feff}"
        ])
        .prop_map(str::to_owned),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6f64).prop_map(|f| Number::from_f64(f + 0.5).map_or(Value::Null, Value::Number)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Whole floats become integers on the way, as in Go.
fn normalized(value: Value) -> Value {
    match value {
        Value::Number(n) if n.is_f64() && n.as_f64().is_some_and(|f| f.fract() == 0.0) => {
            json!(n.as_f64().unwrap() as i64)
        }
        Value::Array(list) => list.into_iter().map(normalized).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, normalized(v))).collect(),
        other => other,
    }
}

proptest! {
    #[test]
    fn reading_what_was_printed_gives_the_value(v in json_value()) {
        let printed = emit(&v);
        let documents = read(&printed, "f").map_err(|e| TestCaseError::fail(format!("{e}\n{printed}")))?;
        let read = documents.into_iter().next().map_or(Value::Null, |d| d.value);
        prop_assert_eq!(read, normalized(v), "{}", printed);
    }

    #[test]
    fn no_text_panics(text in "[ -~\\n\\t]{0,40}") {
        let _ = read(&text, "f");
    }
}

#[test]
fn who_forgives_takes_the_last_of_repeated_keys() {
    let check = |text: &str, expected: Value| {
        let documents = read_forgiving(text, "f.yaml").unwrap();
        assert_eq!(documents[0].value, expected, "{text}");
    };
    check("a: 1\nb: 2\na: 3\n", json!({"a": 3, "b": 2}));
    check("x:\n  - a: 1\n    \"a\": 2\n", json!({"x": [{"a": 2}]}));
    check("{\"a\": 1, \"a\": {\"b\": 1, \"b\": 2}}", json!({"a": {"b": 2}}));
    check("1: a\n\"1\": b\n", json!({"1": "b"}));
}
