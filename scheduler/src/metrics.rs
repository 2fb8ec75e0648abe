//! The scheduler's metrics, under Kubernetes' names.

use std::time::Duration;

use component_base::metrics::Registry;
use prometheus_client::metrics::{
    counter::Counter,
    family::Family,
    gauge::Gauge,
    histogram::{Histogram, exponential_buckets},
};

use crate::scheduler::Action;

type Labels = [(&'static str, &'static str); 1];

/// The metrics; clones count together.
#[derive(Clone)]
pub struct Metrics {
    attempts: Family<Labels, Counter>,
    algorithm: Histogram,
    pod: Histogram,
    pending: Family<Labels, Gauge>,
}

impl Metrics {
    /// Registers the metrics.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let buckets = || exponential_buckets(0.0001, 2.0, 18);
        Self {
            attempts: registry.register(
                "scheduler_schedule_attempts",
                "Number of attempts to schedule pods, by the result",
                Family::default(),
            ),
            algorithm: registry.register(
                "scheduler_scheduling_algorithm_duration_seconds",
                "Scheduling algorithm latency in seconds",
                Histogram::new(buckets()),
            ),
            pod: registry.register(
                "scheduler_pod_scheduling_sli_duration_seconds",
                "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue",
                Histogram::new(buckets()),
            ),
            pending: registry.register(
                "scheduler_pending_pods",
                "Number of pending pods, by the queue type",
                Family::default(),
            ),
        }
    }

    pub(crate) fn attempt(&self, action: &Action, took: Duration) {
        let result = match action {
            Action::Bind { .. } => "scheduled",
            Action::Report { reason: "Unschedulable", .. } => "unschedulable",
            Action::Report { .. } => return,
        };
        self.attempts.get_or_create(&[("result", result)]).inc();
        self.algorithm.observe(took.as_secs_f64());
    }

    pub(crate) fn scheduled(&self, _attempts: u32, waited: Duration) {
        self.pod.observe(waited.as_secs_f64());
    }

    pub(crate) fn pending(&self, lengths: [usize; 4]) {
        for (queue, length) in
            ["active", "backoff", "unschedulable", "gated"].into_iter().zip(lengths)
        {
            let length = i64::try_from(length).unwrap_or(i64::MAX);
            self.pending.get_or_create(&[("queue", queue)]).set(length);
        }
    }
}
