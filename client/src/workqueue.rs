//! The queue between informers and workers: client-go's rate-limited work queue.
//!
//! - A key that is added many times before a worker takes it is worked on once.
//! - A key that is added while a worker has it is worked on again afterwards, never by two workers at once.
//! - A key may be added for later; of several times the earliest holds.
//! - A key that fails comes back after a pause that doubles with each failure, until it is [forgotten](WorkQueue::forget).
//!
//! There is no task behind it: a worker that waits in [`WorkQueue::get`] also waits for the earliest delayed key.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use component_base::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The first and the longest pause of a failing key: client-go's.
const RETRY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1000));

/// A queue of keys; cheap to clone, all clones are one queue.
pub struct WorkQueue<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    clock: Clock,
    retry: (Duration, Duration),
    inner: Mutex<Inner<K>>,
    changed: Notify,
}

struct Inner<K> {
    /// Keys to be worked on, in order. All of them are in `dirty`, none in `processing`.
    queue: VecDeque<K>,
    /// Keys that need work: in the queue, or to be queued when their worker is done.
    dirty: HashSet<K>,
    /// Keys that a worker has.
    processing: HashSet<K>,
    /// Keys to be added at their time. The number decides between equal times.
    delayed: BTreeMap<(Duration, u64), K>,
    delayed_at: HashMap<K, (Duration, u64)>,
    next_delayed: u64,
    failures: HashMap<K, u32>,
    shut_down: bool,
}

