//! The loop that keeps a node's network in step with what is known: kube-proxy's `syncProxyRules`.
//!
//! ```text
//! connect ─▶ info ─▶ boot id and generation as we left them? ── no ─▶ send all rules ─┐
//!    ▲                        └── yes ─────────────────────────────────────────────▶ wait for a change
//!    └───────────── connection ends, or the node refuses ◀─────────────── send it ◀──┘
//! ```
//! Changes that come close together are sent together. What is in force is also kept in a file ([`Cache`]), so that a
//! proxy that starts while the API is away programs a rebooted node with what was last true (a node that has rules keeps
//! them until the cluster is known). A file that cannot be read counts as none.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use apimachinery::object::ObjectKey;
use cni::rules::RuleDelta;
use component_base::{clock::Clock, shutdown::Shutdown, transport::Endpoint};
use proto::v1;
use tracing::{debug, info, instrument, warn};

use crate::{
    cache::Cache,
    compile::Problem,
    events::Reporter,
    health_check::HealthChecks,
    metrics::Metrics,
    node::{NodeConnection, NodeError},
    watch::Knowledge,
};

/// How long to wait before the node is tried again, at first and at most.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often ports that the host refused are tried again.
const RETRY_PROBLEMS: Duration = Duration::from_secs(30);

pub(crate) struct Proxier {
    pub(crate) knowledge: Arc<Knowledge>,
    pub(crate) node: Endpoint,
    pub(crate) clock: Clock,
    pub(crate) shutdown: Shutdown,
    pub(crate) min_sync_period: Duration,
    pub(crate) cache: Option<Cache>,
    pub(crate) metrics: Metrics,
    pub(crate) reporter: Reporter,
    pub(crate) health_checks: HealthChecks,
    /// Set as long as the node has the rules that it should have.
    pub(crate) in_step: Arc<AtomicBool>,
}

/// The rules that the node is known to have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Acknowledged {
    boot_id: String,
    generation: u64,
}

impl Proxier {
    /// Keeps the node in step until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut acknowledged = None;
        let mut pause = RECONNECT.0;
        loop {
            let error = match NodeConnection::open(&self.node, &self.shutdown).await {
                Ok(mut connection) => {
                    pause = RECONNECT.0;
                    self.keep_in_step(&mut connection, &mut acknowledged).await
                }
                Err(error) => error,
            };
            self.in_step.store(false, Ordering::Relaxed);
            if error.wants_everything() {
                info!(%error, "the node wants its rules afresh");
                acknowledged = None;
            } else {
                debug!(error = %with_source(&error), "the node's network is away");
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(RECONNECT.1);
        }
    }

    /// Programs one connection until it ends.
    async fn keep_in_step(
        &mut self,
        connection: &mut NodeConnection,
        acknowledged: &mut Option<Acknowledged>,
    ) -> NodeError {
        let reply = match connection.info().await {
            Ok(reply) => reply,
            Err(error) => return error,
        };
        let found = Acknowledged { boot_id: reply.boot_id, generation: reply.generation };
        if *acknowledged != Some(found.clone()) {
            *acknowledged = None;
        }
        let mut problems = vec![];
        loop {
            match self
                .sync_proxy_rules(connection, &found, acknowledged, !problems.is_empty())
                .await
            {
                Ok(Some(refused)) => problems = refused,
                Ok(None) => {}
                Err(error) => {
                    // The change is spent: the next attempt must send everything.
                    *acknowledged = None;
                    self.metrics.failures.inc();
                    return error;
                }
            }
            let retry = async {
                if problems.is_empty() {
                    std::future::pending::<()>().await;
                } else {
                    self.clock.sleep(RETRY_PROBLEMS).await;
                }
            };
            let due = self.cache.as_ref().and_then(Cache::sync_at);
            let clock = self.clock.clone();
            let sync = async {
                match due {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending::<()>().await,
                }
            };
            tokio::select! {
                () = connection.closed() => return NodeError::Closed,
                () = sync => self.sync_cache().await,
                () = self.knowledge.changed() => {
                    // More is on its way, as a rule: pods come in numbers.
                    self.clock.sleep(self.min_sync_period).await;
                }
                () = retry => {}
            }
        }
    }

