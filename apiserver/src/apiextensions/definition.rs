//! What a definition says.

use std::cmp::Ordering;

use apimachinery::{
    object::Object,
    resource::{
        self, ResourceInfo,
        dynamic::{Description, Subresource, intern},
    },
    time::Time,
};
use serde_json::{Value, json};

/// The finalizer by which a definition waits for its objects to be gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// A definition as far as serving goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// `spec`
    pub(crate) spec: Value,
    /// `status.acceptedNames`
    pub(crate) accepted: Value,
    /// Type and status of each condition.
    pub(crate) conditions: Vec<(String, bool)>,
    pub(crate) deleting: bool,
    pub(crate) has_finalizer: bool,
}

impl Definition {
    /// Reads a stored definition.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let object = Object::from_slice(json).map_err(|status| status.message)?;
        Ok(Self::of(&object))
    }

    pub(crate) fn of(object: &Object) -> Self {
        let conditions = object.get_list(&["status", "conditions"]).iter().map(|condition| {
            let text = |name: &str| condition[name].as_str().unwrap_or_default();
            (text("type").to_owned(), text("status") == "True")
        });
        Self {
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
            spec: object.get(&["spec"]).cloned().unwrap_or_default(),
            accepted: object.get(&["status", "acceptedNames"]).cloned().unwrap_or_default(),
            conditions: conditions.collect(),
            deleting: object.deletion_timestamp().is_some(),
            has_finalizer: object.finalizers().any(|finalizer| finalizer == FINALIZER),
        }
    }

    pub(crate) fn group(&self) -> &str {
        self.spec["group"].as_str().unwrap_or_default()
    }

    pub(crate) fn versions(&self) -> &[Value] {
        self.spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// The version in which objects are stored.
    pub(crate) fn storage_version(&self) -> Option<&Value> {
        self.versions().iter().find(|version| version["storage"] == true)
    }

    pub(crate) fn is(&self, condition: &str) -> bool {
        self.conditions.iter().any(|(name, holds)| name == condition && *holds)
    }

    /// Whether its kind is served. One that is built in never is by a definition, whatever its conditions say: rights are
    /// told by group and resource, and other versions of a kind would go around the checks of the kind itself.
    pub(crate) fn is_served(&self) -> bool {
        (self.is("NamesAccepted") || self.is("Established")) && !self.is_built_in()
    }

    /// Whether a resource of its group and plural is built in and served.
    fn is_built_in(&self) -> bool {
        let plural = self.spec["names"]["plural"].as_str().unwrap_or_default();
        resource::served().any(|info| info.group == self.group() && info.resource == plural)
    }

    /// The resource of a version.
    pub(crate) fn info(&self, version: &Value) -> &'static ResourceInfo {
        let names = &self.accepted;
        let text = |name: &str| names[name].as_str().unwrap_or_default().to_owned();
        let texts = |name: &str| -> Vec<String> {
            let list = names[name].as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
        };
        let own = |name: &str| version[name].as_str().unwrap_or_default().to_owned();
        let verbs = |verbs: &[&str]| verbs.iter().map(|verb| (*verb).to_owned()).collect();
        let write = ["get", "patch", "update"];
        let mut subresources = Vec::new();
        if version["subresources"]["scale"].is_object() {
            subresources.push(Subresource {
                name: "scale".into(),
                group: "autoscaling".into(),
                version: "v1".into(),
                kind: "Scale".into(),
                verbs: verbs(&write),
            });
        }
        if version["subresources"]["status"].is_object() {
            subresources.push(Subresource {
                name: "status".into(),
                group: self.group().to_owned(),
                version: own("name"),
                kind: text("kind"),
                verbs: verbs(&write),
            });
        }
        // Objects of a definition that goes can be looked at and deleted, but not made.
        let all: &[&str] =
            &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
        intern(&Description {
            group: self.group().to_owned(),
            version: own("name"),
            kind: text("kind"),
            list_kind: text("listKind"),
            resource: text("plural"),
            singular: text("singular"),
            short_names: texts("shortNames"),
            categories: texts("categories"),
            namespaced: self.spec["scope"] == "Namespaced",
            subresources,
            verbs: verbs(all),
        })
    }
}

/// What a deletion does to a definition before anything else: it waits for its objects, and says so.
pub(crate) fn mark_for_deletion(object: &mut Object, now: Time) {
    let mut finalizers = object.get_list(&["metadata", "finalizers"]).to_vec();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.into());
        object.metadata_mut().insert("finalizers".into(), finalizers.into());
    }
    set_condition(
        object,
        "Terminating",
        true,
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        now,
    );
}

/// Sets a condition; its time changes with its status.
pub(crate) fn set_condition(
    object: &mut Object,
    name: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: Time,
) {
    let mut conditions = object.get_list(&["status", "conditions"]).to_vec();
    let status = if holds { "True" } else { "False" };
    let known = conditions.iter_mut().find(|condition| condition["type"] == name);
    let since = match &known {
        Some(known) if known["status"] == status => known["lastTransitionTime"].clone(),
        _ => now.truncated().to_string().into(),
    };
    let condition = json!({
        "type": name, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since,
    });
    match known {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
    object.set(&["status", "conditions"], conditions);
}

/// Kubernetes' order of versions, the preferred first: `v10`, `v2`, `v1`, `v2beta1`, `v1beta2`, `v1alpha1`, others by name.
pub(crate) fn compare_versions(a: &str, b: &str) -> Ordering {
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability, major, minor.
fn rank(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let major = rest[..end].parse().ok()?;
    let (stability, minor) = match &rest[end..] {
        "" => return Some((3, major, 0)),
        rest => match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            (Some(minor), _) => (2, minor),
            (_, Some(minor)) => (1, minor),
            _ => return None,
        },
    };
    Some((stability, major, minor.parse().ok()?))
}
