//! The store against a simple model: random transactions, lists, watches, compactions and restarts.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use component_base::clock::Clock;
use futures::FutureExt;
use proptest::prelude::*;

use crate::storage::{
    Compare, Event, EventKind, KeyValue, ListQuery, Put, Retention, Revision, Storage,
    StorageError, Store, StoreConfig, Txn, TxnResult, Watch, WatchQuery,
    engine::{memory::MemoryEngine, sled::SledEngine},
    writer::GarbagePolicy,
};

const KEYS: [&str; 8] = [
    "/registry/health",
    "/registry/nodes/n1",
    "/registry/pods/a/x",
    "/registry/pods/a/y",
    "/registry/pods/b/x",
    "/registry/pods-x/a",
    "/registry/podtemplates/a/x",
    "/registry/services/specs/a",
];
const PREFIXES: [&str; 7] = [
    "/registry/",
    "/registry/pods",
    "/registry/pods/",
    "/registry/pods/a/",
    "/registry/nodes/n1",
    "/registry/health",
    "",
];
const INDEXES: [&str; 2] = ["n1", "n2"];

#[derive(Clone, Debug)]
enum Op {
    Txn {
        compares: Vec<(usize, Condition)>,
        puts: Vec<(usize, usize, Option<usize>)>,
        deletes: Vec<usize>,
    },
    List {
        prefix: usize,
        index: Option<usize>,
        age: u64,
        start: Option<usize>,
        limit: usize,
    },
    Watch {
        prefix: usize,
        index: Option<usize>,
        age: u64,
    },
    Compact {
        age: u64,
    },
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    Absent,
    Exists,
    Current,
    Stale,
    SameObject,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..KEYS.len();
    let index = || proptest::option::of(0..INDEXES.len());
    let condition = prop_oneof![
        1 => Just(Condition::Absent),
        1 => Just(Condition::Exists),
        4 => Just(Condition::Current),
        1 => Just(Condition::Stale),
        1 => Just(Condition::SameObject),
    ];
    let size = prop_oneof![8 => 0..40_usize, 1 => 3000..9000_usize];
    prop_oneof![
        10 => (
            proptest::collection::vec((key.clone(), condition), 0..2),
            proptest::collection::vec((key.clone(), size, index()), 0..4),
            proptest::collection::vec(key.clone(), 0..2),
        ).prop_map(|(compares, puts, deletes)| Op::Txn { compares, puts, deletes }),
        3 => (0..PREFIXES.len(), index(), 0..12_u64, proptest::option::of(key), 0..4_usize)
            .prop_map(|(prefix, index, age, start, limit)| Op::List { prefix, index, age, start, limit }),
        3 => (0..PREFIXES.len(), index(), 0..12_u64).prop_map(|(prefix, index, age)| Op::Watch { prefix, index, age }),
        1 => (0..12_u64).prop_map(|age| Op::Compact { age }),
        1 => Just(Op::Restart),
    ]
}

/// What the store should be.
#[derive(Default)]
struct Model {
    /// The state at each revision, from 0.
    states: Vec<BTreeMap<String, Arc<KeyValue>>>,
    events: Vec<Event>,
    compacted: Revision,
}

impl Model {
    fn new() -> Self {
        Self { states: vec![BTreeMap::new()], ..Self::default() }
    }

    fn revision(&self) -> Revision {
        Revision(self.states.len() as u64 - 1)
    }

    fn newest(&self) -> &BTreeMap<String, Arc<KeyValue>> {
        self.states.last().expect("there is always one")
    }

    fn ago(&self, age: u64) -> Revision {
        Revision(self.revision().0.saturating_sub(age))
    }

