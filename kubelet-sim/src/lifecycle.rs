//! What a pod's containers should do next, as a pure function: `computePodActions` of the kubelet.
//!
//! Init containers run one after the other; one with `restartPolicy: Always` is a sidecar: it keeps running, and the
//! next one starts as soon as its startup probe has passed. Then all main containers start. A container that ended is
//! started again if the pod's restart policy says so, after its back-off. When no main container runs or will run
//! again, the sidecars are stopped and the pod has ended.

use std::{collections::BTreeMap, time::Duration};

use apimachinery::api::core::{Container, Pod};
use jiff::Timestamp;

use crate::backoff::Backoff;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code.
    pub exit_code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `StartError`, `OOMKilled`, …
    pub reason: String,
    /// The termination message.
    pub message: String,
    /// When it was started; None: it never was.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// The same on the monotonic clock, for the back-off.
    pub at: Duration,
    /// The container's id.
    pub id: String,
}

/// The state of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started yet, or waiting to be started again.
    Waiting,
    /// Running.
    Running {
        /// Since when.
        started_at: Timestamp,
        /// Its id.
        id: String,
    },
    /// Ended.
    Terminated(Ended),
}

/// A container as its pod's worker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it does.
    pub state: State,
    /// Why it waits, where that is not just its turn: reason and message.
    pub problem: Option<(String, String)>,
    /// When the problem may be tried again.
    pub retry_at: Option<Duration>,
    /// The run before this one.
    pub last: Option<Ended>,
    /// How often it was started again.
    pub restarts: i32,
    /// Its image's id, once known.
    pub image_id: String,
    /// The startup probe has passed, or there is none.
    pub started: bool,
    /// The readiness probe passes, or there is none, and it runs.
    pub ready: bool,
    /// It is being stopped.
    pub stopping: bool,
    /// It has had its turn since the pod got its network: what ran before a reboot of the node counts no more.
    pub begun: bool,
    /// It is stopped to be started again, whatever exit code it ends with: a failed probe, a changed image.
    pub must_restart: bool,
    /// The image that it was last started with, as the pod names it.
    pub image: String,
    /// Its crashes.
    pub backoff: Backoff,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            state: State::Waiting,
            problem: None,
            retry_at: None,
            last: None,
            restarts: 0,
            image_id: String::new(),
            started: false,
            ready: false,
            stopping: false,
            begun: false,
            must_restart: false,
            image: String::new(),
            backoff: Backoff::default(),
        }
    }
}

impl Record {
    /// Whether it runs.
    #[must_use]
    pub fn running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// How the last run ended, if it does not run.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Terminated(ended) => Some(ended),
            State::Waiting => self.last.as_ref(),
            State::Running { .. } => None,
        }
    }

    /// Whether it was ever started.
    #[must_use]
    pub fn ever_started(&self) -> bool {
        self.state != State::Waiting || self.last.is_some()
    }
}

/// The records of a pod's containers, init containers included, by name.
pub type Records = BTreeMap<String, Record>;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start this container.
    Start(String),
    /// Show that this container waits for its back-off, and look again then.
    BackOff {
        /// The container.
        name: String,
        /// How long the back-off is in all.
        wait: Duration,
        /// When it is over.
        until: Duration,
    },
    /// Stop these sidecars, in this order.
    StopSidecars(Vec<String>),
    /// The pod has ended.
    Finished,
}

/// Whether an init container is a sidecar.
#[must_use]
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The restart policy that holds for a container: its own, or its pod's.
#[must_use]
pub fn restart_policy<'a>(pod: &'a Pod, container: &'a Container) -> &'a str {
    let own = container.restart_policy.as_deref();
    own.or(pod.spec.restart_policy.as_deref()).unwrap_or("Always")
}

