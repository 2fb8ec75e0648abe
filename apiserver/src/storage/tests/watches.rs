//! What watchers see.

use futures::FutureExt;

use super::{memory, must_commit, must_put, show};
use crate::storage::{
    Event, EventKind, Put, Retention, Revision, Storage, StorageError, Store, StoreConfig, Txn,
    Watch, WatchQuery, engine::memory::MemoryEngine,
};
use component_base::clock::Clock;

/// What is there to be seen without waiting: `PUT key=value@revision`, `NEW` for the first of a key, `DEL`.
fn seen(watch: &mut Watch) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(batch) = watch.next().now_or_never() {
        let batch = batch.expect("an open store").expect("no error");
        assert!(!batch.is_empty());
        all.extend(batch.iter().map(|event| show_event(event)));
    }
    all
}

fn show_event(event: &Event) -> String {
    let kind = match (event.kind, &event.previous) {
        (EventKind::Put, None) => "NEW",
        (EventKind::Put, Some(_)) => "PUT",
        (EventKind::Delete, _) => "DEL",
    };
    format!("{kind} {}", show(&event.kv))
}

async fn watch(store: &Store, prefix: &str, after: u64) -> Watch {
    store.watch(WatchQuery::prefix(prefix, Revision(after))).await.expect("a watch")
}

#[tokio::test]
async fn a_watch_starts_after_its_revision_and_goes_on() {
    let store = memory();
    must_put(&store, "/registry/pods/a/x", "1").await;
    must_put(&store, "/registry/pods/a/x", "2").await;
    let mut pods = watch(&store, "/registry/pods/", 1).await;
    assert_eq!(seen(&mut pods), ["PUT /registry/pods/a/x=2@2"]);
    must_put(&store, "/registry/pods/b/y", "1").await;
    must_put(&store, "/registry/nodes/n", "1").await;
    must_commit(&store, Txn::default().and_delete("/registry/pods/a/x")).await;
    assert_eq!(seen(&mut pods), ["NEW /registry/pods/b/y=1@3", "DEL /registry/pods/a/x=2@5"]);
    let mut namespace = watch(&store, "/registry/pods/b/", 0).await;
    assert_eq!(seen(&mut namespace), ["NEW /registry/pods/b/y=1@3"]);
    let mut everything = watch(&store, "/registry/", 3).await;
    assert_eq!(seen(&mut everything), ["NEW /registry/nodes/n=1@4", "DEL /registry/pods/a/x=2@5"]);
}

