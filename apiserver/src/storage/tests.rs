//! Tests of the whole store, over both engines.

mod durability;
mod expiry;
mod model;
mod watches;

use std::path::Path;

use bytes::Bytes;
use component_base::clock::Clock;

use super::{
    Compare, KeyValue, ListQuery, Put, Revision, Storage, StorageError, Store, StoreConfig, Txn,
    TxnResult,
    engine::{Engine, memory::MemoryEngine, sled::SledEngine},
};

fn memory() -> Store {
    open(MemoryEngine)
}

fn open(engine: impl Engine) -> Store {
    Store::open(engine, StoreConfig::new(Clock::real())).expect("an engine that opens")
}

fn open_sled(dir: &Path) -> Store {
    open(SledEngine::open(dir).expect("a database that opens"))
}

async fn must_commit(store: &Store, txn: Txn) -> Revision {
    match store.txn(txn).await {
        Ok(TxnResult::Committed { revision, .. }) => revision,
        other => panic!("expected a commit, got {other:?}"),
    }
}

async fn must_put(store: &Store, key: &str, value: &'static str) -> Revision {
    must_commit(store, Txn::put(Put::new(key, value))).await
}

async fn must_get(store: &Store, key: &str) -> Option<Bytes> {
    store.get(key).await.expect("a read").map(|kv| kv.value.clone())
}

/// `key=value@revision` of everything listed.
async fn must_list(store: &Store, query: &ListQuery) -> Vec<String> {
    let list = store.list(query).await.expect("a list");
    list.items.iter().map(|kv| show(kv)).collect()
}

fn show(kv: &KeyValue) -> String {
    format!("{}={}@{}", kv.key, String::from_utf8_lossy(&kv.value), kv.mod_revision)
}

#[tokio::test]
async fn a_write_is_read_back_with_its_revisions() {
    let store = memory();
    must_put(&store, "/registry/pods/a/x", "1").await;
    must_put(&store, "/registry/pods/a/y", "1").await;
    must_put(&store, "/registry/pods/a/x", "2").await;
    let kv = store.get("/registry/pods/a/x").await.expect("a read").expect("a value");
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (Revision(1), Revision(3), 2));
    assert_eq!(&*kv.value, b"2");
    assert_eq!(must_get(&store, "/registry/pods/a/z").await, None);
    assert_eq!(store.current_revision().await, Ok(Revision(3)));
}

