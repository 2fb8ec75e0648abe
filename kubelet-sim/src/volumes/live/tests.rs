//! Volumes of running pods, on a virtual clock: what containers read after their sources have changed.

use std::time::Duration;

use apimachinery::api::{
    Resource,
    core::{ConfigMap, Pod, Secret},
};
use client::{DeleteOptions, Patch};
use serde_json::{Value, json};

use crate::testing::World;

async fn put<T: Resource>(world: &World, name: &str, mut object: Value) {
    object["metadata"] = json!({"name": name, "namespace": "default"});
    let object: T = serde_json::from_value(object).unwrap();
    world.time.run(world.client.create(&object)).await.unwrap();
}

async fn patch<T: Resource>(world: &World, name: &str, patch: Value) {
    let patch = Patch::Merge(patch);
    world.time.run(world.client.patch::<T>("default", name, &patch, "")).await.unwrap();
}

/// A pod that has its volumes at `/NAME`; gives its uid.
async fn pod_with(world: &World, volumes: Value) -> String {
    let names = volumes.as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap().to_owned());
    let mounts: Vec<Value> =
        names.map(|name| json!({"name": name, "mountPath": format!("/{name}")})).collect();
    let container = json!({"name": "c", "image": "actor", "volumeMounts": mounts});
    let pod = world.create("p", json!({"containers": [container], "volumes": volumes})).await;
    world.expect("p", "Running ready; c running x0").await;
    pod.metadata.uid.unwrap()
}

#[tokio::test]
async fn what_is_mounted_follows_its_source() {
    let world = World::new().await;
    put::<ConfigMap>(&world, "map", json!({"data": {"key": "one", "other": "o"}})).await;
    put::<Secret>(&world, "secret", json!({"data": {"key": "b25l"}})).await;
    put::<ConfigMap>(&world, "fixed", json!({"data": {"key": "one"}, "immutable": true})).await;
    let uid = pod_with(
        &world,
        json!([
            {"name": "map", "configMap": {"name": "map"}},
            {"name": "secret", "secret": {"secretName": "secret"}},
            {"name": "fixed", "configMap": {"name": "fixed"}},
            {"name": "later", "configMap": {"name": "later", "optional": true}},
            {"name": "both", "projected": {"sources": [
                {"configMap": {"name": "map", "items": [{"key": "key", "path": "map"}]}},
                {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            ]}},
        ]),
    )
    .await;
    let volumes = world.volumes(&uid);
    let reads = async |path: &str, expected: Option<&str>| {
        let began = world.clock.monotonic();
        world
            .eventually(path, async || {
                let found = std::fs::read_to_string(volumes.join(path)).ok();
                let same = found.as_deref() == expected;
                if same { Ok(()) } else { Err(format!("{found:?}, not {expected:?}")) }
            })
            .await;
        assert!(world.clock.monotonic() - began < Duration::from_secs(1), "{path}");
    };
    reads("map/key", Some("one")).await;
    reads("both/labels", Some("")).await;
    reads("later/key", None).await;

    patch::<ConfigMap>(&world, "map", json!({"data": {"key": "two", "other": null, "new": "n"}}))
        .await;
    reads("map/key", Some("two")).await;
    reads("map/new", Some("n")).await;
    reads("map/other", None).await;
    reads("both/map", Some("two")).await;
    patch::<Secret>(&world, "secret", json!({"data": {"key": "dHdv"}})).await;
    reads("secret/key", Some("two")).await;
    patch::<Pod>(&world, "p", json!({"metadata": {"labels": {"a": "b"}}})).await;
    reads("both/labels", Some("a=\"b\"")).await;
    put::<ConfigMap>(&world, "later", json!({"data": {"key": "here"}})).await;
    reads("later/key", Some("here")).await;

    // What vanishes stays, unless it is optional.
    let gone = DeleteOptions::default();
    for name in ["map", "later"] {
        world.time.run(world.client.delete::<ConfigMap>("default", name, &gone)).await.unwrap();
    }
    reads("later/key", None).await;
    reads("map/key", Some("two")).await;
    let events = world.events("p").await;
    let told =
        "FailedMount: MountVolume.SetUp failed for volume \"map\" : configmap \"map\" not found";
    assert_eq!(events.iter().filter(|event| *event == told).count(), 1, "{events:#?}");
    put::<ConfigMap>(&world, "map", json!({"data": {"key": "three"}})).await;
    reads("map/key", Some("three")).await;
    assert!(world.events("p").await.iter().all(|event| !event.contains("fixed")));
}
