//! `create role`, `clusterrole`, `rolebinding` and `clusterrolebinding`.

use std::collections::BTreeMap;

use apimachinery::{object::Object, resource};
use serde_json::{Value, json};

use super::{GenerateError, Generated, error, metadata, object, parse_labels};

const API_GROUP: &str = "rbac.authorization.k8s.io";
const API_VERSION: &str = "rbac.authorization.k8s.io/v1";

/// The verbs that exist for resources.
const RESOURCE_VERBS: &[&str] = &[
    "*",
    "get",
    "delete",
    "list",
    "create",
    "update",
    "patch",
    "watch",
    "proxy",
    "deletecollection",
    "use",
    "bind",
    "escalate",
    "impersonate",
];

/// The verbs that exist for paths.
const PATH_VERBS: &[&str] = &["get", "put", "post", "head", "options", "delete", "patch", "*"];

/// Verbs that only these resources have, as group and plural.
const SPECIAL_VERBS: &[(&str, &[(&str, &str)])] = &[
    ("use", &[("policy", "podsecuritypolicies"), ("extensions", "podsecuritypolicies")]),
    ("bind", &[(API_GROUP, "roles"), (API_GROUP, "clusterroles")]),
    ("escalate", &[(API_GROUP, "roles"), (API_GROUP, "clusterroles")]),
    (
        "impersonate",
        &[
            ("", "users"),
            ("", "serviceaccounts"),
            ("", "groups"),
            ("authentication.k8s.io", "userextras"),
        ],
    ),
];

/// What the flags of `create role` and `create clusterrole` say.
#[derive(Clone, Debug, Default)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Whether it is a ClusterRole.
    pub cluster: bool,
    /// Of `--verb`.
    pub verbs: Vec<String>,
    /// Of `--resource`: `pods`, `deployments.apps`, `pods/log`, `*`.
    pub resources: Vec<String>,
    /// Of `--resource-name`.
    pub resource_names: Vec<String>,
    /// Of `--non-resource-url`.
    pub paths: Vec<String>,
    /// Of `--aggregation-rule`.
    pub aggregation: BTreeMap<String, String>,
}

/// One `--resource`, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Target {
    resource: String,
    group: String,
    subresource: String,
}

impl Role {
    /// Makes the object.
    ///
    /// # Errors
    /// When something is missing, is refused together, or does not exist.
    pub fn generate(&self) -> Generated {
        let verbs = self.verbs();
        let targets = targets(&self.resources);
        let names = deduplicated(&self.resource_names);
        self.check(&verbs, &targets, &names)?;
        let kind = if self.cluster { "ClusterRole" } else { "Role" };
        let mut role = object(json!({
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": metadata(&self.name, &BTreeMap::new()),
            "rules": null,
        }));
        if !self.aggregation.is_empty() {
            role.set(
                &["aggregationRule"],
                json!({"clusterRoleSelectors": [{"matchLabels": self.aggregation}]}),
            );
            return Ok(role);
        }
        let mut rules = rules(&verbs, &targets, &names);
        if !self.paths.is_empty() {
            rules.push(json!({"verbs": verbs, "nonResourceURLs": self.paths}));
        }
        role.set(&["rules"], rules);
        Ok(role)
    }

    /// `*` stands for all others.
    fn verbs(&self) -> Vec<String> {
        let verbs: Vec<String> =
            deduplicated(&self.verbs.iter().map(|verb| verb.trim().to_owned()).collect::<Vec<_>>());
        if verbs.iter().any(|verb| verb == "*") { vec!["*".to_owned()] } else { verbs }
    }

    fn check(
        &self,
        verbs: &[String],
        targets: &[Target],
        names: &[String],
    ) -> Result<(), GenerateError> {
        if !self.aggregation.is_empty() {
            let alone =
                self.paths.is_empty() && verbs.is_empty() && targets.is_empty() && names.is_empty();
            return if alone {
                Ok(())
            } else {
                error(
                    "aggregation rule must be specified without nonResourceURLs, verbs, resources or resourceNames",
                )
            };
        }
        if verbs.is_empty() {
            return error("at least one verb must be specified");
        }
        if targets.is_empty() && self.paths.is_empty() {
            return error(if self.cluster {
                "one of resource or nonResourceURL must be specified"
            } else {
                "at least one resource must be specified"
            });
        }
        check_targets(verbs, targets)?;
        if self.paths.is_empty() { Ok(()) } else { check_paths(verbs, &self.paths) }
    }

    /// The verbs that kubectl knows nothing of; it warns and goes on.
    #[must_use]
    pub fn unusual_verbs(&self) -> Vec<String> {
        if self.resources.is_empty() {
            return Vec::new();
        }
        let unusual = |verb: &String| !RESOURCE_VERBS.contains(&verb.as_str());
        self.verbs().into_iter().filter(unusual).collect()
    }
}

/// A lone `*` stands for all.
fn targets(specs: &[String]) -> Vec<Target> {
    if specs.iter().any(|spec| spec == "*") {
        return vec![Target::parse("*")];
    }
    specs.iter().map(|spec| Target::parse(spec)).collect()
}

impl Target {
    fn parse(spec: &str) -> Self {
        let (resource, subresource) = spec.split_once('/').unwrap_or((spec, ""));
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        Self {
            resource: resource.to_owned(),
            group: group.to_owned(),
            subresource: subresource.to_owned(),
        }
    }

