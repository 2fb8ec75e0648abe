//! Servers that are slow or fail on demand, as a probe sees them; and ports of the node.

use apimachinery::api::core::Pod;
use client::Patch;
use serde_json::{Value, json};

use crate::testing::World;

async fn act_out(world: &World, name: &str, value: Value) {
    let name = format!("simulation.kube-mini.dev/{name}");
    let patch = Patch::Merge(json!({"metadata": {"annotations": {name: value}}}));
    world.time.run(world.client.patch::<Pod>("default", "p", &patch, "")).await.unwrap();
}

fn web(ports: &Value) -> Value {
    let probe =
        json!({"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5, "failureThreshold": 1});
    json!({"containers": [{"name": "c", "image": "nginx:1.27", "readinessProbe": probe, "ports": ports}]})
}

#[tokio::test]
async fn a_server_fails_and_is_slow_while_it_is_asked_to() {
    let world = World::new().await;
    let (ready, unready) = ("Running ready; c running x0", "Running; c running x0");
    world.create("p", web(&json!([]))).await;
    world.expect("p", ready).await;
    for (name, value) in [("error-rate", "1"), ("latency", "1500ms")] {
        act_out(&world, name, json!(value)).await;
        world.expect("p", unready).await;
        act_out(&world, name, Value::Null).await;
        world.expect("p", ready).await;
    }
    act_out(&world, "latency", json!("500ms")).await;
    world.pass(12).await;
    world.expect("p", ready).await;
}

#[tokio::test]
async fn a_host_port_leads_to_its_pod() {
    let world = World::new().await;
    world.create("p", web(&json!([{"containerPort": 80, "hostPort": 8080}]))).await;
    world.expect("p", "Running ready; c running x0").await;
    let probe = json!({"tcpSocket": {"host": "192.168.1.101", "port": 8080}, "periodSeconds": 1});
    let caller = json!({"containers": [{"name": "c", "image": "actor", "readinessProbe": probe}]});
    world.create("caller", caller).await;
    world.expect("caller", "Running ready; c running x0").await;
    world.create("twin", web(&json!([{"containerPort": 80, "hostPort": 8080}]))).await;
    world.expect("twin", "Failed; ").await;
    world.delete("p", Some(1)).await;
    world.expect("caller", "Running; c running x0").await;
}
