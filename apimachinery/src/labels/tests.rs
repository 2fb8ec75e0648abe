use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn texts_parse_and_print() {
    let check = |text: &str, expected: &str| {
        assert_eq!(Selector::parse(text).unwrap().to_string(), expected, "{text}");
    };
    check("", "");
    check("  ", "");
    check("a=b", "a=b");
    check(" a == b ", "a==b");
    check("a!=b", "a!=b");
    check("a=", "a=");
    check("a", "a");
    check("!a", "!a");
    check("a in (x,y)", "a in (x,y)");
    check("a in(y,x,x)", "a in (x,y)");
    check("a notin ()", "a notin ()");
    check("a in (,)", "a in ()");
    check("a in (x,,y)", "a in (,x,y)");
    check("in in (in,notin)", "in in (in,notin)");
    check("x.y/z>5,b<7", "b<7,x.y/z>5");
    check("b=1,a=2", "a=2,b=1");
    check("a,!b,c=d", "a,!b,c=d");
}

#[test]
fn errors_are_kubernetes_own() {
    let check = |text: &str, expected: &str| {
        assert_eq!(Selector::parse(text).unwrap_err().to_string(), expected, "{text}");
    };
    check("a=b,", "found '', expected: identifier after ','");
    check("=b", "found '=', expected: !, identifier, or 'end of string'");
    check("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
    check("a=b c", "found 'c', expected: ',' or 'end of string'");
    check("a in x", "unable to parse requirement: found 'x' expected: '('");
    check("a in (x", "unable to parse requirement: found '', expected: ',' or ')'");
    check("a=!", "unable to parse requirement: found '!', expected: identifier");
    check("!", "unable to parse requirement: found '', expected: identifier");
    check(
        "a>x",
        "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
    );
    check(
        "-a=b",
        "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    );
    check(
        "a=b-",
        "unable to parse requirement: values[0][a]: Invalid value: \"b-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    );
}

#[test]
fn labels_match() {
    let labels: &[(&str, &str)] = &[("app", "web"), ("tier", ""), ("n", "5")];
    let check = |text: &str, expected: bool| {
        assert_eq!(Selector::parse(text).unwrap().matches(labels), expected, "{text}");
    };
    check("", true);
    check("app=web", true);
    check("app=db", false);
    check("app!=db", true);
    check("absent!=x", true);
    check("absent=", false);
    check("tier=", true);
    check("app in (db,web),n", true);
    check("app notin (db,web)", false);
    check("absent notin (x)", true);
    check("!app", false);
    check("!absent", true);
    check("n>4", true);
    check("n<5", false);
    check("app>1", false);
    assert!(!Selector::nothing().matches(labels));
}

#[test]
fn label_selectors_convert() {
    let convert = |value: serde_json::Value| {
        let selector: LabelSelector = serde_json::from_value(value).unwrap();
        Selector::from_label_selector(Some(&selector)).map(|s| s.to_string()).map_err(|e| e.0)
    };
    assert_eq!(convert(json!({})), Ok(String::new()));
    assert_eq!(
        convert(json!({"matchLabels": {"b": "1"}, "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["y", "x"]},
            {"key": "c", "operator": "Exists"},
            {"key": "d", "operator": "DoesNotExist"},
        ]})),
        Ok("a in (x,y),b=1,c,!d".to_owned())
    );
    assert_eq!(
        convert(json!({"matchExpressions": [{"key": "a", "operator": "Near"}]})),
        Err("\"Near\" is not a valid label selector operator".to_owned())
    );
    assert_eq!(
        convert(json!({"matchExpressions": [{"key": "a", "operator": "In"}]})),
        Err("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
            .to_owned())
    );
    assert_eq!(Selector::from_label_selector(None), Ok(Selector::nothing()));
    assert_eq!(format_label_selector(None), "<none>");
    assert_eq!(Selector::from_map([("b", "1"), ("a", "2")]).to_string(), "a=2,b=1");
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let word = "[a-z][a-z0-9]{0,3}";
    let operator = prop::sample::select(vec![
        Operator::Equals,
        Operator::DoubleEquals,
        Operator::NotEquals,
        Operator::In,
        Operator::NotIn,
        Operator::Exists,
        Operator::DoesNotExist,
    ]);
    (word, operator, prop::collection::btree_set(word, 1..4)).prop_map(|(key, operator, values)| {
        let take = match operator {
            Operator::Exists | Operator::DoesNotExist => 0,
            Operator::In | Operator::NotIn => values.len(),
            _ => 1,
        };
        Requirement::new(key, operator, values.into_iter().take(take).collect()).unwrap()
    })
}

proptest! {
    #[test]
    fn printing_and_reading_give_the_same(all in prop::collection::vec(requirement(), 0..4)) {
        let selector = Selector::new(all);
        prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
    }

    #[test]
    fn a_map_matches_itself(labels in prop::collection::btree_map("[a-z]{1,3}", "[a-z]{0,3}", 0..5)) {
        let selector = Selector::from_map(labels.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        prop_assert!(selector.matches(&labels));
    }

    #[test]
    fn nothing_panics(text in "[a-z=!<>,() \\PC]{0,16}") {
        let _ = Selector::parse(&text);
    }
}
