//! Nodes that are lost, for good or for a while, on a virtual clock: Kubernetes' periods in seconds of real time.

use std::{collections::BTreeSet, time::Duration};

use apimachinery::api::core::{Node, Pod};
use client::ListOptions;
use component_base::clock::{Clock, TestClock};
use tests::TestCluster;

use crate::support::{name, node};

const SECOND: Duration = Duration::from_secs(1);
/// A Lease is good for 50 s after it was last renewed, and it is renewed every 10 s.
const GRACE: u32 = 50;
const RENEWED: u32 = 10;
/// What DefaultTolerationSeconds gives a pod.
const TOLERATION: u32 = 300;
/// What a decision takes to be carried out: replacements are created, bound and started.
const CARRIED_OUT: u32 = 20;

fn deployment(tolerations: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 5
      tolerations: [{tolerations}]
      containers: [{{name: nginx, image: nginx}}]
"
    )
}

struct Lossy {
    cluster: TestCluster,
    time: TestClock,
}

impl Lossy {
    /// Two nodes, and four pods on them.
    async fn start(tolerations: &str) -> Self {
        let (clock, time) = Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
        let starting = TestCluster::builder().nodes(2).clock(clock).start();
        let cluster = time.run(starting).await.unwrap();
        let deploy = async {
            cluster.apply(&deployment(tolerations)).await.unwrap();
            cluster.wait_ready("web").await;
        };
        time.run(deploy).await;
        Self { cluster, time }
    }

    async fn pass(&self, seconds: u32) {
        self.time.advance(SECOND * seconds).await;
    }

    async fn fail(&self, node: u32) {
        self.time.run(self.cluster.fail_node(node)).await.unwrap();
    }

    async fn node(&self, number: u32) -> Node {
        let name = format!("node-{number}");
        self.time.run(self.cluster.client().get("", &name)).await.unwrap()
    }

    async fn ready(&self, number: u32) -> String {
        let node = self.node(number).await;
        let ready = node.status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
        format!("{} {}", ready.status, ready.reason.as_deref().unwrap_or_default())
    }

    async fn taints(&self, number: u32) -> Vec<String> {
        let taints = self.node(number).await.spec.taints;
        taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect()
    }

    async fn pods(&self) -> Vec<Pod> {
        let options = ListOptions::labels("app=web");
        let list = self.cluster.client().list::<Pod>("default", &options);
        self.time.run(list).await.unwrap().items
    }

    /// uids of the pods of a node: those that stay, and those on their way out.
    async fn on(&self, number: u32) -> (BTreeSet<String>, BTreeSet<String>) {
        let pods = self.pods().await.into_iter();
        let here = pods.filter(|pod| node(pod) == format!("node-{number}"));
        let (going, staying): (Vec<Pod>, Vec<Pod>) =
            here.partition(|pod| pod.metadata.deletion_timestamp.is_some());
        let uids = |pods: Vec<Pod>| pods.into_iter().filter_map(|pod| pod.metadata.uid).collect();
        (uids(staying), uids(going))
    }

    async fn restarts(&self) -> Vec<i32> {
        let pods = self.pods().await;
        pods.iter().map(|pod| pod.status.container_statuses[0].restart_count).collect()
    }
}

const UNREACHABLE: [&str; 2] =
    ["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"];

