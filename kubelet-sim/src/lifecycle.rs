//! What a pod's containers should do next, as a pure function: `computePodActions` of the kubelet.
//!
//! Init containers run one after the other; one with `restartPolicy: Always` is a sidecar: it keeps running, and the
//! next one starts as soon as its startup probe has passed. Then all main containers start. A container that ended is
//! started again if its restart rules, its own policy or the pod's say so, after its back-off. When no main container
//! runs or will run again, what still runs is stopped and the pod has ended.
//!
//! A postStart hook holds up everything: nothing else of the pod is started until it is over (see [`Record::shown`]).

mod records;

use std::time::Duration;

use apimachinery::api::core::{Container, EphemeralContainer, Pod};
use jiff::Timestamp;

pub use self::records::Records;
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
    /// The image with which its last start was tried.
    pub tried: String,
    /// The readiness probe passes, or there is none; [`Self::ready_at`] may hold readiness up.
    pub passes: bool,
    /// Before this it is not ready, whatever its probe says (simulated).
    pub ready_at: Option<Duration>,
    /// Its start has been delayed (simulated).
    pub delayed: bool,
    /// The end that it is killed to act out: exit code and reason (simulated).
    pub enacted: Option<(i32, &'static str)>,
    /// Why its postStart hook failed, until it has ended.
    pub hook_failure: Option<String>,
    /// Its last run was wiped out with the whole pod's (`RestartAllContainers`): it counts for nothing but the status.
    pub wiped: bool,
    /// While its postStart hook runs: what statuses go on to show, the record as it was before.
    pub shown: Option<Box<Self>>,
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
            tried: String::new(),
            passes: false,
            ready_at: None,
            delayed: false,
            enacted: None,
            hook_failure: None,
            wiped: false,
            shown: None,
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
            State::Waiting => self.last.as_ref().filter(|_| !self.wiped),
            State::Running { .. } => None,
        }
    }

    /// Whether it is ready now.
    #[must_use]
    pub fn is_ready(&self, now: Duration) -> bool {
        self.passes && self.ready_at.is_none_or(|ready_at| ready_at <= now)
    }

    /// Since when a restart's back-off counts. One that was stopped to be started again does not wait for itself: the end
    /// of the run before counts (`doBackOff` looks for the last container that had exited when the kill was decided).
    #[must_use]
    pub fn backs_off_since(&self) -> Option<Duration> {
        match &self.state {
            State::Terminated(_) if self.must_restart => self.last.as_ref().map(|ended| ended.at),
            _ => self.ended().map(|ended| ended.at),
        }
    }
}

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
    /// Stop what still runs, in Kubernetes' order: the pod is at its end.
    StopAll,
    /// Kill what still runs, without hooks: all containers start afresh.
    RestartAll,
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

/// What the first of a container's `restartPolicyRules` that an exit code matches asks for.
fn matching_action(container: &Container, exit_code: i32) -> Option<&str> {
    let rule = container.restart_policy_rules.iter().find(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = codes.values.contains(&exit_code);
            match codes.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
        })
    });
    rule.map(|rule| rule.action.as_str())
}

/// Whether a container that ended so is to be started again: its rules, its own policy, its pod's policy, in this order.
#[must_use]
pub fn should_restart(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    if matches!(matching_action(container, exit_code), Some("Restart" | "RestartAllContainers")) {
        return true;
    }
    match restart_policy(pod, container) {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}

/// Whether a container that ended with `exit_code` is to be started again.
#[must_use]
pub fn restarts(pod: &Pod, container: &Container, record: &Record, exit_code: i32) -> bool {
    record.must_restart || should_restart(pod, container, exit_code)
}

/// Whether a container of the pod may ask for all of them to be restarted.
#[must_use]
pub fn may_restart_all(pod: &Pod) -> bool {
    let containers = pod.spec.init_containers.iter().chain(&pod.spec.containers);
    containers.flat_map(|c| &c.restart_policy_rules).any(|r| r.action == "RestartAllContainers")
}

/// Whether a container has ended in a way that restarts all of them.
#[must_use]
pub fn restarting_all(pod: &Pod, records: &Records) -> bool {
    pod.spec.init_containers.iter().chain(&pod.spec.containers).any(|container| {
        let record = records.get(&container.name).filter(|record| record.begun);
        record.is_some_and(|record| {
            matches!(&record.state, State::Terminated(ended)
                if matching_action(container, ended.exit_code) == Some("RestartAllContainers"))
        })
    })
}

/// An ephemeral container in the fields that it shares with others.
#[must_use]
pub fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let e = ephemeral.clone();
    Container {
        args: e.args,
        command: e.command,
        env: e.env,
        env_from: e.env_from,
        image: e.image,
        image_pull_policy: e.image_pull_policy,
        name: e.name,
        security_context: e.security_context,
        stdin: e.stdin,
        stdin_once: e.stdin_once,
        termination_message_path: e.termination_message_path,
        termination_message_policy: e.termination_message_policy,
        tty: e.tty,
        volume_mounts: e.volume_mounts,
        working_dir: e.working_dir,
        ..Container::default()
    }
}

