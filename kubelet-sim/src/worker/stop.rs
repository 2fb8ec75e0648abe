//! The end of containers and of the pod.
//!
//! A pod that is deleted ends in this order: main containers together (preStop hook, then SIGTERM, then SIGKILL when
//! the grace period is over), then its sidecars one by one, the last started first, in what is left of the grace
//! period; their preStop hooks begin with those of the others. Meanwhile the worker goes on listening: containers are
//! told as they end, readiness is told as it changes, and a second deletion may shorten the grace period. Then the
//! final status is told, the object removed from the API server, and the pod's network and files released.

use client::events::EventType;
use std::{future::Future, net::IpAddr, sync::Arc, time::Duration};

use apimachinery::api::core::{Container as ContainerSpec, LifecycleHandler, Pod};
use container_runtime::Container;
use futures::{FutureExt, StreamExt, future::join_all};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Outcome, PodWorker, events::Event, probing, runs::is_running};
use crate::{
    lifecycle::{Record, is_sidecar, restart_policy},
    node::NodeContext,
};

/// Containers that find no grace left get this much: `minimumGracePeriodInSeconds`.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// The end of one running container.
struct Stop {
    node: Arc<NodeContext>,
    pod: Arc<Pod>,
    spec: ContainerSpec,
    container: Container,
    pod_ip: Option<IpAddr>,
    hook: Option<LifecycleHandler>,
    /// The pod as messages name it.
    key: String,
    /// The container as events name it.
    field: String,
}

impl Stop {
    /// Runs the preStop hook, for at most `grace`; not at all where there is none.
    async fn pre_stop(&self, grace: Duration) {
        let Some(hook) = self.hook.as_ref().filter(|_| !grace.is_zero()) else { return };
        let Self { node, spec, .. } = self;
        let running = crate::hooks::run(node, &self.key, spec, &self.container, self.pod_ip, hook);
        match node.clock.timeout(grace, running).await {
            Ok(Ok(())) => {}
            // What went wrong may tell a secret: it goes into the log only.
            Ok(Err(message)) => {
                tracing::info!(container = %spec.name, message, "a preStop hook failed");
                let (kind, reason) = (EventType::Warning, "FailedPreStopHook");
                node.container_event(&self.pod, &self.field, kind, reason, "PreStopHook failed");
            }
            Err(_) => {
                tracing::debug!(container = %spec.name, "the preStop hook took all of the grace period");
            }
        }
    }

    /// Hook, SIGTERM, SIGKILL. SIGTERM always comes before SIGKILL, though the hook may have used up the time.
    async fn run(self, grace: Duration) {
        let end = self.node.clock.monotonic() + grace;
        self.pre_stop(grace).await;
        self.terminate(end).await;
    }

    async fn terminate(&self, end: Duration) {
        let left = end.saturating_sub(self.node.clock.monotonic());
        let signal = self.spec.lifecycle.as_ref().and_then(|l| l.stop_signal.as_deref());
        if signal == Some("SIGKILL") {
            self.container.kill();
            self.container.wait().await;
            return;
        }
        self.container.stop(left.max(LAST_GRACE)).await;
    }
}

