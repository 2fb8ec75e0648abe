//! Carries the loop's decisions out: bindings, reports, evictions.

use std::{sync::Arc, time::Duration};

use apimachinery::{api::core::Pod, status::Status};
use client::{
    Client, EventRecorder, Patch,
    events::{EventType, reference},
};
use component_base::{clock::Clock, shutdown::Shutdown};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use crate::{
    framework::PodInfo,
    metrics::Metrics,
    scheduler::{Action, Input, Nomination},
    server::{Config, Heard},
};

/// Bindings and reports that may be under way.
const CONCURRENT_WRITES: usize = 128;

/// Does what the scheduler decided.
#[derive(Clone)]
pub(super) struct Writer {
    client: Client,
    clock: Clock,
    recorder: EventRecorder,
    scheduler_name: String,
    permits: Arc<Semaphore>,
    shutdown: Shutdown,
    metrics: Metrics,
    sender: mpsc::Sender<Heard>,
}

impl Writer {
    pub(super) fn new(config: &Config, shutdown: &Shutdown, sender: mpsc::Sender<Heard>) -> Self {
        let Config { client, clock, scheduler_name, metrics, .. } = config.clone();
        Self {
            recorder: EventRecorder::start(&client, &clock, &scheduler_name, None, shutdown),
            permits: Arc::new(Semaphore::new(CONCURRENT_WRITES)),
            shutdown: shutdown.clone(),
            client,
            clock,
            scheduler_name,
            metrics,
            sender,
        }
    }

    /// Starts the write, as soon as there is a place for it.
    pub(super) async fn start(&self, action: Action) {
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
            Action::Report { pod, reason, message, nomination } => {
                self.report(&pod, reason, &message, nomination).await;
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
                let _ = self.sender.send(Heard::Change(failed)).await;
            }
        }
    }

    async fn report(&self, pod: &PodInfo, reason: &str, message: &str, nomination: Nomination) {
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
        match &nomination {
            Nomination::Preempt(preemption, _) => {
                status["nominatedNodeName"] = preemption.node.clone().into();
            }
            Nomination::Clear if pod.nominated_node().is_some() => {
                status["nominatedNodeName"] = serde_json::Value::Null;
            }
            Nomination::Clear | Nomination::Keep => {}
        }
        if let Err(status) = self.patch_status(pod, status).await {
            tracing::debug!(pod = %pod.key, %status, "cannot tell why the pod waits");
        }
        let Nomination::Preempt(preemption, displaced) = nomination else { return };
        for victim in &preemption.victims {
            self.evict(pod, victim, &preemption.node).await;
        }
        for other in &displaced {
            self.clear_nomination(other).await;
        }
    }

    /// The room that a pod was nominated for goes to a more important one.
    async fn clear_nomination(&self, pod: &PodInfo) {
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"nominatedNodeName": null}});
        let patch = Patch::Strategic(patch);
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        if let Err(status) = self.client.patch::<Pod>(namespace, name, &patch, "status").await {
            tracing::debug!(pod = %pod.key, %status, "cannot take a nomination back");
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

    async fn evict(&self, preemptor: &PodInfo, victim: &PodInfo, node: &str) {
        if victim.terminating() {
            return;
        }
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
