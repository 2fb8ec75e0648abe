//! One pod's worker: the only task that starts, probes, restarts and stops the pod's containers.
//!
//! It waits for whatever may matter (a change of the pod, a container's end, a probe, a back-off that is over), lets
//! [`lifecycle::plan`] decide, acts, and hands the status on. Nothing is polled: a healthy pod without probes costs
//! no time at all.
//!
//! | part | does |
//! |---|---|
//! | [`start`] | one container: volumes, environment, image, creation, hook |
//! | [`stop`] | the end of containers and of the pod: hooks, grace, order |

mod start;
mod stop;

pub(crate) use start::hook_request;

use client::events::EventType;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use apimachinery::api::core::{Container as ContainerSpec, Pod};
use cni::network::Sandbox;
use container_runtime::{Container, ContainerState, Exit};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    checkpoint::PodCheckpoint,
    lifecycle::{self, Action, Ended, Record, Records, State},
    node::NodeContext,
    probes::{self, Finding, Kind, Report},
    status,
};

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
    volumes_ready: bool,
    volumes_retry: Option<Duration>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    probe_reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    probe_tasks: BTreeMap<String, CancellationToken>,
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
            volumes_ready: false,
            volumes_retry: None,
            events: FuturesUnordered::new(),
            probe_reports: mpsc::channel(64),
            probe_tasks: BTreeMap::new(),
            tasks: TaskTracker::new(),
            node,
            pod,
        };
        if let Some(checkpoint) = checkpoint {
            worker.start_time = checkpoint.start_time.0;
            worker.records = checkpoint.after_reboot(&worker.node.clock);
        }
        worker
    }

    /// Works until the pod is gone or the node stops.
    pub async fn run(
        mut self,
        mut updates: watch::Receiver<Arc<Pod>>,
        stop: CancellationToken,
    ) -> Outcome {
        loop {
            let deleting = self.pod.metadata.deletion_timestamp.is_some();
            if deleting || self.gone(&updates) {
                let outcome = self.terminate(&mut updates, &stop).await;
                self.end_tasks().await;
                return outcome;
            }
            let next = self.turn().await;
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
                () = stop.cancelled() => {
                    self.end_tasks().await;
                    return Outcome::NodeStopped;
                }
                changed = updates.changed() => {
                    if changed.is_ok() {
                        self.pod = updates.borrow_and_update().clone();
                    }
                }
                Some(event) = self.events.next(), if !self.events.is_empty() => self.on_event(event),
                Some(report) = self.probe_reports.1.recv() => self.on_report(report),
                () = timer => {}
            }
        }
    }

    /// The sender is dropped when the pod vanished from the API without a graceful deletion.
    fn gone(&self, updates: &watch::Receiver<Arc<Pod>>) -> bool {
        updates.has_changed().is_err()
    }

    async fn end_tasks(&mut self) {
        for token in self.probe_tasks.values() {
            token.cancel();
        }
        self.probe_tasks.clear();
        self.probe_reports.1.close();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Does what is due; gives when something is due by the clock.
    async fn turn(&mut self) -> Option<Duration> {
        if self.finished {
            return None;
        }
        if let Some(left) = self.past_deadline() {
            if left.is_zero() {
                self.failure = Some((
                    "DeadlineExceeded",
                    "Pod was active on the node longer than the specified deadline",
                ));
                self.node.event(
                    &self.pod,
                    EventType::Normal,
                    "DeadlineExceeded",
                    "Pod was active on the node longer than the specified deadline",
                );
                let grace = self.grace();
                self.stop_all(grace).await;
                self.finished = true;
                return None;
            }
        }
        loop {
            let now = self.node.clock.monotonic();
            let actions = lifecycle::plan(&self.pod, &self.records, now);
            let mut progressed = false;
            for action in actions {
                match action {
                    Action::Start(name) => progressed |= self.start(&name).await,
                    Action::BackOff { name, wait, until } => self.back_off(&name, wait, until),
                    Action::StopSidecars(names) => {
                        for name in names {
                            let grace = self.grace();
                            self.stop_one(&name, grace).await;
                        }
                        progressed = true;
                    }
                    Action::Finished => {
                        self.finished = true;
                        self.release_network();
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
        if let Some(token) = self.probe_tasks.remove(name) {
            token.cancel();
        }
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

    fn on_report(&mut self, report: Report) {
        let Some(record) = self.records.get_mut(&report.container) else { return };
        if !matches!(&record.state, State::Running { id, .. } if *id == report.run)
            || record.stopping
        {
            return;
        }
        let name = report.container.clone();
        match (report.kind, report.finding) {
            (kind, Finding::Unhealthy(message)) => {
                let text = format!("{} probe failed: {message}", kind.name());
                self.container_event(&name, EventType::Warning, "Unhealthy", &text);
            }
            (Kind::Startup, Finding::Success) => {
                record.started = true;
                let has_readiness = self.spec(&name).is_some_and(|c| c.readiness_probe.is_some());
                if let Some(record) = self.records.get_mut(&name) {
                    record.ready = !has_readiness;
                }
                self.start_probes(&name, &[Kind::Readiness, Kind::Liveness]);
            }
            (Kind::Readiness, Finding::Success) => record.ready = true,
            (Kind::Readiness, Finding::Failure(_)) => record.ready = false,
            (Kind::Liveness, Finding::Success) => {}
            (kind @ (Kind::Liveness | Kind::Startup), Finding::Failure(_)) => {
                let text = format!(
                    "Container {name} failed {} probe, will be restarted",
                    kind.name().to_lowercase()
                );
                self.container_event(&name, EventType::Normal, "Killing", &text);
                let grace = self.probe_grace(&name, kind);
                record_stopping(&mut self.records, &name);
                if let Some(stopping) = self.stop_future(&name, grace) {
                    self.events.push(Box::pin(async move {
                        stopping.await;
                        Event::Stopped
                    }));
                }
            }
        }
    }

    fn probe_grace(&self, name: &str, kind: Kind) -> Duration {
        let own = self.spec(name).and_then(|c| match kind {
            Kind::Liveness => c.liveness_probe.as_ref(),
            Kind::Startup => c.startup_probe.as_ref(),
            Kind::Readiness => None,
        });
        let seconds = own
            .and_then(|p| p.termination_grace_period_seconds)
            .and_then(|s| u64::try_from(s).ok());
        seconds.map_or_else(|| self.grace(), Duration::from_secs)
    }

    fn start_probes(&mut self, name: &str, kinds: &[Kind]) {
        let Some(spec) = self.spec(name).cloned() else { return };
        let running = self.shared.read().containers.get(name).cloned();
        let (Some(running), Some(sandbox)) = (running, &self.sandbox) else { return };
        let target = probes::Target {
            node: self.node.own_sandbox(),
            pod_ip: sandbox.ip(),
            spec: spec.clone(),
            running,
            clock: self.node.clock.clone(),
        };
        let token = self.probe_tasks.entry(name.to_owned()).or_default().clone();
        for kind in kinds {
            let probe = match kind {
                Kind::Startup => &spec.startup_probe,
                Kind::Readiness => &spec.readiness_probe,
                Kind::Liveness => &spec.liveness_probe,
            };
            let Some(probe) = probe.clone() else { continue };
            let task = probes::run(target.clone(), *kind, probe, self.probe_reports.0.clone());
            let token = token.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    () = task => {}
                    () = token.cancelled() => {}
                }
            });
        }
    }

    fn spec(&self, name: &str) -> Option<&ContainerSpec> {
        let spec = &self.pod.spec;
        spec.containers.iter().chain(&spec.init_containers).find(|c| c.name == name)
    }

    fn grace(&self) -> Duration {
        let seconds = self
            .pod
            .metadata
            .deletion_grace_period_seconds
            .or(self.pod.spec.termination_grace_period_seconds)
            .unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
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
    fn publish(&self) {
        let status = status::generate(&status::View {
            pod: &self.pod,
            records: &self.records,
            ip: self.sandbox.as_ref().map(|s| s.ip().to_string()),
            host_ip: &self.node.host_ip,
            start_time: self.start_time,
            failure: self.failure,
            finished: self.finished,
            now: self.node.clock.now(),
        });
        self.node.statuses.set(&self.pod, status);
        let kept = PodCheckpoint::of(&self.pod, &self.records, self.start_time);
        self.node.checkpoints.save(&self.uid, kept);
    }

    /// A pod that ended keeps its record, but neither address nor connections.
    fn release_network(&mut self) {
        if self.sandbox.is_some()
            && let Err(e) = self.node.network.del(&self.uid)
        {
            tracing::error!(pod = %self.uid, error = %e, "cannot release the pod's network");
        }
    }
}

fn record_stopping(records: &mut Records, name: &str) {
    if let Some(record) = records.get_mut(name) {
        record.stopping = true;
        record.ready = false;
    }
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
}

/// Waits for the end of a run.
async fn exit_of(name: String, container: Container) -> Event {
    let run = format!("containerd://{}", container.id());
    let exit = container.wait().await;
    Event::Exited(name, run, exit)
}

/// Whether the container still runs.
fn is_running(container: &Container) -> bool {
    matches!(container.state(), ContainerState::Running { .. })
}