impl PodWorker {
    /// Ends the pod and removes it from the API server.
    pub(super) async fn terminate(
        &mut self,
        updates: &mut watch::Receiver<Arc<Pod>>,
        stop: &CancellationToken,
    ) -> Outcome {
        let mut grace = self.grace();
        let mut ending = self.stop_all(grace).boxed();
        let mut followed = true;
        loop {
            self.publish();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Outcome::NodeStopped,
                changed = updates.changed(), if followed => {
                    followed = changed.is_ok();
                    if followed {
                        self.pod = updates.borrow_and_update().clone();
                    }
                    // A second deletion may shorten the grace period, never prolong it.
                    let wanted = self.grace();
                    if followed && wanted < grace {
                        grace = wanted;
                        ending = self.stop_all(grace).boxed();
                    }
                }
                Some(event) = self.events.next(), if !self.events.is_empty() => self.on_event(event),
                report = probing::next(&mut self.reports) => self.on_report(report),
                () = &mut ending => break,
            }
        }
        self.kill_rest().await;
        self.collect_exits().await;
        if stop.is_cancelled() {
            return Outcome::NodeStopped;
        }
        self.finished = true;
        self.publish();
        tokio::select! {
            biased;
            () = stop.cancelled() => return Outcome::NodeStopped,
            () = self.node.statuses.flush(&self.uid) => {}
        }
        self.remove(stop).await
    }

    /// Removes the object there, then everything that the pod had here.
    async fn remove(&mut self, stop: &CancellationToken) -> Outcome {
        let deleted = tokio::select! {
            biased;
            () = stop.cancelled() => return Outcome::NodeStopped,
            deleted = self.node.statuses.delete(&self.pod, &self.node.clock) => deleted,
        };
        if !deleted {
            tracing::debug!(pod = %self.uid, "was gone from the API server already");
        }
        self.release_network();
        self.shared.write().containers.clear();
        self.node.checkpoints.remove(&self.uid);
        let logs = container_runtime::logs::pod_directory(
            &self.node.log_root(),
            self.pod.metadata.namespace.as_deref().unwrap_or_default(),
            self.pod.metadata.name.as_deref().unwrap_or_default(),
            &self.uid,
        );
        for dir in [self.dir.clone(), logs] {
            if let Err(e) = container_runtime::volumes::remove(&dir) {
                tracing::error!(pod = %self.uid, error = %e, "cannot remove a pod's folder");
            }
        }
        Outcome::Gone
    }

    /// Ends all containers in their order.
    pub(super) fn stop_all(
        &mut self,
        grace: Duration,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        for tasks in self.probe_tasks.values() {
            tasks.spare();
        }
        let end = self.node.clock.monotonic() + grace;
        let spec = &self.pod.spec;
        let sidecar = |c: &&ContainerSpec| is_sidecar(c);
        let name = |c: &ContainerSpec| c.name.clone();
        let sidecars: Vec<String> =
            spec.init_containers.iter().rev().filter(sidecar).map(name).collect();
        let init = spec.init_containers.iter().filter(|c| !is_sidecar(c));
        let ephemeral = spec.ephemeral_containers.iter().map(|c| c.name.clone());
        let others: Vec<String> =
            spec.containers.iter().chain(init).map(name).chain(ephemeral).collect();
        let others: Vec<Stop> = others.iter().filter_map(|n| self.announced_stop(n)).collect();
        let sidecars: Vec<Stop> = sidecars.iter().filter_map(|n| self.announced_stop(n)).collect();
        async move {
            let hooks = join_all(sidecars.iter().map(|s| s.pre_stop(grace)));
            futures::join!(join_all(others.into_iter().map(|s| s.run(grace))), hooks);
            for sidecar in sidecars {
                sidecar.terminate(end).await;
            }
        }
    }

    /// Kills all containers, without their hooks: they are to start afresh.
    pub(super) fn kill_all(&mut self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let names: Vec<String> = self.records.keys().cloned().collect();
        let stops: Vec<Stop> = names.iter().filter_map(|n| self.announced_stop(n)).collect();
        join_all(stops.into_iter().map(|stop| stop.run(Duration::ZERO))).map(drop)
    }

    /// Ends a container beside the worker, because it `failed liveness probe` or the like. Where it is started again
    /// by its policy, or because it is another one by now, that does not depend on its exit code.
    pub(super) fn stop_for(&mut self, name: &str, grace: Duration, what: &str) {
        let Some(spec) = self.spec(name) else { return };
        let sidecar = is_sidecar(&spec);
        let again = what == "definition changed" || restart_policy(&self.pod, &spec) != "Never";
        let text = match (sidecar, again) {
            (true, _) => format!("Init container {name} {what}"),
            (false, true) => format!("Container {name} {what}, will be restarted"),
            (false, false) => format!("Container {name} {what}"),
        };
        self.container_event(name, EventType::Normal, "Killing", &text);
        if let Some(record) = self.records.get_mut(name) {
            record.must_restart = again;
        }
        self.stop_beside(name, grace);
    }

    /// Ends a container beside the worker.
    pub(super) fn stop_beside(&mut self, name: &str, grace: Duration) {
        if let Some(stop) = self.stop(name) {
            self.events.push(stop.run(grace).map(|()| Event::Stopped).boxed());
        }
    }

    fn announced_stop(&mut self, name: &str) -> Option<Stop> {
        let stop = self.stop(name)?;
        let text = format!("Stopping container {name}");
        self.container_event(name, EventType::Normal, "Killing", &text);
        Some(stop)
    }

    fn mark_stopping(&mut self, name: &str) {
        if let Some(record) = self.records.get_mut(name) {
            record.stopping = true;
        }
    }

    /// The end of one running container, which counts as stopping from now on. The hook of one that is being stopped
    /// already is not run a second time.
    fn stop(&mut self, name: &str) -> Option<Stop> {
        let container =
            self.shared.read().containers.get(name).filter(|c| is_running(c)).cloned()?;
        let spec = self.spec(name)?;
        let stopping = self.records.get(name).is_some_and(|r| r.stopping);
        let hook = spec.lifecycle.as_ref().and_then(|l| l.pre_stop.clone());
        self.mark_stopping(name);
        Some(Stop {
            node: self.node.clone(),
            pod: self.pod.clone(),
            spec,
            container,
            pod_ip: self.sandbox.as_ref().map(cni::network::Sandbox::ip),
            hook: hook.filter(|_| !stopping),
            key: self.key(),
            field: self.field(name),
        })
    }

    async fn kill_rest(&mut self) {
        let all: Vec<Container> = self.shared.read().containers.values().cloned().collect();
        for container in all.into_iter().filter(is_running) {
            container.kill();
            container.wait().await;
        }
    }

    /// Takes in the ends of runs that have ended already.
    async fn collect_exits(&mut self) {
        let still = |worker: &Self| {
            worker.shared.read().containers.iter().any(|(name, c)| {
                !is_running(c) && worker.records.get(name).is_some_and(Record::running)
            })
        };
        while still(self) {
            match self.events.next().await {
                // Nobody waits for its hook any more.
                Some(Event::PostStart { .. }) => {}
                Some(event) => self.on_event(event),
                None => return,
            }
        }
    }
}
