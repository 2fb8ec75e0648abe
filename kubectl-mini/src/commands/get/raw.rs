//! `get --raw`: what stands at a path of the API, as the server sends it.

use crate::{context::Context, errors::CommandError};

/// Prints what stands at `path`.
pub(super) async fn run(context: &Context, path: &str) -> Result<(), CommandError> {
    let fits = path.starts_with('/') && !path.contains(|c: char| c == ' ' || c.is_control());
    if !fits {
        return Err(CommandError::message(format!(
            "--raw must be a valid URL path: parse {path:?}: invalid URI for request"
        )));
    }
    let body = context.request(context.client()?.get_raw(path)).await?;
    context.print_bytes(&body)
}
