//! RoleBinding and ClusterRoleBinding (rbac.authorization.k8s.io).

use apimachinery::{field::FieldError, object::Object, resource, resource::ResourceInfo};
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::at::{At, Errors, same},
};

const RBAC: &str = "rbac.authorization.k8s.io";
const COLUMNS: [Column; 6] = [
    printers::NAME,
    printers::string("Role", "The role that the binding grants."),
    printers::AGE,
    printers::wide("Users", "Users in the binding"),
    printers::wide("Groups", "Groups in the binding"),
    printers::wide("ServiceAccounts", "ServiceAccounts in the binding"),
];

/// Either kind of binding.
pub(super) struct RoleBinding(&'static ResourceInfo);

/// Bindings within one namespace.
pub(super) const ROLE_BINDING: RoleBinding = RoleBinding(&resource::ROLE_BINDINGS);
/// Bindings for the whole cluster.
pub(super) const CLUSTER_ROLE_BINDING: RoleBinding = RoleBinding(&resource::CLUSTER_ROLE_BINDINGS);

impl Strategy for RoleBinding {
    fn resource(&self) -> &'static ResourceInfo {
        self.0
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
        if let Some(role) = defaults::child(&mut object.0, "roleRef") {
            defaults::set_zero(role, "apiGroup", RBAC);
        }
        for subject in defaults::each(&mut object.0, "subjects") {
            if matches!(defaults::text(subject, "kind"), "User" | "Group") {
                defaults::set_zero(subject, "apiGroup", RBAC);
            }
        }
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        self.check(object, &mut errors);
        errors.0
    }

    fn validate_update(
        &self,
        _: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError> {
        let mut errors = Errors::default();
        self.check(object, &mut errors);
        meta::check_update(object, old, &mut errors);
        let role = At::top(object, "roleRef");
        if !same(role.raw(), old.0.get("roleRef")) {
            errors.invalid(&role, "cannot change roleRef");
        }
        errors.0
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let role = |field| object.get_str(&["roleRef", field]);
        let subjects = object.get_list(&["subjects"]).iter().map(|subject| {
            let text = |field: &str| subject[field].as_str().unwrap_or_default();
            let shown = match text("kind") {
                "ServiceAccount" => format!("{}/{}", text("namespace"), text("name")),
                _ => text("name").to_owned(),
            };
            (text("kind"), shown)
        });
        let mut groups = printers::grouped(subjects, ", ");
        let mut of = |kind| Value::from(groups.remove(kind).unwrap_or_default());
        vec![
            printers::name(object),
            format!("{}/{}", role("kind"), role("name")).into(),
            printers::age(object, now),
            of("User"),
            of("Group"),
            of("ServiceAccount"),
        ]
    }
}

impl RoleBinding {
    fn check(&self, object: &Object, errors: &mut Errors) {
        let namespaced = self.0.namespaced;
        meta::check(object, namespaced, meta::path_segment, errors);
        let role = At::top(object, "roleRef");
        let group = role.get("apiGroup");
        if group.text() != RBAC {
            errors.not_supported(&group, &[RBAC]);
        }
        let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
        let kind = role.get("kind");
        if !kinds.contains(&kind.text()) {
            errors.not_supported(&kind, kinds);
        }
        let name = role.get("name");
        if name.is_empty() {
            errors.required(&name, "");
        } else {
            errors.each(&name, meta::path_segment(name.text(), false));
        }
        for subject in At::top(object, "subjects").items() {
            check_subject(&subject, namespaced, errors);
        }
    }
}

fn check_subject(subject: &At<'_>, namespaced: bool, errors: &mut Errors) {
    let (name, group) = (subject.get("name"), subject.get("apiGroup"));
    if name.is_empty() {
        errors.required(&name, "");
    }
    match subject.str("kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                errors.each(&name, meta::dns_subdomain(name.text(), false));
            }
            if !group.is_empty() {
                errors.not_supported(&group, &[""]);
            }
            let namespace = subject.get("namespace");
            if !namespaced && namespace.is_empty() {
                errors.required(&namespace, "");
            }
        }
        kind @ ("User" | "Group") => {
            if name.is_empty() {
                errors.invalid(&name, format!("{} name cannot be empty", kind.to_lowercase()));
            }
            if group.text() != RBAC {
                errors.not_supported(&group, &[RBAC]);
            }
        }
        _ => errors.not_supported(&subject.get("kind"), &["ServiceAccount", "User", "Group"]),
    }
}
