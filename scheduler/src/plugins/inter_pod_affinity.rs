//! InterPodAffinity: pods near to, or away from, other pods, by topology domain.
//!
//! Three tables by (topology key, value) are counted once per cycle in PreFilter: where existing pods' required
//! anti-affinity forbids this pod, where pods match its required affinity, and where pods match its required
//! anti-affinity. Filter then looks up the node's own labels only.

mod terms;

use std::collections::{BTreeMap, HashMap};

use apimachinery::api::core::Node;

pub use self::terms::AffinityTerms;
use self::terms::Term;
pub(crate) use self::terms::of_keys;
use crate::{
    framework::{
        CycleState, Filter, MAX_NODE_SCORE, NodeInfo, Plugin, PodInfo, PreFilter, PreFilterOutcome,
        PreScore, Rejection, Score,
    },
    queue::events::{ClusterEvent, Event, Subject},
    snapshot::Snapshot,
};

const NAME: &str = "InterPodAffinity";
const SCORE: &str = "InterPodAffinity/score";
/// What an existing pod's required affinity counts for in scoring: `DefaultHardPodAffinityWeight`.
const HARD_WEIGHT: i64 = 1;

/// The plugin.
pub struct InterPodAffinity;

/// Counts by topology key and value.
#[derive(Clone, Debug, Default)]
struct Counts(BTreeMap<String, HashMap<String, i64>>);

impl Counts {
    fn add(&mut self, key: &str, node: &NodeInfo, by: i64) {
        let Some(value) = node.labels().get(key) else { return };
        // Keys and values repeat from pod to pod: the text is copied for the first only.
        if !self.0.contains_key(key) {
            self.0.insert(key.to_owned(), HashMap::new());
        }
        let Some(values) = self.0.get_mut(key) else { return };
        match values.get_mut(value) {
            Some(count) => *count += by,
            None => {
                values.insert(value.clone(), by);
            }
        }
    }

    fn at(&self, key: &str, node: &NodeInfo) -> i64 {
        let values = self.0.get(key).zip(node.labels().get(key));
        values.and_then(|(values, value)| values.get(value)).copied().unwrap_or(0)
    }

    /// The counts of all the node's domains.
    fn of(&self, node: &NodeInfo) -> impl Iterator<Item = i64> {
        self.0.keys().map(|key| self.at(key, node))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn any_positive(&self) -> bool {
        self.0.values().flat_map(HashMap::values).any(|count| *count > 0)
    }
}

#[derive(Clone)]
struct Tables {
    snapshot_namespaces: Snapshot,
    existing_anti: Counts,
    affinity: Counts,
    anti_affinity: Counts,
}

impl Tables {
    /// Counts an existing pod on a node in (`by` 1) or out (`by` -1).
    fn follow(&mut self, pod: &PodInfo, existing: &PodInfo, node: &NodeInfo, by: i64) {
        let namespaces = &self.snapshot_namespaces;
        for term in &existing.affinity.required_anti {
            if term.matches(pod, namespaces) {
                self.existing_anti.add(&term.topology_key, node, by);
            }
        }
        let required = &pod.affinity.required;
        if !required.is_empty() && required.iter().all(|t| t.matches(existing, namespaces)) {
            for term in required {
                self.affinity.add(&term.topology_key, node, by);
            }
        }
        for term in &pod.affinity.required_anti {
            if term.matches(existing, namespaces) {
                self.anti_affinity.add(&term.topology_key, node, by);
            }
        }
    }
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        NAME
    }
    fn pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn score(&self) -> Option<&dyn Score> {
        Some(self)
    }
    fn events_to_register(&self) -> &'static [ClusterEvent] {
        &[
            ClusterEvent::AssignedPodAdd,
            ClusterEvent::AssignedPodDelete,
            ClusterEvent::AssignedPodUpdateLabel,
            ClusterEvent::NodeAdd,
            ClusterEvent::NodeUpdateLabel,
            ClusterEvent::OwnLabels,
        ]
    }
    /// A pod that came to match an affinity, or that an anti-affinity, either way, no longer concerns; a node with a
    /// topology key that a term names.
    fn hint(&self, pod: &PodInfo, event: &Event<'_>) -> bool {
        match event.subject {
            Subject::Node { old, new } => node_helps(pod, old, new),
            Subject::Pod { old, new } => {
                new.is_some_and(|new| new.uid() == pod.uid()) || pod_helps(pod, old, new)
            }
        }
    }
}

/// Whether one pod's change can undo a refusal of `pod`. Namespaces are not looked up for it: a term with a
/// namespaceSelector is taken to reach every namespace.
fn pod_helps(pod: &PodInfo, old: Option<&PodInfo>, new: Option<&PodInfo>) -> bool {
    let concerns = |terms: &[Term], by: &PodInfo| terms.iter().any(|term| term.may_match(by));
    let near = &pod.affinity.required;
    let wanted = |by: &PodInfo| !near.is_empty() && near.iter().all(|term| term.may_match(by));
    let in_the_way = |by: &PodInfo| {
        concerns(&pod.affinity.required_anti, by) || concerns(&by.affinity.required_anti, pod)
    };
    let came = new.is_some_and(wanted) && !old.is_some_and(wanted);
    // Who wanted to be with itself alone is the first of its group again when the last other one goes.
    let went = old.is_some_and(wanted) && !new.is_some_and(wanted);
    let left = old.is_some_and(in_the_way) && !new.is_some_and(in_the_way);
    came || went || left
}

