//! YAML as kubectl reads it: each document of a table goes through `create --dry-run=client` and `--dry-run=server` of
//! kubectl and of kubectl-mini, and what both print must be the same.
//!
//! The values stand in an object of a defined kind that takes anything, so that what becomes of them can be seen. A quick
//! run takes the newest kubectl; `KUBE_MINI_LONG` every version that is found.

use tests::{Component, TestCluster};

use super::{
    alike::{Call, Comparison, Normaliser, Programs, kubectls_or_notice, run, text},
    support::size,
};

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: anys.yaml.example}
spec:
  group: yaml.example
  scope: Namespaced
  names: {plural: anys, singular: any, kind: Any, listKind: AnyList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"#;

/// Values of `spec`, as lines below it.
const VALUES: &[(&str, &str)] = &[
    ("octal", "a: 0644\nb: \"0644\"\nc: 0o644\nd: '0644'\ne: 08\nf: 0\ng: -0644\nh: 00\n"),
    ("other bases", "a: 0x1F\nb: 0b101\nc: 1_000\nd: 0x_1\ne: 0b2\nf: -0x1F\n"),
    (
        "booleans",
        "a: yes\nb: on\nc: no\nd: off\ne: y\nf: n\ng: True\nh: TRUE\ni: tRue\nj: Yes\nk: \"yes\"\nl: ON\n",
    ),
    (
        "floats",
        "a: 1e3\nb: 1.0\nc: 1.50\nd: .5\ne: 1e-7\nf: 1E400\ng: -1.5e+10\nh: 123456789012345678\ni: 1e21\nj: 0.1\n",
    ),
    (
        "big numbers",
        "a: 9223372036854775807\nb: 9223372036854775808\nc: 18446744073709551616\nd: -9223372036854775808\n",
    ),
    ("nulls", "a: ~\nb: null\nc:\nd: Null\ne: NULL\nf: nULL\ng: \"\"\nh: \"~\"\n"),
    (
        "times",
        "a: 2001-12-14\nb: 2001-12-14t21:59:43.10-05:00\nc: 2001-12-14 21:59:43.10 -5\nd: 12:30:45\ne: 1:30\n",
    ),
    ("anchors", "a: &x {b: 1, c: [1, 2]}\nd: *x\ne: [*x, &y text, *y]\n"),
    (
        "merge",
        "base: &b {x: 1, y: 2}\na: {<<: *b, y: 3}\nc:\n  <<: *b\n  z: 4\nd: {y: 5, <<: *b}\n",
    ),
    ("merge of several", "p: &p {x: 1}\nq: &q {x: 2, y: 2}\na: {<<: [*p, *q], z: 3}\n"),
    ("merge of a text", "a: {<<: text}\n"),
    ("repeated keys", "a: 1\nb: 2\na: 3\n"),
    ("repeated keys below", "m: {x: 1, x: 2}\nl: [{a: 1, \"a\": 2}]\n"),
    ("repeated numbers as keys", "1: a\n\"1\": b\n"),
    ("keys that are no text", "1: a\ntrue: b\n1.5: c\n0x10: d\nyes: e\n-3: f\n"),
    ("a null as a key", "~: a\n"),
    ("a list as a key", "[a, b]: c\n"),
    ("a time as a key", "2001-12-14: a\n"),
    (
        "texts in blocks",
        "a: |\n  one\n   two\n\nb: >\n  one\n  two\n\n  three\nc: |-\n  no end\nd: |+\n  all\n\n\ne: >-\n  x\n  y\n",
    ),
    ("a block with an indent", "a: |2\n    two\n  none\nb: |1-\n  x\n"),
    (
        "quotes",
        "a: 'it''s'\nb: \"tab\\tnew\\nline \\u00e9 \\x41 \\\\\"\nc: \"two\n  lines\"\nd: 'two\n\n  lines'\n",
    ),
    ("wrong escape", "a: \"\\q\"\n"),
    (
        "plain texts",
        "a: one two\nb: a:b\nc: a#b\nd: a #comment\ne: -x\nf: ?x\ng: x, y\nh: http://x/y?z\ni: '@x'\n",
    ),
    ("reserved", "a: @x\n"),
    ("a percent sign", "a: %x\n"),
    ("words", "a: .nan\nb: .inf\nc: -.INF\n"),
    ("not a number", "a: .inf\n"),
    (
        "tags",
        "a: !!str 123\nb: !!int \"7\"\nc: !!float 3\nd: !!bool \"true\"\ne: !local x\nf: !!null ''\n",
    ),
    ("binary", "a: !!binary aGVsbG8=\n"),
    ("a tab before a key", "a:\n\tb: 1\n"),
    ("a tab behind a key", "a:\t1\nb: \tx\t\n"),
    ("flow over lines", "a: {b: 1,\n  c: [1,\n  2,\n  ], }\nd: [\n]\n"),
    ("comments", "# first\na: 1 # behind\n# between\nb: '#no'\n"),
    ("unicode", "a: héllo\nb: \"\\U0001F600\"\nc: 日本\nd: 😀\n"),
    ("empty collections", "a: {}\nb: []\nc: [[], {}]\nd: [~]\n"),
    ("a list below its key", "a:\n- 1\n- b: 2\n  c: 3\n-\n  - 4\n"),
    ("wrong indentation", "a: 1\n b: 2\n"),
    ("a colon too many", "a: b: c\n"),
    ("an open quote", "a: \"b\n"),
    ("an open list", "a: [1, 2\n"),
    ("an unknown anchor", "a: *nobody\n"),
    (
        "text that looks like others",
        "a: '1e3'\nb: \"null\"\nc: 'yes'\nd: \"0x1\"\ne: '1.0'\nf: \"2001-12-14\"\ng: '~'\nh: '='\ni: '<<'\n",
    ),
    ("question marks", "? a\n: 1\n? b\n"),
];

/// What both programs refuse, each in its own words; and what kubectl prints of before it comes to the wrong document.
const OTHER_WORDS: &[&str] = &[
    "a list as a key",
    "a null as a key",
    "a wrong second document",
    "an open list",
    "merge of a text",
    "not a number",
    "words",
    "wrong escape",
];

/// What differs on purpose, as FIDELITY.md tells: kubectl draws one of keys that are the same but for their type at
/// random, and cuts a stream at separators before it looks for directives.
const DIFFERENT: &[&str] = &["a directive", "repeated numbers as keys"];

/// A long line, and many.
fn long_values() -> Vec<(&'static str, String)> {
    vec![
        ("a very long line", format!("a: {}\n", "x".repeat(30_000))),
        ("long words", format!("a: {}\n", "word ".repeat(200).trim_end())),
        ("many lines", (0..500).map(|n| format!("k{n}: {n}\n")).collect()),
        ("a deep nest", format!("a: {}1{}\n", "[".repeat(50), "]".repeat(50))),
    ]
}

fn document(name: &str, values: &str) -> String {
    let body: String = values.lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: yaml.example/v1\nkind: Any\nmetadata:\n  name: {name}\nspec:\n{body}")
}

/// Whole streams.
fn streams() -> Vec<(&'static str, String)> {
    let (a, b) = (&document("a", "x: 1"), &document("b", "x: 2"));
    let json = |name: &str| {
        format!(
            r#"{{"apiVersion": "yaml.example/v1", "kind": "Any", "metadata": {{"name": "{name}"}}, "spec": {{"x": 1.0, "y": 1e3, "z": "\u00e9"}}}}"#
        )
    };
    vec![
        ("two documents", format!("{a}---\n{b}")),
        ("separators around", format!("---\n{a}---\n---\n{b}---\n")),
        ("a separator with a comment", format!("--- # one\n{a}--- # two\n{b}")),
        ("a document's end", format!("{a}...\n---\n{b}...\n")),
        ("a directive", format!("%YAML 1.1\n---\n{a}")),
        ("a byte order mark", format!("\u{feff}{a}")),
        ("carriage returns", a.replace('\n', "\r\n")),
        ("carriage returns and separators", format!("{a}---\n{b}").replace('\n', "\r\n")),
        ("empty documents", "---\n---\n".to_owned()),
        ("nothing", String::new()),
        ("blanks", "  \n\n".to_owned()),
        ("comments alone", "# one\n# two\n".to_owned()),
        ("comments in documents", format!("# one\n---\n# two\n{a}---\n# three\n")),
        ("json", json("a")),
        ("two of json", format!("{}\n{}", json("a"), json("b"))),
        ("json with separators", format!("{}\n---\n{}\n", json("a"), json("b"))),
        ("json behind a separator", format!("---\n{}\n", json("a"))),
        ("json and yaml", format!("{}\n---\n{b}", json("a"))),
        ("json with a key twice", r#"{"apiVersion": "yaml.example/v1", "kind": "Any", "metadata": {"name": "a"}, "spec": {"x": 1, "x": 2}}"#.to_owned()),
        ("broken json", r#"{"apiVersion": "yaml.example/v1", "kind": "Any", "metadata": {"name": "a"}, "spec": {"x": }}"#.to_owned()),
        ("a list", format!("apiVersion: v1\nkind: List\nitems:\n- {}\n- {}\n", json("a"), json("b"))),
        ("text alone", "hello\n".to_owned()),
        ("a list alone", "- a\n- b\n".to_owned()),
        ("a number alone", "42\n".to_owned()),
        ("without a kind", "apiVersion: v1\nmetadata: {name: a}\n".to_owned()),
        ("without a version", "kind: Any\nmetadata: {name: a}\n".to_owned()),
        ("no name", "apiVersion: yaml.example/v1\nkind: Any\nmetadata: {}\n".to_owned()),
        ("a number as a name", "apiVersion: yaml.example/v1\nkind: Any\nmetadata: {name: 123}\n".to_owned()),
        ("a wrong second document", format!("{a}---\na: b: c\n")),
        ("an octal mode", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{name: c, image: i}]\n  volumes: [{name: v, secret: {secretName: s, defaultMode: 0644}}, {name: w, secret: {secretName: s, defaultMode: \"0644\"}}]\n".to_owned()),
        ("a mode", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{name: c, image: i}]\n  volumes: [{name: v, secret: {secretName: s, defaultMode: 0400}}]\n".to_owned()),
        ("texts that are none", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: yes, b: 1e3}\n".to_owned()),
        ("labels that are no text", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {a: 1}}\n".to_owned()),
        ("a key twice in a built-in", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: x, a: z}\n".to_owned()),
    ]
}

fn table() -> Vec<(String, String)> {
    let values = VALUES.iter().map(|(name, values)| (*name, document("a", values)));
    let long = long_values().into_iter().map(|(name, values)| (name, document("a", &values)));
    let all = values.chain(long).chain(streams());
    all.map(|(name, text)| (name.to_owned(), text)).collect()
}

#[tokio::test]
async fn yaml_is_read_as_kubectl_reads_it() {
    let Some(kubectls) = kubectls_or_notice() else { return };
    let cluster = TestCluster::builder().nodes(0).do_not_wait().start().await.unwrap();
    for component in [Component::ControllerManager, Component::Scheduler] {
        cluster.stop(component).await.unwrap();
    }
    cluster.apply(DEFINITION).await.unwrap();
    let skipped = if size(0, 1) == 1 { 0 } else { kubectls.len().saturating_sub(1) };
    let rules = Normaliser::new(&[]);
    let mut comparison = Comparison::default();
    for kubectl in &kubectls[skipped..] {
        let home = tempfile::tempdir().unwrap();
        let programs = Programs::new(kubectl, home.path());
        let kubeconfig = home.path().join("config");
        std::fs::copy(cluster.kubeconfig(), &kubeconfig).unwrap();
        for (name, document) in table() {
            for mode in ["--dry-run=client", "--dry-run=server"] {
                let words = ["create", "-f", "-", mode, "-o", "yaml"].map(str::to_owned);
                let call = Call {
                    words: &words,
                    stdin: &document,
                    folder: home.path(),
                    kubeconfig: &kubeconfig,
                    editor: "",
                };
                if DIFFERENT.contains(&name.as_str()) {
                    continue;
                }
                let (expected, got) = (run(&programs.kubectl, &call), run(&programs.mini, &call));
                let (mut expected, mut got) = (text(&expected), text(&got));
                if OTHER_WORDS.contains(&name.as_str()) {
                    for answer in [&mut expected, &mut got] {
                        *answer = answer.lines().last().unwrap_or_default().to_owned();
                    }
                }
                let told = format!("{name} ({mode}, {})", kubectl.display());
                comparison.note(&told, &expected, &got, &rules);
            }
        }
    }
    comparison.finish(2 * VALUES.len());
}
