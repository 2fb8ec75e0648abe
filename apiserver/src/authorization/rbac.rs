//! Role-based access control, evaluated on a compiled snapshot.
//!
//! A [`PolicyIndex`] is built from all roles and bindings whenever one of them changes. For a user it is *resolved*
//! once: the rules of every binding that names the user or one of the groups, those of cluster scope and those of
//! each namespace apart. Resolutions are kept in the index that made them, so a request costs one map look-up and a
//! walk over the user's own rules, and a change of the policy drops them all.
//!
//! Matching follows `k8s.io/component-helpers/auth/rbac/validation` and `pkg/apis/rbac/v1/evaluation_helpers.go`. An
//! aggregated ClusterRole is evaluated as the union of the roles that its selectors match.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::RwLock;
use serde::Deserialize;

use super::Attributes;
use crate::request::UserInfo;

/// `rbac/v1` PolicyRule.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// Verbs, `*` for all.
    pub verbs: Vec<String>,
    /// API groups, "" for the core group, `*` for all.
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`, `*`.
    pub resources: Vec<String>,
    /// Empty: every name.
    pub resource_names: Vec<String>,
    /// Paths, a final `*` stands for any rest.
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
}

fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|item| item == "*" || item == word)
}

impl PolicyRule {
    /// Whether this rule allows the request.
    #[must_use]
    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        match attributes {
            Attributes::Resource { verb, group, resource, subresource, name, .. } => {
                has(&self.verbs, verb)
                    && has(&self.api_groups, group)
                    && self
                        .resources
                        .iter()
                        .any(|rule| resource_matches(rule, resource, subresource))
                    && (self.resource_names.is_empty()
                        || self.resource_names.iter().any(|allowed| allowed == name))
            }
            Attributes::Path { verb, path } => {
                has(&self.verbs, verb)
                    && self.non_resource_urls.iter().any(|rule| match rule.strip_suffix('*') {
                        Some(prefix) => path.starts_with(prefix),
                        None => rule == path,
                    })
            }
        }
    }
}

fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    match rule.split_once('/') {
        _ if rule == "*" => true,
        Some((rule_resource, rule_subresource)) => {
            (rule_resource == "*" || rule_resource == resource)
                && rule_subresource == subresource
                && !subresource.is_empty()
        }
        None => subresource.is_empty() && rule == resource,
    }
}

/// A Role or ClusterRole, as far as authorization reads it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleView {
    metadata: MetaView,
    rules: Option<Vec<PolicyRule>>,
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct MetaView {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AggregationRule {
    cluster_role_selectors: Vec<apimachinery::api::meta::LabelSelector>,
}

/// A RoleBinding or ClusterRoleBinding, as far as authorization reads it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BindingView {
    metadata: MetaView,
    role_ref: RoleRef,
    subjects: Option<Vec<Subject>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

impl Subject {
    /// Whether the subject, in a binding of `binding_namespace`, is this user.
    fn is(&self, user: &UserInfo, binding_namespace: &str) -> bool {
        match self.kind.as_str() {
            "User" => self.name == user.name,
            "Group" => user.groups.contains(&self.name),
            "ServiceAccount" => {
                let namespace =
                    if self.namespace.is_empty() { binding_namespace } else { &self.namespace };
                user.name
                    .strip_prefix("system:serviceaccount:")
                    .and_then(|rest| rest.split_once(':'))
                    .is_some_and(|(ns, name)| ns == namespace && name == self.name)
            }
            _ => false,
        }
    }
}

/// The rules that one user holds.
#[derive(Debug, Default)]
pub struct UserRules {
    cluster: Vec<Arc<[PolicyRule]>>,
    namespaces: HashMap<String, Vec<Arc<[PolicyRule]>>>,
}

impl UserRules {
    /// Whether any rule allows the request.
    #[must_use]
    pub fn allow(&self, attributes: &Attributes<'_>) -> bool {
        let any = |sets: &[Arc<[PolicyRule]>]| {
            sets.iter().any(|rules| rules.iter().any(|rule| rule.allows(attributes)))
        };
        any(&self.cluster)
            || match attributes {
                Attributes::Resource { namespace, .. } if !namespace.is_empty() => {
                    self.namespaces.get(*namespace).is_some_and(|sets| any(sets))
                }
                _ => false,
            }
    }

    /// The rules in force in a namespace, those of the whole cluster first.
    pub fn rules(&self, namespace: &str) -> impl Iterator<Item = &PolicyRule> {
        let sets = self.cluster.iter().chain(self.namespaces.get(namespace).into_iter().flatten());
        sets.flat_map(|rules| rules.iter())
    }
}

/// Name and groups.
type UserKey = (String, Vec<String>);

/// A refusal names no more missing rules than this.
const MAX_MISSING: usize = 500;
/// Rules are taken apart into no more pieces than this: one for each verb with each group, resource and name.
const MAX_PIECES: usize = 200_000;

impl UserRules {
    /// What of the wanted rules the user does not hold in a namespace ("" for the whole cluster), in small pieces; of very
    /// many the first.
    ///
    /// # Errors
    /// Rules that no rule of the user covers as a whole, and that are too many to be compared piece by piece.
    pub fn missing(
        &self,
        namespace: &str,
        wanted: &[PolicyRule],
    ) -> Result<Vec<PolicyRule>, String> {
        let held: Vec<&PolicyRule> = self.rules(namespace).collect();
        let open: Vec<&PolicyRule> =
            wanted.iter().filter(|rule| !held.iter().any(|own| own.covers(rule))).collect();
        let pieces = open.iter().map(|rule| rule.pieces()).fold(0, usize::saturating_add);
        if pieces > MAX_PIECES {
            return Err(format!(
                "the rules stand for {pieces} combinations of verbs, groups, resources and names: more than {MAX_PIECES} cannot be compared with what the user holds"
            ));
        }
        let mut missing = Vec::new();
        for rule in open {
            if missing.len() >= MAX_MISSING {
                break;
            }
            rule.missing_in(&held, &mut missing);
        }
        Ok(missing)
    }
}

impl PolicyRule {
    /// How many pieces it is taken apart into.
    fn pieces(&self) -> usize {
        let resources =
            [self.api_groups.len(), self.resources.len(), self.resource_names.len().max(1)]
                .into_iter()
                .fold(1, usize::saturating_mul);
        self.verbs.len().saturating_mul(resources.saturating_add(self.non_resource_urls.len()))
    }

    /// Adds the pieces of this rule that no held rule covers: the verbs of a resource together, those of a path apart.
    fn missing_in(&self, held: &[&Self], missing: &mut Vec<Self>) {
        let one = |text: &String| vec![text.clone()];
        let not_held = |piece: &Self| !held.iter().any(|rule| rule.covers(piece));
        let names: Vec<Vec<String>> = match self.resource_names.as_slice() {
            [] => vec![Vec::new()],
            names => names.iter().map(one).collect(),
        };
        for group in &self.api_groups {
            for resource in &self.resources {
                for name in &names {
                    let mut piece = Self {
                        api_groups: one(group),
                        resources: one(resource),
                        resource_names: name.clone(),
                        ..Self::default()
                    };
                    let lacking = self.verbs.iter().filter(|verb| {
                        piece.verbs = one(verb);
                        not_held(&piece)
                    });
                    piece.verbs = lacking.cloned().collect();
                    if !piece.verbs.is_empty() && missing.len() < MAX_MISSING {
                        missing.push(piece);
                    }
                }
            }
        }
        for verb in &self.verbs {
            for url in &self.non_resource_urls {
                let piece =
                    Self { verbs: one(verb), non_resource_urls: one(url), ..Self::default() };
                if not_held(&piece) && missing.len() < MAX_MISSING {
                    missing.push(piece);
                }
            }
        }
    }
}

impl PolicyRule {
    /// Whether this rule holds all that one piece of another grants.
    fn covers(&self, piece: &Self) -> bool {
        let all = |ours: &[String], theirs: &[String]| theirs.iter().all(|item| has(ours, item));
        let resource = |wanted: &String| {
            has(&self.resources, wanted)
                || wanted
                    .split_once('/')
                    .is_some_and(|(_, sub)| self.resources.contains(&format!("*/{sub}")))
        };
        let url = |wanted: &String| {
            self.non_resource_urls.iter().any(|rule| match rule.strip_suffix('*') {
                Some(prefix) => wanted.starts_with(prefix),
                None => rule == wanted,
            })
        };
        all(&self.verbs, &piece.verbs)
            && all(&self.api_groups, &piece.api_groups)
            && piece.resources.iter().all(resource)
            && (self.resource_names.is_empty()
                || !piece.resource_names.is_empty()
                    && piece.resource_names.iter().all(|name| self.resource_names.contains(name)))
            && piece.non_resource_urls.iter().all(url)
    }
}

/// The form in which refusals list rules: `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`.
impl std::fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| {
            let quoted: Vec<String> =
                list.iter().map(|item| apimachinery::field::go_quote(item)).collect();
            format!("{name}:[{}]", quoted.join(" "))
        })
        .collect();
        write!(f, "{{{}}}", parts.join(", "))
    }
}

/// All roles and bindings at one moment.
#[derive(Debug, Default)]
pub struct PolicyIndex {
    cluster_roles: HashMap<String, Arc<[PolicyRule]>>,
    roles: HashMap<(String, String), Arc<[PolicyRule]>>,
    cluster_bindings: Vec<BindingView>,
    bindings: Vec<BindingView>,
    resolved: RwLock<HashMap<UserKey, Arc<UserRules>>>,
}

/// More users than this at once, and the resolutions start afresh: a bound, not a tuned size.
const MAX_RESOLVED_USERS: usize = 4096;

impl PolicyIndex {
    /// Compiles the policy.
    #[must_use]
    pub fn new(
        cluster_roles: &[RoleView],
        roles: Vec<RoleView>,
        cluster_bindings: Vec<BindingView>,
        bindings: Vec<BindingView>,
    ) -> Self {
        Self {
            cluster_roles: cluster_roles
                .iter()
                .map(|role| (role.metadata.name.clone(), aggregated_rules(role, cluster_roles)))
                .collect(),
            roles: roles
                .into_iter()
                .map(|role| {
                    (
                        (role.metadata.namespace, role.metadata.name),
                        role.rules.unwrap_or_default().into(),
                    )
                })
                .collect(),
            cluster_bindings,
            bindings,
            resolved: RwLock::default(),
        }
    }

    /// The rules of one user.
    #[must_use]
    pub fn rules_of(&self, user: &UserInfo) -> Arc<UserRules> {
        let key = (user.name.clone(), user.groups.clone());
        if let Some(found) = self.resolved.read().get(&key) {
            return found.clone();
        }
        let rules = Arc::new(self.resolve(user));
        let mut resolved = self.resolved.write();
        if resolved.len() >= MAX_RESOLVED_USERS {
            resolved.clear();
        }
        resolved.insert(key, rules.clone());
        rules
    }

    /// The rules of the role that a binding in a namespace refers to.
    #[must_use]
    pub fn role(&self, kind: &str, namespace: &str, name: &str) -> Option<&Arc<[PolicyRule]>> {
        match kind {
            "ClusterRole" => self.cluster_roles.get(name),
            _ => self.roles.get(&(namespace.to_owned(), name.to_owned())),
        }
    }

    /// The binding that allows a request, as Kubernetes describes it: `ClusterRoleBinding "a" of ClusterRole "b" to User
    /// "c"`.
    #[must_use]
    pub fn grant(&self, user: &UserInfo, attributes: &Attributes<'_>) -> Option<String> {
        let namespace = match attributes {
            Attributes::Resource { namespace, .. } => *namespace,
            Attributes::Path { .. } => "",
        };
        let local = self
            .bindings
            .iter()
            .filter(|binding| !namespace.is_empty() && binding.metadata.namespace == namespace);
        self.cluster_bindings.iter().chain(local).find_map(|binding| {
            let own = binding.metadata.namespace.as_str();
            let subject = binding.subjects.iter().flatten().find(|s| s.is(user, own))?;
            let role_ref = &binding.role_ref;
            let rules = self.role(&role_ref.kind, own, &role_ref.name)?;
            let allows = rules.iter().any(|rule| rule.allows(attributes));
            allows.then(|| {
                let (kind, place) = match own {
                    "" => ("ClusterRoleBinding", String::new()),
                    _ => ("RoleBinding", format!("/{own}")),
                };
                let place_of_subject = match subject.kind.as_str() {
                    "ServiceAccount" if subject.namespace.is_empty() => format!("/{own}"),
                    "ServiceAccount" => format!("/{}", subject.namespace),
                    _ => String::new(),
                };
                format!(
                    "{kind} \"{}{place}\" of {} \"{}\" to {} \"{}{place_of_subject}\"",
                    binding.metadata.name, role_ref.kind, role_ref.name, subject.kind, subject.name,
                )
            })
        })
    }

    fn resolve(&self, user: &UserInfo) -> UserRules {
        let mut rules = UserRules::default();
        let names = |binding: &BindingView| {
            binding
                .subjects
                .iter()
                .flatten()
                .any(|subject| subject.is(user, &binding.metadata.namespace))
        };
        for binding in self.cluster_bindings.iter().filter(|binding| names(binding)) {
            rules.cluster.extend(self.cluster_roles.get(&binding.role_ref.name).cloned());
        }
        for binding in self.bindings.iter().filter(|binding| names(binding)) {
            let namespace = &binding.metadata.namespace;
            let role_ref = &binding.role_ref;
            if let Some(role) = self.role(&role_ref.kind, namespace, &role_ref.name) {
                rules.namespaces.entry(namespace.clone()).or_default().push(role.clone());
            }
        }
        rules
    }
}

