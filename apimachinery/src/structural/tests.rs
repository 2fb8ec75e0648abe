use serde_json::{Value, json};

use super::{
    Structural, default, duration_of, is_known_format, is_of_format, lists, prune::prune, rules,
    rules_of_cel, validate,
};
use crate::field::{FieldError, Path};

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["cron"], "properties": {
        "cron": {"type": "string", "pattern": "^\\d+$", "maxLength": 5, "minLength": 2},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
        "ratio": {"type": "number", "exclusiveMinimum": true, "minimum": 0},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "when": {"type": "string", "format": "date-time"},
        "port": {"x-kubernetes-int-or-string": true},
        "maybe": {"type": "string", "nullable": true},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 3, "items": {"type": "string"}},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"}, "port": {"type": "integer", "default": 80}}}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"n": {"type": "integer"}}},
        "either": {"type": "object", "properties": {"x": {"type": "string"}, "y": {"type": "string"}},
            "oneOf": [{"required": ["x"]}, {"required": ["y"]}]},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
    }}}})
}

fn parsed() -> Structural {
    Structural::parse(&schema()).unwrap()
}

#[test]
fn the_schema_of_the_tests_is_structural() {
    assert_eq!(texts(&rules::check(&Path::new("s"), &schema(), true)), Vec::<String>::new());
}

