//! Resources that are only known at run time: those of CustomResourceDefinitions.
//!
//! Everything names a resource by a `&'static ResourceInfo`, so descriptions that come at run time are interned: equal ones
//! are one, and none is ever freed. A process thus keeps a few hundred bytes for every definition that it has ever
//! seen, once; defining is a right of administrators.

// A process-wide table is the point here: equal descriptions must be one, whoever learns of them.
#[allow(
    clippy::disallowed_types,
    reason = "this crate has no dependency on parking_lot; held for moments"
)]
use std::sync::Mutex;
use std::{collections::HashSet, sync::PoisonError};

use serde_json::Value;

use super::{ResourceInfo, SubresourceInfo, find};

#[allow(clippy::disallowed_types, reason = "see the import")]
static TEXTS: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
#[allow(clippy::disallowed_types, reason = "see the import")]
static RESOURCES: Mutex<Vec<&'static ResourceInfo>> = Mutex::new(Vec::new());

/// What a definition says of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// API group.
    pub group: String,
    /// Version.
    pub version: String,
    /// `Widget`
    pub kind: String,
    /// `WidgetList`; empty: the kind with `List`.
    pub list_kind: String,
    /// `widgets`
    pub resource: String,
    /// `widget`
    pub singular: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Subresources: name, group, version and kind of the body, verbs.
    pub subresources: Vec<Subresource>,
    /// Verbs, sorted.
    pub verbs: Vec<String>,
}

/// A subresource of a [`Description`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subresource {
    /// `status`, `scale`
    pub name: String,
    /// Of the body.
    pub group: String,
    /// Of the body.
    pub version: String,
    /// Of the body.
    pub kind: String,
    /// Verbs, sorted.
    pub verbs: Vec<String>,
}

/// A text that stays as long as the process; equal ones are one.
#[must_use]
pub fn intern_text(text: &str) -> &'static str {
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    let texts = texts.get_or_insert_default();
    if let Some(known) = texts.get(text) {
        return known;
    }
    let leaked: &'static str = Box::leak(text.to_owned().into_boxed_str());
    texts.insert(leaked);
    leaked
}

fn intern_texts(texts: &[String]) -> Vec<&'static str> {
    texts.iter().map(|text| intern_text(text)).collect()
}

/// The resource of a description; the same for equal ones.
#[must_use]
pub fn intern(of: &Description) -> &'static ResourceInfo {
    let mut resources = RESOURCES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = resources.iter().find(|known| is_of(known, of)) {
        return known;
    }
    let subresources: Vec<SubresourceInfo> = of
        .subresources
        .iter()
        .map(|sub| SubresourceInfo {
            name: intern_text(&sub.name),
            group: intern_text(&sub.group),
            version: intern_text(&sub.version),
            kind: intern_text(&sub.kind),
            verbs: intern_texts(&sub.verbs).leak(),
        })
        .collect();
    let info = ResourceInfo {
        group: intern_text(&of.group),
        version: intern_text(&of.version),
        kind: intern_text(&of.kind),
        list: intern_text(&of.list_kind),
        resource: intern_text(&of.resource),
        singular: intern_text(&of.singular),
        short_names: intern_texts(&of.short_names).leak(),
        categories: intern_texts(&of.categories).leak(),
        namespaced: of.namespaced,
        subresources: subresources.leak(),
        verbs: intern_texts(&of.verbs).leak(),
        served: true,
        storage_prefix: intern_text(&format!("{}/{}", of.group, of.resource)),
    };
    let leaked: &'static ResourceInfo = Box::leak(Box::new(info));
    resources.push(leaked);
    leaked
}

/// Whether a resource is what a description says: looked for before anything of it is kept for good.
fn is_of(info: &ResourceInfo, of: &Description) -> bool {
    let texts = [info.group, info.version, info.kind, info.list, info.resource, info.singular];
    let wanted = [&of.group, &of.version, &of.kind, &of.list_kind, &of.resource, &of.singular];
    let same = |ours: &[&str], theirs: &[String]| ours.iter().eq(theirs.iter());
    let same_sub = |(ours, theirs): (&SubresourceInfo, &Subresource)| {
        let texts = [ours.name, ours.group, ours.version, ours.kind];
        texts.iter().eq([&theirs.name, &theirs.group, &theirs.version, &theirs.kind])
            && same(ours.verbs, &theirs.verbs)
    };
    texts.iter().eq(wanted)
        && same(info.short_names, &of.short_names)
        && same(info.categories, &of.categories)
        && info.namespaced == of.namespaced
        && same(info.verbs, &of.verbs)
        && info.subresources.len() == of.subresources.len()
        && info.subresources.iter().zip(&of.subresources).all(same_sub)
}

