//! Pod.
//!
//! A pod is written by three hands: users change its metadata and very little of its spec ([`update`]), the scheduler
//! sets `spec.nodeName` through the binding subresource, the kubelet writes the status.

mod print;
mod qos;
#[cfg(test)]
mod tests;
mod update;

use apimachinery::{field::FieldError, object::Object, resource, resource::ResourceInfo};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{STATUS, split_status, take_metadata};
use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Owned, Strategy, StrategyContext},
    validation::{
        at::{At, Errors},
        pod_spec,
    },
    warnings,
};

const COLUMNS: [Column; 9] = [
    printers::NAME,
    printers::string("Ready", "The aggregate readiness state of this pod for accepting traffic."),
    printers::string("Status", "The aggregate status of the containers in this pod."),
    printers::string(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    printers::AGE,
    printers::wide("IP", "The address allocated to the pod."),
    printers::wide("Node", "The node that the pod is bound to."),
    printers::wide("Nominated Node", "The node that the pod may get after preemption."),
    printers::wide("Readiness Gates", "How many of the pod's readiness gates are true."),
];
const SELECTABLE: [&str; 9] = [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
];

/// The subresource through which a running pod gets containers for debugging.
const EPHEMERAL_CONTAINERS: &str = "ephemeralcontainers";

/// See the module.
pub(super) struct Pod;

impl Strategy for Pod {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::PODS
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        if let Some(spec) = defaults::child_or_new(&mut object.0, "spec") {
            defaults::pod::pod(spec);
        }
        if let Some(status) = defaults::child(&mut object.0, "status") {
            sync_ips(status);
        }
    }

    fn prepare_for_create(&self, _: &StrategyContext<'_>, object: &mut Object) {
        if let Some(spec) = defaults::child(&mut object.0, "spec") {
            defaults::pod::service_account(spec);
        }
        let mut status = json!({"phase": "Pending", "qosClass": qos::class(object)});
        if !object.get_list(&["spec", "schedulingGates"]).is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }]);
        }
        object.set(&["status"], status);
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Object, old: &Object) {
        if ctx.subresource == EPHEMERAL_CONTAINERS {
            keep_all_but_ephemeral_containers(object, old);
            return;
        }
        split_status(ctx.subresource, object, old);
        if ctx.subresource == STATUS {
            take_metadata(object, old, "ownerReferences");
            if object.get_str(&["status", "qosClass"]).is_empty()
                && let Some(class) = old.get(&["status", "qosClass"])
            {
                object.set(&["status", "qosClass"], class.clone());
            }
        } else if let Some(spec) = defaults::child(&mut object.0, "spec") {
            defaults::pod::service_account(spec);
        }
    }

    fn owned(&self, subresource: &str) -> Owned {
        match subresource {
            STATUS => Owned::Except(&[
                &["spec"],
                &["metadata", "deletionTimestamp"],
                &["metadata", "ownerReferences"],
            ]),
            EPHEMERAL_CONTAINERS => Owned::Only(&[&["spec", "ephemeralContainers"]]),
            _ => Owned::Except(&[&["status"]]),
        }
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        check(object, &mut errors);
        let spec = At::top(object, "spec");
        let ephemerals = spec.get("ephemeralContainers");
        if !ephemerals.is_empty() {
            errors.forbidden(&ephemerals, "cannot be set on create");
        }
        let node = spec.get("nodeName");
        if !node.is_empty() && !spec.get("schedulingGates").is_empty() {
            errors.forbidden(&node, "cannot be set until all schedulingGates have been cleared");
        }
        errors.0
    }

    fn validate_update(
        &self,
        ctx: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check_update(object, old, &mut errors);
        if ctx.subresource == STATUS {
            update::status(object, old, &mut errors);
            return errors.0;
        }
        check(object, &mut errors);
        if ctx.subresource == EPHEMERAL_CONTAINERS {
            update::ephemeral_containers(object, old, &mut errors);
        } else {
            update::pod(object, old, &mut errors);
        }
        errors.0
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::of_pod(object)
    }

    /// A pod that runs nowhere, or no more, is deleted at once.
    fn default_grace_period(&self, object: &Object) -> Option<i64> {
        let over = matches!(object.get_str(&["status", "phase"]), "Failed" | "Succeeded");
        // Nobody is there to say goodbye to.
        if over || object.get_str(&["spec", "nodeName"]).is_empty() {
            return None;
        }
        let seconds =
            object.get_i64(&["spec", "terminationGracePeriodSeconds"]).unwrap_or_default();
        Some(if seconds < 0 { 1 } else { seconds })
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &SELECTABLE
    }

    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        SELECTABLE
            .iter()
            .map(|name| {
                let value = match *name {
                    "spec.hostNetwork" => {
                        object.get_bool(&["spec", "hostNetwork"]).unwrap_or_default().to_string()
                    }
                    "status.podIPs" => pod_ips(object),
                    path => {
                        let (top, field) = path.split_once('.').expect("every name has a dot");
                        object.get_str(&[top, field]).to_owned()
                    }
                };
                (*name, value)
            })
            .collect()
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        print::row(object, now)
    }
}

/// A write of the ephemeral containers leaves everything else as it was.
fn keep_all_but_ephemeral_containers(object: &mut Object, old: &Object) {
    let containers = object.remove(&["spec", "ephemeralContainers"]);
    let written = std::mem::replace(object, old.clone());
    take_metadata(object, &written, "managedFields");
    match containers {
        Some(containers) => object.set(&["spec", "ephemeralContainers"], containers),
        None => {
            object.remove(&["spec", "ephemeralContainers"]);
        }
    }
}

/// `podIP` is the first of `podIPs`; where they differ, the single one holds.
fn sync_ips(status: &mut defaults::Fields) {
    let first = status.get("podIPs").and_then(|list| list.get(0)?.get("ip")).cloned();
    match (defaults::text(status, "podIP"), first) {
        ("", Some(first)) => {
            status.insert("podIP".to_owned(), first);
        }
        (ip, first) if !ip.is_empty() && first.as_ref() != Some(&Value::from(ip)) => {
            let all = json!([{"ip": ip}]);
            status.insert("podIPs".to_owned(), all);
        }
        _ => {}
    }
}

fn pod_ips(object: &Object) -> String {
    let ips: Vec<&str> = object
        .get_list(&["status", "podIPs"])
        .iter()
        .filter_map(|entry| entry["ip"].as_str())
        .collect();
    ips.join(",")
}

/// Metadata and spec of a pod, whatever was before.
fn check(object: &Object, errors: &mut Errors) {
    meta::check(object, true, meta::dns_subdomain, errors);
    let (metadata, spec) = (At::top(object, "metadata"), At::top(object, "spec"));
    pod_spec::pod_annotations(&metadata.get("annotations"), &spec, errors);
    pod_spec::check(&spec, true, errors);
    pod_spec::only_for_pods(&spec, errors);
}
