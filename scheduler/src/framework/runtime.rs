//! Runs the plugins of the profile through one scheduling cycle.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Code, CycleState, Filter, NodeInfo, PodInfo, PreFilterOutcome, Rejection};
use crate::{
    nominator::Nominator,
    plugins::{self, Registration},
    queue::events::Event,
    snapshot::Snapshot,
};

/// A profile: plugins in their order, with their weights.
pub struct Framework {
    plugins: Vec<Registration>,
}

/// Why a pod found no node: `framework.Diagnosis`.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// The refusal of each node that was looked at.
    pub nodes: BTreeMap<String, Rejection>,
    /// What PreFilter said, when it refused the pod on all nodes.
    pub pre_filter_message: String,
}

impl Diagnosis {
    /// The plugins that had a part in the refusal.
    #[must_use]
    pub fn plugins(&self) -> BTreeSet<&'static str> {
        self.nodes.values().map(|r| r.plugin).collect()
    }
}

/// What each plugin gave the feasible nodes. By plugin and not by node: a cycle scores hundreds of nodes, and would spend
/// its time on as many small vectors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scores {
    /// The nodes.
    pub nodes: Vec<Arc<str>>,
    /// The scores that each plugin gave them.
    pub by_plugin: Vec<PluginScores>,
    /// The sums of the normalized scores times their plugins' weights.
    pub totals: Vec<i64>,
}

/// One plugin's scores, in the order of the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginScores {
    /// The plugin.
    pub plugin: &'static str,
    /// What its normalized scores are multiplied by.
    pub weight: i64,
    /// As it gave them.
    pub raw: Vec<i64>,
    /// Brought to 0..=[`MAX_NODE_SCORE`](super::MAX_NODE_SCORE).
    pub normalized: Vec<i64>,
}

/// The Filters that have something to say in a cycle, in their order.
pub struct Filters<'a> {
    points: Vec<&'a dyn Filter>,
}

impl Filters<'_> {
    /// Runs them for one node.
    ///
    /// # Errors
    /// The first plugin's refusal.
    pub fn run(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        self.points.iter().try_for_each(|point| point.run(state, pod, node))
    }
}

impl Default for Framework {
    fn default() -> Self {
        Self { plugins: plugins::registry() }
    }
}

impl Framework {
    /// Runs PreFilter; gives the nodes that alone come into question, if plugins named some.
    ///
    /// # Errors
    /// A plugin refused the pod on all nodes.
    pub fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<Option<BTreeSet<String>>, Rejection> {
        let mut chosen: Option<BTreeSet<String>> = None;
        for registration in &self.plugins {
            let plugin = &registration.plugin;
            let Some(point) = plugin.pre_filter() else { continue };
            match point.run(state, pod, snapshot)? {
                PreFilterOutcome::Continue => {}
                PreFilterOutcome::Skip => {
                    state.skip_filter.insert(plugin.name());
                }
                PreFilterOutcome::Nodes(names) => {
                    chosen = Some(match chosen {
                        None => names,
                        Some(former) => &former & &names,
                    });
                }
            }
        }
        Ok(chosen)
    }

    /// The Filters of a cycle, after PreFilter. They are found once, and run for each node.
    #[must_use]
    pub fn filters(&self, state: &CycleState) -> Filters<'_> {
        let points = self
            .plugins
            .iter()
            .filter(|r| !state.skip_filter.contains(r.plugin.name()))
            .filter_map(|r| r.plugin.filter())
            .collect();
        Filters { points }
    }

    /// Runs the Filters for one node with the pods nominated for it, as far as `pod` has to leave their room alone; and
    /// once more without them, for they may never come and `pod` may want to be near them:
    /// `RunFilterPluginsWithNominatedPods`.
    ///
    /// # Errors
    /// The first plugin's refusal.
    pub fn filter(
        &self,
        filters: &Filters<'_>,
        state: &CycleState,
        pod: &PodInfo,
        node: &NodeInfo,
        nominator: &Nominator,
    ) -> Result<(), Rejection> {
        let mut coming = nominator.before(pod, &node.name).peekable();
        if coming.peek().is_some() {
            let (mut state, mut node) = (state.clone(), node.clone());
            for other in coming {
                node.add_pod(other.clone());
                self.simulate(&mut state, pod, other, &node, true);
            }
            filters.run(&state, pod, &node)?;
        }
        filters.run(state, pod, node)
    }

    /// Brings the plugins' notes up to date in a simulation.
    pub fn simulate(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        changed: &PodInfo,
        node: &NodeInfo,
        added: bool,
    ) {
        for point in self.plugins.iter().filter_map(|r| r.plugin.pre_filter()) {
            point.simulate(state, pod, changed, node, added);
        }
    }

    /// Runs PreScore and Score over the feasible nodes.
    #[must_use]
    pub fn score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &[&NodeInfo],
        snapshot: &Snapshot,
    ) -> Scores {
        let mut result = Scores {
            nodes: nodes.iter().map(|n| n.name.clone()).collect(),
            by_plugin: Vec::with_capacity(self.plugins.len()),
            totals: vec![0; nodes.len()],
        };
        for registration in &self.plugins {
            let plugin = &registration.plugin;
            let Some(point) = plugin.score() else { continue };
            if plugin.pre_score().is_some_and(|p| !p.run(state, pod, nodes, snapshot)) {
                continue;
            }
            let raw: Vec<i64> = nodes.iter().map(|n| point.run(state, pod, n)).collect();
            let mut normalized = raw.clone();
            point.normalize(state, pod, nodes, &mut normalized);
            let weight = registration.weight;
            for (total, score) in result.totals.iter_mut().zip(&normalized) {
                *total += score * weight;
            }
            result.by_plugin.push(PluginScores { plugin: plugin.name(), weight, raw, normalized });
        }
        result
    }

    /// Whether `event` may help a pod that `refusers` refused.
    #[must_use]
    pub fn may_help(
        &self,
        refusers: &BTreeSet<&'static str>,
        pod: &PodInfo,
        event: &Event<'_>,
    ) -> bool {
        refusers.is_empty()
            || self.plugins.iter().map(|r| &r.plugin).any(|plugin| {
                refusers.contains(plugin.name())
                    && plugin.events_to_register().contains(&event.kind)
                    && plugin.hint(pod, event)
            })
    }
}

/// The message that the user reads: `FitError.Error`, less what PostFilter adds.
#[must_use]
pub fn fit_error(diagnosis: &Diagnosis, all_nodes: usize) -> String {
    let mut message = format!("0/{all_nodes} nodes are available:");
    if diagnosis.pre_filter_message.is_empty() {
        let histogram = histogram(diagnosis.nodes.values().flat_map(|r| &r.reasons));
        if !histogram.is_empty() {
            message.push(' ');
            message.push_str(&histogram);
            message.push('.');
        }
    } else {
        message.push(' ');
        message.push_str(&diagnosis.pre_filter_message);
        message.push('.');
    }
    message
}

/// `1 Insufficient cpu, 2 node(s) were unschedulable`, sorted as text.
pub fn histogram<'a>(reasons: impl Iterator<Item = &'a String>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut parts: Vec<String> = counts.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
    parts.sort();
    parts.join(", ")
}

/// Whether removing pods from the node could help.
#[must_use]
pub fn resolvable(rejection: &Rejection) -> bool {
    rejection.code == Code::Unschedulable
}