    /// Whether a transaction passes, and if so, what it does.
    fn txn(&mut self, txn: &Txn) -> Result<(), usize> {
        for (at, compare) in txn.compares.iter().enumerate() {
            if !compare.holds(self.newest().get(&**compare.key()).map(|kv| &**kv)) {
                return Err(at);
            }
        }
        let mut state = self.newest().clone();
        let revision = self.revision().next();
        let mut events = Vec::new();
        for put in &txn.puts {
            let previous = state.get(&*put.key).cloned();
            let kv = Arc::new(KeyValue {
                key: put.key.clone(),
                value: format!("{revision}{}", String::from_utf8_lossy(&put.value)).into(),
                create_revision: previous.as_ref().map_or(revision, |kv| kv.create_revision),
                mod_revision: revision,
                version: previous.as_ref().map_or(1, |kv| kv.version + 1),
                index: put.index.clone(),
                expires_at: None,
                slot: Some(0),
                sub: events.len() as u32,
            });
            state.insert(put.key.to_string(), kv.clone());
            events.push(Event { kind: EventKind::Put, kv, previous });
        }
        for key in &txn.deletes {
            if let Some(previous) = state.remove(&**key) {
                let kv = Arc::new(KeyValue {
                    value: previous.value_at(revision),
                    mod_revision: revision,
                    sub: events.len() as u32,
                    ..(*previous).clone()
                });
                events.push(Event { kind: EventKind::Delete, kv, previous: Some(previous) });
            }
        }
        if !events.is_empty() {
            self.states.push(state);
            self.events.extend(events);
        }
        Ok(())
    }

    fn list(&self, query: &ListQuery) -> (Vec<Arc<KeyValue>>, usize) {
        let state = &self.states[query.revision.expect("given").0 as usize];
        let mut items: Vec<_> = state
            .iter()
            .filter(|(key, kv)| {
                key.starts_with(&query.prefix)
                    && query.start.as_ref().is_none_or(|start| *key >= start)
                    && (query.index.is_none() || kv.index == query.index)
            })
            .map(|(_, kv)| kv.clone())
            .collect();
        let limit = if query.limit == 0 { items.len() } else { query.limit.min(items.len()) };
        let rest = items.split_off(limit);
        (items, rest.len())
    }

    fn events(&self, query: &WatchQuery) -> Vec<Event> {
        self.events
            .iter()
            .filter(|event| {
                event.revision() > query.after
                    && event.kv.key.starts_with(&query.prefix)
                    && query.index.as_ref().is_none_or(|index| event.touches_index(index))
            })
            .cloned()
            .collect()
    }

    fn build(&self, op: &Op) -> Option<Txn> {
        let Op::Txn { compares, puts, deletes } = op else { return None };
        let compares = compares
            .iter()
            .map(|(key, condition)| {
                let current = self.newest().get(KEYS[*key]);
                let revision = current.map_or(Revision::ZERO, |kv| kv.mod_revision);
                let key: Arc<str> = KEYS[*key].into();
                match condition {
                    Condition::Absent => Compare::absent(key),
                    Condition::Exists => Compare::Exists(key),
                    Condition::Current => Compare::ModRevision(key, revision),
                    Condition::Stale => Compare::ModRevision(key, revision.next()),
                    Condition::SameObject => Compare::CreateRevision(
                        key,
                        current.map_or(Revision::ZERO, |kv| kv.create_revision),
                    ),
                }
            })
            .collect();
        let mut puts: Vec<Put> = puts
            .iter()
            .map(|(key, size, index)| {
                let put = Put::new(KEYS[*key], "x".repeat(*size)).slot(0);
                match index {
                    Some(index) => put.index(INDEXES[*index]),
                    None => put,
                }
            })
            .collect();
        puts.sort_by(|a, b| a.key.cmp(&b.key));
        puts.dedup_by(|a, b| a.key == b.key);
        let deletes = deletes
            .iter()
            .map(|key| KEYS[*key].into())
            .filter(|key| puts.iter().all(|put| put.key != *key))
            .collect();
        Some(Txn { compares, puts, deletes })
    }
}

/// A store under test, with watches that live as long as it does.
struct Tested {
    store: Store,
    watches: Vec<(WatchQuery, Watch, Vec<Event>)>,
}

async fn tested(dir: Option<&Path>) -> Tested {
    let retention = Retention { base_bytes: 1 << 30, max_bytes: 1 << 30, ..Retention::default() };
    let garbage = GarbagePolicy { min: 1, max: 3, idle: 5 };
    let config = StoreConfig { retention, ..StoreConfig::new(Clock::real()) };
    let store = match dir {
        Some(dir) => Store::open_with(SledEngine::open(dir).expect("it opens"), config, garbage),
        None => Store::open_with(MemoryEngine, config, garbage),
    };
    let store = store.expect("it loads");
    let mut watches = Vec::new();
    for prefix in PREFIXES {
        for index in [None, Some("n1".into())] {
            let query = WatchQuery {
                prefix: prefix.to_owned(),
                index,
                after: store.current_revision().await.expect("open"),
            };
            watches.push((query.clone(), store.watch(query).await.expect("a watch"), Vec::new()));
        }
    }
    Tested { store, watches }
}

