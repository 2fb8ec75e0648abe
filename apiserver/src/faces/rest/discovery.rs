//! Discovery: what the resource table says, in the shapes that clients ask for.
//!
//! The documents are made once, and again when the defined kinds change: the aggregated form (`apidiscovery.k8s.io/v2`,
//! which kubectl and our own clients read in one request) and the older index pages.

use std::collections::HashMap;

use apimachinery::resource::{ResourceInfo, SubresourceInfo};
use bytes::Bytes;
use serde_json::{Value, json};

/// The version that we are.
pub const GIT_VERSION: &str = "v1.36.0+kube-mini";

/// The media type of the aggregated form.
pub(super) const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The served resources, those of a group together.
type Resources<'a> = &'a [&'static ResourceInfo];

/// All documents.
#[derive(Debug)]
pub struct Discovery {
    /// Aggregated, every group, the core group first under the empty name.
    pub(in crate::faces) all_groups: Bytes,
    aggregated: HashMap<String, Bytes>,
    pages: HashMap<String, Bytes>,
}

impl Discovery {
    /// The documents of these resources, which are in the order of their groups.
    pub(crate) fn new(resources: Resources<'_>) -> Self {
        let mut pages = HashMap::new();
        let mut aggregated = HashMap::new();
        let mut page =
            |path: String, value: &Value| pages.insert(path, Bytes::from(value.to_string()));
        page(
            "/api".into(),
            &json!({
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs": [],
            }),
        );
        let groups = groups(resources);
        let named: Vec<&str> = groups.iter().copied().filter(|group| !group.is_empty()).collect();
        page(
            "/apis".into(),
            &json!({
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": named.iter().map(|group| api_group(resources, group)).collect::<Vec<_>>(),
            }),
        );
        for group in &named {
            let mut value = api_group(resources, group);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            page(format!("/apis/{group}"), &value);
        }
        for group in &groups {
            for version in versions(resources, group) {
                let path = if group.is_empty() {
                    format!("/api/{version}")
                } else {
                    format!("/apis/{group}/{version}")
                };
                page(path, &resource_list(resources, group, version));
            }
        }
        let list = |groups: &[&str]| {
            let items: Vec<Value> =
                groups.iter().map(|group| group_discovery(resources, group)).collect();
            Bytes::from(
                json!({
                    "kind": "APIGroupDiscoveryList",
                    "apiVersion": "apidiscovery.k8s.io/v2",
                    "metadata": {},
                    "items": items,
                })
                .to_string(),
            )
        };
        aggregated.insert("/api".to_owned(), list(&[""]));
        aggregated.insert("/apis".to_owned(), list(&named));
        Self { all_groups: list(&groups), aggregated, pages }
    }

    /// The document of a path, and whether it is the aggregated one.
    pub(super) fn page(&self, path: &str, aggregated: bool) -> Option<(Bytes, bool)> {
        let path = path.trim_end_matches('/');
        if aggregated && let Some(page) = self.aggregated.get(path) {
            return Some((page.clone(), true));
        }
        self.pages.get(path).map(|page| (page.clone(), false))
    }
}

/// `version.Info`.
pub(in crate::faces) fn version_info() -> Bytes {
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, arch()),
    })
    .to_string()
    .into()
}

/// Go's name of the architecture, which clients expect.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The groups that serve something, in the table's order.
fn groups(resources: Resources<'_>) -> Vec<&'static str> {
    let mut groups = Vec::new();
    for info in resources {
        if !groups.contains(&info.group) {
            groups.push(info.group);
        }
    }
    groups
}

fn versions(resources: Resources<'_>, group: &str) -> Vec<&'static str> {
    let mut versions = Vec::new();
    for info in resources.iter().filter(|info| info.group == group) {
        if !versions.contains(&info.version) {
            versions.push(info.version);
        }
    }
    versions
}

fn api_group(resources: Resources<'_>, group: &str) -> Value {
    let versions: Vec<Value> = versions(resources, group)
        .iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions[0]})
}

fn resource_list(resources: Resources<'_>, group: &str, version: &str) -> Value {
    let mut listed = Vec::new();
    for info in served_in(resources, group, version) {
        let mut entry = json!({
            "name": info.resource,
            "singularName": info.singular,
            "namespaced": info.namespaced,
            "kind": info.kind,
            "verbs": info.verbs,
        });
        if !info.short_names.is_empty() {
            entry["shortNames"] = json!(info.short_names);
        }
        if !info.categories.is_empty() {
            entry["categories"] = json!(info.categories);
        }
        listed.push(entry);
        for sub in info.subresources {
            let mut entry = json!({
                "name": format!("{}/{}", info.resource, sub.name),
                "singularName": "",
                "namespaced": info.namespaced,
                "kind": sub.kind,
                "verbs": sub.verbs,
            });
            if sub.group != info.group || sub.version != info.version {
                entry["group"] = sub.group.into();
                entry["version"] = sub.version.into();
            }
            listed.push(entry);
        }
    }
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": listed,
    })
}

fn served_in<'a>(
    resources: Resources<'a>,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'static ResourceInfo> + use<'a> {
    resources.iter().copied().filter(move |info| info.group == group && info.version == version)
}

fn group_discovery(resources: Resources<'_>, group: &str) -> Value {
    let versions: Vec<Value> = versions(resources, group)
        .iter()
        .map(|version| {
            let resources: Vec<Value> =
                served_in(resources, group, version).map(resource_discovery).collect();
            json!({"version": version, "freshness": "Current", "resources": resources})
        })
        .collect();
    let metadata = if group.is_empty() {
        json!({"creationTimestamp": null})
    } else {
        json!({"name": group, "creationTimestamp": null})
    };
    json!({"metadata": metadata, "versions": versions})
}

fn resource_discovery(info: &'static ResourceInfo) -> Value {
    let mut entry = json!({
        "resource": info.resource,
        "responseKind": {"group": info.group, "version": info.version, "kind": info.kind},
        "scope": if info.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": info.singular,
        "verbs": info.verbs,
    });
    if !info.short_names.is_empty() {
        entry["shortNames"] = json!(info.short_names);
    }
    if !info.categories.is_empty() {
        entry["categories"] = json!(info.categories);
    }
    if !info.subresources.is_empty() {
        entry["subresources"] = info
            .subresources
            .iter()
            .map(|sub: &SubresourceInfo| {
                json!({
                    "subresource": sub.name,
                    "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                    "verbs": sub.verbs,
                })
            })
            .collect();
    }
    entry
}

#[cfg(test)]
mod tests {
    use apimachinery::resource;

    use super::*;

    #[test]
    fn every_served_resource_is_discovered() {
        let served: Vec<_> = resource::served().collect();
        let discovery = Discovery::new(&served);
        let all: Value = serde_json::from_slice(&discovery.all_groups).unwrap();
        let count: usize = all["items"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|group| group["versions"].as_array().unwrap())
            .map(|version| version["resources"].as_array().unwrap().len())
            .sum();
        assert_eq!(count, resource::served().count());
        for path in ["/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1/"] {
            assert!(discovery.page(path, false).is_some(), "{path}");
        }
        assert!(discovery.page("/apis", true).unwrap().1);
        assert!(discovery.page("/apis/batch", true).is_none());
    }
}
