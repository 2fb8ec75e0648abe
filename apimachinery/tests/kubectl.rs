//! Compares YAML and JSONPath with a real kubectl, found through `KUBECTL` or on `PATH`.
//!
//! `kubectl label --local` reads any object of a built-in kind and prints it without a server, which makes it an
//! oracle for both directions. Tables of what kubectl 1.33 said are committed beside the modules; here the question is
//! asked again, with other inputs.

#![allow(clippy::print_stderr, reason = "a test that cannot run must say so")]

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use apimachinery::{jsonpath::JsonPath, yaml};
use serde_json::{Value, json};

fn kubectl() -> Option<PathBuf> {
    let found = std::env::var_os("KUBECTL").map(PathBuf::from).or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|file| file.is_file())
    });
    if found.is_none() {
        eprintln!("\n*** SKIPPED: no kubectl in KUBECTL or on PATH, nothing was compared ***\n");
    }
    found
}

/// Runs kubectl on an object and gives what it prints, or its error.
fn label(kubectl: &PathBuf, input: &str, output: &str) -> Result<String, String> {
    let mut child = Command::new(kubectl)
        .args(["label", "--local", "-f", "-", "a=b", "-o", output])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(input.as_bytes()).expect("kubectl reads its input");
    drop(stdin);
    let out = child.wait_with_output().expect("kubectl ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("kubectl prints UTF-8");
    if out.status.success() { Ok(text(out.stdout)) } else { Err(text(out.stderr)) }
}

fn config_map(data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "x", "labels": {"a": "b"}}, "data": data,
    })
}

/// A small generator of pseudo-random numbers, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn text(&mut self, parts: &[&str], most: usize) -> String {
        (0..self.below(most)).map(|_| parts[self.below(parts.len())]).collect()
    }
}

#[test]
fn printed_yaml_is_kubectls() {
    let Some(kubectl) = kubectl() else { return };
    let mut random = Random(1);
    let parts = [
        " ",
        "  ",
        ":",
        "#",
        "-",
        "'",
        "\"",
        "\n",
        "\t",
        ",",
        "[",
        "]",
        "{",
        "}",
        "&",
        "*",
        "!",
        "|",
        ">",
        "%",
        "@",
        "`",
        "?",
        "a",
        "b",
        "1",
        "0",
        ".",
        "_",
        "e",
        "~",
        "\\",
        "é",
        "😀",
        "word ",
        "true",
        "null",
        "longer word ",
    ];
    let texts: Vec<String> = (0..400).map(|i| random.text(&parts, 6 + i / 8)).collect();
    let object =
        config_map(&json!({"list": texts, "map": texts.iter().zip(0..).collect::<Vec<_>>()}));
    let printed = label(&kubectl, &object.to_string(), "yaml").unwrap();
    assert_eq!(yaml::emit(&object), printed);
    assert_eq!(yaml::read(&printed, "kubectl").unwrap()[0].value, object);
    for text in texts {
        // Keys: each alone, since kubectl's order is compared elsewhere. A plain `<<` key would be a merge.
        if text != "<<" {
            let object = config_map(&json!({text: 1}));
            assert_eq!(yaml::read(&yaml::emit(&object), "own").unwrap()[0].value, object);
        }
    }
}

#[test]
fn scalars_are_read_as_kubectl_reads_them() {
    let Some(kubectl) = kubectl() else { return };
    let mut random = Random(2);
    let parts = [
        "0", "1", "7", "9", "-", "+", ".", "_", "e", "E", "x", "o", "b", "0x", "T", "2001", "-12",
        "f",
    ];
    let mut text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {a: b}}\ndata:\n".to_owned();
    for i in 0..400 {
        let scalar = random.text(&parts, 7);
        let scalar = if scalar == "-" { "" } else { &scalar };
        text.push_str(&format!("  k{i}: {scalar}\n"));
    }
    let theirs: Value = serde_json::from_str(&label(&kubectl, &text, "json").unwrap()).unwrap();
    let ours = yaml::read(&text, "own").unwrap().remove(0).value;
    for (key, value) in theirs["data"].as_object().unwrap() {
        let same = match (value.as_f64(), ours["data"][key].as_f64()) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => *value == ours["data"][key],
        };
        let line = text.lines().find(|l| l.starts_with(&format!("  {key}: ")));
        assert!(same, "{line:?}: {} instead of {value}", ours["data"][key]);
    }
}

#[test]
fn jsonpath_prints_what_kubectl_prints() {
    let Some(kubectl) = kubectl() else { return };
    let mut random = Random(3);
    // Maps are left out of `*` and `..`, since kubectl's order is random there.
    let object = config_map(&json!({
        "l": [1, 2.5, "x", true, null, [7], {"l": [3]}], "s": "te<t", "n": 5,
        "i": [{"n": "a", "v": 1}, {"n": "b", "v": 2, "l": [1, 2]}, {"n": "c", "v": -3}],
    }));
    let steps = [
        ".data",
        ".l",
        ".i",
        ".n",
        ".v",
        ".s",
        "[0]",
        "[-1]",
        "[*]",
        "[1:]",
        "[:2]",
        "[::2]",
        "[0,1]",
        "[5]",
        "[x]",
        "[?(@.n==\"b\")]",
        "[?(@.v>1)]",
        "[?(@.l)]",
        "[?(@.n!=\"a\")]",
        "[?(@.v<=1)]",
        "['n','v']",
        ".kind",
        " ",
        "@",
        "..v",
        "}{",
        "}-{",
        "}{\"\\n\"}{",
        "}{range .data.i[*]}{",
        "}{end}{",
        "\"t\"",
        "3",
    ];
    for _ in 0..120 {
        let template = format!("{{.data{}}}", random.text(&steps, 7));
        let opened = template.matches("{range").count();
        if opened > template.matches("{end}").count() {
            continue;
        }
        let theirs = label(&kubectl, &object.to_string(), &format!("jsonpath={template}"));
        let ours = JsonPath::parse(&template).and_then(|path| path.execute(&object));
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{template}"),
            (Err(ours), Err(theirs)) => {
                assert!(theirs.contains(&ours.to_string()), "{template}: {ours}\n{theirs}");
            }
            (ours, theirs) => panic!("{template}: {ours:?}\n{theirs:?}"),
        }
    }
}
