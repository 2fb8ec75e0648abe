//! One pod's worker: the only task that starts, probes, restarts and stops the pod's containers.
//!
//! It waits for whatever may matter (a change of the pod, a container's end, a probe, a back-off that is over), lets
//! [`lifecycle::plan`] decide, acts, and hands the status on. Nothing is polled: a healthy pod without probes costs
//! no time at all.
//!
//! | part | does |
//! |---|---|
//! | [`pull`] | a container's image |
//! | [`start`] | one container: volumes, environment, creation, hook |
//! | [`probing`] | what probes report, and what follows |
//! | [`stop`] | the end of containers and of the pod: hooks, grace, order |
//!
//! Whatever takes long (a grace period, a hook) runs in `events`, beside the worker, so that a deletion, a shorter grace
//! period and the node's own end are always heard.

mod probing;
mod pull;
mod start;
mod stop;

pub(crate) use start::hook_request;

use client::events::EventType;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use apimachinery::api::core::{Container as ContainerSpec, Pod, PodCondition};
use cni::network::Sandbox;
use container_runtime::{Container, ContainerState, Exit, logs::LogOptions};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{
    checkpoint::PodCheckpoint,
    images::FailedPulls,
    lifecycle::{self, Action, Ended, Record, Records, State},
    node::NodeContext,
    probes::Report,
    status,
};
use probing::ProbeTasks;

/// What of a pod other parts of the kubelet may see: its running containers and where their logs are.
#[derive(Clone, Default)]
pub struct Shared {
    /// Containers by name; the last instance of each.
    pub containers: BTreeMap<String, Container>,
    /// The log files by container: the present run's and the one's before.
    pub logs: BTreeMap<String, (PathBuf, Option<PathBuf>)>,
    /// The pod's network.
    pub sandbox: Option<Sandbox>,
}

/// What brings a worker to its next turn.
enum Event {
    Exited(String, String, Exit),
    HookFailed { container: String, run: String, message: String },
    Stopped,
}

/// The worker of one pod.
pub struct PodWorker {
    node: Arc<NodeContext>,
    pod: Arc<Pod>,
    dir: PathBuf,
    uid: String,
    records: Records,
    sandbox: Option<Sandbox>,
    shared: Arc<RwLock<Shared>>,
    start_time: Timestamp,
    failure: Option<(&'static str, &'static str)>,
    finished: bool,
    pulls: FailedPulls,
    volumes_ready: bool,
    /// The pod as it changes, for who keeps its volumes up to date.
    pods: Option<watch::Receiver<Arc<Pod>>>,
    live_volumes: Option<AbortOnDropHandle<()>>,
    volumes_retry: Option<Duration>,
    volumes_failures: u32,
    /// It had ended, and the API server knew, before this process started.
    settled: bool,
    /// The conditions as last told.
    told: Vec<PodCondition>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    /// Made with the first probe: most pods have none.
    reports: Option<(mpsc::Sender<Report>, mpsc::Receiver<Report>)>,
    probe_tasks: BTreeMap<String, ProbeTasks>,
    tasks: TaskTracker,
}

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pod is gone, here and (if the API server can be reached) there.
    Gone,
    /// The node shuts down; the pod comes back from its checkpoint.
    NodeStopped,
}

impl PodWorker {
    /// A worker for a pod, from its checkpoint if the node ran it before its reboot.
    #[must_use]
    pub fn new(
        node: Arc<NodeContext>,
        pod: Arc<Pod>,
        checkpoint: Option<PodCheckpoint>,
        shared: Arc<RwLock<Shared>>,
    ) -> Self {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let dir = node.pod_dir(&uid);
        let started = pod.status.start_time.as_ref().map(|t| t.0);
        let mut worker = Self {
            start_time: started.unwrap_or_else(|| node.clock.now()),
            dir,
            uid,
            records: Records::new(),
            sandbox: None,
            shared,
            failure: None,
            finished: false,
            pulls: FailedPulls::default(),
            volumes_ready: false,
            pods: None,
            live_volumes: None,
            volumes_retry: None,
            volumes_failures: 0,
            settled: false,
            told: Vec::new(),
            events: FuturesUnordered::new(),
            reports: None,
            probe_tasks: BTreeMap::new(),
            tasks: TaskTracker::new(),
            node,
            pod,
        };
        if let Some(checkpoint) = checkpoint {
            worker.start_time = checkpoint.start_time.0;
            worker.records = checkpoint.after_reboot(&worker.node.clock);
            worker.settled = is_terminal(&worker.pod);
            worker.finished = worker.settled;
            worker.recall_logs();
        }
        worker
    }

