//! Who a pod is to the API server: its account's token, from its own files over its own network.

use std::time::Duration;

use apimachinery::api::core::Pod;
use client::DeleteOptions;
use component_base::clock::Clock;
use tests::{Component, Runner, TestCluster};

/// An account that may read pods, in a namespace of its own, and a pod that runs as it.
const READER: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: apps}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: apps}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: apps}
rules:
- {apiGroups: [''], resources: [pods], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: apps}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader}]
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: apps}
spec:
  serviceAccountName: reader
  terminationGracePeriodSeconds: 0
  containers:
  - {name: curl, image: curlimages/curl, command: [sleep, infinity]}
";
const POD: &str = "apps/client";
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The command with which a pod asks the API server, as the documentation of Kubernetes writes it.
fn ask(url: &str) -> String {
    format!(
        "cd /var/run/secrets/kubernetes.io/serviceaccount && \
         curl -sS --cacert ca.crt -H \"Authorization: Bearer $(cat token)\" {url}"
    )
}

/// What the pod hears.
async fn hears(cluster: &TestCluster, url: &str) -> String {
    let script = ask(url);
    cluster
        .eventually(url, async || {
            cluster.sh(POD, &script).await.map_err(anyhow::Error::from)?.success()
        })
        .await
}

async fn pods_reach_the_api(runner: Runner) {
    let builder = TestCluster::builder().runner(runner).nodes(2).durable().dns();
    let cluster = builder.start().await.unwrap();
    cluster.apply(READER).await.unwrap();
    cluster.wait_pod_ready(POD).await;
    let name = "https://kubernetes.default.svc";
    let versions = hears(&cluster, &format!("{name}/api")).await;
    assert!(
        versions.contains("\"kind\": \"APIVersions\"")
            || versions.contains("\"kind\":\"APIVersions\""),
        "{versions}"
    );
    // By every name and address that the certificate is for, also as the environment tells them.
    for server in [
        "https://10.96.0.1",
        "https://kubernetes.default",
        "https://kubernetes.default.svc.cluster.local:443",
        "https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT",
    ] {
        let listed = hears(&cluster, &format!("{server}/api/v1/namespaces/apps/pods")).await;
        assert!(listed.contains("\"client\""), "{server}: {listed}");
    }
    for (path, refusal) in [
        (
            "namespaces/apps/secrets",
            r#"secrets is forbidden: User \"system:serviceaccount:apps:reader\" cannot list resource \"secrets\" in API group \"\" in the namespace \"apps\""#,
        ),
        (
            "namespaces/default/pods",
            r#"pods is forbidden: User \"system:serviceaccount:apps:reader\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""#,
        ),
    ] {
        let answer = hears(&cluster, &format!("{name}/api/v1/{path}")).await;
        assert!(answer.contains(refusal), "{answer}");
    }
    let stranger = cluster.sh(POD, &format!("curl -sS {name}/api")).await.unwrap();
    assert_eq!(stranger.code, 60, "nobody trusts the server without its authority: {stranger:?}");

    // The key outlives the process: so does the token.
    let token = cluster.sh(POD, &format!("cat {TOKEN}")).await.unwrap().success().unwrap();
    cluster.stop(Component::ApiServer).await.unwrap();
    cluster.start(Component::ApiServer).await.unwrap();
    let listed = hears(&cluster, &format!("{name}/api/v1/namespaces/apps/pods")).await;
    assert!(listed.contains("\"client\""), "{listed}");

    // It dies with its pod.
    cluster.apply(&READER.replace("name: client", "name: other")).await.unwrap();
    cluster.wait_pod_ready("apps/other").await;
    let url = format!("{name}/api/v1/namespaces/apps/pods");
    let with_it = format!("curl -sS -k -H 'Authorization: Bearer {token}' {url}");
    let answer = cluster.sh("apps/other", &with_it).await.unwrap().success().unwrap();
    assert!(answer.contains("\"other\""), "{answer}");
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    cluster.client().delete::<Pod>("apps", "client", &now).await.unwrap();
    let answer = cluster.sh("apps/other", &with_it).await.unwrap().success().unwrap();
    assert!(answer.contains("\"code\": 401") || answer.contains("\"code\":401"), "{answer}");
}

#[tokio::test]
async fn pods_reach_the_api_as_their_account_in_process() {
    pods_reach_the_api(Runner::InProcess).await;
}

#[tokio::test]
async fn pods_reach_the_api_as_their_account_as_processes() {
    pods_reach_the_api(Runner::Process).await;
}

#[tokio::test]
async fn a_token_is_exchanged_before_it_ends() {
    let (clock, time) = Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
    let starting = TestCluster::builder().nodes(1).clock(clock).start();
    let cluster = time.run(starting).await.unwrap();
    let deploy = async {
        cluster.apply(READER).await.unwrap();
        cluster.wait_pod_ready(POD).await;
    };
    time.run(deploy).await;
    let token = async || {
        let read = time.run(cluster.sh(POD, &format!("cat {TOKEN}"))).await;
        read.unwrap().success().unwrap()
    };
    let first = token().await;
    time.advance(Duration::from_secs(2800)).await;
    assert_eq!(token().await, first);
    time.advance(Duration::from_secs(200)).await;
    assert_ne!(token().await, first);
}

#[tokio::test]
async fn who_asks_for_no_token_gets_none() {
    let cluster = TestCluster::builder().nodes(1).start().await.unwrap();
    let off = READER.replace(
        "  serviceAccountName",
        "  automountServiceAccountToken: false\n  serviceAccountName",
    );
    cluster.apply(&off).await.unwrap();
    cluster.wait_pod_ready(POD).await;
    let pod: Pod = cluster.client().get("apps", "client").await.unwrap();
    assert!(pod.spec.volumes.is_empty());
    let listed = cluster.sh(POD, &format!("ls {TOKEN}")).await.unwrap();
    assert_ne!(listed.code, 0, "{listed:?}");
    // An account that does not exist is told at once.
    let nobody = READER.replace("serviceAccountName: reader", "serviceAccountName: nobody");
    let nobody = nobody.replace("name: client", "name: other");
    let refused = format!("{:#}", cluster.apply(&nobody).await.unwrap_err());
    let expected = "pods \"other\" is forbidden: error looking up service account apps/nobody: serviceaccount \"nobody\" not found";
    assert!(refused.contains(expected), "{refused}");
}
