//! What the storage counts. The owner of the process registers it where it likes.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Counters of one store; cloning shares them.
#[derive(Clone, Debug)]
pub struct StorageMetrics {
    /// Committed transactions.
    pub txns: Counter,
    /// Transactions refused because a condition did not hold.
    pub conflicts: Counter,
    /// Transactions that failed because nothing could be written.
    pub errors: Counter,
    /// Keys deleted because their time had come.
    pub expired: Counter,
    /// Groups of transactions made durable; each costs one `fdatasync`.
    pub groups: Counter,
    /// Seconds that making a group durable took.
    pub persist_seconds: Histogram,
    /// Keys stored.
    pub keys: Gauge,
    /// Bytes of the stored values.
    pub live_bytes: Gauge,
    /// Bytes that only the history keeps.
    pub history_bytes: Gauge,
    /// Bytes on disk.
    pub disk_bytes: Gauge,
}

impl Default for StorageMetrics {
    fn default() -> Self {
        // From a group on a fast disk to a stalled one.
        let buckets =
            [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];
        Self {
            txns: Counter::default(),
            conflicts: Counter::default(),
            errors: Counter::default(),
            expired: Counter::default(),
            groups: Counter::default(),
            persist_seconds: Histogram::new(buckets),
            keys: Gauge::default(),
            live_bytes: Gauge::default(),
            history_bytes: Gauge::default(),
            disk_bytes: Gauge::default(),
        }
    }
}

impl StorageMetrics {
    /// Registers all of them as `apiserver_storage_*`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("apiserver_storage");
        registry.register("transactions", "Committed transactions", self.txns.clone());
        registry.register(
            "conflicts",
            "Transactions whose conditions did not hold",
            self.conflicts.clone(),
        );
        registry.register("errors", "Transactions that could not be written", self.errors.clone());
        registry.register(
            "expired_keys",
            "Keys deleted at the end of their time to live",
            self.expired.clone(),
        );
        registry.register("groups", "Groups of transactions made durable", self.groups.clone());
        registry.register(
            "persist_duration_seconds",
            "Time to make a group durable",
            self.persist_seconds.clone(),
        );
        registry.register("keys", "Stored keys", self.keys.clone());
        registry.register("live_bytes", "Bytes of the stored values", self.live_bytes.clone());
        registry.register(
            "history_bytes",
            "Bytes kept for watchers alone",
            self.history_bytes.clone(),
        );
        registry.register("size_bytes", "Bytes on disk", self.disk_bytes.clone());
    }
}
