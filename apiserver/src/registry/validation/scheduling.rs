//! What tells a pod where to run: affinity, tolerations, spreading.

use apimachinery::{field::FieldError, validation::is_valid_label_value};
use serde_json::Value;

use super::{
    at::{At, Errors},
    labels,
};
use crate::registry::meta::{dns_label, dns_subdomain};

/// The effects of a taint.
pub(crate) const TAINT_EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const IN_BOTH: &str = "exists in both matchLabelKeys and labelSelector";

/// `affinity`.
pub(crate) fn affinity(affinity: &At<'_>, errors: &mut Errors) {
    let node = affinity.get("nodeAffinity");
    let required = node.get(REQUIRED);
    if required.is_set() {
        node_selector(&required, errors);
    }
    for term in node.get(PREFERRED).items() {
        weight(&term, errors);
        node_selector_term(&term.get("preference"), false, errors);
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.get(name);
        for term in pods.get(REQUIRED).items() {
            pod_affinity_term(&term, errors);
        }
        for term in pods.get(PREFERRED).items() {
            weight(&term, errors);
            pod_affinity_term(&term.get("podAffinityTerm"), errors);
        }
    }
}

fn weight(term: &At<'_>, errors: &mut Errors) {
    let weight = term.get("weight");
    if !(1..=100).contains(&weight.int()) {
        errors.invalid_as(&weight, weight.int(), "must be in the range 1-100");
    }
}

fn node_selector(selector: &At<'_>, errors: &mut Errors) {
    let terms = selector.get("nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&terms, "must have at least one node selector term");
    }
    terms.items().for_each(|term| node_selector_term(&term, true, errors));
}

fn node_selector_term(term: &At<'_>, check_values: bool, errors: &mut Errors) {
    for requirement in term.get("matchExpressions").items() {
        let (operator, values) = (requirement.get("operator"), requirement.get("values"));
        match operator.text() {
            "In" | "NotIn" => {
                if values.is_empty() {
                    errors
                        .required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
                }
            }
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    errors.forbidden(
                        &values,
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                    );
                }
            }
            "Gt" | "Lt" => {
                if values.len() != 1 {
                    errors.required(
                        &values,
                        "must be specified single value when `operator` is 'Lt' or 'Gt'",
                    );
                }
            }
            _ => errors.invalid(&operator, "not a valid selector operator"),
        }
        labels::name(&requirement.get("key"), errors);
        if check_values {
            for value in values.items() {
                errors.each(&value, is_valid_label_value(value.text()));
            }
        }
    }
    for requirement in term.get("matchFields").items() {
        node_field(&requirement, errors);
    }
}

fn node_field(requirement: &At<'_>, errors: &mut Errors) {
    let (operator, values) = (requirement.get("operator"), requirement.get("values"));
    match operator.text() {
        "In" | "NotIn" => {
            if values.len() != 1 {
                errors.required(
                    &values,
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                );
            }
        }
        _ => errors.invalid(&operator, "not a valid selector operator"),
    }
    let key = requirement.get("key");
    if key.text() != "metadata.name" {
        errors.invalid(&key, "not a valid field selector key");
        return;
    }
    for value in values.items() {
        errors.each(&value, dns_subdomain(value.text(), false));
    }
}

