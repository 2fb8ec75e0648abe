//! What an enemy makes of a request.

use apimachinery::yaml;
use serde_json::{Map, Value, json};

use super::{
    corpus::{KINDS, OTHERS},
    grammar,
    random::Random,
    wire::Request,
};

/// Texts that somebody may not have thought of.
pub(crate) const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "A",
    ".",
    "..",
    "/",
    "//",
    "\u{0}",
    "a\u{0}b",
    "\n",
    "\r\nX: y",
    "%00",
    "%2e%2e",
    "%2F",
    "-1",
    "0",
    "null",
    "true",
    "~",
    "{}",
    "[]",
    "é",
    "\u{202e}",
    "\u{feff}",
    "𝕏",
    "ﷺ",
    "\u{e000}",
    "\\",
    "\"",
    "'",
    "`",
    "$(A)",
    "${",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "1e999",
    "0x10",
    "1_000",
    "+5",
    "NaN",
    "1Ei",
    "1e1000000000",
    "0.1n",
    "-1m",
    "2026-13-45T99:99:99Z",
    "0000-00-00T00:00:00Z",
    "10.0.0.0/33",
    "::1",
    "1.2.3",
    "999.1.1.1",
    "fe80::1%eth0",
    "a=b",
    "!a",
    "a in (b",
    "*",
    "**",
    "*.*",
    "(a+)+$",
    "[",
    "\\p{L}",
    "(?P<",
    "metadata.name",
    "system:masters",
    "default",
    "fuzz",
    "a/b/c",
    "example.com/",
    "/x",
    "25%",
    "101%",
    "-5%",
    "All",
    "Foreground",
];

/// Numbers, as text: some of them no library writes.
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "1",
    "-1",
    "0.5",
    "1.0",
    "1e2",
    "1e400",
    "-1e400",
    "1E-400",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "123456789012345678901234567890",
    "01",
    "1.",
    ".5",
    "+1",
    "0x1",
    "1e",
    "Infinity",
    "NaN",
];

const METHODS: &[&str] =
    &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "get", "FOO", "CONNECT"];

const TYPES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
    "application/cbor",
    "text/plain",
    "",
    "application/json; charset=utf-16",
    "*/*",
    ";",
    "application/grpc",
];

const ACCEPTS: &[&str] = &[
    "application/json",
    "application/yaml",
    "*/*",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/vnd.kubernetes.protobuf",
    "",
    "application/json;q=2,;;=,",
    "application/json;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io",
    "text/html",
];

/// A request: a real one, changed here and there.
pub(crate) fn request(random: &mut Random) -> Request {
    let (mut method, mut target, content_type, mut body) = match random.below(10) {
        0 | 1 => other(random),
        2 | 3 => patch(random),
        4 => protobuf(random),
        5 | 6 => read(random),
        _ => write(random),
    };
    if random.one_in(12) {
        method = (random.pick(METHODS)).to_owned();
    }
    if random.one_in(3) {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(&grammar::query(random));
    }
    if random.one_in(8) {
        target = grammar::path(random, &target);
    }
    if random.one_in(4) {
        scramble(random, &mut body);
    }
    let mut request = Request::new(&method, "", &content_type, &body);
    request.target = target.into_bytes();
    if random.one_in(40) {
        scramble(random, &mut request.target);
    }
    // What would end the line ends our framing, not the server's.
    request.target.retain(|byte| !matches!(byte, b'\r' | b'\n'));
    headers(random, &mut request);
    request
}

fn headers(random: &mut Random, request: &mut Request) {
    if random.one_in(6) {
        request.headers[0].1 = (random.pick(ACCEPTS)).to_owned();
    }
    if random.one_in(20) {
        let name = random.pick(&[
            "Impersonate-User",
            "Impersonate-Group",
            "Impersonate-Extra-x",
            "Authorization",
            "Accept-Encoding",
            "Upgrade",
            "User-Agent",
            "Content-Encoding",
            "If-None-Match",
            "Sec-WebSocket-Protocol",
            "Audit-ID",
            "Expect",
        ]);
        let value = random.pick(TEXTS).replace(['\r', '\n', '\0'], "");
        request.headers.push((name.to_owned(), value));
    }
    if random.one_in(60) {
        request.length = Some(request.body.len() + random.below(10));
    }
}

