//! Role and ClusterRole (rbac.authorization.k8s.io).

use apimachinery::{field::FieldError, object::Object, resource, resource::ResourceInfo};
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Strategy, StrategyContext},
    validation::{
        at::{At, Errors},
        labels,
    },
};

const COLUMNS: [Column; 2] = [
    printers::NAME,
    Column {
        name: "Created At",
        kind: "date",
        format: "",
        description: "When the object was created, by the server's clock.",
        priority: 0,
    },
];

/// Either kind of role.
pub(super) struct Role(&'static ResourceInfo);

/// Roles of one namespace.
pub(super) const ROLE: Role = Role(&resource::ROLES);
/// Roles of the whole cluster.
pub(super) const CLUSTER_ROLE: Role = Role(&resource::CLUSTER_ROLES);

impl Strategy for Role {
    fn resource(&self) -> &'static ResourceInfo {
        self.0
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
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

    fn row(&self, object: &Object, _: Timestamp) -> Vec<Value> {
        vec![printers::name(object), object.get_str(&["metadata", "creationTimestamp"]).into()]
    }
}

impl Role {
    fn check(&self, object: &Object, errors: &mut Errors) {
        meta::check(object, self.0.namespaced, meta::path_segment, errors);
        for rule in At::top(object, "rules").items() {
            check_rule(&rule, self.0.namespaced, errors);
        }
        let aggregation = At::top(object, "aggregationRule");
        let selectors = aggregation.get("clusterRoleSelectors");
        if aggregation.is_set() && selectors.is_empty() {
            errors.required(
                &selectors,
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            );
        }
        for selector in selectors.items() {
            labels::selector(&selector, errors);
        }
    }
}

fn check_rule(rule: &At<'_>, namespaced: bool, errors: &mut Errors) {
    let names = ["verbs", "nonResourceURLs", "apiGroups", "resources", "resourceNames"];
    let [verbs, urls, groups, resources, resource_names] = names.map(|name| rule.get(name));
    if verbs.is_empty() {
        errors.required(&verbs, "verbs must contain at least one value");
    }
    if !urls.is_empty() {
        if namespaced {
            errors.invalid(&urls, "namespaced rules cannot apply to non-resource URLs");
        }
        if !groups.is_empty() || !resources.is_empty() || !resource_names.is_empty() {
            errors.invalid(
                &urls,
                "rules cannot apply to both regular resources and non-resource URLs",
            );
        }
        return;
    }
    if groups.is_empty() {
        errors.required(&groups, "resource rules must supply at least one api group");
    }
    if resources.is_empty() {
        errors.required(&resources, "resource rules must supply at least one resource");
    }
}
