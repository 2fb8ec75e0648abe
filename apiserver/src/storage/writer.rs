//! The one thread that writes.
//!
//! It takes what has queued up while it was busy as one group, and does, in this order: check and plan each transaction on
//! the view of the ones before it; make the group durable; apply it to the committed state; answer; wake the watchers.
//! A failure to make a group durable drops the group, and every write after it is refused: what the disk holds is no
//! longer known.

use std::{collections::VecDeque, sync::Arc, thread};

use component_base::clock::{Clock, Hold};
use tokio::sync::{mpsc, oneshot};

use super::{
    EngineError, Event, EventKind, Retention, Revision, StorageError, Txn, TxnResult,
    engine::{Engine, Garbage, Group, Record, RecordId},
    maintenance::CHURN,
    metrics::StorageMetrics,
    plan::View,
    shared::Shared,
    stream::Stream,
};

/// Transactions of one group: enough to fill a disk's bandwidth, few enough not to delay the first.
const MAX_GROUP: usize = 512;
/// How often the thread yields, in the hope of as large a group as the last one: some 20 µs, a tenth of what a group takes.
const LINGER: usize = 64;
/// Keys expired in one transaction.
const MAX_EXPIRED: usize = 256;

/// When records that nobody needs any longer are dropped from disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct GarbagePolicy {
    /// With less than this a group takes none along: a group of one record alone is cheaper.
    pub(super) min: usize,
    /// So much goes with one group, lest compaction stall writes.
    pub(super) max: usize,
    /// More than this is dropped without waiting for a group to go with.
    pub(super) idle: usize,
}

impl Default for GarbagePolicy {
    fn default() -> Self {
        Self { min: 256, max: 512, idle: 2048 }
    }
}

/// A request to the writer.
pub(super) struct Command {
    pub(super) request: Request,
    /// Keeps a virtual clock from moving on while the answer is owed.
    pub(super) hold: Hold,
}

/// What is asked of the writer.
pub(super) enum Request {
    Txn(Txn, Reply),
    Compact(Revision, oneshot::Sender<()>),
    /// Tell whether the disk takes writes again.
    Probe(oneshot::Sender<bool>),
    /// Delete what has expired.
    Expire(Reply),
    Close(oneshot::Sender<()>),
}

/// Where the answer to a transaction goes.
type Reply = oneshot::Sender<Result<TxnResult, StorageError>>;

/// A planned transaction that waits to be durable.
struct Pending {
    result: Result<TxnResult, StorageError>,
    reply: Reply,
    hold: Hold,
}

pub(super) struct Writer<E> {
    pub(super) engine: E,
    pub(super) shared: Arc<Shared>,
    pub(super) queue: mpsc::Receiver<Command>,
    pub(super) clock: Clock,
    pub(super) retention: Retention,
    pub(super) garbage_policy: GarbagePolicy,
    pub(super) metrics: StorageMetrics,
    /// Records that are no longer needed but still on disk, by the revision that superseded them.
    pub(super) garbage: VecDeque<(Revision, Garbage)>,
    /// The compacted revision as last written to disk.
    pub(super) persisted_compaction: Revision,
    /// How many commands were served together last.
    pub(super) last_group: usize,
}

impl<E: Engine> Writer<E> {
    /// Runs until the store is closed or dropped.
    pub(super) fn run(mut self) {
        let mut commands = Vec::with_capacity(MAX_GROUP);
        let mut close = None;
        while close.is_none() && self.receive(&mut commands) {
            close = self.serve(&mut commands);
        }
        self.shared.close();
        drop(self);
        if let Some(reply) = close {
            // The one who closes the store may have left; it is closed all the same.
            let _ = reply.send(());
        }
    }

    /// Waits for commands; before it does, a large backlog of garbage is worked off.
    fn receive(&mut self, commands: &mut Vec<Command>) -> bool {
        while self.queue.is_empty()
            && self.garbage.len() > self.garbage_policy.idle
            && self.shared.failure().is_none()
        {
            self.drop_garbage();
        }
        self.linger();
        self.queue.blocking_recv_many(commands, MAX_GROUP) > 0
    }

    /// Gives those who were just answered the chance to be in the next group together: without it, the first of them
    /// would make a group of its own, and the others wait for two.
    fn linger(&self) {
        for _ in 0..LINGER {
            if self.queue.len() >= self.last_group {
                return;
            }
            thread::yield_now();
        }
    }

    fn serve(&mut self, commands: &mut Vec<Command>) -> Option<oneshot::Sender<()>> {
        self.last_group = commands.len();
        let mut txns = Vec::with_capacity(commands.len());
        let mut compact = None;
        let mut close = None;
        for Command { request, hold } in commands.drain(..) {
            match request {
                Request::Txn(txn, reply) => txns.push((txn, reply, hold)),
                Request::Expire(reply) => txns.push((self.expiry_txn(), reply, hold)),
                Request::Probe(reply) => {
                    // Who does not wait for it asks again.
                    let _ = reply.send(self.disk_takes_writes());
                    drop(hold);
                }
                Request::Compact(revision, reply) => compact = Some((revision, reply, hold)),
                Request::Close(reply) => close = Some(reply),
            }
        }
        if !txns.is_empty() {
            self.commit(txns);
        }
        if let Some((revision, reply, _hold)) = compact {
            self.compact(revision);
            // Nobody need wait for it.
            let _ = reply.send(());
        }
        close
    }

