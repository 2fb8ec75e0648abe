//! Node.

use apimachinery::{
    field::FieldError, object::Object, resource, resource::ResourceInfo,
    validation::is_valid_label_value,
};
use jiff::Timestamp;
use serde_json::Value;

use super::split_status;
use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::{
        at::{At, Errors},
        labels, net, resources, scheduling,
    },
};

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";
const COLUMNS: [Column; 10] = [
    printers::NAME,
    printers::string("Status", "The status of the node"),
    printers::string("Roles", "The roles of the node"),
    printers::AGE,
    printers::string("Version", "Kubelet Version reported by the node."),
    printers::wide("Internal-IP", "The address of the node within the cluster."),
    printers::wide("External-IP", "The address of the node outside of the cluster."),
    printers::wide("OS-Image", "OS Image reported by the node."),
    printers::wide("Kernel-Version", "Kernel Version reported by the node."),
    printers::wide("Container-Runtime", "ContainerRuntime Version reported by the node."),
];

/// See the module.
pub(super) struct Node;

impl Strategy for Node {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::NODES
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        if let Some(spec) = defaults::child(&mut object.0, "spec") {
            defaults::drop_zero(spec, &["unschedulable", "podCIDR", "providerID"]);
            sync_pod_cidrs(spec);
        }
        if let Some(status) = defaults::child(&mut object.0, "status") {
            defaults::resource_list(status, "capacity");
            defaults::resource_list(status, "allocatable");
            if let Some(capacity) = status.get("capacity").cloned() {
                defaults::set(status, "allocatable", capacity);
            }
        }
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Object, old: &Object) {
        split_status(ctx.subresource, object, old);
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check(object, false, meta::dns_subdomain, &mut errors);
        check_taints(object, &mut errors);
        check_resources(object, &mut errors);
        let spec = At::top(object, "spec");
        net::cidr_per_family(&spec.get("podCIDRs"), &mut errors);
        errors.0
    }

    fn validate_update(
        &self,
        _: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check_update(object, old, &mut errors);
        check_resources(object, &mut errors);
        let status = At::top(object, "status");
        let mut seen: Vec<&Value> = Vec::new();
        for address in status.get("addresses").items() {
            match address.raw() {
                Some(value) if seen.contains(&value) => errors.duplicate(&address),
                Some(value) => seen.push(value),
                None => {}
            }
        }
        let (spec, old_spec) = (At::top(object, "spec"), At::top(old, "spec"));
        let (cidrs, old_cidrs) = (spec.get("podCIDRs"), old_spec.get("podCIDRs"));
        if !old_cidrs.is_empty() && cidrs.list() != old_cidrs.list() {
            errors
                .forbidden(&cidrs, "node updates may not change podCIDR except from \"\" to valid");
        }
        let (provider, old_provider) = (spec.get("providerID"), old_spec.get("providerID"));
        if !old_provider.is_empty() && provider.text() != old_provider.text() {
            errors.forbidden(
                &provider,
                "node updates may not change providerID except from \"\" to valid",
            );
        }
        check_taints(object, &mut errors);
        errors.0
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", unschedulable(object).to_string())]
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let info = |field: &str, fallback: &str| {
            printers::text_or(object, &["status", "nodeInfo", field], fallback)
        };
        vec![
            printers::name(object),
            status(object).into(),
            roles(object).into(),
            printers::age(object, now),
            info("kubeletVersion", ""),
            address(object, "InternalIP"),
            address(object, "ExternalIP"),
            info("osImage", "<unknown>"),
            info("kernelVersion", "<unknown>"),
            info("containerRuntimeVersion", "<unknown>"),
        ]
    }
}

/// `podCIDR` is the first of `podCIDRs`.
fn sync_pod_cidrs(spec: &mut defaults::Fields) {
    if let Some(first) = spec.get("podCIDRs").and_then(|list| list.get(0)).cloned() {
        spec.insert("podCIDR".to_owned(), first);
    } else if let Some(only) = spec.get("podCIDR").cloned() {
        spec.insert("podCIDRs".to_owned(), Value::Array(vec![only]));
    }
}

fn unschedulable(object: &Object) -> bool {
    object.get_bool(&["spec", "unschedulable"]).unwrap_or_default()
}

fn status(object: &Object) -> String {
    let ready = object.get_list(&["status", "conditions"]).iter().rfind(|c| c["type"] == "Ready");
    let mut text = match ready {
        None => "Unknown",
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
    }
    .to_owned();
    if unschedulable(object) {
        text.push_str(",SchedulingDisabled");
    }
    text
}

fn roles(object: &Object) -> String {
    let mut roles: Vec<&str> = object
        .labels()
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None => Some(value).filter(|_| key == ROLE_LABEL),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { printers::NONE.to_owned() } else { roles.join(",") }
}

fn address(object: &Object, kind: &str) -> Value {
    let found = object.get_list(&["status", "addresses"]).iter().find(|a| a["type"] == kind);
    found.and_then(|a| a["address"].as_str()).unwrap_or(printers::NONE).into()
}

fn check_resources(object: &Object, errors: &mut Errors) {
    let status = At::top(object, "status");
    for name in ["capacity", "allocatable"] {
        let list = status.get(name);
        for (resource, quantity) in list.entries() {
            // Kubernetes tells these with a dot, not as a key.
            let field = list.get(resource).with(quantity.raw());
            resources::quantity(resource, &field, errors);
        }
    }
}

fn check_taints(object: &Object, errors: &mut Errors) {
    let spec = At::top(object, "spec");
    let metadata = At::top(object, "metadata");
    // Kubernetes tells them as metadata.taints.
    let taints = metadata.get("taints").with(spec.get("taints").raw());
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for taint in taints.items() {
        labels::name(&taint.get("key"), errors);
        let value = taint.get("value");
        let messages = is_valid_label_value(value.text());
        if !messages.is_empty() {
            errors.invalid(&value, messages.join(";"));
        }
        let effect = taint.get("effect");
        errors.one_of(&effect, &scheduling::TAINT_EFFECTS);
        let pair = (taint.str("key"), taint.str("effect"));
        if seen.contains(&pair) {
            errors.duplicate(&taint);
            if let Some(error) = errors.0.last_mut() {
                error.detail = "taints must be unique by key and effect pair".to_owned();
            }
        }
        seen.push(pair);
    }
}