impl<K: Clone + Eq + Hash> WorkQueue<K> {
    /// Makes an empty queue with client-go's pauses after failures (5 ms to 1000 s).
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        Self::with_retry(clock, RETRY.0, RETRY.1)
    }

    /// Makes an empty queue with other pauses after failures.
    #[must_use]
    pub fn with_retry(clock: &Clock, first: Duration, longest: Duration) -> Self {
        let inner = Inner {
            queue: VecDeque::new(),
            dirty: HashSet::new(),
            processing: HashSet::new(),
            delayed: BTreeMap::new(),
            delayed_at: HashMap::new(),
            next_delayed: 0,
            failures: HashMap::new(),
            shut_down: false,
        };
        Self {
            shared: Arc::new(Shared {
                clock: clock.clone(),
                retry: (first, longest),
                inner: Mutex::new(inner),
                changed: Notify::new(),
            }),
        }
    }

    /// Adds a key to be worked on as soon as a worker is free.
    pub fn add(&self, key: K) {
        let mut inner = self.shared.inner.lock();
        if inner.add(key) {
            drop(inner);
            self.shared.changed.notify_one();
        }
    }

    /// Adds a key after `delay`, unless it is to be added sooner anyway.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let due = self.shared.clock.monotonic().saturating_add(delay);
        let mut inner = self.shared.inner.lock();
        if inner.shut_down {
            return;
        }
        match inner.delayed_at.get(&key) {
            Some(&(sooner, _)) if sooner <= due => return,
            Some(&later) => {
                inner.delayed.remove(&later);
            }
            None => {}
        }
        let at = (due, inner.next_delayed);
        inner.next_delayed += 1;
        inner.delayed.insert(at, key.clone());
        inner.delayed_at.insert(key, at);
        drop(inner);
        self.shared.changed.notify_one();
    }

    /// Adds a key that failed, after a pause that doubles with each failure.
    pub fn add_rate_limited(&self, key: K) {
        let delay = {
            let mut inner = self.shared.inner.lock();
            let failures = inner.failures.entry(key.clone()).or_default();
            let factor = 1_u32.checked_shl(*failures).unwrap_or(u32::MAX);
            *failures += 1;
            let (first, longest) = self.shared.retry;
            first.saturating_mul(factor).min(longest)
        };
        self.add_after(key, delay);
    }

    /// The key no longer fails: its next pause is the first again.
    pub fn forget(&self, key: &K) {
        self.shared.inner.lock().failures.remove(key);
    }

    /// How often the key has failed since it was last forgotten.
    #[must_use]
    pub fn failures(&self, key: &K) -> u32 {
        self.shared.inner.lock().failures.get(key).copied().unwrap_or_default()
    }

    /// Waits for a key to work on; `None` after [`WorkQueue::shut_down`], when all that was queued is done.
    /// The worker must say [`WorkQueue::done`]. Dropping the future takes no key.
    pub async fn get(&self) -> Option<K> {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            let next_due = {
                let now = self.shared.clock.monotonic();
                let mut inner = self.shared.inner.lock();
                inner.add_due(now);
                if let Some(key) = inner.queue.pop_front() {
                    inner.dirty.remove(&key);
                    inner.processing.insert(key.clone());
                    let more = !inner.queue.is_empty() || !inner.delayed.is_empty();
                    drop(inner);
                    if more {
                        // Another worker takes over the waiting for what is left.
                        self.shared.changed.notify_one();
                    }
                    return Some(key);
                }
                if inner.shut_down {
                    return None;
                }
                inner.delayed.first_key_value().map(|((due, _), _)| *due)
            };
            match next_due {
                None => changed.await,
                Some(due) => {
                    tokio::select! {
                        () = changed => {}
                        () = self.shared.clock.sleep_until(due) => {}
                    }
                }
            }
        }
    }

    /// The worker has finished with the key.
    pub fn done(&self, key: &K) {
        let mut inner = self.shared.inner.lock();
        inner.processing.remove(key);
        if inner.dirty.contains(key) {
            inner.queue.push_back(key.clone());
            drop(inner);
            self.shared.changed.notify_one();
        }
    }

    /// Takes no more keys; workers finish what is queued and then get `None`.
    pub fn shut_down(&self) {
        let mut inner = self.shared.inner.lock();
        inner.shut_down = true;
        inner.delayed.clear();
        inner.delayed_at.clear();
        drop(inner);
        self.shared.changed.notify_waiters();
    }

    /// How many keys wait for a worker.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.inner.lock().queue.len()
    }

    /// Whether no key waits for a worker.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Clone + Eq + Hash> Inner<K> {
    /// Returns whether a worker is needed.
    fn add(&mut self, key: K) -> bool {
        if self.shut_down || !self.dirty.insert(key.clone()) {
            return false;
        }
        if self.processing.contains(&key) {
            return false;
        }
        self.queue.push_back(key);
        true
    }

    fn add_due(&mut self, now: Duration) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.delayed_at.remove(&key);
            self.add(key);
        }
    }
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for WorkQueue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.shared.inner.lock();
        f.debug_struct("WorkQueue")
            .field("queued", &inner.queue.len())
            .field("processing", &inner.processing.len())
            .field("delayed", &inner.delayed.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use component_base::clock::TestClock;
    use futures::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn queue() -> (WorkQueue<&'static str>, TestClock) {
        let (clock, test_clock) = Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
        (WorkQueue::new(&clock), test_clock)
    }

    /// What `get` would return without waiting.
    fn take(queue: &WorkQueue<&'static str>) -> Option<&'static str> {
        queue.get().now_or_never().flatten()
    }

    #[test]
    fn a_key_is_worked_on_once_however_often_it_is_added() {
        let (queue, _) = queue();
        for key in ["a", "b", "a", "a"] {
            queue.add(key);
        }
        assert_eq!([take(&queue), take(&queue), take(&queue)], [Some("a"), Some("b"), None]);
    }

    #[test]
    fn a_key_added_while_it_is_worked_on_comes_again_afterwards() {
        let (queue, _) = queue();
        queue.add("a");
        assert_eq!(take(&queue), Some("a"));
        queue.add("a");
        queue.add("a");
        assert_eq!(take(&queue), None);
        queue.done(&"a");
        assert_eq!(take(&queue), Some("a"));
        queue.done(&"a");
        assert_eq!(take(&queue), None);
    }

    #[tokio::test]
    async fn delayed_keys_come_at_their_earliest_time() {
        let (queue, test_clock) = queue();
        queue.add_after("a", 3 * SECOND);
        queue.add_after("b", 2 * SECOND);
        queue.add_after("a", SECOND);
        queue.add_after("a", 5 * SECOND);
        let mut taken = Vec::new();
        for _ in 0..2 {
            taken.push((test_clock.run(queue.get()).await, queue.shared.clock.monotonic()));
        }
        assert_eq!(taken, [(Some("a"), SECOND), (Some("b"), 2 * SECOND)]);
        assert_eq!(test_clock.next_wakeup(), None);
    }

    #[tokio::test]
    async fn failing_keys_pause_longer_each_time_until_forgotten() {
        let (queue, test_clock) = queue();
        let mut pauses = Vec::new();
        for _ in 0..20 {
            let before = queue.shared.clock.monotonic();
            queue.add_rate_limited("a");
            assert_eq!(test_clock.run(queue.get()).await, Some("a"));
            pauses.push((queue.shared.clock.monotonic() - before).as_millis());
            queue.done(&"a");
        }
        assert_eq!(pauses[..5], [5, 10, 20, 40, 80]);
        assert_eq!(pauses[17..], [655_360, 1_000_000, 1_000_000]);
        assert_eq!(queue.failures(&"a"), 20);
        queue.forget(&"a");
        assert_eq!(queue.failures(&"a"), 0);
    }

    #[tokio::test]
    async fn several_workers_lose_neither_keys_nor_timers() {
        let (queue, test_clock) = queue();
        let work = async || {
            let mut taken = 0;
            while let Some(key) = queue.get().await {
                taken += 1;
                queue.shared.clock.sleep(SECOND / 2).await;
                queue.done(&key);
            }
            taken
        };
        let feed = async {
            queue.add("now");
            for (key, seconds) in [("a", 1), ("b", 2), ("c", 2), ("d", 30)] {
                queue.add_after(key, seconds * SECOND);
            }
            queue.shared.clock.sleep(60 * SECOND).await;
            queue.shut_down();
        };
        let (one, two, ()) = test_clock.run(async { tokio::join!(work(), work(), feed) }).await;
        assert_eq!(one + two, 5);
    }

    #[test]
    fn after_the_end_what_is_queued_is_still_worked_on() {
        let (queue, _) = queue();
        queue.add("a");
        queue.add_after("later", SECOND);
        queue.shut_down();
        queue.add("b");
        assert_eq!(take(&queue), Some("a"));
        assert_eq!(queue.get().now_or_never(), Some(None));
    }
}
