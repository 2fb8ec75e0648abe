//! Validation of `metadata`, the same for every kind (`ValidateObjectMeta` and its kin).
//!
//! What the generic store itself decides is not here: whether a resourceVersion is needed, and keeping uid,
//! creationTimestamp and deletionTimestamp from the stored object.

use apimachinery::{
    field::FieldError,
    object::Object,
    validation::{
        is_dns1035_label, is_dns1123_label, is_dns1123_subdomain, is_path_segment_name,
        is_qualified_name,
    },
};
use serde_json::Value;

use crate::registry::validation::{
    at::{At, Errors},
    labels,
};

/// A kind's rule for names: the messages for a name; with `prefix` it is a `generateName`.
pub(crate) type NameRule = fn(name: &str, prefix: bool) -> Vec<String>;

/// All annotations together, keys and values, in bytes.
const MAX_ANNOTATIONS: usize = 256 << 10;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", ORPHAN, FOREGROUND];

/// Names that are DNS subdomains, as most kinds'.
#[must_use]
pub(crate) fn dns_subdomain(name: &str, prefix: bool) -> Vec<String> {
    is_dns1123_subdomain(&masked(name, prefix))
}

/// Names that are DNS labels (namespaces).
#[must_use]
pub(crate) fn dns_label(name: &str, prefix: bool) -> Vec<String> {
    is_dns1123_label(&masked(name, prefix))
}

/// Names that are DNS labels which begin with a letter (services).
#[must_use]
pub(crate) fn dns1035_label(name: &str, prefix: bool) -> Vec<String> {
    is_dns1035_label(&masked(name, prefix))
}

/// Names that are one segment of a URL's path (roles and bindings).
#[must_use]
pub(crate) fn path_segment(name: &str, _prefix: bool) -> Vec<String> {
    is_path_segment_name(name)
}

/// A generateName may end in a dash: the random suffix follows.
fn masked(name: &str, prefix: bool) -> std::borrow::Cow<'_, str> {
    match name.strip_suffix('-') {
        Some(rest) if prefix && !rest.is_empty() => format!("{}a", &name[..rest.len()]).into(),
        _ => name.into(),
    }
}

/// Validates the metadata of a new object.
#[must_use]
pub(crate) fn validate(object: &Object, namespaced: bool, rule: NameRule) -> Vec<FieldError> {
    let mut errors = Errors::default();
    check(object, namespaced, rule, &mut errors);
    errors.0
}

/// Validates the metadata of a replacement against what is stored.
#[must_use]
pub(crate) fn validate_update(object: &Object, old: &Object) -> Vec<FieldError> {
    let mut errors = Errors::default();
    check_update(object, old, &mut errors);
    errors.0
}

/// Validates the metadata of a new object of the API extensions: their finalizers need no domain.
#[must_use]
pub(crate) fn validate_extension(
    object: &Object,
    namespaced: bool,
    rule: NameRule,
) -> Vec<FieldError> {
    let mut errors = Errors::default();
    check_generic(object, namespaced, rule, &mut errors);
    errors.0
}

/// Validates the metadata of a replacement of an object of the API extensions.
#[must_use]
pub(crate) fn validate_extension_update(object: &Object, old: &Object) -> Vec<FieldError> {
    let mut errors = Errors::default();
    check_generic_update(object, old, &mut errors);
    errors.0
}

/// See [`validate`].
pub(crate) fn check(object: &Object, namespaced: bool, rule: NameRule, errors: &mut Errors) {
    check_generic(object, namespaced, rule, errors);
    kube_finalizers(&At::top(object, "metadata").get("finalizers"), errors);
}

fn check_generic(object: &Object, namespaced: bool, rule: NameRule, errors: &mut Errors) {
    let meta = At::top(object, "metadata");
    let generate_name = meta.get("generateName");
    if !generate_name.is_empty() {
        errors.each(&generate_name, rule(generate_name.text(), true));
    }
    let name = meta.get("name");
    if name.is_empty() {
        errors.required(&name, "name or generateName is required");
    } else {
        errors.each(&name, rule(name.text(), false));
    }
    let namespace = meta.get("namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.required(&namespace, ""),
        (true, false) => errors.each(&namespace, dns_label(namespace.text(), false)),
        (false, true) => {}
        (false, false) => errors.forbidden(&namespace, "not allowed on this type"),
    }
    errors.non_negative(&meta.get("generation"));
    common(&meta, errors);
    finalizers(&meta.get("finalizers"), errors);
}

