//! A log of events that many watchers read at their own pace.
//!
//! There is one stream for everything, one per bucket (resource), and one per index value that somebody watches. A watcher
//! is no more than a position in a stream: events are pushed once, whoever watches, and nothing is buffered per
//! watcher. One that falls behind the compacted end has lost events and is cut.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use futures::task::AtomicWaker;
use parking_lot::{Mutex, RwLock};

use super::{Event, Revision};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Stream {
    log: RwLock<Log>,
    watchers: Mutex<Watchers>,
}

#[derive(Debug, Default)]
struct Log {
    /// The position of the first event that is still there.
    base: u64,
    events: VecDeque<Arc<Event>>,
}

#[derive(Debug, Default)]
struct Watchers {
    next_id: u64,
    wakers: HashMap<u64, Arc<AtomicWaker>>,
}

/// What a watcher finds at its position.
#[derive(Debug, PartialEq)]
pub(super) enum Read {
    /// There were events.
    Events {
        /// Those that passed the filter.
        events: Vec<Arc<Event>>,
        /// The position after all that were looked at.
        position: u64,
        /// The revision of the last one looked at.
        revision: Revision,
    },
    /// Nothing yet.
    End,
    /// The events at the position are compacted away.
    Lost,
}

impl Stream {
    pub(super) fn from_events(events: impl IntoIterator<Item = Arc<Event>>) -> Self {
        let log = Log { base: 0, events: events.into_iter().collect() };
        Self { log: RwLock::new(log), watchers: Mutex::default() }
    }

    pub(super) fn push(&self, event: Arc<Event>) {
        self.log.write().events.push_back(event);
    }

    /// Drops the events up to and including `revision`, handing each to `dropped`.
    pub(super) fn compact(&self, revision: Revision, mut dropped: impl FnMut(&Event)) {
        let mut log = self.log.write();
        while log.events.front().is_some_and(|event| event.revision() <= revision) {
            if let Some(event) = log.events.pop_front() {
                dropped(&event);
                log.base += 1;
            }
        }
        // A burst must not hold its memory for ever.
        if log.events.capacity() > 1024 && log.events.len() < log.events.capacity() / 4 {
            let keep = log.events.len() * 2;
            log.events.shrink_to(keep);
        }
    }

    /// The position of the first event after `revision`.
    pub(super) fn position_after(&self, revision: Revision) -> u64 {
        let log = self.log.read();
        log.base + log.events.partition_point(|event| event.revision() <= revision) as u64
    }

    /// The events from `position` on that pass `filter`: about `limit` looked at, never part of a transaction.
    pub(super) fn read(
        &self,
        position: u64,
        limit: usize,
        filter: impl Fn(&Event) -> bool,
    ) -> Read {
        let log = self.log.read();
        let Some(from) = position.checked_sub(log.base) else { return Read::Lost };
        let from =
            usize::try_from(from).expect("a position is at most the length away from the base");
        if from >= log.events.len() {
            return Read::End;
        }
        let mut to = (from + limit).min(log.events.len());
        while to < log.events.len() && log.events[to].revision() == log.events[to - 1].revision() {
            to += 1;
        }
        let events = log.events.range(from..to).filter(|event| filter(event)).cloned().collect();
        let revision = log.events[to - 1].revision();
        Read::Events { events, position: log.base + to as u64, revision }
    }

    /// Visits the events after `revision`, the newest first.
    pub(super) fn for_each_undo(&self, revision: Revision, mut visit: impl FnMut(&Event)) {
        let log = self.log.read();
        for event in log.events.iter().rev().take_while(|event| event.revision() > revision) {
            visit(event);
        }
    }

    /// All events that are still there.
    pub(super) fn filtered(&self, filter: impl Fn(&Event) -> bool) -> Vec<Arc<Event>> {
        self.log.read().events.iter().filter(|event| filter(event)).cloned().collect()
    }

    /// The revision of the first event for which `found` says so, the oldest first; else of the newest.
    pub(super) fn find_revision(&self, mut found: impl FnMut(&Event) -> bool) -> Revision {
        let log = self.log.read();
        let event = log.events.iter().find(|event| found(event)).or_else(|| log.events.back());
        event.map_or(Revision::ZERO, |event| event.revision())
    }

    pub(super) fn len(&self) -> usize {
        self.log.read().events.len()
    }

    pub(super) fn add_watcher(&self) -> (u64, Arc<AtomicWaker>) {
        let mut watchers = self.watchers.lock();
        let id = watchers.next_id;
        watchers.next_id += 1;
        let waker = Arc::new(AtomicWaker::new());
        watchers.wakers.insert(id, waker.clone());
        (id, waker)
    }

    /// Whether anybody is left.
    pub(super) fn remove_watcher(&self, id: u64) -> bool {
        let mut watchers = self.watchers.lock();
        watchers.wakers.remove(&id);
        !watchers.wakers.is_empty()
    }

    pub(super) fn watcher_count(&self) -> usize {
        self.watchers.lock().wakers.len()
    }

    /// Wakes all watchers.
    pub(super) fn wake(&self) {
        for waker in self.watchers.lock().wakers.values() {
            waker.wake();
        }
    }
}
