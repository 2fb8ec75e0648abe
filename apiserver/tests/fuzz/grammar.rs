//! Sentences of the small languages that a request carries, mostly right.

use apimachinery::yaml as emitter;
use serde_json::{Value, json};

use super::{mutate::TEXTS, random::Random};

const PARAMETERS: &[&str] = &[
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "watch",
    "timeout",
    "timeoutSeconds",
    "sendInitialEvents",
    "allowWatchBookmarks",
    "fieldManager",
    "fieldValidation",
    "dryRun",
    "force",
    "gracePeriodSeconds",
    "propagationPolicy",
    "orphanDependents",
    "includeObject",
    "pretty",
    "container",
    "tailLines",
    "command",
    "ports",
    "follow",
    "sinceTime",
    "verbose",
    "exclude",
    "shardSelector",
    "",
];

/// Some query.
pub(crate) fn query(random: &mut Random) -> String {
    let mut parameters = Vec::new();
    for _ in 0..=random.below(4) {
        let name = random.pick(PARAMETERS);
        let value = match name {
            "labelSelector" => selector(random),
            "fieldSelector" => fields(random),
            "resourceVersionMatch" => (random.pick(&["Exact", "NotOlderThan", "", "x"])).to_owned(),
            "continue" => (random.pick(&[
                "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhXHUwMDAwIn0",
                "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiLi4vLi4vIn0",
                "AAAA",
                "===",
                "e30",
            ]))
            .to_owned(),
            "dryRun" => (random.pick(&["All", "", "x"])).to_owned(),
            "fieldValidation" => (random.pick(&["Strict", "Warn", "Ignore", "x"])).to_owned(),
            // A real watch would only be waited for.
            "timeoutSeconds" => "1".to_owned(),
            "timeout" => (random.pick(&["1s", "0", "-1s", "1", "9h", "x", "1e9s", "99999999999h"]))
                .to_owned(),
            "limit" | "resourceVersion" => {
                (random.pick(&["0", "1", "2", "-1", "99999999999999999999", "x", "500"])).to_owned()
            }
            _ => (random.pick(TEXTS)).to_owned(),
        };
        parameters.push(format!("{name}={}", encode(random, &value)));
    }
    parameters.join(random.pick(&["&", "&", "&", "&&", ";"]))
}

/// Percent-encodes, mostly.
fn encode(random: &mut Random, text: &str) -> String {
    if random.one_in(15) {
        return text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    }
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    if random.one_in(20) {
        out.push_str(random.pick(&["%", "%zz", "%ff", "%c0%80", "+"]));
    }
    out
}

fn selector(random: &mut Random) -> String {
    let tokens = [
        "a", "app", "b", "=", "==", "!=", " in ", " notin ", "(", ")", ",", "!", "x/y", ">", "<",
        "5", " ",
    ];
    if random.one_in(3) {
        return (0..random.below(12)).map(|_| random.pick(&tokens)).collect();
    }
    let terms = [
        "a=b",
        "app in (a,b)",
        "!x",
        "x/y notin (z)",
        "n>5",
        "a",
        "a!=b",
        "a in ()",
        "a in (,)",
        "a=",
        "-a=b",
    ];
    let terms: Vec<_> = (0..=random.below(5)).map(|_| random.pick(&terms)).collect();
    terms.join(",")
}

fn fields(random: &mut Random) -> String {
    let terms = [
        "metadata.name=a",
        "metadata.namespace!=x",
        "spec.nodeName=",
        "status.phase=Running",
        "spec.s=abc",
        "type=Opaque",
        "involvedObject.kind=Pod",
        "x=y",
        "metadata.name",
        "=",
        "a\\,b=c",
        "a\\=b=c",
        "spec.s=a\\",
        "metadata.name==a",
    ];
    let terms: Vec<_> = (0..=random.below(3)).map(|_| random.pick(&terms)).collect();
    terms.join(",")
}