#[tokio::test]
async fn a_lost_node_is_given_up_after_50_s_and_its_pods_after_300_more() {
    let lossy = Lossy::start("").await;
    let (lost, _) = lossy.on(2).await;
    assert_eq!(lost.len(), 2, "the pods are spread");
    lossy.fail(2).await;

    lossy.pass(GRACE - RENEWED - 1).await;
    assert_eq!(lossy.ready(2).await, "True KubeletReady", "not before its time");
    lossy.pass(RENEWED + 2).await;
    assert_eq!(lossy.ready(2).await, "Unknown NodeStatusUnknown");
    assert_eq!(lossy.taints(2).await, UNREACHABLE);
    assert_eq!(lossy.ready(1).await, "True KubeletReady");
    assert_eq!(lossy.taints(1).await, [""; 0]);
    // The pods are there, but nobody sends them anything any more.
    let ready: Vec<String> = {
        let ready = lossy.cluster.ready_pods("default", "app=web");
        lossy.time.run(ready).await.unwrap().iter().map(|pod| node(pod).to_owned()).collect()
    };
    assert_eq!(ready, ["node-1", "node-1"]);

    lossy.pass(TOLERATION - RENEWED - 3).await;
    assert_eq!(lossy.on(2).await, (lost.clone(), BTreeSet::new()), "not before their time");
    lossy.pass(RENEWED + 3 + CARRIED_OUT).await;
    let (staying, going) = lossy.on(2).await;
    assert_eq!((staying, &going), (BTreeSet::new(), &lost), "they wait for their node's word");
    assert_eq!(lossy.on(1).await.0.len(), 4, "replaced");
    lossy.time.run(lossy.cluster.wait_ready("web")).await;

    // The node comes back much later: what it still has is cleaned away.
    lossy.pass(900).await;
    assert_eq!(lossy.on(2).await.1, lost);
    lossy.time.run(lossy.cluster.start_node(2)).await.unwrap();
    lossy.pass(CARRIED_OUT).await;
    assert_eq!(lossy.ready(2).await, "True KubeletReady");
    assert_eq!(lossy.taints(2).await, [""; 0]);
    assert_eq!(lossy.on(2).await, (BTreeSet::new(), BTreeSet::new()));
    for folder in ["pods", "logs", "checkpoints"] {
        let left =
            std::fs::read_dir(lossy.cluster.folder().join("state/nodes/node-2").join(folder));
        assert_eq!(left.map_or(0, Iterator::count), 0, "the node's disk is clean: {folder}");
    }
    assert_eq!(lossy.on(1).await.0.len(), 4);
}

#[tokio::test]
async fn a_node_that_returns_in_time_keeps_its_pods() {
    let lossy = Lossy::start("").await;
    let before: BTreeSet<(String, Option<String>)> = lossy
        .pods()
        .await
        .iter()
        .map(|pod| (name(pod).to_owned(), pod.metadata.uid.clone()))
        .collect();
    lossy.fail(2).await;
    lossy.pass(GRACE + TOLERATION - RENEWED - 10).await;
    assert_eq!(lossy.ready(2).await, "Unknown NodeStatusUnknown");
    lossy.time.run(lossy.cluster.start_node(2)).await.unwrap();
    lossy.time.run(lossy.cluster.wait_ready("web")).await;
    assert_eq!(lossy.ready(2).await, "True KubeletReady");
    assert_eq!(lossy.taints(2).await, [""; 0]);

    // Nobody goes on counting.
    lossy.pass(2 * TOLERATION).await;
    let after: BTreeSet<(String, Option<String>)> = lossy
        .pods()
        .await
        .iter()
        .map(|pod| (name(pod).to_owned(), pod.metadata.uid.clone()))
        .collect();
    assert_eq!(after, before);
    let mut restarts = lossy.restarts().await;
    restarts.sort_unstable();
    assert_eq!(restarts, [0, 0, 1, 1], "the node was away, and its pods with it");
}

#[tokio::test]
async fn a_pod_says_itself_how_long_it_waits() {
    let unreachable = "{key: node.kubernetes.io/unreachable, operator: Exists, \
                       effect: NoExecute, tolerationSeconds: 30}";
    let lossy = Lossy::start(unreachable).await;
    let (lost, _) = lossy.on(2).await;
    lossy.fail(2).await;
    lossy.pass(GRACE - RENEWED + 30 - 1).await;
    assert_eq!(lossy.on(2).await, (lost.clone(), BTreeSet::new()), "not before its time");
    lossy.pass(RENEWED + 2 + CARRIED_OUT).await;
    assert_eq!(lossy.on(2).await, (BTreeSet::new(), lost));
    assert_eq!(lossy.on(1).await.0.len(), 4);

    // Without an end: for ever.
    let for_ever = "{operator: Exists, effect: NoExecute}";
    let lossy = Lossy::start(for_ever).await;
    let (lost, _) = lossy.on(2).await;
    lossy.fail(2).await;
    lossy.pass(900).await;
    assert_eq!(lossy.taints(2).await, UNREACHABLE);
    assert_eq!(lossy.on(2).await, (lost, BTreeSet::new()));
}
