//! What would be decided of a pod now, in full: every node's refusal, or its scores plugin by plugin.
//!
//! The same plugins run as in a decision, with two differences. All nodes are looked at, where a decision in a large
//! cluster looks at a sample. And a pod that has its node is looked at as if it were not placed yet: without itself in the
//! cluster, so that the answer tells whether it would go there again.

use serde::Serialize;

use crate::{
    framework::{Code, CycleState, NodeInfo, PodInfo, Rejection, runtime::Scores},
    preemption::Planner,
    schedule_one::Cycle,
};

/// How the pod stands with the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    /// It has its node.
    Scheduled,
    /// It was refused, and waits for an event that may help it.
    Unschedulable,
    /// It is about to be tried, or being bound.
    Pending,
    /// It waits for its gates to be lifted.
    Gated,
    /// It waits for its back-off to end.
    Backoff,
    /// It is for another scheduler.
    Foreign,
    /// It is on its way out without ever having had a node.
    Deleted,
}

/// The explanation: `SchedulingExplanation` of `kube-mini.dev/v1`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    /// What it says.
    pub status: Status,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Metadata {
    name: String,
    namespace: String,
}

/// What an explanation says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// How the pod stands.
    pub state: State,
    /// The node that it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// The node whose victims it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nominated_node_name: Option<String>,
    /// The scheduler that it is for.
    pub scheduler_name: String,
    /// Its scheduling gates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// What the scheduler would say; absent when a node fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The node that would be chosen; of several candidates the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected: Option<String>,
    /// The nodes with the top total: any of them may be chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// Every node, by name.
    pub nodes: Vec<NodeVerdict>,
}

/// What is said of one node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeVerdict {
    /// The node.
    pub name: String,
    /// Whether the pod can run there.
    pub feasible: bool,
    /// The first plugin that refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<&'static str>,
    /// Whether the removal of pods could help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolvable: Option<bool>,
    /// Why it refuses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The sum of the scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// Who gave it what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<Score>,
}

/// One plugin's score of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// The plugin.
    pub plugin: &'static str,
    /// As it gave it.
    pub raw: i64,
    /// Brought to 0 to 100.
    pub normalized: i64,
    /// Its weight.
    pub weight: i64,
    /// What it adds to the total.
    pub score: i64,
}

/// Explains `pod`, which `planner`'s snapshot does not hold.
#[must_use]
pub fn explain(planner: &Planner<'_>, pod: &PodInfo, standing: State) -> Explanation {
    let spec = &pod.pod.spec;
    let nominated = planner.nominator.node_of(pod.uid()).or(pod.nominated_node());
    let mut status = Status {
        state: standing,
        node_name: spec.node_name.clone().filter(|name| !name.is_empty()),
        nominated_node_name: nominated.map(str::to_owned),
        scheduler_name: spec.scheduler_name.clone().unwrap_or("default-scheduler".into()),
        gates: spec.scheduling_gates.iter().map(|gate| gate.name.clone()).collect(),
        message: None,
        selected: None,
        candidates: Vec::new(),
        nodes: Vec::new(),
    };
    decide(planner, &unplaced(pod), &mut status);
    status.nodes.sort_by(|a, b| a.name.cmp(&b.name));
    status.candidates.sort();
    status.selected = status.candidates.first().cloned();
    Explanation {
        api_version: "kube-mini.dev/v1",
        kind: "SchedulingExplanation",
        metadata: Metadata { name: pod.key.name.clone(), namespace: pod.key.namespace.clone() },
        status,
    }
}

/// The pod as it was before it had a node.
fn unplaced(pod: &PodInfo) -> PodInfo {
    let mut unplaced = (*pod.pod).clone();
    unplaced.spec.node_name = None;
    PodInfo::new(unplaced.into())
}

fn decide(planner: &Planner<'_>, pod: &PodInfo, status: &mut Status) {
    let nodes = &planner.snapshot.nodes;
    let mut state = CycleState::default();
    let (mut diagnosis, mut feasible) = Default::default();
    match Cycle::begin(planner.framework, pod, planner.snapshot, planner.nominator, &mut state) {
        Err(refused) => diagnosis = refused,
        Ok(cycle) => {
            for node in nodes.iter() {
                match cycle.check(&state, node) {
                    Ok(()) => Vec::<&NodeInfo>::push(&mut feasible, node),
                    Err(rejection) => {
                        diagnosis.nodes.insert(node.name.to_string(), rejection);
                    }
                }
            }
        }
    }
    status.nodes = diagnosis.nodes.iter().map(|(name, why)| refused(name, why)).collect();
    if feasible.is_empty() {
        status.message = Some(planner.message(pod, &state, &diagnosis).0);
        return;
    }
    let scores = planner.framework.score(&mut state, pod, &feasible, planner.snapshot);
    status.nodes.extend((0..feasible.len()).map(|at| scored(&scores, at)));
    let top = scores.totals.iter().copied().max();
    let best = scores.nodes.iter().zip(&scores.totals).filter(|(_, total)| Some(**total) == top);
    status.candidates = best.map(|(name, _)| name.to_string()).collect();
    // A nomination goes before all scores.
    let nominated = planner.nominator.node_of(pod.uid());
    if let Some(node) = feasible.iter().find(|node| nominated == Some(&*node.name)) {
        status.candidates = vec![node.name.to_string()];
    }
}

fn refused(name: &str, rejection: &Rejection) -> NodeVerdict {
    NodeVerdict {
        name: name.to_owned(),
        feasible: false,
        plugin: Some(rejection.plugin),
        resolvable: Some(rejection.code == Code::Unschedulable),
        reasons: rejection.reasons.clone(),
        total: None,
        scores: Vec::new(),
    }
}

fn scored(scores: &Scores, at: usize) -> NodeVerdict {
    let of_plugin = scores.by_plugin.iter().map(|p| Score {
        plugin: p.plugin,
        raw: p.raw[at],
        normalized: p.normalized[at],
        weight: p.weight,
        score: p.normalized[at] * p.weight,
    });
    NodeVerdict {
        name: scores.nodes[at].to_string(),
        feasible: true,
        plugin: None,
        resolvable: None,
        reasons: Vec::new(),
        total: Some(scores.totals[at]),
        scores: of_plugin.collect(),
    }
}

#[cfg(test)]
mod tests;
