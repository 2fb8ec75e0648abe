use super::*;

fn check(name: &str, validate: fn(&str) -> Vec<String>, good: &[&str], bad: &[&str]) {
    for value in good {
        assert_eq!(validate(value), Vec::<String>::new(), "{name} {value:?}");
    }
    for value in bad {
        assert!(!validate(value).is_empty(), "{name} {value:?}");
    }
}

#[test]
fn formats_take_and_refuse_what_kubernetes_does() {
    let long = "a".repeat(64);
    let long = long.as_str();
    check(
        "label",
        is_dns1123_label,
        &["a", "1", "a-b", "123-abc"],
        &["", "-a", "a-", "A", "a.b", "a_b", "ä", long],
    );
    check(
        "subdomain",
        is_dns1123_subdomain,
        &["a", "a.b", "1.2", long],
        &["", ".", "a.", ".a", "a..b", "a.-b", "A.b", "*.a"],
    );
    check("wildcard", is_wildcard_dns1123_subdomain, &["*.a.b"], &["*", "*.", "a.b", "*.*.b"]);
    check("1035", is_dns1035_label, &["a", "a1", "a-1"], &["", "1a", "a-", "a.b", long]);
    check(
        "qualified",
        is_qualified_name,
        &["a", "A_b.C", "x.y/Z", "1"],
        &["", "/a", "a/", "a/b/c", "-a", "X/a", "a b", long],
    );
    check(
        "value",
        is_valid_label_value,
        &["", "a", "A_b.C", "1"],
        &["-", "a-", "a b", "a/b", long],
    );
    check("identifier", is_c_identifier, &["a", "_1"], &["", "1a", "a-b"]);
    check(
        "port",
        is_valid_port_name,
        &["http", "h-1", "1a"],
        &["", "-a", "a-", "a--b", "12", "HTTP", "sixteen-letters-x"],
    );
    check("ip", is_valid_ip, &["10.0.0.1", "::1"], &["", "10.0.0", "010.0.0.1"]);
    check("percent", is_valid_percent, &["0%", "100%"], &["", "%", "5", "x%"]);
    check(
        "reason",
        is_valid_condition_reason,
        &["A", "a_", "ReasonA:ReasonB"],
        &["", "1", "_a", "a:", "a b"],
    );
    check("env", is_env_var_name, &["A", "a.b", "1 x"], &["", "a=b", "ä"]);
    check("key", is_config_map_key, &["a", ".a", "A_b-c.d"], &["", ".", "..", "..a", "a/b"]);
    check("segment", is_path_segment_name, &["a", "A:b"], &[".", "..", "a/b", "a%b"]);
}

#[test]
fn messages_are_kubernetes_own() {
    let check = |errors: Vec<String>, expected: &str| assert_eq!(errors, [expected]);
    check(
        is_dns1123_subdomain("A"),
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    );
    check(
        is_valid_label_value("a b"),
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    );
    check(is_dns1123_label("a.b"), "must not contain dots");
    check(is_valid_port_num(0), "must be between 1 and 65535, inclusive");
}
