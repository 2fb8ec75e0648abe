use serde_json::json;

use super::*;

fn object() -> Value {
    json!({
        "kind": "Pod", "null": null, "big": 1_000_000, "replicas": 3, "half": 0.5, "on": true,
        "metadata": { "name": "web", "labels": { "b": "2", "a": "1" } },
        "items": [{ "n": "x" }, { "n": "y" }],
    })
}

fn check(template: &str, expected: &str) {
    let parsed = Template::parse(template, true).unwrap();
    assert_eq!(parsed.print(&object()).unwrap(), expected, "{template}");
}

#[test]
fn fields_print() {
    check("{{.kind}} {{ .metadata.name }}\n", "Pod web\n");
    check("{{.nope}} {{.nope.more}} {{.null}}", "<no value> <no value> <no value>");
    check("{{.replicas}} {{.big}} {{.half}} {{.on}}", "3 1000000 0.5 true");
    check("{{.metadata}}", "map[labels:map[a:1 b:2] name:web]");
    check("{{.items}}", "[map[n:x] map[n:y]]");
    check("a {{- /* gone */ -}} b{{/* and this */}}", "ab");
    check("a {{- .kind -}} b", "aPodb");
}

#[test]
fn control_flows() {
    check("{{range .items}}{{.n}},{{end}}", "x,y,");
    check("{{range $i, $e := .items}}{{$i}}={{$e.n}} {{end}}", "0=x 1=y ");
    check("{{range $k, $v := .metadata.labels}}{{$k}}{{$v}}{{end}}", "a1b2");
    check("{{range .nope}}x{{else}}none{{end}}", "none");
    check("{{range .items}}{{if eq .n \"y\"}}{{break}}{{end}}{{.n}}{{end}}", "x");
    check("{{range .items}}{{if eq .n \"x\"}}{{continue}}{{end}}{{.n}}{{end}}", "y");
    check("{{if .nope}}a{{else if .on}}b{{else}}c{{end}}", "b");
    check("{{with .metadata}}{{.name}}{{$.kind}}{{end}}", "webPod");
    check("{{$x := .kind}}{{if .on}}{{$x = \"new\"}}{{end}}{{$x}}", "new");
    check("{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .kind}}", "<Pod>");
}

#[test]
fn functions_are_gos() {
    check("{{len .items}} {{index .items 1}} {{index .metadata \"name\"}}", "2 map[n:y] web");
    check("{{(index .items 0).n}}", "x");
    check(
        "{{eq .kind \"Pod\"}} {{ne .kind \"Pod\"}} {{eq .kind \"a\" \"Pod\"}}",
        "true false true",
    );
    check("{{eq .replicas 3}} {{lt .half 1.0}} {{printf \"%d\" .replicas}}", "true true 3");
    check("{{eq .null nil}} {{eq .kind nil}}", "true false");
    check("{{and .on .kind}} {{or .nope .kind}} {{not .nope}}", "Pod Pod true");
    check(
        "{{printf \"%s-%v %5s|%-5s|%q %.2f %d%%\" .kind .replicas \"a\" \"b\" \"c\" .half 7}}",
        "Pod-3     a|b    |\"c\" 0.50 7%",
    );
    check("{{print 1 2 \"a\" 3}} {{println \"a\" 1}}", "1 2a3 a 1\n");
    check("{{.kind | printf \"%s!\"}}", "Pod!");
    check(
        "{{\"aGk=\" | base64decode}} {{exists .metadata \"name\"}} {{exists . \"x\"}}",
        "hi true false",
    );
    check("{{html \"<a>\"}} {{urlquery \"a b\"}} {{slice \"abc\" 1 2}}", "&lt;a&gt; a+b b");
}

#[test]
fn templates_that_cannot_be_read_are_refused() {
    let check = |template: &str, expected: &str| {
        let error = Template::parse(template, true).unwrap_err();
        let expected = format!("error parsing template {template}, template: output:{expected}\n");
        assert_eq!(error.to_string(), expected);
    };
    check("{{.a", "1: unclosed action");
    check("a\n{{foo}}", "2: function \"foo\" not defined");
    check("{{if .a}}x", "1: unexpected EOF");
    check("{{end}}", "1: unexpected {{end}}");
    check("{{\"a}}", "1: unterminated quoted string");
    check("{{call .a}}", "1: function \"call\" not defined");
    check("{{break}}", "1: {{break}} outside {{range}}");
    check("{{}}", "1: missing value for command");
}

#[test]
fn failures_tell_their_place() {
    let check = |template: &str, strict: bool, expected: &str| {
        let parsed = Template::parse(template, !strict).unwrap();
        let (out, error) = parsed.print(&object()).unwrap_err();
        let expected = format!("template: output:{expected}");
        assert_eq!(
            error.to_string(),
            format!("error executing template {}: {expected}", go_quote(template))
        );
        assert!(out.contains(&format!("Error executing template: {expected}. Printing")), "{out}");
    };
    check(
        "{{.kind.x}}",
        false,
        "1:7: executing \"output\" at <.kind.x>: can't evaluate field x in type interface {}",
    );
    check(
        "{{.null.x}}",
        false,
        "1:7: executing \"output\" at <.null.x>: nil pointer evaluating interface {}.x",
    );
    check(
        "{{.nope}}",
        true,
        "1:2: executing \"output\" at <.nope>: map has no entry for key \"nope\"",
    );
    check(
        "{{eq .replicas 3.0}}",
        false,
        "1:2: executing \"output\" at <eq .replicas 3.0>: error calling eq: incompatible types for comparison",
    );
    check(
        "{{index .items 5}}",
        false,
        "1:2: executing \"output\" at <index .items 5>: error calling index: index out of range: 5",
    );
}
