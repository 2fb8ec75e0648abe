//! Keys with a time to live, and history that grows old, on a virtual clock.

use std::time::Duration;

use component_base::clock::{Clock, TestClock};
use jiff::{SignedDuration, Timestamp};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{must_commit, must_get, must_put};
use crate::storage::{
    Put, Revision, Storage, StorageError, Store, StoreConfig, Txn, WatchQuery,
    engine::{Engine, memory::MemoryEngine, sled::SledEngine},
};

struct Maintained {
    store: Store,
    time: TestClock,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

fn maintained(engine: impl Engine, start: Timestamp) -> Maintained {
    let (clock, time) = Clock::test(start);
    let store = Store::open(engine, StoreConfig::new(clock)).expect("it opens");
    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    let (handle, token) = (store.clone(), shutdown.clone());
    tasks.spawn(async move { handle.maintain(token).await });
    Maintained { store, time, shutdown, tasks }
}

impl Maintained {
    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}

fn event(name: &str, ttl: u64) -> Txn {
    Txn::put(Put::new(format!("/registry/events/a/{name}"), "e").ttl(Duration::from_secs(ttl)))
}

#[tokio::test]
async fn a_key_expires_unless_it_is_written_again() {
    let cluster = maintained(MemoryEngine, Timestamp::UNIX_EPOCH);
    let store = &cluster.store;
    must_commit(store, event("x", 3600)).await;
    must_commit(store, event("y", 3600)).await;
    cluster.time.advance(Duration::from_secs(3000)).await;
    must_commit(store, event("y", 3600)).await;
    must_put(store, "/registry/events/a/z", "stays").await;
    cluster.time.advance(Duration::from_secs(601)).await;
    cluster.time.settle().await;
    assert_eq!(must_get(store, "/registry/events/a/x").await, None);
    assert!(must_get(store, "/registry/events/a/y").await.is_some());
    cluster.time.advance(Duration::from_secs(3600)).await;
    cluster.time.settle().await;
    assert_eq!(must_get(store, "/registry/events/a/y").await, None);
    assert!(must_get(store, "/registry/events/a/z").await.is_some());
    assert_eq!(store.metrics().expired.get(), 2);
    cluster.stop().await;
}

#[tokio::test]
async fn setting_the_wall_clock_changes_no_ones_time() {
    let cluster = maintained(MemoryEngine, "2026-01-01T00:00:00Z".parse().expect("a time"));
    let store = &cluster.store;
    must_commit(store, event("x", 3600)).await;
    cluster.time.set_wall_clock(SignedDuration::from_hours(6));
    must_commit(store, event("y", 3600)).await;
    cluster.time.advance(Duration::from_secs(1800)).await;
    cluster.time.set_wall_clock(SignedDuration::from_hours(-12));
    must_commit(store, event("z", 3600)).await;
    cluster.time.advance(Duration::from_secs(1700)).await;
    assert!(must_get(store, "/registry/events/a/x").await.is_some(), "not before its hour");
    cluster.time.advance(Duration::from_secs(200)).await;
    for (name, there) in [("x", false), ("y", false), ("z", true)] {
        let found = must_get(store, &format!("/registry/events/a/{name}")).await;
        assert_eq!(found.is_some(), there, "{name}");
    }
    cluster.time.advance(Duration::from_secs(1800)).await;
    assert_eq!(must_get(store, "/registry/events/a/z").await, None);
    cluster.stop().await;
}

#[tokio::test]
async fn expiry_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = || SledEngine::open(dir.path()).expect("it opens");
    let before = maintained(engine(), Timestamp::UNIX_EPOCH);
    must_commit(&before.store, event("x", 60)).await;
    must_commit(&before.store, event("y", 7200)).await;
    before.stop().await;

    let later = Timestamp::from_second(3600).expect("in range");
    let after = maintained(engine(), later);
    after.time.settle().await;
    assert_eq!(must_get(&after.store, "/registry/events/a/x").await, None);
    assert!(must_get(&after.store, "/registry/events/a/y").await.is_some());
    after.stop().await;
}

#[tokio::test]
async fn old_history_is_compacted() {
    let cluster = maintained(MemoryEngine, Timestamp::UNIX_EPOCH);
    let store = &cluster.store;
    must_put(store, "/registry/pods/a/x", "1").await;
    must_put(store, "/registry/pods/a/x", "2").await;
    cluster.time.advance(Duration::from_secs(240)).await;
    assert!(store.watch(WatchQuery::prefix("/registry/pods/", Revision(0))).await.is_ok());
    cluster.time.advance(Duration::from_secs(240)).await;
    cluster.time.settle().await;
    let error = store.watch(WatchQuery::prefix("/registry/pods/", Revision(1))).await.err();
    let compacted = Revision(2);
    assert_eq!(error, Some(StorageError::Compacted { requested: Revision(1), compacted }));
    cluster.stop().await;
}