type Parts = (String, String, String, Vec<u8>);

fn read(random: &mut Random) -> Parts {
    let mut target = random.pick(KINDS).collection.to_owned();
    if random.one_in(3) {
        target.push_str("/a");
    }
    if random.one_in(4) {
        target.push_str("?watch=true&timeoutSeconds=1");
    }
    ("GET".to_owned(), target, String::new(), Vec::new())
}

fn write(random: &mut Random) -> Parts {
    let kind = random.pick(KINDS);
    let mut object: Value = serde_json::from_str(kind.object).unwrap();
    let mut target = kind.collection.to_owned();
    let method = if random.one_in(3) {
        let status = if random.one_in(4) { "/status" } else { "" };
        target
            .push_str(&format!("/{}{status}", object["metadata"]["name"].as_str().unwrap_or("a")));
        "PUT"
    } else {
        if random.one_in(2) {
            // Before the object is changed: it is one yet.
            object["metadata"]["name"] = format!("x{}", random.below(30)).into();
        }
        "POST"
    };
    change(random, &mut object);
    let (content_type, body) = text_of(random, &object);
    (method.to_owned(), target, content_type, body)
}

fn other(random: &mut Random) -> Parts {
    let (method, target, body) = random.pick(OTHERS);
    let Ok(mut object) = serde_json::from_str::<Value>(body) else {
        return (method.to_owned(), target.to_owned(), String::new(), Vec::new());
    };
    change(random, &mut object);
    let (content_type, body) = text_of(random, &object);
    (method.to_owned(), target.to_owned(), content_type, body)
}

fn patch(random: &mut Random) -> Parts {
    let kind = random.pick(KINDS);
    let mut object: Value = serde_json::from_str(kind.object).unwrap();
    let name = object["metadata"]["name"].as_str().unwrap_or("a").to_owned();
    let mut target = format!("{}/{name}", kind.collection);
    if random.one_in(6) {
        target.push_str(random.pick(&["/status", "/scale", "/x", "/ephemeralcontainers"]));
    }
    let (content_type, body) = match random.below(4) {
        0 => ("application/json-patch+json", grammar::json_patch(random, &object).to_string()),
        1 | 2 => {
            directives(random, &mut object);
            change(random, &mut object);
            let kind = random.pick(&TYPES[3..5]);
            (kind, object.to_string())
        }
        _ => {
            target.push_str("?fieldManager=f");
            target.push_str(if random.one_in(2) { "&force=true" } else { "" });
            change(random, &mut object);
            ("application/apply-patch+yaml", yaml::emit(&object))
        }
    };
    ("PATCH".to_owned(), target, content_type.to_owned(), body.into_bytes())
}

/// Strategic merge's own words, where they may or may not belong.
fn directives(random: &mut Random, object: &mut Value) {
    let words = [
        ("$patch", json!("delete")),
        ("$patch", json!("replace")),
        ("$patch", json!("x")),
        ("$retainKeys", json!(["a"])),
        ("$setElementOrder/containers", json!([{"name": "c"}])),
        ("$deleteFromPrimitiveList/finalizers", json!(["a"])),
        ("$setElementOrder/ports", json!([1])),
        ("$patch", json!({})),
    ];
    for _ in 0..random.below(3) {
        let (key, value) = random.pick(&words);
        if let Some(map) = somewhere(random, object).as_object_mut() {
            map.insert(key.to_owned(), value);
        }
    }
}

fn protobuf(random: &mut Random) -> Parts {
    let kind = random.pick(KINDS);
    let object: Value = serde_json::from_str(kind.object).unwrap();
    let body = grammar::protobuf(random, &object);
    let content_type = "application/vnd.kubernetes.protobuf".to_owned();
    ("POST".to_owned(), kind.collection.to_owned(), content_type, body)
}

