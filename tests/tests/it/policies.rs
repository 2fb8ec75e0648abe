//! NetworkPolicies, by the bytes that come through and those that do not.

use std::time::Duration;

use apimachinery::api::{core::Pod, networking::NetworkPolicy};
use client::DeleteOptions;
use component_base::clock::Clock;
use tests::{Component, Runner, TestCluster, http};

use crate::support::{ip, shell, wait_for_url, whoami};

/// Whether a pod reaches a URL in a second.
async fn reaches(cluster: &TestCluster, pod: &str, url: &str) -> bool {
    let script = format!("wget -T 1 -qO- {url}");
    cluster.sh(pod, &script).await.is_ok_and(|done| done.code == 0)
}

async fn until(cluster: &TestCluster, what: &str, pod: &str, url: &str, expected: bool) {
    cluster
        .eventually(what, async || {
            if reaches(cluster, pod, url).await == expected { Ok(()) } else { Err("not yet") }
        })
        .await;
}

const DENY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
";

const ALLOW: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {role: friend}}}]
    ports: [{port: 80}]
";

fn labelled(name: &str, node: &str, role: &str) -> String {
    shell(name, node).replace(
        &format!("{{name: {name}}}"),
        &format!("{{name: {name}, labels: {{role: {role}}}}}"),
    )
}

async fn policies_decide(runner: Runner) {
    let cluster = TestCluster::builder().runner(runner).nodes(2).start().await.unwrap();
    // The probe must go through whatever the policies say.
    let probed = whoami("web", 1, None).replace(
        "ports: [{containerPort: 80}]",
        "ports: [{containerPort: 80, name: http}]
        readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1, failureThreshold: 1}",
    );
    cluster.apply(&probed).await.unwrap();
    cluster.apply(&labelled("friend", "node-1", "friend")).await.unwrap();
    cluster.apply(&labelled("stranger", "node-2", "stranger")).await.unwrap();
    cluster.wait_ready("web").await;
    for pod in ["friend", "stranger"] {
        cluster.wait_pod_ready(pod).await;
    }
    let service = cluster.client().get::<apimachinery::api::core::Service>("default", "web").await;
    let url = format!("http://{}", service.unwrap().spec.cluster_ip.unwrap());
    let node_port = cluster.node_port_url("web").await.unwrap();
    for pod in ["friend", "stranger"] {
        until(&cluster, "no policy: all are open", pod, &url, true).await;
    }
    wait_for_url(&cluster, &node_port).await;

    cluster.apply(DENY).await.unwrap();
    for pod in ["friend", "stranger"] {
        until(&cluster, "deny by default", pod, &url, false).await;
    }
    let outside = Clock::real().timeout(Duration::from_millis(500), http::get(&node_port)).await;
    assert!(!matches!(outside, Ok(Ok(_))), "nor is the host let in: {outside:?}");

    cluster.apply(ALLOW).await.unwrap();
    until(&cluster, "policies add up", "friend", &url, true).await;
    assert!(!reaches(&cluster, "stranger", &url).await);
    // A label that changes counts at once.
    let patch =
        client::Patch::Merge(serde_json::json!({"metadata": {"labels": {"role": "friend"}}}));
    cluster.client().patch::<Pod>("default", "stranger", &patch, "").await.unwrap();
    until(&cluster, "a label lets in", "stranger", &url, true).await;
    // The kubelet's probes have gone on.
    let pods = cluster.ready_pods("default", "app=web").await.unwrap();
    assert_eq!(pods.len(), 1);
    // A node that comes back still has its policies: the proxy sends it everything anew.
    let patch =
        client::Patch::Merge(serde_json::json!({"metadata": {"labels": {"role": "stranger"}}}));
    cluster.client().patch::<Pod>("default", "stranger", &patch, "").await.unwrap();
    for node in [1, 2] {
        cluster.stop(Component::KubeProxy(node)).await.unwrap();
        cluster.start(Component::KubeProxy(node)).await.unwrap();
    }
    until(&cluster, "and keeps out", "stranger", &url, false).await;
    until(&cluster, "but not friends", "friend", &url, true).await;

    for name in ["deny", "allow"] {
        cluster
            .client()
            .delete::<NetworkPolicy>("default", name, &DeleteOptions::default())
            .await
            .unwrap();
    }
    until(&cluster, "without policies all is open", "stranger", &url, true).await;
    wait_for_url(&cluster, &node_port).await;
}

#[tokio::test]
async fn policies_decide_in_process() {
    policies_decide(Runner::InProcess).await;
}

#[tokio::test]
async fn policies_decide_as_processes() {
    policies_decide(Runner::Process).await;
}

const EGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: inside}
spec:
  podSelector: {matchLabels: {role: caged}}
  policyTypes: [Egress]
  egress:
  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]
    ports: [{port: 53, protocol: UDP}]
";

/// DNS by UDP is let out, and its answers in; nothing else is.
#[tokio::test]
async fn egress_is_judged_after_translation_and_answers_come_back() {
    let cluster = TestCluster::builder().nodes(2).dns().start().await.unwrap();
    cluster.apply(&whoami("web", 1, None)).await.unwrap();
    cluster.apply(&labelled("caged", "node-2", "caged")).await.unwrap();
    cluster.wait_ready("web").await;
    let pod = cluster.wait_pod_ready("caged").await;
    until(&cluster, "names and bytes", "caged", "http://web", true).await;
    cluster.apply(EGRESS).await.unwrap();
    until(&cluster, "kept in", "caged", "http://web", false).await;
    // And nothing may come in of its own accord: answers are no such thing.
    let deny = DENY.replace("app: web", "role: caged");
    cluster.apply(&deny).await.unwrap();
    cluster.apply(&shell("other", "node-1")).await.unwrap();
    cluster.wait_pod_ready("other").await;
    let found = cluster.sh("caged", "nslookup web").await.unwrap();
    assert_eq!(found.code, 0, "{found:?}");
    // To itself a pod may always speak.
    let own = format!(
        "(echo hi | nc -l -p 7777 >/dev/null &); sleep 0.5; nc -w 2 {} 7777 </dev/null",
        ip(&pod)
    );
    cluster
        .eventually("a pod hears itself", async || {
            let spoken = cluster.sh("caged", &own).await.map_err(|error| error.to_string())?;
            if spoken.stdout.contains("hi") { Ok(()) } else { Err(format!("{spoken:?}")) }
        })
        .await;
}

/// A policy is in force within a tenth of a second, as seen by a client that tries again and again.
#[tokio::test]
async fn a_change_is_in_force_at_once() {
    let cluster = TestCluster::builder().nodes(1).start().await.unwrap();
    cluster.apply(&whoami("web", 1, None)).await.unwrap();
    cluster.wait_ready("web").await;
    let url = cluster.node_port_url("web").await.unwrap();
    wait_for_url(&cluster, &url).await;
    let clock = Clock::real();
    let patience = Duration::from_millis(20);
    let mut best = Duration::MAX;
    for _ in 0..5 {
        cluster.apply(DENY).await.unwrap();
        let begun = clock.monotonic();
        while matches!(clock.timeout(patience, http::get(&url)).await, Ok(Ok(_))) {}
        best = best.min(clock.monotonic() - begun);
        let options = DeleteOptions::default();
        cluster.client().delete::<NetworkPolicy>("default", "deny", &options).await.unwrap();
        wait_for_url(&cluster, &url).await;
    }
    assert!(best <= Duration::from_millis(100), "{best:?}");
}
