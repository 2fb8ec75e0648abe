//! The three patch formats of the API, applied and created.
//!
//! | format | applied by | created by |
//! |---|---|---|
//! | JSON patch, RFC 6902 | [`json::apply`] | nobody here |
//! | JSON merge patch, RFC 7386 | [`merge::apply`] | [`merge::create_two_way`], [`merge::create_three_way`] |
//! | strategic merge patch | [`strategic::apply`] | [`strategic::create_two_way`], [`strategic::create_three_way`] |
//!
//! A two-way patch turns one value into another. A three-way patch is what `kubectl apply` sends:
//! it takes out what the user took out of their manifest (last applied → manifest) and sets what the
//! manifest sets differently from the live object (live → manifest), and leaves the rest alone.
//!
//! Error messages are those of Kubernetes' own libraries (`evanphx/json-patch`,
//! `apimachinery/strategicpatch`), for users meet them verbatim.

pub mod json;
pub mod merge;
pub mod strategic;

/// Why a patch cannot be applied or created; the variant decides the status of the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself has a wrong form: 400 Bad Request.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object: 422 Unprocessable Entity.
    #[error("{0}")]
    Inapplicable(String),
    /// What Kubernetes does not tell apart from its own faults: 500 Internal Server Error.
    #[error("{0}")]
    Failed(String),
}
