//! IngressClass (networking.k8s.io): who serves the Ingresses that name it.

use apimachinery::{
    field::FieldError,
    object::Object,
    resource,
    resource::ResourceInfo,
    validation::{is_dns1123_label, is_dns1123_subdomain},
};
use jiff::Timestamp;
use serde_json::Value;

use super::ingress::check::reference;
use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::at::{At, Errors},
};

const LONGEST_CONTROLLER: usize = 250;
const COLUMNS: [Column; 4] = [
    printers::NAME,
    printers::string("Controller", "Controller that is responsible for handling this class"),
    printers::string("Parameters", "A reference to a resource with additional parameters"),
    printers::AGE,
];

/// See the module.
pub(super) struct IngressClass;

impl Strategy for IngressClass {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::INGRESS_CLASSES
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        if let Some(spec) = defaults::child_or_new(&mut object.0, "spec")
            && let Some(parameters) = defaults::child(spec, "parameters")
        {
            defaults::set(parameters, "scope", "Cluster");
        }
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check(object, false, meta::dns_subdomain, &mut errors);
        check_spec(&At::top(object, "spec"), &mut errors);
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
        let [new, old] = [object, old].map(|object| At::top(object, "spec"));
        check_spec(&new, &mut errors);
        errors.immutable(&new.get("controller"), &old.get("controller"));
        errors.0
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let text = |name| object.get_str(&["spec", "parameters", name]);
        let parameters = match (object.get(&["spec", "parameters"]), text("apiGroup")) {
            (None, _) => printers::NONE.to_owned(),
            (Some(_), "") => format!("{}/{}", text("kind"), text("name")),
            (Some(_), group) => format!("{}.{group}/{}", text("kind"), text("name")),
        };
        vec![
            printers::name(object),
            object.get_str(&["spec", "controller"]).into(),
            parameters.into(),
            printers::age(object, now),
        ]
    }
}

fn check_spec(spec: &At<'_>, errors: &mut Errors) {
    let controller = spec.get("controller");
    if controller.len() > LONGEST_CONTROLLER {
        errors.too_long(&controller, LONGEST_CONTROLLER);
    }
    domain_prefixed_path(&controller, errors);
    let parameters = spec.get("parameters");
    if !parameters.is_set() {
        return;
    }
    reference(&parameters, errors);
    let [scope, namespace] = ["scope", "namespace"].map(|name| parameters.get(name));
    match scope.text() {
        "Namespace" if !namespace.is_set() => {
            errors.required(&namespace, "`parameters.scope` is set to 'Namespace'");
        }
        "Namespace" => errors.each(&namespace, is_dns1123_label(namespace.text())),
        "Cluster" if namespace.is_set() => {
            errors.forbidden(&namespace, "`parameters.scope` is set to 'Cluster'");
        }
        "Cluster" => {}
        _ => errors.not_supported(&scope, &["Cluster", "Namespace"]),
    }
}

/// `acme.io/foo` (`IsDomainPrefixedPath`).
fn domain_prefixed_path(at: &At<'_>, errors: &mut Errors) {
    if at.is_empty() {
        errors.required(at, "");
        return;
    }
    let parts =
        at.text().split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty());
    let Some((host, path)) = parts else {
        errors.invalid(at, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        return;
    };
    errors.each_as(at, host, is_dns1123_subdomain(host));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    if !path.bytes().all(allowed) {
        errors.invalid_as(
            at,
            path,
            "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
        );
    }
}