#[test]
fn values_are_judged_in_kubernetes_words() {
    let table: &[(Value, &[&str])] = &[
        (json!({"cron": "123", "port": "x", "maybe": null, "labels": {"a": "b"}}), &[]),
        (json!({}), &["spec.cron: Required value"]),
        (
            json!({"cron": 5}),
            &[
                r#"spec.cron: Invalid value: "integer": spec.cron in body must be of type string: "integer""#,
            ],
        ),
        (
            json!({"cron": null}),
            &[
                r#"spec.cron: Invalid value: "null": spec.cron in body must be of type string: "null""#,
            ],
        ),
        (
            json!({"cron": "x1"}),
            &[r#"spec.cron: Invalid value: "x1": spec.cron in body should match '^\d+$'"#],
        ),
        (
            json!({"cron": "1"}),
            &[
                r#"spec.cron: Invalid value: "1": spec.cron in body should be at least 2 chars long"#,
            ],
        ),
        (json!({"cron": "123456"}), &["spec.cron: Too long: may not be more than 5 bytes"]),
        (
            json!({"cron": "12", "replicas": 15}),
            &[
                "spec.replicas: Invalid value: 15: spec.replicas in body should be less than or equal to 10",
            ],
        ),
        (
            json!({"cron": "12", "replicas": 0}),
            &[
                "spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1",
            ],
        ),
        (
            json!({"cron": "12", "replicas": 1.5}),
            &[
                r#"spec.replicas: Invalid value: "number": spec.replicas in body must be of type integer: "number""#,
            ],
        ),
        (
            json!({"cron": "12", "ratio": 0}),
            &["spec.ratio: Invalid value: 0: spec.ratio in body should be greater than 0"],
        ),
        (
            json!({"cron": "12", "kind": "c"}),
            &[r#"spec.kind: Unsupported value: "c": supported values: "a", "b""#],
        ),
        (
            json!({"cron": "12", "when": "now"}),
            &[
                r#"spec.when: Invalid value: "now": spec.when in body must be of type date-time: "now""#,
            ],
        ),
        (
            json!({"cron": "12", "port": 1.5}),
            &[
                r#"spec.port: Invalid value: "number": spec.port in body must be of type integer,string: "number""#,
            ],
        ),
        (
            json!({"cron": "12", "tags": ["a", "b", "c", "d"]}),
            &["spec.tags: Too many: 4: must have at most 3 items"],
        ),
        (
            json!({"cron": "12", "labels": {"a": 1}}),
            &[
                r#"spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type string: "integer""#,
            ],
        ),
        (
            json!({"cron": "12", "either": {"x": "1", "y": "1"}}),
            &[
                r#"<nil>: Invalid value: "": "spec.either" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
            ],
        ),
        (
            json!({"cron": "12", "either": {}}),
            &[
                r#"<nil>: Invalid value: "": "spec.either" must validate one and only one schema (oneOf). Found none valid"#,
                "spec.either.x: Required value",
            ],
        ),
    ];
    for (spec, expected) in table {
        let object = json!({ "spec": spec });
        assert_eq!(texts(&validate::validate(&object, None, &parsed())), *expected, "{spec}");
        // What is as it was may stay.
        assert!(validate::validate(&object, Some(&object), &parsed()).is_empty(), "{spec}");
    }
}

#[test]
fn unknown_fields_are_dropped_and_told() {
    let mut object = json!({"apiVersion": "a/v1", "kind": "X", "metadata": {"any": 1}, "other": 1, "spec": {
        "cron": "1", "nope": 1, "ports": [{"name": "a", "bad": 1}], "open": {"n": 1, "kept": {"deep": 1}},
        "pod": {"apiVersion": "v1", "metadata": {"name": "x"}, "spec": {}}, "labels": {"k": "v"}}});
    let paths = prune(&mut object, &parsed());
    assert_eq!(paths, ["other", "spec.nope", "spec.ports[0].bad"]);
    assert_eq!(object["spec"]["open"]["kept"]["deep"], 1);
    assert!(object["spec"]["ports"][0].get("bad").is_none());
}

#[test]
fn defaults_are_filled_in_and_nulls_dropped() {
    let mut object =
        json!({"spec": {"cron": null, "replicas": null, "maybe": null, "ports": [{"name": "a"}]}});
    default::drop_nulls(&mut object, &parsed());
    default::default(&mut object, &parsed());
    assert_eq!(
        object,
        json!({"spec": {"replicas": 1, "maybe": null, "ports": [{"name": "a", "port": 80}]}})
    );
}

#[test]
fn sets_and_maps_have_no_item_twice() {
    let object = json!({"spec": {"tags": ["a", "b", "a"], "ports": [{"name": "x"}, {"name": "x", "port": 1}]}});
    assert_eq!(
        texts(&lists::validate(&object, &parsed())),
        [
            r#"spec.ports[1]: Duplicate value: {"name":"x"}"#,
            r#"spec.tags[2]: Duplicate value: "a""#
        ]
    );
}

#[test]
fn what_is_not_structural_is_refused() {
    let check = |schema: Value, expected: &[&str]| {
        let errors = rules::check(&Path::new("s"), &schema, false);
        assert_eq!(texts(&errors), expected, "{schema}");
    };
    let at = |field: Value| json!({"type": "object", "properties": {"f": field}});
    check(Value::Null, &["s: Required value: schemas are required"]);
    check(json!({}), &["s.type: Required value: must not be empty at the root"]);
    check(
        json!({"type": "string"}),
        &[r#"s.type: Invalid value: "string": must be object at the root"#],
    );
    check(
        at(json!({})),
        &["s.properties[f].type: Required value: must not be empty for specified object fields"],
    );
    check(
        at(json!({"type": "array"})),
        &["s.properties[f].items: Required value: must be specified"],
    );
    check(
        at(json!({"type": "object", "additionalProperties": false})),
        &[
            "s.properties[f].additionalProperties: Forbidden: additionalProperties cannot be set to false",
        ],
    );
    check(
        at(json!({"type": "string", "$ref": "x"})),
        &["s.properties[f].$ref: Forbidden: $ref is not supported"],
    );
    check(
        at(json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}})),
        &[
            "s.properties[f].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ],
    );
    check(
        at(json!({"type": "string", "anyOf": [{"type": "string"}]})),
        &["s.properties[f].anyOf[0].type: Forbidden: must be empty to be structural"],
    );
    check(
        json!({"type": "object", "anyOf": [{"properties": {"g": {"minimum": 1}}}]}),
        &["s.properties[g]: Required value: because it is defined in s.anyOf[0].properties[g]"],
    );
    check(
        at(
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ),
        &[],
    );
    check(
        at(
            json!({"x-kubernetes-int-or-string": true, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "x"}]}),
        ),
        &[],
    );
    check(
        at(
            json!({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object", "properties": {"n": {"type": "string"}}}}),
        ),
        &[
            "s.properties[f].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ],
    );
    check(
        at(
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"],
        "items": {"type": "object", "properties": {"n": {"type": "string"}}}}),
        ),
        &[
            "s.properties[f].items.properties[n].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ],
    );
    check(
        at(json!({"type": "integer", "default": "x"})),
        &[
            r#"s.properties[f].default: Invalid value: "string": s.properties[f].default in body must be of type integer: "string""#,
        ],
    );
    check(
        at(json!({"type": "string", "pattern": "("})).clone(),
        &[&texts(&rules::check(
            &Path::new("s"),
            &at(json!({"type": "string", "pattern": "("})),
            false,
        ))[0]],
    );
    check(
        json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
        &[
            "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ],
    );
}

fn with_rules(rules: &Value) -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": rules, "properties": {
        "min": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]},
        "list": {"type": "array", "items": {"type": "string"}},
    }}}})
}