fn drain(watch: &mut Watch, seen: &mut Vec<Event>) {
    while let Some(batch) = watch.next().now_or_never() {
        let batch = batch.expect("open").expect("no error");
        seen.extend(batch.iter().map(|event| (**event).clone()));
    }
}

async fn run(ops: Vec<Op>, dir: Option<&Path>) {
    let mut model = Model::new();
    let mut tested = tested(dir).await;
    // After a restart the store may remember more than it had told to forget.
    let mut restarted = false;
    for op in ops {
        match &op {
            Op::Txn { .. } => {
                let txn = model.build(&op).expect("a transaction");
                let before = model.revision();
                let expected = model.txn(&txn);
                match (tested.store.txn(txn.clone()).await, expected) {
                    (Ok(TxnResult::Committed { revision, puts, .. }), Ok(())) => {
                        assert_eq!(revision, model.revision());
                        for (put, kv) in txn.puts.iter().zip(puts) {
                            assert_eq!(Some(&kv), model.newest().get(&*put.key));
                        }
                    }
                    (Ok(TxnResult::Conflict { failed, current }), Err(at)) => {
                        assert_eq!((failed, model.revision()), (at, before));
                        assert_eq!(current.as_ref(), model.newest().get(&**txn.compares[at].key()));
                    }
                    (got, expected) => panic!("{got:?}, expected {expected:?}"),
                }
            }
            Op::List { prefix, index, age, start, limit } => {
                let query = ListQuery {
                    prefix: PREFIXES[*prefix].to_owned(),
                    index: index.map(|index| INDEXES[index].into()),
                    revision: Some(model.ago(*age)),
                    start: start.map(|start| format!("{}\0", KEYS[start])),
                    limit: *limit,
                };
                match tested.store.list(&query).await {
                    Ok(list) => {
                        assert_eq!((list.items, list.remaining), model.list(&query), "{query:?}");
                        assert!(restarted || model.ago(*age) >= model.compacted);
                    }
                    Err(error) => assert_compacted(&error, model.ago(*age), model.compacted),
                }
            }
            Op::Watch { prefix, index, age } => {
                let index = index.map(|index| INDEXES[index].into());
                let query = WatchQuery {
                    prefix: PREFIXES[*prefix].to_owned(),
                    index,
                    after: model.ago(*age),
                };
                match tested.store.watch(query.clone()).await {
                    Ok(mut watch) => {
                        let mut seen = Vec::new();
                        drain(&mut watch, &mut seen);
                        assert_eq!(seen, model.events(&query), "{query:?}");
                        assert_eq!(watch.progress(), model.revision());
                        tested.watches.push((query, watch, seen));
                    }
                    Err(error) => assert_compacted(&error, query.after, model.compacted),
                }
            }
            Op::Compact { age } => {
                // A compaction cuts off those who lag; these do not.
                for (_, watch, seen) in &mut tested.watches {
                    drain(watch, seen);
                }
                let revision = model.ago(*age);
                match tested.store.compact(revision).await {
                    Ok(()) => model.compacted = model.compacted.max(revision),
                    Err(error) => assert_compacted(&error, revision, model.compacted.next()),
                }
            }
            Op::Restart => {
                check_watches(&mut tested, &model);
                if dir.is_some() {
                    tested.store.close().await;
                    tested = self::tested(dir).await;
                    restarted = true;
                }
            }
        }
        assert_eq!(tested.store.current_revision().await, Ok(model.revision()));
    }
    check_watches(&mut tested, &model);
    for key in KEYS {
        assert_eq!(tested.store.get(key).await.expect("a read").as_ref(), model.newest().get(key));
    }
    tested.store.close().await;
}

fn assert_compacted(error: &StorageError, requested: Revision, compacted: Revision) {
    assert!(matches!(error, StorageError::Compacted { .. }), "{error}");
    assert!(requested < compacted, "{requested} is not compacted, {compacted} is");
}

fn check_watches(tested: &mut Tested, model: &Model) {
    for (query, watch, seen) in &mut tested.watches {
        drain(watch, seen);
        assert_eq!(*seen, model.events(query), "{query:?}");
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn in_memory(ops in proptest::collection::vec(op(), 1..60)) {
        block_on(run(ops, None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn on_disk(ops in proptest::collection::vec(op(), 1..60)) {
        let dir = tempfile::tempdir().expect("a directory");
        block_on(run(ops, Some(dir.path())));
    }
}
