//! Many small updates leave a small store, and an idle cluster writes next to nothing.

use std::{fs, path::Path, time::Duration};

use apimachinery::api::{
    coordination::{Lease, LeaseSpec},
    meta::ObjectMeta,
};
use client::{Client, Patch};
use component_base::clock::Clock;
use http::Method;
use serde_json::json;
use tests::{Component, Runner, TestCluster};
use tokio::task::JoinSet;

use crate::{rest::Rest, support::size};

const CLIENTS: usize = 16;
const MIB: u64 = 1 << 20;

/// Resident memory of a process, in bytes.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn disk(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            // Files come and go while we look.
            if path.is_dir() { disk(&path) } else { path.metadata().map_or(0, |m| m.len()) }
        })
        .sum()
}

/// Renews a Lease of its own again and again.
async fn renew(client: Client, number: usize, times: usize) {
    let name = format!("churn-{number}");
    for round in 0..times {
        let patch = Patch::Merge(json!({"spec": {"holderIdentity": format!("{name}-{round}")}}));
        client.patch::<Lease>("default", &name, &patch, "").await.unwrap();
    }
}

async fn churn(cluster: &TestCluster, updates: usize) {
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(renew(cluster.client().clone(), number, updates.div_ceil(CLIENTS)));
    }
    clients.join_all().await;
}

/// The value of a metric without labels, from the API server's `/metrics`.
async fn metric(rest: &Rest, name: &str) -> f64 {
    let (status, text) = rest.text(Method::GET, "/metrics", "").await;
    assert_eq!(status, 200);
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no metric {name} in {text}"))
}

#[tokio::test]
async fn renewing_leases_leaves_a_small_store() {
    let cluster = TestCluster::builder().runner(Runner::Process).nodes(0).start().await.unwrap();
    let created = |number: usize| Lease {
        metadata: ObjectMeta {
            name: Some(format!("churn-{number}")),
            namespace: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        spec: LeaseSpec { holder_identity: Some("x".to_owned()), ..LeaseSpec::default() },
    };
    for number in 0..CLIENTS {
        cluster
            .eventually("the API answers", async || cluster.client().create(&created(number)).await)
            .await;
    }
    churn(&cluster, 1_000).await;
    let pid = cluster.pid(Component::ApiServer).unwrap();
    let before = memory(pid);
    let updates = size(4_000, 100_000);
    churn(&cluster, updates).await;

    let (limit, grown) = (64 * MIB, 10 * MIB);
    cluster
        .eventually("a small store", async || {
            let (disk, memory) = (disk(&cluster.database()), memory(pid));
            if disk <= limit && memory <= before + grown {
                Ok(())
            } else {
                Err(format!("{} MiB on disk, memory {before} -> {memory}", disk / MIB))
            }
        })
        .await;
    // A restart finds what the last renewals wrote.
    cluster.kill(Component::ApiServer).unwrap();
    cluster.start(Component::ApiServer).await.unwrap();
    let last = updates.div_ceil(CLIENTS) - 1;
    for number in 0..CLIENTS {
        let name = format!("churn-{number}");
        let lease: Lease = cluster
            .eventually("the API is back", async || cluster.client().get("default", &name).await)
            .await;
        assert_eq!(lease.spec.holder_identity, Some(format!("{name}-{last}")));
    }
}

/// At most two syncs a second, over a while that a test has to spend: it is the thing measured.
#[tokio::test]
async fn an_idle_cluster_syncs_rarely() {
    let cluster = TestCluster::builder().runner(Runner::Process).nodes(3).start().await.unwrap();
    let rest = Rest::admin(&cluster);
    let groups = "apiserver_storage_groups_total";
    let clock = Clock::real();
    let seconds = u32::try_from(size(10, 60)).unwrap();
    // The start's own writes are over when a second passes without any.
    cluster
        .eventually("calm", async || {
            let before = metric(&rest, groups).await;
            clock.sleep(Duration::from_secs(1)).await;
            let written = metric(&rest, groups).await - before;
            if written < 3.0 { Ok(()) } else { Err(format!("{written} groups in a second")) }
        })
        .await;
    let before = metric(&rest, groups).await;
    clock.sleep(Duration::from_secs(seconds.into())).await;
    let written = metric(&rest, groups).await - before;
    assert!(before > 0.0 && written > 0.0, "the nodes' leases are written");
    assert!(written <= 2.0 * f64::from(seconds), "{written} syncs in {seconds} s");
}
