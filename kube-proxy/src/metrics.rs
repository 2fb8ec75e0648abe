//! kube-proxy's metrics, under Kubernetes' names.

use component_base::metrics::{Counter, Gauge, Histogram, Registry};

/// Handles of the metrics; clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) service_changes: Counter,
    pub(crate) endpoint_changes: Counter,
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
}
