//! The quality of service that a pod's requests and limits give it (`ComputePodQOS`).

use std::collections::BTreeMap;

use apimachinery::{object::Object, quantity::Quantity};
use serde_json::Value;

use crate::registry::validation::resources;

const COUNTED: [&str; 2] = ["cpu", "memory"];

#[derive(Default)]
struct Sums {
    requests: BTreeMap<&'static str, Quantity>,
    limits: BTreeMap<&'static str, Quantity>,
    /// Some container has no limit for one of the two.
    unlimited: bool,
}

impl Sums {
    fn add(&mut self, given: Option<&Value>) {
        let list = |name: &str| given.and_then(|resources| resources.get(name));
        let mut limited = 0;
        for name in COUNTED {
            let positive = |list: Option<&Value>| {
                resources::parse(list.and_then(|l| l.get(name))).filter(|q| q.sign() > 0)
            };
            if let Some(request) = positive(list("requests")) {
                *self.requests.entry(name).or_default() += request;
            }
            if let Some(limit) = positive(list("limits")) {
                *self.limits.entry(name).or_default() += limit;
                limited += 1;
            }
        }
        self.unlimited |= limited < COUNTED.len();
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(super) fn class(pod: &Object) -> &'static str {
    let mut sums = Sums::default();
    match pod.get(&["spec", "resources"]).filter(|r| r.is_object()) {
        Some(whole) => sums.add(Some(whole)),
        None => ["containers", "initContainers"]
            .iter()
            .flat_map(|list| pod.get_list(&["spec", list]))
            .for_each(|container| sums.add(container.get("resources"))),
    }
    if sums.requests.is_empty() && sums.limits.is_empty() {
        "BestEffort"
    } else if !sums.unlimited && sums.requests == sums.limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}