#[test]
fn rules_are_kept_or_broken_in_kubernetes_words() {
    let check = |rules: Value, old: Option<Value>, spec: Value, expected: &[&str]| {
        let schema = with_rules(&rules);
        assert_eq!(texts(&rules::check(&Path::new("s"), &schema, true)), Vec::<String>::new());
        let schema = Structural::parse(&schema).unwrap();
        let old = old.map(|old| json!({ "spec": old }));
        let object = json!({ "spec": spec });
        assert_eq!(
            texts(&rules_of_cel::validate(&object, old.as_ref(), &schema)),
            expected,
            "{rules} {spec}"
        );
    };
    let less = json!([{"rule": "self.min <= self.max"}]);
    check(less.clone(), None, json!({"min": 1, "max": 2}), &[]);
    check(
        less.clone(),
        None,
        json!({"min": 3, "max": 2}),
        &["spec: Invalid value: failed rule: self.min <= self.max"],
    );
    check(less.clone(), Some(json!({"min": 3, "max": 2})), json!({"min": 3, "max": 2}), &[]);
    check(
        less,
        None,
        json!({"min": 3}),
        &[
            r#"spec: Invalid value: "object": no such key: max evaluating rule: self.min <= self.max"#,
        ],
    );
    check(
        json!([{"rule": "self.min > 0", "message": "too few", "reason": "FieldValueForbidden", "fieldPath": ".min"}]),
        None,
        json!({"min": 0}),
        &["spec.min: Forbidden: too few"],
    );
    check(
        json!([{"rule": "self.min > 0", "messageExpression": "'min is ' + string(self.min)"}]),
        None,
        json!({"min": 0}),
        &["spec: Invalid value: min is 0"],
    );
    check(
        json!([]),
        Some(json!({"name": "a"})),
        json!({"name": "b"}),
        &[r#"spec.name: Invalid value: "b": is immutable"#],
    );
    check(json!([]), None, json!({"name": "b"}), &[]);
    check(
        json!([{"rule": "oldSelf.hasValue() || self.min == 0", "optionalOldSelf": true}]),
        None,
        json!({"min": 1}),
        &["spec: Invalid value: failed rule: oldSelf.hasValue() || self.min == 0"],
    );
    let long: Vec<String> = (0..3000).map(|n| n.to_string()).collect();
    check(
        json!([{"rule": "self.list.all(a, self.list.exists_one(b, a == b))"}]),
        None,
        json!({"list": long}),
        &[
            r#"spec: Invalid value: "object": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: self.list.all(a, self.list.exists_one(b, a == b))"#,
        ],
    );
}

#[test]
fn rules_that_cannot_be_are_refused() {
    let check = |rules: Value, expected: &str| {
        let errors = texts(&rules::check(&Path::new("s"), &with_rules(&rules), true));
        let first = errors.first().and_then(|error| error.lines().next()).unwrap_or_default();
        assert_eq!(first, expected, "{rules}");
    };
    let at = "s.properties[spec].x-kubernetes-validations[0]";
    check(json!([{"rule": " "}]), &format!("{at}.rule: Required value: rule is not specified"));
    check(
        json!([{"rule": "self.mni > 0"}]),
        &format!(
            r#"{at}.rule: Invalid value: "self.mni > 0": compilation failed: ERROR: <input>:1:5: undefined field 'mni'"#
        ),
    );
    check(
        json!([{"rule": "self.name > 0"}]),
        &format!(
            r#"{at}.rule: Invalid value: "self.name > 0": compilation failed: ERROR: <input>:1:11: found no matching overload for '_>_' applied to '(string, int)'"#
        ),
    );
    check(
        json!([{"rule": "fly()"}]),
        &format!(
            r#"{at}.rule: Invalid value: "fly()": compilation failed: ERROR: <input>:1:1: undeclared reference to 'fly' (in container '')"#
        ),
    );
    check(
        json!([{"rule": "self.min"}]),
        &format!(
            r#"{at}.rule: Invalid value: "self.min": compilation failed: must evaluate to a bool"#
        ),
    );
    check(
        json!([{"rule": "true", "reason": "Because"}]),
        &format!(
            r#"{at}.reason: Unsupported value: "Because": supported values: "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired", "FieldValueDuplicate""#
        ),
    );
    check(
        json!([{"rule": "true", "fieldPath": ".nope"}]),
        &format!(
            r#"{at}.fieldPath: Invalid value: ".nope": fieldPath must be a valid path: does not refer to a valid field"#
        ),
    );
}

/// Quadratic checks would take hours over these.
#[test]
fn long_lists_are_compared_by_their_keys() {
    let schema = Structural::parse(&json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "n": {"type": "integer",
                "maximum": 1, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}},
    }}))
    .unwrap();
    let set: Vec<String> = (0..60_000).map(|n| format!("item-{n}")).collect();
    let map: Vec<Value> = set.iter().map(|k| json!({"k": k, "n": 2})).collect();
    let old = json!({ "set": set, "map": map });
    let mut object = old.clone();
    object["map"].as_array_mut().unwrap().reverse();
    object["map"][7]["n"] = json!(3);
    object["set"][9] = json!("item-8");
    object["map"][11]["k"] = json!("item-0");
    assert_eq!(
        texts(&lists::validate(&object, &schema)),
        [r#"map[59999]: Duplicate value: {"k":"item-0"}"#, r#"set[9]: Duplicate value: "item-8""#]
    );
    // What was too large before may stay, what has changed may not.
    assert_eq!(
        texts(&validate::validate(&object, Some(&old), &schema)),
        ["map[7].n: Invalid value: 3: map[7].n in body should be less than or equal to 1"]
    );
    assert_eq!(
        texts(&rules_of_cel::validate(&object, Some(&old), &schema)),
        ["map[7].n: Invalid value: 3: failed rule: self == oldSelf"]
    );
}

