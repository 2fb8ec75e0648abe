//! The proxy subresources of pods, services and nodes: HTTP through the API server into the cluster.

use apimachinery::{object::Object, resource};
use http::Method;
use serde_json::{Value, json};
use tests::{Runner, TestCluster};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::{rest::Rest, support::whoami};

const POD: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "page", "labels": {"app": "page"}},
    "spec": {"containers": [{"name": "nginx", "image": "nginx", "ports": [{"containerPort": 80}]}]}}"#;

const SERVICES: &str = r#"
{apiVersion: v1, kind: Service, metadata: {name: page}, spec: {selector: {app: page}, ports: [{port: 8080, targetPort: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: named}, spec: {selector: {app: page}, ports: [{name: http, port: 80}, {name: other, port: 81}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: empty}, spec: {selector: {app: nobody}, ports: [{port: 80}]}}
"#;

/// What the API server says to a request.
async fn get(rest: &Rest, path: &str) -> (u16, String) {
    rest.text(Method::GET, path, "").await
}

fn message(text: &str) -> String {
    let status: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"));
    status["message"].as_str().unwrap_or_default().to_owned()
}

async fn pods_and_services(cluster: &TestCluster) {
    let rest = &Rest::admin(cluster);
    cluster.apply(POD).await.unwrap();
    cluster.apply(SERVICES).await.unwrap();
    cluster.apply(&whoami("who", 2, None)).await.unwrap();
    cluster.wait_pod_ready("page").await;
    cluster.wait_ready("who").await;
    let base = "/api/v1/namespaces/default";
    for path in ["pods/page", "pods/page:80", "pods/http:page:", "pods/http:page:80"] {
        let (code, page) = get(rest, &format!("{base}/{path}/proxy/")).await;
        assert_eq!(code, 200, "{path}: {page}");
        assert!(page.contains("Welcome to nginx!"), "{page}");
    }
    let services = ["page", "page:8080", "http:page:", "who", "named:http", "named:80"];
    for path in services {
        let what = format!("an answer of {path}");
        cluster
            .eventually(&what, async || {
                match get(rest, &format!("{base}/services/{path}/proxy/")).await {
                    (200, _) => Ok(()),
                    (code, text) => Err(format!("{code} {text}")),
                }
            })
            .await;
    }
    // Paths, queries and bodies are carried, headers of the way are there, credentials are not.
    let path = format!("{base}/services/who/proxy/a//b%20c?d=e&f");
    let (_, told) = rest.text(Method::POST, &path, "{}").await;
    for line in
        ["POST /a//b%20c?d=e&f HTTP/1.1", "X-Forwarded-Uri: ", "Content-Type: application/json"]
    {
        assert!(told.contains(line), "{line} in {told}");
    }
    assert!(!told.contains("Authorization"), "{told}");
    let (code, _) = get(rest, &format!("{base}/pods/page/proxy")).await;
    assert_eq!(code, 301);
}

async fn refusals(cluster: &TestCluster) {
    let rest = &Rest::admin(cluster);
    let base = "/api/v1/namespaces/default";
    let check = async |path: &str, code: u16, text: &str| {
        let (found, answer) = get(rest, &format!("{base}/{path}")).await;
        assert_eq!((found, message(&answer).as_str()), (code, text), "{path}");
    };
    check("pods/nothing/proxy/", 404, "pods \"nothing\" not found").await;
    check("services/nothing/proxy/", 404, "endpoints \"nothing\" not found").await;
    check("services/nothing:80/proxy/", 404, "services \"nothing\" not found").await;
    check("pods/a:b:c:d/proxy/", 400, "invalid pod request \"a:b:c:d\"").await;
    check("services/ftp:page:/proxy/", 400, "invalid service request \"ftp:page:\"").await;
    let text = "no service port 81 found for service \"page\"";
    check("services/page:81/proxy/", 503, text).await;
    let text = "no endpoints available for service \"empty\"";
    check("services/empty/proxy/", 503, text).await;
    let text = "no endpoints available for service \"named\"";
    check("services/named/proxy/", 503, text).await;
    let (code, answer) = get(rest, &format!("{base}/pods/page:81/proxy/")).await;
    let text = message(&answer);
    assert_eq!(code, 503, "{text}");
    let (start, end) =
        ("error trying to reach service: dial tcp 10.244.", ":81: connect: connection refused");
    assert!(text.starts_with(start) && text.ends_with(end), "{text}");
    // Whoever may read pods may not speak to them.
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "ann"}, "roleRef": {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}]});
    let role = Object::from_value(role).unwrap();
    cluster.client().create_object(&resource::CLUSTER_ROLE_BINDINGS, &role).await.unwrap();
    let ann = Rest::over(cluster.channel_as("ann", &[]).unwrap());
    let check = async |method: Method, verb: &str| {
        let (code, answer) = ann.text(method, &format!("{base}/pods/page/proxy/"), "").await;
        let text = format!(
            "pods \"page\" is forbidden: User \"ann\" cannot {verb} resource \"pods/proxy\" in API group \"\" in the namespace \"default\""
        );
        assert_eq!((code, message(&answer)), (403, text));
    };
    for (method, verb) in [
        (Method::GET, "get"),
        (Method::POST, "create"),
        (Method::PUT, "update"),
        (Method::PATCH, "patch"),
        (Method::DELETE, "delete"),
        (Method::OPTIONS, ""),
    ] {
        check(method, verb).await;
    }
}