    /// Sends what the node lacks; returns what the host refused, or `None` when there was nothing to send.
    #[instrument(skip_all, fields(generation))]
    async fn sync_proxy_rules(
        &mut self,
        connection: &mut NodeConnection,
        found: &Acknowledged,
        acknowledged: &mut Option<Acknowledged>,
        again: bool,
    ) -> Result<Option<Vec<Problem>>, NodeError> {
        let start = self.clock.monotonic();
        let delta = self.knowledge.take_changes();
        let stale = !self.knowledge.is_synced() && found.generation > 0;
        let (base, full) = match acknowledged {
            Some(_) if delta.is_empty() && !again => {
                // Rules that were remembered turn out to be those of the cluster.
                self.in_step.store(self.knowledge.is_synced(), Ordering::Relaxed);
                return Ok(None);
            }
            Some(known) => (known.generation, false),
            None if stale || !self.knowledge.has_rules() => return Ok(None),
            None => (found.generation, true),
        };
        let generation = base + 1;
        let rules = if full { self.knowledge.rules_json()? } else { serde_json::to_vec(&delta)? };
        let request = v1::ApplyRulesRequest {
            boot_id: found.boot_id.clone(),
            base_generation: base,
            generation,
            full,
            rules: rules.into(),
        };
        let refused = connection.apply(request).await?;
        *acknowledged = Some(Acknowledged { boot_id: found.boot_id.clone(), generation });
        self.in_step.store(self.knowledge.is_synced(), Ordering::Relaxed);
        self.count(start, full, &delta, generation);
        self.keep(full, &delta).await;
        self.knowledge.programmed();
        let (addresses, checks) = self.knowledge.health_checks();
        let unchecked = self.health_checks.update(&addresses, &checks);
        let refused = refused.into_iter().map(|problem| Problem {
            service: ObjectKey { namespace: problem.namespace, name: problem.service },
            reason: problem.reason,
            message: problem.message,
        });
        let refused: Vec<Problem> = refused.chain(unchecked).collect();
        let all = refused.iter().cloned().chain(self.knowledge.problems()).collect();
        self.reporter.report(&self.knowledge, all);
        Ok(Some(refused))
    }

    fn count(&self, start: Duration, full: bool, delta: &RuleDelta, generation: u64) {
        let seconds = self.clock.monotonic().saturating_sub(start).as_secs_f64();
        self.metrics.sync_seconds.observe(seconds);
        if full {
            self.metrics.full_sync_seconds.observe(seconds);
        } else {
            self.metrics.partial_sync_seconds.observe(seconds);
        }
        self.metrics.last_sync.set(self.clock.now().as_second());
        let changed = delta.services.len() + delta.nodes.len();
        debug!(generation, full, changed, seconds, "proxy rules are in force");
    }

    /// Keeps what has just been put in force.
    async fn keep(&mut self, full: bool, delta: &RuleDelta) {
        // What was remembered is in the file already.
        let Some(cache) = self.cache.as_mut().filter(|_| self.knowledge.is_synced()) else {
            return;
        };
        let write = async {
            if full || cache.is_overgrown() {
                cache.replace(&self.knowledge.rules_json()?).await
            } else if delta.is_empty() {
                Ok(())
            } else {
                cache.append(delta, self.clock.monotonic()).await
            }
        };
        warn_of(write.await);
    }

    async fn sync_cache(&mut self) {
        if let Some(cache) = &mut self.cache {
            warn_of(cache.sync().await);
        }
    }
}

fn warn_of(written: io::Result<()>) {
    if let Err(error) = written {
        warn!(%error, "cannot keep the rules for the next start");
    }
}

fn with_source(error: &NodeError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
