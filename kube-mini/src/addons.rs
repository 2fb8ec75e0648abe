//! What a cluster has in it from the start: its DNS, and its ingress controller.
//!
//! Objects that are missing are created; those that are there stay as their owner left them, also over a restart.

use anyhow::Context as _;
use apimachinery::{api::core::Service, object::Object, resource, yaml};
use client::{Client, FieldValidation, Patch};
use serde_json::json;

/// Creates the DNS, and the ingress controller if it has ports; those are told to a controller that is there already.
///
/// # Errors
/// The API refuses an object or cannot be reached; those before it stay.
pub async fn create(client: &Client, ingress_ports: Option<[u16; 2]>) -> anyhow::Result<()> {
    create_missing(client, dns::program::MANIFEST).await?;
    let Some([plain, tls]) = ingress_ports else { return Ok(()) };
    let on_localhost = "  type: LoadBalancer\n  loadBalancerIP: 127.0.0.1\n";
    let manifest = ingress::program::MANIFEST
        .replace("  type: LoadBalancer\n", on_localhost)
        .replace("port: 8080\n", &format!("port: {plain}\n"))
        .replace("port: 8443\n", &format!("port: {tls}\n"));
    create_missing(client, &manifest).await?;
    let patch = json!({"spec": {"ports": [
        {"name": "http", "port": plain, "targetPort": "http"},
        {"name": "https", "port": tls, "targetPort": "https"},
    ]}});
    let (namespace, name) = ingress::directory::OWN_SERVICE;
    client.patch::<Service>(namespace, name, &Patch::Merge(patch), "").await?;
    Ok(())
}

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
