//! A node lived through on a virtual clock: what it tells of itself, and which pods it takes.

use apimachinery::api::{
    coordination::Lease,
    core::{Node, NodeCondition, Pod},
};
use client::Patch;
use serde_json::{Value, json};

use crate::testing::World;

const NODE: &str = "node-1";

async fn node(world: &World) -> Node {
    world.time.run(world.client.get::<Node>("", NODE)).await.unwrap()
}

async fn patch_node(world: &World, patch: Value) {
    let patch = Patch::Merge(patch);
    world.time.run(world.client.patch::<Node>("", NODE, &patch, "")).await.unwrap();
}

async fn act_out(world: &World, name: &str, value: Value) {
    let name = format!("simulation.kube-mini.dev/{name}");
    patch_node(world, json!({"metadata": {"annotations": {name: value}}})).await;
}

async fn expect_condition(world: &World, type_: &str, expected: &str) {
    world
        .eventually(type_, async || {
            let node: Node = world.client.get("", NODE).await.map_err(|s| s.to_string())?;
            let found = node.status.conditions.iter().find(|c| c.type_ == type_).map(picture);
            if found.as_deref() == Some(expected) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
}

fn picture(condition: &NodeCondition) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{} {}: {}", condition.status, text(&condition.reason), text(&condition.message))
}

fn has(events: &[String], expected: &str) -> bool {
    events.iter().any(|event| event == expected)
}

#[tokio::test]
async fn a_node_tells_what_it_is() {
    let world = World::new().await;
    expect_condition(&world, "Ready", "True KubeletReady: kubelet is posting ready status").await;
    let events = world.events(NODE).await;
    for expected in [
        "Starting: Starting kubelet.",
        "NodeHasSufficientMemory: Node node-1 status is now: NodeHasSufficientMemory",
        "NodeHasNoDiskPressure: Node node-1 status is now: NodeHasNoDiskPressure",
        "NodeHasSufficientPID: Node node-1 status is now: NodeHasSufficientPID",
        "NodeReady: Node node-1 status is now: NodeReady",
    ] {
        assert!(has(&events, expected), "{expected}: {events:#?}");
    }
    patch_node(&world, json!({"spec": {"unschedulable": true}})).await;
    let told = "NodeNotSchedulable: Node node-1 status is now: NodeNotSchedulable";
    let events = world.events(NODE).await;
    assert!(has(&events, told), "{events:#?}");

    // An image comes, and is told when a kubelet would look.
    world.create("p", json!({"containers": [{"name": "c", "image": "actor"}]})).await;
    world.expect("p", "Running ready; c running x0").await;
    assert_eq!(node(&world).await.status.images, []);
    world.pass(10).await;
    let images = node(&world).await.status.images;
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].names[1], "docker.io/library/actor:latest");
}

#[tokio::test]
async fn a_node_acts_out_what_it_is_asked_to() {
    let world = World::new().await;
    expect_condition(&world, "Ready", "True KubeletReady: kubelet is posting ready status").await;
    act_out(&world, "memory-pressure", json!("true")).await;
    let lacking = "True KubeletHasInsufficientMemory: kubelet has insufficient memory available";
    expect_condition(&world, "MemoryPressure", lacking).await;
    assert!(world.now() < 5, "at once: {}", world.now());
    world.create("p", json!({"containers": [{"name": "c", "image": "actor"}]})).await;
    expect_failed(&world, "p", "Evicted", "The node had condition: [MemoryPressure]. ").await;
    act_out(&world, "memory-pressure", Value::Null).await;
    let healthy = "False KubeletHasSufficientMemory: kubelet has sufficient memory available";
    expect_condition(&world, "MemoryPressure", healthy).await;

    act_out(&world, "not-ready", json!("runtime is down")).await;
    expect_condition(&world, "Ready", "False KubeletNotReady: runtime is down").await;
    act_out(&world, "not-ready", Value::Null).await;
    act_out(&world, "no-such-thing", json!("x")).await;
    let events = world.events(NODE).await;
    assert!(has(&events, "NodeNotReady: Node node-1 status is now: NodeNotReady"), "{events:#?}");
    assert!(events.iter().any(|e| e.starts_with("InvalidSimulation: metadata.annotations[")));

    act_out(&world, "silent", json!("true")).await;
    let renewed = async || {
        let lease = world.client.get::<Lease>("kube-node-lease", NODE);
        world.time.run(lease).await.unwrap().spec.renew_time.unwrap().0
    };
    world.pass(11).await;
    let last = renewed().await;
    world.pass(60).await;
    assert_eq!(renewed().await, last);
    act_out(&world, "silent", Value::Null).await;
    world.pass(1).await;
    assert!(renewed().await > last);
}

async fn expect_failed(world: &World, name: &str, reason: &str, message: &str) {
    let pod = world
        .eventually(name, async || {
            let pod: Pod = world.client.get("default", name).await.map_err(|s| s.to_string())?;
            let phase = pod.status.phase.clone();
            if phase.as_deref() == Some("Failed") { Ok(pod) } else { Err(format!("{phase:?}")) }
        })
        .await;
    assert_eq!(pod.status.reason.as_deref(), Some(reason));
    assert_eq!(pod.status.message, Some(format!("Pod was rejected: {message}")));
    let events = world.events(name).await;
    assert!(has(&events, &format!("{reason}: {message}")), "{events:#?}");
}

#[tokio::test]
async fn a_pod_that_does_not_fit_is_failed_for_good() {
    let world = World::new().await;
    let asking = |cpu: &str| json!({"containers": [{"name": "c", "image": "actor", "resources": {"requests": {"cpu": cpu}}}]});
    world.create("large", asking("6")).await;
    world.expect("large", "Running ready; c running x0").await;
    world.create("more", asking("3")).await;
    let text = "Node didn't have enough resource: cpu, requested: 3000, used: 6000, capacity: 8000";
    expect_failed(&world, "more", "OutOfcpu", text).await;
    world.delete("large", Some(1)).await;
    world.expect("large", "gone").await;
    world.create("next", asking("3")).await;
    world.expect("next", "Running ready; c running x0").await;
    assert_eq!(world.pod("more").await.unwrap().status.phase.as_deref(), Some("Failed"));
    world.delete("more", None).await;
    world.expect("more", "gone").await;
}

#[tokio::test]
async fn what_a_pod_asks_for_and_nobody_understands_is_told() {
    let world = World::new().await;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "default",
                     "annotations": {"simulation.kube-mini.dev/crash-after": "soon"}},
        "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "actor"}]},
    }))
    .unwrap();
    world.time.run(world.client.create(&pod)).await.unwrap();
    world.expect("p", "Running ready; c running x0").await;
    let events = world.events("p").await;
    let expected = "InvalidSimulation: metadata.annotations[simulation.kube-mini.dev/crash-after]: Invalid value: \
                    \"soon\": must be a duration, e.g. \"1m\"";
    assert_eq!(events.iter().filter(|event| *event == expected).count(), 1, "{events:#?}");
}