#[tokio::test]
async fn the_revision_is_spliced_into_the_slot() {
    let store = memory();
    for _ in 0..9 {
        must_put(&store, "/registry/pods/a/x", "").await;
    }
    let json = r#"{"resourceVersion":"","x":1}"#;
    let slot = json.find("\",\"x").expect("it is there");
    must_commit(&store, Txn::put(Put::new("/registry/pods/a/y", json).slot(slot))).await;
    let kv = store.get("/registry/pods/a/y").await.expect("a read").expect("a value");
    assert_eq!(&*kv.value, br#"{"resourceVersion":"10","x":1}"#);
    assert_eq!(&*kv.value_at(Revision(123)), br#"{"resourceVersion":"123","x":1}"#);
}

#[tokio::test]
async fn a_transaction_happens_as_a_whole_or_not_at_all() {
    let store = memory();
    let (x, y) = ("/registry/services/a/x", "/registry/ips/1");
    let create = |ip: &str| {
        Txn::create(Put::new(x, "svc")).and_compare(Compare::absent(ip)).and_put(Put::new(ip, "x"))
    };
    assert_eq!(must_commit(&store, create(y)).await, Revision(1));
    // The same revision for both.
    assert_eq!(
        must_list(&store, &ListQuery::prefix("/registry/")).await,
        ["/registry/ips/1=x@1", "/registry/services/a/x=svc@1"]
    );

    let result = store.txn(create("/registry/ips/2")).await.expect("an answer");
    let TxnResult::Conflict { failed: 0, current: Some(current) } = result else {
        panic!("{result:?}")
    };
    assert_eq!(&*current.key, x);
    assert_eq!(must_get(&store, "/registry/ips/2").await, None);

    let stale = Txn::delete(x, Revision(7)).and_delete(y);
    assert!(matches!(store.txn(stale).await, Ok(TxnResult::Conflict { failed: 0, .. })));
    let TxnResult::Committed { revision, deleted, .. } = store
        .txn(Txn::delete(x, Revision(1)).and_delete(y).and_delete("/registry/ips/9"))
        .await
        .expect("an answer")
    else {
        panic!("expected a commit")
    };
    assert_eq!(revision, Revision(2));
    let deleted: Vec<_> = deleted.iter().map(|kv| kv.as_ref().map(|kv| show(kv))).collect();
    assert_eq!(deleted, [Some(format!("{x}=svc@1")), Some(format!("{y}=x@1")), None]);
}

#[tokio::test]
async fn nothing_to_change_takes_no_revision() {
    let store = memory();
    must_put(&store, "/registry/pods/a/x", "1").await;
    let gone = Txn::default().and_delete("/registry/pods/a/y");
    assert_eq!(must_commit(&store, gone).await, Revision(1));
    assert_eq!(store.current_revision().await, Ok(Revision(1)));
}

#[tokio::test]
async fn malformed_transactions_are_refused() {
    let store = memory();
    let check = async |txn: Txn, message: &str| {
        assert_eq!(store.txn(txn).await, Err(StorageError::InvalidTxn(message.to_owned())));
    };
    check(Txn::put(Put::new("a", "1")).and_delete("a"), "key a is changed twice").await;
    check(Txn::put(Put::new("a", "1").slot(2)), "slot of a is outside its value").await;
    check(Txn::put(Put::new("", "1")), "key of 0 bytes").await;
    let big = vec![0; 1536 * 1024 + 1];
    check(Txn::put(Put::new("a", big)), "value of a has 1572865 bytes, at most 1572864").await;
}

#[tokio::test]
async fn concurrent_creates_of_one_key_have_one_winner() {
    let store = memory();
    let attempts = (0..50).map(|_| store.txn(Txn::create(Put::new("/registry/pods/a/x", "1"))));
    let results = futures::future::join_all(attempts).await;
    let won =
        results.iter().filter(|result| matches!(result, Ok(TxnResult::Committed { .. }))).count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn lists_are_sorted_paged_and_exact() {
    let store = memory();
    for (key, value) in [("b/2", "p"), ("a/1", "p"), ("a/3", "p"), ("a/2", "p")] {
        must_put(&store, &format!("/registry/pods/{key}"), value).await;
    }
    must_put(&store, "/registry/podtemplates/a/1", "t").await;
    let all = |prefix: &str| ListQuery::prefix(format!("/registry/{prefix}"));
    assert_eq!(
        must_list(&store, &all("pods/a/")).await,
        ["/registry/pods/a/1=p@2", "/registry/pods/a/2=p@4", "/registry/pods/a/3=p@3"]
    );
    assert_eq!(must_list(&store, &all("pod")).await.len(), 5);
    assert_eq!(must_list(&store, &all("po/")).await, [""; 0]);

    let first = store.list(&ListQuery { limit: 2, ..all("pods/") }).await.expect("a page");
    assert_eq!((first.items.len(), first.remaining, first.revision), (2, 2, Revision(5)));
    // In between, the world changes; the second page does not.
    must_put(&store, "/registry/pods/a/3", "changed").await;
    must_commit(&store, Txn::default().and_delete("/registry/pods/b/2")).await;
    must_put(&store, "/registry/pods/c/1", "new").await;
    let start = Some(format!("{}\0", first.items[1].key));
    let second = ListQuery { revision: Some(first.revision), start, limit: 2, ..all("pods/") };
    assert_eq!(
        must_list(&store, &second).await,
        ["/registry/pods/a/3=p@3", "/registry/pods/b/2=p@1"]
    );

    assert_eq!(
        store.list(&ListQuery { revision: Some(Revision(99)), ..all("pods/") }).await,
        Err(StorageError::Future { requested: Revision(99), current: Revision(8) })
    );
    store.compact(Revision(6)).await.expect("a compaction");
    assert_eq!(
        store.list(&second).await,
        Err(StorageError::Compacted { requested: Revision(5), compacted: Revision(6) })
    );
    let kept = ListQuery { revision: Some(Revision(6)), ..all("pods/") };
    assert_eq!(must_list(&store, &kept).await.len(), 4);
}

#[tokio::test]
async fn a_list_selects_by_index() {
    let store = memory();
    for (name, node) in [("1", "node-1"), ("2", "node-2"), ("3", "node-1")] {
        let put = Put::new(format!("/registry/pods/a/{name}"), "p").index(node);
        must_commit(&store, Txn::put(put)).await;
    }
    let query = ListQuery { index: Some("node-1".into()), ..ListQuery::prefix("/registry/pods/") };
    assert_eq!(
        must_list(&store, &query).await,
        ["/registry/pods/a/1=p@1", "/registry/pods/a/3=p@3"]
    );
}

#[tokio::test]
async fn waiting_for_a_revision_ends_when_it_is_there() {
    let store = memory();
    must_put(&store, "/registry/pods/a/x", "1").await;
    assert_eq!(store.wait_for(Revision(1)).await, Ok(Revision(1)));
    let (reached, _) =
        futures::join!(store.wait_for(Revision(2)), must_put(&store, "/registry/pods/a/x", "2"));
    assert_eq!(reached, Ok(Revision(2)));
    let (reached, ()) = futures::join!(store.wait_for(Revision(9)), store.close());
    assert_eq!(reached, Err(StorageError::Closed));
    assert_eq!(store.txn(Txn::put(Put::new("a", "1"))).await, Err(StorageError::Closed));
}
