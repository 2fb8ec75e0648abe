//! What may change in a pod.

use apimachinery::{
    object::Object,
    validation::{is_in_range, is_qualified_name},
};
use serde_json::Value;

use crate::registry::{
    defaults::Fields,
    meta::dns_subdomain,
    validation::{
        at::{At, Errors, same},
        container::image_is_trimmed,
        net, scheduling,
    },
};

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const MIRROR: &str = "kubernetes.io/config.mirror";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// A replacement of the pod itself.
pub(super) fn pod(object: &Object, old: &Object, errors: &mut Errors) {
    annotations(object, old, errors);
    let (spec, old_spec) = (At::top(object, "spec"), At::top(old, "spec"));
    for name in ["containers", "initContainers"] {
        let (list, old_list) = (spec.get(name), old_spec.get(name));
        if list.len() != old_list.len() {
            errors.forbidden(&list, "pod updates may not add or remove containers");
            return;
        }
        for container in list.items() {
            if container.str("image").is_empty() {
                errors.required(&container.get("image"), "");
            }
            image_is_trimmed(&container, errors);
        }
    }
    if !active_deadline(&spec, &old_spec, errors) {
        return;
    }
    let tolerations = spec.get("tolerations");
    scheduling::only_added_tolerations(&tolerations, &old_spec.get("tolerations"), errors);
    only_deleted_gates(&spec, &old_spec, errors);
    if same(spec.raw(), old_spec.raw()) {
        return;
    }
    let (Some(fields), Some(old_fields)) = (spec.map(), old_spec.map()) else { return };
    let munged = munged(fields, old_fields, &spec, &old_spec, errors);
    let munged = Value::Object(munged);
    if !same(Some(&munged), old_spec.raw()) {
        let mut changes = Vec::new();
        changed_paths("spec", Some(&munged), old_spec.raw(), &mut changes);
        errors.forbidden(
            &spec,
            format!(
                "pod updates may not change fields other than {UPDATABLE}\n{}",
                changes.join("\n")
            ),
        );
    }
}

/// A replacement of the ephemeral containers: they may only be added.
pub(super) fn ephemeral_containers(object: &Object, old: &Object, errors: &mut Errors) {
    annotations(object, old, errors);
    if old.annotation(MIRROR).is_some() {
        *errors = Errors::default();
        let nowhere = At::value("", None);
        errors.forbidden(&nowhere, "static pods do not support ephemeral containers");
        return;
    }
    let (spec, old_spec) = (At::top(object, "spec"), At::top(old, "spec"));
    let (list, old_list) = (spec.get("ephemeralContainers"), old_spec.get("ephemeralContainers"));
    for old in old_list.items() {
        let name = old.str("name");
        let Some(new) = list.items().find(|new| new.str("name") == name).and_then(|n| n.raw())
        else {
            let detail = format!("existing ephemeral containers \"{name}\" may not be removed\n");
            errors.forbidden(&list, detail);
            continue;
        };
        let mut changes = Vec::new();
        changed_paths(name, Some(new), old.raw(), &mut changes);
        if !changes.is_empty() {
            errors.forbidden(
                &list,
                format!(
                    "existing ephemeral containers \"{name}\" may not be changed\n{}",
                    changes.join("\n")
                ),
            );
        }
    }
}

/// The new spec with all that may change set back.
fn munged(
    fields: &Fields,
    old_fields: &Fields,
    spec: &At<'_>,
    old_spec: &At<'_>,
    errors: &mut Errors,
) -> Fields {
    let mut munged = fields.clone();
    for name in ["containers", "initContainers"] {
        let list = munged.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, old) in list.zip(old_spec.get(name).list()) {
            if let Some(image) = old.get("image") {
                container["image"] = image.clone();
            }
        }
    }
    let put_back = |munged: &mut Fields, name: &str| match old_fields.get(name) {
        Some(value) => munged.insert(name.to_owned(), value.clone()),
        None => munged.remove(name),
    };
    for name in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        put_back(&mut munged, name);
    }
    let grace = |spec: &At<'_>| spec.get("terminationGracePeriodSeconds").int();
    if grace(old_spec) < 0 && grace(spec) == 1 {
        put_back(&mut munged, "terminationGracePeriodSeconds");
    }
    if !old_spec.get("schedulingGates").is_empty() {
        gated(&mut munged, spec, old_spec, errors);
    }
    munged
}

