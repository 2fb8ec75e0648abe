//! Wall clocks that are set by hours, forward and back, under a running cluster: what is a matter of durations goes by
//! the monotonic clock, as in Kubernetes.

use std::time::Duration;

use apimachinery::api::core::{Event, Node, Pod};
use client::ListOptions;
use component_base::clock::{Clock, TestClock};
use jiff::SignedDuration;
use tests::TestCluster;

const SECOND: Duration = Duration::from_secs(1);
const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: steady}
spec:
  nodeName: node-1
  containers: [{name: main, image: nginx, livenessProbe: {httpGet: {port: 80}, periodSeconds: 10}}]
---
apiVersion: v1
kind: Pod
metadata: {name: crashing}
spec:
  nodeName: node-1
  containers: [{name: main, image: busybox, command: [sh, -c, exit 3]}]
---
apiVersion: v1
kind: Pod
metadata: {name: lost}
spec:
  nodeName: node-2
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: nginx}]
";

async fn start() -> (TestCluster, TestClock) {
    let (clock, time) = Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
    let starting = TestCluster::builder().nodes(2).clock(clock).start();
    let cluster = time.run(starting).await.unwrap();
    let begin = async {
        cluster.apply(PODS).await.unwrap();
        cluster.wait_pod_ready("steady").await;
        cluster.wait_pod_ready("lost").await;
    };
    time.run(begin).await;
    (cluster, time)
}

async fn pod(cluster: &TestCluster, time: &TestClock, name: &str) -> Pod {
    time.run(cluster.client().get("default", name)).await.unwrap()
}

async fn events(cluster: &TestCluster, time: &TestClock) -> usize {
    let everything = ListOptions::default();
    let list = cluster.client().list::<Event>("default", &everything);
    time.run(list).await.unwrap().items.len()
}

fn restarts(pod: &Pod) -> i32 {
    pod.status.container_statuses[0].restart_count
}

#[tokio::test]
async fn nothing_happens_because_the_wall_clock_was_set() {
    let (cluster, time) = start().await;
    let before = pod(&cluster, &time, "steady").await;
    time.advance(30 * SECOND).await;
    let mut crashes = restarts(&pod(&cluster, &time, "crashing").await);
    let events = events(&cluster, &time).await;
    assert!(events >= 5, "{events} events");
    for hours in [6, -12, 48] {
        time.set_wall_clock(SignedDuration::from_hours(hours));
        // Three times what a node may be silent.
        time.advance(150 * SECOND).await;
        for number in [1, 2] {
            let node: Node =
                time.run(cluster.client().get("", &format!("node-{number}"))).await.unwrap();
            let ready = node.status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
            assert_eq!((ready.status.as_str(), node.spec.taints.len()), ("True", 0), "{hours} h");
        }
        let steady = pod(&cluster, &time, "steady").await;
        assert_eq!((&steady.metadata.uid, restarts(&steady)), (&before.metadata.uid, 0));
        // The back-off goes on as it was: 10, 20, 40, 80, 160 s.
        let now = restarts(&pod(&cluster, &time, "crashing").await);
        assert!((crashes..=crashes + 3).contains(&now), "{crashes} to {now} in 150 s");
        crashes = now;
    }
    assert!((4..=7).contains(&crashes), "{crashes} restarts in 480 s");
    // Events live for an hour.
    let later = self::events(&cluster, &time).await;
    assert!(later >= events, "events went before their hour: {later} of {events} are left");
}

#[tokio::test]
async fn a_pod_of_a_lost_node_gets_neither_more_time_nor_less() {
    for hours in [6, -12] {
        let (cluster, time) = start().await;
        time.run(cluster.fail_node(2)).await.unwrap();
        // The node is given up, and its pod's 300 s have begun.
        time.advance(60 * SECOND).await;
        time.set_wall_clock(SignedDuration::from_hours(hours));
        // Whatever makes the controller look again.
        let label = client::Patch::Merge(serde_json::json!({"metadata": {"labels": {"a": "b"}}}));
        let touched = cluster.client().patch::<Pod>("default", "lost", &label, "");
        time.run(touched).await.unwrap();
        time.advance(270 * SECOND).await;
        let kept = pod(&cluster, &time, "lost").await.metadata.deletion_timestamp;
        assert_eq!(kept, None, "{hours} h: before its time");
        time.advance(30 * SECOND).await;
        let gone = pod(&cluster, &time, "lost").await.metadata.deletion_timestamp;
        assert!(gone.is_some(), "{hours} h: not in its time");
    }
}
