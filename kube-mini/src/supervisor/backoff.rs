//! How long a process that ended waits for its next start, as a pure function; and what a log says of its end.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(10);
/// A process that ran this long is healthy: its next pause is the first again.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// The pauses of one process.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    /// The pause after a run of this length.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= HEALTHY_AFTER {
            self.0 = FIRST;
        }
        let pause = self.0;
        self.0 = (pause * 2).min(LAST);
        pause
    }
}

/// The reason in the end of a log: its last line, if that is an error or a panic's.
pub(super) fn reason(log: &str) -> Option<&str> {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.last()?;
    if let Some((_, said)) = last.split_once(" ERROR ") {
        // `ERROR target: message`.
        return Some(said.split_once(": ").map_or(said, |(_, message)| message));
    }
    if let Some(usage) = lines.iter().rev().find_map(|line| line.strip_prefix("error: ")) {
        return Some(usage);
    }
    // A panic's place is followed by its message, and that by a note.
    let panic = lines.iter().rposition(|line| line.contains("panicked at "))?;
    lines.get(panic + 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_start_anew_after_a_healthy_run() {
        let mut backoff = Backoff::new();
        let mut check = |ran: u64, millis| {
            let pause = backoff.after(Duration::from_secs(ran));
            assert_eq!(pause, Duration::from_millis(millis), "after {ran} s");
        };
        for millis in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            check(1, millis);
        }
        check(9, 10_000);
        check(10, 100);
        check(0, 200);
        check(3600, 100);
    }

    #[test]
    fn a_log_tells_why() {
        let check = |log: &str, expected| assert_eq!(reason(log), expected, "{log}");
        check("", None);
        check("kubelet-sim 2026-01-01T00:00:00Z  INFO server: serving\n", None);
        check(
            "x\nkube-apiserver 2026-01-01T00:00:00Z ERROR kube_apiserver: failed to open: no space\n\n",
            Some("failed to open: no space"),
        );
        check(
            "error: unexpected argument '--x' found\n\nUsage: a\n",
            Some("unexpected argument '--x' found"),
        );
        check(
            "thread 'main' (7) panicked at a.rs:1:1:\nboom\nnote: run with RUST_BACKTRACE=1\n",
            Some("boom"),
        );
    }
}
