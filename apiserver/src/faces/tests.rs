//! Both faces on one server, in this process.

use apimachinery::{object::Object, resource};
use component_base::transport::Endpoint;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::testing::Running;

mod reviews;
mod streams;
mod tokens;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn each_face_reads_what_the_other_wrote() {
    let running = Running::start().await;
    let endpoint =
        Endpoint::InProcess(running.connector.with_identity("admin", &["system:masters"]));
    let client = client::Client::new(&endpoint).unwrap();
    for n in 0..50 {
        let name = format!("c{n}");
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}});
        let made = client
            .create_object(&resource::CONFIG_MAPS, &Object::from_value(object).unwrap())
            .await
            .unwrap();
        let (code, read) = running.json("GET", &format!("{MAPS}/{name}"), &[], "").await;
        assert_eq!((code, read["metadata"]["uid"].as_str()), (200, Some(made.uid())));
        let (code, list) = running.json("GET", MAPS, &[], "").await;
        assert_eq!((code, list["items"].as_array().unwrap().len()), (200, n + 1));
        let (code, _) = running.json("DELETE", &format!("{MAPS}/{name}"), &[], "").await;
        assert_eq!(code, 200);
        assert!(
            client
                .get_object(&resource::CONFIG_MAPS, "default", &name)
                .await
                .unwrap_err()
                .is_not_found()
        );
        let (code, _) = running
            .json("POST", MAPS, &[], &format!("{{\"metadata\": {{\"name\": \"{name}\"}}}}"))
            .await;
        assert_eq!(code, 201);
        client.get_object(&resource::CONFIG_MAPS, "default", &name).await.unwrap();
    }
    running.shutdown.cancel();
}

#[tokio::test]
async fn rest_speaks_http() {
    let running = Running::start().await;
    let check =
        async |method: &str, path: &str, headers: &[(&str, &str)], body: &str, code: u16| {
            let (found, value) = running.json(method, path, headers, body).await;
            assert_eq!(found, code, "{method} {path}: {value}");
            value
        };
    let yaml = [("content-type", "application/yaml")];
    check("POST", MAPS, &yaml, "metadata:\n  name: a\ndata: {x: \"1\"}\n", 201).await;
    check("POST", MAPS, &[("content-type", "text/plain")], "x", 415).await;
    check("POST", MAPS, &yaml, "a: b: c", 400).await;
    check("POST", MAPS, &[], &"x".repeat(4 << 20), 413).await;
    check(
        "GET",
        &format!("{MAPS}/a"),
        &[("accept", "application/vnd.kubernetes.protobuf")],
        "",
        406,
    )
    .await;
    check("PUT", MAPS, &[], "{}", 405).await;
    check("GET", "/api/v1/namespaces/default/unknown", &[], "", 404).await;
    check("POST", "/api/v1/namespaces/default/serviceaccounts/a/token", &[], "no body", 400).await;
    check("GET", "/nothing", &[], "", 404).await;
    check("GET", &format!("{MAPS}?limit=x"), &[], "", 400).await;
    check("POST", &format!("{MAPS}?dryRun=some"), &[], "{}", 400).await;
    check("PATCH", &format!("{MAPS}/a"), &[("content-type", "application/json")], "{}", 415).await;
    check("POST", "/api/v1/namespaces/default/pods/x/exec?command=ls", &[], "", 404).await;
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    assert_eq!(check("GET", MAPS, &table, "", 200).await["kind"], "Table");
    let warned = running.send("POST", MAPS, &[], r#"{"metadata": {"name": "w"}, "dta": {}}"#).await;
    assert_eq!(warned.status(), StatusCode::CREATED);
    assert_eq!(warned.headers()["warning"], "299 - \"unknown field \\\"dta\\\"\"");
    let yaml =
        running.send("GET", &format!("{MAPS}/a"), &[("accept", "application/yaml")], "").await;
    let text = yaml.into_body().collect().await.unwrap().to_bytes();
    assert!(text.starts_with(b"apiVersion: v1\n"), "{text:?}");
    assert_eq!(check("GET", "/version", &[], "", 200).await["minor"], "36");
    assert_eq!(check("GET", "/readyz", &[], "", 200).await, "ok");
    let metrics = check("GET", "/metrics", &[], "", 200).await;
    let metrics = metrics.as_str().unwrap();
    let labels =
        "apiserver_request_total{code=\"201\",component=\"apiserver\",dry_run=\"\",group=\"\"";
    for expected in [labels, "verb=\"POST\"", "apiserver_storage_objects{resource=\"namespaces\"} "]
    {
        assert!(metrics.contains(expected), "{expected} in {metrics}");
    }
    check("GET", "/openapi/v2", &[], "", 200).await;
    let root = check("GET", "/openapi/v3", &[], "", 200).await;
    let url = root["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = check("GET", &url, &[], "", 200).await;
    let patch =
        &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    running.shutdown.cancel();
}

#[tokio::test]
async fn a_rest_watch_is_lines() {
    let running = Running::start().await;
    let watch = running.send("GET", &format!("{MAPS}?watch=1&timeoutSeconds=5"), &[], "").await;
    let mut body = watch.into_body();
    running.json("POST", MAPS, &[], r#"{"metadata": {"name": "a"}}"#).await;
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!(
        (event["type"].as_str(), event["object"]["metadata"]["name"].as_str()),
        (Some("ADDED"), Some("a"))
    );
    running.shutdown.cancel();
    // The end of the server is the end of the watch, in order.
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn nobody_sees_health_and_version_alone() {
    let running = Running::start().await;
    let client = client::Client::new(&Endpoint::InProcess(running.connector.clone())).unwrap();
    let error = client.get_object(&resource::PODS, "default", "a").await.unwrap_err();
    assert_eq!(
        error.message,
        "pods \"a\" is forbidden: User \"system:anonymous\" cannot get resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    running.shutdown.cancel();
}

#[tokio::test]
async fn whoever_may_acts_as_somebody_else() {
    let running = Running::start().await;
    let endpoint = |user: &str, groups: &[&str]| {
        Endpoint::InProcess(running.connector.with_identity(user, groups))
    };
    let admin = client::Client::new(&endpoint("admin", &["system:masters"])).unwrap();
    let as_ann = admin.impersonating("ann", &["devs".to_owned()]).unwrap();
    let error = as_ann.get_object(&resource::PODS, "default", "a").await.unwrap_err();
    assert!(error.message.contains("User \"ann\" cannot get resource"), "{error}");
    let bob = client::Client::new(&endpoint("bob", &[])).unwrap();
    let as_ann = bob.impersonating("ann", &[]).unwrap();
    assert_eq!(
        as_ann.get_object(&resource::PODS, "default", "a").await.unwrap_err().message,
        "users \"ann\" is forbidden: User \"bob\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    let headers = [("impersonate-user", "ann")];
    let (code, status) = running.json("GET", MAPS, &headers, "").await;
    assert_eq!((code, status["reason"].as_str()), (403, Some("Forbidden")));
    running.shutdown.cancel();
}
