//! Graceful node shutdown: the node leaves in order, instead of by the death of its process.
//!
//! ```text
//! asked → Ready is False, pods are refused → usual pods end, within total − critical → critical pods, within critical → off
//! ```
//! A pod's grace period is capped by its group's time; a group that is done early leaves the rest of its time unused. The
//! pods are Failed then (`Terminated`, with a DisruptionTarget condition) and stay so: their checkpoints know it, too.
//! Follows `pkg/kubelet/nodeshutdown`; what systemd's inhibitor lock is to a kubelet, SIGTERM is to this process.

use std::{sync::Arc, time::Duration};

use apimachinery::api::core::Pod;
use client::{Backoff, events::EventType};

use super::{NodeContext, PodTable, Reporter, admission::is_critical, registration::reference};
use crate::go_duration;

/// What a group gets beyond its time, for its last statuses to reach the API server.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a shutdown may take: `shutdownGracePeriod` and `shutdownGracePeriodCriticalPods`. The default is none: the
/// node does not shut down in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GracePeriods {
    total: Duration,
    critical: Duration,
}

impl GracePeriods {
    /// The time in all, and what of it is for critical pods.
    ///
    /// # Errors
    /// They make no sense together; the text is the kubelet's.
    pub fn new(total: Duration, critical: Duration) -> Result<Self, String> {
        let second = Duration::from_secs(1);
        if !total.is_zero() && total < second {
            return Err(format!(
                "invalid configuration: shutdownGracePeriod {{{}}} must be either zero or otherwise >= 1 sec",
                go_duration(total)
            ));
        }
        if critical > total {
            return Err(format!(
                "invalid configuration: shutdownGracePeriodCriticalPods {{{}}} must be <= shutdownGracePeriod {{{}}}",
                go_duration(critical),
                go_duration(total)
            ));
        }
        if !critical.is_zero() && critical < second {
            return Err(format!(
                "invalid configuration: shutdownGracePeriodCriticalPods {{{}}} must be either zero or otherwise >= 1 sec",
                go_duration(critical)
            ));
        }
        Ok(Self { total, critical })
    }

    /// Whether a node is to shut down in order at all.
    #[must_use]
    pub fn is_on(self) -> bool {
        !self.total.is_zero()
    }

    /// How long a shutdown takes at most.
    #[must_use]
    pub fn total(self) -> Duration {
        self.total
    }

    /// The flags that give a kubelet these periods; none where there is no shutdown.
    pub fn flags(self) -> impl Iterator<Item = String> {
        let flags = [
            ("--shutdown-grace-period", self.total),
            ("--shutdown-grace-period-critical-pods", self.critical),
        ];
        let flags = flags.map(|(flag, period)| format!("{flag}={}ms", period.as_millis()));
        flags.into_iter().filter(move |_| self.is_on())
    }

    /// The steps of a shutdown.
    fn stages(self) -> [Stage; 2] {
        let periods = self;
        [Stage { periods, critical: false }, Stage { periods, critical: true }]
    }
}

/// How far a shutdown is: usual pods end, then critical ones, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    periods: GracePeriods,
    critical: bool,
}

impl Stage {
    /// The time of the pods whose turn this is.
    fn period(self) -> Duration {
        let GracePeriods { total, critical } = self.periods;
        if self.critical { critical } else { total - critical }
    }

    /// Whether this is the pod's turn, not an earlier or a later one.
    fn is_of(self, pod: &Pod) -> bool {
        is_critical(pod) == self.critical
    }

    /// What a pod's grace period is capped to, if it is to end by now.
    pub(crate) fn cap(self, pod: &Pod) -> Option<Duration> {
        let own = Self { critical: is_critical(pod), ..self };
        (self.critical || !own.critical).then(|| own.period())
    }
}

/// Shuts a node down in order.
pub(crate) async fn shut_down(
    node: Arc<NodeContext>,
    table: PodTable,
    reporter: Arc<Reporter>,
    periods: GracePeriods,
) {
    let text = "Shutdown manager detected shutdown event";
    node.recorder.record_about(
        reference(&node.settings.name),
        EventType::Normal,
        "NodeShutdown",
        text,
    );
    let ending = async {
        for stage in periods.stages() {
            node.own.begin(stage);
            end_group(&node, &table, stage).await;
        }
    };
    let telling = tell(&node, &reporter);
    tokio::pin!(ending, telling);
    tokio::select! {
        () = &mut telling => ending.await,
        // Nobody is left to end: what is to be told has little time.
        () = &mut ending => { let _ = node.clock.timeout(LAST_WORDS, telling).await; }
    }
}

/// Waits until the pods of a stage have ended and the API server knows, no longer than they have.
async fn end_group(node: &NodeContext, table: &PodTable, stage: Stage) {
    let group = table.unfinished(|pod| stage.is_of(pod));
    if group.is_empty() {
        return;
    }
    tracing::info!(node = %node.settings.name, critical = stage.critical, pods = group.len(), "ending pods");
    let ended = async {
        node.own.until(|| table.unfinished(|pod| stage.is_of(pod)).is_empty()).await;
        for uid in &group {
            node.statuses.flush(uid).await;
        }
    };
    if node.clock.timeout(stage.period() + LAST_WORDS, ended).await.is_err() {
        tracing::info!(node = %node.settings.name, critical = stage.critical, "Shutdown manager pod killing time out");
    }
}

/// Tells the API server that the node is not Ready any more, until it has heard it.
async fn tell(node: &NodeContext, reporter: &Reporter) {
    let mut pause = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    while !node.own.simulation().silent {
        match reporter.report().await {
            Ok(object) => {
                node.own.seen(object);
                return;
            }
            Err(status) => {
                tracing::debug!(node = %node.settings.name, %status, "cannot report the shutdown");
                node.clock.sleep(pause.next(&node.clock)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn periods_that_make_no_sense_are_refused() {
        let check = |total: u64, critical: u64, expected: &str| {
            let made =
                GracePeriods::new(Duration::from_millis(total), Duration::from_millis(critical));
            assert_eq!(made.err().unwrap_or_default(), expected);
        };
        check(0, 0, "");
        check(30_000, 10_000, "");
        check(30_000, 30_000, "");
        check(
            10_000,
            20_000,
            "invalid configuration: shutdownGracePeriodCriticalPods {20s} must be <= shutdownGracePeriod {10s}",
        );
        check(
            500,
            0,
            "invalid configuration: shutdownGracePeriod {0s} must be either zero or otherwise >= 1 sec",
        );
        assert!(!GracePeriods::default().is_on());
    }

    #[test]
    fn critical_pods_end_last_each_within_its_groups_time() {
        let pod = |priority: i64| -> Pod {
            serde_json::from_value(json!({"spec": {"priority": priority, "containers": []}}))
                .unwrap()
        };
        let [first, second] = GracePeriods::new(seconds(30), seconds(10)).unwrap().stages();
        let check = |priority, at_first, at_second| {
            assert_eq!(first.cap(&pod(priority)), at_first, "{priority}");
            assert_eq!(second.cap(&pod(priority)), at_second, "{priority}");
            assert_ne!(first.is_of(&pod(priority)), second.is_of(&pod(priority)));
        };
        check(-5, Some(seconds(20)), Some(seconds(20)));
        check(0, Some(seconds(20)), Some(seconds(20)));
        check(1_999_999_999, Some(seconds(20)), Some(seconds(20)));
        check(2_000_000_000, None, Some(seconds(10)));
        check(2_000_001_000, None, Some(seconds(10)));
    }
}
