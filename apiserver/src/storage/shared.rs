//! What the writer thread, the readers and the watchers hold in common.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use component_base::clock::Clock;
use jiff::Timestamp;
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};

use super::{Revision, state::State};

/// See the module. The writer alone changes it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: RwLock<State>,
    /// The newest committed revision, set once the state and the streams have it.
    revision: AtomicU64,
    /// The same, to be waited for.
    committed: watch::Sender<Revision>,
    /// The maintenance task should look again: a key expires earlier than it knows, or there is history to age.
    pub(super) maintenance: Notify,
    pub(super) closed: AtomicBool,
    /// Why no more is written.
    failure: RwLock<Option<String>>,
    /// The wall and the monotonic time when the store was opened.
    opened: (Timestamp, Duration),
}

impl Shared {
    pub(super) fn new(state: State, clock: &Clock) -> Self {
        let revision = state.revision();
        Self {
            state: RwLock::new(state),
            revision: AtomicU64::new(revision.0),
            committed: watch::Sender::new(revision),
            maintenance: Notify::new(),
            closed: AtomicBool::new(false),
            failure: RwLock::default(),
            opened: (clock.now(), clock.monotonic()),
        }
    }

    /// What the wall showed when the store was opened, and the time since: a wall clock that is set meanwhile lets no key
    /// expire early or late.
    pub(super) fn now(&self, clock: &Clock) -> Timestamp {
        let (wall, monotonic) = self.opened;
        let since = clock.monotonic().saturating_sub(monotonic);
        wall.checked_add(since).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.read().clone()
    }

    /// No more is written from now on.
    pub(super) fn fail(&self, reason: &str) {
        *self.failure.write() = Some(reason.to_owned());
        self.maintenance.notify_one();
    }

    pub(super) fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Acquire))
    }

    pub(super) fn set_revision(&self, revision: Revision) {
        self.revision.store(revision.0, Ordering::Release);
        self.committed.send_replace(revision);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.committed.subscribe()
    }

    /// Ends all watches, and what waits for a revision.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.committed.send_modify(|_| ());
        for stream in self.state.read().streams() {
            stream.wake();
        }
        self.maintenance.notify_one();
    }
}
