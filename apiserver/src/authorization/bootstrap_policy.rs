//! Kubernetes' default roles and bindings, as tables, and the objects that they become at start.
//!
//! Names and rules are those of Kubernetes 1.36 with its default features, so that a manifest which binds a default
//! role means here what it means there; rules for kinds that this server does not serve do no harm. The aggregated
//! roles `admin`, `edit` and `view` are stored with the rules that the aggregation controller would fill in, so that they
//! hold from the first moment; it keeps them then.

mod cluster_roles;
mod controller_roles;
mod namespace_roles;

use apimachinery::{
    object::Object,
    resource::{self, ResourceInfo},
};
use serde_json::{Value, json};

/// One rule of a default role.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    resources: &'static [&'static str],
    names: &'static [&'static str],
    urls: &'static [&'static str],
}

/// A rule about resources.
const fn on(
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    resources: &'static [&'static str],
) -> Rule {
    Rule { verbs, groups, resources, names: &[], urls: &[] }
}

/// A rule about paths.
const fn urls(verbs: &'static [&'static str], urls: &'static [&'static str]) -> Rule {
    Rule { verbs, groups: &[], resources: &[], names: &[], urls }
}

impl Rule {
    const fn named(mut self, names: &'static [&'static str]) -> Self {
        self.names = names;
        self
    }

    fn to_value(self) -> Value {
        let mut rule = serde_json::Map::new();
        rule.insert("verbs".into(), json!(self.verbs));
        for (key, list) in [
            ("apiGroups", self.groups),
            ("resources", self.resources),
            ("resourceNames", self.names),
            ("nonResourceURLs", self.urls),
        ] {
            if !list.is_empty() {
                rule.insert(key.into(), json!(list));
            }
        }
        Value::Object(rule)
    }
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const READ_WRITE: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const READ_UPDATE: &[&str] = &["get", "list", "patch", "update", "watch"];
const ALL: &[&str] = &["*"];
const CORE: &[&str] = &[""];
const APPS: &[&str] = &["apps"];
const AUTHENTICATION: &[&str] = &["authentication.k8s.io"];
const AUTHORIZATION: &[&str] = &["authorization.k8s.io"];
const AUTOSCALING: &[&str] = &["autoscaling"];
const BATCH: &[&str] = &["batch"];
const CERTIFICATES: &[&str] = &["certificates.k8s.io"];
const COORDINATION: &[&str] = &["coordination.k8s.io"];
const DISCOVERY: &[&str] = &["discovery.k8s.io"];
const NETWORKING: &[&str] = &["networking.k8s.io"];
const POLICY: &[&str] = &["policy"];
const RBAC: &[&str] = &["rbac.authorization.k8s.io"];
const RESOURCE: &[&str] = &["resource.k8s.io"];
const STORAGE: &[&str] = &["storage.k8s.io"];
const APPS_AND_EXTENSIONS: &[&str] = &["apps", "extensions"];

/// Every component may write events.
const EVENTS: Rule = on(&["create", "patch", "update"], &["", "events.k8s.io"], &["events"]);

/// A default role.
struct Role {
    name: &'static str,
    /// The role is part of `admin`, `edit` or `view`.
    aggregate_to: Option<&'static str>,
    /// The role is the union of those labelled for it.
    aggregates: Option<&'static str>,
    rules: &'static [Rule],
}

const fn role(name: &'static str, rules: &'static [Rule]) -> Role {
    Role { name, aggregate_to: None, aggregates: None, rules }
}