#[test]
fn multiples_are_told_as_kubernetes_tells_them() {
    let check = |factor: Value, value: Value, expected: bool| {
        let schema = Structural::parse(&json!({"type": "number", "multipleOf": factor})).unwrap();
        assert_eq!(
            validate::validate(&value, None, &schema).is_empty(),
            expected,
            "{value} {factor}"
        );
    };
    check(json!(0.1), json!(0.3), true);
    check(json!(0.1), json!(0.35), false);
    check(json!(0.01), json!(19.99), true);
    check(json!(2.5), json!(7.5), true);
    check(json!(3), json!(9), true);
    check(json!(3), json!(10), false);
    check(json!(2), json!(9_007_199_254_740_993_i64), false);
    check(json!(-1), json!(i64::MIN), true);
}

#[test]
fn defaults_are_filled_in_up_to_a_bound() {
    let schema = Structural::parse(&json!({"type": "object", "properties": {"list": {"type": "array",
        "items": {"type": "object", "properties": {"text": {"type": "string", "default": "x".repeat(1000)}}}}}}))
    .unwrap();
    let mut object = json!({"list": vec![json!({}); 100_000]});
    default::default(&mut object, &schema);
    let filled =
        object["list"].as_array().unwrap().iter().filter(|i| i["text"].is_string()).count();
    assert!((2_500..=default::MAX_FILLED / 1000).contains(&filled), "{filled}");
}