/// A role's own rules, or those of all the roles that it aggregates.
fn aggregated_rules(role: &RoleView, all: &[RoleView]) -> Arc<[PolicyRule]> {
    let Some(aggregation) = &role.aggregation_rule else {
        return role.rules.clone().unwrap_or_default().into();
    };
    let mut rules = Vec::new();
    for selector in &aggregation.cluster_role_selectors {
        let Ok(selector) = apimachinery::labels::Selector::from_label_selector(Some(selector))
        else {
            continue;
        };
        for other in all.iter().filter(|other| other.metadata.name != role.metadata.name) {
            if selector.matches(&other.metadata.labels) {
                // One level deep suffices: an aggregated role's rules are already filled in where it is stored.
                for rule in other.rules.iter().flatten() {
                    if !rules.contains(rule) {
                        rules.push(rule.clone());
                    }
                }
            }
        }
    }
    rules.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn index() -> PolicyIndex {
        PolicyIndex::new(
            &[
                parse(json!({"metadata": {"name": "reader"}, "rules": [
                    {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log", "*/scale"]},
                    {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/healthz/*"]}]})),
                parse(json!({"metadata": {"name": "named"}, "rules": [
                    {"verbs": ["*"], "apiGroups": ["apps"], "resources": ["*"], "resourceNames": ["web"]}]})),
            ],
            vec![parse(json!({"metadata": {"name": "edit", "namespace": "a"}, "rules": [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}))],
            vec![
                parse(
                    json!({"metadata": {"name": "1"}, "roleRef": {"kind": "ClusterRole", "name": "reader"},
                    "subjects": [{"kind": "Group", "name": "devs"}]}),
                ),
                parse(
                    json!({"metadata": {"name": "2"}, "roleRef": {"kind": "ClusterRole", "name": "named"},
                    "subjects": [{"kind": "User", "name": "ann"}]}),
                ),
            ],
            vec![parse(json!({"metadata": {"name": "3", "namespace": "a"},
                "roleRef": {"kind": "Role", "name": "edit"},
                "subjects": [{"kind": "ServiceAccount", "name": "bot"}]}))],
        )
    }

    #[test]
    fn decides_as_kubernetes_does() {
        let index = index();
        let user = |name: &str, groups: &[&str]| UserInfo {
            name: name.into(),
            groups: groups.iter().map(ToString::to_string).collect(),
            ..UserInfo::default()
        };
        let check = |user: &UserInfo, attributes: Attributes<'_>, allowed: bool| {
            assert_eq!(index.rules_of(user).allow(&attributes), allowed, "{attributes:?}");
        };
        let resource = |verb, group, resource, subresource, namespace, name| Attributes::Resource {
            verb,
            group,
            resource,
            subresource,
            namespace,
            name,
        };
        let dev = user("dan", &["devs"]);
        check(&dev, resource("get", "", "pods", "", "default", "x"), true);
        check(&dev, resource("get", "", "pods", "log", "default", "x"), true);
        check(&dev, resource("get", "", "pods", "exec", "default", "x"), false);
        check(&dev, resource("get", "", "deployments", "scale", "default", "x"), true);
        check(&dev, resource("create", "", "pods", "", "default", ""), false);
        check(&dev, resource("get", "apps", "pods", "", "default", "x"), false);
        check(&dev, Attributes::Path { verb: "get", path: "/healthz/ping" }, true);
        check(&dev, Attributes::Path { verb: "get", path: "/metrics/x" }, false);
        let ann = user("ann", &[]);
        check(&ann, resource("delete", "apps", "deployments", "", "b", "web"), true);
        check(&ann, resource("delete", "apps", "deployments", "", "b", "api"), false);
        let bot = user("system:serviceaccount:a:bot", &[]);
        check(&bot, resource("delete", "apps", "deployments", "", "a", "x"), true);
        check(&bot, resource("delete", "apps", "deployments", "", "b", "x"), false);
        check(&bot, resource("delete", "", "nodes", "", "", "x"), false);
        check(&user("bot", &[]), resource("get", "", "pods", "", "a", "x"), false);
    }

    #[test]
    fn nobody_grants_what_they_do_not_hold() {
        let index = index();
        let user = |name: &str, groups: &[&str]| UserInfo {
            name: name.into(),
            groups: groups.iter().map(ToString::to_string).collect(),
            ..UserInfo::default()
        };
        let check =
            |user: &UserInfo, namespace: &str, rule: serde_json::Value, missing: &[&str]| {
                let wanted: Vec<PolicyRule> = parse(json!([rule]));
                let found = index.rules_of(user).missing(namespace, &wanted).unwrap();
                assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), missing);
            };
        let dev = user("dan", &["devs"]);
        check(
            &dev,
            "a",
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "x/scale"]}),
            &[],
        );
        check(
            &dev,
            "a",
            json!({"verbs": ["get", "create", "delete"], "apiGroups": [""], "resources": ["pods"]}),
            &[r#"{APIGroups:[""], Resources:["pods"], Verbs:["create" "delete"]}"#],
        );
        check(&dev, "", json!({"verbs": ["get"], "nonResourceURLs": ["/healthz/x"]}), &[]);
        let ann = user("ann", &[]);
        check(
            &ann,
            "a",
            json!({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["x"], "resourceNames": ["web"]}),
            &[],
        );
        check(
            &ann,
            "a",
            json!({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["x"]}),
            &[r#"{APIGroups:["apps"], Resources:["x"], Verbs:["get"]}"#],
        );
        let bot = user("system:serviceaccount:a:bot", &[]);
        check(&bot, "a", json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}), &[]);
        check(
            &bot,
            "b",
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}),
            &[r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#],
        );
    }

    #[test]
    fn a_rule_of_billions_of_combinations_is_not_taken_apart() {
        let index = index();
        let many: Vec<String> = (0..300).map(|n| format!("word-{n}")).collect();
        let rule =
            json!({"verbs": many, "apiGroups": many, "resources": many, "resourceNames": many});
        let wanted: Vec<PolicyRule> = parse(json!([rule]));
        let user = |name: &str| UserInfo { name: name.into(), ..UserInfo::default() };
        let refused = index.rules_of(&user("ann")).missing("a", &wanted).unwrap_err();
        assert!(refused.starts_with("the rules stand for 8100000000 combinations"), "{refused}");
        // Whoever holds all of it by one rule may grant it.
        let bot = index.rules_of(&user("system:serviceaccount:a:bot"));
        assert_eq!(bot.missing("a", &wanted), Ok(Vec::new()));
        // What can be compared is, and of the missing the first are told.
        let few: Vec<PolicyRule> =
            parse(json!([{"verbs": ["get"], "apiGroups": many, "resources": many}]));
        assert_eq!(index.rules_of(&user("ann")).missing("a", &few).unwrap().len(), MAX_MISSING);
    }
}
