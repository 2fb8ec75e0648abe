//! Requests of an enemy, each with its one answer.

use std::fmt::Write as _;

use component_base::clock::Clock;
use serde_json::Value;

use super::{
    World, corpus, ready,
    wire::{Connection, Request},
};

/// What is sent, and what must come: the code, the reason and a part of the message.
struct Case {
    what: &'static str,
    request: Request,
    code: u16,
    reason: &'static str,
    message: &'static str,
}

const MAPS: &str = "/api/v1/namespaces/fuzz/configmaps";
const THINGS: &str = "/apis/fuzz.example.com/v1/namespaces/fuzz/things";
const THING: &str = r#"{"apiVersion":"fuzz.example.com/v1","kind":"Thing","#;
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

fn case(
    what: &'static str,
    request: Request,
    code: u16,
    reason: &'static str,
    message: &'static str,
) -> Case {
    Case { what, request, code, reason, message }
}

fn post(target: &str, content_type: &str, body: impl AsRef<[u8]>) -> Request {
    Request::new("POST", target, content_type, body.as_ref())
}

/// A ConfigMap with this after its metadata.
fn map(rest: &str) -> String {
    format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"t"}}{rest}}}"#)
}

fn deployment(replicas: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"t"}},"spec":{{"replicas":{replicas},"selector":{{"matchLabels":{{"a":"b"}}}},"template":{{"metadata":{{"labels":{{"a":"b"}}}},"spec":{{"containers":[{{"name":"c","image":"i"}}]}}}}}}}}"#
    )
}