/// Tricks with the segments of a path.
pub(crate) fn path(random: &mut Random, target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut segments: Vec<String> = path.split('/').map(ToOwned::to_owned).collect();
    let tricks = [
        "",
        ".",
        "..",
        "%2e",
        "%2e%2e",
        "%2E%2E%2F",
        "%2f",
        "a%2fb",
        "%00",
        "%",
        "%zz",
        "%c0%ae",
        "%ff",
        "a%20b",
        "a b",
        "*",
        "metadata",
        "namespaces",
        "status",
        "a:b",
        "..;",
        "%252e",
        "watch",
        "proxy",
        "é",
    ];
    for _ in 0..=random.below(3) {
        let at = random.below(segments.len() + 1);
        match random.below(3) {
            0 if at < segments.len() => segments[at] = (random.pick(&tricks)).to_owned(),
            1 if at < segments.len() => drop(segments.remove(at)),
            _ => segments.insert(at, (random.pick(&tricks)).to_owned()),
        }
    }
    if random.one_in(30) {
        segments.push("x".repeat(random.below(40_000)));
    }
    let mut path = segments.join("/");
    if !path.starts_with('/') && !random.one_in(10) {
        path.insert(0, '/');
    }
    path = path.replace(' ', "%20");
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// A JSON patch of an object.
pub(crate) fn json_patch(random: &mut Random, object: &Value) -> Value {
    let operations = ["add", "remove", "replace", "move", "copy", "test", "x", ""];
    let count = if random.one_in(50) { 10_001 } else { random.below(6) };
    let make = |random: &mut Random| {
        let mut operation =
            json!({"op": random.pick(&operations), "path": pointer(random, object)});
        if !random.one_in(6) {
            operation["value"] = (random.pick(TEXTS)).into();
        }
        if random.one_in(3) {
            operation["from"] = pointer(random, object).into();
        }
        operation
    };
    (0..count).map(|_| make(random)).collect()
}

fn pointer(random: &mut Random, object: &Value) -> String {
    let mut pointer = String::new();
    let mut value = object;
    for _ in 0..random.below(6) {
        let (step, next) = match value {
            Value::Object(map) if !map.is_empty() => {
                let (key, next) = map.iter().nth(random.below(map.len())).unwrap();
                (key.replace('~', "~0").replace('/', "~1"), next)
            }
            Value::Array(list) if !list.is_empty() => {
                let at = random.below(list.len());
                (at.to_string(), &list[at])
            }
            _ => break,
        };
        pointer = format!("{pointer}/{step}");
        value = next;
    }
    if random.one_in(4) {
        pointer.push_str(random.pick(&[
            "/-",
            "/99999999999999999999",
            "/-1",
            "/~2",
            "/~",
            "//",
            "x",
            "/01",
            "/a",
        ]));
    }
    pointer
}

/// YAML with what JSON does not have.
pub(crate) fn yaml(random: &mut Random, object: &Value) -> String {
    let text = emitter::emit(object);
    let extra = random.pick(&[
        "a: &a [x]\nb: *a\n",
        "a: &a {b: *a}\n",
        "<<: {x: y}\n",
        "? [a, b]\n: c\n",
        "a: !!binary AA==\n",
        "a: !!set {x}\n",
        "a: 0o17\n",
        "a: 1_000\n",
        "a: .inf\n",
        "a: 2001-01-01\n",
        "\ta: b\n",
        "a: |\n  x\n y\n",
        "---\na: b\n",
        "%YAML 9.9\n---\n",
        "a: *b\n",
        "{a: b}: c\n",
        "a: 'x\n",
        "a: \"\\xff\"\n",
        "- x\n",
        "a: &x [&y [*x, *y], *x]\n",
    ]);
    match random.below(4) {
        0 => format!("{extra}{text}"),
        1 => format!("{text}{extra}"),
        2 => {
            // Aliases of aliases: small in the file, endless outside of it.
            let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
            for level in 1..=random.below(12) {
                let last = format!("*a{},", level - 1).repeat(9);
                bomb.push_str(&format!("a{level}: &a{level} [{last}]\n"));
            }
            format!("{text}{bomb}")
        }
        _ => text.replacen(": ", random.pick(&[":", ": !!str ", ": &x ", ":\t", ": ? "]), 2),
    }
}

/// An expression of CEL.
pub(crate) fn cel(random: &mut Random, depth: usize) -> String {
    let leaves = [
        "self",
        "oldSelf",
        "self.n",
        "self.s",
        "self.l",
        "self.m",
        "1",
        "-9223372036854775808",
        "9223372036854775807",
        "0.5",
        "1u",
        "'a'",
        "b'x'",
        "true",
        "null",
        "[]",
        "{}",
        "x",
        "self.spec",
        "1e308",
        "''",
        "type(self)",
        "duration('1h')",
        "timestamp('2026-01-01T00:00:00Z')",
    ];
    if depth > 5 || random.one_in(3) {
        return (random.pick(&leaves)).to_owned();
    }
    let inner = |random: &mut Random| cel(random, depth + 1);
    match random.below(14) {
        0 => {
            let operator = random.pick(&[
                "+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", " in ", "=", "^",
            ]);
            format!("{}{operator}{}", inner(random), inner(random))
        }
        1 => format!("({} ? {} : {})", inner(random), inner(random), inner(random)),
        2 => {
            let comprehension = random.pick(&["all", "exists", "exists_one", "filter", "map"]);
            format!("{}.{comprehension}(x, {})", inner(random), inner(random))
        }
        3 => format!("[{}, {}]", inner(random), inner(random)),
        4 => format!("{{{}: {}}}", inner(random), inner(random)),
        5 => format!("{}[{}]", inner(random), inner(random)),
        6 => format!(
            "{}.matches('{}')",
            inner(random),
            random.pick(&["(a+)+$", "[", "a{1000}{1000}", "^.*$", "\\\\d"])
        ),
        7 => {
            let function = random.pick(&[
                "size", "string", "int", "double", "uint", "dyn", "quantity", "url", "ip", "cidr",
                "has", "!", "-", "f", "semver", "bytes", "cel.bind",
            ]);
            format!("{function}({})", inner(random))
        }
        8 => {
            let method = random.pick(&[
                "size()",
                "startsWith('a')",
                "split('')",
                "replace('', 'xx')",
                "substring(-1)",
                "charAt(99)",
                "sum()",
                "sort()",
                "isSorted()",
                "indexOf('')",
                "join()",
                "lowerAscii()",
                "find('a')",
                "findAll('a*', -1)",
                "orValue(1)",
                "format([1])",
                "getHours('Nowhere')",
                "flatten()",
                "reverse()",
            ]);
            format!("{}.{method}", inner(random))
        }
        9 => format!("{}.?x.orValue({})", inner(random), inner(random)),
        10 => format!("!{}", inner(random)),
        11 => "(".repeat(random.below(300)) + &inner(random),
        12 => format!(
            "'%{}'.format([{}])",
            random.pick(&["s", "d", "x", "f", ".99999f", "e", "q"]),
            inner(random)
        ),
        _ => format!("{} // {}", inner(random), inner(random)),
    }
}

/// A text with a piece of another.
pub(crate) fn splice(random: &mut Random, text: &str) -> String {
    let mut at = random.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    format!("{}{}{}", &text[..at], random.pick(TEXTS), &text[at..])
}

/// A body of protobuf: the envelope, and a message that looks like an object's.
pub(crate) fn protobuf(random: &mut Random, object: &Value) -> Vec<u8> {
    let text = |value: &Value| value.as_str().unwrap_or("").as_bytes().to_owned();
    let kind = [field(1, &text(&object["apiVersion"])), field(2, &text(&object["kind"]))].concat();
    let metadata = field(1, &text(&object["metadata"]["name"]));
    let mut message = field(1, &metadata);
    message.extend(noise(random, 0));
    let mut body = b"k8s\0".to_vec();
    body.extend(field(1, &kind));
    body.extend(field(2, &message));
    body
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 127 {
        out.push((length & 127) as u8 | 128);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

/// Fields of any number and type, nested.
fn noise(random: &mut Random, depth: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..random.below(6) {
        let number = random.below(31) as u8;
        match random.below(6) {
            0 => out.extend([number << 3, random.next() as u8 & 127]),
            1 => out.extend([number << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8]),
            2 => out.extend([number << 3 | 5, 1, 2, 3, 4]),
            3 => out.extend(field(number, random.pick(TEXTS).as_bytes())),
            4 if random.one_in(3) => {
                let deep =
                    (0..random.below(3_000)).fold(Vec::new(), |inner, _| field(number, &inner));
                out.extend(deep);
            }
            _ if depth < 8 => out.extend(field(number, &noise(random, depth + 1))),
            _ => out.push(random.next() as u8),
        }
    }
    out
}
