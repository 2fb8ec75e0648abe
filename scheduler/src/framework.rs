//! The scheduling framework: the extension points that plugins implement, as `kube-scheduler` names them.
//!
//! A scheduling cycle walks PreFilter → Filter → (PostFilter) → PreScore → Score → Reserve; the binding cycle ends it
//! with Bind. Everything up to Reserve is pure: a plugin sees a [`Snapshot`] of the cluster, the pod and what it left
//! for itself in the [`CycleState`], and gives back a verdict. Nothing here awaits or reads a clock.
//!
//! A plugin is one file in `plugins/`, one line in `plugins::registry`, and implements the points that it takes part
//! in; [`Plugin`] tells the framework which those are.

pub mod cycle_state;
pub mod runtime;
pub mod types;

use std::collections::BTreeSet;

pub use cycle_state::CycleState;
pub use runtime::Framework;
pub use types::{NodeInfo, PodInfo, Resources};

use crate::{
    queue::events::{ClusterEvent, Event},
    snapshot::Snapshot,
};

/// The highest score that a plugin may give a node after normalisation: `framework.MaxNodeScore`.
pub const MAX_NODE_SCORE: i64 = 100;

/// How a refusal is meant: `framework.Code`, less the codes for success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Another state of the node's pods could make room: preemption may help.
    Unschedulable,
    /// No removal of pods can help on this node.
    UnschedulableAndUnresolvable,
    /// The plugin could not decide.
    Error,
}

/// Why a pod, or a pod on one node, is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The plugin that refuses.
    pub plugin: &'static str,
    /// How it is meant.
    pub code: Code,
    /// The reasons, each counted on its own in the message that the user reads.
    pub reasons: Vec<String>,
}

impl Rejection {
    /// A refusal that preemption may resolve.
    #[must_use]
    pub fn unschedulable(plugin: &'static str, reason: impl Into<String>) -> Self {
        Self { plugin, code: Code::Unschedulable, reasons: vec![reason.into()] }
    }

    /// A refusal that preemption cannot resolve.
    #[must_use]
    pub fn unresolvable(plugin: &'static str, reason: impl Into<String>) -> Self {
        Self { plugin, code: Code::UnschedulableAndUnresolvable, reasons: vec![reason.into()] }
    }

    /// The plugin failed.
    #[must_use]
    pub fn error(plugin: &'static str, reason: impl Into<String>) -> Self {
        Self { plugin, code: Code::Error, reasons: vec![reason.into()] }
    }
}

/// What a PreFilter says of the pod as a whole.
#[derive(Debug)]
pub enum PreFilterOutcome {
    /// Ask the plugin's Filter for every node.
    Continue,
    /// The plugin has nothing to say about this pod: its Filter is skipped.
    Skip,
    /// Only these nodes can be right.
    Nodes(BTreeSet<String>),
}

/// A part of the scheduler's policy. The methods that return `Some(self)` say at which points it takes part.
pub trait Plugin: Send + Sync + 'static {
    /// The name under which Kubernetes knows the plugin.
    fn name(&self) -> &'static str;

    /// Looks at the pod once, before the nodes.
    fn pre_filter(&self) -> Option<&dyn PreFilter> {
        None
    }
    /// Refuses nodes.
    fn filter(&self) -> Option<&dyn Filter> {
        None
    }
    /// Looks at the feasible nodes once, before scoring.
    fn pre_score(&self) -> Option<&dyn PreScore> {
        None
    }
    /// Prefers nodes.
    fn score(&self) -> Option<&dyn Score> {
        None
    }
    /// The kinds of events after which a pod that this plugin refused may be worth another attempt.
    fn events_to_register(&self) -> &'static [ClusterEvent] {
        &[]
    }
    /// Whether this event, of a registered kind, makes `pod` worth another attempt: the plugin's queueing hint.
    fn hint(&self, _pod: &PodInfo, _event: &Event<'_>) -> bool {
        true
    }
}

/// The PreFilter extension point.
pub trait PreFilter {
    /// Computes what Filter needs, or refuses the pod on all nodes at once.
    ///
    /// # Errors
    /// The rejection stands for every node.
    fn run(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<PreFilterOutcome, Rejection>;

    /// Brings the plugin's state up to date after `changed` was put on (or taken off) `node` in a simulation.
    fn simulate(
        &self,
        _state: &mut CycleState,
        _pod: &PodInfo,
        _changed: &PodInfo,
        _node: &NodeInfo,
        _added: bool,
    ) {
    }
}

/// The Filter extension point.
pub trait Filter {
    /// Tells whether the pod can run on the node.
    ///
    /// # Errors
    /// The reasons why it cannot.
    fn run(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection>;
}

/// The PreScore extension point.
pub trait PreScore {
    /// Computes what Score needs; false: the plugin has no preference for this pod, its Score is skipped.
    fn run(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &[&NodeInfo],
        snapshot: &Snapshot,
    ) -> bool;
}

/// The Score extension point.
pub trait Score {
    /// A raw score; any scale, until `normalize`.
    fn run(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64;

    /// Brings the raw scores of all feasible nodes to 0..=[`MAX_NODE_SCORE`].
    fn normalize(
        &self,
        _state: &CycleState,
        _pod: &PodInfo,
        _nodes: &[&NodeInfo],
        _scores: &mut [i64],
    ) {
    }
}

/// Scales scores so that the highest becomes [`MAX_NODE_SCORE`]; `reverse` prefers the lowest:
/// `helper.DefaultNormalizeScore`.
pub fn default_normalize(scores: &mut [i64], reverse: bool) {
    let max = scores.iter().copied().max().unwrap_or(0);
    if max == 0 {
        if reverse {
            scores.fill(MAX_NODE_SCORE);
        }
        return;
    }
    for score in scores {
        let scaled = MAX_NODE_SCORE * *score / max;
        *score = if reverse { MAX_NODE_SCORE - scaled } else { scaled };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizing_scales_to_the_maximum() {
        let check = |input: &[i64], reverse, expected: &[i64]| {
            let mut scores = input.to_vec();
            default_normalize(&mut scores, reverse);
            assert_eq!(scores, expected, "{input:?} reverse={reverse}");
        };
        check(&[1, 2, 4], false, &[25, 50, 100]);
        check(&[1, 2, 4], true, &[75, 50, 0]);
        check(&[0, 0], false, &[0, 0]);
        check(&[0, 0], true, &[100, 100]);
        check(&[], true, &[]);
    }
}