#[tokio::test]
async fn a_deleted_object_carries_the_revision_of_its_deletion() {
    let store = memory();
    must_commit(&store, Txn::put(Put::new("/registry/pods/a/x", r#"{"v":""}"#).slot(6))).await;
    must_commit(&store, Txn::delete("/registry/pods/a/x", Revision(1))).await;
    let mut pods = watch(&store, "/registry/pods/", 1).await;
    let batch = pods.next().now_or_never().flatten().expect("there").expect("no error");
    assert_eq!(show_event(&batch[0]), r#"DEL /registry/pods/a/x={"v":"2"}@2"#);
    assert_eq!(
        batch[0].previous.as_ref().map(|kv| show(kv)).as_deref(),
        Some(r#"/registry/pods/a/x={"v":"1"}@1"#)
    );
}

#[tokio::test]
async fn a_transaction_is_never_split() {
    let store = memory();
    let many = |value: &'static str| {
        let puts = (0..300).map(|n| Put::new(format!("/registry/pods/a/{n}"), value)).collect();
        Txn { puts, ..Txn::default() }
    };
    let mut pods = watch(&store, "/registry/pods/", 0).await;
    must_commit(&store, many("1")).await;
    must_commit(&store, many("2")).await;
    for revision in [1, 2] {
        let batch = pods.next().await.expect("an open store").expect("no error");
        assert_eq!(batch.len(), 300);
        assert!(batch.iter().all(|event| event.revision() == Revision(revision)));
        assert_eq!(pods.progress(), Revision(revision));
    }
}

#[tokio::test]
async fn progress_is_told_though_nothing_concerns_the_watcher() {
    let store = memory();
    let mut pods = watch(&store, "/registry/pods/", 0).await;
    must_put(&store, "/registry/nodes/n", "1").await;
    must_put(&store, "/registry/nodes/n", "2").await;
    assert_eq!(pods.progress(), Revision(0));
    assert_eq!(seen(&mut pods), [""; 0]);
    assert_eq!(pods.progress(), Revision(2));
    must_put(&store, "/registry/pods/a/x", "1").await;
    must_put(&store, "/registry/nodes/n", "3").await;
    let batch = pods.next().await.expect("an open store").expect("no error");
    assert_eq!((batch.len(), pods.progress()), (1, Revision(3)));
}

#[tokio::test]
async fn a_watch_from_the_future_waits_for_it() {
    let store = memory();
    let mut pods = watch(&store, "/registry/pods/", 2).await;
    for value in ["1", "2", "3"] {
        must_put(&store, "/registry/pods/a/x", value).await;
    }
    assert_eq!(seen(&mut pods), ["PUT /registry/pods/a/x=3@3"]);
}

#[tokio::test]
async fn an_indexed_watch_sees_both_sides_of_a_move() {
    let store = memory();
    let pod = |name: &str, node: Option<&str>| {
        let put = Put::new(format!("/registry/pods/a/{name}"), "p");
        Txn::put(match node {
            Some(node) => put.index(node),
            None => put,
        })
    };
    must_commit(&store, pod("x", None)).await;
    must_commit(&store, pod("x", Some("n1"))).await;
    let on = async |node: &str, after| {
        let query = WatchQuery {
            index: Some(node.into()),
            ..WatchQuery::prefix("/registry/pods/", Revision(after))
        };
        store.watch(query).await.expect("a watch")
    };
    let mut n1 = on("n1", 0).await;
    let mut n2 = on("n2", 0).await;
    assert_eq!(seen(&mut n1), ["PUT /registry/pods/a/x=p@2"]);
    assert_eq!(seen(&mut n2), [""; 0]);
    must_commit(&store, pod("y", Some("n2"))).await;
    must_commit(&store, pod("x", Some("n2"))).await;
    must_commit(&store, Txn::default().and_delete("/registry/pods/a/x")).await;
    assert_eq!(seen(&mut n1), ["PUT /registry/pods/a/x=p@4"]);
    let moved =
        ["NEW /registry/pods/a/y=p@3", "PUT /registry/pods/a/x=p@4", "DEL /registry/pods/a/x=p@5"];
    assert_eq!(seen(&mut n2), moved);
    // The same for one who comes later, and when the stream had been forgotten in between.
    drop(n2);
    assert_eq!(seen(&mut on("n2", 0).await), moved);
}

#[tokio::test]
async fn who_resumes_before_the_compaction_must_list_again() {
    let store = memory();
    for value in ["1", "2", "3", "4"] {
        must_put(&store, "/registry/pods/a/x", value).await;
    }
    let mut slow = watch(&store, "/registry/pods/", 1).await;
    let mut quick = watch(&store, "/registry/pods/", 3).await;
    store.compact(Revision(3)).await.expect("a compaction");
    let compacted = |requested| StorageError::Compacted {
        requested: Revision(requested),
        compacted: Revision(3),
    };
    assert_eq!(
        store.watch(WatchQuery::prefix("/registry/pods/", Revision(2))).await.err(),
        Some(compacted(2))
    );
    assert_eq!(slow.next().await, Some(Err(compacted(1))));
    assert_eq!(slow.next().await, None);
    assert_eq!(seen(&mut quick), ["PUT /registry/pods/a/x=4@4"]);
    assert_eq!(store.compact(Revision(3)).await, Err(compacted(3)));
}

#[tokio::test]
async fn the_history_is_bounded_by_bytes() {
    let retention = Retention { base_bytes: 64 << 10, ..Retention::default() };
    let config = StoreConfig { retention, ..StoreConfig::new(Clock::real()) };
    let store = Store::open(MemoryEngine, config).expect("it opens");
    let mut slow = watch(&store, "/registry/leases/", 0).await;
    let mut quick = watch(&store, "/registry/leases/", 0).await;
    let mut count = 0;
    for _ in 0..1000 {
        must_commit(&store, Txn::put(Put::new("/registry/leases/a", vec![b'x'; 512]))).await;
        count += seen(&mut quick).len();
    }
    assert_eq!(count, 1000);
    assert!(matches!(slow.next().await, Some(Err(StorageError::Compacted { .. }))));
    let bytes = store.metrics().history_bytes.get();
    assert!(bytes <= 70_000, "{bytes} bytes of history");
}

#[tokio::test]
async fn a_waiting_watcher_is_woken_and_ends_with_the_store() {
    let store = memory();
    let mut pods = watch(&store, "/registry/pods/", 0).await;
    let (batch, _) = futures::join!(pods.next(), must_put(&store, "/registry/pods/a/x", "1"));
    assert_eq!(batch.expect("an open store").expect("no error").len(), 1);
    let (end, ()) = futures::join!(pods.next(), store.close());
    assert_eq!(end, None);
}
