//! Giving back the memory of a burst.
//!
//! Starting thousands of pods takes much more memory than having them: requests and answers that are read, statuses on their
//! way. When many statuses were told and then none for a while, what is free goes back to the system.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use component_base::{clock::Clock, shutdown::Shutdown};
use tokio::sync::Notify;

/// Statuses from which on they are a burst: fewer leave nothing behind that is worth the search.
const BURST: usize = 1000;
/// How long nothing must have been told since.
const QUIET: Duration = Duration::from_secs(5);

/// What the nodes of a process have told; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Bursts(Arc<Inner>);

#[derive(Default)]
struct Inner {
    told: AtomicUsize,
    news: Notify,
}

impl Bursts {
    /// Begins to look after the process' memory, until `shutdown`.
    #[must_use]
    pub(crate) fn start(clock: &Clock, shutdown: &Shutdown) -> Self {
        let bursts = Self::default();
        let (watched, clock, token) = (bursts.clone(), clock.clone(), shutdown.token().clone());
        shutdown.spawn("memory", async move {
            while token.run_until_cancelled(watched.over(&clock)).await.is_some() {
                component_base::memory::give_back();
            }
        });
        bursts
    }

    /// A status was told.
    pub(crate) fn told(&self) {
        if self.0.told.fetch_add(1, Ordering::Relaxed) + 1 >= BURST {
            self.0.news.notify_one();
        }
    }

    /// Waits until there was a burst, and it is over.
    async fn over(&self, clock: &Clock) {
        self.0.news.notified().await;
        while clock.timeout(QUIET, self.0.news.notified()).await.is_ok() {}
        self.0.told.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_burst_is_over_when_nothing_was_told_for_a_while() {
        let (clock, test_clock) = Clock::test(jiff::Timestamp::UNIX_EPOCH);
        let bursts = Bursts::default();
        let mut over = Box::pin(bursts.over(&clock));
        (1..BURST).for_each(|_| bursts.told());
        test_clock.advance(QUIET * 2).await;
        assert_eq!(over.as_mut().now_or_never(), None, "no burst yet");
        bursts.told();
        assert_eq!(over.as_mut().now_or_never(), None);
        test_clock.advance(QUIET / 2).await;
        bursts.told();
        assert_eq!(over.as_mut().now_or_never(), None);
        test_clock.advance(QUIET / 2).await;
        assert_eq!(over.as_mut().now_or_never(), None, "the last one was just told");
        test_clock.advance(QUIET).await;
        assert_eq!(over.as_mut().now_or_never(), Some(()));
        assert_eq!(bursts.0.told.load(Ordering::Relaxed), 0);
    }
}
