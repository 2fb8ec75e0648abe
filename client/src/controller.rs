//! The worker's side of a controller: take a key, reconcile, and try again what failed.
//!
//! Reconciling is level-triggered: it gets a key, not an event, reads the present state from stores, and does what is
//! missing. It may therefore be called at any time, and again after any failure.

use std::{future::Future, hash::Hash, panic::AssertUnwindSafe, time::Duration};

use apimachinery::status::Status;
use component_base::shutdown::Shutdown;
use futures::FutureExt;
use tracing::{debug, error, warn};

use crate::workqueue::WorkQueue;

/// What comes after a reconciliation that did not fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing until the next change.
    #[default]
    Done,
    /// The same key again after this long.
    RequeueAfter(Duration),
}

/// Runs `workers` workers over `queue`, in the background, until `shutdown`; then the queue is shut down.
///
/// A failed key comes back with growing pauses. Conflicts are everyday (another writer was faster) and logged at DEBUG. A
/// panic while reconciling is logged, and counts as a failure of that key alone.
pub fn run<K, F, Fut>(
    shutdown: &Shutdown,
    name: &'static str,
    queue: &WorkQueue<K>,
    workers: usize,
    reconcile: F,
) where
    K: Clone + Eq + Hash + std::fmt::Display + Send + Sync + 'static,
    F: Fn(K) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, Status>> + Send,
{
    for _ in 0..workers {
        let (queue, token, reconcile) =
            (queue.clone(), shutdown.token().clone(), reconcile.clone());
        shutdown.spawn(name, async move {
            // What is under way is finished: half a reconciliation helps no one.
            while let Some(Some(key)) = token.run_until_cancelled(queue.get()).await {
                // In a box: a worker that waits keeps no room for a reconciliation.
                Box::pin(work(name, &queue, key, &reconcile)).await;
            }
            queue.shut_down();
        });
    }
}

async fn work<K, F, Fut>(name: &'static str, queue: &WorkQueue<K>, key: K, reconcile: &F)
where
    K: Clone + Eq + Hash + std::fmt::Display,
    F: Fn(K) -> Fut,
    Fut: Future<Output = Result<Action, Status>>,
{
    let outcome = AssertUnwindSafe(async { reconcile(key.clone()).await }).catch_unwind().await;
    match outcome {
        Ok(Ok(action)) => {
            queue.forget(&key);
            if let Action::RequeueAfter(delay) = action {
                queue.add_after(key.clone(), delay);
            }
        }
        Ok(Err(status)) => {
            if status.is_conflict() {
                debug!(controller = name, %key, %status, "conflict, trying again");
            } else {
                warn!(controller = name, %key, %status, "failed to reconcile, trying again");
            }
            queue.add_rate_limited(key.clone());
        }
        Err(_) => {
            error!(controller = name, %key, "reconciliation panicked, trying again");
            queue.add_rate_limited(key.clone());
        }
    }
    queue.done(&key);
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use apimachinery::resource;
    use component_base::clock::Clock;
    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn keys_come_back_as_their_outcome_demands() {
        let (clock, test_clock) = Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
        let queue = WorkQueue::with_retry(&clock, Duration::from_secs(1), Duration::from_secs(9));
        let shutdown = Shutdown::new();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let reconcile = {
            let (clock, calls) = (clock.clone(), Arc::clone(&calls));
            move |key: &'static str| {
                let at = clock.monotonic().as_secs();
                let mut calls = calls.lock();
                calls.push((key, at));
                let times = calls.iter().filter(|(called, _)| *called == key).count();
                async move {
                    match (key, times) {
                        ("fails", 1 | 2) => Err(Status::modified(&resource::PODS, "web")),
                        ("panics", 1) => panic!("on purpose"),
                        ("again", 1) => Ok(Action::RequeueAfter(Duration::from_secs(5))),
                        _ => Ok(Action::Done),
                    }
                }
            }
        };
        run(&shutdown, "test", &queue, 2, reconcile);
        for key in ["fails", "panics", "again", "fine"] {
            queue.add(key);
        }
        test_clock.advance(Duration::from_secs(60)).await;
        let mut calls = calls.lock().clone();
        calls.sort_unstable();
        assert_eq!(
            calls,
            [
                ("again", 0),
                ("again", 5),
                ("fails", 0),
                ("fails", 1),
                ("fails", 3),
                ("fine", 0),
                ("panics", 0),
                ("panics", 1),
            ]
        );
        shutdown.cancel();
        assert_eq!(shutdown.wait(Duration::from_secs(10)).await, Ok(()));
    }
}