fn pod_affinity_term(term: &At<'_>, errors: &mut Errors) {
    let selector = term.get("labelSelector");
    labels::selector(&selector, errors);
    labels::selector(&term.get("namespaceSelector"), errors);
    for namespace in term.get("namespaces").items() {
        let field = term.get("namespace");
        errors.each_as(&field, namespace.text(), dns_label(namespace.text(), false));
    }
    let (keys, not_keys) = (term.get("matchLabelKeys"), term.get("mismatchLabelKeys"));
    for list in [&keys, &not_keys] {
        if list.is_empty() {
            continue;
        }
        if selector.is_set() {
            list.items().for_each(|key| labels::name(&key, errors));
        } else {
            errors.forbidden(list, "must not be specified when labelSelector is not set");
        }
    }
    for key in keys.items() {
        if not_keys.list().iter().any(|other| other.as_str() == Some(key.text())) {
            errors.invalid(&key, "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
    let topology = term.get("topologyKey");
    if topology.is_empty() {
        errors.required(&topology, "can not be empty");
    }
    labels::name(&topology, errors);
}

/// `tolerations`.
pub(crate) fn tolerations(tolerations: &At<'_>, errors: &mut Errors) {
    for toleration in tolerations.items() {
        let names = ["key", "operator", "value", "effect", "tolerationSeconds"];
        let [key, operator, value, effect, seconds] = names.map(|name| toleration.get(name));
        if !key.is_empty() {
            labels::name(&key, errors);
        } else if operator.text() != "Exists" {
            errors.invalid(
                &operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        if seconds.is_set() && effect.text() != "NoExecute" {
            errors.invalid(&effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        match operator.text() {
            "Equal" | "" => {
                let messages = is_valid_label_value(value.text());
                if !messages.is_empty() {
                    errors.invalid_as(&operator, value.text(), messages.join(";"));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    let detail = "value must be empty when `operator` is 'Exists'";
                    errors.invalid_as(&operator, value.text(), detail);
                }
            }
            _ => errors.not_supported(&operator, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            errors.one_of(&effect, &TAINT_EFFECTS);
        }
    }
}

/// `topologySpreadConstraints`.
pub(crate) fn topology_spread(constraints: &At<'_>, errors: &mut Errors) {
    for (index, constraint) in constraints.items().enumerate() {
        let skew = constraint.get("maxSkew");
        if skew.int() <= 0 {
            errors.invalid_as(&skew, skew.int(), "must be greater than zero");
        }
        let topology = constraint.get("topologyKey");
        if topology.is_empty() {
            errors.required(&topology, "can not be empty");
        }
        let action = constraint.get("whenUnsatisfiable");
        if !matches!(action.text(), "DoNotSchedule" | "ScheduleAnyway") {
            errors.not_supported(&action, &["DoNotSchedule", "ScheduleAnyway"]);
        }
        let pair = |value: &Value| {
            let text =
                |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            (text("topologyKey"), text("whenUnsatisfiable"))
        };
        let own = constraint.raw().map(pair);
        if constraints.list()[index + 1..].iter().any(|other| Some(pair(other)) == own) {
            errors.duplicate_as(
                &constraint.get("{topologyKey, whenUnsatisfiable}"),
                format!("{{{}, {}}}", topology.text(), action.text()),
            );
        }
        min_domains(&constraint, action.text(), errors);
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            errors.one_of_if_set(&constraint.get(name), &["Honor", "Ignore"]);
        }
        let (keys, selector) = (constraint.get("matchLabelKeys"), constraint.get("labelSelector"));
        if !keys.is_empty() {
            match_label_keys(&keys, &selector, errors);
        }
        labels::selector(&selector, errors);
    }
}

fn min_domains(constraint: &At<'_>, action: &str, errors: &mut Errors) {
    let domains = constraint.get("minDomains");
    if !domains.is_set() {
        return;
    }
    if domains.int() <= 0 {
        errors.invalid(&domains, "must be greater than zero");
    }
    if action != "DoNotSchedule" {
        errors.invalid(
            &domains,
            format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"),
        );
    }
}

fn match_label_keys(keys: &At<'_>, selector: &At<'_>, errors: &mut Errors) {
    if !selector.is_set() {
        errors.forbidden(keys, "must not be specified when labelSelector is not set");
    }
    let expressions = selector.get("matchExpressions");
    for key in keys.items() {
        labels::name(&key, errors);
        let selected = selector.get("matchLabels").has(key.text())
            || expressions.items().any(|e| e.str("key") == key.text());
        if selected {
            errors.invalid(&key, IN_BOTH);
        }
    }
}

/// Tolerations may be added to a running pod; those that are there may only change their seconds.
pub(crate) fn only_added_tolerations(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let without_seconds = |toleration: &Value| {
        let mut copy = toleration.clone();
        if let Some(map) = copy.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        copy
    };
    let kept: Vec<Value> = new.list().iter().map(without_seconds).collect();
    if old.list().iter().any(|toleration| !kept.contains(&without_seconds(toleration))) {
        errors.0.push(FieldError::forbidden(
            &new.path(),
            "existing toleration can not be modified except its tolerationSeconds",
        ));
        return;
    }
    tolerations(new, errors);
}
