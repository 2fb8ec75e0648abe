//! Time as a value.
//!
//! Every component is handed a [`Clock`] and asks it for the wall time, the monotonic time, sleeps and timeouts; pure
//! code takes `now` as an argument. In production the clock is [`Clock::real`]. In tests it is one half of
//! [`Clock::test`], and the [`TestClock`] half decides when time passes.
//!
//! # A whole cluster on a virtual clock
//! Start every component of the cluster in one process with clones of one test clock, over in-process transports, on a
//! current-thread runtime (`#[tokio::test]` is one). Then either step by hand ([`TestClock::advance`]) or hand the
//! driver the thing that you wait for ([`TestClock::run`]): time then leaps from sleeper to sleeper, and an hour of
//! back-off takes milliseconds. Before each leap the driver lets all tasks run until nothing moves any more
//! ([`TestClock::settle`]); sleepers wake one at a time, in the order of their deadlines and, at the same instant, of
//! their creation, so a run is repeatable. Work on other threads, such as a storage writer's, is invisible to the runtime: it takes
//! a [`Clock::hold`] while it owes an answer, and virtual time waits for it.
//!
//! The wall clock of a test can be set ([`TestClock::set_wall_clock`]) while the monotonic time goes on.
//!
//! This is the only module that touches tokio's or std's time.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the one module where time comes from the operating system"
)]

mod test_clock;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    future::Future,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;

use self::test_clock::State;
pub use self::test_clock::{Hold, TestClock};

/// Where a component gets its time from; cheap to clone.
#[derive(Clone)]
pub struct Clock {
    source: Source,
    random: Arc<AtomicU64>,
}

#[derive(Clone)]
enum Source {
    Real { start: Instant },
    Test(Arc<State>),
}

/// A [`Clock::timeout`] ran out before its future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("deadline has elapsed")]
pub struct Elapsed;

impl Clock {
    /// The operating system's time.
    #[must_use]
    pub fn real() -> Self {
        let seed = RandomState::new().hash_one(std::process::id());
        Self {
            source: Source::Real { start: Instant::now() },
            random: Arc::new(AtomicU64::new(seed)),
        }
    }

    /// A clock that stands still at `start` until its [`TestClock`] moves it.
    #[must_use]
    pub fn test(start: Timestamp) -> (Self, TestClock) {
        let state = Arc::new(State::new(start));
        let clock = Self {
            source: Source::Test(Arc::clone(&state)),
            random: Arc::new(AtomicU64::new(0x6b75_6265_6d69_6e69)),
        };
        (clock, TestClock::new(state))
    }

    /// The wall time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::Real { .. } => Timestamp::now(),
            Source::Test(state) => state.now(),
        }
    }

    /// The time since this clock was made; never goes back.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        match &self.source {
            Source::Real { start } => start.elapsed(),
            Source::Test(state) => state.elapsed(),
        }
    }

    /// Completes once `duration` has passed since this call (not since the first poll).
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.sleep_until(self.monotonic().saturating_add(duration))
    }

    /// Completes once [`Clock::monotonic`] has reached `deadline`.
    pub fn sleep_until(&self, deadline: Duration) -> impl Future<Output = ()> + Send + use<> {
        let sleep = match &self.source {
            Source::Real { start } => {
                // A deadline beyond what an Instant can hold is never reached.
                Err(start.checked_add(deadline).map(Into::into).map(tokio::time::sleep_until))
            }
            Source::Test(state) => Ok(State::sleep_until(state, deadline)),
        };
        async move {
            match sleep {
                Ok(virtual_sleep) => virtual_sleep.await,
                Err(Some(real_sleep)) => real_sleep.await,
                Err(None) => std::future::pending().await,
            }
        }
    }

    /// Waits for `future`, at most for `duration`.
    ///
    /// # Errors
    /// [`Elapsed`] when the time ran out; `future` is dropped then.
    pub async fn timeout<F: Future>(
        &self,
        duration: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        let sleep = self.sleep(duration);
        tokio::select! {
            biased;
            output = future => Ok(output),
            () = sleep => Err(Elapsed),
        }
    }

    /// A duration between `base` and `base * (1 + max_factor)`, so that many clients do not act at one moment:
    /// client-go's `wait.Jitter`. On a test clock the sequence is the same in every run.
    #[must_use]
    pub fn jitter(&self, base: Duration, max_factor: f64) -> Duration {
        base + base.mul_f64(self.random_unit() * max_factor)
    }

    /// A number in `0.0..1.0`; not for secrets. On a test clock the sequence is the same in every run.
    #[must_use]
    pub fn random_unit(&self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.random_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A random number (splitmix64); not for secrets. On a test clock the sequence is the same in every run.
    #[must_use]
    pub fn random_u64(&self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.random.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Keeps virtual time from moving until the guard is dropped; does nothing on a real clock.
    ///
    /// For work that the runtime cannot see, such as another thread's. Never hold it while waiting on this clock.
    #[must_use]
    pub fn hold(&self) -> Hold {
        match &self.source {
            Source::Real { .. } => Hold::none(),
            Source::Test(state) => State::hold(state),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.source {
            Source::Real { .. } => "real",
            Source::Test(_) => "test",
        };
        f.debug_struct("Clock").field("kind", &kind).field("monotonic", &self.monotonic()).finish()
    }
}
