//! What happens beside the worker, and what follows from it.

use std::time::Duration;

use container_runtime::Exit;

use super::{
    PodWorker,
    runs::{ended, is_running, run_id},
};
use crate::lifecycle::{State, restarts};

/// What brings a worker to its next turn. A run is a container's id.
pub(super) enum Event {
    Exited(String, String, Exit),
    /// A postStart hook is over.
    PostStart {
        container: String,
        run: String,
        outcome: Result<(), String>,
    },
    Stopped,
    /// All containers have been killed, to start afresh.
    Wiped,
    /// A simulated end is due: exit code and reason.
    Enact {
        container: String,
        run: String,
        code: i32,
        reason: &'static str,
    },
    /// A simulated delay of readiness is over.
    Look,
    /// Its tokens have been exchanged; when the next ones are due.
    Tokens(Option<Duration>),
}

impl PodWorker {
    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::Exited(name, run, exit) => self.exited(&name, &run, exit),
            Event::PostStart { container, run, outcome } => {
                self.post_started(&container, &run, outcome);
            }
            Event::Enact { container, run, code, reason } => {
                let current = self.shared.read().containers.get(&container).cloned();
                if let Some(running) = current.filter(|c| run_id(c) == run && is_running(c)) {
                    if let Some(record) = self.records.get_mut(&container) {
                        record.enacted = Some((code, reason));
                    }
                    running.kill();
                }
            }
            Event::Look => self.records.values_mut().for_each(|record| {
                record.ready = record.is_ready(self.node.clock.monotonic());
            }),
            Event::Tokens(due) => self.token_due = due,
            Event::Stopped | Event::Wiped => {}
        }
    }

    fn exited(&mut self, name: &str, run: &str, exit: Exit) {
        self.probe_tasks.remove(name);
        let at = self.node.clock.monotonic();
        let Some(record) = self.records.get_mut(name) else { return };
        if !matches!(&record.state, State::Running { id, .. } if id == run) {
            return;
        }
        let mut end = ended(exit, at, run.to_owned());
        if let Some((code, reason)) = record.enacted.take() {
            (end.exit_code, end.reason) = (code, reason.to_owned());
        }
        let code = end.exit_code;
        record.state = State::Terminated(end);
        record.passes = false;
        record.ready = false;
        record.started = false;
        record.stopping = false;
        record.problem = None;
        record.retry_at = None;
        if let Some(message) = record.hook_failure.take() {
            record.shown = None;
            let record = record.clone();
            let again = self.spec(name).is_some_and(|c| restarts(&self.pod, &c, &record, code));
            if let Some(record) = self.records.get_mut(name).filter(|_| again) {
                record.problem = Some(("PostStartHookError".to_owned(), message));
            }
        }
    }
}
