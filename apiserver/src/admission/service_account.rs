//! A pod runs under an account of its namespace.
//!
//! No token volume is added: tokens are not served yet, and a volume that nobody could fill would keep the pod from
//! starting. `automountServiceAccountToken` has no effect for the same reason.

use apimachinery::{object::Object, status::Status};

use super::{Operation, Review};

pub(super) const DEFAULT: &str = "default";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The account that a new pod asks for.
pub(super) fn name_of(pod: &Object) -> &str {
    [pod.get_str(&["spec", "serviceAccountName"]), pod.get_str(&["spec", "serviceAccount"])]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or(DEFAULT)
}

pub(super) fn admit(review: &mut Review<'_>) -> Result<(), Status> {
    if !review.is_pod() || review.operation != Operation::Create {
        return Ok(());
    }
    if review.object.annotation(MIRROR).is_some() {
        if !review.object.get_str(&["spec", "serviceAccountName"]).is_empty() {
            return Err(review.forbidden("a mirror pod may not reference service accounts"));
        }
        return Ok(());
    }
    let name = name_of(review.object).to_owned();
    let Some(account) = &review.facts.service_account else {
        return Err(review.forbidden(format!(
            "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
            review.context.namespace
        )));
    };
    if review.object.get_list(&["spec", "imagePullSecrets"]).is_empty()
        && let Some(secrets) = account.get(&["imagePullSecrets"]).cloned()
    {
        review.object.set(&["spec", "imagePullSecrets"], secrets);
    }
    review.object.set(&["spec", "serviceAccount"], name.as_str());
    review.object.set(&["spec", "serviceAccountName"], name);
    Ok(())
}
