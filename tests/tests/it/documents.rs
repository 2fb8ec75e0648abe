//! The documents' manifests, as they stand, and the flow that they tell.

use apimachinery::api::core::Service;
use tests::{Runner, TestCluster, http};

use crate::support::{project, wait_for_url};

const WELCOME: &str = "<title>Welcome to nginx!</title>";

/// Every manifest of `examples/documents`: (file, contents).
fn manifests() -> Vec<(String, String)> {
    let folder = project().join("examples/documents");
    let mut manifests: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    manifests.sort();
    manifests
}

async fn manifests_apply_unchanged(runner: Runner) {
    let cluster = TestCluster::builder().runner(runner).nodes(3).start().await.unwrap();
    let manifests = manifests();
    assert!(manifests.len() >= 7, "the documents have seven manifests: {}", manifests.len());
    for (file, text) in &manifests {
        cluster.apply(text).await.unwrap_or_else(|e| panic!("{file}: {e:#}"));
        // A second time changes nothing and is no error.
        let again = cluster.apply(text).await.unwrap_or_else(|e| panic!("{file} again: {e:#}"));
        assert_eq!(again.len(), 1, "{file}");
    }
    cluster.wait_ready("web-deployment").await;

    for node in 1..=3 {
        let url = format!("http://{}:30080", cluster.node_address(node));
        assert!(wait_for_url(&cluster, &url).await.body.contains(WELCOME), "{url}");
    }
    // Nobody serves behind this one: the node refuses, as iptables would.
    let refused = http::get(&format!("http://{}:30007", cluster.node_address(1))).await;
    let error = format!("{:#}", refused.unwrap_err());
    assert!(error.contains("Connection refused"), "{error}");

    let web: Service = cluster.client().get("default", "web-loadbalancer").await.unwrap();
    let ports: Vec<_> = web.spec.ports.iter().filter_map(|port| port.node_port).collect();
    assert!(matches!(ports[..], [30000..=32767]), "a load balancer has a node port: {ports:?}");
    let clusterip: Service = cluster.client().get("default", "web-clusterip").await.unwrap();
    assert_eq!(clusterip.spec.type_.as_deref(), Some("ClusterIP"));
}

#[tokio::test]
async fn manifests_apply_unchanged_in_process() {
    manifests_apply_unchanged(Runner::InProcess).await;
}

#[tokio::test]
async fn manifests_apply_unchanged_on_processes() {
    manifests_apply_unchanged(Runner::Process).await;
}

/// `curl http://127.0.0.1:<nodePort>`, on a port of the cluster's choice: others of this machine may use 30080.
#[tokio::test]
async fn a_node_port_answers_on_localhost() {
    let cluster = TestCluster::builder()
        .runner(Runner::Process)
        .nodes(2)
        .private_loopback()
        .start()
        .await
        .unwrap();
    let manifest = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx, labels: {app: nginx}}
spec:
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec: {containers: [{name: nginx, image: nginx}]}
---
apiVersion: v1
kind: Service
metadata: {name: nginx}
spec: {type: NodePort, selector: {app: nginx}, ports: [{port: 80}]}
";
    cluster.apply(manifest).await.unwrap();
    let port = cluster.node_port("nginx").await.unwrap();
    for address in ["127.0.0.1".to_owned(), cluster.node_address(2).to_string()] {
        let answer = wait_for_url(&cluster, &format!("http://{address}:{port}")).await;
        assert!(answer.body.contains(WELCOME), "{address}");
    }
}
