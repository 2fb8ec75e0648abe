//! One pod's worker: the only task that starts, probes, restarts and stops the pod's containers.
//!
//! It waits for whatever may matter (a change of the pod, a container's end, a probe, a back-off that is over), lets
//! [`lifecycle::plan`] decide, acts, and hands the status on. Nothing is polled: a healthy pod without probes costs
//! no time at all.
//!
//! | part | does |
//! |---|---|
//! | [`events`] | what happens beside the worker |
//! | [`runs`] | from one run of a container to the next |
//! | [`names`] | the pod's host name and hosts file |
//! | [`host_ports`] | the pod's ports on its node |
//! | [`pull`] | a container's image |
//! | [`start`] | one container: volumes, environment, creation, hook |
//! | [`probing`] | what probes report, and what follows |
//! | [`stop`] | the end of containers and of the pod: hooks, grace, order |
//!
//! Whatever takes long (a grace period, a hook) runs in `events`, beside the worker, so that a deletion, a shorter grace
//! period and the node's own end are always heard: no hook, probe or Program can wedge it.

mod events;
mod host_ports;
mod names;
mod probing;
mod pull;
mod runs;
mod start;
mod stop;

pub(crate) use start::hook_request;

use client::events::EventType;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use apimachinery::api::core::{Container as ContainerSpec, Pod};
use cni::{network::Sandbox, userspace::ForwardedPort};
use container_runtime::Container;
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
    lifecycle::{self, Action, Record, Records, is_sidecar},
    node::NodeContext,
    probes::Report,
    status::{self, Failure, Told},
    tokens,
};
use events::Event;
use probing::ProbeTasks;
use runs::wiped;

/// What of a pod other parts of the kubelet may see: its running containers and where their logs are.
#[derive(Clone, Default)]
pub struct Shared {
    /// Containers by name; the last instance of each.
    pub containers: BTreeMap<String, Container>,
    /// The log files by container: the present run's and the one's before.
    pub logs: BTreeMap<String, (PathBuf, Option<PathBuf>)>,
    /// The pod's network.
    pub sandbox: Option<Sandbox>,
    /// It has ended, and its status says so.
    pub finished: bool,
}

