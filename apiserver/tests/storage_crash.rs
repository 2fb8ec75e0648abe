//! Kills a process while it writes, again and again, and looks at what is left.
//!
//! The test runs itself as the child (`child`, which does nothing unless told where). The child says on its output what the
//! store has acknowledged; whatever it has said must be there afterwards.
//! `STORE_CRASH_SCALE=50` makes it a soak.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use apiserver::storage::{
    EventKind, ListQuery, Put, Retention, Revision, Storage, Store, StoreConfig, Txn, TxnResult,
    WatchQuery, engine::sled::SledEngine,
};
use component_base::clock::Clock;

const DIR: &str = "STORE_CRASH_DIR";
const HISTORY: &str = "STORE_CRASH_HISTORY";
const WRITERS: usize = 8;
const KEYS: usize = 40;

fn scale() -> usize {
    env::var("STORE_CRASH_SCALE").map_or(1, |text| text.parse().expect("a number"))
}

fn open(dir: &Path, history: usize) -> Store {
    let retention = Retention { base_bytes: history, max_bytes: history, ..Retention::default() };
    let config = StoreConfig { retention, ..StoreConfig::new(Clock::real()) };
    Store::open(SledEngine::open(dir).expect("a database that opens"), config)
        .expect("a database that loads")
}

/// Writes until it is killed, and prints `revision key length` after each acknowledgement; length 0 is a deletion.
#[test]
fn child() {
    let Ok(dir) = env::var(DIR) else { return };
    let history = env::var(HISTORY).expect("it is set").parse().expect("a number");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    runtime.block_on(async {
        let store = open(Path::new(&dir), history);
        let start = store.current_revision().await.expect("a revision").0 as usize;
        futures::future::join_all((0..WRITERS).map(|writer| write(&store, writer, start))).await;
    });
}

async fn write(store: &Store, writer: usize, start: usize) {
    for n in start.. {
        let key = format!("/registry/pods/{writer}/{}", (n * 7) % (KEYS * scale()));
        let exists = store.get(&key).await.expect("a read").is_some();
        let (txn, length) = if n % 5 == 0 && exists {
            (Txn::default().and_delete(key.as_str()), 0)
        } else {
            let length = 1 + (n * 131) % if n % 50 == 0 { 20_000 } else { 1200 };
            (Txn::put(Put::new(key.as_str(), vec![b'x'; length])), length)
        };
        let Ok(TxnResult::Committed { revision, .. }) = store.txn(txn).await else {
            panic!("not committed")
        };
        let line = format!("ack {revision} {key} {length}\n");
        std::io::stdout().write_all(line.as_bytes()).expect("a parent that listens");
    }
}

/// Lets a child write until it has acknowledged `count` transactions, kills it, and tells what it acknowledged.
fn run_child(dir: &Path, history: usize, count: usize) -> BTreeMap<Revision, (String, usize)> {
    let mut child = Command::new(env::current_exe().expect("a path"))
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(HISTORY, history.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut acknowledged = BTreeMap::new();
    let mut line = String::new();
    // After the kill, what is still in the pipe counts as well.
    while output.read_line(&mut line).expect("a line") > 0 {
        // The harness prints on the same line at first.
        if line.ends_with('\n')
            && let Some(at) = line.find("ack ")
        {
            let mut words = line[at + 4..].split_whitespace();
            let revision = words.next().and_then(|word| word.parse().ok()).expect("a revision");
            let key = words.next().expect("a key").to_owned();
            let length = words.next().and_then(|word| word.parse().ok()).expect("a length");
            assert!(
                acknowledged.insert(Revision(revision), (key, length)).is_none(),
                "{revision} twice"
            );
            if acknowledged.len() == count {
                child.kill().expect("killed");
            }
        }
        line.clear();
    }
    child.wait().expect("waited");
    assert!(acknowledged.len() >= count, "the child died by itself");
    acknowledged
}

/// Every acknowledged change, by its revision, as long as the history reaches back.
async fn check(
    dir: &Path,
    history: usize,
    acknowledged: &BTreeMap<Revision, (String, usize)>,
    before: Revision,
) {
    let store = open(dir, history);
    let current = store.current_revision().await.expect("a revision");
    let last = *acknowledged.last_key_value().expect("there are some").0;
    assert!(current >= last, "revision {current}, but {last} was acknowledged");

    let mut newest: BTreeMap<&str, (Revision, usize)> = BTreeMap::new();
    for (revision, (key, length)) in acknowledged {
        newest.insert(key, (*revision, *length));
    }
    let list = store.list(&ListQuery::prefix("/registry/")).await.expect("a list");
    let stored: BTreeMap<&str, _> =
        list.items.iter().map(|kv| (&*kv.key, (kv.mod_revision, kv.value.len()))).collect();
    for (key, (revision, length)) in newest {
        // A later write of the key may be durable though its answer was not heard.
        let unheard = |later: Revision| later > revision && !acknowledged.contains_key(&later);
        match stored.get(key) {
            Some((later, _)) if unheard(*later) => {}
            Some(found) => assert_eq!(*found, (revision, length), "{key}"),
            None => {
                let deleted = (revision.0..=current.0).any(|later| unheard(Revision(later)));
                assert!(length == 0 || deleted, "{key} of revision {revision} is gone");
            }
        }
    }

    if let Ok(mut watch) = store.watch(WatchQuery::prefix("/registry/", before)).await {
        let mut expected = before;
        while watch.progress() < current {
            for event in watch.next().await.expect("an open store").expect("no error") {
                expected = expected.next();
                assert_eq!(event.revision(), expected, "each once and in order");
                if let Some((key, length)) = acknowledged.get(&expected) {
                    assert_eq!(*event.kv.key, **key);
                    assert_eq!(event.kind == EventKind::Delete, *length == 0);
                    assert!(*length == 0 || event.kv.value.len() == *length);
                }
            }
        }
        assert_eq!(expected, current);
    } else {
        assert!(history < 1 << 20, "the history is all there");
    }
    store.close().await;
}

fn crash_and_look(history: usize, counts: &[usize]) {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut before = Revision::ZERO;
    for count in counts {
        let acknowledged = run_child(dir.path(), history, *count * scale());
        let first = *acknowledged.first_key_value().expect("there are some").0;
        assert!(first > before, "revisions never go back: {first} after {before}");
        runtime.block_on(check(dir.path(), history, &acknowledged, before));
        // Between the rounds, what was durable but not heard of has become known.
        let store = open(dir.path(), history);
        before = runtime.block_on(store.current_revision()).expect("a revision");
        runtime.block_on(store.close());
    }
    let blobs = std::fs::read_dir(dir.path().join("blobs")).expect("a directory").count();
    assert_eq!(blobs, 0, "sled does not sync its blobs");
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    crash_and_look(1 << 30, &[1, 300, 20, 2000, 3]);
}

#[test]
fn what_was_acknowledged_survives_a_kill_while_garbage_is_dropped() {
    crash_and_look(100_000, &[500, 3000, 40, 5000, 2000]);
}
