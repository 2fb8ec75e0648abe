//! The store itself: the committed state in memory, a writer thread, and an engine below.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use component_base::clock::Clock;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    KeyValue, ListQuery, ListResult, OpenError, Revision, Storage, StorageError, StorageMetrics,
    Txn, TxnResult, Watch, WatchQuery,
    engine::Engine,
    maintenance,
    shared::Shared,
    state::State,
    watch::StreamWatch,
    writer::{Command, GarbagePolicy, Request, Writer},
};

/// Commands that may wait for the writer; more wait where they come from.
const QUEUE: usize = 1024;

/// How much history is kept for watchers that resume and lists that page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Older changes are forgotten.
    pub age: Duration,
    /// The history may use this many bytes, and as many again as the live values, up to `max_bytes`: where more
    /// is stored, more changes at a time.
    pub base_bytes: usize,
    /// The history never uses more than this many bytes.
    pub max_bytes: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: Duration::from_secs(5 * 60), base_bytes: 3 << 19, max_bytes: 64 << 20 }
    }
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// What time it is, for keys that expire and history that ages.
    pub clock: Clock,
    /// How much history to keep.
    pub retention: Retention,
}

impl StoreConfig {
    /// The defaults, on a clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, retention: Retention::default() }
    }
}

/// The storage over an [`Engine`]. Cloning gives another handle to the same store; when the last is dropped, the
/// writer finishes what is queued and ends.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Command>,
    config: StoreConfig,
    metrics: StorageMetrics,
}

impl Store {
    /// Loads what the engine has, and starts the writer thread. Blocks while loading.
    ///
    /// # Errors
    /// When the engine cannot be read.
    pub fn open(engine: impl Engine, config: StoreConfig) -> Result<Self, OpenError> {
        Self::open_with(engine, config, GarbagePolicy::default())
    }

    pub(super) fn open_with(
        mut engine: impl Engine,
        config: StoreConfig,
        garbage_policy: GarbagePolicy,
    ) -> Result<Self, OpenError> {
        let loaded = engine.load()?;
        let persisted_compaction = loaded.compacted;
        let (state, garbage) = State::replay(loaded);
        let shared = Arc::new(Shared::new(state, &config.clock));
        let (sender, queue) = mpsc::channel(QUEUE);
        let metrics = StorageMetrics::default();
        let writer = Writer {
            engine,
            shared: shared.clone(),
            queue,
            clock: config.clock.clone(),
            retention: config.retention,
            garbage_policy,
            metrics: metrics.clone(),
            garbage: garbage.into(),
            persisted_compaction,
            last_group: 0,
        };
        thread::Builder::new()
            .name("storage-writer".to_owned())
            .spawn(|| writer.run())
            .map_err(|source| OpenError::Io { path: "storage-writer".into(), source })?;
        Ok(Self { inner: Arc::new(Inner { shared, queue: sender, config, metrics }) })
    }

    /// Expires keys and forgets old history, until `shutdown`. The owner runs it beside the store.
    ///
    /// # Errors
    /// [`StorageError::ReadOnly`]: a write failed some time ago, and the disk takes writes again. What it holds of the
    /// last ones shows when the store is opened anew: that is the owner's to do.
    pub async fn maintain(&self, shutdown: CancellationToken) -> Result<(), StorageError> {
        maintenance::run(self, shutdown).await
    }

    /// Why writes are refused, if they are.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared().failure()
    }

    /// Finishes what is queued, closes the engine's files, and returns once they can be opened again. Watches end.
    pub async fn close(&self) {
        let closed = self.request(Request::Close).await;
        if closed.is_err() {
            tracing::debug!("the store was closed before");
        }
    }

    /// Counts the keys below a resource's prefix, `/registry/pods/`; holds nothing of the store.
    pub fn counter(&self) -> impl Fn(&str) -> usize + Send + Sync + use<> {
        let shared = Arc::downgrade(self.shared());
        move |prefix| shared.upgrade().map_or(0, |shared| shared.state.read().count(prefix))
    }

    /// What the store counts.
    #[must_use]
    pub fn metrics(&self) -> &StorageMetrics {
        &self.inner.metrics
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.inner.config.clock
    }

    pub(super) fn retention(&self) -> Retention {
        self.inner.config.retention
    }

    pub(super) async fn compact_now(&self, revision: Revision) -> Result<(), StorageError> {
        self.request(|reply| Request::Compact(revision, reply)).await
    }

    /// Asks the writer and waits for its answer.
    pub(super) async fn request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, StorageError> {
        let (reply, answer) = oneshot::channel();
        let hold = self.inner.config.clock.hold();
        let command = Command { request: request(reply), hold };
        self.inner.queue.send(command).await.map_err(|_| StorageError::Closed)?;
        answer.await.map_err(|_| StorageError::Closed)
    }
}

#[async_trait]
impl Storage for Store {
    async fn get(&self, key: &str) -> Result<Option<Arc<KeyValue>>, StorageError> {
        Ok(self.shared().state.read().get(key).cloned())
    }

    async fn list(&self, query: &ListQuery) -> Result<ListResult, StorageError> {
        self.shared().state.read().list(query)
    }

    async fn watch(&self, query: WatchQuery) -> Result<Watch, StorageError> {
        Ok(Watch::new(Box::new(StreamWatch::open(self.shared(), query)?)))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult, StorageError> {
        self.request(|reply| Request::Txn(txn, reply)).await?
    }

    async fn current_revision(&self) -> Result<Revision, StorageError> {
        Ok(self.shared().revision())
    }

    async fn wait_for(&self, revision: Revision) -> Result<Revision, StorageError> {
        let mut committed = self.shared().subscribe();
        let closed = || self.shared().closed.load(Ordering::Acquire);
        let reached = committed.wait_for(|current| *current >= revision || closed()).await;
        match reached {
            Ok(current) if *current >= revision => Ok(*current),
            _ => Err(StorageError::Closed),
        }
    }

    async fn compact(&self, revision: Revision) -> Result<(), StorageError> {
        let (current, compacted) = {
            let state = self.shared().state.read();
            (state.revision(), state.compacted())
        };
        if revision > current {
            return Err(StorageError::Future { requested: revision, current });
        }
        if revision <= compacted {
            return Err(StorageError::Compacted { requested: revision, compacted });
        }
        self.compact_now(revision).await
    }
}