#[test]
fn patterns_are_bounded_each_and_together() {
    let refused = |schema: &Value| texts(&rules::check(&Path::new("s"), schema, false));
    let one = |pattern: &str| json!({"type": "object", "properties": {"f": {"type": "string", "pattern": pattern}}});
    assert_eq!(
        refused(&one("((a{100}){100}){100}")),
        [
            r#"s.properties[f].pattern: Invalid value: "((a{100}){100}){100}": must be a valid regular expression, but isn't: error parsing regexp: invalid repeat count: `{100}`"#
        ]
    );
    let many = |field: &dyn Fn(usize) -> Value| {
        let fields: serde_json::Map<String, Value> =
            (0..2_000).map(|n| (format!("f{n}"), field(n))).collect();
        json!({"type": "object", "properties": fields})
    };
    let patterns = many(&|n| json!({"type": "string", "pattern": format!("a{{1000}}{n}")}));
    let rules = many(&|n| {
        json!({"type": "string", "x-kubernetes-validations": [
        {"rule": format!("self.matches('a{{1000}}{n}')")}]})
    });
    for schema in [patterns, rules] {
        let told = refused(&schema);
        assert!(
            told.len() == 1 && told[0].ends_with("the schema's patterns are too large together"),
            "{told:?}"
        );
    }
    // Nor is a text matched for hours.
    let schema = Structural::parse(&json!({"type": "string", "pattern": "(a|b){500}c"})).unwrap();
    let told = texts(&validate::validate(&json!("ab".repeat(500_000)), None, &schema));
    assert_eq!(
        told,
        [r#"<nil>: Invalid value: "":  in body is too long to be matched with '(a|b){500}c'"#]
    );
}

#[test]
fn formats_are_those_that_kubernetes_checks() {
    let check = |format: &str, good: &[&str], bad: &[&str]| {
        assert!(is_known_format(format), "{format}");
        good.iter().for_each(|text| assert!(is_of_format(format, text), "{format} {text}"));
        bad.iter().for_each(|text| assert!(!is_of_format(format, text), "{format} {text}"));
    };
    check("isbn10", &["0-321-75104-3", "080442957X"], &["0321751040", "X321751043", "12"]);
    check("isbn13", &["978 3401013190"], &["9783401013191"]);
    check("isbn", &["0321751043", "9783401013190"], &["1"]);
    check("creditcard", &["4111-1111-1111-1111", "378282246310005"], &["4111111111111112", "1"]);
    check("ssn", &["111-11-1111", "111111111", "111 11 1111"], &["999-111111-", "1-11-11111", "1"]);
    check("rgbcolor", &["rgb(100, 200,0)"], &["rgb(256,0,0)", "rgb(1,2)", "rgb(01,2,3)", "red"]);
    check("password", &["anything"], &[]);
    check(
        "duration",
        &["1h30m", "-5s", "3w", "1 day 2 hours", "2 weeks", "10µs"],
        &["", "1", "one", "1 fortnight", "99999999999999w"],
    );
    let week = duration_of("1 week").unwrap();
    assert_eq!(week.as_secs(), 7 * 24 * 3600);
}
