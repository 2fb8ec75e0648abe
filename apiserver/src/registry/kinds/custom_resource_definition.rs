//! CustomResourceDefinition (`apiextensions.k8s.io`): what a definition must be.
//!
//! Names and versions are checked here, schemas and their rules in `apimachinery::structural`. Follows
//! `pkg/apis/apiextensions/validation` and `pkg/registry/customresourcedefinition`. Where all versions say the same of
//! schema, subresources or columns, Kubernetes names the place without a version (`spec.validation`); so does this.
//!
//! A webhook conversion is refused: nothing here calls webhooks.

mod versions;

use std::collections::BTreeSet;

use apimachinery::{
    field::{FieldError, Path, go_quote},
    object::Object,
    resource::{self, ResourceInfo},
    structural::unknown_formats,
    validation::{is_dns1035_label, is_dns1123_subdomain},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{STATUS, split_status, take_field};
use crate::{
    apiextensions::definition::Definition,
    registry::{
        meta, printers,
        strategy::{Column, Strategy, StrategyContext},
    },
};

/// The annotation without which nobody defines kinds in Kubernetes' own groups.
const APPROVED: &str = "api-approved.kubernetes.io";
const COLUMNS: [Column; 2] = [
    printers::NAME,
    Column {
        name: "Created At",
        kind: "date",
        format: "",
        description: "The time at which the object was created, by the server's clock.",
        priority: 0,
    },
];

/// See the module.
pub(super) struct CustomResourceDefinition;

impl Strategy for CustomResourceDefinition {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::CUSTOM_RESOURCE_DEFINITIONS
    }

    fn default(&self, object: &mut Object) {
        let kind = object.get_str(&["spec", "names", "kind"]).to_owned();
        let set = |object: &mut Object, path: &[&str], value: String| {
            if object.get_str(path).is_empty() && !kind.is_empty() {
                object.set(path, value);
            }
        };
        set(object, &["spec", "names", "singular"], kind.to_lowercase());
        set(object, &["spec", "names", "listKind"], format!("{kind}List"));
        if object.get(&["spec"]).is_some() && object.get(&["spec", "conversion"]).is_none() {
            object.set(&["spec", "conversion"], json!({"strategy": "None"}));
        }
    }

    fn prepare_for_create(&self, _: &StrategyContext<'_>, object: &mut Object) {
        object.0.remove("status");
        store_version(object);
        let names = json!({"plural": "", "kind": ""});
        object.set(&["status", "acceptedNames"], names);
        object.set(&["status", "conditions"], Value::Array(Vec::new()));
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Object, old: &Object) {
        split_status(ctx.subresource, object, old);
        if ctx.subresource == STATUS {
            let owners = object.get(&["metadata", "managedFields"]).cloned();
            take_field(object, old, "metadata");
            if let Some(owners) = owners {
                object.metadata_mut().insert("managedFields".into(), owners);
            }
        } else {
            store_version(object);
        }
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = meta::validate_extension(object, false, meta::dns_subdomain);
        check_name(object, &mut errors);
        check_approval(object, &mut errors);
        check_spec(object, &mut errors);
        errors
    }

    fn validate_update(
        &self,
        ctx: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError> {
        let mut errors = meta::validate_extension_update(object, old);
        if ctx.subresource == STATUS {
            return errors;
        }
        if object.get(&["spec"]) != old.get(&["spec"]) {
            check_spec(object, &mut errors);
        }
        let mut fixed = vec![&["spec", "group"][..], &["spec", "names", "plural"]];
        if Definition::of(old).is("Established") {
            fixed.extend([&["spec", "scope"][..], &["spec", "names", "kind"]]);
        }
        for path in fixed {
            if object.get(path) != old.get(path) {
                let shown = object.get(path).cloned().unwrap_or_default();
                let at = Path::new(path.join("."));
                errors.push(FieldError::invalid(&at, shown, "field is immutable"));
            }
        }
        check_stored_versions(object, &mut errors);
        errors
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        let definition = Definition::of(object);
        let schemas =
            definition.versions().iter().map(|version| &version["schema"]["openAPIV3Schema"]);
        let formats: BTreeSet<String> = schemas.flat_map(unknown_formats).collect();
        formats
            .into_iter()
            .map(|format| format!("unrecognized format {}", go_quote(&format)))
            .collect()
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, _: Timestamp) -> Vec<Value> {
        vec![printers::name(object), object.get_str(&["metadata", "creationTimestamp"]).into()]
    }
}

/// Notes that objects may now be stored in the storage version.
fn store_version(object: &mut Object) {
    let definition = Definition::of(object);
    let Some(name) = definition.storage_version().map(|version| version["name"].clone()) else {
        return;
    };
    let mut stored = object.get_list(&["status", "storedVersions"]).to_vec();
    if !stored.contains(&name) {
        stored.push(name);
        object.set(&["status", "storedVersions"], stored);
    }
}

fn check_name(object: &Object, errors: &mut Vec<FieldError>) {
    let (group, plural) =
        (object.get_str(&["spec", "group"]), object.get_str(&["spec", "names", "plural"]));
    let wanted = format!("{plural}.{group}");
    if object.name() != wanted && !object.name().is_empty() {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(&Path::new("metadata.name"), object.name(), detail));
    }
}