/// Who holds a default role.
enum Holder {
    Group(&'static str),
    User(&'static str),
    ServiceAccount(&'static str, &'static str),
}

impl Holder {
    fn to_value(&self) -> Value {
        const GROUP: &str = "rbac.authorization.k8s.io";
        match self {
            Self::Group(name) => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
            Self::User(name) => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
            Self::ServiceAccount(namespace, name) => {
                json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
            }
        }
    }
}

/// The static rules of `system:node`, which the Node authorizer grants to every node.
pub(crate) fn node_rules() -> impl Iterator<Item = super::rbac::PolicyRule> {
    cluster_roles::NODE.iter().map(|rule| {
        serde_json::from_value(rule.to_value())
            .expect("the table's rules have a PolicyRule's shape")
    })
}

/// Every default object, in the order in which they are to be stored.
pub(crate) fn objects() -> Vec<(&'static ResourceInfo, Object)> {
    let mut objects = Vec::new();
    for role in cluster_roles::ROLES {
        objects.push((&resource::CLUSTER_ROLES, cluster_role(role.name, role)));
    }
    for (holders, name) in cluster_roles::BINDINGS {
        objects.push((&resource::CLUSTER_ROLE_BINDINGS, cluster_binding(name, holders)));
    }
    for (name, rules) in controller_roles::ROLES {
        let full_name = format!("system:controller:{name}");
        // The controllers run in one process under one certificate; Kubernetes' account of the controller holds the
        // role too, for a manager that runs with ServiceAccount credentials.
        let holder = [
            Holder::ServiceAccount("kube-system", name),
            Holder::User("system:kube-controller-manager"),
        ];
        let definition = role("", rules);
        objects.push((&resource::CLUSTER_ROLES, cluster_role(&full_name, &definition)));
        objects.push((&resource::CLUSTER_ROLE_BINDINGS, cluster_binding(&full_name, &holder)));
    }
    for (namespace, name, rules) in namespace_roles::ROLES {
        objects.push((
            &resource::ROLES,
            object(
                "Role",
                namespace,
                name,
                json!({
                    "rules": rules.iter().map(|rule| rule.to_value()).collect::<Vec<_>>(),
                }),
            ),
        ));
    }
    for (namespace, name, role, holders) in namespace_roles::BINDINGS {
        objects.push((&resource::ROLE_BINDINGS, object("RoleBinding", namespace, name, json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
            "subjects": holders.iter().map(Holder::to_value).collect::<Vec<_>>(),
        }))));
    }
    objects
}

fn object(kind: &str, namespace: &str, name: &str, rest: Value) -> Object {
    let mut metadata = json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    let mut object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
    });
    if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
        object.extend(rest);
    }
    Object::from_value(object).expect("a JSON object")
}

fn cluster_role(name: &str, role: &Role) -> Object {
    let rules: Vec<Value> = match role.aggregates {
        None => role.rules.iter().map(|rule| rule.to_value()).collect(),
        Some(target) => aggregated(target),
    };
    let mut body = json!({"rules": rules});
    if let Some(target) = role.aggregates {
        body["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {aggregation_label(target): "true"}}]});
    }
    let mut object = object("ClusterRole", "", name, body);
    if let Some(target) = role.aggregate_to {
        object.set(&["metadata", "labels", &aggregation_label(target)], "true");
    }
    object
}

fn aggregation_label(target: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{target}")
}

/// The union of the rules of all roles aggregated to `target`, through every level.
fn aggregated(target: &str) -> Vec<Value> {
    let mut rules = Vec::new();
    for role in cluster_roles::ROLES.iter().filter(|role| role.aggregate_to == Some(target)) {
        rules.extend(role.rules.iter().map(|rule| rule.to_value()));
        if let Some(below) = role.aggregates {
            rules.extend(aggregated(below));
        }
    }
    rules
}

fn cluster_binding(name: &str, holders: &[Holder]) -> Object {
    let mut body = json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
    });
    if !holders.is_empty() {
        body["subjects"] = holders.iter().map(Holder::to_value).collect();
    }
    object("ClusterRoleBinding", "", name, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_roles_are_whole() {
        let objects = objects();
        let find = |kind: &str, name: &str| {
            objects
                .iter()
                .map(|(_, object)| object)
                .find(|object| object.kind() == kind && object.name() == name)
                .unwrap_or_else(|| panic!("{kind} {name}"))
        };
        for name in
            ["cluster-admin", "admin", "edit", "view", "system:kube-scheduler", "system:node"]
        {
            find("ClusterRole", name);
        }
        let rules =
            |name| find("ClusterRole", name).get(&["rules"]).unwrap().as_array().unwrap().len();
        assert!(
            rules("admin") > rules("edit") && rules("edit") > rules("view") && rules("view") > 5
        );
        find("ClusterRoleBinding", "system:controller:replicaset-controller");
        assert_eq!(
            find("ClusterRoleBinding", "cluster-admin").get(&["subjects"]).unwrap(),
            &json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:masters"}])
        );
    }
}
