use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use component_base::clock::Clock;
use futures::future::join_all;

use super::*;
use crate::storage::{Put, Storage, StorageError, Store, StoreConfig, Txn, TxnResult};

fn open(dir: &Path) -> SledEngine {
    SledEngine::open(dir).expect("a database that opens")
}

fn store(engine: SledEngine) -> Store {
    Store::open(engine, StoreConfig::new(Clock::real())).expect("a database that loads")
}

fn put(n: usize) -> Txn {
    Txn::put(Put::new(format!("/registry/pods/a/{n}"), vec![b'x'; 700]))
}

/// Copies what is in the directory at this moment.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("blobs")).expect("created");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
        }
    }
}

#[tokio::test]
async fn an_answer_comes_after_the_sync_that_covers_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let copies = tempfile::tempdir().expect("a directory");
    let mut engine = open(dir.path());
    let syncs = Arc::new(AtomicUsize::new(0));
    let (count, from, to) = (syncs.clone(), dir.path().to_owned(), copies.path().to_owned());
    // What is there when a sync begins is all that a power failure after it is sure to leave.
    engine.log.sync = Box::new(move |_| {
        copy(&from, &to.join(count.load(Ordering::SeqCst).to_string()));
        count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let store = store(engine);
    let answers = (0..60).map(|n| {
        let (store, syncs) = (&store, &syncs);
        async move {
            let Ok(TxnResult::Committed { revision, .. }) = store.txn(put(n)).await else {
                panic!("not committed")
            };
            (revision, syncs.load(Ordering::SeqCst))
        }
    });
    let answers = join_all(answers).await;
    store.close().await;
    for sync in 0..syncs.load(Ordering::SeqCst) {
        let left =
            open(&copies.path().join(sync.to_string())).load().expect("a database that loads");
        let durable = left.records.last().map(|record| record.id().revision);
        let answered = answers
            .iter()
            .filter(|(_, syncs)| *syncs == sync + 1)
            .map(|(revision, _)| *revision)
            .max();
        assert!(
            answered <= durable,
            "{answered:?} was answered after sync {sync}, which had {durable:?}"
        );
    }
}

#[tokio::test]
async fn a_sync_that_fails_is_told_and_ends_writing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut engine = open(dir.path());
    let mut calls = 0;
    engine.log.sync = Box::new(move |file| {
        calls += 1;
        if calls == 2 { Err(io::Error::other("disk on fire")) } else { file.sync_data() }
    });
    let store = store(engine);
    assert!(store.txn(put(1)).await.is_ok());
    let reason = format!("fdatasync failed: disk on fire in {}", dir.path().display());
    let refused = Err(StorageError::ReadOnly(reason));
    assert_eq!(store.txn(put(2)).await, refused);
    assert_eq!(store.txn(put(3)).await, refused);
    assert_eq!(store.get("/registry/pods/a/2").await, Ok(None));
    store.close().await;
}

#[test]
fn another_format_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open(dir.path());
    engine.database.insert(FORMAT_KEY, &99_u32.to_be_bytes()).expect("written");
    drop(engine);
    let error = SledEngine::open(dir.path()).err().expect("a refusal");
    assert!(matches!(error, OpenError::Format { found: 99, supported: 1, .. }), "{error}");
}

#[test]
fn a_missing_piece_is_noticed() {
    let record = vec![7; PIECE + 10];
    let id = RecordId { revision: Revision(3), sub: 0 };
    let mut pieces = Pieces::default();
    let all: Vec<&[u8]> = pieces_of(&record).collect();
    assert_eq!(all.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [PIECE, 10]);
    assert_eq!(pieces.add(&record_key(id, 0), all[0].into()), Ok(None));
    let next = RecordId { revision: Revision(4), sub: 0 };
    let missing = "a piece of revision 3 is missing".to_owned();
    assert_eq!(pieces.add(&record_key(next, 0), all[1].into()), Err(missing));
    assert_eq!(pieces.finish(), Err("the end of revision 3 is missing".to_owned()));
    assert_eq!(pieces_of(&[7; PIECE]).count(), 2);
}
