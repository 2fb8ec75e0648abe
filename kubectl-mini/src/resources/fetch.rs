//! Reading the objects that targets stand for.

use apimachinery::{
    field::go_quote,
    object::Object,
    resource::{self, ResourceInfo},
};
use client::ListOptions;

use super::Target;
use crate::{context::Context, errors::CommandError};

/// An object, and what it is.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its type.
    pub info: &'static ResourceInfo,
    /// The object, as the server has it.
    pub object: Object,
}

/// Reads one object.
///
/// # Errors
/// The server's.
pub async fn fetch_named(
    context: &Context,
    info: &'static ResourceInfo,
    namespace: &str,
    name: &str,
) -> Result<Item, CommandError> {
    let object = context.request(context.client()?.get_object(info, namespace, name)).await;
    match object {
        Ok(object) => Ok(Item { info, object }),
        Err(error) => Err(explain_missing(context, error, namespace).await),
    }
}

/// Where an object was not found because its namespace is not there, says that.
pub async fn explain_missing(
    context: &Context,
    error: CommandError,
    namespace: &str,
) -> CommandError {
    if error.is_not_found() && !matches!(namespace, "" | "default") {
        let Ok(client) = context.client() else { return error };
        let found = context.request(client.get_object(&resource::NAMESPACES, "", namespace)).await;
        return match found {
            Err(missing) if missing.is_not_found() => missing,
            _ => error,
        };
    }
    error
}

/// Reads what a target stands for: one object, or a collection in pages of `chunk_size` (0: whole).
///
/// # Errors
/// The server's.
pub async fn fetch(
    context: &Context,
    target: &Target,
    chunk_size: i64,
) -> Result<Vec<Item>, CommandError> {
    match target {
        Target::Named { info, namespace, name, .. } => {
            Ok(vec![fetch_named(context, info, namespace, name).await?])
        }
        Target::Collection { info, namespace, labels, fields } => {
            let mut options = ListOptions {
                label_selector: labels.clone(),
                field_selector: fields.clone(),
                limit: chunk_size,
                ..ListOptions::default()
            };
            let mut items = Vec::new();
            loop {
                let page = context
                    .request(context.client()?.list_objects(info, namespace, &options))
                    .await
                    .map_err(|error| explain_list(error, info, labels, fields))?;
                items.extend(page.items.into_iter().map(|object| Item { info, object }));
                if page.continue_token.is_empty() {
                    return Ok(items);
                }
                options.continue_token = page.continue_token;
            }
        }
    }
}

/// Says which list it was that the server refused, as kubectl does.
#[must_use]
pub fn explain_list(
    error: CommandError,
    info: &ResourceInfo,
    labels: &str,
    fields: &str,
) -> CommandError {
    match error {
        CommandError::Api(mut status) if status.is_bad_request() || status.is_not_found() => {
            let subject =
                go_quote(&format!("{}/{}, Resource={}", info.group, info.version, info.resource));
            status.message = if labels.is_empty() && fields.is_empty() {
                format!("Unable to list {subject}: {}", status.message)
            } else {
                format!(
                    "Unable to find {subject} that match label selector {}, field selector {}: {}",
                    go_quote(labels),
                    go_quote(fields),
                    status.message
                )
            };
            CommandError::Api(status)
        }
        error => error,
    }
}
