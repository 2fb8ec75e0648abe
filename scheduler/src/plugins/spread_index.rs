//! How many pods of a namespace match a selector, per node, kept up to date from change to change.
//!
//! PodTopologySpread asks this for every pod that it places. Counting anew would read every pod of the cluster each
//! time; the index counts once per selector and then follows each pod that comes or goes.

use std::collections::HashMap;

use apimachinery::labels::Selector;

use crate::framework::{NodeInfo, PodInfo};
use std::sync::Arc;

/// How many selectors are followed; the oldest unused one goes first.
const CAPACITY: usize = 512;

#[derive(Debug)]
struct Entry {
    selector: Selector,
    /// Shared with the cycle that asked, which has ended when the next pod changes it.
    counts: Arc<HashMap<String, i64>>,
    used: u64,
}

/// The counts by namespace and selector text.
#[derive(Debug, Default)]
pub struct SpreadIndex {
    entries: HashMap<String, HashMap<String, Entry>>,
    len: usize,
    tick: u64,
}

impl SpreadIndex {
    /// The counts for `selector` in `namespace`; at the first question the nodes' pods are counted.
    pub fn counts(
        &mut self,
        namespace: &str,
        selector: &Selector,
        nodes: &[Arc<NodeInfo>],
    ) -> Arc<HashMap<String, i64>> {
        self.tick += 1;
        let tick = self.tick;
        // As text nothing looks like everything.
        let text = match selector.requirements() {
            None => return Arc::default(),
            Some(_) => selector.to_string(),
        };
        let known = self.entries.get(namespace).is_some_and(|e| e.contains_key(&text));
        if !known {
            self.make_room();
            let mut counts = HashMap::new();
            for node in nodes {
                let count = node.pods.iter().filter(|p| counted(p, namespace, selector)).count();
                if count > 0 {
                    counts.insert(node.name.to_string(), i64::try_from(count).unwrap_or(i64::MAX));
                }
            }
            let entry = Entry { selector: selector.clone(), counts: Arc::new(counts), used: tick };
            self.entries.entry(namespace.to_owned()).or_default().insert(text.clone(), entry);
            self.len += 1;
        }
        let entry = self
            .entries
            .get_mut(namespace)
            .and_then(|e| e.get_mut(&text))
            .expect("found, or inserted above");
        entry.used = tick;
        entry.counts.clone()
    }

    /// Follows a pod that came to (`by` 1) or left (`by` -1) a node.
    pub fn change(&mut self, pod: &PodInfo, node: &str, by: i64) {
        let Some(entries) = self.entries.get_mut(&pod.key.namespace) else { return };
        for entry in entries.values_mut() {
            if counted(pod, &pod.key.namespace, &entry.selector) {
                let counts = Arc::make_mut(&mut entry.counts);
                let count = counts.entry(node.to_owned()).or_default();
                *count += by;
                if *count <= 0 {
                    counts.remove(node);
                }
            }
        }
    }

    fn make_room(&mut self) {
        if self.len < CAPACITY {
            return;
        }
        let oldest = self
            .entries
            .iter()
            .flat_map(|(ns, entries)| entries.iter().map(move |(text, e)| (e.used, ns, text)))
            .min()
            .map(|(_, ns, text)| (ns.clone(), text.clone()));
        if let Some((namespace, text)) = oldest
            && let Some(entries) = self.entries.get_mut(&namespace)
        {
            entries.remove(&text);
            self.len -= 1;
            if entries.is_empty() {
                self.entries.remove(&namespace);
            }
        }
    }
}

/// Terminating pods do not count: `countPodsMatchSelector`.
fn counted(pod: &PodInfo, namespace: &str, selector: &Selector) -> bool {
    pod.key.namespace == namespace && !pod.terminating() && selector.matches(pod.labels())
}
