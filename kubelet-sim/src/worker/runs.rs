//! The runs of one container: from one to the next, and to its end.

use std::time::Duration;

use component_base::clock::Clock;
use container_runtime::{Container, ContainerState, Exit, logs::LogOptions};
use jiff::Timestamp;

use super::events::Event;
use crate::{
    backoff::Backoff,
    lifecycle::{Ended, Record, State},
    status::containers::{RESTARTING_ALL, WIPED},
};

/// How a container's run ended.
pub(super) fn ended(exit: Exit, at: Duration, id: String) -> Ended {
    Ended {
        exit_code: exit.code,
        signal: exit.signal,
        reason: exit.reason.to_owned(),
        message: exit.message,
        started_at: Some(exit.started_at),
        finished_at: exit.finished_at,
        at,
        id,
    }
}

/// The state of a record as it goes into a new run, with this image.
pub(super) fn next_run(record: &mut Record, clock: &Clock, image: &str) {
    if record.image != image {
        // What another image did is not held against this one.
        record.backoff = Backoff::default();
        image.clone_into(&mut record.image);
    }
    if let Some(since) = record.backs_off_since() {
        record.backoff.restarted(since, clock.monotonic());
    }
    record.restarts = next_restart(record);
    if let State::Terminated(former) = std::mem::replace(&mut record.state, State::Waiting) {
        record.last = Some(former);
    }
    record.problem = None;
    record.retry_at = None;
    record.must_restart = false;
    record.wiped = false;
    record.delayed = false;
    record.begun = true;
}

/// The restart count of a container's next run.
pub(super) fn next_restart(record: &Record) -> i32 {
    record.restarts + i32::from(matches!(record.state, State::Terminated(_)))
}

/// The record of a container that is to start afresh, with all of its pod's.
pub(super) fn wiped(record: &Record) -> Record {
    Record {
        last: Some(Ended {
            exit_code: 137,
            signal: None,
            reason: RESTARTING_ALL.to_owned(),
            message: WIPED.to_owned(),
            started_at: None,
            finished_at: Timestamp::UNIX_EPOCH,
            at: Duration::ZERO,
            id: String::new(),
        }),
        restarts: record.restarts + 1,
        wiped: true,
        ..Record::default()
    }
}

/// A container's id, as statuses show it.
pub(super) fn run_id(container: &Container) -> String {
    format!("containerd://{}", container.id())
}

/// Lines and bytes of its log that stand in for a termination message.
const FALLBACK: (u64, usize) = (80, 2048);

/// Waits for the end of a run. With `from_log`, the end of its log is the message of a run that failed without one.
pub(super) async fn exit_of(name: String, container: Container, from_log: bool) -> Event {
    let run = run_id(&container);
    let mut exit = container.wait().await;
    if from_log && exit.code != 0 && exit.message.is_empty() {
        exit.message = end_of_log(&container).await;
    }
    Event::Exited(name, run, exit)
}

async fn end_of_log(container: &Container) -> String {
    let options = LogOptions { tail_lines: Some(FALLBACK.0), ..LogOptions::default() };
    let mut text = Vec::new();
    if let Ok(mut reader) = container.logs(options) {
        while let Ok(Some(chunk)) = reader.next_chunk().await {
            text.extend_from_slice(&chunk);
        }
    }
    let excess = text.len().saturating_sub(FALLBACK.1);
    String::from_utf8_lossy(&text[excess..]).into_owned()
}

/// Whether the container still runs.
pub(super) fn is_running(container: &Container) -> bool {
    matches!(container.state(), ContainerState::Running { .. })
}