/// The worker of one pod.
pub struct PodWorker {
    node: Arc<NodeContext>,
    pod: Arc<Pod>,
    dir: PathBuf,
    uid: String,
    records: Records,
    sandbox: Option<Sandbox>,
    /// What `hostname` says in its containers; known with the sandbox.
    hostname: String,
    shared: Arc<RwLock<Shared>>,
    start_time: Timestamp,
    failure: Option<Failure>,
    finished: bool,
    pulls: FailedPulls,
    /// Dropped with the pod's network.
    host_ports: Vec<ForwardedPort>,
    volumes_ready: bool,
    /// The pod as it changes, for who keeps its volumes up to date.
    pods: Option<watch::Receiver<Arc<Pod>>>,
    live_volumes: Option<AbortOnDropHandle<()>>,
    volumes_retry: Option<Duration>,
    volumes_failures: u32,
    /// When its tokens are to be exchanged.
    token_due: Option<Duration>,
    /// It had ended, and the API server knew, before this process started.
    settled: bool,
    /// All containers are being killed, to start afresh.
    wiping: bool,
    /// What was last told.
    told: Option<Told>,
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
            hostname: String::new(),
            shared,
            failure: None,
            finished: false,
            pulls: FailedPulls::default(),
            host_ports: Vec::new(),
            volumes_ready: false,
            pods: None,
            live_volumes: None,
            volumes_retry: None,
            volumes_failures: 0,
            token_due: None,
            settled: false,
            wiping: false,
            told: None,
            events: FuturesUnordered::new(),
            reports: None,
            probe_tasks: BTreeMap::new(),
            tasks: TaskTracker::new(),
            node,
            pod,
        };
        if let Some(checkpoint) = checkpoint {
            worker.start_time = checkpoint.start_time.0;
            worker.failure = checkpoint.failure;
            worker.records = checkpoint.after_reboot(&worker.node.clock);
            worker.settled = is_terminal(&worker.pod);
            worker.finished = worker.settled;
            worker.shared.write().finished = worker.settled;
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
                let outcome = Box::pin(self.terminate(&mut updates, &stop)).await;
                self.end_tasks().await;
                return outcome;
            }
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                // In a box: a pod that rests keeps no room for a turn.
                next = Box::pin(self.turn()) => next,
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
            let failure = Failure::DeadlineExceeded;
            self.node.event(&self.pod, EventType::Normal, failure.reason(), failure.message());
            self.fail(failure);
        }
        if self.failure.is_none() && self.node.own.ends(&self.pod).is_some() {
            self.fail(Failure::NodeShutdown);
        }
        if self.failure.is_some() {
            if !self.records.values().any(Record::running) {
                self.finish();
            }
            return None;
        }
        self.restart_changed();
        self.wipe();
        self.renew_tokens();
        loop {
            let now = self.node.clock.monotonic();
            let actions = lifecycle::plan(&self.pod, &self.records, now);
            let mut progressed = false;
            for action in actions {
                match action {
                    // A hook that was started just now holds up the others.
                    Action::Start(_) if self.records.values().any(|r| r.shown.is_some()) => {}
                    Action::Start(name) => progressed |= self.start(&name).await,
                    Action::BackOff { name, wait, until } => self.back_off(&name, wait, until),
                    Action::StopAll => {
                        let ending = self.stop_all(self.grace());
                        self.events.push(Box::pin(ending.map(|()| Event::Stopped)));
                    }
                    Action::RestartAll => {
                        if !std::mem::replace(&mut self.wiping, true) {
                            let killing = self.kill_all();
                            self.events.push(Box::pin(killing.map(|()| Event::Wiped)));
                        }
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

    /// Exchanges the tokens in its volumes, if they are due, beside the worker.
    fn renew_tokens(&mut self) {
        let now = self.node.clock.monotonic();
        if self.token_due.take_if(|due| *due <= now).is_some() {
            let renewing = tokens::renew(self.node.clone(), self.pod.clone(), self.dir.clone());
            self.events.push(Box::pin(renewing.map(Event::Tokens)));
        }
    }

    /// Ends the pod for this reason; once nothing runs any more it has finished.
    fn fail(&mut self, failure: Failure) {
        self.failure = Some(failure);
        let ending = self.stop_all(self.grace());
        self.events.push(Box::pin(ending.map(|()| Event::Stopped)));
    }

    fn finish(&mut self) {
        self.finished = true;
        self.live_volumes = None;
        self.release_network();
    }

    /// Stops containers that run another image than the pod names by now: the one field of theirs that may change. An init
    /// container that is not a sidecar may come to its end.
    fn restart_changed(&mut self) {
        let spec = &self.pod.spec;
        let changed: Vec<String> = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().filter(|c| is_sidecar(c)))
            .filter(|c| {
                self.records.get(&c.name).is_some_and(|r| {
                    r.running() && !r.stopping && r.image != c.image.as_deref().unwrap_or_default()
                })
            })
            .map(|c| c.name.clone())
            .collect();
        for name in changed {
            let grace = self.container_grace();
            self.stop_for(&name, grace, "definition changed");
        }
    }

    /// Once all containers are dead that are to start afresh: forgets that they ever ran.
    fn wipe(&mut self) {
        let live = |record: &Record| record.running() || record.shown.is_some();
        if !self.wiping || self.records.values().any(live) {
            return;
        }
        self.wiping = false;
        let spec = &self.pod.spec;
        for container in spec.init_containers.iter().chain(&spec.containers) {
            let Some(record) = self.records.get_mut(&container.name) else { continue };
            if record.ended().is_some() {
                *record = wiped(record);
            }
        }
        self.publish();
    }

    fn next_due(&self) -> Option<Duration> {
        let now = self.node.clock.monotonic();
        let deadline = self.past_deadline().map(|left| now + left);
        let retries = self.records.values().filter(|r| !r.running()).filter_map(|r| r.retry_at);
        retries
            .chain(self.volumes_retry)
            .chain(self.token_due)
            .chain(deadline)
            .filter(|at| *at > now)
            .min()
    }

    /// How much of `activeDeadlineSeconds` is left; zero: it is over.
    fn past_deadline(&self) -> Option<Duration> {
        let deadline = self.pod.spec.active_deadline_seconds?;
        let end = self.start_time.as_second().saturating_add(deadline);
        let left = end - self.node.clock.now().as_second();
        Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }

    fn back_off(&mut self, name: &str, wait: Duration, until: Duration) {
        let key = self.key();
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

    /// A container of the pod, of whichever kind.
    fn spec(&self, name: &str) -> Option<ContainerSpec> {
        let spec = &self.pod.spec;
        let usual = spec.containers.iter().chain(&spec.init_containers);
        usual.clone().find(|c| c.name == name).cloned().or_else(|| {
            let ephemeral = spec.ephemeral_containers.iter().find(|c| c.name == name);
            ephemeral.map(lifecycle::as_container)
        })
    }

    /// The pod as messages name it.
    fn key(&self) -> String {
        format!(
            "{}_{}({})",
            self.pod.metadata.name.as_deref().unwrap_or_default(),
            self.pod.metadata.namespace.as_deref().unwrap_or_default(),
            self.uid
        )
    }

    /// A container as events name it.
    fn field(&self, name: &str) -> String {
        let spec = &self.pod.spec;
        let list = if spec.init_containers.iter().any(|c| c.name == name) {
            "initContainers"
        } else if spec.ephemeral_containers.iter().any(|c| c.name == name) {
            "ephemeralContainers"
        } else {
            "containers"
        };
        format!("spec.{list}{{{name}}}")
    }

    /// The grace period: the deletion's, else the pod's; a second at least. A deletion with 0 takes the object away at
    /// once and leaves the containers the pod's own time (`calculateEffectiveGracePeriod`). A node that shuts down caps it.
    fn grace(&self) -> Duration {
        let of_deletion = self.pod.metadata.deletion_grace_period_seconds.filter(|s| *s > 0);
        let seconds =
            of_deletion.or(self.pod.spec.termination_grace_period_seconds).unwrap_or(30).max(1);
        let own = Duration::from_secs(u64::try_from(seconds).unwrap_or(1));
        let cap = self.node.own.ends(&self.pod);
        cap.map_or(own, |cap| own.min(cap).max(Duration::from_secs(1)))
    }

    /// What one container gets that is stopped alone: its pod's grace period as it is.
    fn container_grace(&self) -> Duration {
        let of_deletion = self.pod.metadata.deletion_grace_period_seconds;
        let seconds = of_deletion.or(self.pod.spec.termination_grace_period_seconds).unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    fn container_event(&self, name: &str, type_: EventType, reason: &str, message: &str) {
        self.node.container_event(&self.pod, &self.field(name), type_, reason, message);
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
            told: self.told.as_ref(),
            start_time: self.start_time,
            failure: self.failure,
            finished: self.finished,
            now: self.node.clock.now(),
        });
        let told = self.told.get_or_insert_default();
        told.phase.clone_from(&status.phase);
        told.conditions.clone_from(&status.conditions);
        self.node.statuses.set(&self.pod, &status);
        let kept = PodCheckpoint::of(&self.pod, &self.records, self.start_time, self.failure);
        self.node.checkpoints.save(&self.uid, &kept);
        if self.finished && !std::mem::replace(&mut self.shared.write().finished, true) {
            self.node.own.tell_end();
        }
    }

    /// A pod that ended keeps its record, but neither address nor connections.
    fn release_network(&mut self) {
        self.host_ports.clear();
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

#[cfg(test)]
mod pairs;
#[cfg(test)]
mod tests;
