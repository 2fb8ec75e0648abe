//! Waiting for what will hold.

use std::{fmt::Display, time::Duration};

use component_base::clock::Clock;

/// Between two looks: the first, doubling up to the last.
const LOOKS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// Asks `condition` until it is `Ok`, and returns what it gave.
///
/// Level-triggered: only the present state counts, so nothing is missed between two looks. An `Err` says what the
/// state is instead; the last one is in the panic's message.
///
/// # Panics
/// When `timeout` has passed, with `what` and the last status.
pub async fn eventually<T, E: Display, F: Future<Output = Result<T, E>>>(
    what: &str,
    timeout: Duration,
    condition: impl FnMut() -> F,
) -> T {
    eventually_on(&Clock::real(), what, timeout, condition).await
}

/// [`eventually`] on a given clock.
///
/// # Panics
/// When `timeout` has passed, with `what` and the last status.
pub async fn eventually_on<T, E: Display, F: Future<Output = Result<T, E>>>(
    clock: &Clock,
    what: &str,
    timeout: Duration,
    mut condition: impl FnMut() -> F,
) -> T {
    let deadline = clock.monotonic() + timeout;
    let mut last = "nothing was seen yet".to_owned();
    let mut pause = LOOKS.0;
    loop {
        // The last look gets its time, too.
        let left = deadline.saturating_sub(clock.monotonic()).max(Duration::from_secs(1));
        match clock.timeout(left, condition()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(status)) => last = format!("{status:#}"),
            Err(_) => {
                panic!("{what}: not within {timeout:?}; the last look hung; before it: {last}")
            }
        }
        if clock.monotonic() >= deadline {
            panic!("{what}: not within {timeout:?}; last status: {last}");
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(LOOKS.1);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn returns_at_the_first_success() {
        let looks = Cell::new(0);
        let value = eventually("three looks", Duration::from_secs(10), async || {
            looks.set(looks.get() + 1);
            if looks.get() == 3 { Ok(looks.get()) } else { Err(format!("look {}", looks.get())) }
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "the moon: not within 10ms; last status: half")]
    async fn tells_the_last_status() {
        let never = async || Err::<(), _>("half");
        eventually("the moon", Duration::from_millis(10), never).await;
    }
}