fn labels(count: usize, value: &str) -> String {
    let mut text = String::new();
    for number in 0..count {
        let _ = write!(text, r#""l{number}":"{value}","#);
    }
    format!(r#"{{"metadata":{{"name":"t","labels":{{{}}}}}}}"#, text.trim_end_matches(','))
}

fn bodies() -> Vec<Case> {
    let deep = |open: &str, close: &str, depth: usize| {
        map(&format!(r#","x":{}1{}"#, open.repeat(depth), close.repeat(depth)))
    };
    let maps_dry = format!("{MAPS}?dryRun=All");
    let strict = format!("{MAPS}?fieldValidation=Strict");
    let deployments = "/apis/apps/v1/namespaces/fuzz/deployments";
    let mut yaml_bomb =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: t}\na0: &a0 [x,x,x,x,x,x,x,x,x]\n"
            .to_owned();
    for level in 1..12 {
        let _ =
            writeln!(yaml_bomb, "a{level}: &a{level} [{}]", format!("*a{},", level - 1).repeat(9));
    }
    vec![
        case("arrays in arrays", post(MAPS, JSON, deep("[", "]", 100_000)), 400, "BadRequest", ""),
        case(
            "objects in objects",
            post(MAPS, JSON, deep(r#"{"a":"#, "}", 100_000)),
            400,
            "BadRequest",
            "",
        ),
        case(
            "a tower that never ends",
            post(MAPS, JSON, "[".repeat(1_000_000)),
            400,
            "BadRequest",
            "",
        ),
        case("a tower of YAML", post(MAPS, YAML, "[".repeat(100_000)), 400, "BadRequest", ""),
        case("aliases of aliases", post(MAPS, YAML, yaml_bomb), 400, "BadRequest", ""),
        case(
            "an alias of itself",
            post(MAPS, YAML, "metadata: &a {name: t, labels: *a}\n"),
            400,
            "BadRequest",
            "",
        ),
        case(
            "a number beyond int32",
            post(deployments, JSON, deployment("2147483648")),
            400,
            "BadRequest",
            "cannot unmarshal number 2147483648 into Go struct field",
        ),
        case(
            "a number beyond int64",
            post(deployments, JSON, deployment("9223372036854775808")),
            400,
            "BadRequest",
            "cannot unmarshal number 9223372036854775808 into Go struct field",
        ),
        case(
            "a number of 30 digits",
            post(deployments, JSON, deployment("123456789012345678901234567890")),
            400,
            "BadRequest",
            "cannot unmarshal number",
        ),
        case(
            "a number beyond all floats",
            post(deployments, JSON, deployment("1e400")),
            400,
            "BadRequest",
            "",
        ),
        case(
            "a fraction",
            post(deployments, JSON, deployment("1.5")),
            400,
            "BadRequest",
            "cannot unmarshal number 1.5 into Go struct field",
        ),
        case(
            "a number with a leading zero",
            post(deployments, JSON, deployment("01")),
            400,
            "BadRequest",
            "",
        ),
        case("no number", post(deployments, JSON, deployment("NaN")), 400, "BadRequest", ""),
        case(
            "bytes that are no UTF-8",
            post(MAPS, JSON, b"{\"metadata\":{\"name\":\"t\"},\"data\":{\"a\":\"\xff\xfe\"}}"),
            400,
            "BadRequest",
            "",
        ),
        case(
            "half a surrogate pair",
            post(&maps_dry, JSON, map(r#","data":{"a":"\ud800"}"#)),
            400,
            "BadRequest",
            "",
        ),
        case(
            "a control character in a text",
            post(MAPS, JSON, "{\"metadata\":{\"name\":\"t\n\"}}"),
            400,
            "BadRequest",
            "",
        ),
        case(
            "a key twice, strictly",
            post(&strict, JSON, map(r#","data":{"a":"1","a":"2"}"#)),
            400,
            "BadRequest",
            r#"strict decoding error: duplicate field "data.a""#,
        ),
        case(
            "metadata twice, strictly",
            post(&strict, JSON, map(r#","metadata":{"name":"u"}"#)),
            400,
            "BadRequest",
            r#"strict decoding error: duplicate field "metadata""#,
        ),
        case(
            "a key twice in YAML, strictly",
            post(&strict, YAML, "metadata: {name: t}\ndata: {a: b, a: c}\n"),
            400,
            "BadRequest",
            "",
        ),
        case(
            "10,000 labels that are none",
            post(MAPS, JSON, labels(10_000, "no label")),
            422,
            "Invalid",
            "a valid label must be",
        ),
        case(
            "10,000 labels on a defined kind",
            post(THINGS, JSON, labels(10_000, "no label").replacen('{', THING, 1)),
            422,
            "Invalid",
            "a valid label must be",
        ),
        case(
            "annotations of 300 KiB",
            post(
                MAPS,
                JSON,
                format!(
                    r#"{{"metadata":{{"name":"t","annotations":{{"a":"{}"}}}}}}"#,
                    "x".repeat(300 << 10)
                ),
            ),
            422,
            "Invalid",
            "may not be more than 262144 bytes",
        ),
        case(
            "3 MiB and one",
            post(MAPS, JSON, " ".repeat((3 << 20) + 1)),
            413,
            "RequestEntityTooLarge",
            "limit is 3145728",
        ),
        case("nothing", post(MAPS, JSON, ""), 400, "BadRequest", ""),
        case("null", post(MAPS, JSON, "null"), 400, "BadRequest", ""),
        case("an array", post(MAPS, JSON, "[]"), 400, "BadRequest", ""),
        case("a zero byte", post(MAPS, JSON, b"\0"), 400, "BadRequest", ""),
        case(
            "protobuf that is none",
            post(MAPS, "application/vnd.kubernetes.protobuf", b"k8s\0\xff\xff\xff\xff"),
            400,
            "BadRequest",
            "",
        ),
        case(
            "protobuf without its mark",
            post(MAPS, "application/vnd.kubernetes.protobuf", b"abc"),
            400,
            "BadRequest",
            "",
        ),
        case(
            "a body of no known type",
            post(MAPS, "application/cbor", b"\xa0"),
            415,
            "UnsupportedMediaType",
            "",
        ),
    ]
}

fn patches() -> Vec<Case> {
    let patch = |content_type: &str, body: String| {
        Request::new("PATCH", &format!("{MAPS}/a"), content_type, body.as_bytes())
    };
    let apply = |content_type: &str, body: String| {
        let target = format!("{MAPS}/a?fieldManager=f");
        Request::new("PATCH", &target, content_type, body.as_bytes())
    };
    let json_patch = "application/json-patch+json";
    let copies: Vec<_> =
        (0..10_001).map(|_| r#"{"op":"test","path":"/kind","value":"x"}"#).collect();
    vec![
        case(
            "10,001 operations",
            patch(json_patch, format!("[{}]", copies.join(","))),
            413,
            "RequestEntityTooLarge",
            "The allowed maximum operations in a JSON patch is 10000, got 10001",
        ),
        case(
            "an operation that there is not",
            patch(json_patch, r#"[{"op":"x","path":"/a"}]"#.into()),
            422,
            "Invalid",
            "",
        ),
        case(
            "a path that there is not",
            patch(json_patch, r#"[{"op":"remove","path":"/spec/x"}]"#.into()),
            422,
            "Invalid",
            "",
        ),
        case(
            "an index beyond all",
            patch(
                json_patch,
                r#"[{"op":"add","path":"/metadata/finalizers/99999999999999999999","value":"x"}]"#
                    .into(),
            ),
            422,
            "Invalid",
            "",
        ),
        case("no operation at all", patch(json_patch, "{}".into()), 400, "BadRequest", ""),
        case(
            "a merge patch that is text",
            patch("application/merge-patch+json", "\"x\"".into()),
            400,
            "BadRequest",
            "",
        ),
        case(
            "a tower of patches",
            patch(
                "application/merge-patch+json",
                format!("{}1{}", r#"{"a":"#.repeat(50_000), "}".repeat(50_000)),
            ),
            400,
            "BadRequest",
            "",
        ),
        case(
            "an applied tower",
            apply("application/apply-patch+yaml", "a: [".repeat(50_000)),
            400,
            "BadRequest",
            "",
        ),
        case(
            "an unknown type",
            patch("application/x", "{}".into()),
            415,
            "UnsupportedMediaType",
            "",
        ),
    ]
}

fn addresses() -> Vec<Case> {
    let get = Request::get;
    let missing = "the server could not find the requested resource";
    vec![
        case(
            "two slashes first",
            get("//api/v1/namespaces/fuzz/configmaps"),
            404,
            "NotFound",
            missing,
        ),
        case(
            "two slashes inside",
            get("/api/v1//namespaces/fuzz/configmaps"),
            404,
            "NotFound",
            missing,
        ),
        case("no namespace", get("/api/v1/namespaces//configmaps"), 404, "NotFound", missing),
        case("..", get("/api/v1/namespaces/fuzz/configmaps/../secrets"), 404, "NotFound", missing),
        case(
            ".. at the end",
            get("/api/v1/namespaces/fuzz/configmaps/.."),
            400,
            "BadRequest",
            r#"Name parameter invalid: "..": may not be '..'"#,
        ),
        case(
            ". at the end",
            get("/api/v1/namespaces/fuzz/configmaps/."),
            400,
            "BadRequest",
            r#"Name parameter invalid: ".": may not be '.'"#,
        ),
        case(
            "%2e%2e",
            get("/api/v1/namespaces/fuzz/configmaps/%2e%2e"),
            400,
            "BadRequest",
            r#"Name parameter invalid: "..": may not be '..'"#,
        ),
        case(
            "%2E%2E%2F",
            get("/api/v1/namespaces/fuzz/configmaps/%2E%2E%2Fsecrets"),
            404,
            "NotFound",
            missing,
        ),
        case(
            "%252e",
            get("/api/v1/namespaces/fuzz/configmaps/%252e"),
            400,
            "BadRequest",
            r#"Name parameter invalid: "%2e": may not contain '%'"#,
        ),
        case(
            "an encoded slash",
            get("/api/v1/namespaces/fuzz/configmaps/a%2Fb"),
            404,
            "NotFound",
            missing,
        ),
        case(
            "an encoded slash before the resource",
            get("/api/v1%2Fnamespaces/fuzz/nothings"),
            404,
            "NotFound",
            missing,
        ),
        case(
            "a zero byte",
            get("/api/v1/namespaces/fuzz/configmaps/%00"),
            404,
            "NotFound",
            r#"configmaps "\x00" not found"#,
        ),
        case(
            "overlong UTF-8",
            get("/api/v1/namespaces/fuzz/configmaps/%c0%ae%c0%ae"),
            404,
            "NotFound",
            "configmaps ",
        ),
        case(
            "half an escape",
            get("/api/v1/namespaces/fuzz/configmaps/%2"),
            400,
            "BadRequest",
            r#"invalid URL escape "%2""#,
        ),
        case(
            "no escape",
            get("/api/v1/namespaces/fuzz/configmaps/%zz"),
            400,
            "BadRequest",
            r#"invalid URL escape "%zz""#,
        ),
        case("a name in upper case", get("/API/v1/namespaces"), 404, "NotFound", missing),
        case(
            "a path of 40,000 bytes",
            get(&format!("/api/v1/{}", "x".repeat(40_000))),
            414,
            "",
            "Request URI too long: limit is 32768",
        ),
        case(
            "a query of 40,000 bytes",
            get(&format!("{MAPS}?labelSelector={}", "x".repeat(40_000))),
            414,
            "",
            "Request URI too long",
        ),
        case(
            "a selector that is none",
            get(&format!("{MAPS}?labelSelector=a%20in%20(b")),
            400,
            "BadRequest",
            "unable to parse requirement",
        ),
        case(
            "a field that cannot be selected",
            get(&format!("{MAPS}?fieldSelector=data.a%3Db")),
            400,
            "BadRequest",
            "",
        ),
        case(
            "a limit beyond int64",
            get(&format!("{MAPS}?limit=9223372036854775808")),
            400,
            "BadRequest",
            "",
        ),
        case(
            "a revision that is none",
            get(&format!("{MAPS}?resourceVersion=x")),
            422,
            "Invalid",
            "",
        ),
        case(
            "a continuation that is none",
            get(&format!("{MAPS}?continue=AAAA")),
            400,
            "BadRequest",
            "",
        ),
        case(
            "a timeout that is none",
            get(&format!("{MAPS}?timeout=x")),
            400,
            "BadRequest",
            r#"invalid timeout specified in the request URL - time: invalid duration "x""#,
        ),
        case(
            "a method that there is not",
            Request::new("FOO", MAPS, "", b""),
            405,
            "MethodNotAllowed",
            "is not supported on resources of kind",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_trick_has_its_answer() {
    let world = World::start().await;
    let mut connection = Connection::new(world.socket.clone());
    ready(&mut connection, &Clock::real()).await;
    corpus::prepare(&mut connection).await;
    let before = stored(&mut connection).await;
    let mut wrong = Vec::new();
    for Case { what, request, code, reason, message } in
        bodies().into_iter().chain(patches()).chain(addresses())
    {
        let answer = connection.send(&request).await;
        let answer = answer.unwrap_or_else(|| panic!("{what}: no answer"));
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let found = body["message"].as_str().unwrap_or("");
        let fits = answer.code == code
            && body["kind"] == "Status"
            && body["code"] == code
            && body["reason"].as_str().unwrap_or("") == reason
            && found.contains(message);
        if !fits {
            wrong.push(format!("{what}: not {code} {reason} {message:?}: {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(stored(&mut connection).await, before, "a refused request changed something");
    // What is no HTTP is refused below the API, without a Status.
    let raw = Request { target: b"/api/v1/pods/\xff".to_vec(), ..Request::get("") };
    assert_eq!(connection.send(&raw).await.map(|answer| answer.code), Some(400));
    // Kubernetes bounds what a label is, not how many there are.
    let many = connection.send(&post(MAPS, JSON, labels(10_000, "v"))).await.unwrap();
    assert_eq!(many.code, 201, "{many}");
    world.shutdown.cancel();
}

/// Everything that the requests could have changed.
async fn stored(connection: &mut Connection) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [MAPS, THINGS, "/apis/apps/v1/namespaces/fuzz/deployments"] {
        let answer = connection.send(&Request::get(path)).await.unwrap();
        let list: Value = serde_json::from_slice(&answer.body).unwrap();
        all.push(list["items"].clone());
    }
    all
}
