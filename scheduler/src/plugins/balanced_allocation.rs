//! NodeResourcesBalancedAllocation: prefers the node whose use of cpu and memory stays most alike.
//!
//! Follows the scorer of Kubernetes 1.34 and later: with two resources the deviation is half of the difference of the
//! two fractions, and the score tells how much the pod improves or worsens the balance.

use crate::{
    framework::{CycleState, MAX_NODE_SCORE, NodeInfo, Plugin, PodInfo, PreScore, Score},
    snapshot::Snapshot,
};

const NAME: &str = "NodeResourcesBalancedAllocation";

/// The plugin.
pub struct BalancedAllocation;

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        NAME
    }
    fn pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl PreScore for BalancedAllocation {
    /// A pod without requests for cpu or memory moves no balance: scoring it would only gather such pods on one node.
    fn run(&self, _: &mut CycleState, pod: &PodInfo, _: &[&NodeInfo], _: &Snapshot) -> bool {
        pod.requests.milli_cpu > 0 || pod.requests.memory > 0
    }
}

impl Score for BalancedAllocation {
    fn run(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let with = [
            (node.requested.milli_cpu + pod.requests.milli_cpu, node.allocatable.milli_cpu),
            (node.requested.memory + pod.requests.memory, node.allocatable.memory),
        ];
        let without = [
            (node.requested.milli_cpu, node.allocatable.milli_cpu),
            (node.requested.memory, node.allocatable.memory),
        ];
        balanced(with, without)
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the score is a rounded percentage, as in Kubernetes"
)]
fn balanced(with: [(i64, i64); 2], without: [(i64, i64); 2]) -> i64 {
    let deviation = |amounts: [(i64, i64); 2]| {
        let fraction = |(used, capacity): (i64, i64)| {
            (capacity > 0).then(|| (used as f64 / capacity as f64).min(1.0))
        };
        match amounts.map(fraction) {
            [Some(a), Some(b)] => ((a - b) / 2.0).abs(),
            _ => 0.0,
        }
    };
    let max = MAX_NODE_SCORE as f64;
    let (after, before) = (deviation(with), deviation(without));
    let (after, before) = (((1.0 - after) * max) as i64, ((1.0 - before) * max) as i64);
    (MAX_NODE_SCORE + after - before) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn improving_the_balance_scores_above_the_middle() {
        let check = |with, without, expected| {
            assert_eq!(balanced(with, without), expected, "{with:?} after {without:?}");
        };
        check([(10, 100), (10, 100)], [(0, 100), (0, 100)], 50);
        check([(50, 100), (50, 100)], [(50, 100), (0, 100)], 62);
        check([(50, 100), (0, 100)], [(0, 100), (0, 100)], 37);
        check([(50, 100), (7, 0)], [(0, 100), (0, 0)], 50);
    }
}
