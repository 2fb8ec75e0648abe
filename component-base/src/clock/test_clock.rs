//! The virtual clock: a list of sleepers, and a driver that wakes them in order.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Yields per round of [`TestClock::settle`]. On a current-thread runtime one yield lets up to 61 task polls pass.
const YIELDS_PER_ROUND: usize = 16;
/// Rounds without a new sleep or hold after which the system counts as settled.
const QUIET_ROUNDS: usize = 3;
/// Rounds after which `settle` gives up on a system that never comes to rest.
const MAX_ROUNDS: usize = 100_000;

/// What all clones of one test clock share.
pub(super) struct State {
    start: Timestamp,
    inner: Mutex<Inner>,
    /// Notified when a sleeper registers or the last hold is dropped.
    changed: Notify,
    /// By how much the wall clock was set forward or back, beside the time that passed.
    set_by: Mutex<SignedDuration>,
}

#[derive(Default)]
struct Inner {
    elapsed: Duration,
    /// Creation order, which decides between equal deadlines.
    next_sequence: u64,
    sleepers: BTreeMap<SleeperKey, Waker>,
    /// Counts sleeps and holds begun, so that `settle` sees whether anything still moves.
    activity: u64,
    holds: usize,
}

type SleeperKey = (Duration, u64);

impl State {
    pub(super) fn new(start: Timestamp) -> Self {
        Self { start, inner: Mutex::default(), changed: Notify::new(), set_by: Mutex::default() }
    }

    pub(super) fn now(&self) -> Timestamp {
        let passed = self.start.checked_add(self.elapsed()).unwrap_or(Timestamp::MAX);
        passed.saturating_add(*self.set_by.lock()).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.inner.lock().elapsed
    }

    pub(super) fn sleep_until(this: &Arc<Self>, deadline: Duration) -> Sleep {
        let mut inner = this.inner.lock();
        inner.activity += 1;
        let sequence = inner.next_sequence;
        inner.next_sequence += 1;
        Sleep { state: Arc::clone(this), key: (deadline, sequence) }
    }

    pub(super) fn hold(this: &Arc<Self>) -> Hold {
        let mut inner = this.inner.lock();
        inner.activity += 1;
        inner.holds += 1;
        Hold { state: Some(Arc::clone(this)) }
    }
}

/// A sleep on virtual time.
pub(super) struct Sleep {
    state: Arc<State>,
    key: SleeperKey,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.state.inner.lock();
        if inner.elapsed >= self.key.0 {
            inner.sleepers.remove(&self.key);
            return Poll::Ready(());
        }
        // Polling again is no news: `run` polls its future in every round.
        if inner.sleepers.insert(self.key, context.waker().clone()).is_none() {
            inner.activity += 1;
            drop(inner);
            self.state.changed.notify_waiters();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.state.inner.lock().sleepers.remove(&self.key);
    }
}

/// Keeps virtual time from moving while it lives; made by [`Clock::hold`](super::Clock::hold).
pub struct Hold {
    state: Option<Arc<State>>,
}

impl Hold {
    pub(super) fn none() -> Self {
        Self { state: None }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(state) = &self.state else { return };
        let mut inner = state.inner.lock();
        inner.activity += 1;
        inner.holds -= 1;
        let released = inner.holds == 0;
        drop(inner);
        if released {
            state.changed.notify_waiters();
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}

/// The hand that moves a virtual clock; made by [`Clock::test`](super::Clock::test).
///
/// Give one task the driving: two drivers at once wake sleepers in no defined order.
#[derive(Clone)]
pub struct TestClock {
    state: Arc<State>,
}

impl TestClock {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// Moves time by `duration`, waking each sleeper on the way at its own instant, in order.
    pub async fn advance(&self, duration: Duration) {
        self.settle().await;
        let target = self.state.inner.lock().elapsed + duration;
        while self.wake_next(target) {
            self.settle().await;
        }
        self.state.inner.lock().elapsed = target;
        self.settle().await;
    }

    /// Moves time to the next sleeper's deadline and wakes it. Returns by how much time moved, or `None` when
    /// nothing sleeps.
    pub async fn advance_to_next(&self) -> Option<Duration> {
        self.settle().await;
        let before = self.state.inner.lock().elapsed;
        if !self.wake_next(Duration::MAX) {
            return None;
        }
        let moved = self.state.inner.lock().elapsed - before;
        self.settle().await;
        Some(moved)
    }

    /// Lets time leap from sleeper to sleeper until `future` is ready.
    ///
    /// A future that waits for something which never happens lets time run for ever: give it a
    /// [`Clock::timeout`](super::Clock::timeout).
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            let changed = self.state.changed.notified();
            let leap = async {
                if self.advance_to_next().await.is_none() {
                    changed.await;
                }
            };
            tokio::select! {
                biased;
                output = &mut future => return output,
                () = leap => {}
            }
        }
    }

    /// Sets the wall clock forward or back, as an administrator or a time service does; the monotonic time and whoever
    /// sleeps know nothing of it.
    pub fn set_wall_clock(&self, by: SignedDuration) {
        *self.state.set_by.lock() += by;
    }

    /// How long until the next sleeper is due; `None` when nothing sleeps.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Duration> {
        let inner = self.state.inner.lock();
        let ((deadline, _), _) = inner.sleepers.first_key_value()?;
        Some(deadline.saturating_sub(inner.elapsed))
    }

    /// Lets all tasks run, without moving time, until none begins a sleep any more and no [`Hold`] is left.
    ///
    /// # Panics
    /// When the system never comes to rest: some task sleeps again and again without time moving.
    pub async fn settle(&self) {
        let mut quiet_rounds = 0;
        let mut seen = self.state.inner.lock().activity;
        for _ in 0..MAX_ROUNDS {
            if quiet_rounds == QUIET_ROUNDS {
                return;
            }
            self.holds_released().await;
            for _ in 0..YIELDS_PER_ROUND {
                tokio::task::yield_now().await;
            }
            // Other threads (blocking file operations) get the processor, too.
            std::thread::yield_now();
            let inner = self.state.inner.lock();
            if inner.activity == seen && inner.holds == 0 {
                quiet_rounds += 1;
            } else {
                quiet_rounds = 0;
                seen = inner.activity;
            }
        }
        panic!(
            "the virtual clock never settles: a task sleeps again and again while time stands still"
        );
    }

    async fn holds_released(&self) {
        loop {
            let changed = self.state.changed.notified();
            if self.state.inner.lock().holds == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Moves to the earliest deadline up to `target` and wakes its first sleeper; false when there is none.
    fn wake_next(&self, target: Duration) -> bool {
        let mut inner = self.state.inner.lock();
        let Some(entry) = inner.sleepers.first_entry() else { return false };
        let (deadline, _) = *entry.key();
        if deadline > target {
            return false;
        }
        let waker = entry.remove();
        inner.elapsed = inner.elapsed.max(deadline);
        drop(inner);
        waker.wake();
        true
    }
}

impl fmt::Debug for TestClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.state.inner.lock();
        f.debug_struct("TestClock")
            .field("elapsed", &inner.elapsed)
            .field("sleepers", &inner.sleepers.len())
            .field("holds", &inner.holds)
            .finish_non_exhaustive()
    }
}