/// The object as text: JSON, or YAML, with what no value can hold.
fn text_of(random: &mut Random, object: &Value) -> (String, Vec<u8>) {
    let json = object.to_string();
    match random.below(8) {
        0 => ("application/yaml".to_owned(), yaml::emit(object).into_bytes()),
        1 => ("application/yaml".to_owned(), grammar::yaml(random, object).into_bytes()),
        2 => {
            // A number that JSON has and no machine has.
            let text = json.replacen(":5", &format!(":{}", random.pick(NUMBERS)), 1);
            let text = text.replacen(":80", &format!(":{}", random.pick(NUMBERS)), 1);
            (String::new(), text.into_bytes())
        }
        3 => {
            // A key twice.
            let text =
                json.replacen("\"metadata\":", "\"metadata\":{\"name\":\"x\"},\"metadata\":", 1);
            ("application/json".to_owned(), text.into_bytes())
        }
        4 if random.one_in(4) => ((random.pick(TYPES)).to_owned(), json.into_bytes()),
        _ => ("application/json".to_owned(), json.into_bytes()),
    }
}

/// Changes a value in some places.
pub(crate) fn change(random: &mut Random, object: &mut Value) {
    for _ in 0..random.below(4) {
        let donor = somewhere(random, object).clone();
        let place = somewhere(random, object);
        match random.below(9) {
            0 => *place = donor,
            1 => {
                if let Some(map) = place.as_object_mut()
                    && let Some(key) = map.keys().nth(random.below(map.len())).cloned()
                {
                    map.remove(&key);
                }
            }
            2 => {
                if let Some(map) = place.as_object_mut() {
                    map.insert((random.pick(TEXTS)).to_owned(), donor);
                }
            }
            3 => {
                if let Some(list) = place.as_array_mut() {
                    let copies = if random.one_in(10) { 300 } else { 2 };
                    list.extend(std::iter::repeat_n(donor, copies));
                }
            }
            4 => {
                if let Some(text) = place.as_str() {
                    *place = grammar::splice(random, text).into();
                }
            }
            5 if random.one_in(3) => *place = grammar::cel(random, 0).into(),
            _ => *place = evil(random),
        }
    }
    if object.is_object() && random.one_in(60) {
        let labels: Map<String, Value> =
            (0..10_000).map(|n| (format!("l{n}"), "v".into())).collect();
        object["metadata"] = json!({"name": "labels", "labels": labels});
    }
}

/// A value that does not belong.
fn evil(random: &mut Random) -> Value {
    match random.below(12) {
        0 => Value::Null,
        1 => json!([]),
        2 => json!({}),
        3 => json!(true),
        4 => json!(1.5),
        5 => json!(i64::MAX),
        6 => json!(u64::MAX),
        7 => json!([null, {}, [[]]]),
        8 => (0..random.below(150)).fold(json!(1), |inner, _| json!({"a": [inner]})),
        9 => "x".repeat(random.below(70_000)).into(),
        10 => json!(-1),
        _ => (random.pick(TEXTS)).into(),
    }
}

/// A random node of the value.
fn somewhere<'a>(random: &mut Random, mut value: &'a mut Value) -> &'a mut Value {
    for _ in 0..random.below(9) {
        let inside = match &*value {
            Value::Object(map) => map.len(),
            Value::Array(list) => list.len(),
            _ => 0,
        };
        if inside == 0 {
            break;
        }
        let index = random.below(inside);
        value = match value {
            Value::Object(map) => map.values_mut().nth(index).unwrap(),
            Value::Array(list) => &mut list[index],
            other => return other,
        };
    }
    value
}

/// Damages bytes.
pub(crate) fn scramble(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => {
                let end = (at + random.below(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => drop(bytes.splice(at..at, [0xff, 0xfe, 0xc0, 0x80])),
            4 => drop(bytes.splice(at..at, random.pick(TEXTS).bytes())),
            5 if random.one_in(5) => {
                let open = random.pick(&["[", "{\"a\":", "- ", "&a [*a,", "(", "!!map {? ["]);
                let deep = open.repeat(random.below(20_000)).into_bytes();
                drop(bytes.splice(at..at, deep));
            }
            _ => drop(bytes.splice(at..at, random.pick(NUMBERS).bytes())),
        }
    }
}