async fn nodes(cluster: &TestCluster) {
    let rest = &Rest::admin(cluster);
    let base = "/api/v1/nodes/node-1";
    let pod = cluster.wait_pod_ready("page").await;
    let base_of_pod = format!("/api/v1/nodes/{}", pod.spec.node_name.unwrap());
    assert_eq!(get(rest, &format!("{base}/proxy/healthz")).await, (200, "ok".to_owned()));
    assert_eq!(get(rest, &format!("{base}:10250/proxy/healthz")).await.0, 200);
    let (_, pods) = get(rest, &format!("{base_of_pod}/proxy/pods")).await;
    assert!(pods.starts_with("{\"kind\":\"PodList\"") || pods.contains("\"PodList\""), "{pods}");
    assert!(pods.contains("\"name\":\"page\""), "{pods}");
    let (code, log) =
        get(rest, &format!("{base_of_pod}/proxy/containerLogs/default/page/nginx?tailLines=1"))
            .await;
    assert_eq!((code, log.lines().count()), (200, 1), "{log}");
    let (_, metrics) = get(rest, &format!("{base}/proxy/metrics")).await;
    assert!(metrics.contains("kubelet_running_pods "), "{metrics}");
    let (code, text) = get(rest, &format!("{base}/proxy/configz")).await;
    assert_eq!((code, text.as_str()), (404, "404 page not found\n"));
    let (code, text) = get(rest, "/api/v1/nodes/node-9/proxy/").await;
    assert_eq!((code, message(&text).as_str()), (404, "nodes \"node-9\" not found"));
    let (code, text) = get(rest, &format!("{base}:9/proxy/")).await;
    assert_eq!(code, 503, "{text}");
}

/// A raw connection to the API over TLS, as the admin.
async fn raw(cluster: &TestCluster) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    let file = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let file: Value = serde_yaml::from_str(&file).unwrap();
    let decode = |text: &Value| {
        use base64::Engine as _;
        let engine = base64::engine::general_purpose::STANDARD;
        String::from_utf8(engine.decode(text.as_str().unwrap()).unwrap()).unwrap()
    };
    let user = &file["users"][0]["user"];
    let pair = component_base::tls::KeyPair {
        cert_pem: decode(&user["client-certificate-data"]),
        key_pem: decode(&user["client-key-data"]),
    };
    let config = component_base::tls::client_config(cluster.ca_pem(), Some(&pair)).unwrap();
    let mut config = (*config).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = tokio::net::TcpStream::connect(cluster.api_address()).await.unwrap();
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await.unwrap()
}

/// An upgrade is passed on, and the bytes after it.
async fn upgrades(cluster: &TestCluster) {
    // A server that upgrades whoever asks, and echoes.
    let script = "while true; do nc -l -p 7000 < /tmp/answer; done";
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "up"}, "spec": {"containers": [{
        "name": "c", "image": "busybox",
        "command": ["sh", "-c", format!("printf 'HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\nhello' > /tmp/answer; {script}")]}]}});
    cluster.apply(&pod.to_string()).await.unwrap();
    cluster.wait_pod_ready("up").await;
    cluster
        .eventually("an upgraded connection", async || {
            let mut stream = raw(cluster).await;
            let request = "GET /api/v1/namespaces/default/pods/up:7000/proxy/ws?x=y HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let mut buffer = [0; 1024];
            while !answer.ends_with(b"hello") {
                match stream.read(&mut buffer).await {
                    Ok(count) if count > 0 => answer.extend_from_slice(&buffer[..count]),
                    _ => break,
                }
            }
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let upgraded = answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("hello");
            if upgraded { Ok(()) } else { Err(answer) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_reach_pods_services_and_nodes() {
    let cluster = TestCluster::builder().nodes(2).start().await.unwrap();
    pods_and_services(&cluster).await;
    refusals(&cluster).await;
    nodes(&cluster).await;
    upgrades(&cluster).await;
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_between_processes() {
    let cluster = TestCluster::builder().runner(Runner::Process).nodes(1).start().await.unwrap();
    pods_and_services(&cluster).await;
    nodes(&cluster).await;
    cluster.shutdown().await.unwrap();
}
