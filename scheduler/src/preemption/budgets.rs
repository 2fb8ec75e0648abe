//! PodDisruptionBudgets as preemption sees them: a violation costs, but does not forbid.

use std::{collections::BTreeMap, sync::Arc};

use apimachinery::{api::policy::PodDisruptionBudget, labels::Selector, object::ObjectKey};

use crate::framework::PodInfo;

#[derive(Clone, Debug)]
struct Budget {
    selector: Selector,
    /// Disruptions that it allows now.
    allowed: i32,
    /// Pods whose disruption it has counted already.
    disrupted: Vec<String>,
}

/// The budgets of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    budgets: BTreeMap<ObjectKey, Budget>,
}

impl Budgets {
    /// Takes in a budget. One whose selector selects nothing, or cannot be read, protects no pod.
    pub fn set(&mut self, budget: &PodDisruptionBudget) {
        let key = key(budget);
        let selector = budget.spec.selector.as_ref();
        let selector = selector.and_then(|s| Selector::from_label_selector(Some(s)).ok());
        match selector.filter(|selector| !selector.is_everything()) {
            Some(selector) => {
                let allowed = budget.status.disruptions_allowed.unwrap_or(0);
                let disrupted = budget.status.disrupted_pods.keys().cloned().collect();
                self.budgets.insert(key, Budget { selector, allowed, disrupted });
            }
            None => self.remove(budget),
        }
    }

    /// Forgets a budget.
    pub fn remove(&mut self, budget: &PodDisruptionBudget) {
        self.budgets.remove(&key(budget));
    }

    /// Parts pods into those whose removal, in this order, violates a budget, and the others:
    /// `filterPodsWithPDBViolation`.
    #[must_use]
    pub fn split(&self, pods: Vec<Arc<PodInfo>>) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
        let mut left: BTreeMap<&ObjectKey, i32> = BTreeMap::new();
        pods.into_iter().partition(|pod| {
            let mut violated = false;
            for (key, budget) in &self.budgets {
                if key.namespace == pod.key.namespace
                    && !pod.labels().is_empty()
                    && budget.selector.matches(pod.labels())
                    && !budget.disrupted.contains(&pod.key.name)
                {
                    let left = left.entry(key).or_insert(budget.allowed);
                    *left -= 1;
                    violated |= *left < 0;
                }
            }
            violated
        })
    }
}

fn key(budget: &PodDisruptionBudget) -> ObjectKey {
    ObjectKey {
        namespace: budget.metadata.namespace.clone().unwrap_or_default(),
        name: budget.metadata.name.clone().unwrap_or_default(),
    }
}
