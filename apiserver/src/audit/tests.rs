//! What both faces record, read from the log.

use std::path::Path;

use component_base::transport::Endpoint;
use serde_json::Value;

use super::*;
use crate::faces::testing::Running;

const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, nonResourceURLs: ['/readyz']}
- {level: Metadata, resources: [{group: '', resources: [secrets]}]}
- {level: RequestResponse, verbs: [create, get, delete], omitManagedFields: true, omitStages: [RequestReceived]}
- {level: Metadata}
";

fn config(path: &Path) -> AuditConfig {
    AuditConfig {
        policy: Policy::parse(POLICY).unwrap(),
        log: LogConfig { path: path.into(), max_size: 0, max_backups: 0, max_age: 0 },
    }
}

/// Waits for that many events that match.
async fn events(path: &Path, wanted: usize, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let found: Vec<_> = lines.filter(|event| matches(event)).collect();
        if found.len() >= wanted {
            assert_eq!(found.len(), wanted, "{found:#?}");
            return found;
        }
        tokio::task::yield_now().await;
    }
}

fn about<'a>(resource: &'a str, name: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |event| {
        let object = &event["objectRef"];
        object["resource"] == resource && (name.is_empty() || object["name"] == name)
    }
}

fn stages(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["stage"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn both_faces_are_recorded_as_the_policy_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let running = Running::audited(config(&path)).await;
    let endpoint =
        Endpoint::InProcess(running.connector.with_identity("admin", &["system:masters"]));
    let client = client::Client::new(&endpoint).unwrap();
    let secret = r#"{"metadata": {"name": "s"}, "stringData": {"password": "hush"}}"#;
    let (code, _) = running.json("POST", "/api/v1/namespaces/default/secrets", &[], secret).await;
    assert_eq!(code, 201);
    let made = events(&path, 2, about("secrets", "")).await;
    assert_eq!(stages(&made), ["RequestReceived", "ResponseComplete"]);
    assert_eq!(made[0]["auditID"], made[1]["auditID"]);
    assert_eq!(made[1]["verb"], "create");
    assert_eq!(made[1]["requestURI"], "/api/v1/namespaces/default/secrets");
    assert_eq!(made[1]["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(made[1]["user"]["username"], "admin");
    assert_eq!(
        made[1]["objectRef"],
        json!({"resource": "secrets", "namespace": "default", "name": "s", "apiVersion": "v1"})
    );
    assert_eq!(made[1]["annotations"]["authorization.k8s.io/decision"], "allow");
    assert_eq!(made[1]["annotations"]["authorization.k8s.io/reason"], "");
    assert!(made[1].get("requestObject").is_none() && made[1].get("responseObject").is_none());

    // By gRPC, with bodies.
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}, "data": {"a": "b"}});
    let map = apimachinery::object::Object::from_value(map).unwrap();
    client.create_object(&apimachinery::resource::CONFIG_MAPS, &map).await.unwrap();
    let made = events(&path, 1, about("configmaps", "m")).await;
    assert_eq!(stages(&made), ["ResponseComplete"]);
    assert_eq!(made[0]["requestURI"], "/api/v1/namespaces/default/configmaps");
    assert_eq!(made[0]["requestObject"]["data"], json!({"a": "b"}));
    assert!(made[0]["responseObject"]["metadata"]["uid"].is_string());
    assert!(made[0]["responseObject"]["metadata"].get("managedFields").is_none());
    assert_eq!(made[0]["responseStatus"]["code"], 201);

    // Refusals, on both.
    let stranger = client::Client::new(&Endpoint::InProcess(running.connector.clone())).unwrap();
    let pods = &apimachinery::resource::PODS;
    stranger.get_object(pods, "default", "p").await.unwrap_err();
    let refused = events(&path, 1, about("pods", "p")).await;
    assert_eq!(refused[0]["responseStatus"]["code"], 403);
    assert_eq!(refused[0]["responseStatus"]["reason"], "Forbidden");
    assert_eq!(refused[0]["annotations"]["authorization.k8s.io/decision"], "forbid");
    running.json("GET", "/api/v1/namespaces/default/pods/q", &[], "").await;
    let missing = events(&path, 1, about("pods", "q")).await;
    assert_eq!(missing[0]["responseStatus"]["code"], 404);
    running.json("POST", "/api/v1/namespaces/default/pods", &[], "{").await;
    let bad = events(&path, 1, |event| event["responseStatus"]["code"] == 400).await;
    assert_eq!(bad[0]["objectRef"]["resource"], "pods");

    // What is no resource; what the policy leaves out.
    running.json("GET", "/version", &[("impersonate-user", "ann")], "").await;
    running.json("GET", "/readyz", &[], "").await;
    let version = events(&path, 1, |event| event["requestURI"] == "/version").await;
    assert_eq!(version[0]["verb"], "get");
    assert_eq!(version[0]["impersonatedUser"]["username"], "ann");
    events(&path, 0, |event| event["requestURI"] == "/readyz").await;
    running.shutdown.cancel();
}

#[tokio::test]
async fn a_watch_tells_its_start_and_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let running = Running::audited(config(&path)).await;
    let maps = "/api/v1/namespaces/default/configmaps?watch=true";
    let watch = running.send("GET", maps, &[("audit-id", "mine")], "").await;
    assert_eq!(watch.headers()["audit-id"], "mine");
    let started = events(&path, 2, about("configmaps", "")).await;
    assert_eq!(stages(&started), ["RequestReceived", "ResponseStarted"]);
    assert!(started.iter().all(|event| event["auditID"] == "mine" && event["verb"] == "watch"));
    drop(watch);
    let ended = events(&path, 3, about("configmaps", "")).await;
    assert_eq!(stages(&ended)[2], "ResponseComplete");
    running.shutdown.cancel();
}

#[tokio::test]
async fn a_failure_of_ours_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let audit = Arc::new(Audit::open(config(&path), Clock::real(), &Registry::new()).unwrap());
    let record = audit.record(Source { uri: "/x".into(), ..Source::default() });
    let attributes = Attributes::Path { verb: "get", path: "/x" };
    let user = UserInfo::default();
    record.begin(Begin { user: &user, attributes, version: "", long_running: false }).await;
    record.panicked();
    drop(record);
    let told = events(&path, 1, |_| true).await;
    assert_eq!(stages(&told), ["Panic"]);
    assert_eq!(told[0]["responseStatus"]["code"], 500);
}
