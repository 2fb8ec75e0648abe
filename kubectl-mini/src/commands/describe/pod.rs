//! Describes Pods, and the templates of Pods in workloads.

use apimachinery::{
    api::core::{Pod, PodSpec, PodTemplateSpec, Toleration, TopologySpreadConstraint},
    labels::format_label_selector,
    object::Object,
};

use super::{
    Text, containers,
    related::{Related, view},
    text::controlled_by,
    volumes,
};
use crate::errors::CommandError;

const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) async fn describe<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let pod: Pod = view(object)?;
    write(&pod, &mut text);
    let uid = object.annotation(MIRROR).unwrap_or(object.uid());
    text.events(related.events_of(object, "", uid).await);
    Ok(text)
}

fn write(pod: &Pod, text: &mut Text<'_>) {
    let Pod { metadata, spec, status } = pod;
    text.field(0, "Name", metadata.name.as_deref().unwrap_or_default());
    text.field(0, "Namespace", metadata.namespace.as_deref().unwrap_or_default());
    if let Some(priority) = spec.priority {
        text.field(0, "Priority", priority);
    }
    text.optional(0, "Priority Class Name", spec.priority_class_name.as_deref());
    text.optional(0, "Runtime Class Name", spec.runtime_class_name.as_deref());
    text.optional(0, "Service Account", spec.service_account_name.as_deref());
    match spec.node_name.as_deref().filter(|name| !name.is_empty()) {
        Some(node) => {
            let host = status.host_ip.as_deref().unwrap_or_default();
            text.field(0, "Node", format_args!("{node}/{host}"));
        }
        None => text.field(0, "Node", "<none>"),
    }
    if status.start_time.is_some() {
        text.field(0, "Start Time", text.time(status.start_time));
    }
    text.labels("Labels", &metadata.labels);
    text.annotations("Annotations", &metadata.annotations);
    write_status(pod, text);
    if let Some(profile) =
        spec.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref())
    {
        text.field(0, "SeccompProfile", &profile.type_);
        if profile.type_ == "Localhost" {
            let local = profile.localhost_profile.as_deref().unwrap_or_default();
            text.field(0, "LocalhostProfile", local);
        }
    }
    text.field(0, "IP", status.pod_ip.as_deref().unwrap_or_default());
    if status.pod_ips.is_empty() {
        text.field(0, "IPs", "<none>");
    } else {
        text.line(0, "IPs:");
        for ip in &status.pod_ips {
            text.field(1, "IP", &ip.ip);
        }
    }
    if let Some(owner) = controlled_by(metadata) {
        text.field(0, "Controlled By", owner);
    }
    text.optional(0, "NominatedNodeName", status.nominated_node_name.as_deref());
    if let Some(resources) = &spec.resources {
        text.line(0, "Resources:");
        containers::write_resources(resources, 1, text);
    }
    containers::write_all(pod, text);
    write_conditions(pod, text);
    volumes::write(&spec.volumes, "", text);
    text.field(0, "QoS Class", status.qos_class.as_deref().unwrap_or_default());
    write_placement(spec, "", text);
    if let Some(group) = &spec.scheduling_group {
        text.line(0, "SchedulingGroup:");
        text.field(1, "PodGroupName", group.pod_group_name.as_deref().unwrap_or_default());
    }
}

fn write_status(pod: &Pod, text: &mut Text<'_>) {
    let Pod { metadata, status, .. } = pod;
    let phase = status.phase.as_deref().unwrap_or_default();
    let ended = matches!(phase, "Failed" | "Succeeded");
    if metadata.deletion_timestamp.is_some() && !ended {
        let age = text.age(metadata.deletion_timestamp);
        text.field(0, "Status", format_args!("Terminating (lasts {age})"));
        let grace = metadata.deletion_grace_period_seconds.unwrap_or_default();
        text.field(0, "Termination Grace Period", format_args!("{grace}s"));
    } else {
        text.field(0, "Status", phase);
    }
    text.optional(0, "Reason", status.reason.as_deref());
    text.optional(0, "Message", status.message.as_deref());
}

