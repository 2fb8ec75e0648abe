//! What the user named: types, names, selectors and files, as kubectl's resource builder reads them.
//!
//! [`Selection`] takes what the flags and arguments say and gives [`Target`]s: named objects, or whole collections.
//! [`Target`]s are fetched by [`fetch()`], or handled by the command itself (get asks for tables, delete needs no
//! objects). [`files`] reads manifests.

pub mod fetch;
pub mod files;
mod selection;
mod syntax;

pub use apimachinery::pod_resources;
use apimachinery::{
    object::Object,
    resource::{self, ResourceInfo},
};

pub(crate) use self::syntax::check_object;
pub use self::{
    fetch::{Item, explain_list, explain_missing, fetch, fetch_named},
    files::{FileFlags, Manifest},
    selection::{Selection, Target, Targets},
};
use crate::{context::Context, errors::CommandError};

/// Finds a type by what the user typed: plural, singular, short name, with or without version and group.
///
/// # Errors
/// When the server has no such type; but when there is no server, that is the error, as kubectl would have asked it.
pub async fn resolve_type(
    context: &Context,
    name: &str,
) -> Result<&'static ResourceInfo, CommandError> {
    // kubectl asks the server, so that a kubeconfig that leads nowhere is the first error.
    context.client()?;
    if let Some(info) = resource::resolve(name).filter(|info| info.served) {
        return Ok(info);
    }
    let served = discover(context).await?;
    if let Some(info) = resource::resolve_among(served.iter().copied(), name) {
        return Ok(info);
    }
    let base = name.split('.').next().unwrap_or_default();
    Err(CommandError::NoResourceType(base.to_owned()))
}

/// What the server serves, asked once: defined kinds are known to nobody else.
///
/// # Errors
/// The server's.
pub async fn discover(context: &Context) -> Result<&[&'static ResourceInfo], CommandError> {
    if context.discovered().is_none() {
        let served = context.request(context.client()?.discover()).await?;
        context.learn(served);
    }
    Ok(context.discovered().unwrap_or_default())
}

/// Finds a manifest's type: a built-in one, or one that [`discover`] has told of.
///
/// # Errors
/// When the server has no such kind.
pub fn type_of(context: &Context, object: &Object) -> Result<&'static ResourceInfo, NoMatch> {
    let defined = || {
        let served = context.discovered()?.iter().copied();
        served.into_iter().find(|info| info.is_kind(object.api_version(), object.kind()))
    };
    built_in(object).or_else(defined).ok_or_else(|| NoMatch {
        kind: object.kind().to_owned(),
        api_version: object.api_version().to_owned(),
    })
}

/// The type of an object of a built-in kind.
pub(crate) fn built_in(object: &Object) -> Option<&'static ResourceInfo> {
    resource::find_object_kind(object.api_version(), object.kind()).filter(|info| info.served)
}

/// The server has no such kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no matches for kind {kind:?} in version {api_version:?}")]
pub struct NoMatch {
    /// `Ingress`.
    pub kind: String,
    /// `networking.k8s.io/v1`.
    pub api_version: String,
}
