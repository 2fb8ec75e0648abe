//! The end of containers and of the pod.
//!
//! A pod that is deleted ends in this order: main containers together (preStop hook, then SIGTERM, then SIGKILL when
//! the grace period is over), then its sidecars one by one, the last started first, in what is left of the grace
//! period. Then its final status is told, its network released, and the object removed from the API server.

use client::events::EventType;
use std::{future::Future, sync::Arc, time::Duration};

use apimachinery::api::core::Pod;
use container_runtime::Container;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Event, Outcome, PodWorker, is_running, record_stopping};
use crate::lifecycle::is_sidecar;

/// Sidecars that find no grace left get this much.
const LAST_GRACE: Duration = Duration::from_secs(2);

impl PodWorker {
    /// Ends the pod and removes it from the API server.
    pub(super) async fn terminate(
        &mut self,
        updates: &mut watch::Receiver<Arc<Pod>>,
        stop: &CancellationToken,
    ) -> Outcome {
        let grace = self.grace();
        self.publish();
        {
            let ending = self.stop_all(grace);
            tokio::pin!(ending);
            loop {
                tokio::select! {
                    () = &mut ending => break,
                    () = stop.cancelled() => return Outcome::NodeStopped,
                    // A second deletion may shorten the grace period.
                    changed = updates.changed() => {
                        let shorter = changed.is_ok()
                            && updates
                                .borrow_and_update()
                                .metadata
                                .deletion_grace_period_seconds
                                .is_some_and(|s| Duration::from_secs(u64::try_from(s).unwrap_or(0)) < grace);
                        if shorter || changed.is_err() {
                            break;
                        }
                    }
                }
            }
        }
        self.kill_rest().await;
        self.collect_exits().await;
        self.finished = true;
        self.publish();
        tokio::select! {
            () = self.node.statuses.flush(&self.uid) => {}
            () = stop.cancelled() => return Outcome::NodeStopped,
        }
        self.remove(stop).await;
        Outcome::Gone
    }

    /// Releases everything that the pod had here, then the object there.
    async fn remove(&mut self, stop: &CancellationToken) {
        let deleted = tokio::select! {
            deleted = self.node.statuses.delete(&self.pod, &self.node.clock) => deleted,
            () = stop.cancelled() => return,
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
    }

    /// Ends all containers in their order.
    pub(super) async fn stop_all(&mut self, grace: Duration) {
        let clock = self.node.clock.clone();
        let end = clock.monotonic() + grace;
        let spec = &self.pod.spec;
        let sidecars: Vec<String> = spec
            .init_containers
            .iter()
            .rev()
            .filter(|c| is_sidecar(c))
            .map(|c| c.name.clone())
            .collect();
        let others: Vec<String> = spec
            .containers
            .iter()
            .chain(&spec.init_containers)
            .map(|c| c.name.clone())
            .filter(|name| !sidecars.contains(name))
            .collect();
        for token in self.probe_tasks.values() {
            token.cancel();
        }
        let stops: Vec<_> = others
            .iter()
            .filter_map(|name| {
                let future = self.announced_stop(name, grace)?;
                Some(future)
            })
            .collect();
        futures::future::join_all(stops).await;
        for name in sidecars {
            let left = end.saturating_sub(clock.monotonic()).max(LAST_GRACE.min(grace));
            if let Some(stop) = self.announced_stop(&name, left) {
                stop.await;
            }
        }
        self.collect_exits().await;
    }

    /// Ends one container.
    pub(super) async fn stop_one(&mut self, name: &str, grace: Duration) {
        if let Some(stop) = self.announced_stop(name, grace) {
            stop.await;
        }
        self.collect_exits().await;
    }

    fn announced_stop(
        &mut self,
        name: &str,
        grace: Duration,
    ) -> Option<impl Future<Output = ()> + Send + 'static + use<>> {
        let stop = self.stop_future(name, grace)?;
        self.killing(name, "");
        record_stopping(&mut self.records, name);
        Some(stop)
    }

    pub(super) fn killing(&self, name: &str, why: &str) {
        let text = if why.is_empty() {
            format!("Stopping container {name}")
        } else {
            format!("Stopping container {name}, {why}")
        };
        self.container_event(name, EventType::Normal, "Killing", &text);
    }

    /// The end of one running container: preStop hook, SIGTERM, SIGKILL, all within `grace`.
    pub(super) fn stop_future(
        &self,
        name: &str,
        grace: Duration,
    ) -> Option<impl Future<Output = ()> + Send + 'static + use<>> {
        let container =
            self.shared.read().containers.get(name).filter(|c| is_running(c)).cloned()?;
        let spec = self.spec(name).cloned()?;
        let hook = spec.lifecycle.as_ref().and_then(|l| l.pre_stop.clone());
        let node = self.node.clone();
        let pod = self.pod.clone();
        let pod_ip = self.sandbox.as_ref().map(cni::network::Sandbox::ip);
        Some(async move {
            let clock = node.clock.clone();
            let end = clock.monotonic() + grace;
            if let Some(hook) = hook
                && !grace.is_zero()
            {
                let running = crate::hooks::run(&node, &spec, &container, pod_ip, &hook);
                match clock.timeout(grace, running).await {
                    Ok(Ok(())) => {}
                    Ok(Err(message)) => {
                        let text = format!("PreStopHook failed: {message}");
                        node.container_event(
                            &pod,
                            &format!("spec.containers{{{}}}", spec.name),
                            EventType::Warning,
                            "FailedPreStopHook",
                            &text,
                        );
                    }
                    Err(_) => {
                        tracing::debug!(container = %spec.name, "the preStop hook took all of the grace period")
                    }
                }
            }
            // SIGTERM always comes before SIGKILL, though a hook may have used up the time.
            let left = end.saturating_sub(clock.monotonic());
            let left = if grace.is_zero() { grace } else { left.max(LAST_GRACE.min(grace)) };
            container.stop(left).await;
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
        use futures::StreamExt;
        let still = |worker: &Self| {
            worker.shared.read().containers.iter().any(|(name, c)| {
                !is_running(c) && worker.records.get(name).is_some_and(|r| r.running())
            })
        };
        while still(self) {
            match self.events.next().await {
                Some(event @ (Event::Exited(..) | Event::Stopped)) => self.on_event(event),
                Some(Event::HookFailed { .. }) => {}
                None => return,
            }
        }
    }
}
