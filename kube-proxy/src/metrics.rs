//! kube-proxy's metrics, under Kubernetes' names.

use component_base::metrics::{Counter, EncodeLabelSet, Family, Gauge, Histogram, Registry};

/// A traffic policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Policy {
    pub(crate) traffic_policy: &'static str,
}

/// Handles of the metrics; clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) service_changes: Counter,
    pub(crate) service_changes_pending: Gauge,
    pub(crate) endpoint_changes: Counter,
    pub(crate) endpoint_changes_pending: Gauge,
    pub(crate) programming_seconds: Histogram,
    pub(crate) last_queued: Gauge,
    without_local_endpoints: Family<Policy, Gauge>,
    pub(crate) sync_seconds: Histogram,
    pub(crate) full_sync_seconds: Histogram,
    pub(crate) partial_sync_seconds: Histogram,
    pub(crate) last_sync: Gauge,
    pub(crate) failures: Counter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        // Kubernetes' buckets: 1 ms doubled 15 times.
        let seconds = || Histogram::new((0..15_u32).map(|n| 0.001 * f64::from(1 << n)));
        Self {
            service_changes_pending: registry.register(
                "kubeproxy_sync_proxy_rules_service_changes_pending",
                "Pending proxy rules Service changes",
                Gauge::default(),
            ),
            endpoint_changes_pending: registry.register(
                "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
                "Pending proxy rules Endpoint changes",
                Gauge::default(),
            ),
            programming_seconds: registry.register(
                "kubeproxy_network_programming_duration_seconds",
                "In Cluster Network Programming Latency in seconds",
                Histogram::new(programming_buckets()),
            ),
            last_queued: registry.register(
                "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                "The last time a sync of proxy rules was queued",
                Gauge::default(),
            ),
            without_local_endpoints: registry.register(
                "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                "Number of services with a Local traffic policy and no endpoints",
                Family::default(),
            ),
            service_changes: registry.register(
                "kubeproxy_sync_proxy_rules_service_changes",
                "Cumulative proxy rules Service changes",
                Counter::default(),
            ),
            endpoint_changes: registry.register(
                "kubeproxy_sync_proxy_rules_endpoint_changes",
                "Cumulative proxy rules Endpoint changes",
                Counter::default(),
            ),
            sync_seconds: registry.register(
                "kubeproxy_sync_proxy_rules_duration_seconds",
                "SyncProxyRules latency in seconds",
                seconds(),
            ),
            full_sync_seconds: registry.register(
                "kubeproxy_sync_full_proxy_rules_duration_seconds",
                "SyncProxyRules latency in seconds for full resyncs",
                seconds(),
            ),
            partial_sync_seconds: registry.register(
                "kubeproxy_sync_partial_proxy_rules_duration_seconds",
                "SyncProxyRules latency in seconds for partial resyncs",
                seconds(),
            ),
            last_sync: registry.register(
                "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                "The last time proxy rules were successfully synced",
                Gauge::default(),
            ),
            failures: registry.register(
                "kubeproxy_sync_proxy_rules_failures",
                "Cumulative proxy rules sync failures",
                Counter::default(),
            ),
        }
    }

    /// Takes in how many Service ports find no local endpoint, by policy.
    pub(crate) fn without_local_endpoints(&self, [internal, external]: [usize; 2]) {
        for (traffic_policy, count) in [("internal", internal), ("external", external)] {
            let gauge = self.without_local_endpoints.get_or_create(&Policy { traffic_policy });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// Kubernetes' buckets: 0.25 s and 0.5 s, each second of a minute, every 5 s of the next, every 30 s up to five.
fn programming_buckets() -> impl Iterator<Item = f64> {
    let quarters = [0.25, 0.5].into_iter();
    let seconds = (1..60_u32).chain((60..120).step_by(5)).chain((120..=300).step_by(30));
    quarters.chain(seconds.map(f64::from))
}
