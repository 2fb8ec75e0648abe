//! Carries the scheduler's decisions out: follows the API, runs the loop, binds and reports.
//!
//! One task owns the [`Scheduler`] and is its only user. Followers of nodes, pods and namespaces send it changes over a
//! bounded channel; bindings run beside it, a limited number at a time, and tell it only when they fail.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use apimachinery::{
    api::{
        Resource,
        core::{Namespace, Node, Pod},
    },
    resource::ResourceInfo,
    status::Status,
};
use client::{
    Client, EventRecorder, Patch,
    events::{EventType, reference},
    reflector::{Change as Listed, ListWatch, Reflector},
};
use component_base::{clock::Clock, shutdown::Shutdown};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use crate::{
    framework::PodInfo,
    metrics::Metrics,
    preemption::Preemption,
    scheduler::{Action, Change, Input, Scheduler},
};

/// Changes that may wait for the loop.
const CHANNEL: usize = 1024;
/// Bindings and reports that may be under way.
const CONCURRENT_WRITES: usize = 128;
/// After so many attempts in a row the loop looks at what else has happened.
const ATTEMPTS_PER_TURN: usize = 32;

/// What the scheduler is made with.
pub struct Config {
    /// The API, as `system:kube-scheduler`.
    pub client: Client,
    /// Time.
    pub clock: Clock,
    /// The `spec.schedulerName` that it serves.
    pub scheduler_name: String,
    /// Where it counts.
    pub metrics: Metrics,
}

/// The scheduler, ready to run.
pub struct Server {
    config: Config,
}

impl Server {
    /// Takes the configuration over.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Schedules until `shutdown`.
    pub async fn run(self, shutdown: Shutdown) {
        let Config { client, clock, scheduler_name, metrics } = self.config;
        let (sender, mut inputs) = mpsc::channel(CHANNEL);
        follow::<Node>(&client, &clock, &shutdown, &sender, Input::Node);
        follow::<Namespace>(&client, &clock, &shutdown, &sender, Input::Namespace);
        follow::<Pod>(&client, &clock, &shutdown, &sender, Input::Pod);
        let writer = Writer {
            recorder: EventRecorder::start(&client, &clock, &scheduler_name, None, &shutdown),
            scheduler_name: scheduler_name.clone(),
            permits: Arc::new(Semaphore::new(CONCURRENT_WRITES)),
            shutdown: shutdown.clone(),
            metrics: metrics.clone(),
            client,
            clock: clock.clone(),
            sender,
        };
        let mut scheduler = Scheduler::new(&scheduler_name, clock.random_u64());
        loop {
            let mut busy = false;
            while let Ok(input) = inputs.try_recv() {
                scheduler.handle(input, clock.monotonic());
            }
            for _ in 0..ATTEMPTS_PER_TURN {
                let started = clock.monotonic();
                let Some(action) = scheduler.next_action(started) else { break };
                metrics.attempt(&action, clock.monotonic().saturating_sub(started));
                busy = true;
                tokio::select! {
                    () = writer.start(action) => {}
                    () = shutdown.cancelled() => return,
                }
            }
            metrics.pending(scheduler.queue_lengths());
            if busy {
                tokio::task::yield_now().await;
                continue;
            }
            let timer = async {
                match scheduler.next_ready() {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => scheduler.handle(input, clock.monotonic()),
                    None => return,
                },
                () = timer => {}
                () = shutdown.cancelled() => return,
            }
        }
    }
}

/// Follows a resource into the loop; what vanished unseen is told as a deletion.
fn follow<T: Resource>(
    client: &Client,
    clock: &Clock,
    shutdown: &Shutdown,
    sender: &mpsc::Sender<Input>,
    wrap: fn(Change<T>) -> Input,
) {
    let info: &'static ResourceInfo = T::INFO;
    let mut reflector: Reflector<T> =
        Reflector::new(client.clone(), clock.clone(), ListWatch::all(info));
    let (sender, token) = (sender.clone(), shutdown.token().clone());
    let following = async move {
        let mut known: HashMap<String, Arc<T>> = HashMap::new();
        let uid = |object: &T| object.metadata().uid.clone().unwrap_or_default();
        loop {
            let mut changes = Vec::new();
            match reflector.next().await {
                Listed::Replaced { objects, .. } => {
                    let present: HashSet<String> = objects.iter().map(uid).collect();
                    let gone: Vec<String> =
                        known.keys().filter(|uid| !present.contains(*uid)).cloned().collect();
                    for uid in gone {
                        changes.extend(known.remove(&uid).map(Change::Deleted));
                    }
                    for object in objects.into_iter().map(Arc::new) {
                        known.insert(uid(&object), object.clone());
                        changes.push(Change::Applied(object));
                    }
                }
                Listed::Applied(object) => {
                    let object = Arc::new(object);
                    known.insert(uid(&object), object.clone());
                    changes.push(Change::Applied(object));
                }
                Listed::Deleted(object) => {
                    known.remove(&uid(&object));
                    changes.push(Change::Deleted(Arc::new(object)));
                }
                Listed::Reached(_) => {}
            }
            for change in changes {
                if sender.send(wrap(change)).await.is_err() {
                    return;
                }
            }
        }
    };
    shutdown.spawn(info.resource, async move {
        token.run_until_cancelled(following).await;
    });
}

