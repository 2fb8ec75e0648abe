//! The terms of (anti-)affinity between pods, parsed once for each pod.

use std::collections::BTreeSet;

use apimachinery::{
    api::{
        core::{Pod, PodAffinityTerm, WeightedPodAffinityTerm},
        meta::LabelSelectorRequirement,
    },
    labels::Selector,
};

use crate::{framework::PodInfo, snapshot::Snapshot};

/// One term, parsed.
#[derive(Clone, Debug)]
pub struct Term {
    selector: Selector,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<Selector>,
    /// The label that makes nodes one domain.
    pub topology_key: String,
    /// Of a preferred term.
    pub weight: i64,
}

impl Term {
    fn of(term: &PodAffinityTerm, pod: &Pod, weight: i32) -> Option<Self> {
        let mut labels = term.label_selector.clone().unwrap_or_default();
        labels.match_expressions.extend(of_keys(&term.match_label_keys, "In", pod));
        labels.match_expressions.extend(of_keys(&term.mismatch_label_keys, "NotIn", pod));
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(pod.metadata.namespace.clone().unwrap_or_default());
        }
        Some(Self {
            selector: match &term.label_selector {
                None => Selector::nothing(),
                Some(_) => Selector::from_label_selector(Some(&labels)).ok()?,
            },
            namespaces,
            namespace_selector: match &term.namespace_selector {
                None => None,
                Some(selector) => Some(Selector::from_label_selector(Some(selector)).ok()?),
            },
            topology_key: term.topology_key.clone(),
            weight: i64::from(weight),
        })
    }

    /// Whether the pod matches as far as one can tell without the namespaces' labels.
    pub(super) fn may_match(&self, pod: &PodInfo) -> bool {
        (self.namespace_selector.is_some() || self.namespaces.contains(&pod.key.namespace))
            && self.selector.matches(pod.labels())
    }

    /// Whether the pod is meant.
    pub(super) fn matches(&self, pod: &PodInfo, snapshot: &Snapshot) -> bool {
        let in_namespace = self.namespaces.contains(&pod.key.namespace)
            || self.namespace_selector.as_ref().is_some_and(|selector| {
                snapshot
                    .namespaces
                    .get(&pod.key.namespace)
                    .is_some_and(|labels| selector.matches(labels))
            });
        in_namespace && self.selector.matches(pod.labels())
    }
}

/// Requirements on those labels of `keys` that the pod has: what `matchLabelKeys` and `mismatchLabelKeys` stand for.
pub(crate) fn of_keys(
    keys: &[String],
    operator: &'static str,
    pod: &Pod,
) -> impl Iterator<Item = LabelSelectorRequirement> {
    keys.iter().filter_map(move |key| {
        let values = vec![pod.metadata.labels.get(key)?.clone()];
        Some(LabelSelectorRequirement { key: key.clone(), operator: operator.into(), values })
    })
}

/// All terms of a pod.
#[derive(Clone, Debug, Default)]
pub struct AffinityTerms {
    /// Must be near such pods.
    pub required: Vec<Term>,
    /// Must be away from such pods.
    pub required_anti: Vec<Term>,
    pub(super) preferred: Vec<Term>,
    pub(super) preferred_anti: Vec<Term>,
}

impl AffinityTerms {
    /// Reads a pod's terms.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let Some(affinity) = &pod.spec.affinity else { return Self::default() };
        let hard =
            |terms: &[PodAffinityTerm]| terms.iter().filter_map(|t| Term::of(t, pod, 0)).collect();
        let soft = |terms: &[WeightedPodAffinityTerm]| {
            terms.iter().filter_map(|t| Term::of(&t.pod_affinity_term, pod, t.weight)).collect()
        };
        let mut terms = Self::default();
        if let Some(near) = &affinity.pod_affinity {
            terms.required = hard(&near.required_during_scheduling_ignored_during_execution);
            terms.preferred = soft(&near.preferred_during_scheduling_ignored_during_execution);
        }
        if let Some(away) = &affinity.pod_anti_affinity {
            terms.required_anti = hard(&away.required_during_scheduling_ignored_during_execution);
            terms.preferred_anti = soft(&away.preferred_during_scheduling_ignored_during_execution);
        }
        terms
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.required.is_empty()
            && self.required_anti.is_empty()
            && self.preferred.is_empty()
            && self.preferred_anti.is_empty()
    }
}
