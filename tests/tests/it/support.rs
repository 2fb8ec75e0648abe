//! What several tests need.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use apimachinery::api::core::Pod;
use tests::{TestCluster, http};

/// The quick size, or the long one where `KUBE_MINI_LONG` is set.
pub(crate) fn size(quick: usize, long: usize) -> usize {
    if std::env::var_os("KUBE_MINI_LONG").is_some() { long } else { quick }
}

/// The project's folder.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A Deployment of `whoami`, which tells who asked and who answers, and a Service of type NodePort before it.
pub(crate) fn whoami(name: &str, replicas: u32, node_port: Option<u16>) -> String {
    let node_port = node_port.map_or_else(String::new, |port| format!("nodePort: {port}"));
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: whoami
        image: traefik/whoami
        ports: [{{containerPort: 80}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  type: NodePort
  selector: {{app: {name}}}
  ports:
  - port: 80
    {node_port}
"
    )
}

/// A pod with a shell, on a given node.
pub(crate) fn shell(name: &str, node: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers:
  - name: shell
    image: busybox
    command: [sleep, infinity]
"
    )
}

pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap()
}

pub(crate) fn ip(pod: &Pod) -> &str {
    pod.status.pod_ip.as_deref().unwrap()
}

pub(crate) fn node(pod: &Pod) -> &str {
    pod.spec.node_name.as_deref().unwrap()
}

/// The value of `key: value` in whoami's answer.
pub(crate) fn field<'a>(answer: &'a str, key: &str) -> &'a str {
    let found = answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {key} in {answer:?}"))
}

/// Asks a whoami URL until every one of `replicas` has answered or the requests are used up; how often each did.
pub(crate) async fn answers(url: &str, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for number in 0..requests {
        let answer =
            http::get(url).await.unwrap_or_else(|e| panic!("request {number} to {url}: {e:#}"));
        assert_eq!(answer.status, 200);
        *counts.entry(field(&answer.body, "Hostname").to_owned()).or_default() += 1;
    }
    counts
}

/// Waits until a URL answers at all: rules reach the nodes a moment after the pods are Ready.
pub(crate) async fn wait_for_url(cluster: &TestCluster, url: &str) -> http::Response {
    cluster
        .eventually(&format!("an answer of {url}"), async || {
            let answer = http::get(url).await?;
            anyhow::ensure!(answer.status == 200, "status {}", answer.status);
            Ok(answer)
        })
        .await
}
