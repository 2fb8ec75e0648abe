//! The metrics of one component, in a registry that is passed in, never global.
//!
//! Names are Kubernetes' where it has the metric. The exposition format appends `_total` to counters: register
//! `apiserver_request`, read `apiserver_request_total`.

use std::{fmt, sync::Arc};

use parking_lot::RwLock;
pub use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

/// The media type of [`Registry::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The default buckets of Prometheus' client libraries, in seconds.
pub const DEFAULT_BUCKETS: [f64; 11] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of one component; cheap to clone.
#[derive(Clone, Default)]
pub struct Registry {
    inner: Arc<RwLock<prometheus_client::registry::Registry>>,
}

impl Registry {
    /// Makes an empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `metric` under `name` and returns it: metrics are handles, their clones count together.
    pub fn register<M>(&self, name: &str, help: &str, metric: M) -> M
    where
        M: prometheus_client::registry::Metric + Clone,
    {
        self.inner.write().register(name, help, metric.clone());
        metric
    }

    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.inner.read())
            .expect("writing to a String does not fail");
        text
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, Gauge, Registry};

    #[test]
    fn handles_count_together() {
        let registry = Registry::new();
        let requests: Counter =
            registry.register("apiserver_request", "Requests.", Counter::default());
        let depth: Gauge = registry.register("workqueue_depth", "Depth.", Gauge::default());
        requests.inc();
        requests.clone().inc();
        depth.set(3);
        let text = registry.encode();
        for line in
            ["apiserver_request_total 2", "workqueue_depth 3", "# HELP workqueue_depth Depth."]
        {
            assert!(text.lines().any(|found| found.starts_with(line)), "{line} in\n{text}");
        }
    }
}