/// The resource of a kind among those that this process has learned of; whether it is still served only the server knows.
#[must_use]
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static ResourceInfo> {
    let resources = RESOURCES.lock().unwrap_or_else(PoisonError::into_inner);
    let is = |r: &&ResourceInfo| r.kind == kind && r.group == group && r.version == version;
    resources.iter().rev().copied().find(is)
}

/// The resources that a server told of in its aggregated discovery (`APIGroupDiscoveryList`), in its order: built-in ones
/// as the table has them, others interned.
#[must_use]
pub fn from_discovery(list: &Value) -> Vec<&'static ResourceInfo> {
    let mut found = Vec::new();
    for group in items(list, "items") {
        let name = text(&group["metadata"], "name");
        for version in items(group, "versions") {
            let version_name = text(version, "version");
            for resource in items(version, "resources") {
                let plural = text(resource, "resource");
                let built_in = find(&name, &version_name, &plural);
                found.push(built_in.unwrap_or_else(|| {
                    intern(&description(&name, &version_name, plural, resource))
                }));
            }
        }
    }
    found
}

fn description(group: &str, version: &str, plural: String, resource: &Value) -> Description {
    let subresources = items(resource, "subresources").iter().map(|sub| Subresource {
        name: text(sub, "subresource"),
        group: text(&sub["responseKind"], "group"),
        version: text(&sub["responseKind"], "version"),
        kind: text(&sub["responseKind"], "kind"),
        verbs: texts(sub, "verbs"),
    });
    Description {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: text(&resource["responseKind"], "kind"),
        list_kind: String::new(),
        resource: plural,
        singular: text(resource, "singularResource"),
        short_names: texts(resource, "shortNames"),
        categories: texts(resource, "categories"),
        namespaced: text(resource, "scope") == "Namespaced",
        subresources: subresources.collect(),
        verbs: texts(resource, "verbs"),
    }
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    items(value, name).iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_descriptions_are_one() {
        let widgets = Description {
            group: "example.com".into(),
            version: "v1".into(),
            kind: "Widget".into(),
            resource: "widgets".into(),
            short_names: vec!["wd".into()],
            ..Description::default()
        };
        let first = intern(&widgets);
        assert!(std::ptr::eq(first, intern(&widgets.clone())));
        assert_eq!(first.storage_prefix, "example.com/widgets");
        assert_eq!(first.list_kind(), "WidgetList");
        let other = intern(&Description { list_kind: "Widgetry".into(), ..widgets });
        assert_eq!(other.list_kind(), "Widgetry");
    }

    #[test]
    fn discovery_gives_built_in_and_other_resources() {
        let list = json!({"items": [
            {"metadata": {}, "versions": [{"version": "v1", "resources": [{"resource": "pods"}]}]},
            {"metadata": {"name": "x.io"}, "versions": [{"version": "v1", "resources": [
                {"resource": "things", "singularResource": "thing", "scope": "Namespaced", "verbs": ["get"],
                 "responseKind": {"group": "x.io", "version": "v1", "kind": "Thing"}, "shortNames": ["th"],
                 "subresources": [{"subresource": "status", "responseKind": {"group": "x.io", "version": "v1", "kind": "Thing"},
                                   "verbs": ["get"]}]}]}]},
        ]});
        let found = from_discovery(&list);
        assert!(std::ptr::eq(found[0], &raw const super::super::PODS));
        assert_eq!(
            (found[1].kind, found[1].namespaced, found[1].has_status()),
            ("Thing", true, true)
        );
        assert_eq!(super::super::resolve_among(found.iter().copied(), "th.x.io"), Some(found[1]));
    }
}