    /// Group and plural as the cluster knows them, else as they were given.
    fn resolve(&self) -> (bool, String, String) {
        let name = match self.group.as_str() {
            "" => self.resource.clone(),
            group => format!("{}.{group}", self.resource),
        };
        match resource::resolve(&name).filter(|info| info.served) {
            Some(info) => (true, info.group.to_owned(), info.resource.to_owned()),
            None => (false, self.group.clone(), self.resource.clone()),
        }
    }
}

/// Resources must exist, and special verbs fit few of them.
fn check_targets(verbs: &[String], targets: &[Target]) -> Result<(), GenerateError> {
    for target in targets {
        if target.resource.is_empty() {
            return error("resource must be specified if apiGroup/subresource specified");
        }
        if target.resource == "*" {
            return Ok(());
        }
        let (mut known, group, resource) = target.resolve();
        for verb in verbs {
            let Some((_, fitting)) = SPECIAL_VERBS.iter().find(|(special, _)| special == verb)
            else {
                continue;
            };
            if !fitting.contains(&(group.as_str(), resource.as_str())) {
                return error(format!(
                    "can not perform '{verb}' on '{resource}' in group '{group}'"
                ));
            }
            known = true;
        }
        if !known {
            let resource = &target.resource;
            return error(match target.group.as_str() {
                "" => format!("the server doesn't have a resource type {resource:?}"),
                group => format!(
                    "the server doesn't have a resource type {resource:?} in group {group:?}"
                ),
            });
        }
    }
    Ok(())
}

fn check_paths(verbs: &[String], paths: &[String]) -> Result<(), GenerateError> {
    if let Some(verb) = verbs.iter().find(|verb| !PATH_VERBS.contains(&verb.as_str())) {
        return error(format!("invalid verb: '{verb}' for nonResourceURL"));
    }
    for path in paths.iter().filter(|path| *path != "*") {
        if !path.starts_with('/') {
            return error("nonResourceURL should start with /");
        }
        if path.find('*').is_some_and(|star| star + 1 != path.len()) {
            return error("nonResourceURL only supports wildcard matches when '*' is at the end");
        }
    }
    Ok(())
}

/// One rule for each API group, in the order of their names.
fn rules(verbs: &[String], targets: &[Target], names: &[String]) -> Vec<Value> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for target in targets {
        let (_, group, mut resource) = target.resolve();
        if !target.subresource.is_empty() {
            resource = format!("{resource}/{}", target.subresource);
        }
        let resources = groups.entry(group).or_default();
        if !resources.contains(&resource) {
            resources.push(resource);
        }
    }
    groups
        .into_iter()
        .map(|(group, resources)| {
            let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources});
            if !names.is_empty() {
                rule["resourceNames"] = json!(names);
            }
            rule
        })
        .collect()
}

fn deduplicated(items: &[String]) -> Vec<String> {
    let mut result: Vec<String> = Vec::new();
    for item in items {
        if !result.contains(item) {
            result.push(item.clone());
        }
    }
    result
}

/// What the flags of `create rolebinding` and `create clusterrolebinding` say.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// Whether it is a ClusterRoleBinding.
    pub cluster: bool,
    /// Of `--clusterrole`.
    pub cluster_role: String,
    /// Of `--role`.
    pub role: String,
    /// Of `--user`.
    pub users: Vec<String>,
    /// Of `--group`.
    pub groups: Vec<String>,
    /// Of `--serviceaccount`: `namespace:name`.
    pub service_accounts: Vec<String>,
}

impl Binding {
    /// Makes the object.
    ///
    /// # Errors
    /// When not exactly one role is named, or a service account has no namespace.
    pub fn generate(&self) -> Generated {
        if !self.cluster && (self.cluster_role.is_empty() == self.role.is_empty()) {
            return error("exactly one of clusterrole or role must be specified");
        }
        let mut subjects = Vec::new();
        for (kind, names) in [("User", &self.users), ("Group", &self.groups)] {
            for name in names {
                subjects.push(json!({"apiGroup": API_GROUP, "kind": kind, "name": name}));
            }
        }
        for account in &self.service_accounts {
            let parts: Vec<&str> = account.split(':').collect();
            let [namespace, name] = parts[..] else {
                return error("serviceaccount must be <namespace>:<name>");
            };
            if namespace.is_empty() || name.is_empty() {
                return error("serviceaccount must be <namespace>:<name>");
            }
            subjects.push(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
        }
        let (role_kind, role) = if self.cluster_role.is_empty() {
            ("Role", &self.role)
        } else {
            ("ClusterRole", &self.cluster_role)
        };
        let kind = if self.cluster { "ClusterRoleBinding" } else { "RoleBinding" };
        let mut binding: Object = object(json!({
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": metadata(&self.name, &BTreeMap::new()),
            "roleRef": {"apiGroup": API_GROUP, "kind": role_kind, "name": role},
        }));
        if !subjects.is_empty() {
            binding.set(&["subjects"], subjects);
        }
        Ok(binding)
    }
}

/// Reads `--aggregation-rule`.
///
/// # Errors
/// When it is no comma list of pairs.
pub fn parse_aggregation(spec: &str) -> Result<BTreeMap<String, String>, GenerateError> {
    if spec.is_empty() { Ok(BTreeMap::new()) } else { parse_labels(spec) }
}
