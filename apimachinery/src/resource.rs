//! The resource table: every built-in kind of Kubernetes 1.36, and which of them are served here.
//!
//! One line per kind in `resource/table.rs`; users name a kind by its static (`&resource::PODS`). Kinds that nothing
//! acts on yet stand in the table with `served: false`, so that a name like `ing` resolves to
//! `no matches for kind "Ingress" in version "networking.k8s.io/v1"` instead of to nothing.

pub mod dynamic;
mod table;

pub use table::*;

/// A subresource and the kind that it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubresourceInfo {
    /// `status`, `scale`, `log`, …
    pub name: &'static str,
    /// Group of the kind; the resource's own unless Kubernetes' discovery says otherwise.
    pub group: &'static str,
    /// Version of the kind.
    pub version: &'static str,
    /// Kind of the body.
    pub kind: &'static str,
    /// Verbs, sorted.
    pub verbs: &'static [&'static str],
}

/// All that is static about one resource.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ResourceInfo {
    /// API group, "" for core.
    pub group: &'static str,
    /// The version served and stored.
    pub version: &'static str,
    /// `Pod`.
    pub kind: &'static str,
    /// The kind of lists; empty: the kind with `List`.
    pub list: &'static str,
    /// Plural, as in paths: `pods`.
    pub resource: &'static str,
    /// `pod`.
    pub singular: &'static str,
    /// `po`.
    pub short_names: &'static [&'static str],
    /// `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Subresources that are served.
    pub subresources: &'static [SubresourceInfo],
    /// Verbs, sorted, as discovery lists them.
    pub verbs: &'static [&'static str],
    /// Whether this cluster serves and acts on the kind.
    pub served: bool,
    /// Where objects are stored below `/registry/`, as Kubernetes lays them out.
    pub storage_prefix: &'static str,
}

impl ResourceInfo {
    /// `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `pods`, `deployments.apps`.
    #[must_use]
    pub fn group_resource(&self) -> String {
        dotted(self.resource, self.group)
    }

    /// `Pod`, `Deployment.apps`.
    #[must_use]
    pub fn group_kind(&self) -> String {
        dotted(self.kind, self.group)
    }

    /// `PodList`.
    #[must_use]
    pub fn list_kind(&self) -> String {
        if self.list.is_empty() { format!("{}List", self.kind) } else { self.list.to_owned() }
    }

    /// Whether an object's `apiVersion` and `kind` are this resource's.
    #[must_use]
    pub fn is_kind(&self, api_version: &str, kind: &str) -> bool {
        let (group, version) = split_api_version(api_version);
        self.kind == kind && self.group == group && self.version == version
    }

    /// The subresource of that name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&'static SubresourceInfo> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether there is a `status` subresource.
    #[must_use]
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// Whether the resource has the verb.
    #[must_use]
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }
}

fn dotted(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// Splits `apps/v1` into group and version; `v1` has the group "".
#[must_use]
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// The resources that are served, in discovery's order.
pub fn served() -> impl Iterator<Item = &'static ResourceInfo> {
    RESOURCES.iter().copied().filter(|r| r.served)
}

/// Finds a resource by group, version and plural, served or not.
#[must_use]
pub fn find(group: &str, version: &str, resource: &str) -> Option<&'static ResourceInfo> {
    RESOURCES
        .iter()
        .copied()
        .find(|r| r.resource == resource && r.group == group && r.version == version)
}

/// Finds a resource by group, version and kind, served or not.
#[must_use]
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static ResourceInfo> {
    RESOURCES.iter().copied().find(|r| r.kind == kind && r.group == group && r.version == version)
}

/// Finds a resource by an object's `apiVersion` and `kind`, served or not.
#[must_use]
pub fn find_object_kind(api_version: &str, kind: &str) -> Option<&'static ResourceInfo> {
    let (group, version) = split_api_version(api_version);
    find_kind(group, version, kind)
}

/// Finds a resource by what a user types: plural, singular, short name or kind in any case, bare or with group
/// (`deployments.apps`) or with version and group (`deployments.v1.apps`), served or not.
///
/// Served resources come first, then the table's order: Kubernetes' group priorities.
#[must_use]
pub fn resolve(name: &str) -> Option<&'static ResourceInfo> {
    resolve_among(RESOURCES.iter().copied(), name)
}

/// As [`resolve`], among these resources.
#[must_use]
pub fn resolve_among(
    resources: impl Iterator<Item = &'static ResourceInfo>,
    name: &str,
) -> Option<&'static ResourceInfo> {
    let name = name.to_ascii_lowercase();
    let (base, rest) = name.split_once('.').unwrap_or((&name, ""));
    let matches = |r: &ResourceInfo| {
        let named = r.resource == base || r.singular == base || r.short_names.contains(&base);
        let grouped = rest.is_empty()
            || rest == r.group
            || (!r.group.is_empty()
                && rest.strip_prefix(r.version).and_then(|s| s.strip_prefix('.')) == Some(r.group))
            || (r.group.is_empty() && (rest == r.version || rest == format!("{}.", r.version)));
        named && grouped
    };
    let mut found = resources.filter(|r| matches(r));
    let first = found.next()?;
    Some(if first.served { first } else { found.find(|r| r.served).unwrap_or(first) })
}

/// The members of a category such as `all`, served ones only.
pub fn category(name: &str) -> impl Iterator<Item = &'static ResourceInfo> {
    served().filter(move |r| r.categories.contains(&name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_resolve() {
        let check = |name: &str, expected: Option<&'static ResourceInfo>| {
            assert_eq!(resolve(name), expected, "{name}");
        };
        check("pods", Some(&PODS));
        check("Pod", Some(&PODS));
        check("po", Some(&PODS));
        check("pods.v1", Some(&PODS));
        check("deploy", Some(&DEPLOYMENTS));
        check("deployments.apps", Some(&DEPLOYMENTS));
        check("deployments.v1.apps", Some(&DEPLOYMENTS));
        check("deployment.v1beta1.apps", None);
        check("ev", Some(&EVENTS));
        check("events.events.k8s.io", Some(&EVENTS_V1));
        check("ing", Some(&INGRESSES));
        check("svc", Some(&SERVICES));
        check("eps", None);
        check("pods.apps", None);
        check("", None);
    }

    #[test]
    fn kinds_are_found_by_api_version() {
        assert_eq!(find_object_kind("apps/v1", "Deployment"), Some(&DEPLOYMENTS));
        assert_eq!(find_object_kind("v1", "Deployment"), None);
        assert_eq!(find("rbac.authorization.k8s.io", "v1", "roles"), Some(&ROLES));
        assert!(DEPLOYMENTS.is_kind("apps/v1", "Deployment"));
        assert_eq!(DEPLOYMENTS.group_kind(), "Deployment.apps");
        assert_eq!(PODS.api_version(), "v1");
    }

    #[test]
    fn the_table_is_sound() {
        let mut seen = BTreeSet::new();
        for r in RESOURCES {
            assert!(seen.insert((r.group, r.version, r.resource)), "{} twice", r.group_resource());
            assert_eq!(r.singular, r.kind.to_lowercase(), "{}", r.kind);
            assert!(r.verbs.is_sorted(), "{}", r.kind);
            assert!(r.subresources.iter().all(|s| s.verbs.is_sorted()), "{}", r.kind);
            assert!(!r.storage_prefix.is_empty());
        }
    }
}