    /// Works until the pod is gone or the node stops.
    pub async fn run(
        mut self,
        mut updates: watch::Receiver<Arc<Pod>>,
        stop: CancellationToken,
    ) -> Outcome {
        self.pods = Some(updates.clone());
        loop {
            let deleting = self.pod.metadata.deletion_timestamp.is_some();
            if deleting || self.gone(&updates) {
                let outcome = self.terminate(&mut updates, &stop).await;
                self.end_tasks().await;
                return outcome;
            }
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                next = self.turn() => next,
            };
            if stop.is_cancelled() {
                self.end_tasks().await;
                return Outcome::NodeStopped;
            }
            self.publish();
            let clock = self.node.clock.clone();
            let timer = async {
                match next {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                changed = updates.changed() => {
                    if changed.is_ok() {
                        self.pod = updates.borrow_and_update().clone();
                    }
                }
                Some(event) = self.events.next(), if !self.events.is_empty() => self.on_event(event),
                report = probing::next(&mut self.reports) => self.on_report(report),
                () = timer => {}
            }
        }
    }

    /// The sender is dropped when the pod vanished from the API without a graceful deletion.
    fn gone(&self, updates: &watch::Receiver<Arc<Pod>>) -> bool {
        updates.has_changed().is_err()
    }

    async fn end_tasks(&mut self) {
        self.probe_tasks.clear();
        self.live_volumes = None;
        self.reports = None;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Does what is due; gives when something is due by the clock.
    async fn turn(&mut self) -> Option<Duration> {
        if self.finished {
            return None;
        }
        if self.failure.is_none() && self.past_deadline().is_some_and(|left| left.is_zero()) {
            let message = "Pod was active on the node longer than the specified deadline";
            self.failure = Some(("DeadlineExceeded", message));
            self.node.event(&self.pod, EventType::Normal, "DeadlineExceeded", message);
            let ending = self.stop_all(self.grace());
            self.events.push(Box::pin(ending.map(|()| Event::Stopped)));
        }
        if self.failure.is_some() {
            if !self.records.values().any(Record::running) {
                self.finish();
            }
            return None;
        }
        self.restart_changed();
        loop {
            let now = self.node.clock.monotonic();
            let actions = lifecycle::plan(&self.pod, &self.records, now);
            let mut progressed = false;
            for action in actions {
                match action {
                    Action::Start(name) => progressed |= self.start(&name).await,
                    Action::BackOff { name, wait, until } => self.back_off(&name, wait, until),
                    Action::StopSidecars(names) => {
                        let ending = self.stop_in_order(&names, self.grace());
                        self.events.push(Box::pin(ending.map(|()| Event::Stopped)));
                    }
                    Action::Finished => {
                        self.finish();
                        return None;
                    }
                }
            }
            if !progressed {
                break;
            }
        }
        self.next_due()
    }

    fn finish(&mut self) {
        self.finished = true;
        self.live_volumes = None;
        self.release_network();
    }

    /// Stops containers that run another image than the pod names by now: the one field of theirs that may change.
    fn restart_changed(&mut self) {
        let spec = &self.pod.spec;
        let changed: Vec<String> = spec
            .containers
            .iter()
            .chain(&spec.init_containers)
            .filter(|c| {
                self.records.get(&c.name).is_some_and(|r| {
                    r.running() && !r.stopping && r.image != c.image.as_deref().unwrap_or_default()
                })
            })
            .map(|c| c.name.clone())
            .collect();
        for name in changed {
            let text = format!("Container {name} definition changed, will be restarted");
            let grace = self.grace();
            self.stop_for_restart(&name, grace, &text);
        }
    }

    fn next_due(&self) -> Option<Duration> {
        let now = self.node.clock.monotonic();
        let deadline = self.past_deadline().map(|left| now + left);
        let retries = self.records.values().filter(|r| !r.running()).filter_map(|r| r.retry_at);
        retries.chain(self.volumes_retry).chain(deadline).filter(|at| *at > now).min()
    }

    /// How much of `activeDeadlineSeconds` is left; zero: it is over.
    fn past_deadline(&self) -> Option<Duration> {
        let deadline = self.pod.spec.active_deadline_seconds?;
        let end = self.start_time.as_second().saturating_add(deadline);
        let left = end - self.node.clock.now().as_second();
        Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }

    fn back_off(&mut self, name: &str, wait: Duration, until: Duration) {
        let key = format!(
            "{}_{}({})",
            self.pod.metadata.name.as_deref().unwrap_or_default(),
            self.pod.metadata.namespace.as_deref().unwrap_or_default(),
            self.uid
        );
        let Some(record) = self.records.get_mut(name) else { return };
        if record.retry_at == Some(until) && record.problem.is_some() {
            return;
        }
        record.retry_at = Some(until);
        let message = format!(
            "back-off {} restarting failed container={name} pod={key}",
            crate::go_duration(wait)
        );
        record.problem = Some(("CrashLoopBackOff".into(), message));
        self.container_event(
            name,
            EventType::Warning,
            "BackOff",
            &format!("Back-off restarting failed container {name} in pod {key}"),
        );
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Exited(name, run, exit) => self.exited(&name, &run, exit),
            Event::HookFailed { container, run, message } => {
                self.container_event(
                    &container,
                    EventType::Warning,
                    "FailedPostStartHook",
                    &message,
                );
                let current = self.shared.read().containers.get(&container).cloned();
                if let Some(running) = current.filter(|c| c.id().to_string() == run) {
                    self.killing(&container, "FailedPostStartHook");
                    let grace = self.grace();
                    self.mark_stopping(&container);
                    self.events.push(Box::pin(async move {
                        running.stop(grace).await;
                        Event::Stopped
                    }));
                }
            }
            Event::Stopped => {}
        }
    }

