//! Ingress (networking.k8s.io): which paths of which hosts lead to which Services.

pub(super) mod check;
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

/// Named the class before `spec.ingressClassName` did.
pub(crate) const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// Hosts that a row shows.
const SHOWN_HOSTS: usize = 3;
const COLUMNS: [Column; 6] = [
    printers::NAME,
    printers::string(
        "Class",
        "The name of the IngressClass resource that should be used for additional configuration",
    ),
    printers::string(
        "Hosts",
        "Hosts that incoming requests are matched against before the ingress rule",
    ),
    printers::string(
        "Address",
        "Address is a list containing ingress points for the load-balancer",
    ),
    printers::string("Ports", "Ports of TLS configurations that open"),
    printers::AGE,
];

/// See the module.
pub(super) struct Ingress;

impl Strategy for Ingress {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::INGRESSES
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        if let Some(status) = defaults::child_or_new(&mut object.0, "status") {
            defaults::child_or_new(status, "loadBalancer");
        }
    }

    fn prepare_for_create(&self, _: &StrategyContext<'_>, object: &mut Object) {
        object.set(&["status"], json!({"loadBalancer": {}}));
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Object, old: &Object) {
        split_status(ctx.subresource, object, old);
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        check::ingress(object, &mut errors);
        let class = object.get_str(&["spec", "ingressClassName"]);
        if let Some(annotation) = object.annotation(CLASS_ANNOTATION)
            && object.get(&["spec", "ingressClassName"]).is_some()
            && annotation != class
        {
            let annotations = At::value("annotations", None);
            let place = annotations.get(CLASS_ANNOTATION);
            errors.invalid_as(
                &place,
                annotation,
                "must match `ingressClassName` when both are specified",
            );
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
            check::status(object, &mut errors);
        } else {
            check::ingress(object, &mut errors);
        }
        errors.0
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        let deprecated = format!(
            "annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"
        );
        object.annotation(CLASS_ANNOTATION).map(|_| deprecated).into_iter().collect()
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let tls = !object.get_list(&["spec", "tls"]).is_empty();
        vec![
            printers::name(object),
            printers::text_or(object, &["spec", "ingressClassName"], printers::NONE),
            hosts(object).into(),
            addresses(object).into(),
            if tls { "80, 443" } else { "80" }.into(),
            printers::age(object, now),
        ]
    }
}

/// The first hosts of the rules (`formatHosts`).
fn hosts(object: &Object) -> String {
    let rules = object.get_list(&["spec", "rules"]);
    let (mut shown, mut more) = (Vec::new(), false);
    for rule in rules {
        more |= shown.len() == SHOWN_HOSTS;
        let host = rule["host"].as_str().unwrap_or_default();
        if !more && !host.is_empty() {
            shown.push(host);
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (false, false) => shown.join(","),
        (false, true) => format!("{} + {} more...", shown.join(","), rules.len() - SHOWN_HOSTS),
    }
}

fn addresses(object: &Object) -> String {
    let entries = object.get_list(&["status", "loadBalancer", "ingress"]).iter();
    let mut addresses: Vec<&str> = entries
        .filter_map(|entry| {
            let text = |name: &str| entry[name].as_str().filter(|text| !text.is_empty());
            text("ip").or_else(|| text("hostname"))
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.join(",")
}
