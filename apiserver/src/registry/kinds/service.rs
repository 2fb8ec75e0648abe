//! Service.
//!
//! Cluster IPs and node ports are allocated by the Service registry, in the object's own transaction; this strategy
//! only brings the fields around them in order ([`addresses`]): what a client left out of a replacement is kept,
//! `clusterIP` and `clusterIPs` agree, what the new type has no use for goes.

mod addresses;
mod check;
#[cfg(test)]
mod tests;

use apimachinery::{field::FieldError, object::Object, resource, resource::ResourceInfo};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{STATUS, split_status};
use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::at::{At, Errors},
};

/// The cluster IP of a headless service.
const HEADLESS: &str = "None";
/// How long a client sticks to its endpoint, unless told.
const AFFINITY_SECONDS: i64 = 10_800;
const COLUMNS: [Column; 7] = [
    printers::NAME,
    printers::string("Type", "How the Service is exposed."),
    printers::string("Cluster-IP", "The address of the service within the cluster."),
    printers::string("External-IP", "The addresses of the service outside of the cluster."),
    printers::string("Port(s)", "The ports that are exposed by this service."),
    printers::AGE,
    printers::wide("Selector", "The labels of the pods that traffic is routed to."),
];

/// See the module.
pub(super) struct Service;

impl Strategy for Service {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::SERVICES
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        if let Some(spec) = defaults::child_or_new(&mut object.0, "spec") {
            default_spec(spec);
        }
        let is_load_balancer = object.get_str(&["spec", "type"]) == "LoadBalancer";
        let Some(status) = defaults::child_or_new(&mut object.0, "status") else { return };
        let Some(balancer) = defaults::child_or_new(status, "loadBalancer") else { return };
        if is_load_balancer {
            for ingress in defaults::each(balancer, "ingress") {
                if !defaults::text(ingress, "ip").is_empty() {
                    defaults::set(ingress, "ipMode", "VIP");
                }
            }
        }
    }

    fn prepare_for_create(&self, _: &StrategyContext<'_>, object: &mut Object) {
        object.set(&["status"], json!({"loadBalancer": {}}));
        if let Some(spec) = defaults::child(&mut object.0, "spec") {
            addresses::normalize(spec, None);
            addresses::init_families(spec, None);
        }
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Object, old: &Object) {
        split_status(ctx.subresource, object, old);
        if ctx.subresource == STATUS {
            return;
        }
        let old_spec = old.0.get("spec").and_then(Value::as_object);
        if let Some((spec, old_spec)) = defaults::child(&mut object.0, "spec").zip(old_spec) {
            addresses::keep_allocated(spec, old_spec);
            addresses::normalize(spec, Some(old_spec));
            addresses::drop_what_type_has_no_use_for(spec, old_spec);
            addresses::init_families(spec, Some(old_spec));
        }
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        check::service(object, &mut errors);
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
            check::status(object, &mut errors);
        } else {
            check::update(object, old, &mut errors);
            check::service(object, &mut errors);
        }
        errors.0
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings(object)
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        vec![
            ("spec.clusterIP", object.get_str(&["spec", "clusterIP"]).to_owned()),
            ("spec.type", object.get_str(&["spec", "type"]).to_owned()),
        ]
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let cluster_ip = match object.get_list(&["spec", "clusterIPs"]).first() {
            Some(ip) => ip.clone(),
            None => printers::text_or(object, &["spec", "clusterIP"], printers::NONE),
        };
        vec![
            printers::name(object),
            object.get_str(&["spec", "type"]).into(),
            cluster_ip,
            external_ip(object).into(),
            ports(object).into(),
            printers::age(object, now),
            printers::label_map(object.get(&["spec", "selector"])).into(),
        ]
    }
}

fn default_spec(spec: &mut defaults::Fields) {
    defaults::drop_zero(
        spec,
        &[
            "clusterIP",
            "externalName",
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "loadBalancerIP",
            "publishNotReadyAddresses",
        ],
    );
    defaults::set_zero(spec, "sessionAffinity", "None");
    match defaults::text(spec, "sessionAffinity") {
        "None" => {
            spec.remove("sessionAffinityConfig");
        }
        "ClientIP" => {
            let seconds = spec
                .get("sessionAffinityConfig")
                .and_then(|c| c.get("clientIP")?.get("timeoutSeconds"));
            if seconds.is_none() {
                let config = json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}});
                spec.insert("sessionAffinityConfig".to_owned(), config);
            }
        }
        _ => {}
    }
    defaults::set_zero(spec, "type", "ClusterIP");
    for port in defaults::each(spec, "ports") {
        defaults::drop_zero(port, &["nodePort", "name"]);
        defaults::set_zero(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            defaults::set_zero(port, "targetPort", number);
        }
    }
    let kind = defaults::text(spec, "type").to_owned();
    if addresses::externally_accessible(spec) {
        defaults::set_zero(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        defaults::set(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        defaults::set(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn external_ip(object: &Object) -> String {
    let texts = |list: &[Value], field: Option<&str>| -> Vec<String> {
        list.iter()
            .filter_map(|v| field.map_or(Some(v), |field| v.get(field)).and_then(Value::as_str))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let external = texts(object.get_list(&["spec", "externalIPs"]), None);
    match object.get_str(&["spec", "type"]) {
        "ExternalName" => object.get_str(&["spec", "externalName"]).to_owned(),
        "LoadBalancer" => {
            let ingress = object.get_list(&["status", "loadBalancer", "ingress"]);
            let mut all: Vec<String> = ingress
                .iter()
                .flat_map(|entry| {
                    let one = std::slice::from_ref(entry);
                    let ip = texts(one, Some("ip"));
                    if ip.is_empty() { texts(one, Some("hostname")) } else { ip }
                })
                .collect();
            all.sort();
            all.dedup();
            all.extend(external);
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ClusterIP" | "NodePort" if external.is_empty() => printers::NONE.to_owned(),
        "ClusterIP" | "NodePort" => external.join(","),
        _ => "<unknown>".to_owned(),
    }
}

fn ports(object: &Object) -> String {
    let ports: Vec<String> = object
        .get_list(&["spec", "ports"])
        .iter()
        .map(|port| {
            let protocol = port["protocol"].as_str().unwrap_or_default();
            match port["nodePort"].as_i64() {
                Some(node_port) if node_port > 0 => {
                    format!("{}:{node_port}/{protocol}", port["port"])
                }
                _ => format!("{}/{protocol}", port["port"]),
            }
        })
        .collect();
    if ports.is_empty() { printers::NONE.to_owned() } else { ports.join(",") }
}

fn warnings(object: &Object) -> Vec<String> {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    let mut warnings = Vec::new();
    let spec = At::top(object, "spec");
    if object.annotation(HINTS).is_some() {
        warnings.push(format!(
            "annotation {HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"
        ));
    }
    if spec.str("clusterIP") == HEADLESS {
        let headless = "is ignored when spec.clusterIP is \"None\"";
        if !spec.str("loadBalancerIP").is_empty() {
            warnings.push(format!("spec.loadBalancerIP {headless}"));
        }
        if !spec.get("externalIPs").is_empty() {
            warnings.push(format!("spec.externalIPs {headless}"));
        }
        if spec.str("sessionAffinity") != "None" {
            warnings.push(format!("spec.SessionAffinity {headless}"));
        }
    }
    warnings.extend(crate::registry::warnings::of_service(&spec));
    warnings
}
