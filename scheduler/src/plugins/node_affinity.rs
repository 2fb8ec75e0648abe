//! NodeAffinity: `nodeSelector` and `requiredDuringScheduling…` decide, `preferredDuringScheduling…` weighs.

use std::collections::BTreeSet;

use apimachinery::{
    api::core::{Node, Pod},
    node_affinity::{required_matches, term_matches},
};

use crate::{
    framework::{
        CycleState, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFilterOutcome, PreScore,
        Rejection, Score, default_normalize,
    },
    queue::events::{ClusterEvent, Event},
    snapshot::Snapshot,
};

const NAME: &str = "NodeAffinity";
const REASON: &str = "node(s) didn't match Pod's node affinity/selector";

/// The plugin.
pub struct NodeAffinity;

impl Plugin for NodeAffinity {
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
        &[ClusterEvent::NodeAdd, ClusterEvent::NodeUpdateLabel]
    }
    /// A node that matches, and did not before.
    fn hint(&self, pod: &PodInfo, event: &Event<'_>) -> bool {
        let matches = |node: &Node| {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            required_matches(&pod.pod, &node.metadata.labels, name)
        };
        match event.node() {
            Some((old, Some(new))) => matches(new) && !old.is_some_and(matches),
            _ => false,
        }
    }
}

/// The nodes named by `metadata.name` fields, where every term names some: only those can match.
fn named_nodes(pod: &Pod) -> Option<BTreeSet<String>> {
    let required = pod
        .spec
        .affinity
        .as_ref()?
        .node_affinity
        .as_ref()?
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let mut all = BTreeSet::new();
    for term in &required.node_selector_terms {
        let mut named: Option<BTreeSet<String>> = None;
        for field in &term.match_fields {
            if field.key == "metadata.name" && field.operator == "In" {
                let values: BTreeSet<String> = field.values.iter().cloned().collect();
                named = Some(match named {
                    None => values,
                    Some(former) => &former & &values,
                });
            }
        }
        all.extend(named?);
    }
    (!required.node_selector_terms.is_empty()).then_some(all)
}

fn preferred(pod: &Pod) -> impl Iterator<Item = &apimachinery::api::core::PreferredSchedulingTerm> {
    pod.spec
        .affinity
        .iter()
        .filter_map(|a| a.node_affinity.as_ref())
        .flat_map(|a| &a.preferred_during_scheduling_ignored_during_execution)
}

impl PreFilter for NodeAffinity {
    fn run(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
    ) -> Result<PreFilterOutcome, Rejection> {
        let affinity = pod.pod.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let required =
            affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        if required.is_none() && pod.pod.spec.node_selector.is_empty() {
            return Ok(PreFilterOutcome::Skip);
        }
        match named_nodes(&pod.pod) {
            Some(names) if names.is_empty() => {
                Err(Rejection::unresolvable(NAME, "pod affinity terms conflict"))
            }
            Some(names) => Ok(PreFilterOutcome::Nodes(names)),
            None => Ok(PreFilterOutcome::Continue),
        }
    }
}

impl Filter for NodeAffinity {
    fn run(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        if required_matches(&pod.pod, node.labels(), &node.name) {
            Ok(())
        } else {
            Err(Rejection::unresolvable(NAME, REASON))
        }
    }
}

impl PreScore for NodeAffinity {
    fn run(&self, _: &mut CycleState, pod: &PodInfo, _: &[&NodeInfo], _: &Snapshot) -> bool {
        preferred(&pod.pod).next().is_some()
    }
}

impl Score for NodeAffinity {
    fn run(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        preferred(&pod.pod)
            .filter(|p| term_matches(&p.preference, node.labels(), &node.name))
            .map(|p| i64::from(p.weight))
            .sum()
    }

    fn normalize(&self, _: &CycleState, _: &PodInfo, _: &[&NodeInfo], scores: &mut [i64]) {
        default_normalize(scores, false);
    }
}
