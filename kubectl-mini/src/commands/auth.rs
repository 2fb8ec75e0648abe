//! `kubectl auth`: who am I, and what may I do? The server is asked for reviews of the asker himself.

pub mod can_i;
pub mod whoami;

use apimachinery::{object::Object, resource::ResourceInfo};
use serde_json::Value;

use crate::{
    cli::{Spec, leaf},
    context::Context,
    errors::CommandError,
};

/// The subcommands.
pub static SUBCOMMANDS: &[Spec] = &[leaf::<can_i::CanI>(), leaf::<whoami::WhoAmI>()];

/// The usage line of the group.
pub const USAGE: &str = "auth";

/// Sends a review and gives it as the server has filled it in.
async fn review(
    context: &Context,
    info: &'static ResourceInfo,
    spec: Value,
) -> Result<Object, CommandError> {
    let mut object = Object::default();
    object.set(&["apiVersion"], info.api_version());
    object.set(&["kind"], info.kind);
    if !spec.is_null() {
        object.set(&["spec"], spec);
    }
    let client = context.client()?;
    let api = client.resource(info);
    Ok(context.request(api.create("", object.to_bytes())).await?.object()?)
}
