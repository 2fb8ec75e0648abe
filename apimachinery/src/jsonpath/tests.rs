use serde_json::json;

use super::*;

/// What kubectl 1.33 printed, or said was wrong.
#[test]
fn templates_give_what_the_recorded_kubectl_gave() {
    let recorded: Value = serde_json::from_str(include_str!("testdata/cases.json")).unwrap();
    let cases = recorded["cases"].as_array().unwrap();
    assert!(cases.len() > 100);
    let mut wrong = Vec::new();
    for case in cases {
        let (template, allow) = (case[0].as_str().unwrap(), case[1].as_bool().unwrap());
        let ours = JsonPath::parse(template)
            .and_then(|path| path.allow_missing_keys(allow).execute(&recorded["object"]));
        let ours = match ours {
            Ok(text) => json!({"ok": text}),
            Err(error) => json!({"error": error.to_string()}),
        };
        if ours != case[2] {
            wrong.push(format!("{template}\n  ours    {ours}\n  kubectl {}", case[2]));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn order_is_by_key() {
    let data = json!({"b": {"name": 1}, "a": {"name": 2, "x": [{"name": 3}]}});
    let check = |template: &str, expected: &str| {
        assert_eq!(JsonPath::parse(template).unwrap().execute(&data).unwrap(), expected);
    };
    check("{..name}", "2 3 1");
    check("{.*.name}", "2 1");
    check("{.a.*}", r#"2 [{"name":3}]"#);
}

#[test]
fn json_output_is_a_list_for_each_part() {
    let data = json!({"a": [1, {"b": "<"}]});
    let path = JsonPath::parse("{.a[*]}").unwrap();
    assert_eq!(
        path.execute_as_json(&data).unwrap(),
        "[\n    1,\n    {\n        \"b\": \"\\u003c\"\n    }\n]\n"
    );
}

#[test]
fn relaxed_expressions_are_taken() {
    let check = |expression: &str, expected: &str| {
        assert_eq!(relaxed(expression).unwrap(), expected, "{expression}");
    };
    check("", "");
    for expression in [".a.b", "a.b", "{.a.b}", "{a.b}"] {
        check(expression, "{.a.b}");
    }
    check(
        ".status.conditions[?(@.type==\"Ready\")].status",
        "{.status.conditions[?(@.type==\"Ready\")].status}",
    );
    for expression in ["{", "{.a", "a}", "{}", "{a}{b}"] {
        assert!(relaxed(expression).is_err(), "{expression}");
    }
}

#[test]
fn nesting_has_a_bound() {
    let deep = format!("{{{}}}", ".a[?(@".repeat(100));
    assert!(JsonPath::parse(&deep).is_err());
}

mod random {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_panics(template in "[{}.\\[\\]?()@*:,'\"a0-9\\\\=<!$ -]{0,30}") {
            if let Ok(path) = JsonPath::parse(&template) {
                let _ = path.execute(&json!({"a": [{"a": 1}, {"a": [0, "x"]}], "0": null}));
            }
        }
    }
}
