//! Nodes that shut down in order: their pods end by priority, are Failed for good, and others take their places.

use std::time::Duration;

use apimachinery::api::core::{Node, Pod};
use client::ListOptions;
use component_base::clock::Clock;
use tests::{Component, Runner, TestCluster};

const SECOND: Duration = Duration::from_secs(1);

/// Two pods on node-2 that do not heed SIGTERM, one of them critical, and a Deployment.
const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: usual}
spec:
  nodeName: node-2
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'trap \"\" TERM; while true; do sleep 1; done']}
---
apiVersion: v1
kind: Pod
metadata: {name: critical}
spec:
  nodeName: node-2
  priorityClassName: system-node-critical
  containers: [{name: c, image: busybox, command: [sh, -c, 'trap \"\" TERM; while true; do sleep 1; done']}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: nginx, image: nginx}]
";

/// Phase, reason, restarts, and the reason of its DisruptionTarget condition.
fn end(pod: &Pod) -> String {
    let status = &pod.status;
    let target = status.conditions.iter().find(|c| c.type_ == "DisruptionTarget");
    let restarts: i32 = status.container_statuses.iter().map(|c| c.restart_count).sum();
    format!(
        "{} {} x{restarts} {}",
        status.phase.as_deref().unwrap_or_default(),
        status.reason.as_deref().unwrap_or_default(),
        target.and_then(|c| c.reason.as_deref()).unwrap_or_default()
    )
}

const TERMINATED: &str = "Failed Terminated x0 TerminationByKubelet";

fn finished_at(pod: &Pod) -> Option<i64> {
    let state = pod.status.container_statuses.first()?.state.as_ref()?;
    Some(state.terminated.as_ref()?.finished_at?.0.as_second())
}

fn ready(node: &Node) -> String {
    let ready = node.status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    format!("{} {} {}", ready.status, text(&ready.reason), text(&ready.message))
}

async fn web(cluster: &TestCluster) -> Vec<Pod> {
    let options = ListOptions::labels("app=web");
    cluster.client().list::<Pod>("default", &options).await.unwrap().items
}

#[tokio::test]
async fn a_node_shuts_down_in_order_and_nothing_rises_again() {
    let (clock, time) = Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
    let builder = TestCluster::builder().nodes(2).clock(clock.clone());
    let builder = builder.shutdown_grace_periods(SECOND * 20, SECOND * 5).unwrap();
    let cluster = time.run(builder.start()).await.unwrap();
    let deploy = async {
        cluster.apply(PODS).await.unwrap();
        cluster.wait_ready("web").await;
        cluster.wait_pod_ready("usual").await;
        cluster.wait_pod_ready("critical").await;
    };
    time.run(deploy).await;
    let there = time.run(web(&cluster)).await;
    let there = there.iter().filter(|p| p.spec.node_name.as_deref() == Some("node-2")).count();
    assert!(there > 0, "some run on the node");

    let began = clock.now().as_second();
    time.run(cluster.shut_down_node(2)).await.unwrap();
    let node: Node = time.run(cluster.client().get("", "node-2")).await.unwrap();
    assert_eq!(ready(&node), "False KubeletNotReady node is shutting down");
    // The usual ones have 15 of the 20 seconds, then the critical ones 5.
    for (name, after) in [("usual", 15), ("critical", 20)] {
        let pod: Pod = time.run(cluster.client().get("default", name)).await.unwrap();
        assert_eq!(end(&pod), TERMINATED, "{name}");
        assert_eq!(
            pod.status.message.as_deref(),
            Some("Pod was terminated in response to imminent node shutdown.")
        );
        assert_eq!(finished_at(&pod).map(|at| at - began), Some(after), "{name}");
    }
    // Those of the Deployment are replaced.
    let replaced = cluster.eventually("replacements", async || {
        let pods = web(&cluster).await;
        let running = pods.iter().filter(|p| p.status.phase.as_deref() == Some("Running")).count();
        let failed = pods.iter().filter(|p| end(p) == TERMINATED).count();
        if (running, failed) == (4, there) { Ok(()) } else { Err(format!("{running}, {failed}")) }
    });
    time.run(replaced).await;

    time.run(cluster.start_node(2)).await.unwrap();
    let back = cluster.wait_for::<Node>("node-2", |node| match ready(node) {
        state if state.starts_with("True") => Ok(()),
        state => Err(state),
    });
    time.run(back).await;
    time.advance(SECOND * 60).await;
    for name in ["usual", "critical"] {
        let pod: Pod = time.run(cluster.client().get("default", name)).await.unwrap();
        assert_eq!(end(&pod), TERMINATED, "{name} rose again");
    }
}

#[tokio::test]
async fn sigterm_shuts_a_node_down_where_it_is_told_to_take_its_time() {
    let builder = TestCluster::builder().runner(Runner::Process).nodes(2);
    let cluster =
        builder.shutdown_grace_periods(SECOND * 4, SECOND).unwrap().start().await.unwrap();
    cluster.apply(PODS).await.unwrap();
    cluster.wait_pod_ready("usual").await;
    cluster.wait_pod_ready("critical").await;
    cluster.stop(Component::Kubelet(2)).await.unwrap();
    cluster.start(Component::Kubelet(2)).await.unwrap();
    for name in ["usual", "critical"] {
        let ended = |pod: &Pod| match end(pod) {
            state if state == TERMINATED => Ok(()),
            state => Err(state),
        };
        cluster.wait_for::<Pod>(name, ended).await;
    }
}
