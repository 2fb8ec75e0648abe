//! The connections of one listener: how many, which of them are idle, and who goes when there is no room.
//!
//! A full table does not turn the next caller away as long as somebody in it only holds a place: those who have been
//! idle longest are cut, first the ones that never proved who they are. Looking for them is work in the size of the
//! table, so it is done for a batch of places at a time. A request costs two atomic counters.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// What share of a full table is cleared at a time.
const BATCH: usize = 32;

/// The connections of one listener.
pub(super) struct Table {
    limit: usize,
    clock: Clock,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    next: u64,
    by_id: HashMap<u64, Arc<Entry>>,
}

/// One connection, as its table sees it.
pub(super) struct Entry {
    id: u64,
    clock: Clock,
    /// Requests under way.
    active: AtomicUsize,
    /// When the last request ended, or the connection was accepted, in milliseconds.
    idle_since: AtomicU64,
    /// The peer showed a certificate or is one of our own processes, and asked for something.
    proven: AtomicBool,
    /// Ends the connection.
    pub(super) cut: CancellationToken,
}

/// A connection's place; given back when dropped.
pub(super) struct Place {
    table: Arc<Table>,
    pub(super) entry: Arc<Entry>,
}

impl Table {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, clock: Clock::real(), entries: Mutex::default() })
    }

    /// A place for a new connection that `cut` ends; None when all places are at work.
    pub(super) fn enter(self: &Arc<Self>, cut: CancellationToken) -> Option<Place> {
        let mut entries = self.entries.lock();
        if entries.by_id.len() >= self.limit {
            entries.clear_idle(self.limit.div_ceil(BATCH));
        }
        if entries.by_id.len() >= self.limit {
            return None;
        }
        entries.next += 1;
        let entry = Arc::new(Entry {
            id: entries.next,
            clock: self.clock.clone(),
            active: AtomicUsize::new(0),
            idle_since: AtomicU64::new(millis(&self.clock)),
            proven: AtomicBool::new(false),
            cut,
        });
        entries.by_id.insert(entry.id, entry.clone());
        Some(Place { table: self.clone(), entry })
    }
}

impl Entries {
    /// Cuts the longest idle connections, at most `count` of them.
    fn clear_idle(&mut self, count: usize) {
        let mut idle: Vec<_> = self
            .by_id
            .values()
            .filter(|entry| entry.active.load(Ordering::Relaxed) == 0)
            .map(|entry| {
                let since = entry.idle_since.load(Ordering::Relaxed);
                (entry.proven.load(Ordering::Relaxed), since, entry.id)
            })
            .collect();
        if idle.len() > count {
            idle.select_nth_unstable(count);
            idle.truncate(count);
        }
        for (_, _, id) in idle {
            if let Some(entry) = self.by_id.remove(&id) {
                entry.cut.cancel();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.entries.lock().by_id.remove(&self.entry.id);
    }
}

impl Entry {
    /// A request begins; `proven` tells that its peer is known.
    pub(super) fn begin(self: &Arc<Self>, proven: bool) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        if proven {
            self.proven.store(true, Ordering::Relaxed);
        }
        Active(self.clone())
    }

    /// For how long nothing has been asked; None while something is.
    pub(super) fn idle(&self) -> Option<Duration> {
        (self.active.load(Ordering::Relaxed) == 0).then(|| {
            let since = self.idle_since.load(Ordering::Relaxed);
            Duration::from_millis(millis(&self.clock).saturating_sub(since))
        })
    }
}

/// A request under way, answer included.
pub(super) struct Active(Arc<Entry>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.idle_since.store(millis(&self.0.clock), Ordering::Relaxed);
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

fn millis(clock: &Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_clears_the_idle_and_spares_the_busy() {
        let table = Table::new(3);
        let enter = || {
            let cut = CancellationToken::new();
            (table.enter(cut.clone()), cut)
        };
        let (busy, busy_cut) = enter();
        let request = busy.as_ref().unwrap().entry.begin(false);
        let (known, known_cut) = enter();
        drop(known.as_ref().unwrap().entry.begin(true));
        let (_stranger, stranger_cut) = enter();
        let (fourth, fourth_cut) = enter();
        assert!(fourth.is_some() && stranger_cut.is_cancelled(), "the stranger goes first");
        let (fifth, _) = enter();
        assert!(fifth.is_some() && fourth_cut.is_cancelled() && !known_cut.is_cancelled());
        let held = fifth.as_ref().unwrap().entry.begin(false);
        let (sixth, _) = enter();
        assert!(sixth.is_some() && known_cut.is_cancelled());
        let _held = (held, sixth.as_ref().unwrap().entry.begin(false));
        assert!(enter().0.is_none(), "all places are at work");
        assert!(!busy_cut.is_cancelled());
        drop(request);
        assert!(enter().0.is_some() && busy_cut.is_cancelled());
    }
}