    fn exited(&mut self, name: &str, run: &str, exit: Exit) {
        self.probe_tasks.remove(name);
        let at = self.node.clock.monotonic();
        let Some(record) = self.records.get_mut(name) else { return };
        if !matches!(&record.state, State::Running { id, .. } if id == run) {
            return;
        }
        record.state = State::Terminated(ended(exit, at, run.to_owned()));
        record.ready = false;
        record.started = false;
        record.stopping = false;
        record.problem = None;
        record.retry_at = None;
    }

    fn spec(&self, name: &str) -> Option<&ContainerSpec> {
        let spec = &self.pod.spec;
        spec.containers.iter().chain(&spec.init_containers).find(|c| c.name == name)
    }

    /// The grace period: the deletion's, else the pod's; a second at least. A deletion with 0 takes the object away at
    /// once and leaves the containers the pod's own time (`calculateEffectiveGracePeriod`).
    fn grace(&self) -> Duration {
        let of_deletion = self.pod.metadata.deletion_grace_period_seconds.filter(|s| *s > 0);
        let seconds =
            of_deletion.or(self.pod.spec.termination_grace_period_seconds).unwrap_or(30).max(1);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(1))
    }

    fn container_event(&self, name: &str, type_: EventType, reason: &str, message: &str) {
        let init = self.pod.spec.init_containers.iter().any(|c| c.name == name);
        let list = if init { "initContainers" } else { "containers" };
        self.node.container_event(
            &self.pod,
            &format!("spec.{list}{{{name}}}"),
            type_,
            reason,
            message,
        );
    }

    /// Hands the status on to the API server, if it differs from what that has.
    fn publish(&mut self) {
        if self.settled {
            return;
        }
        let status = status::generate(&status::View {
            pod: &self.pod,
            records: &self.records,
            ip: self.sandbox.as_ref().map(|s| s.ip().to_string()),
            host_ip: &self.node.host_ip,
            told: &self.told,
            start_time: self.start_time,
            failure: self.failure,
            finished: self.finished,
            now: self.node.clock.now(),
        });
        self.told.clone_from(&status.conditions);
        self.node.statuses.set(&self.pod, &status);
        let kept = PodCheckpoint::of(&self.pod, &self.records, self.start_time);
        self.node.checkpoints.save(&self.uid, &kept);
    }

    /// A pod that ended keeps its record, but neither address nor connections.
    fn release_network(&mut self) {
        // Also where this process never made it: after a reboot the address is still kept.
        if let Err(e) = self.node.network.del(&self.uid) {
            tracing::error!(pod = %self.uid, error = %e, "cannot release the pod's network");
        }
    }
}

/// Whether the pod has ended, as far as the API server knows.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// How a container's run ended.
fn ended(exit: Exit, at: Duration, id: String) -> Ended {
    Ended {
        exit_code: exit.code,
        signal: exit.signal,
        reason: exit.reason.to_owned(),
        message: exit.message,
        started_at: Some(exit.started_at).filter(|t| *t != Timestamp::UNIX_EPOCH),
        finished_at: exit.finished_at,
        at,
        id,
    }
}

/// The state of a record as it goes into a new run.
fn next_run(record: &mut Record, clock: &component_base::clock::Clock) {
    let former = std::mem::replace(&mut record.state, State::Waiting);
    if let State::Terminated(former) = former {
        record.backoff.restarted(former.at, clock.monotonic());
        record.restarts += 1;
        record.last = Some(former);
    }
    record.problem = None;
    record.retry_at = None;
    record.must_restart = false;
    record.begun = true;
}

/// Lines and bytes of its log that stand in for a termination message.
const FALLBACK: (u64, usize) = (80, 2048);

/// Waits for the end of a run. With `from_log`, the end of its log is the message of a run that failed without one.
async fn exit_of(name: String, container: Container, from_log: bool) -> Event {
    let run = format!("containerd://{}", container.id());
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
fn is_running(container: &Container) -> bool {
    matches!(container.state(), ContainerState::Running { .. })
}

#[cfg(test)]
mod tests;
