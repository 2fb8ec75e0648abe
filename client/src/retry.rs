//! Trying again: after conflicts, and with growing pauses after failures.

use std::{future::Future, time::Duration};

use apimachinery::status::Status;
use component_base::clock::Clock;

/// Attempts of [`retry_on_conflict`], with the pause between them: client-go's `DefaultRetry`.
const CONFLICT_RETRY: (u32, Duration) = (5, Duration::from_millis(10));

/// Calls `attempt` again while it ends with a conflict: client-go's `RetryOnConflict`.
///
/// `attempt` reads the object anew each time, changes it and writes it.
///
/// # Errors
/// Any other error at once; the last conflict after five attempts.
pub async fn retry_on_conflict<T, F, Fut>(clock: &Clock, mut attempt: F) -> Result<T, Status>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Status>>,
{
    let (attempts, pause) = CONFLICT_RETRY;
    for _ in 1..attempts {
        match attempt().await {
            Err(status) if status.is_conflict() => clock.sleep(clock.jitter(pause, 0.1)).await,
            result => return result,
        }
    }
    attempt().await
}

/// Pauses that double up to a limit, with jitter, and start anew after success.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    jitter: f64,
    next: Duration,
}

impl Backoff {
    /// Makes one whose first pause is about `base` and whose longest is about `max`.
    #[must_use]
    pub fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, jitter: 1.0, next: base }
    }

    /// The next pause: between its nominal length and twice that.
    pub fn next(&mut self, clock: &Clock) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        clock.jitter(pause, self.jitter)
    }

    /// Success: the next pause is the first again.
    pub fn reset(&mut self) {
        self.next = self.base;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use apimachinery::resource;

    use super::*;

    #[tokio::test]
    async fn only_conflicts_are_tried_again() {
        let check = async |outcomes: &[Result<u32, Status>], calls: usize, expected| {
            let (clock, test_clock) = Clock::test(apimachinery_epoch());
            let called = Cell::new(0);
            let result = test_clock
                .run(retry_on_conflict(&clock, || {
                    let outcome = outcomes[called.get().min(outcomes.len() - 1)].clone();
                    called.set(called.get() + 1);
                    async { outcome }
                }))
                .await;
            assert_eq!((called.get(), result), (calls, expected));
        };
        let conflict = Status::modified(&resource::PODS, "web");
        let missing = Status::not_found(&resource::PODS, "web");
        check(&[Ok(1)], 1, Ok(1)).await;
        check(&[Err(conflict.clone()), Ok(2)], 2, Ok(2)).await;
        check(&[Err(conflict.clone())], 5, Err(conflict)).await;
        check(&[Err(missing.clone())], 1, Err(missing)).await;
    }

    fn apimachinery_epoch() -> jiff::Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn pauses_grow_to_the_limit_and_start_anew() {
        let (clock, _) = Clock::test(apimachinery_epoch());
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        for nominal in [1, 2, 4, 5, 5] {
            let nominal = Duration::from_secs(nominal);
            let pause = backoff.next(&clock);
            assert!((nominal..=nominal * 2).contains(&pause), "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.next(&clock) <= Duration::from_secs(2));
    }
}