fn check_approval(object: &Object, errors: &mut Vec<FieldError>) {
    let group = object.get_str(&["spec", "group"]);
    let protected = ["k8s.io", "kubernetes.io"].iter().any(|own| {
        group == *own || group.strip_suffix(own).is_some_and(|rest| rest.ends_with('.'))
    });
    if !protected {
        return;
    }
    let at = Path::new("metadata.annotations").key(APPROVED);
    match object.annotation(APPROVED) {
        None | Some("") => {
            let detail = format!(
                "protected groups must have approval annotation {APPROVED:?}, see https://github.com/kubernetes/enhancements/pull/1111"
            );
            errors.push(FieldError::required(&at, detail));
        }
        Some(text) if text.starts_with("unapproved") || text.contains("://") => {}
        Some(text) => {
            let detail = format!(
                "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111"
            );
            errors.push(FieldError::invalid(&at, text, detail));
        }
    }
}

fn check_spec(object: &Object, errors: &mut Vec<FieldError>) {
    let spec = object.get(&["spec"]).cloned().unwrap_or_default();
    let at = Path::new("spec");
    let group = spec["group"].as_str().unwrap_or_default();
    let group_at = at.child("group");
    if group.is_empty() {
        errors.push(FieldError::required(&group_at, ""));
    } else {
        let mistakes = is_dns1123_subdomain(group);
        if !mistakes.is_empty() {
            errors.push(FieldError::invalid(&group_at, group, mistakes.join(",")));
        } else if !group.contains('.') {
            let detail = "should be a domain with at least one dot";
            errors.push(FieldError::invalid(&group_at, group, detail));
        }
    }
    match spec["scope"].as_str().unwrap_or_default() {
        "" => errors.push(FieldError::required(&at.child("scope"), "")),
        "Cluster" | "Namespaced" => {}
        other => {
            let scopes = ["Cluster", "Namespaced"];
            errors.push(FieldError::not_supported(&at.child("scope"), other, &scopes));
        }
    }
    versions::check(&spec, &at, errors);
    check_names(&spec["names"], &at.child("names"), errors);
    check_conversion(&spec, &at, errors);
}

fn check_names(names: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    let text = |name: &str| names[name].as_str().unwrap_or_default();
    for name in ["plural", "singular", "kind", "listKind"] {
        let value = text(name);
        if value.is_empty() {
            errors.push(FieldError::required(&at.child(name), ""));
            continue;
        }
        let mixed = matches!(name, "kind" | "listKind");
        let mistakes = is_dns1035_label(&if mixed { value.to_lowercase() } else { value.into() });
        if !mistakes.is_empty() {
            let hint = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            let detail = format!("{hint}{}", mistakes.join(","));
            errors.push(FieldError::invalid(&at.child(name), value, detail));
        }
    }
    for list in ["shortNames", "categories"] {
        for (index, name) in names[list].as_array().into_iter().flatten().enumerate() {
            let name = name.as_str().unwrap_or_default();
            let mistakes = is_dns1035_label(name);
            if !mistakes.is_empty() {
                let at = at.child(list).index(index);
                errors.push(FieldError::invalid(&at, name, mistakes.join(",")));
            }
        }
    }
    if !text("kind").is_empty() && text("kind") == text("listKind") {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(&at.child("listKind"), text("listKind"), detail));
    }
}

fn check_conversion(spec: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    let at = at.child("conversion");
    let conversion = &spec["conversion"];
    match conversion["strategy"].as_str().unwrap_or_default() {
        "None" => {
            if conversion.get("webhook").is_some_and(|webhook| !webhook.is_null()) {
                let detail = "should not be set when strategy is not set to Webhook";
                errors.push(FieldError::forbidden(&at.child("webhookClientConfig"), detail));
            }
        }
        "Webhook" => {
            let detail = "conversion webhooks are not called by this server; versions with the same fields can use the strategy None";
            errors.push(FieldError::forbidden(&at.child("strategy"), detail));
        }
        "" => errors.push(FieldError::required(&at.child("strategy"), "")),
        other => {
            let strategies = ["None", "Webhook"];
            errors.push(FieldError::not_supported(&at.child("strategy"), other, &strategies));
        }
    }
    // Fields that are kept unknown as a whole were a habit of the first version of definitions.
    if spec["preserveUnknownFields"] == true {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        let at = Path::new("spec.preserveUnknownFields");
        errors.push(FieldError::invalid(&at, true, detail));
    }
}

/// A version in which objects are stored cannot go.
fn check_stored_versions(object: &Object, errors: &mut Vec<FieldError>) {
    let definition = Definition::of(object);
    let at = Path::new("status.storedVersions");
    for (index, stored) in object.get_list(&["status", "storedVersions"]).iter().enumerate() {
        if !definition.versions().iter().any(|version| version["name"] == *stored) {
            let detail = "missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions"
                .replace("v1 ", &format!("{} ", stored.as_str().unwrap_or_default()));
            errors.push(FieldError::invalid(&at.index(index), stored.clone(), detail));
        }
    }
}