/// See [`validate_update`].
pub(crate) fn check_update(object: &Object, old: &Object, errors: &mut Errors) {
    check_generic_update(object, old, errors);
    kube_finalizers(&At::top(object, "metadata").get("finalizers"), errors);
}

fn check_generic_update(object: &Object, old: &Object, errors: &mut Errors) {
    let (meta, old_meta) = (At::top(object, "metadata"), At::top(old, "metadata"));
    if old_meta.has("deletionTimestamp") {
        no_new_finalizers(&meta.get("finalizers"), &old_meta.get("finalizers"), errors);
    }
    let generation = meta.get("generation");
    if generation.int() < old_meta.get("generation").int() {
        errors.invalid_as(&generation, generation.int(), "must not be decremented");
    }
    for name in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        errors.immutable(&meta.get(name), &old_meta.get(name));
    }
    common(&meta, errors);
}

fn common(meta: &At<'_>, errors: &mut Errors) {
    labels::check(&meta.get("labels"), errors);
    annotations(&meta.get("annotations"), errors);
    owner_references(&meta.get("ownerReferences"), errors);
}

/// Annotations: qualified names whatever the case, and not too much in all.
pub(crate) fn annotations(annotations: &At<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.entries() {
        let messages = if key.chars().any(char::is_uppercase) {
            is_qualified_name(&key.to_lowercase())
        } else {
            is_qualified_name(key)
        };
        errors.each_as(annotations, key, messages);
        size += key.len() + value.text().len();
    }
    if size > MAX_ANNOTATIONS {
        errors.too_long(annotations, MAX_ANNOTATIONS);
    }
}

fn owner_references(references: &At<'_>, errors: &mut Errors) {
    let mut controller: Option<&str> = None;
    for reference in references.items() {
        let api_version = reference.get("apiVersion");
        if api_version.text().rsplit('/').next().is_none_or(str::is_empty) {
            errors.invalid(&api_version, "version must not be empty");
        }
        for name in ["kind", "name", "uid"] {
            let field = reference.get(name);
            if field.is_empty() {
                errors.invalid(&field, "must not be empty");
            }
        }
        if api_version.text() == "v1" && reference.str("kind") == "Event" {
            errors.invalid(&reference, "/v1, Kind=Event is disallowed from being an owner");
        }
        if reference.get("controller").bool() {
            let name = reference.str("name");
            match controller {
                None => controller = Some(name),
                Some(first) => errors.invalid(
                    references,
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                    ),
                ),
            }
        }
    }
}

fn finalizers(finalizers: &At<'_>, errors: &mut Errors) {
    let (mut orphan, mut foreground) = (false, false);
    for finalizer in finalizers.items() {
        errors.each_as(finalizers, finalizer.text(), is_qualified_name(finalizer.text()));
        orphan |= finalizer.text() == ORPHAN;
        foreground |= finalizer.text() == FOREGROUND;
    }
    if orphan && foreground {
        errors
            .invalid(finalizers, format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set"));
    }
}

fn kube_finalizers(finalizers: &At<'_>, errors: &mut Errors) {
    for finalizer in finalizers.items() {
        kube_finalizer(&finalizer, errors);
    }
}

/// A finalizer without a domain must be one of Kubernetes' own.
pub(crate) fn kube_finalizer(finalizer: &At<'_>, errors: &mut Errors) {
    let name = finalizer.text();
    if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
        errors.invalid(
            finalizer,
            "name is neither a standard finalizer name nor is it fully qualified",
        );
    }
}

fn no_new_finalizers(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let mut extra: Vec<&str> =
        new.list().iter().filter(|f| !old.list().contains(f)).filter_map(Value::as_str).collect();
    if extra.is_empty() {
        return;
    }
    extra.sort_unstable();
    let quoted: Vec<String> = extra.iter().map(|f| format!("{f:?}")).collect();
    errors.forbidden(
        new,
        format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            quoted.join(", ")
        ),
    );
}