/// A gated pod may still be directed to fewer nodes.
fn gated(munged: &mut Fields, spec: &At<'_>, old_spec: &At<'_>, errors: &mut Errors) {
    let (selector, old_selector) = (spec.get("nodeSelector"), old_spec.get("nodeSelector"));
    let kept = old_selector
        .entries()
        .all(|(key, value)| selector.raw().and_then(|s| s.get(key)) == value.raw());
    if kept {
        match old_selector.raw() {
            Some(old) => munged.insert("nodeSelector".to_owned(), old.clone()),
            None => munged.remove("nodeSelector"),
        };
    } else {
        let shown = selector.raw().cloned().unwrap_or(Value::Null);
        errors.invalid_as(
            &selector,
            shown,
            "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
        );
    }
}

fn active_deadline(spec: &At<'_>, old_spec: &At<'_>, errors: &mut Errors) -> bool {
    let field = spec.get("activeDeadlineSeconds");
    let old = old_spec.get("activeDeadlineSeconds");
    if !field.is_set() {
        if old.is_set() {
            let detail = "must not update from a positive integer to nil value";
            errors.invalid_as(&field, Value::Null, detail);
        }
        return true;
    }
    let messages = is_in_range(field.int(), 0, i64::from(i32::MAX));
    if !messages.is_empty() {
        errors.each(&field, messages);
        return false;
    }
    if old.is_set() && old.int() < field.int() {
        errors.invalid(&field, "must be less than or equal to previous value");
        return false;
    }
    true
}

fn only_deleted_gates(spec: &At<'_>, old_spec: &At<'_>, errors: &mut Errors) {
    let old = old_spec.get("schedulingGates");
    for gate in spec.get("schedulingGates").items() {
        let name = gate.str("name");
        if !old.items().any(|other| other.str("name") == name) {
            errors.forbidden(
                &gate.get("name"),
                format!("only deletion is allowed, but found new scheduling gate '{name}'"),
            );
        }
    }
}

fn annotations(object: &Object, old: &Object, errors: &mut Errors) {
    let (meta, old_meta) = (At::top(object, "metadata"), At::top(old, "metadata"));
    let (new, old) = (meta.get("annotations"), old_meta.get("annotations"));
    let sealed = |key: &str| {
        let app_armor = key.starts_with(APP_ARMOR).then_some("AppArmor annotations");
        app_armor.or((key == MIRROR).then_some("mirror pod annotation"))
    };
    for (key, value) in old.entries() {
        if let Some(what) = sealed(key).filter(|_| new.str(key) != value.text()) {
            errors.forbidden(&new.key(key), format!("may not remove or update {what}"));
        }
    }
    for (key, _) in new.entries() {
        if let Some(what) = sealed(key).filter(|_| !old.has(key)) {
            errors.forbidden(&new.key(key), format!("may not add {what}"));
        }
    }
}

/// The fields in which two values differ, one line each.
fn changed_paths(path: &str, new: Option<&Value>, old: Option<&Value>, out: &mut Vec<String>) {
    if same(new, old) {
        return;
    }
    match (new, old) {
        (Some(Value::Object(new)), Some(Value::Object(old))) => {
            let mut keys: Vec<&String> = new.keys().chain(old.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                changed_paths(&format!("{path}.{key}"), new.get(key), old.get(key), out);
            }
        }
        (Some(Value::Array(new)), Some(Value::Array(old))) if new.len() == old.len() => {
            for (index, (new, old)) in new.iter().zip(old).enumerate() {
                changed_paths(&format!("{path}[{index}]"), Some(new), Some(old), out);
            }
        }
        (new, old) => {
            let text = |value: Option<&Value>| {
                value.map_or_else(|| "(unset)".to_owned(), Value::to_string)
            };
            out.push(format!("  {path}: {} -> {}", text(old), text(new)));
        }
    }
}

