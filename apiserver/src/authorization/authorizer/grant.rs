//! Nobody grants more than they hold: what the RBAC registry of Kubernetes checks before it stores a role or a binding
//! (`pkg/registry/rbac/*/policybased`).
//!
//! The verb `escalate` on a role and `bind` on a role that is bound lift the check. A write that changes only what the
//! garbage collector changes is let through; any other is checked whole, for a label alone can put a role's rules into an
//! aggregated one. An `aggregationRule` can gather anything: it needs every right there is.

use std::{collections::BTreeSet, sync::Arc};

use apimachinery::{
    field::go_quote,
    object::Object,
    resource::{self, ResourceInfo},
};

use super::Authorizer;
use crate::{
    authorization::{Attributes, MASTERS, rbac::PolicyRule},
    request::{RequestContext, UserInfo},
};

/// What the garbage collector and the server itself change in an object's metadata.
const NOT_COMPARED: &[&str] =
    &["finalizers", "managedFields", "ownerReferences", "resourceVersion"];

impl Authorizer {
    /// Refuses a role or binding that would give more than the user holds. Call [`Authorizer::refresh`] before.
    ///
    /// # Errors
    /// The refusal's text.
    pub fn check_grant(
        &self,
        context: &RequestContext,
        object: &Object,
        old: Option<&Object>,
    ) -> Result<(), String> {
        let (user, info) = (&context.user, context.resource);
        // Whatever the version: rights name group and resource.
        let is =
            |other: &ResourceInfo| (info.group, info.resource) == (other.group, other.resource);
        let is_role = is(&resource::ROLES) || is(&resource::CLUSTER_ROLES);
        let is_binding = is(&resource::ROLE_BINDINGS) || is(&resource::CLUSTER_ROLE_BINDINGS);
        if !(is_role || is_binding) || user.groups.iter().any(|group| group == MASTERS) {
            return Ok(());
        }
        if old.is_some_and(|old| compared(old) == compared(object)) {
            return Ok(());
        }
        let policy = self.policy.load();
        let held = policy.index.rules_of(user);
        let namespace = context.namespace.as_str();
        let kind = object.get_str(&["roleRef", "kind"]);
        let (verb, resource, name) = match kind {
            _ if is_role => ("escalate", info.resource, object.name()),
            "ClusterRole" => ("bind", "clusterroles", object.get_str(&["roleRef", "name"])),
            _ => ("bind", "roles", object.get_str(&["roleRef", "name"])),
        };
        let group = info.group;
        let lifted =
            Attributes::Resource { verb, group, resource, subresource: "", namespace, name };
        if held.allow(&lifted) {
            return Ok(());
        }
        let wanted: Arc<[PolicyRule]> = if is_binding {
            policy
                .index
                .role(kind, namespace, name)
                .cloned()
                .ok_or_else(|| format!("{resource}.{group} \"{name}\" not found"))?
        } else {
            rules(object)?
        };
        let missing = held.missing(namespace, &wanted)?;
        if !missing.is_empty() {
            return Err(refusal(user, &missing));
        }
        if aggregates(object) || old.is_some_and(aggregates) {
            let lacks = !held.missing(namespace, &everything())?.is_empty();
            if lacks {
                return Err("must have cluster-admin privileges to use the aggregationRule".into());
            }
        }
        Ok(())
    }
}

/// An object without what may change unchecked.
fn compared(object: &Object) -> Object {
    let mut compared = object.clone();
    for field in NOT_COMPARED {
        compared.metadata_mut().remove(*field);
    }
    compared
}

fn aggregates(role: &Object) -> bool {
    !role.get_list(&["aggregationRule", "clusterRoleSelectors"]).is_empty()
}

/// A role's rules; those that cannot be read are not taken for none.
fn rules(role: &Object) -> Result<Arc<[PolicyRule]>, String> {
    let rules = role.get(&["rules"]).cloned().unwrap_or_default();
    serde_json::from_value::<Option<Vec<PolicyRule>>>(rules)
        .map(|rules| rules.unwrap_or_default().into())
        .map_err(|error| format!("the rules cannot be read: {error}"))
}

/// Every right that there is.
fn everything() -> [PolicyRule; 2] {
    let all = || vec!["*".to_owned()];
    [
        PolicyRule { verbs: all(), api_groups: all(), resources: all(), ..PolicyRule::default() },
        PolicyRule { verbs: all(), non_resource_urls: all(), ..PolicyRule::default() },
    ]
}

fn refusal(user: &UserInfo, missing: &[impl ToString]) -> String {
    let quoted: Vec<String> = user.groups.iter().map(|group| go_quote(group)).collect();
    let rules: BTreeSet<String> = missing.iter().map(ToString::to_string).collect();
    let rules: Vec<String> = rules.into_iter().collect();
    format!(
        "user {} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        go_quote(&user.name),
        quoted.join(" "),
        rules.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_that_cannot_be_read_are_not_none() {
        let role = |of: serde_json::Value| {
            let mut role = Object::default();
            role.set(&["rules"], of);
            rules(&role).map(|rules| rules.len())
        };
        assert_eq!(role(json!(null)), Ok(0));
        assert_eq!(role(json!([{"verbs": ["get"]}])), Ok(1));
        assert!(role(json!([{"verbs": "*"}])).is_err());
    }
}
