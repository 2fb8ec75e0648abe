//! Tokens in the volumes of running pods, on a virtual clock.

use std::path::Path;

use apimachinery::api::{
    Resource,
    core::{ConfigMap, ServiceAccount},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use client::{DeleteOptions, Patch};
use serde_json::{Value, json};

use super::ROOT_CA;
use crate::testing::World;

async fn put<T: Resource>(world: &World, name: &str, mut object: Value) {
    object["metadata"] = json!({"name": name, "namespace": "default"});
    let object: T = serde_json::from_value(object).unwrap();
    world.time.run(world.client.create(&object)).await.unwrap();
}

async fn put_authority(world: &World) {
    put::<ConfigMap>(world, ROOT_CA, json!({"data": {"ca.crt": "authority"}})).await;
}

fn read(volume: &Path, name: &str) -> String {
    let path = volume.join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What a token says.
fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn containers() -> Value {
    json!([{"name": "c", "image": "actor"}])
}

#[tokio::test]
async fn a_pod_has_its_accounts_token_and_a_new_one_in_time() {
    let world = World::new().await;
    put::<ServiceAccount>(&world, "bot", json!({})).await;
    put_authority(&world).await;
    let spec = json!({"serviceAccountName": "bot", "containers": containers()});
    let pod = world.create("p", spec).await;
    world.expect("p", "Running ready; c running x0").await;
    let uid = pod.metadata.uid.unwrap();
    let volume = world.volumes(&uid).join(&pod.spec.volumes[0].name);
    assert_eq!(read(&volume, "ca.crt"), "authority");
    assert_eq!(read(&volume, "namespace"), "default");
    let first = read(&volume, "token");
    let said = claims(&first);
    assert_eq!(said["sub"], "system:serviceaccount:default:bot");
    assert_eq!(said["kubernetes.io"]["pod"], json!({"name": "p", "uid": uid}));
    assert_eq!(said["kubernetes.io"]["node"]["name"], "node-1");

    // Four fifths of 3607 seconds are 2885.6.
    world.pass(2880).await;
    assert_eq!(read(&volume, "token"), first);
    world.pass(70).await;
    let second = read(&volume, "token");
    assert_ne!(second, first);
    assert_eq!(claims(&second)["kubernetes.io"]["pod"]["uid"], json!(uid));
    world.pass(2950).await;
    assert_ne!(read(&volume, "token"), second);
    assert!(world.events("p").await.iter().all(|event| !event.starts_with("Failed")));
}

#[tokio::test]
async fn other_content_changes_beside_a_token() {
    let world = World::new().await;
    put::<ConfigMap>(&world, "map", json!({"data": {"key": "one"}})).await;
    let sources = json!([
        {"serviceAccountToken": {"path": "vault", "audience": "vault", "expirationSeconds": 600}},
        {"configMap": {"name": "map"}},
    ]);
    let volumes = json!([{"name": "both", "projected": {"sources": sources}}]);
    let pod = world.create("p", json!({"containers": containers(), "volumes": volumes})).await;
    world.expect("p", "Running ready; c running x0").await;
    let volume = world.volumes(&pod.metadata.uid.unwrap()).join("both");
    let first = read(&volume, "vault");
    assert_eq!(claims(&first)["aud"], json!(["vault"]));
    let change = Patch::Merge(json!({"data": {"key": "two"}}));
    let patched = world.client.patch::<ConfigMap>("default", "map", &change, "");
    world.time.run(patched).await.unwrap();
    world.pass(1).await;
    assert_eq!(read(&volume, "key"), "two");
    assert_eq!(read(&volume, "vault"), first);
    world.pass(475).await;
    assert_eq!(read(&volume, "vault"), first);
    world.pass(40).await;
    assert_ne!(read(&volume, "vault"), first);
    assert_eq!(read(&volume, "key"), "two");
}

#[tokio::test]
async fn a_pod_waits_for_its_namespaces_authority() {
    let world = World::new().await;
    put::<ServiceAccount>(&world, "bot", json!({})).await;
    let spec = json!({"serviceAccountName": "bot", "containers": containers()});
    let pod = world.create("p", spec).await;
    world.expect("p", "Pending; c ContainerCreating x0").await;
    let volume = &pod.spec.volumes[0].name;
    let failed = format!(
        "FailedMount: MountVolume.SetUp failed for volume {volume:?} : configmap {ROOT_CA:?} not found"
    );
    world.pass(2).await;
    assert!(world.events("p").await.contains(&failed));
    put_authority(&world).await;
    world.expect("p", "Running ready; c running x0").await;
}

#[tokio::test]
async fn a_pod_goes_on_with_its_token_while_there_is_no_newer_one() {
    let world = World::new().await;
    put::<ServiceAccount>(&world, "bot", json!({})).await;
    put_authority(&world).await;
    let spec = json!({"serviceAccountName": "bot", "containers": containers()});
    let pod = world.create("p", spec).await;
    world.expect("p", "Running ready; c running x0").await;
    let volume = world.volumes(&pod.metadata.uid.unwrap()).join(&pod.spec.volumes[0].name);
    let first = read(&volume, "token");
    let gone = DeleteOptions::default();
    let deletion = world.client.delete::<ServiceAccount>("default", "bot", &gone);
    world.time.run(deletion).await.unwrap();
    world.pass(3000).await;
    assert_eq!(read(&volume, "token"), first);
    put::<ServiceAccount>(&world, "bot", json!({})).await;
    world.pass(95).await;
    assert_ne!(read(&volume, "token"), first);
    assert!(world.events("p").await.iter().all(|event| !event.starts_with("Failed")));
}
