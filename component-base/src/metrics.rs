//! The metrics of one component, in a registry that is passed in, never global.
//!
//! Names are Kubernetes' where it has the metric. The exposition format appends `_total` to counters: register
//! `apiserver_request`, read `apiserver_request_total`.

use std::{fmt, sync::Arc};

use parking_lot::RwLock;
pub use prometheus_client::{
    collector::Collector,
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

/// The media type of [`Registry::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The media type of [`Registry::encode_plain`].
pub const PLAIN_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

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
        // The encoder ends the text with a full stop of its own.
        self.inner.write().register(name, help.trim_end_matches('.'), metric.clone());
        metric
    }

    /// Adds what is counted when it is asked for.
    pub fn register_collector(&self, collector: impl Collector) {
        self.inner.write().register_collector(Box::new(collector));
    }

    /// All metrics in Prometheus' older text format, in which `# TYPE` names counters in full.
    #[must_use]
    pub fn encode_plain(&self) -> String {
        plain(&self.encode())
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

/// OpenMetrics in the words of Prometheus' text format 0.0.4.
fn plain(text: &str) -> String {
    let mut counters = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|l| l.strip_suffix(" counter")) {
            counters.push(name);
        }
    }
    let mut out = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(&name) => {
                out.push_str(&format!("# {what} {name}_total {rest}\n"));
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
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
        assert_eq!(
            registry.encode_plain(),
            "# HELP apiserver_request_total Requests.\n# TYPE apiserver_request_total counter\napiserver_request_total 2\n# HELP workqueue_depth Depth.\n# TYPE workqueue_depth gauge\nworkqueue_depth 3\n"
        );
    }
}
