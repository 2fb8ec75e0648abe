//! Binding a pod to its node; the scale of a workload.

use apimachinery::{
    object::Object,
    resource::{self, ResourceInfo},
    status::Status,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::conditions;
use crate::{handler::Reply, request::pseudo_resource};

/// Carries out a `pods/binding`: what the scheduler decided becomes part of the pod
/// (`pkg/registry/core/pod/storage.BindingREST.assignPod`).
///
/// # Errors
/// A conflict when the pod is bound or being deleted.
pub(crate) fn bind(pod: &mut Object, binding: &Object, now: Timestamp) -> Result<(), Status> {
    let name = pod.name().to_owned();
    let conflict = |why: String| Err(Status::conflict(&POD_BINDINGS, &name, why));
    if !binding.uid().is_empty() && binding.uid() != pod.uid() {
        return conflict(format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            binding.uid(),
            pod.uid()
        ));
    }
    if pod.deletion_timestamp().is_some() {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let node = pod.get_str(&["spec", "nodeName"]);
    if !node.is_empty() {
        return conflict(format!("pod {name} is already assigned to node \"{node}\""));
    }
    if !pod.get_list(&["spec", "schedulingGates"]).is_empty() {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    pod.set(&["spec", "nodeName"], binding.get_str(&["target", "name"]));
    for field in ["annotations", "labels"] {
        if let Some(Value::Object(entries)) = binding.get(&["metadata", field]) {
            for (key, value) in entries {
                pod.set(&["metadata", field, key], value.clone());
            }
        }
    }
    conditions::set_pod_true(pod, "PodScheduled", None, now);
    // What it was nominated for is of no interest any more.
    pod.remove(&["status", "nominatedNodeName"]);
    Ok(())
}

/// The answer to a binding or an eviction.
pub(crate) fn made() -> Reply {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    Reply::Object { body: status.to_string().into(), created: true }
}

/// Checks the body of a binding.
///
/// # Errors
/// Invalid, in Kubernetes' words.
pub(crate) fn validate_binding(binding: &Object) -> Result<(), Status> {
    use apimachinery::field::{FieldError, Path};
    let target = Path::new("target");
    let kind = binding.get_str(&["target", "kind"]);
    let mut errors = Vec::new();
    if !matches!(kind, "" | "Node") {
        errors.push(FieldError::not_supported(&target.child("kind"), kind, &["Node", "<empty>"]));
    }
    if binding.get_str(&["target", "name"]).is_empty() {
        errors.push(FieldError::required(&target.child("name"), ""));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(&resource::BINDINGS, binding.name(), errors))
    }
}

/// How conflicts about bindings name the resource.
static POD_BINDINGS: ResourceInfo = pseudo_resource("", "Binding", "pods/binding");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_bound_once() {
        let object = |value: Value| Object::from_value(value).unwrap();
        let binding = object(
            json!({"metadata": {"name": "web", "annotations": {"a": "b"}}, "target": {"kind": "Node", "name": "node-1"}}),
        );
        validate_binding(&binding).unwrap();
        let mut pod =
            object(json!({"metadata": {"name": "web", "generation": 1}, "status": {"conditions": [
            {"type": "PodScheduled", "status": "False"}, {"type": "Ready", "status": "False"}],
            "nominatedNodeName": "node-2"}}));
        bind(&mut pod, &binding, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(pod.get_str(&["spec", "nodeName"]), "node-1");
        assert_eq!(pod.annotation("a"), Some("b"));
        assert_eq!(pod.get_list(&["status", "conditions"]).len(), 2);
        assert_eq!(pod.get_str(&["status", "nominatedNodeName"]), "");
        assert_eq!(
            bind(&mut pod, &binding, Timestamp::UNIX_EPOCH).unwrap_err().message,
            "Operation cannot be fulfilled on pods/binding \"web\": pod web is already assigned to node \"node-1\""
        );
        let mut dying = object(
            json!({"metadata": {"name": "web", "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        );
        assert_eq!(
            bind(&mut dying, &binding, Timestamp::UNIX_EPOCH).unwrap_err().message,
            "Operation cannot be fulfilled on pods/binding \"web\": pod web is being deleted, cannot be assigned to a host"
        );
        assert_eq!(
            validate_binding(&object(json!({"target": {"kind": "Pod"}}))).unwrap_err().message,
            "Binding \"\" is invalid: [target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\", target.name: Required value]"
        );
    }
}
