//! `kill -9` of the API server under load, and objects that are large.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use apimachinery::{
    api::{core::ConfigMap, meta::ObjectMeta},
    status::Status,
};
use client::{Client, ListOptions, WatchEvent, WatchOptions};
use component_base::clock::Clock;
use futures::StreamExt;
use tests::{Component, Runner, TestCluster, eventually};
use tokio::task::JoinSet;

use crate::support::size;

/// Longer than an API server needs to come back.
const PATIENCE: Duration = Duration::from_secs(60);
const WRITERS: usize = 8;
/// Acknowledged writes between two kills.
const WRITES: usize = 40;

fn config_map(name: &str, text: String) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        data: BTreeMap::from([("text".to_owned(), text)]),
        ..ConfigMap::default()
    }
}

fn revision(map: &ConfigMap) -> u64 {
    map.metadata.resource_version.as_deref().unwrap().parse().unwrap()
}

/// Whether the server said so itself, and not the broken connection.
fn is_answer(status: &Status) -> bool {
    client::wire::transport_failure(status).is_none()
}

/// Creates one ConfigMap after the other; what was acknowledged: name to revision.
async fn write(
    client: Client,
    writer: usize,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> BTreeMap<String, u64> {
    let mut written = BTreeMap::new();
    let mut last = 0;
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("w{writer}-{number:06}");
        let map = config_map(&name, format!("content of {name}"));
        match client.create(&map).await {
            Ok(stored) => {
                let now = revision(&stored);
                assert!(now > last, "revisions went back from {last} to {now} at {name}");
                last = now;
                written.insert(name, now);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            // Not acknowledged: it may be there or not. The next name follows.
            Err(status) if !is_answer(&status) => tokio::task::yield_now().await,
            Err(status) => panic!("{name}: {status}"),
        }
    }
    written
}

/// Watches ConfigMaps from a version on, resuming where each broken watch ended: (name, revision) in the order seen,
/// up to the object `last`.
async fn follow(client: Client, mut from: String, last: &str) -> Vec<(String, u64)> {
    let clock = Clock::real();
    let mut seen = Vec::new();
    loop {
        let options = WatchOptions { resource_version: from.clone(), ..WatchOptions::default() };
        let mut stream = match client.watch::<ConfigMap>("default", &options).await {
            Ok(stream) => stream,
            Err(status) if !is_answer(&status) => {
                clock.sleep(Duration::from_millis(5)).await;
                continue;
            }
            Err(status) => panic!("the watch cannot be resumed at {from}: {status}"),
        };
        while let Some(event) = stream.next().await {
            match event {
                Ok(WatchEvent::Added(map)) => {
                    from = map.metadata.resource_version.clone().unwrap();
                    let revision = revision(&map);
                    let name = map.metadata.name.unwrap();
                    let end = name == last;
                    seen.push((name, revision));
                    if end {
                        return seen;
                    }
                }
                Ok(WatchEvent::Bookmark { resource_version, .. }) => from = resource_version,
                Ok(other) => panic!("nobody changes or deletes: {other:?}"),
                Err(status) if !is_answer(&status) => break,
                Err(status) => panic!("the watch from {from} broke: {status}"),
            }
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let cluster = TestCluster::builder().runner(Runner::Process).nodes(0).start().await.unwrap();
    let client = cluster.client();
    let start = eventually("the API answers", PATIENCE, async || {
        client.list::<ConfigMap>("default", &ListOptions::default()).await
    })
    .await;
    let known: BTreeSet<String> =
        start.items.iter().filter_map(|map| map.metadata.name.clone()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = cluster.client_as("kubernetes-admin", &["system:masters"]).unwrap();
        writers.spawn(write(client, writer, stop.clone(), acknowledged.clone()));
    }
    let mut watcher = JoinSet::new();
    watcher.spawn(follow(client.clone(), start.resource_version.clone(), "the-last"));

    for round in 0..size(6, 30) {
        let target = acknowledged.load(Ordering::Relaxed) + WRITES;
        eventually(&format!("writes in round {round}"), PATIENCE, async || {
            match acknowledged.load(Ordering::Relaxed) {
                count if count >= target => Ok(()),
                count => Err(format!("{count} of {target} acknowledged")),
            }
        })
        .await;
        cluster.kill(Component::ApiServer).unwrap();
        cluster.start(Component::ApiServer).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let written: BTreeMap<String, u64> = writers.join_all().await.into_iter().flatten().collect();
    let last = eventually("the last write", PATIENCE, async || {
        client.create(&config_map("the-last", String::new())).await
    })
    .await;

    let list = client.list::<ConfigMap>("default", &ListOptions::default()).await.unwrap();
    let mut stored: BTreeMap<String, u64> = BTreeMap::new();
    for map in &list.items {
        let name = map.metadata.name.clone().unwrap();
        if written.contains_key(&name) {
            assert_eq!(map.data["text"], format!("content of {name}"));
        }
        stored.insert(name, revision(map));
    }
    for (name, revision) in &written {
        assert_eq!(stored.get(name), Some(revision), "{name} was acknowledged");
    }
    assert_eq!(
        stored.values().max(),
        Some(&revision(&last)),
        "the last write has the last revision"
    );

    let seen = watcher.join_next().await.unwrap().unwrap();
    let in_order = seen.windows(2).all(|pair| pair[0].1 < pair[1].1);
    assert!(in_order, "the watcher saw events out of order, or twice");
    stored.retain(|name, _| !known.contains(name) && name != "kube-root-ca.crt");
    let seen: BTreeMap<_, _> =
        seen.into_iter().filter(|(name, _)| name != "kube-root-ca.crt").collect();
    assert_eq!(seen, stored, "the watcher saw each write");
    assert!(written.len() >= size(6, 30) * WRITES);
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// sled puts large values into files of their own, which it does not sync: ours must be cut up before.
#[tokio::test]
async fn large_objects_leave_sleds_blobs_empty() {
    let cluster = TestCluster::builder().nodes(0).durable().start().await.unwrap();
    let text = "x".repeat(900 << 10);
    let count = size(15, 100);
    for number in 0..count {
        let map = config_map(&format!("large-{number}"), text.clone());
        cluster.client().create(&map).await.unwrap();
    }
    let files = files(&cluster.database());
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes > 0 && !files.is_empty(), "the database is here");
    let blobs: Vec<_> = files
        .iter()
        .filter(|file| file.components().any(|part| part.as_os_str() == "blobs"))
        .collect();
    assert!(blobs.is_empty(), "{blobs:?}");

    // What was cut up comes together again, after a restart too.
    cluster.stop(Component::ApiServer).await.unwrap();
    cluster.start(Component::ApiServer).await.unwrap();
    let name = format!("large-{}", count - 1);
    let map: ConfigMap = cluster
        .eventually("the API is back", async || cluster.client().get("default", &name).await)
        .await;
    assert!(map.data["text"] == text, "a large object came back changed");
}
