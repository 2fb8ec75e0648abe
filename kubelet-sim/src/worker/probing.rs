//! What probes report, and what follows from it.

use std::time::Duration;

use apimachinery::api::core::{Container, Probe};
use client::events::EventType;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::PodWorker;
use crate::{
    lifecycle::State,
    probes::{self, Finding, Kind, Report},
};

/// Reports that may wait for the worker.
const REPORTS: usize = 16;

/// The probes of one run of a container; they end when this is dropped.
pub(super) struct ProbeTasks {
    all: CancellationToken,
    /// Startup and liveness: no more once the pod is on its way out.
    vital: CancellationToken,
}

impl ProbeTasks {
    /// Ends the probes that could have the container killed.
    pub(super) fn spare(&self) {
        self.vital.cancel();
    }
}

impl Default for ProbeTasks {
    fn default() -> Self {
        let all = CancellationToken::new();
        Self { vital: all.child_token(), all }
    }
}

impl Drop for ProbeTasks {
    fn drop(&mut self) {
        self.all.cancel();
    }
}

/// The next report; never, while there are no probes.
pub(super) async fn next(
    reports: &mut Option<(mpsc::Sender<Report>, mpsc::Receiver<Report>)>,
) -> Report {
    match reports {
        Some((_, receiver)) => match receiver.recv().await {
            Some(report) => report,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

fn probe(spec: &Container, kind: Kind) -> Option<&Probe> {
    match kind {
        Kind::Startup => spec.startup_probe.as_deref(),
        Kind::Readiness => spec.readiness_probe.as_deref(),
        Kind::Liveness => spec.liveness_probe.as_deref(),
    }
}

impl PodWorker {
    pub(super) fn on_report(&mut self, report: Report) {
        let Some(record) = self.records.get_mut(&report.container) else { return };
        if !matches!(&record.state, State::Running { id, .. } if *id == report.run)
            // One that is being stopped still tells whether it serves.
            || (record.stopping && report.kind != Kind::Readiness)
        {
            return;
        }
        let name = report.container.clone();
        match (report.kind, report.finding) {
            (_, Finding::Unhealthy(text)) => {
                self.container_event(&name, EventType::Warning, "Unhealthy", &text);
            }
            (_, Finding::Warning(text)) => {
                self.container_event(&name, EventType::Warning, "ProbeWarning", &text);
            }
            (Kind::Startup, Finding::Success) => {
                record.started = true;
                let has_readiness = self.spec(&name).is_some_and(|c| c.readiness_probe.is_some());
                self.set_passes(&name, !has_readiness);
                self.start_probes(&name, &[Kind::Readiness, Kind::Liveness]);
            }
            (Kind::Readiness, Finding::Success) => self.set_passes(&name, true),
            (Kind::Readiness, Finding::Failure) => self.set_passes(&name, false),
            (Kind::Liveness, Finding::Success) => {}
            (kind @ (Kind::Liveness | Kind::Startup), Finding::Failure) => {
                let grace = self.probe_grace(&name, kind);
                let what = format!("failed {} probe", kind.name().to_lowercase());
                self.stop_for(&name, grace, &what);
            }
        }
    }

    /// The readiness probe passes, or does not; a simulated delay may hold readiness up.
    pub(super) fn set_passes(&mut self, name: &str, passes: bool) {
        let now = self.node.clock.monotonic();
        let Some(record) = self.records.get_mut(name) else { return };
        record.passes = passes;
        record.ready = record.is_ready(now);
    }

    fn probe_grace(&self, name: &str, kind: Kind) -> Duration {
        let own = self.spec(name).and_then(|c| match kind {
            Kind::Liveness => c.liveness_probe,
            Kind::Startup => c.startup_probe,
            Kind::Readiness => None,
        });
        let seconds = own
            .and_then(|p| p.termination_grace_period_seconds)
            .and_then(|s| u64::try_from(s).ok());
        seconds.map_or_else(|| self.container_grace(), Duration::from_secs)
    }

    pub(super) fn start_probes(&mut self, name: &str, kinds: &[Kind]) {
        let Some(spec) = self.spec(name) else { return };
        if !kinds.iter().any(|kind| probe(&spec, *kind).is_some()) {
            return;
        }
        let running = self.shared.read().containers.get(name).cloned();
        let (Some(running), Some(sandbox)) = (running, &self.sandbox) else { return };
        let target = probes::Target {
            node: self.node.own_sandbox(),
            pod_ip: sandbox.ip(),
            spec: spec.clone(),
            running,
            clock: self.node.clock.clone(),
        };
        let reports = self.reports.get_or_insert_with(|| mpsc::channel(REPORTS)).0.clone();
        let tasks = self.probe_tasks.entry(name.to_owned()).or_default();
        for kind in kinds {
            let Some(probe) = probe(&spec, *kind).cloned() else { continue };
            let token = match kind {
                Kind::Startup | Kind::Liveness => &tasks.vital,
                Kind::Readiness => &tasks.all,
            };
            let task = probes::run(target.clone(), *kind, probe, reports.clone());
            let token = token.clone();
            self.tasks.spawn(async move {
                token.run_until_cancelled(task).await;
            });
        }
    }
}