/// Whether a node that is new, or has other labels, can undo a refusal of `pod`.
fn node_helps(pod: &PodInfo, old: Option<&Node>, new: Option<&Node>) -> bool {
    let Some(new) = new else { return false };
    let Some(old) = old else { return true };
    let terms = pod.affinity.required.iter().chain(&pod.affinity.required_anti);
    let value = |node: &Node, key: &str| node.metadata.labels.get(key).cloned();
    let mut keys = terms.map(|term| term.topology_key.as_str());
    // An existing pod's anti-affinity may name any key.
    let theirs = pod.affinity.required.is_empty();
    theirs || keys.any(|key| value(old, key) != value(new, key))
}

impl PreFilter for InterPodAffinity {
    fn run(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<PreFilterOutcome, Rejection> {
        let own = !pod.affinity.required.is_empty() || !pod.affinity.required_anti.is_empty();
        if !own && snapshot.pods_with_required_anti_affinity == 0 {
            return Ok(PreFilterOutcome::Skip);
        }
        let mut tables = Tables {
            snapshot_namespaces: Snapshot {
                namespaces: snapshot.namespaces.clone(),
                ..Snapshot::default()
            },
            existing_anti: Counts::default(),
            affinity: Counts::default(),
            anti_affinity: Counts::default(),
        };
        for node in snapshot.nodes.iter() {
            for existing in &node.pods {
                if own || !existing.affinity.required_anti.is_empty() {
                    tables.follow(pod, existing, node, 1);
                }
            }
        }
        let nothing = tables.existing_anti.is_empty() && !own;
        state.write(NAME, tables);
        Ok(if nothing { PreFilterOutcome::Skip } else { PreFilterOutcome::Continue })
    }

    fn simulate(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        changed: &PodInfo,
        node: &NodeInfo,
        added: bool,
    ) {
        let by = if added { 1 } else { -1 };
        state.modify::<Tables>(NAME, |tables| tables.follow(pod, changed, node, by));
    }
}

impl Filter for InterPodAffinity {
    fn run(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let Some(tables) = state.read::<Tables>(NAME) else { return Ok(()) };
        let required = &pod.affinity.required;
        let labelled = required.iter().all(|t| node.labels().contains_key(&t.topology_key));
        let near = required.iter().all(|t| tables.affinity.at(&t.topology_key, node) > 0);
        // The first pod of a group that wants to be together matches itself.
        let first = || {
            !tables.affinity.any_positive()
                && required.iter().all(|t| t.matches(pod, &tables.snapshot_namespaces))
        };
        if !labelled || !(near || first()) {
            return Err(Rejection::unresolvable(NAME, "node(s) didn't match pod affinity rules"));
        }
        let anti = &pod.affinity.required_anti;
        if anti.iter().any(|t| tables.anti_affinity.at(&t.topology_key, node) > 0) {
            return Err(Rejection::unschedulable(
                NAME,
                "node(s) didn't match pod anti-affinity rules",
            ));
        }
        if tables.existing_anti.of(node).any(|count| count > 0) {
            return Err(Rejection::unschedulable(
                NAME,
                "node(s) didn't satisfy existing pods anti-affinity rules",
            ));
        }
        Ok(())
    }
}

impl PreScore for InterPodAffinity {
    fn run(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &[&NodeInfo],
        snapshot: &Snapshot,
    ) -> bool {
        let own = !pod.affinity.preferred.is_empty() || !pod.affinity.preferred_anti.is_empty();
        if nodes.is_empty() || (!own && snapshot.pods_with_affinity == 0) {
            return false;
        }
        let mut scores = Counts::default();
        for node in snapshot.nodes.iter() {
            for existing in &node.pods {
                let theirs = &existing.affinity;
                if !own && theirs.is_empty() {
                    continue;
                }
                let mut weigh =
                    |terms: &[Term], target: &PodInfo, sign: i64, fixed: Option<i64>| {
                        for term in terms.iter().filter(|t| t.matches(target, snapshot)) {
                            let weight = fixed.unwrap_or(term.weight);
                            scores.add(&term.topology_key, node, sign * weight);
                        }
                    };
                weigh(&pod.affinity.preferred, existing, 1, None);
                weigh(&pod.affinity.preferred_anti, existing, -1, None);
                weigh(&theirs.required, pod, 1, Some(HARD_WEIGHT));
                weigh(&theirs.preferred, pod, 1, None);
                weigh(&theirs.preferred_anti, pod, -1, None);
            }
        }
        let any = !scores.is_empty();
        state.write(SCORE, scores);
        any
    }
}

impl Score for InterPodAffinity {
    fn run(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> i64 {
        let Some(scores) = state.read::<Counts>(SCORE) else { return 0 };
        scores.of(node).sum()
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "computed as Kubernetes computes it, whose rounding decides ties"
    )]
    fn normalize(&self, _: &CycleState, _: &PodInfo, _: &[&NodeInfo], scores: &mut [i64]) {
        let max = scores.iter().copied().max().unwrap_or(0);
        let min = scores.iter().copied().min().unwrap_or(0);
        for score in scores {
            *score = if max > min {
                let part = (*score - min) as f64 / (max - min) as f64;
                (MAX_NODE_SCORE as f64 * part) as i64
            } else {
                0
            };
        }
    }
}