/// Whether a container that ended with `exit_code` is to be started again.
#[must_use]
pub fn restarts(pod: &Pod, container: &Container, record: &Record, exit_code: i32) -> bool {
    match restart_policy(pod, container) {
        _ if record.must_restart => true,
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}

/// Whether the main containers have had their turn: then init containers are not run again. After a reboot they are,
/// as Kubernetes runs them again in a new sandbox.
fn main_begun(pod: &Pod, records: &Records) -> bool {
    pod.spec.containers.iter().any(|c| records.get(&c.name).is_some_and(|r| r.begun))
}

/// How far the init containers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitProgress {
    /// The container at this place is due, runs, or waits.
    At(usize),
    /// An init container failed for good.
    Failed,
    /// All are done.
    Done,
}

/// Finds out how far the init containers are.
#[must_use]
pub fn init_progress(pod: &Pod, records: &Records) -> InitProgress {
    if main_begun(pod, records) {
        return InitProgress::Done;
    }
    let blank = Record::default();
    for (at, container) in pod.spec.init_containers.iter().enumerate() {
        let record = records.get(&container.name).unwrap_or(&blank);
        if is_sidecar(container) {
            if record.running() && record.started {
                continue;
            }
            return InitProgress::At(at);
        }
        match record.ended() {
            Some(ended) if ended.exit_code != 0 => {
                let again = record.must_restart || restart_policy(pod, container) != "Never";
                return if again { InitProgress::At(at) } else { InitProgress::Failed };
            }
            Some(_) if record.begun => {}
            // Not started yet, running, or done before a reboot.
            _ => return InitProgress::At(at),
        }
    }
    InitProgress::Done
}

/// Decides the next actions. `now` is monotonic.
#[must_use]
pub fn plan(pod: &Pod, records: &Records, now: Duration) -> Vec<Action> {
    let mut actions = Vec::new();
    let progress = init_progress(pod, records);
    let begun = match progress {
        InitProgress::At(at) => at + 1,
        InitProgress::Failed | InitProgress::Done => pod.spec.init_containers.len(),
    };
    if progress == InitProgress::Failed {
        return finish(pod, records);
    }
    let over = |c: &Container| {
        let record = records.get(&c.name);
        record.is_some_and(|r| r.ended().is_some_and(|e| !restarts(pod, c, r, e.exit_code)))
    };
    if pod.spec.containers.iter().all(over) {
        return finish(pod, records);
    }
    for (at, container) in pod.spec.init_containers[..begun].iter().enumerate() {
        let due = progress == InitProgress::At(at);
        if is_sidecar(container) || due {
            consider(pod, container, records, now, due, &mut actions);
        }
    }
    if progress == InitProgress::Done {
        for container in &pod.spec.containers {
            consider(pod, container, records, now, false, &mut actions);
        }
    }
    actions
}

fn finish(pod: &Pod, records: &Records) -> Vec<Action> {
    let sidecars: Vec<String> = pod
        .spec
        .init_containers
        .iter()
        .rev()
        .filter(|c| is_sidecar(c))
        .filter(|c| records.get(&c.name).is_some_and(|r| r.running() && !r.stopping))
        .map(|c| c.name.clone())
        .collect();
    if !sidecars.is_empty() {
        return vec![Action::StopSidecars(sidecars)];
    }
    if records.values().any(Record::running) { Vec::new() } else { vec![Action::Finished] }
}

/// Starts a container, or tells until when it waits. `due`: an init container whose turn it is, whatever its last
/// run came to.
fn consider(
    pod: &Pod,
    container: &Container,
    records: &Records,
    now: Duration,
    due: bool,
    actions: &mut Vec<Action>,
) {
    let blank = Record::default();
    let record = records.get(&container.name).unwrap_or(&blank);
    if record.running() || record.retry_at.is_some_and(|at| at > now) {
        return;
    }
    let Some(ended) = record.ended() else {
        actions.push(Action::Start(container.name.clone()));
        return;
    };
    if !due && !restarts(pod, container, record, ended.exit_code) {
        return;
    }
    match record.backoff.wait_until(ended.at) {
        Some(until) if until > now => actions.push(Action::BackOff {
            name: container.name.clone(),
            wait: record.backoff.current(),
            until,
        }),
        _ => actions.push(Action::Start(container.name.clone())),
    }
}

#[cfg(test)]
mod tests;
