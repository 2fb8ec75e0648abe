//! Describes who may do what: ServiceAccounts, roles and bindings.

use std::collections::BTreeSet;

use apimachinery::{
    api::{
        core::{Secret, ServiceAccount},
        rbac::{ClusterRole, ClusterRoleBinding, PolicyRule},
    },
    object::Object,
};
use client::ListOptions;

use super::{
    Text,
    related::{Related, view},
};
use crate::errors::CommandError;

pub(super) async fn service_account<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let account: ServiceAccount = view(object)?;
    let secrets: Option<Vec<Secret>> =
        related.list(object.namespace(), ListOptions::default()).await.ok();
    text.head(&account.metadata);
    write_secrets(&account, secrets.as_deref(), &mut text);
    text.events(related.events(object).await);
    Ok(text)
}

/// `secrets`: all of the namespace; `None` where they may not be read.
fn write_secrets(account: &ServiceAccount, secrets: Option<&[Secret]>, text: &mut Text<'_>) {
    const ANNOTATION: &str = "kubernetes.io/service-account";
    let metadata = &account.metadata;
    let mine = |secret: &&Secret| {
        let annotation =
            |key: &str| secret.metadata.annotations.get(&format!("{ANNOTATION}.{key}"));
        secret.type_.as_deref() == Some("kubernetes.io/service-account-token")
            && annotation("name") == metadata.name.as_ref()
            && annotation("uid") == metadata.uid.as_ref()
    };
    let name = |secret: &Secret| secret.metadata.name.clone().unwrap_or_default();
    let existing: Option<BTreeSet<String>> =
        secrets.map(|secrets| secrets.iter().map(name).collect());
    let tokens = secrets.unwrap_or_default().iter().filter(mine).map(name).collect();
    let pull = account.image_pull_secrets.iter().map(|secret| secret.name.clone()).collect();
    let mountable =
        account.secrets.iter().map(|secret| secret.name.clone().unwrap_or_default()).collect();
    let groups: [(&str, Vec<String>); 3] = [
        ("Image pull secrets:", pull),
        ("Mountable secrets: ", mountable),
        ("Tokens:            ", tokens),
    ];
    for (header, names) in groups {
        if names.is_empty() {
            text.line(0, format_args!("{header}\t<none>"));
        }
        for (index, name) in names.iter().enumerate() {
            let header = if index == 0 { header } else { "                   " };
            let missing = existing.as_ref().is_some_and(|existing| !existing.contains(name));
            let missing = if missing { " (not found)" } else { "" };
            text.line(0, format_args!("{header}\t{name}{missing}"));
        }
    }
}

/// A Role or ClusterRole.
pub(super) async fn role<'a>(
    object: &'a Object,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let role: ClusterRole = view(object)?;
    text.field(0, "Name", object.name());
    text.labels("Labels", &role.metadata.labels);
    text.annotations("Annotations", &role.metadata.annotations);
    text.line(0, "PolicyRule:");
    text.line(1, "Resources\tNon-Resource URLs\tResource Names\tVerbs");
    text.line(1, "---------\t-----------------\t--------------\t-----");
    for rule in compact(role.rules.iter().flat_map(break_down)) {
        text.line(
            1,
            format_args!(
                "{}\t{}\t{}\t{}",
                resource_of(&rule),
                list(&rule.non_resource_urls),
                list(&rule.resource_names),
                list(&rule.verbs)
            ),
        );
    }
    Ok(text)
}

pub(crate) fn list(values: &[String]) -> String {
    format!("[{}]", values.join(" "))
}

/// `deployments.apps/scale`.
pub(crate) fn resource_of(rule: &PolicyRule) -> String {
    let Some(resource) = rule.resources.first() else { return String::new() };
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, format!("/{subresource}")),
        None => (resource.as_str(), String::new()),
    };
    match rule.api_groups.first().filter(|group| !group.is_empty()) {
        Some(group) => format!("{resource}.{group}{subresource}"),
        None => format!("{resource}{subresource}"),
    }
}

/// One rule per group, resource, verb and name.
pub(crate) fn break_down(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut rules = Vec::new();
    let one = |value: &String| vec![value.clone()];
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let simple = PolicyRule {
                    api_groups: one(group),
                    resources: one(resource),
                    verbs: one(verb),
                    ..PolicyRule::default()
                };
                if rule.resource_names.is_empty() {
                    rules.push(simple);
                } else {
                    rules.extend(
                        rule.resource_names
                            .iter()
                            .map(|name| PolicyRule { resource_names: one(name), ..simple.clone() }),
                    );
                }
            }
        }
    }
    for url in &rule.non_resource_urls {
        rules.extend(rule.verbs.iter().map(|verb| PolicyRule {
            non_resource_urls: one(url),
            verbs: one(verb),
            ..PolicyRule::default()
        }));
    }
    rules
}

/// Joins the verbs of rules about the same, and sorts as kubectl does: by the rule's own text, which begins with verbs.
pub(crate) fn compact(rules: impl Iterator<Item = PolicyRule>) -> Vec<PolicyRule> {
    let mut compacted: Vec<PolicyRule> = Vec::new();
    for rule in rules {
        let same = compacted.iter_mut().find(|known| {
            rule.non_resource_urls.is_empty()
                && known.non_resource_urls.is_empty()
                && known.api_groups == rule.api_groups
                && known.resources == rule.resources
                && known.resource_names == rule.resource_names
        });
        match same {
            Some(known) => known.verbs.extend(rule.verbs),
            None => compacted.push(rule),
        }
    }
    let key = |rule: &PolicyRule| {
        format!(
            "&PolicyRule{{Verbs:{},APIGroups:{},Resources:{},ResourceNames:{},NonResourceURLs:{},}}",
            list(&rule.verbs),
            list(&rule.api_groups),
            list(&rule.resources),
            list(&rule.resource_names),
            list(&rule.non_resource_urls)
        )
    };
    compacted.sort_by_cached_key(key);
    compacted
}

/// A RoleBinding or ClusterRoleBinding.
pub(super) async fn binding<'a>(
    object: &'a Object,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let binding: ClusterRoleBinding = view(object)?;
    text.field(0, "Name", object.name());
    text.labels("Labels", &binding.metadata.labels);
    text.annotations("Annotations", &binding.metadata.annotations);
    text.line(0, "Role:");
    text.field(1, "Kind", &binding.role_ref.kind);
    text.field(1, "Name", &binding.role_ref.name);
    text.line(0, "Subjects:");
    text.line(1, "Kind\tName\tNamespace");
    text.line(1, "----\t----\t---------");
    for subject in &binding.subjects {
        let namespace = subject.namespace.as_deref().unwrap_or_default();
        text.line(1, format_args!("{}\t{}\t{namespace}", subject.kind, subject.name));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_joined_by_what_they_are_about() {
        let texts = |words: &str| words.split_whitespace().map(ToOwned::to_owned).collect();
        let rule = |groups: &str, resources: &str, verbs: &str| PolicyRule {
            api_groups: groups.split(',').map(ToOwned::to_owned).collect(),
            resources: texts(resources),
            verbs: texts(verbs),
            ..PolicyRule::default()
        };
        let rules = [
            rule("apps", "deployments/scale", "get list"),
            rule("", "pods", "delete"),
            rule("", "pods", "get"),
        ];
        let shown: Vec<String> = compact(rules.iter().flat_map(break_down))
            .iter()
            .map(|rule| format!("{} {}", resource_of(rule), list(&rule.verbs)))
            .collect();
        assert_eq!(shown, ["pods [delete get]", "deployments.apps/scale [get list]"]);
    }
}
