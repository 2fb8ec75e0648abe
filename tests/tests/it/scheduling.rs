//! The scheduler in a cluster: it explains itself, and another takes over.

use std::time::Duration;

use apimachinery::{
    api::{coordination::Lease, core::Pod},
    resource,
    status::Status,
};
use client::leader_election::{self, Identity};
use component_base::{clock::Clock, metrics::Registry, shutdown::Shutdown};
use serde_json::Value;
use tests::{Component, Runner, TestCluster};

use crate::support::shell;

async fn explained(cluster: &TestCluster, pod: &str) -> Result<Value, Status> {
    let pods = cluster.client().resource(&resource::PODS).namespace("default");
    pods.subresource("scheduling").get(pod).await?.view()
}

fn picky(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{nodeSelector: {{disk: ssd}}, \
         containers: [{{name: c, image: pause}}]}}}}"
    )
}

async fn explains_itself(runner: Runner) {
    let cluster = TestCluster::builder().runner(runner).nodes(2).start().await.unwrap();
    cluster.apply(&picky("picky")).await.unwrap();
    let told = cluster
        .eventually("an explanation", async || {
            let told = explained(&cluster, "picky").await.map_err(|status| status.to_string())?;
            match told["status"]["state"].as_str() {
                Some("Unschedulable") => Ok(told),
                _ => Err(told.to_string()),
            }
        })
        .await;
    assert_eq!(told["kind"], "SchedulingExplanation");
    let message = told["status"]["message"].as_str().unwrap();
    let expected = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.";
    assert!(message.starts_with(expected), "{message}");
    // The condition says the same.
    cluster
        .wait_for::<Pod>("picky", |pod| {
            let told = pod.status.conditions.iter().find(|c| c.type_ == "PodScheduled");
            match told.and_then(|c| c.message.as_deref()) {
                Some(text) if text == message => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    assert!(explained(&cluster, "nobody").await.unwrap_err().is_not_found());
    cluster.stop(Component::Scheduler).await.unwrap();
    let status = explained(&cluster, "picky").await.unwrap_err();
    assert!(status.is_service_unavailable(), "{status}");
}

#[tokio::test]
async fn the_scheduler_explains_itself_in_process() {
    explains_itself(Runner::InProcess).await;
}

#[tokio::test]
async fn the_scheduler_explains_itself_as_a_process() {
    explains_itself(Runner::Process).await;
}

async fn lease(cluster: &TestCluster) -> Lease {
    cluster.client().get("kube-system", "kube-scheduler").await.unwrap()
}

async fn is_scheduled(cluster: &TestCluster, manifest: &str) {
    let pods = cluster.apply(manifest).await.unwrap();
    cluster
        .wait_for::<Pod>(pods[0].name(), |pod| {
            pod.spec.node_name.as_ref().map(drop).ok_or("it waits".to_owned())
        })
        .await;
}

/// The lease of a killed scheduler holds for 15 s; whoever follows it in its place need not wait for that.
#[tokio::test]
async fn a_killed_scheduler_is_followed_at_once_in_its_place() {
    let cluster = TestCluster::builder().runner(Runner::Process).nodes(1).start().await.unwrap();
    is_scheduled(&cluster, &shell("one", "")).await;
    let before = lease(&cluster).await.spec;
    cluster.kill(Component::Scheduler).unwrap();
    let clock = Clock::real();
    let killed = clock.monotonic();
    cluster.start(Component::Scheduler).await.unwrap();
    is_scheduled(&cluster, &shell("two", "")).await;
    let took = clock.monotonic() - killed;
    assert!(took < Duration::from_secs(10), "{took:?}");
    let after = lease(&cluster).await.spec;
    assert_eq!(after.holder_identity, before.holder_identity);
    assert_eq!(after.lease_transitions, before.lease_transitions);
}

/// Room that is taken is not given away before the scheduler has heard of who took it: `z` comes last in the list.
#[tokio::test]
async fn a_new_scheduler_knows_all_pods_before_it_decides() {
    let cluster = TestCluster::builder().nodes(1).start().await.unwrap();
    let half = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: c, image: pause, \
             resources: {{requests: {{cpu: \"5\"}}}}}}]}}}}"
        )
    };
    is_scheduled(&cluster, &half("z")).await;
    cluster.stop(Component::Scheduler).await.unwrap();
    cluster.apply(&half("a")).await.unwrap();
    cluster.start(Component::Scheduler).await.unwrap();
    cluster
        .wait_for::<Pod>("a", |pod| {
            match pod.status.conditions.iter().find(|c| c.status == "False") {
                Some(told) if pod.spec.node_name.is_none() => {
                    let message = told.message.clone().unwrap_or_default();
                    assert!(message.contains("1 Insufficient cpu"), "{message}");
                    Ok(())
                }
                _ => Err(format!("{:?}", pod.spec.node_name)),
            }
        })
        .await;
}

#[tokio::test]
async fn a_second_scheduler_stands_by_and_takes_over() {
    let cluster = TestCluster::builder().nodes(1).start().await.unwrap();
    is_scheduled(&cluster, &shell("one", "")).await;
    let shutdown = Shutdown::new();
    let clock = Clock::real();
    let second = Identity::fresh("second", &clock).name().to_owned();
    let client = cluster.client_as("system:kube-scheduler", &[]).unwrap();
    let metrics = scheduler::metrics::Metrics::new(&Registry::new());
    let scheduler_name = "default-scheduler".to_owned();
    let server =
        scheduler::Server::new(scheduler::Config { client, clock, scheduler_name, metrics });
    let mut election = leader_election::Config::component("kube-scheduler", &second);
    election.retry_period = Duration::from_millis(200);
    let ending = shutdown.clone();
    shutdown.spawn("second", async move {
        server.run_elected(&election, ending).await.expect("it leads until the end");
    });
    is_scheduled(&cluster, &shell("two", "")).await;
    assert_ne!(lease(&cluster).await.spec.holder_identity.as_deref(), Some(&*second));
    cluster.stop(Component::Scheduler).await.unwrap();
    is_scheduled(&cluster, &shell("three", "")).await;
    let lease = lease(&cluster).await.spec;
    assert_eq!(lease.holder_identity.as_deref(), Some(&*second));
    assert_eq!(lease.lease_transitions, Some(1));
    shutdown.cancel();
    shutdown.wait(Duration::from_secs(10)).await.unwrap();
}