/// Whether a main container runs: then init containers are not run again. After a reboot they are, as Kubernetes runs
/// them again in a new sandbox.
fn main_runs(pod: &Pod, records: &Records) -> bool {
    pod.spec.containers.iter().any(|c| records.get(&c.name).is_some_and(Record::running))
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

/// Whether an init container has failed and is not tried again. Those that failed are tried again under `Always` and
/// `OnFailure` alike.
fn failed_for_good(pod: &Pod, container: &Container, records: &Records) -> bool {
    !is_sidecar(container)
        && records.get(&container.name).is_some_and(|record| {
            record.ended().is_some_and(|ended| {
                ended.exit_code != 0 && !restarts(pod, container, record, ended.exit_code)
            })
        })
}

/// Finds out how far the init containers are. The last one that has had its turn decides: those before it must have been
/// through, whatever became of them since.
#[must_use]
pub fn init_progress(pod: &Pod, records: &Records) -> InitProgress {
    let init = &pod.spec.init_containers;
    if main_runs(pod, records) {
        return InitProgress::Done;
    }
    let begun = |c: &Container| records.get(&c.name).is_some_and(|r| r.begun);
    let next = match init.iter().rposition(begun) {
        // After a reboot: what failed for good before it is not tried again.
        None if init.iter().any(|c| failed_for_good(pod, c, records)) => {
            return InitProgress::Failed;
        }
        None => 0,
        Some(at) => {
            let (container, record) = (&init[at], &records[init[at].name.as_str()]);
            let through = if is_sidecar(container) {
                record.running() && record.started
            } else {
                match record.ended() {
                    Some(_) if failed_for_good(pod, container, records) => {
                        return InitProgress::Failed;
                    }
                    ended => ended.is_some_and(|ended| ended.exit_code == 0),
                }
            };
            if through { at + 1 } else { at }
        }
    };
    if next == init.len() { InitProgress::Done } else { InitProgress::At(next) }
}

/// Decides the next actions. `now` is monotonic.
#[must_use]
pub fn plan(pod: &Pod, records: &Records, now: Duration) -> Vec<Action> {
    if restarting_all(pod, records) {
        return vec![Action::RestartAll];
    }
    let progress = init_progress(pod, records);
    let begun = match progress {
        InitProgress::At(at) => at + 1,
        InitProgress::Failed | InitProgress::Done => pod.spec.init_containers.len(),
    };
    let over = |c: &Container| {
        let record = records.get(&c.name);
        record.is_some_and(|r| r.ended().is_some_and(|e| !restarts(pod, c, r, e.exit_code)))
    };
    if progress == InitProgress::Failed || pod.spec.containers.iter().all(over) {
        return finish(records);
    }
    // A hook that runs holds up everything else.
    if records.values().any(|record| record.shown.is_some()) {
        return Vec::new();
    }
    let mut actions = Vec::new();
    // Ephemeral containers do not wait for init containers, and run once.
    for container in &pod.spec.ephemeral_containers {
        let record = records.get(&container.name);
        let due = |r: &Record| {
            r.state == State::Waiting && r.retry_at.is_none_or(|retry_at| retry_at <= now)
        };
        if record.is_none_or(due) {
            actions.push(Action::Start(container.name.clone()));
        }
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

fn finish(records: &Records) -> Vec<Action> {
    if records.values().any(|record| record.running() && !record.stopping) {
        return vec![Action::StopAll];
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
    if record.running() {
        return;
    }
    if record.ended().is_some_and(|e| !due && !restarts(pod, container, record, e.exit_code)) {
        return;
    }
    // What another image did is not held against this one.
    let image = container.image.as_deref().unwrap_or_default();
    if !record.tried.is_empty() && record.tried != image {
        actions.push(Action::Start(container.name.clone()));
        return;
    }
    if record.retry_at.is_some_and(|at| at > now) {
        return;
    }
    match record.backs_off_since().and_then(|since| record.backoff.wait_until(since)) {
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
