//! How much a Pod takes of a node: `k8s.io/component-helpers/resource`.

use std::collections::BTreeMap;

use crate::{
    api::core::{Container, PodSpec, ResourceRequirements},
    quantity::Quantity,
};

/// Amounts by name: `cpu`, `memory`, …
pub type Quantities = BTreeMap<String, Quantity>;

/// What the Pod asks for.
#[must_use]
pub fn requests(spec: &PodSpec) -> Quantities {
    total(spec, |resources| &resources.requests)
}

/// What the Pod may take.
#[must_use]
pub fn limits(spec: &PodSpec) -> Quantities {
    total(spec, |resources| &resources.limits)
}

/// Adds `more` to `sum`.
pub fn add(sum: &mut Quantities, more: &Quantities) {
    for (name, quantity) in more {
        sum.entry(name.clone()).and_modify(|sum| *sum += *quantity).or_insert(*quantity);
    }
}

fn at_least(sum: &mut Quantities, least: &Quantities) {
    for (name, quantity) in least {
        let sum = sum.entry(name.clone()).or_insert(*quantity);
        *sum = (*sum).max(*quantity);
    }
}

/// Containers run together, as sidecars do from their start on; init containers run one after the other.
fn total(spec: &PodSpec, of: fn(&ResourceRequirements) -> &Quantities) -> Quantities {
    let of_container =
        |container: &Container| container.resources.as_ref().map(of).cloned().unwrap_or_default();
    let mut sum = Quantities::new();
    for container in &spec.containers {
        add(&mut sum, &of_container(container));
    }
    let mut sidecars = Quantities::new();
    let mut starting = Quantities::new();
    for container in &spec.init_containers {
        let mut now = of_container(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sum, &now);
            add(&mut sidecars, &now);
            now.clone_from(&sidecars);
        } else {
            add(&mut now, &sidecars);
        }
        at_least(&mut starting, &now);
    }
    at_least(&mut sum, &starting);
    if let Some(resources) = &spec.resources {
        for (name, quantity) in of(resources) {
            sum.insert(name.clone(), *quantity);
        }
    }
    add(&mut sum, &spec.overhead);
    sum
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_takes_what_it_takes_at_its_greediest() {
        let container = |cpu: &str, policy: Option<&str>| json!({ "name": cpu, "restartPolicy": policy, "resources": { "requests": { "cpu": cpu } } });
        let check = |spec: serde_json::Value, expected: &str| {
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(requests(&spec)["cpu"].to_string(), expected);
        };
        let two = [container("1", None), container("500m", None)];
        check(json!({ "containers": two }), "1500m");
        check(json!({ "containers": two, "initContainers": [container("4", None)] }), "4");
        check(
            json!({ "containers": two, "initContainers": [container("1", Some("Always")), container("1", None)] }),
            "2500m",
        );
        check(json!({ "containers": two, "overhead": { "cpu": "1" } }), "2500m");
    }
}
