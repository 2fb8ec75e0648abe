//! What survives, and what is said when something does not.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use component_base::clock::Clock;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{memory, must_commit, must_get, must_list, must_put, open, open_sled};
use crate::storage::{
    ListQuery, OpenError, Put, Revision, Storage, StorageError, Store, StoreConfig, Txn, TxnResult,
    WatchQuery,
    engine::{
        fault::{FaultEngine, Faults},
        memory::MemoryEngine,
        sled::SledEngine,
    },
};

fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open_error(dir: &Path) -> OpenError {
    match SledEngine::open(dir) {
        Err(error) => error,
        Ok(mut engine) => crate::storage::engine::Engine::load(&mut engine).expect_err("a refusal"),
    }
}

#[tokio::test]
async fn a_restart_brings_back_state_history_and_revisions() {
    let dir = tempdir();
    let store = open_sled(dir.path());
    must_put(&store, "/registry/pods/a/x", "1").await;
    must_commit(
        &store,
        Txn::put(Put::new("/registry/pods/a/x", r#"{"v":""}"#).slot(6).index("n1")),
    )
    .await;
    must_put(&store, "/registry/pods/a/y", "1").await;
    must_commit(&store, Txn::default().and_delete("/registry/pods/a/x")).await;
    let before: Vec<_> = history(&store, 0).await;
    store.close().await;

    let store = open_sled(dir.path());
    assert_eq!(
        must_list(&store, &ListQuery::prefix("/registry/")).await,
        ["/registry/pods/a/y=1@3"]
    );
    assert_eq!(history(&store, 0).await, before);
    assert_eq!(history(&store, 3).await, before[3..]);
    assert_eq!(must_put(&store, "/registry/pods/a/y", "2").await, Revision(5));
    store.close().await;
}

async fn history(store: &crate::storage::Store, after: u64) -> Vec<crate::storage::Event> {
    let current = store.current_revision().await.expect("a revision");
    let mut watch =
        store.watch(WatchQuery::prefix("/registry/", Revision(after))).await.expect("a watch");
    let mut events = Vec::new();
    while watch.progress() < current {
        let batch = watch.next().await.expect("an open store").expect("no error");
        events.extend(batch.iter().map(|event| (**event).clone()));
    }
    events
}

#[tokio::test]
async fn large_values_are_cut_into_pieces_within_the_log() {
    let dir = tempdir();
    let store = open_sled(dir.path());
    let sizes = [0, 4000, 4096, 4097, 8192, 100_000, 1536 * 1024];
    let key = |size: usize| format!("/registry/configmaps/a/{size}");
    for size in sizes {
        must_commit(&store, Txn::put(Put::new(key(size), vec![b'x'; size]))).await;
    }
    must_commit(&store, Txn::put(Put::new(key(100_000), "small"))).await;
    store.compact(Revision(8)).await.expect("a compaction");
    store.close().await;
    let store = open_sled(dir.path());
    for size in sizes {
        let expected = if size == 100_000 { 5 } else { size };
        assert_eq!(must_get(&store, &key(size)).await.map(|value| value.len()), Some(expected));
    }
    store.close().await;
    assert_eq!(fs::read_dir(dir.path().join("blobs")).expect("a directory").count(), 0);
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable() {
    let faults = Faults::default();
    let store = open(FaultEngine::new(MemoryEngine, faults.clone()));
    let writes = (0..100).map(|n| {
        let (store, faults) = (&store, &faults);
        async move {
            let revision = must_put(store, &format!("/registry/pods/a/{n}"), "1").await;
            assert!(
                faults.durable() >= revision,
                "{revision} was acknowledged, {} is durable",
                faults.durable()
            );
        }
    });
    futures::future::join_all(writes).await;
    assert!(faults.groups() < 100, "transactions are grouped");
}

#[tokio::test]
async fn after_a_failed_write_the_store_reads_but_does_not_write() {
    let faults = Faults::default();
    let store = open(FaultEngine::new(MemoryEngine, faults.clone()));
    must_put(&store, "/registry/pods/a/x", "1").await;
    let mut watch =
        store.watch(WatchQuery::prefix("/registry/", Revision(1))).await.expect("a watch");
    faults.fail_after(0);
    let refused = Err(StorageError::ReadOnly("write failed: injected fault".to_owned()));
    assert_eq!(store.txn(Txn::put(Put::new("/registry/pods/a/x", "2"))).await, refused);
    assert_eq!(must_get(&store, "/registry/pods/a/x").await.as_deref(), Some(&b"1"[..]));
    assert_eq!(store.current_revision().await, Ok(Revision(1)));
    assert!(futures::FutureExt::now_or_never(watch.next()).is_none());
    assert_eq!(store.txn(Txn::put(Put::new("/registry/pods/a/y", "1"))).await, refused);
    // What needs no write is still answered.
    let conflict = store.txn(Txn::create(Put::new("/registry/pods/a/x", "2"))).await;
    assert!(matches!(conflict, Ok(TxnResult::Conflict { .. })), "{conflict:?}");
}

/// A store on a disk that fails says so, and tells its owner when the disk takes writes again.
#[tokio::test]
async fn a_store_whose_disk_is_mended_asks_to_be_opened_again() {
    let (clock, time) = Clock::test("2026-01-01T00:00:00Z".parse().expect("a time"));
    let faults = Faults::default();
    let engine = FaultEngine::new(MemoryEngine, faults.clone());
    let store = Store::open(engine, StoreConfig::new(clock)).expect("opened");
    let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
    let (owner, token) = (store.clone(), end.clone());
    let maintained = tasks.spawn(async move { owner.maintain(token).await });
    time.run(must_put(&store, "/registry/pods/a/x", "1")).await;
    assert_eq!(store.failure(), None);
    faults.fail_after(0);
    let refused = time.run(store.txn(Txn::put(Put::new("/registry/pods/a/x", "2")))).await;
    let message = refused.expect_err("refused").to_string();
    assert!(message.contains("injected fault: make room on its disk"), "{message}");
    assert_eq!(store.failure().as_deref(), Some("write failed: injected fault"));
    time.advance(Duration::from_secs(3600)).await;
    assert!(!maintained.is_finished(), "the disk is as it was");
    faults.mend();
    time.advance(Duration::from_secs(3)).await;
    assert!(matches!(maintained.await, Ok(Err(StorageError::ReadOnly(_)))));
    // What the disk holds of the last writes is not known before.
    let still = store.txn(Txn::put(Put::new("/registry/pods/a/x", "2"))).await;
    assert!(matches!(still, Err(StorageError::ReadOnly(_))), "{still:?}");
}

#[tokio::test]
async fn a_slow_disk_does_not_stall_reads() {
    let faults = Faults::default();
    let store = open(FaultEngine::new(MemoryEngine, faults.clone()));
    must_put(&store, "/registry/pods/a/x", "1").await;
    faults.stall();
    let write = must_put(&store, "/registry/pods/a/x", "2");
    let mut write = std::pin::pin!(write);
    for _ in 0..100 {
        assert!(futures::poll!(&mut write).is_pending(), "acknowledged before it is durable");
        assert_eq!(must_get(&store, "/registry/pods/a/x").await.as_deref(), Some(&b"1"[..]));
        assert_eq!(must_list(&store, &ListQuery::prefix("/registry/")).await.len(), 1);
        assert_eq!(store.current_revision().await, Ok(Revision(1)));
    }
    faults.resume();
    assert_eq!(write.await, Revision(2));
}

#[tokio::test]
async fn a_database_in_use_is_not_opened_twice() {
    let dir = tempdir();
    let store = open_sled(dir.path());
    assert!(matches!(open_error(dir.path()), OpenError::Locked { .. }));
    store.close().await;
    open_sled(dir.path()).close().await;
}

/// Stores 200 keys and tells the name of the log.
async fn filled(dir: &Path) -> std::path::PathBuf {
    let store = open_sled(dir);
    for n in 0..200 {
        must_commit(&store, Txn::put(Put::new(format!("/registry/pods/a/{n}"), vec![b'x'; 1000])))
            .await;
    }
    store.close().await;
    dir.join("db")
}

#[tokio::test]
async fn a_log_that_was_cut_off_is_refused() {
    let dir = tempdir();
    let log = filled(dir.path()).await;
    // What happens after a kernel that lied about its sync: the end is not there.
    fs::remove_dir_all(dir.path().join("blobs")).expect("removed");
    for entry in fs::read_dir(dir.path()).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap")) {
            fs::remove_file(path).expect("removed");
        }
    }
    let file = File::options().write(true).open(&log).expect("the log");
    file.set_len(100 * 1024).expect("cut");
    let error = open_error(dir.path());
    let OpenError::Truncated { expected, found, .. } = &error else { panic!("{error}") };
    assert_eq!(*expected, Revision(200));
    assert!(*found < Revision(200));
    let text = error.to_string();
    assert!(text.contains("last-durable-revision") && text.contains("backup"), "{text}");
    // Who accepts the loss deletes the marker.
    fs::remove_file(dir.path().join("last-durable-revision")).expect("removed");
    open_sled(dir.path()).close().await;
}

#[tokio::test]
async fn an_emptied_or_damaged_database_is_refused_by_name() {
    let dir = tempdir();
    let log = filled(dir.path()).await;
    let bytes = fs::read(&log).expect("the log");
    for fill in [0, 0xa5] {
        let mut damaged = bytes.clone();
        let end = damaged.len().min(60_000);
        damaged[20_000..end].fill(fill);
        fs::write(&log, &damaged).expect("written");
        let text = open_error(dir.path()).to_string();
        assert!(text.contains(&*log.to_string_lossy()), "{text}");
        fs::write(&log, &bytes).expect("written");
    }
    fs::remove_file(&log).expect("removed");
    let error = open_error(dir.path());
    assert!(matches!(error, OpenError::Truncated { .. } | OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_dropped_store_finishes_what_was_asked() {
    let store = memory();
    let other = store.clone();
    drop(store);
    must_put(&other, "/registry/pods/a/x", "1").await;
}