/// A write of the pod's status.
pub(super) fn status(object: &Object, old: &Object, errors: &mut Errors) {
    annotations(object, old, errors);
    let (meta, status) = (At::top(object, "metadata"), At::top(object, "status"));
    let old_status = At::top(old, "status");
    // Kubernetes tells these as metadata.conditions.
    let conditions = status.get("conditions");
    for condition in meta.get("conditions").with(conditions.raw()).items() {
        let kind = condition.str("type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            errors.each_as(&condition.get("Type"), kind, is_qualified_name(kind));
        }
    }
    let nominated = status.get("nominatedNodeName");
    if !nominated.is_empty() && nominated.text() != old_status.str("nominatedNodeName") {
        errors.each(&nominated, dns_subdomain(nominated.text(), false));
    }
    errors.immutable(&status.get("qosClass"), &old_status.get("qosClass"));
    stay_terminated(&status, &old_status, old, errors);
    net::ip_per_family(&status.get("podIPs"), errors);
    let host_ips = status.get("hostIPs");
    if let Some(first) = host_ips.items().next() {
        let ip = first.get("ip");
        if ip.text() != status.str("hostIP") {
            errors.invalid(&ip, "must be equal to `hostIP`");
        }
    }
    net::ip_per_family(&host_ips, errors);
}

/// A container that is not restarted stays terminated.
fn stay_terminated(new: &At<'_>, old: &At<'_>, pod: &Object, errors: &mut Errors) {
    let lists = [
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
        ("ephemeralContainerStatuses", ""),
    ];
    let policy = pod.get_str(&["spec", "restartPolicy"]);
    let containers = |list: &str| pod.get_list(&["spec", list]);
    let mut rules = ["containers", "initContainers"]
        .into_iter()
        .flat_map(containers)
        .filter_map(|c| c["restartPolicyRules"].as_array())
        .flatten();
    if policy == "Always" || rules.any(|rule| rule["action"] == "RestartAllContainers") {
        return;
    }
    for (statuses, list) in lists {
        let old = old.get(statuses);
        for (index, status) in old.items().enumerate() {
            let state = status.get("state");
            let terminated = state.get("terminated");
            let (name, code) = (status.str("name"), terminated.get("exitCode").int());
            let container = containers(list).iter().find(|c| c["name"] == name);
            if !terminated.is_set() || container.is_some_and(|c| restarts(c, policy, code)) {
                continue;
            }
            let new = new.get(statuses);
            let runs_again = new
                .items()
                .any(|now| now.str("name") == name && !now.get("state").has("terminated"));
            if runs_again {
                let at = new.index(index);
                errors
                    .forbidden(&at.get("state"), "may not be transitioned to non-terminated state");
            }
        }
    }
}

/// Whether a container that ended with this code is started again: by its rules, its own policy, its pod's policy.
fn restarts(container: &Value, pod_policy: &str, code: i64) -> bool {
    let matching = container["restartPolicyRules"].as_array().into_iter().flatten().find(|rule| {
        let values = rule["exitCodes"]["values"].as_array();
        let listed = values.is_some_and(|values| values.iter().any(|v| v.as_i64() == Some(code)));
        match rule["exitCodes"]["operator"].as_str() {
            Some("In") => listed,
            Some("NotIn") => !listed,
            _ => false,
        }
    });
    if matching.is_some_and(|rule| rule["action"] == "Restart") {
        return true;
    }
    match container["restartPolicy"].as_str().unwrap_or(pod_policy) {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}