fn write_conditions(pod: &Pod, text: &mut Text<'_>) {
    let conditions = &pod.status.conditions;
    if !pod.spec.readiness_gates.is_empty() {
        text.raw("Readiness Gates:\n  Type\tStatus\n");
        for gate in &pod.spec.readiness_gates {
            let condition =
                conditions.iter().find(|condition| condition.type_ == gate.condition_type);
            let status = condition.map_or("<none>", |condition| condition.status.as_str());
            text.line(1, format_args!("{} \t{status} ", gate.condition_type));
        }
    }
    if !conditions.is_empty() {
        text.raw("Conditions:\n  Type\tStatus\n");
        for condition in conditions {
            text.line(1, format_args!("{} \t{} ", condition.type_, condition.status));
        }
    }
}

/// Where it may run; `indent` stands before the titles.
fn write_placement(spec: &PodSpec, indent: &str, text: &mut Text<'_>) {
    text.labels(&format!("{indent}Node-Selectors"), &spec.node_selector);
    write_tolerations(&spec.tolerations, indent, text);
    if indent.is_empty() {
        write_spreading(&spec.topology_spread_constraints, indent, text);
    }
}

fn write_tolerations(tolerations: &[Toleration], indent: &str, text: &mut Text<'_>) {
    let mut tolerations: Vec<&Toleration> = tolerations.iter().collect();
    tolerations.sort_by_key(|toleration| toleration.key.as_deref().unwrap_or_default());
    let lines: Vec<String> = tolerations.into_iter().map(toleration).collect();
    text.multiline(&format!("{indent}Tolerations"), &lines);
}

/// `key=value:Effect op=Exists for 300s`.
fn toleration(toleration: &Toleration) -> String {
    let mut text = toleration.key.clone().unwrap_or_default();
    let value = toleration.value.as_deref().unwrap_or_default();
    if !value.is_empty() {
        text += &format!("={value}");
    }
    if let Some(effect) = toleration.effect.as_deref().filter(|effect| !effect.is_empty()) {
        text += &format!(":{effect}");
    }
    if toleration.operator.as_deref() == Some("Exists") && value.is_empty() {
        text += if text.is_empty() { "op=Exists" } else { " op=Exists" };
    }
    if let Some(seconds) = toleration.toleration_seconds {
        text += &format!(" for {seconds}s");
    }
    text
}

fn write_spreading(constraints: &[TopologySpreadConstraint], indent: &str, text: &mut Text<'_>) {
    let mut constraints: Vec<&TopologySpreadConstraint> = constraints.iter().collect();
    constraints.sort_by_key(|constraint| &constraint.topology_key);
    let lines: Vec<String> = constraints
        .into_iter()
        .map(|constraint| {
            let selector =
                constraint.label_selector.as_ref().map_or_else(String::new, |selector| {
                    format!(" for selector {}", format_label_selector(Some(selector)))
                });
            format!(
                "{}:{} when max skew {} is exceeded{selector}",
                constraint.topology_key, constraint.when_unsatisfiable, constraint.max_skew
            )
        })
        .collect();
    if !lines.is_empty() {
        text.multiline(&format!("{indent}Topology Spread Constraints"), &lines);
    }
}

/// Describes the template of a workload's Pods.
pub(super) fn write_template(template: &PodTemplateSpec, text: &mut Text<'_>) {
    let PodTemplateSpec { metadata, spec } = template;
    text.line(0, "Pod Template:");
    text.labels("  Labels", &metadata.labels);
    if !metadata.annotations.is_empty() {
        text.annotations("  Annotations", &metadata.annotations);
    }
    text.optional(1, "Service Account", spec.service_account_name.as_deref());
    containers::write_template(spec, text);
    volumes::write(&spec.volumes, "  ", text);
    write_spreading(&spec.topology_spread_constraints, "  ", text);
    text.optional(1, "Priority Class Name", spec.priority_class_name.as_deref());
    write_placement(spec, "  ", text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_are_short() {
        let check = |json: serde_json::Value, expected: &str| {
            assert_eq!(toleration(&serde_json::from_value(json).unwrap()), expected);
        };
        check(serde_json::json!({ "operator": "Exists" }), "op=Exists");
        check(
            serde_json::json!({ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }),
            "node.kubernetes.io/not-ready:NoExecute op=Exists for 300s",
        );
        check(
            serde_json::json!({ "key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule" }),
            "a=b:NoSchedule",
        );
    }
}
