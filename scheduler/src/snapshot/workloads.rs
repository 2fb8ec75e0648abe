//! Which pods belong together: the selectors of Services and of the pods' owners, for the default spreading.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use apimachinery::{
    api::meta::{LabelSelector, LabelSelectorRequirement},
    labels::Selector,
};

use crate::framework::PodInfo;

/// Labels by key.
type Labels = BTreeMap<String, String>;

/// The selectors by namespace and name.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    services: HashMap<String, BTreeMap<String, Labels>>,
    replica_sets: HashMap<String, HashMap<String, Arc<LabelSelector>>>,
}

impl Workloads {
    /// Takes in a Service's selector; None: it is gone, or has none.
    pub fn set_service(&mut self, namespace: &str, name: &str, selector: Option<Labels>) {
        let services = self.services.entry(namespace.to_owned()).or_default();
        match selector {
            Some(selector) => services.insert(name.to_owned(), selector),
            None => services.remove(name),
        };
    }

    /// Takes in a ReplicaSet's selector; None: it is gone.
    pub fn set_replica_set(
        &mut self,
        namespace: &str,
        name: &str,
        selector: Option<LabelSelector>,
    ) {
        let sets = self.replica_sets.entry(namespace.to_owned()).or_default();
        match selector {
            Some(selector) => sets.insert(name.to_owned(), Arc::new(selector)),
            None => sets.remove(name),
        };
    }

    /// The pods that the system's default constraints spread `pod` among: those that its Services and its owner select
    /// together (`helper.DefaultSelector`). None: it belongs to nothing.
    #[must_use]
    pub fn selector(&self, pod: &PodInfo) -> Option<Selector> {
        let mut joined = LabelSelector::default();
        let services = self.services.get(&pod.key.namespace).into_iter().flat_map(BTreeMap::values);
        for selector in services {
            if selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value)) {
                joined.match_labels.extend(selector.clone());
            }
        }
        if let Some(owner) = self.owner(pod) {
            let own_labels = owner.match_labels.iter().map(|(key, value)| {
                let values = vec![value.clone()];
                LabelSelectorRequirement { key: key.clone(), operator: "In".to_owned(), values }
            });
            joined.match_expressions.extend(own_labels);
            joined.match_expressions.extend(owner.match_expressions.clone());
        }
        if joined.match_labels.is_empty() && joined.match_expressions.is_empty() {
            return None;
        }
        Selector::from_label_selector(Some(&joined)).ok()
    }

    fn owner(&self, pod: &PodInfo) -> Option<&Arc<LabelSelector>> {
        let owner =
            pod.pod.metadata.owner_references.iter().find(|o| o.controller == Some(true))?;
        let is_replica_set = owner.kind == "ReplicaSet" && owner.api_version == "apps/v1";
        let sets = self.replica_sets.get(&pod.key.namespace).filter(|_| is_replica_set)?;
        sets.get(&owner.name)
    }
}
