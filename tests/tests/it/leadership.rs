//! Two schedulers and two controller managers: one of each leads; when it dies the other takes over once its lease has
//! run out, and when it ends in order at once. Nothing is done twice.

use std::{collections::BTreeSet, time::Duration};

use apimachinery::api::{
    coordination::Lease,
    core::{Event, Pod},
};
use client::{ListOptions, Patch};
use component_base::clock::Clock;
use serde_json::json;
use tests::{Component, ComponentCopy, Runner, TestCluster, eventually};

use crate::support::whoami;

/// Shorter than Kubernetes' 15, 10 and 2 s, in the same proportions.
const PERIODS: [&str; 3] = [
    "--leader-elect-lease-duration=4s",
    "--leader-elect-renew-deadline=3s",
    "--leader-elect-retry-period=500ms",
];
const LEASE: Duration = Duration::from_secs(4);
/// How far apart the attempts of a standby are at most: 2.2 retry periods.
const ATTEMPTS: Duration = Duration::from_millis(1100);
/// What a busy machine may take for a round of work.
const SLACK: Duration = Duration::from_secs(10);
const COMPONENTS: [Component; 2] = [Component::Scheduler, Component::ControllerManager];

/// The `number`th copies of both components.
fn copies(cluster: &TestCluster, number: u32) -> Vec<ComponentCopy> {
    let copy = |component| cluster.start_copy(component, number, &PERIODS).unwrap();
    COMPONENTS.map(copy).into()
}

async fn leases(cluster: &TestCluster) -> Vec<(String, i32)> {
    let mut found = Vec::new();
    for component in COMPONENTS {
        let lease: Lease =
            cluster.client().get("kube-system", &component.to_string()).await.unwrap();
        let holder = lease.spec.holder_identity.unwrap_or_default();
        found.push((holder, lease.spec.lease_transitions.unwrap_or_default()));
    }
    found
}

/// Waits until both leases have other holders than these.
async fn successors(cluster: &TestCluster, before: &[(String, i32)]) -> Vec<(String, i32)> {
    eventually("new leaders", LEASE + ATTEMPTS + SLACK, async || {
        let now = leases(cluster).await;
        let changed = now.iter().zip(before).all(|(now, old)| !now.0.is_empty() && now.0 != old.0);
        if changed { Ok(now) } else { Err(format!("{now:?}")) }
    })
    .await
}

async fn uids(cluster: &TestCluster) -> BTreeSet<String> {
    let pods = cluster.client().list::<Pod>("default", &ListOptions::default()).await.unwrap();
    pods.items.into_iter().filter_map(|pod| pod.metadata.uid).collect()
}

async fn scale(cluster: &TestCluster, replicas: u32) {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let client = cluster.client();
    client
        .patch::<apimachinery::api::apps::Deployment>("default", "web", &patch, "")
        .await
        .unwrap();
    cluster.wait_ready("web").await;
}

#[tokio::test]
async fn a_standby_takes_over_and_nothing_is_done_twice() {
    let cluster = TestCluster::builder().runner(Runner::Process).nodes(1).start().await.unwrap();
    let own = leases(&cluster).await;
    let first = copies(&cluster, 1);
    cluster.apply(&whoami("web", 2, None)).await.unwrap();
    cluster.wait_ready("web").await;

    // An orderly end hands over at once: the leases of those who end would last for 15 s more.
    let clock = Clock::real();
    let began = clock.monotonic();
    for component in COMPONENTS {
        cluster.stop(component).await.unwrap();
    }
    let led = successors(&cluster, &own).await;
    let took = clock.monotonic() - began;
    assert!(took < Duration::from_secs(13), "{took:?} is no better than a lease that runs out");
    scale(&cluster, 4).await;

    // A killed leader is waited for as long as its lease lasts, and no longer.
    let second = copies(&cluster, 2);
    let before = uids(&cluster).await;
    assert_eq!(leases(&cluster).await[0].0, led[0].0, "the standby does not lead");
    drop(first);
    let began = clock.monotonic();
    let took_over = successors(&cluster, &led).await;
    let took = clock.monotonic() - began;
    // It was renewed at most one retry period before.
    assert!(took > LEASE - ATTEMPTS - Duration::from_secs(1), "not before its time: {took:?}");
    for (old, new) in led.iter().zip(&took_over) {
        assert_eq!(new.1, old.1 + 1, "one transition: {old:?} to {new:?}");
    }
    scale(&cluster, 6).await;
    let after = uids(&cluster).await;
    assert!(before.is_subset(&after) && after.len() == 6, "{before:?} became {after:?}");

    // Each pod was created once and bound once.
    for (reason, component) in [("SuccessfulCreate", "created"), ("Scheduled", "bound")] {
        let events = eventually("the events of six pods", SLACK, async || {
            let options = ListOptions::fields(format!("reason={reason}"));
            let events = cluster.client().list::<Event>("default", &options).await;
            let events = events.map_err(|status| status.to_string())?.items;
            let count: i32 = events.iter().map(|event| event.count.unwrap_or(1).max(1)).sum();
            if count >= 6 { Ok(count) } else { Err(format!("{count} events {reason}")) }
        })
        .await;
        assert_eq!(events, 6, "pods {component}");
    }
    for copy in &second {
        copy.terminate().unwrap();
    }
}
