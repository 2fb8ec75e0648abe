//! What a cluster has in it from the start: its DNS.
//!
//! Objects that are missing are created; those that are there stay as their owner left them, also over a restart.

use anyhow::Context as _;
use apimachinery::{object::Object, resource, yaml};
use client::{Client, FieldValidation};

/// Creates what a manifest lists and the cluster does not have.
///
/// # Errors
/// The manifest is broken, or the API refuses an object or cannot be reached; those before it stay.
pub async fn create_missing(client: &Client, manifest: &str) -> anyhow::Result<()> {
    for document in yaml::read(manifest, "addons")? {
        let object = Object::from_value(document.value)?;
        let info = resource::find_object_kind(object.api_version(), object.kind())
            .with_context(|| format!("no kind {} {}", object.api_version(), object.kind()))?;
        let key = object.key();
        let api = client
            .resource(info)
            .namespace(&key.namespace)
            .field_validation(FieldValidation::Strict);
        // Asked first: a Service that is there already holds the address that its twin would want.
        let found = match api.get(&key.name).await {
            Err(status) if status.is_not_found() => {
                api.create("", object.to_bytes()).await.map(drop)
            }
            found => found.map(drop),
        };
        found.with_context(|| format!("{} {key}", info.kind))?;
    }
    Ok(())
}
