//! One pod's scheduling decision: find the feasible nodes, score them, choose. Pure, but for the tie-breaking number
//! and the rotating start that the caller keeps in [`Rotation`].
//!
//! A pod that is nominated for a node goes there if it can, without a look at the others.

use std::collections::BTreeSet;

use crate::{
    framework::{
        CycleState, Framework, NodeInfo, PodInfo, Rejection,
        runtime::{Diagnosis, Filters, Scores},
    },
    nominator::Nominator,
    snapshot::Snapshot,
};

/// Below this number of nodes all of them are looked at: `minFeasibleNodesToFind`.
const MIN_FEASIBLE: usize = 100;

/// What carries over from cycle to cycle, so that all nodes get their turn.
#[derive(Clone, Debug, Default)]
pub struct Rotation {
    start: usize,
    /// A simple xorshift state for ties.
    seed: u64,
}

impl Rotation {
    /// A rotation with its own sequence of ties.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { start: 0, seed: seed | 1 }
    }

    /// Where the next look at the nodes begins.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    fn next(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }
}

/// The decision.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The chosen node.
    pub node: String,
    /// How many nodes were looked at.
    pub evaluated: usize,
    /// How many would do.
    pub feasible: usize,
    /// The scores of the feasible nodes; empty where there was only one.
    pub scores: Scores,
}

/// How many feasible nodes suffice: `numFeasibleNodesToFind` with its adaptive percentage.
#[must_use]
pub fn feasible_nodes_to_find(all: usize) -> usize {
    if all < MIN_FEASIBLE {
        return all;
    }
    let percentage = 50_usize.saturating_sub(all / 125).max(5);
    (all * percentage / 100).max(MIN_FEASIBLE)
}

/// One pod's cycle, after PreFilter.
pub struct Cycle<'a> {
    framework: &'a Framework,
    pod: &'a PodInfo,
    nominator: &'a Nominator,
    filters: Filters<'a>,
    /// The nodes that alone come into question, if plugins named some.
    chosen: Option<BTreeSet<String>>,
}

impl<'a> Cycle<'a> {
    /// Runs PreFilter.
    ///
    /// # Errors
    /// It refused the pod on all nodes.
    pub fn begin(
        framework: &'a Framework,
        pod: &'a PodInfo,
        snapshot: &Snapshot,
        nominator: &'a Nominator,
        state: &mut CycleState,
    ) -> Result<Self, Diagnosis> {
        match framework.pre_filter(state, pod, snapshot) {
            Ok(chosen) => {
                let filters = framework.filters(state);
                Ok(Self { framework, pod, nominator, filters, chosen })
            }
            Err(rejection) => Err(Diagnosis {
                pre_filter_message: rejection.reasons.join(", "),
                nodes: snapshot
                    .nodes
                    .iter()
                    .map(|node| (node.name.to_string(), rejection.clone()))
                    .collect(),
            }),
        }
    }

    /// Whether the pod can run on the node.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check(&self, state: &CycleState, node: &NodeInfo) -> Result<(), Rejection> {
        if self.chosen.as_ref().is_some_and(|names| !names.contains(&*node.name)) {
            return Err(Rejection::unresolvable(
                "NodeAffinity",
                "node(s) didn't satisfy plugin(s) [NodeAffinity]",
            ));
        }
        self.framework.filter(&self.filters, state, self.pod, node, self.nominator)
    }
}

/// Decides where `pod` goes.
///
/// # Errors
/// Why no node will do, with the cycle state for preemption.
pub fn schedule(
    framework: &Framework,
    pod: &PodInfo,
    snapshot: &Snapshot,
    nominator: &Nominator,
    rotation: &mut Rotation,
) -> Result<Decision, Box<(Diagnosis, CycleState)>> {
    let mut state = CycleState::default();
    let cycle = match Cycle::begin(framework, pod, snapshot, nominator, &mut state) {
        Ok(cycle) => cycle,
        Err(diagnosis) => return Err(Box::new((diagnosis, state))),
    };
    let nominated = nominator.node_of(pod.uid()).and_then(|name| snapshot.node(name));
    if let Some(node) = nominated.filter(|node| cycle.check(&state, node).is_ok()) {
        let (node, scores) = (node.name.to_string(), Scores::default());
        return Ok(Decision { node, evaluated: 1, feasible: 1, scores });
    }
    let mut diagnosis = Diagnosis::default();
    let all = snapshot.nodes.len();
    let wanted = feasible_nodes_to_find(all);
    let mut feasible: Vec<&NodeInfo> = Vec::with_capacity(wanted);
    let mut evaluated = 0;
    for at in 0..all {
        if feasible.len() >= wanted {
            break;
        }
        let node = &snapshot.nodes[(rotation.start + at) % all];
        evaluated += 1;
        match cycle.check(&state, node) {
            Ok(()) => feasible.push(node),
            Err(rejection) => {
                diagnosis.nodes.insert(node.name.to_string(), rejection);
            }
        }
    }
    if all > 0 {
        rotation.start = (rotation.start + evaluated) % all;
    }
    match feasible[..] {
        [] => Err(Box::new((diagnosis, state))),
        [only] => {
            let scores = Scores::default();
            Ok(Decision { node: only.name.to_string(), evaluated, feasible: 1, scores })
        }
        _ => {
            let scores = framework.score(&mut state, pod, &feasible, snapshot);
            let node = select_host(&scores, rotation);
            Ok(Decision { node, evaluated, feasible: feasible.len(), scores })
        }
    }
}

/// Chooses among the best with equal chances: `selectHost`.
fn select_host(scores: &Scores, rotation: &mut Rotation) -> String {
    let best = scores.totals.iter().copied().max().unwrap_or(0);
    let mut ties = 0;
    let mut chosen = "";
    for (name, _) in scores.nodes.iter().zip(&scores.totals).filter(|(_, total)| **total == best) {
        ties += 1;
        if rotation.next().is_multiple_of(ties) {
            chosen = name;
        }
    }
    chosen.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_clusters_are_sampled() {
        let check = |all, expected| assert_eq!(feasible_nodes_to_find(all), expected, "{all}");
        check(0, 0);
        check(99, 99);
        check(100, 100);
        check(1000, 420);
        check(5000, 500);
        check(6000, 300);
    }
}
