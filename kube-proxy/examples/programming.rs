//! Measures how fast Services become rules of a node: `cargo run --release -p kube-proxy --example programming`.
//!
//! Objects are compiled, the rules go over the node's socket, and the node has put them in force when it answers: all that
//! happens between the API and a connection. Then single endpoints change. Goals, for Services of five endpoints: 1,000 in
//! 200 ms, 10,000 in 1 s, one change in 1 ms, and a lookup that does not depend on their number.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints, spawns without end, and stops at the first surprise"
)]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use apimachinery::api::{core::Service, discovery::EndpointSlice};
use cni::{
    node_service,
    userspace::{Fabric, FabricConfig, HostPorts, NodeConfig, SandboxSpec},
};
use component_base::{
    clock::Clock,
    transport::{Listener, channel, serve},
};
use kube_proxy::compile::Compiler;
use proto::v1::{self, node_network_client::NodeNetworkClient};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const ENDPOINTS: usize = 5;
const CHANGES: usize = 200;
const LOOKUPS: u32 = 20_000;

fn cluster_ip(number: usize) -> IpAddr {
    let [.., b, c] = u32::try_from(number + 256).unwrap().to_be_bytes();
    IpAddr::from([10, 96, b, c])
}

fn service(number: usize) -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": format!("service-{number}"), "namespace": "default"},
        "spec": {"clusterIP": cluster_ip(number), "clusterIPs": [cluster_ip(number)],
            "ports": [{"name": "http", "port": 80}]},
    }))
    .unwrap()
}

/// `round` moves the first endpoint.
fn slice(number: usize, round: usize) -> EndpointSlice {
    let endpoints = (0..ENDPOINTS).map(|n| {
        let pod = number * ENDPOINTS + n + if n == 0 { round * 7 } else { 0 };
        json!({"addresses": [format!("10.{}.{}.{}", 128 + pod / 65_536 % 100, pod / 256 % 256, pod % 256)],
            "nodeName": format!("node-{}", pod % 3 + 1),
            "conditions": {"ready": true, "serving": true, "terminating": false}})
    });
    serde_json::from_value(json!({
        "metadata": {"name": format!("service-{number}-x"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": format!("service-{number}")}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    }))
    .unwrap()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    for count in [100, 1_000, 10_000] {
        measure(count).await;
    }
}

async fn measure(count: usize) {
    let clock = Clock::real();
    let end = CancellationToken::new();
    let fabric = Fabric::new(FabricConfig::new(clock.clone()), &end);
    let node = fabric
        .add_node(NodeConfig {
            name: "node-1".into(),
            pod_cidr: "10.244.1.0/24".parse().unwrap(),
            address: "192.168.1.101".parse().unwrap(),
            checkpoint: None,
            host_ports: HostPorts::default(),
        })
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let listener = Listener::bind_unix(&node_service::rules_socket(folder.path(), "node-1"));
    tokio::spawn(serve(listener.unwrap(), node_service::router(node.clone()), end.clone()));
    let endpoint = node_service::rules_endpoint(folder.path(), "node-1");
    let mut client = NodeNetworkClient::new(channel(&endpoint))
        .max_encoding_message_size(node_service::MAX_MESSAGE);
    let boot_id = client.info(v1::NodeInfoRequest {}).await.unwrap().into_inner().boot_id;

    let services: Vec<Service> = (0..count).map(service).collect();
    let slices: Vec<EndpointSlice> = (0..count).map(|number| slice(number, 0)).collect();
    let begun = clock.monotonic();
    let mut compiler = Compiler::default();
    compiler.replace_services(&services);
    compiler.replace_slices(&slices);
    compiler.take_changes();
    let request = |base_generation, full, rules: Vec<u8>| v1::ApplyRulesRequest {
        boot_id: boot_id.clone(),
        base_generation,
        generation: base_generation + 1,
        full,
        rules: rules.into(),
    };
    let rules = serde_json::to_vec(compiler.rules()).unwrap();
    let compiled = clock.monotonic() - begun;
    client.apply_rules(request(0, true, rules)).await.unwrap();
    let programmed = clock.monotonic() - begun;

    let mut took: Vec<Duration> = Vec::new();
    for round in 1..=CHANGES {
        let changed = slice(round * 31 % count, round);
        let begun = clock.monotonic();
        compiler.set_slice(&changed);
        let rules = serde_json::to_vec(&compiler.take_changes()).unwrap();
        let base = u64::try_from(round).unwrap();
        client.apply_rules(request(base, false, rules)).await.unwrap();
        took.push(clock.monotonic() - begun);
    }
    took.sort_unstable();

    // A port that the Service does not have: the lookup, and nothing else.
    let spec = SandboxSpec { id: "c".into(), namespace: "default".into(), name: "c".into() };
    let pod = node.add(spec).unwrap();
    let begun = clock.monotonic();
    for number in 0..LOOKUPS {
        let to = SocketAddr::new(cluster_ip(number as usize * 31 % count), 81);
        assert!(pod.connect_tcp(to).await.is_err());
    }
    let lookup = (clock.monotonic() - begun) / LOOKUPS;
    println!(
        "{count:>6} Services x {ENDPOINTS}: compiled {compiled:.1?}, programmed {programmed:.1?}; one change median {:.0?}, p99 {:.0?}; refused connect {lookup:.2?}",
        took[CHANGES / 2],
        took[CHANGES * 99 / 100],
    );
    end.cancel();
    fabric.stop().await;
}
