//! Validation of the parts that several kinds share (`pkg/apis/core/validation`).
//!
//! Rules read the object's JSON through a cursor ([`at::At`]) that knows its place, so that a mistake prints
//! Kubernetes' path, and collect mistakes in [`at::Errors`], in Kubernetes' order. Objects are defaulted and checked
//! against the schema before: a field of the wrong type cannot occur here and reads as absent.

pub(crate) mod at;
pub(crate) mod conditions;
pub(crate) mod container;
pub(crate) mod env;
pub(crate) mod labels;
pub(crate) mod net;
pub(crate) mod percent;
pub(crate) mod pod_spec;
pub(crate) mod probe;
pub(crate) mod resources;
pub(crate) mod scheduling;
pub(crate) mod security;
pub(crate) mod volume;

use apimachinery::object::Object;

use self::at::{At, Errors, same};

/// The fields of a ConfigMap or Secret that `immutable: true` seals, and `immutable` itself.
pub(crate) fn immutable_data(object: &Object, old: &Object, fields: &[&str], errors: &mut Errors) {
    const SEALED: &str = "field is immutable when `immutable` is set";
    if old.get_bool(&["immutable"]) != Some(true) {
        return;
    }
    let immutable = At::top(object, "immutable");
    if !immutable.bool() {
        errors.forbidden(&immutable, SEALED);
    }
    for name in fields {
        if !same(object.0.get(*name), old.0.get(*name)) {
            errors.forbidden(&At::top(object, name), SEALED);
        }
    }
}

/// How many bytes a base64 text stands for.
pub(crate) fn size_of_base64(text: &str) -> usize {
    let digits = text.trim_end_matches('=').len();
    digits * 3 / 4
}
