//! The kinds that the server keeps, one file each: defaults, preparation, validation, columns.
//!
//! A kind is a unit struct that implements [`Strategy`]. What several kinds share stands in `registry::defaults`
//! (defaulting), `registry::validation` (rules of parts), `registry::meta` (metadata) and `registry::printers`
//! (cells); fields that are accepted though nothing acts on them stand in `registry::warnings`.
//!
//! The rules and their order are Kubernetes' (`pkg/apis/*/v1/defaults.go`, `pkg/apis/*/validation`,
//! `pkg/registry/*/strategy.go`, `pkg/printers/internalversion`), v1.36 with its default feature gates.

mod certificate_signing_request;
mod config_map;
mod custom_resource_definition;
mod deployment;
mod endpoint_slice;
mod endpoints;
mod event;
mod event_v1;
mod ingress;
mod ingress_class;
mod lease;
mod namespace;
mod network_policy;
mod node;
mod pod;
mod pod_disruption_budget;
mod priority_class;
mod replica_set;
mod role;
mod role_binding;
mod secret;
mod service;
mod service_account;
mod workload;

use std::sync::Arc;

use apimachinery::object::Object;
use serde_json::Value;

use crate::registry::strategy::Strategy;

pub(crate) use self::ingress::CLASS_ANNOTATION;

/// The strategies of all kinds.
#[must_use]
pub fn all() -> Vec<Arc<dyn Strategy>> {
    vec![
        Arc::new(config_map::ConfigMap),
        Arc::new(endpoints::Endpoints),
        Arc::new(event::Event),
        Arc::new(event_v1::Event),
        Arc::new(namespace::Namespace),
        Arc::new(node::Node),
        Arc::new(pod::Pod),
        Arc::new(secret::Secret),
        Arc::new(service_account::ServiceAccount),
        Arc::new(service::Service),
        Arc::new(deployment::Deployment),
        Arc::new(replica_set::ReplicaSet),
        Arc::new(lease::Lease),
        Arc::new(certificate_signing_request::CertificateSigningRequest),
        Arc::new(endpoint_slice::EndpointSlice),
        Arc::new(ingress::Ingress),
        Arc::new(ingress_class::IngressClass),
        Arc::new(network_policy::NetworkPolicy),
        Arc::new(pod_disruption_budget::PodDisruptionBudget),
        Arc::new(role::ROLE),
        Arc::new(role::CLUSTER_ROLE),
        Arc::new(role_binding::ROLE_BINDING),
        Arc::new(role_binding::CLUSTER_ROLE_BINDING),
        Arc::new(priority_class::PriorityClass),
        Arc::new(custom_resource_definition::CustomResourceDefinition),
    ]
}

/// The subresource through which controllers write.
const STATUS: &str = "status";

/// Replaces a top-level field by the one of another object, or drops it with it.
fn take_field(object: &mut Object, from: &Object, name: &str) {
    match from.0.get(name) {
        Some(value) => object.0.insert(name.to_owned(), value.clone()),
        None => object.0.remove(name),
    };
}

/// A write of the status leaves everything as it was but status and metadata.
fn keep_all_but_status(object: &mut Object, old: &Object) {
    object.0.retain(|name, _| {
        matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status")
            || old.0.contains_key(name)
    });
    for (name, value) in &old.0 {
        if !matches!(name.as_str(), "metadata" | "status") {
            object.0.insert(name.clone(), value.clone());
        }
    }
}

/// A write of the object leaves its status as it was; a write of the status the rest.
fn split_status(subresource: &str, object: &mut Object, old: &Object) {
    if subresource == STATUS {
        keep_all_but_status(object, old);
    } else {
        take_field(object, old, "status");
    }
}

/// Replaces one field of the metadata by the one of another object.
fn take_metadata(object: &mut Object, from: &Object, name: &str) {
    let value: Option<Value> = from.get(&["metadata", name]).cloned();
    let metadata = object.metadata_mut();
    match value {
        Some(value) => metadata.insert(name.to_owned(), value),
        None => metadata.remove(name),
    };
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
