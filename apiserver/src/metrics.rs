//! What the API server counts, under Kubernetes' names.

use std::{fmt, time::Duration};

use apimachinery::resource;
use component_base::metrics::{
    Collector, Counter, EncodeLabelSet, Family, Gauge, Histogram, Registry,
};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use crate::{
    faces::rest::discovery::GIT_VERSION,
    request::{RequestContext, Verb},
};

/// Which requests, as Kubernetes labels them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    code: u16,
    component: &'static str,
    dry_run: &'static str,
    group: &'static str,
    resource: &'static str,
    scope: &'static str,
    subresource: &'static str,
    verb: &'static str,
    version: &'static str,
}

/// Which requests, whatever became of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    component: &'static str,
    dry_run: &'static str,
    group: &'static str,
    resource: &'static str,
    scope: &'static str,
    subresource: &'static str,
    verb: &'static str,
    version: &'static str,
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
    terminations: Family<TerminationLabels, Counter>,
}

/// Which requests were ended before they were served.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TerminationLabels {
    code: u16,
    component: &'static str,
    group: &'static str,
    resource: &'static str,
    scope: &'static str,
    subresource: &'static str,
    verb: &'static str,
    version: &'static str,
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
            terminations: registry.register(
                "apiserver_request_terminations",
                "Requests that were ended in self-defence: too many, or too slow.",
                Family::default(),
            ),
        }
    }

    pub(crate) fn finished(&self, context: &RequestContext, code: u16, took: Duration) {
        let info = context.resource;
        let verb = verb(context);
        // Only names of the table become labels: a caller's text must not grow the metrics.
        let subresource = info.subresource(&context.subresource).map_or("", |sub| sub.name);
        let dry_run = if context.dry_run { "All" } else { "" };
        let (group, resource, version) = (info.group, info.resource, info.version);
        let (component, scope) = (COMPONENT, scope(context));
        self.requests
            .get_or_create(&RequestLabels {
                code,
                component,
                dry_run,
                group,
                resource,
                scope,
                subresource,
                verb,
                version,
            })
            .inc();
        if context.verb == Verb::Watch {
            return;
        }
        let labels = DurationLabels {
            component,
            dry_run,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts a request that we ended in self-defence.
    pub(crate) fn terminated(&self, context: &RequestContext, code: u16) {
        let info = context.resource;
        let labels = TerminationLabels {
            code,
            component: COMPONENT,
            group: info.group,
            resource: info.resource,
            scope: scope(context),
            subresource: info.subresource(&context.subresource).map_or("", |sub| sub.name),
            verb: verb(context),
            version: info.version,
        };
        self.terminations.get_or_create(&labels).inc();
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

/// What the label `component` says of this server.
const COMPONENT: &str = "apiserver";

/// Kubernetes' buckets of request durations, in seconds.
const BUCKETS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

fn new_histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// The label `verb`: the HTTP method, or what a GET is about.
fn verb(context: &RequestContext) -> &'static str {
    match context.verb {
        Verb::Get => "GET",
        Verb::List => "LIST",
        Verb::Watch => "WATCH",
        Verb::Create => "POST",
        Verb::Update => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
        Verb::DeleteCollection => "DELETECOLLECTION",
    }
}

/// The label `scope`: how much a request is about.
fn scope(context: &RequestContext) -> &'static str {
    if !context.name.is_empty() || context.verb == Verb::Create {
        "resource"
    } else if context.namespace.is_empty() {
        "cluster"
    } else {
        "namespace"
    }
}

/// What is counted when it is asked for: stored objects, and the build.
pub(crate) struct OnDemand {
    count: Box<dyn Fn(&str) -> usize + Send + Sync>,
}

impl OnDemand {
    /// Asks `count` how many keys a prefix has.
    pub(crate) fn new(count: impl Fn(&str) -> usize + Send + Sync + 'static) -> Self {
        Self { count: Box::new(count) }
    }
}

impl fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand").finish_non_exhaustive()
    }
}

impl Collector for OnDemand {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut objects = encoder.encode_descriptor(
            "apiserver_storage_objects",
            "Number of stored objects at the time of last check split by kind",
            None,
            MetricType::Gauge,
        )?;
        for info in resource::served().filter(|info| info.has_verb("list")) {
            let count = (self.count)(&format!("/registry/{}/", info.storage_prefix));
            let labels = [("resource", info.group_resource())];
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(objects.encode_family(&labels)?)?;
        }
        let version = GIT_VERSION.trim_start_matches('v');
        let mut parts = version.split('.');
        let labels = [
            ("git_version", GIT_VERSION),
            ("major", parts.next().unwrap_or("")),
            ("minor", parts.next().unwrap_or("")),
        ];
        let mut build = encoder.encode_descriptor(
            "kubernetes_build_info",
            "A metric with a constant '1' value labeled by version",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(1i64).encode(build.encode_family(&labels)?)
    }
}

/// One request being served.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
