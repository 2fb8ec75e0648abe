//! Describes configuration: ConfigMaps, Secrets, Namespaces, PriorityClasses, PodDisruptionBudgets.

use apimachinery::{
    api::{
        core::{ConfigMap, Namespace, Secret},
        policy::PodDisruptionBudget,
        scheduling::PriorityClass,
    },
    labels::format_label_selector,
    object::Object,
};

use super::{
    Text,
    related::{Related, view},
};
use crate::{errors::CommandError, printers::table};

pub(super) async fn config_map<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let map: ConfigMap = view(object)?;
    text.head(&map.metadata);
    text.raw("\nData\n====\n");
    for (key, value) in &map.data {
        text.raw(&format!("{key}:\n----\n{value}\n\n"));
    }
    text.raw("\nBinaryData\n====\n");
    for (key, value) in &map.binary_data {
        text.raw(&format!("{key}: {} bytes\n", value.0.len()));
    }
    text.raw("\n");
    text.events(related.events(object).await);
    Ok(text)
}

pub(super) async fn secret<'a>(
    object: &'a Object,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    const TOKEN_TYPE: &str = "kubernetes.io/service-account-token";
    let secret: Secret = view(object)?;
    let kind = secret.type_.as_deref().unwrap_or_default();
    text.head(&secret.metadata);
    text.raw(&format!("\nType:\t{kind}\n"));
    text.raw("\nData\n====\n");
    for (key, value) in &secret.data {
        if key == "token" && kind == TOKEN_TYPE {
            text.field(0, key, String::from_utf8_lossy(&value.0));
        } else {
            text.field(0, key, format_args!("{} bytes", value.0.len()));
        }
    }
    Ok(text)
}

pub(super) async fn namespace<'a>(
    object: &'a Object,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let namespace: Namespace = view(object)?;
    text.field(0, "Name", object.name());
    text.labels("Labels", &namespace.metadata.labels);
    text.annotations("Annotations", &namespace.metadata.annotations);
    text.field(0, "Status", namespace.status.phase.as_deref().unwrap_or_default());
    if !namespace.status.conditions.is_empty() {
        text.line(0, "Conditions:");
        text.line(1, "Type\tStatus\tLastTransitionTime\tReason\tMessage");
        text.line(1, "----\t------\t------------------\t------\t-------");
        for condition in &namespace.status.conditions {
            let line = format!(
                "{}\t{}\t{}\t{}\t{}",
                condition.type_,
                condition.status,
                text.time(condition.last_transition_time),
                condition.reason.as_deref().unwrap_or_default(),
                condition.message.as_deref().unwrap_or_default()
            );
            text.line(1, line);
        }
    }
    // Quotas and limits follow where the server knows them; ours does not.
    Ok(text)
}

pub(super) async fn priority_class<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let class: PriorityClass = view(object)?;
    text.field(0, "Name", object.name());
    text.field(0, "Value", class.value.unwrap_or_default());
    text.field(0, "GlobalDefault", class.global_default.unwrap_or_default());
    text.field(0, "PreemptionPolicy", class.preemption_policy.as_deref().unwrap_or_default());
    text.field(0, "Description", class.description.as_deref().unwrap_or_default());
    let annotations = class.metadata.annotations.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    text.field(0, "Annotations", table::format_labels(annotations));
    text.events(related.events(object).await);
    Ok(text)
}

pub(super) async fn disruption_budget<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let budget: PodDisruptionBudget = view(object)?;
    text.field(0, "Name", object.name());
    text.field(0, "Namespace", object.namespace());
    if let Some(amount) = &budget.spec.min_available {
        text.field(0, "Min available", amount);
    } else if let Some(amount) = &budget.spec.max_unavailable {
        text.field(0, "Max unavailable", amount);
    }
    match &budget.spec.selector {
        Some(selector) => text.field(0, "Selector", format_label_selector(Some(selector))),
        None => text.field(0, "Selector", "<unset>"),
    }
    let status = &budget.status;
    text.line(0, "Status:");
    // Four spaces, where other texts have two.
    text.field(2, "Allowed disruptions", status.disruptions_allowed.unwrap_or_default());
    text.field(2, "Current", status.current_healthy.unwrap_or_default());
    text.field(2, "Desired", status.desired_healthy.unwrap_or_default());
    text.field(2, "Total", status.expected_pods.unwrap_or_default());
    text.events(related.events(object).await);
    Ok(text)
}