    fn commit(&mut self, txns: Vec<(Txn, Reply, Hold)>) {
        let mut events = Vec::with_capacity(txns.len());
        let mut pending = Vec::with_capacity(txns.len());
        {
            let now = self.shared.now(&self.clock);
            let state = self.shared.state.read();
            let mut view = View::new(&state);
            for (txn, reply, hold) in txns {
                let result = view.plan(txn, now).map(|planned| {
                    events.extend(planned.events);
                    planned.result
                });
                pending.push(Pending { result, reply, hold });
            }
        }
        if !events.is_empty()
            && let Err(error) = self.persist(&events)
        {
            // A conflict, too, may have been with a change that now never was.
            for pending in &mut pending {
                pending.result = Err(error.clone());
            }
            events.clear();
        }
        let touched = self.apply(&events);
        for Pending { result, reply, hold } in pending {
            self.count(&result);
            // The one who asked may have left; the change stays.
            let _ = reply.send(result);
            drop(hold);
        }
        for stream in touched {
            stream.wake();
        }
        self.trim();
    }

    fn persist(&mut self, events: &[Arc<Event>]) -> Result<(), StorageError> {
        if let Some(reason) = self.shared.failure() {
            return Err(StorageError::ReadOnly(reason));
        }
        let (garbage, compacted) = if self.garbage.len() >= self.garbage_policy.min {
            self.take_garbage()
        } else {
            (vec![], None)
        };
        let group = Group {
            records: events.iter().map(|event| record(event)).collect(),
            garbage,
            compacted,
        };
        let start = self.clock.monotonic();
        let result = self.engine.persist(&group, true);
        self.metrics.persist_seconds.observe((self.clock.monotonic() - start).as_secs_f64());
        self.metrics.groups.inc();
        result.map_err(|error| self.fail(&error))
    }

    fn fail(&self, error: &EngineError) -> StorageError {
        let reason = match self.engine.path() {
            Some(path) => format!("{error} in {}", path.display()),
            None => error.to_string(),
        };
        tracing::error!(reason, "storage write failed; refusing writes until the disk takes them");
        self.shared.fail(&reason);
        StorageError::ReadOnly(reason)
    }

    fn disk_takes_writes(&self) -> bool {
        match self.engine.probe() {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "the disk does not take writes yet");
                false
            }
        }
    }

    fn apply(&self, events: &[Arc<Event>]) -> Vec<Arc<Stream>> {
        let mut touched = Vec::new();
        let Some(last) = events.last() else { return touched };
        let (first_expiry, new_history) = {
            let mut state = self.shared.state.write();
            let before = (state.next_expiry(), state.history_len());
            for event in events {
                state.apply(event, &mut touched);
            }
            let sooner = state.next_expiry().is_some_and(|at| before.0.is_none_or(|old| at < old));
            (sooner, before.1 == 0)
        };
        let churned = self.shared.revision().0 / CHURN != last.revision().0 / CHURN;
        self.shared.set_revision(last.revision());
        if first_expiry || new_history || churned {
            self.shared.maintenance.notify_one();
        }
        touched
    }

    fn count(&self, result: &Result<TxnResult, StorageError>) {
        match result {
            Ok(TxnResult::Committed { .. }) => self.metrics.txns.inc(),
            Ok(TxnResult::Conflict { .. }) => self.metrics.conflicts.inc(),
            Err(_) => self.metrics.errors.inc(),
        };
    }

    /// Deletes what has expired.
    fn expiry_txn(&self) -> Txn {
        let deletes = self.shared.state.read().expired(self.shared.now(&self.clock), MAX_EXPIRED);
        Txn { deletes, ..Txn::default() }
    }

    /// Keeps the history within its bounds.
    fn trim(&mut self) {
        let (size, events, target) = {
            let state = self.shared.state.read();
            let size = state.size();
            let budget = (size.live + self.retention.base_bytes).min(self.retention.max_bytes);
            let excess = size.history.saturating_sub(budget);
            // An eighth more than needed, so that not every group has to.
            let target = (excess > 0).then(|| state.revision_freeing(excess + budget / 8));
            (size, state.history_len(), target)
        };
        self.metrics.keys.set(size.keys as i64);
        self.metrics.live_bytes.set(size.live as i64);
        self.metrics.history_bytes.set(size.history as i64);
        if let Some(target) = target {
            tracing::debug!(%target, events, bytes = size.history, "history is over its budget, compacting");
            self.compact(target);
        }
    }

    fn compact(&mut self, revision: Revision) {
        let mut garbage = Vec::new();
        self.shared.state.write().compact(revision, &mut garbage);
        self.garbage.extend(garbage);
        self.metrics.disk_bytes.set(i64::try_from(self.engine.size()).unwrap_or(i64::MAX));
    }

    /// The next garbage to drop, and the compacted revision that this makes true on disk.
    fn take_garbage(&mut self) -> (Vec<Garbage>, Option<Revision>) {
        let mut taken = Vec::new();
        let mut last = Revision::ZERO;
        while let Some(&(superseded, garbage)) = self.garbage.front() {
            // The garbage of a revision goes as a whole.
            if taken.len() >= self.garbage_policy.max && superseded != last {
                break;
            }
            last = superseded;
            taken.push(garbage);
            self.garbage.pop_front();
        }
        let all = self.garbage.is_empty();
        let revision = if all { self.shared.state.read().compacted() } else { last };
        let moved = revision > self.persisted_compaction;
        self.persisted_compaction = self.persisted_compaction.max(revision);
        (taken, moved.then_some(revision))
    }

    fn drop_garbage(&mut self) {
        let (garbage, compacted) = self.take_garbage();
        let group = Group { records: vec![], garbage, compacted };
        if let Err(error) = self.engine.persist(&group, false) {
            self.fail(&error);
        }
    }
}

fn record(event: &Event) -> Record {
    match event.kind {
        EventKind::Put => Record::Put(event.kv.clone()),
        EventKind::Delete => {
            let id = RecordId { revision: event.revision(), sub: event.kv.sub };
            Record::Delete { key: event.kv.key.clone(), id }
        }
    }
}
