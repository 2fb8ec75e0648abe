//! The back-off of crashing containers and failing pulls: `client-go`'s `flowcontrol.Backoff` with the kubelet's numbers.
//!
//! The first restart is immediate. Every further one waits 10 s, 20 s, 40 s, … up to 5 minutes, counted from the end of
//! the run before. A container that ran for more than twice the longest back-off starts afresh.

use std::time::Duration;

/// The first wait.
pub const INITIAL: Duration = Duration::from_secs(10);
/// The longest wait: `MaxContainerBackOff`.
pub const MAX: Duration = Duration::from_secs(300);

/// The back-off of one container. Times are those of a monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    entry: Option<(Duration, Duration)>,
}

impl Backoff {
    /// Until when the container must wait after a run that ended at `ended`; None: it need not.
    #[must_use]
    pub fn wait_until(&self, ended: Duration) -> Option<Duration> {
        let (wait, updated) = self.entry?;
        (ended.saturating_sub(updated) <= MAX * 2).then_some(ended + wait)
    }

    /// How long the present wait is.
    #[must_use]
    pub fn current(&self) -> Duration {
        self.entry.map_or(Duration::ZERO, |(wait, _)| wait)
    }

    /// A restart after a run that ended at `ended` takes place now: the next wait is longer.
    pub fn restarted(&mut self, ended: Duration, now: Duration) {
        let wait = match self.entry {
            Some((wait, updated)) if ended.saturating_sub(updated) <= MAX * 2 => {
                (wait * 2).min(MAX)
            }
            _ => INITIAL,
        };
        self.entry = Some((wait, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn waits_double_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let until = backoff.wait_until(now);
            waits.push(until.map_or(0, |u| (u - now).as_secs()));
            let ended = now;
            now = until.unwrap_or(now);
            backoff.restarted(ended, now);
            now += at(1);
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_long_run_is_forgiven() {
        let mut backoff = Backoff::default();
        backoff.restarted(at(0), at(0));
        backoff.restarted(at(1), at(11));
        assert_eq!(backoff.wait_until(at(12)), Some(at(32)));
        assert_eq!(backoff.wait_until(at(11 + 601)), None);
        backoff.restarted(at(700), at(700));
        assert_eq!(backoff.current(), INITIAL);
    }
}
