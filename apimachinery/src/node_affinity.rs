//! Which nodes a pod's `nodeSelector` and required node affinity admit, as `k8s.io/component-helpers` reads them.

use std::collections::BTreeMap;

use crate::api::core::{NodeSelectorRequirement, NodeSelectorTerm, Pod};

/// Whether one requirement holds for a set of values by key: `nodeaffinity.nodeSelectorRequirementsAsSelector`.
fn requirement_holds(
    requirement: &NodeSelectorRequirement,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> bool {
    let value = lookup(&requirement.key);
    let number = |text: &str| text.parse::<i64>().ok();
    let compare = |holds: fn(i64, i64) -> bool| {
        let (Some(value), [bound]) = (&value, &requirement.values[..]) else { return false };
        number(value).zip(number(bound)).is_some_and(|(v, b)| holds(v, b))
    };
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|v| requirement.values.contains(&v)),
        "NotIn" => value.is_none_or(|v| !requirement.values.contains(&v)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(|v, b| v > b),
        "Lt" => compare(|v, b| v < b),
        _ => false,
    }
}

/// Whether a term selects the node; a term without any requirement selects none.
#[must_use]
pub fn term_matches(
    term: &NodeSelectorTerm,
    labels: &BTreeMap<String, String>,
    node_name: &str,
) -> bool {
    if term.match_expressions.is_empty() && term.match_fields.is_empty() {
        return false;
    }
    let by_label = |key: &str| labels.get(key).cloned();
    let by_field = |key: &str| (key == "metadata.name").then(|| node_name.to_owned());
    term.match_expressions.iter().all(|r| requirement_holds(r, &by_label))
        && term.match_fields.iter().all(|r| requirement_holds(r, &by_field))
}

/// Whether the pod's nodeSelector and required node affinity admit the node.
#[must_use]
pub fn required_matches(pod: &Pod, labels: &BTreeMap<String, String>, node_name: &str) -> bool {
    let selected = pod.spec.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    let required = pod
        .spec
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    selected
        && required.is_none_or(|r| {
            r.node_selector_terms.iter().any(|term| term_matches(term, labels, node_name))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn selector_and_terms_admit_a_node() {
        let labels = [("disk", "ssd"), ("cores", "8")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let labels = labels.into();
        let check = |spec: Value, expected: bool| {
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            assert_eq!(required_matches(&pod, &labels, "node-1"), expected, "{spec}");
        };
        let terms = |terms: Value| {
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": terms}}}})
        };
        let label = |key: &str, operator: &str, values: &[&str]| {
            terms(
                json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]),
            )
        };
        check(json!({}), true);
        check(json!({"nodeSelector": {"disk": "ssd"}}), true);
        check(json!({"nodeSelector": {"disk": "hdd"}}), false);
        check(label("disk", "In", &["hdd", "ssd"]), true);
        check(label("disk", "NotIn", &["ssd"]), false);
        check(label("zone", "NotIn", &["a"]), true);
        check(label("zone", "Exists", &[]), false);
        check(label("zone", "DoesNotExist", &[]), true);
        check(label("cores", "Gt", &["7"]), true);
        check(label("cores", "Lt", &["8"]), false);
        check(label("disk", "Gt", &["1"]), false);
        check(terms(json!([{}])), false);
        let field = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]});
        check(terms(json!([{}, field])), true);
    }

    #[test]
    fn requirements_hold_as_node_selectors_define_them() {
        let check = |operator: &str, values: &[&str], actual: Option<&str>, expected| {
            let requirement = NodeSelectorRequirement {
                key: "k".into(),
                operator: operator.into(),
                values: values.iter().map(|v| (*v).to_owned()).collect(),
            };
            let lookup = |_: &str| actual.map(str::to_owned);
            assert_eq!(requirement_holds(&requirement, &lookup), expected, "{requirement:?}");
        };
        check("In", &["a", "b"], Some("a"), true);
        check("In", &["a", "b"], Some("c"), false);
        check("In", &["a"], None, false);
        check("NotIn", &["a"], Some("b"), true);
        check("NotIn", &["a"], Some("a"), false);
        check("NotIn", &["a"], None, true);
        check("Exists", &[], Some(""), true);
        check("Exists", &[], None, false);
        check("DoesNotExist", &[], None, true);
        check("DoesNotExist", &[], Some("x"), false);
        check("Gt", &["3"], Some("4"), true);
        check("Gt", &["3"], Some("3"), false);
        check("Lt", &["3"], Some("2"), true);
        check("Lt", &["3"], Some("two"), false);
        check("Lt", &["3"], None, false);
    }
}