/// Does what the scheduler decided.
#[derive(Clone)]
struct Writer {
    client: Client,
    clock: Clock,
    recorder: EventRecorder,
    scheduler_name: String,
    permits: Arc<Semaphore>,
    shutdown: Shutdown,
    metrics: Metrics,
    sender: mpsc::Sender<Input>,
}

impl Writer {
    /// Starts the write, as soon as there is a place for it.
    async fn start(&self, action: Action) {
        let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
        let writer = self.clone();
        self.shutdown.spawn("write", async move {
            let token = writer.shutdown.token().clone();
            token.run_until_cancelled(writer.act(action)).await;
            drop(permit);
        });
    }

    async fn act(&self, action: Action) {
        match action {
            Action::Bind { pod, node, attempts, waited } => {
                self.bind(&pod, &node, attempts, waited).await;
            }
            Action::Report { pod, reason, message, preemption } => {
                self.report(&pod, reason, &message, preemption).await;
            }
        }
    }

    async fn bind(&self, pod: &PodInfo, node: &str, attempts: u32, waited: Duration) {
        match self.client.bind(&pod.key, pod.uid(), node).await {
            Ok(()) => {
                self.metrics.scheduled(attempts, waited);
                let message = format!("Successfully assigned {} to {node}", pod.key);
                self.recorder.record_about(
                    reference(&*pod.pod),
                    EventType::Normal,
                    "Scheduled",
                    message,
                );
            }
            Err(status) => {
                // A pod that is gone, or bound by somebody else, is not tried again.
                let final_ = status.is_not_found() || status.is_conflict();
                tracing::debug!(pod = %pod.key, %status, "binding failed");
                if !final_ {
                    let message = format!("binding rejected: {}", status.message);
                    self.recorder.record_about(
                        reference(&*pod.pod),
                        EventType::Warning,
                        "FailedScheduling",
                        message,
                    );
                }
                let failed = Input::BindingFailed { uid: pod.uid().to_owned(), final_ };
                // The loop is gone only when the scheduler ends.
                let _ = self.sender.send(failed).await;
            }
        }
    }

    async fn report(
        &self,
        pod: &PodInfo,
        reason: &str,
        message: &str,
        preemption: Option<Preemption>,
    ) {
        if reason == "Unschedulable" {
            self.recorder.record_about(
                reference(&*pod.pod),
                EventType::Warning,
                "FailedScheduling",
                message,
            );
        }
        let mut status = json!({"conditions": [{
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
            "observedGeneration": pod.pod.metadata.generation,
        }]});
        if let Some(preemption) = &preemption {
            status["nominatedNodeName"] = preemption.node.clone().into();
        }
        if let Err(status) = self.patch_status(pod, status).await {
            tracing::debug!(pod = %pod.key, %status, "cannot tell why the pod waits");
        }
        for victim in preemption.iter().flat_map(|p| &p.victims) {
            self.evict(pod, victim).await;
        }
    }

    async fn patch_status(
        &self,
        pod: &PodInfo,
        mut status: serde_json::Value,
    ) -> Result<(), Status> {
        let current = pod.pod.status.conditions.iter().find(|c| c.type_ == "PodScheduled");
        let condition = &mut status["conditions"][0];
        let now = apimachinery::time::Time(self.clock.now()).truncated();
        let since = current
            .filter(|c| c.status == "False")
            .and_then(|c| c.last_transition_time)
            .unwrap_or(now);
        condition["lastTransitionTime"] = json!(since);
        let unchanged = current.is_some_and(|c| {
            c.status == "False"
                && c.reason.as_deref() == condition["reason"].as_str()
                && c.message.as_deref() == condition["message"].as_str()
        });
        if unchanged && status.get("nominatedNodeName").is_none() {
            return Ok(());
        }
        let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid()}, "status": status}));
        self.client
            .patch::<Pod>(&pod.key.namespace, &pod.key.name, &patch, "status")
            .await
            .map(drop)
    }

    async fn evict(&self, preemptor: &PodInfo, victim: &PodInfo) {
        let now = apimachinery::time::Time(self.clock.now()).truncated();
        let message =
            format!("{}: preempting to accommodate a higher priority pod", self.scheduler_name);
        let condition = json!({"metadata": {"uid": victim.uid()}, "status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": message, "lastTransitionTime": now,
        }]}});
        let (namespace, name) = (&victim.key.namespace, &victim.key.name);
        let patched =
            self.client.patch::<Pod>(namespace, name, &Patch::Strategic(condition), "status").await;
        if let Err(status) = patched {
            tracing::debug!(pod = %victim.key, %status, "cannot mark a preemption's victim");
        }
        let options = client::DeleteOptions::uid(victim.uid());
        match self.client.delete::<Pod>(namespace, name, &options).await {
            Ok(()) => {
                let node = victim.pod.spec.node_name.as_deref().unwrap_or_default();
                let message = format!("Preempted by pod {} on node {node}", preemptor.uid());
                self.recorder.record_about(
                    reference(&*victim.pod),
                    EventType::Normal,
                    "Preempted",
                    message,
                );
            }
            Err(status) if status.is_not_found() || status.is_conflict() => {}
            Err(status) => {
                tracing::warn!(pod = %victim.key, %status, "cannot delete a preemption's victim");
            }
        }
    }
}
