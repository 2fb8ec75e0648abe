//! What the API server counts, under Kubernetes' names.

use std::time::Duration;

use component_base::metrics::{
    Counter, DEFAULT_BUCKETS, EncodeLabelSet, Family, Gauge, Histogram, Registry,
};

use crate::request::RequestContext;

/// Which requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    code: u16,
}

/// Which requests, whatever became of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InFlightLabels {
    request_kind: &'static str,
}

/// The metrics of the handler chain.
#[derive(Clone)]
pub(crate) struct RequestMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<DurationLabels, Histogram>,
    in_flight: Family<InFlightLabels, Gauge>,
    watches: Gauge,
}

impl RequestMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let durations = Family::new_with_constructor(new_histogram as fn() -> Histogram);
        Self {
            requests: registry.register(
                "apiserver_request",
                "Requests by verb, resource and HTTP response code.",
                Family::default(),
            ),
            durations: registry.register(
                "apiserver_request_duration_seconds",
                "Response latency in seconds; watches are not in it.",
                durations,
            ),
            in_flight: registry.register(
                "apiserver_current_inflight_requests",
                "Requests being served now.",
                Family::default(),
            ),
            watches: registry.register(
                "apiserver_longrunning_requests",
                "Watches and streams being served now.",
                Gauge::default(),
            ),
        }
    }

    pub(crate) fn finished(&self, context: &RequestContext, code: u16, took: Duration) {
        let info = context.resource;
        let verb = context.verb.as_str();
        // Only names of the table become labels: a caller's text must not grow the metrics.
        let subresource = info.subresource(&context.subresource).map_or("", |sub| sub.name);
        self.requests
            .get_or_create(&RequestLabels {
                verb,
                group: info.group,
                version: info.version,
                resource: info.resource,
                subresource,
                code,
            })
            .inc();
        let labels =
            DurationLabels { verb, group: info.group, resource: info.resource, subresource };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts a request for as long as the guard lives.
    pub(crate) fn enter(&self, request_kind: &'static str) -> InFlight {
        let gauge = self.in_flight.get_or_create(&InFlightLabels { request_kind }).clone();
        gauge.inc();
        InFlight(gauge)
    }

    /// Counts a watch or stream for as long as the guard lives.
    pub(crate) fn enter_long_running(&self) -> InFlight {
        self.watches.inc();
        InFlight(self.watches.clone())
    }
}

fn new_histogram() -> Histogram {
    Histogram::new(DEFAULT_BUCKETS)
}

/// One request being served.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
