//! Environment variables, and the references to fields and resources that they share with volumes.

use apimachinery::validation::{is_config_map_key, is_env_var_name, is_qualified_name};

use super::{
    at::{At, Errors},
    resources,
};
use crate::registry::meta::dns_subdomain;

/// Fields of a pod that an environment variable may hold, sorted.
const OF_ENV: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of a pod that a file of a downward API volume may hold, sorted.
pub(crate) const OF_VOLUMES: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// Fields that Kubernetes knows of at all in this place.
const KNOWN_FIELDS: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const HUGE_PAGES: [&str; 2] = ["limits.hugepages-", "requests.hugepages-"];
const BYTE_DIVISORS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// The list `env`.
pub(crate) fn variables(env: &At<'_>, errors: &mut Errors) {
    for variable in env.items() {
        let name = variable.get("name");
        if name.is_empty() {
            errors.required(&name, "");
        } else {
            errors.each(&name, is_env_var_name(name.text()));
        }
        let source = variable.get("valueFrom");
        if source.is_set() {
            value_from(&source, variable.str("value"), errors);
        }
    }
}

fn value_from(source: &At<'_>, value: &str, errors: &mut Errors) {
    let mut sources = 0;
    let field = source.get("fieldRef");
    if field.is_set() {
        sources += 1;
        field_ref(&field, &OF_ENV, errors);
    }
    let resource = source.get("resourceFieldRef");
    if resource.is_set() {
        sources += 1;
        resource_ref(&resource, false, errors);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        let key = source.get(name);
        if key.is_set() {
            sources += 1;
            key_ref(&key, errors);
        }
    }
    let file = source.get("fileKeyRef");
    if file.is_set() {
        sources += 1;
        for name in ["volumeName", "path", "key"] {
            if file.str(name).is_empty() {
                errors.required(&file.get(name), "");
            }
        }
    }
    if sources == 0 {
        errors.invalid_as(
            source,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        );
    } else if !value.is_empty() {
        errors.invalid_as(source, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid_as(source, "", "may not have more than one field specified at a time");
    }
}

fn key_ref(reference: &At<'_>, errors: &mut Errors) {
    let (name, key) = (reference.get("name"), reference.get("key"));
    errors.each(&name, dns_subdomain(name.text(), false));
    if key.is_empty() {
        errors.required(&key, "");
    } else {
        errors.each(&key, is_config_map_key(key.text()));
    }
}

/// The list `envFrom`.
pub(crate) fn sources(env_from: &At<'_>, errors: &mut Errors) {
    for source in env_from.items() {
        let prefix = source.get("prefix");
        if !prefix.is_empty() {
            errors.each(&prefix, is_env_var_name(prefix.text()));
        }
        let mut count = 0;
        for name in ["configMapRef", "secretRef"] {
            let reference = source.get(name);
            if !reference.is_set() {
                continue;
            }
            count += 1;
            let name = reference.get("name");
            if name.is_empty() {
                errors.required(&name, "");
            } else {
                errors.each(&name, dns_subdomain(name.text(), true));
            }
        }
        if count == 0 {
            let detail = "must specify one of: `configMapRef` or `secretRef`";
            errors.invalid_as(env_from, "", detail);
        } else if count > 1 {
            let detail = "may not have more than one field specified at a time";
            errors.invalid_as(env_from, "", detail);
        }
    }
}

/// A reference to a field of the pod; `allowed` depends on the place.
pub(crate) fn field_ref(reference: &At<'_>, allowed: &[&str], errors: &mut Errors) {
    let version = reference.get("apiVersion");
    if version.is_empty() {
        errors.required(&version, "");
        return;
    }
    let path = reference.get("fieldPath");
    if path.is_empty() {
        errors.required(&path, "");
        return;
    }
    let (field, subscript) = split_subscript(path.text());
    let field = if field == "spec.host" { "spec.nodeName" } else { field };
    let converted = match subscript {
        _ if version.text() != "v1" => Err(format!("unsupported pod version: {}", version.text())),
        Some(_) if matches!(field, "metadata.annotations" | "metadata.labels") => Ok(()),
        None if KNOWN_FIELDS.contains(&field) => Ok(()),
        _ => Err(format!("field label not supported: {}", path.text())),
    };
    if let Err(why) = converted {
        errors.invalid(&path, format!("error converting fieldPath: {why}"));
        return;
    }
    match subscript {
        Some(key) if field == "metadata.annotations" => {
            let key = key.to_lowercase();
            errors.each_as(reference, key.as_str(), is_qualified_name(&key));
        }
        Some(key) => errors.each_as(reference, key, is_qualified_name(key)),
        None if !allowed.contains(&field) => errors.not_supported(&path, allowed),
        None => {}
    }
}

/// Splits `metadata.labels['a']` into the field and the key.
fn split_subscript(path: &str) -> (&str, Option<&str>) {
    let split = path.strip_suffix("']").and_then(|rest| rest.split_once("['"));
    match split {
        Some((field, key)) if !field.is_empty() => (field, Some(key)),
        _ => (path, None),
    }
}

/// A reference to a resource of a container.
pub(crate) fn resource_ref(reference: &At<'_>, in_volume: bool, errors: &mut Errors) {
    let (container, resource) = (reference.get("containerName"), reference.get("resource"));
    let name = resource.text();
    if in_volume && container.is_empty() {
        errors.required(&container, "");
    } else if name.is_empty() {
        errors.required(&resource, "");
    } else if !RESOURCES.contains(&name) && !HUGE_PAGES.iter().any(|p| name.starts_with(p)) {
        errors.not_supported(&resource, &RESOURCES);
    }
    divisor(name, &reference.get("divisor"), errors);
}

fn divisor(resource: &str, divisor: &At<'_>, errors: &mut Errors) {
    let Some(quantity) = resources::parse(divisor.raw()).filter(|q| !q.is_zero()) else { return };
    let text = quantity.to_string();
    let (valid, what): (&[&str], _) = match resource.split_once('.').map(|(_, name)| name) {
        Some("cpu") => {
            if !["1m", "1"].contains(&text.as_str()) {
                let detail = "only divisor's values 1m and 1 are supported with the cpu resource";
                errors.invalid_as(divisor, resource, detail);
            }
            return;
        }
        Some("memory") => (&BYTE_DIVISORS, "memory"),
        Some("ephemeral-storage") => (&BYTE_DIVISORS, "local ephemeral storage"),
        Some(name) if name.starts_with("hugepages-") => (&BYTE_DIVISORS, "hugepages"),
        _ => return,
    };
    if !valid.contains(&text.as_str()) {
        let detail = format!(
            "only divisor's values {} are supported with the {what} resource",
            valid.join(", ")
        );
        errors.invalid_as(divisor, resource, detail);
    }
}
