//! What Deployment and ReplicaSet share: the template, the selector, the scale.

use apimachinery::{
    api::meta::LabelSelector, field::FieldError, field::Path, labels::Selector, object::Object,
    resource::ResourceInfo, status::Status,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::registry::{
    defaults,
    validation::{
        at::{At, Errors},
        labels, pod_spec,
    },
};

/// Defaults what both have: one replica, the pod template.
pub(super) fn default(object: &mut Object) {
    defaults::prune_object(object);
    if let Some(spec) = defaults::child_or_new(&mut object.0, "spec") {
        defaults::set(spec, "replicas", 1);
        defaults::drop_zero(spec, &["minReadySeconds", "paused"]);
        defaults::pod::template(spec);
    }
}

/// `spec.selector`: there, well-formed, not empty.
pub(super) fn selector(spec: &At<'_>, errors: &mut Errors) {
    let selector = spec.get("selector");
    if !selector.is_set() {
        errors.required(&selector, "");
        return;
    }
    labels::selector(&selector, errors);
    if labels::is_empty(&selector) {
        errors.invalid(&selector, "empty selector is invalid for deployment");
    }
}

/// `spec.template` against `spec.selector`.
pub(super) fn template(spec: &At<'_>, errors: &mut Errors) {
    pod_spec::template(&spec.get("template"), "ReplicaSet", &spec.get("selector"), errors);
}

/// Numbers of pods: none negative, none greater than the whole.
pub(super) fn status_counts(status: &At<'_>, counts: &[&str], errors: &mut Errors) {
    for name in counts {
        errors.non_negative(&status.get(name));
    }
    let total = status.get("replicas").int();
    for name in counts.iter().filter(|name| name.ends_with("Replicas") && **name != "replicas") {
        let count = status.get(name);
        if count.int() > total {
            errors.invalid_as(&count, count.int(), "cannot be greater than status.replicas");
        }
    }
    let (available, ready) = (status.get("availableReplicas"), status.get("readyReplicas"));
    if available.int() > ready.int() {
        errors.invalid(&available, "cannot be greater than readyReplicas");
    }
}

/// The `autoscaling/v1` Scale of a workload.
pub(super) fn to_scale(object: &Object) -> Result<Object, Status> {
    let metadata: defaults::Fields =
        ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), object.get(&["metadata", name])?.clone())))
            .collect();
    let selector = object.get(&["spec", "selector"]).cloned().unwrap_or(Value::Null);
    let selector = LabelSelector::deserialize(&selector)
        .map_err(|e| e.to_string())
        .and_then(|selector| {
            Selector::from_label_selector(Some(&selector)).map_err(|e| e.to_string())
        })
        .map_err(|e| Status::internal(format!("invalid label selector: {e}")))?;
    let mut spec = defaults::Fields::new();
    let replicas = object.get_i64(&["spec", "replicas"]).unwrap_or_default();
    if replicas != 0 {
        spec.insert("replicas".to_owned(), replicas.into());
    }
    let mut status = defaults::Fields::new();
    let current = object.get_i64(&["status", "replicas"]).unwrap_or_default();
    status.insert("replicas".to_owned(), current.into());
    let selector = selector.to_string();
    if !selector.is_empty() {
        status.insert("selector".to_owned(), selector.into());
    }
    Object::from_value(json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": metadata, "spec": spec, "status": status,
    }))
}

/// The kind of what the scale subresource takes, for its errors.
static SCALE: ResourceInfo = ResourceInfo {
    group: "autoscaling",
    version: "v1",
    kind: "Scale",
    list: "",
    resource: "scales",
    singular: "scale",
    short_names: &[],
    categories: &[],
    namespaced: true,
    subresources: &[],
    verbs: &[],
    served: false,
    storage_prefix: "",
};

/// Writes a Scale back into its workload.
pub(super) fn from_scale(object: &mut Object, scale: &Object) -> Result<(), Status> {
    let replicas = scale.get_i64(&["spec", "replicas"]).unwrap_or_default();
    if replicas < 0 {
        let error = FieldError::invalid(
            &Path::new("spec.replicas"),
            replicas,
            "must be greater than or equal to 0",
        );
        return Err(Status::invalid(&SCALE, object.name(), vec![error]));
    }
    let version = scale.resource_version();
    if !version.is_empty() {
        object.set(&["metadata", "resourceVersion"], version);
    }
    object.set(&["spec", "replicas"], replicas);
    Ok(())
}
