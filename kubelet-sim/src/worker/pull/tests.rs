//! Pulls that fail, lived through on a virtual clock.

use apimachinery::api::core::Pod;
use client::Patch;
use serde_json::{Value, json};

use crate::testing::World;

fn pod(image: &str, policy: &str) -> Value {
    json!({"containers": [{"name": "c", "image": image, "imagePullPolicy": policy, "args": []}]})
}

async fn waiting(world: &World) -> String {
    let pod = world.pod("p").await.unwrap();
    let state = pod.status.container_statuses[0].state.clone().unwrap_or_default();
    state.waiting.unwrap_or_default().message.unwrap_or_default()
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_tried_again_less_and_less_often() {
    let world = World::new().await;
    let created = world.create("p", pod("actor", "IfNotPresent")).await;
    world.expect("p", "Running ready; c running x0").await;
    world.delete("p", Some(1)).await;
    world.expect("p", "gone").await;
    drop(created);

    world.create("p", pod("registry.invalid/web", "Always")).await;
    let why = "failed to do request: Head \"https://registry.invalid/v2/web/manifests/latest\": dial tcp: lookup \
               registry.invalid: no such host";
    world.expect("p", "Pending; c ErrImagePull x0").await;
    let message = waiting(&world).await;
    assert!(message.starts_with("rpc error: code = Unknown desc = failed to pull and unpack"));
    assert!(message.ends_with(why), "{message}");
    world.expect("p", "Pending; c ImagePullBackOff x0").await;
    let message = waiting(&world).await;
    let begin = "Back-off pulling image \"registry.invalid/web\": ErrImagePull: rpc error: ";
    assert!(message.starts_with(begin) && message.ends_with(why), "{message}");
    world.pass(75).await;
    let events = world.events("p").await;
    let told = |event: &str| events.iter().any(|told| told.starts_with(event));
    for event in [
        "Pulling: Pulling image \"registry.invalid/web\"",
        "Failed: Failed to pull image \"registry.invalid/web\": rpc error: code = Unknown",
        "Failed: Error: ErrImagePull",
        "BackOff: Back-off pulling image \"registry.invalid/web\"",
        "Failed: Error: ImagePullBackOff",
    ] {
        assert!(told(event), "{event}: {events:#?}");
    }
}

#[tokio::test]
async fn an_annotation_holds_a_pull_up_until_it_is_taken_away() {
    let world = World::new().await;
    let mut spec = pod("actor", "IfNotPresent");
    spec["nodeName"] = "node-1".into();
    let annotation = json!({"simulation.kube-mini.dev/image-pull-error": "unauthorized"});
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "default", "annotations": annotation}, "spec": spec,
    }))
    .unwrap();
    world.time.run(world.client.create(&pod)).await.unwrap();
    world.expect("p", "Pending; c ImagePullBackOff x0").await;
    let message = waiting(&world).await;
    assert!(message.ends_with("insufficient_scope: authorization failed"), "{message}");
    let gone =
        json!({"metadata": {"annotations": {"simulation.kube-mini.dev/image-pull-error": null}}});
    let patch = Patch::Merge(gone);
    world.time.run(world.client.patch::<Pod>("default", "p", &patch, "")).await.unwrap();
    world.expect("p", "Running ready; c running x0").await;
}

#[tokio::test]
async fn an_image_that_may_not_be_pulled_must_be_there() {
    let world = World::new().await;
    world.create("p", pod("actor", "Never")).await;
    world.expect("p", "Pending; c ErrImageNeverPull x0").await;
    let text = "Container image \"actor\" is not present with pull policy of Never";
    assert_eq!(waiting(&world).await, text);
    let events = world.events("p").await;
    assert!(events.contains(&format!("ErrImageNeverPull: {text}")), "{events:#?}");
    assert!(events.contains(&"Failed: Error: ErrImageNeverPull".to_owned()), "{events:#?}");
    world.create("other", pod("actor", "IfNotPresent")).await;
    world.expect("other", "Running ready; c running x0").await;
    world.expect("p", "Running ready; c running x0").await;
}

#[tokio::test]
async fn a_name_that_is_none_is_told() {
    let world = World::new().await;
    world.create("p", pod("Nginx", "Always")).await;
    world.expect("p", "Pending; c InvalidImageName x0").await;
    assert_eq!(
        waiting(&world).await,
        "Failed to apply default image tag \"Nginx\": couldn't parse image reference \"Nginx\": invalid reference \
         format: repository name (library/Nginx) must be lowercase"
    );
    let events = world.events("p").await;
    assert!(events.iter().any(|e| e.starts_with("InspectFailed: Failed to apply")), "{events:#?}");
    assert!(events.contains(&"Failed: Error: InvalidImageName".to_owned()), "{events:#?}");
}
