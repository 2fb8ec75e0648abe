//! Nodes that die while the API server is away; a cluster that sleeps.

use std::collections::BTreeMap;

use apimachinery::{
    api::core::{Node, Pod, Service},
    resource,
};
use client::ListOptions;
use tests::{Component, Runner, TestCluster, http};

use crate::support::{field, ip, name, wait_for_url, whoami};

/// Pods by name: (uid, address, node).
async fn pods(cluster: &TestCluster) -> BTreeMap<String, [String; 3]> {
    let pods = cluster.ready_pods("default", "app=web").await.unwrap();
    pods.iter()
        .map(|pod| {
            let uid = pod.metadata.uid.clone().unwrap();
            let node = pod.spec.node_name.clone().unwrap();
            (name(pod).to_owned(), [uid, ip(pod).to_owned(), node])
        })
        .collect()
}

/// Waits until each of these pods answers at the URL, and with its own address.
async fn all_answer(cluster: &TestCluster, url: &str, pods: &BTreeMap<String, [String; 3]>) {
    let missing = std::sync::Arc::new(parking_lot::Mutex::new(pods.clone()));
    cluster
        .eventually(&format!("all pods at {url}"), async || {
            let answer = http::get(url).await?.body;
            let host = field(&answer, "Hostname");
            let [_, address, _] = &pods[host];
            assert!(answer.lines().any(|l| l == format!("IP: {address}")), "{host}: {answer}");
            let mut missing = missing.lock();
            missing.remove(host);
            anyhow::ensure!(missing.is_empty(), "not seen yet: {:?}", missing.keys());
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn nodes_come_back_without_an_api_server() {
    let cluster = TestCluster::builder().runner(Runner::Process).nodes(2).start().await.unwrap();
    cluster.apply(&whoami("web", 2, None)).await.unwrap();
    cluster.wait_ready("web").await;
    let url = cluster.node_port_url("web").await.unwrap();
    let before = pods(&cluster).await;
    all_answer(&cluster, &url, &before).await;
    // kube-proxy keeps its rules a second later.
    for node in [1, 2] {
        let kept = cluster.folder().join(format!("state/nodes/node-{node}-rules.json"));
        cluster
            .eventually("the rules are kept", async || match std::fs::read_to_string(&kept) {
                Ok(rules) if before.values().all(|[_, ip, _]| rules.contains(ip)) => Ok(()),
                Ok(rules) => Err(rules),
                Err(error) => Err(error.to_string()),
            })
            .await;
    }

    cluster.stop(Component::ApiServer).await.unwrap();
    for node in [1, 2] {
        cluster.kill(Component::Kubelet(node)).unwrap();
        cluster.kill(Component::KubeProxy(node)).unwrap();
    }
    assert!(http::get(&url).await.is_err(), "nobody is left to answer");
    for node in [1, 2] {
        cluster.start(Component::Kubelet(node)).await.unwrap();
        cluster.start(Component::KubeProxy(node)).await.unwrap();
    }
    all_answer(&cluster, &url, &before).await;

    cluster.start(Component::ApiServer).await.unwrap();
    for pod in before.keys() {
        // The death of a kubelet counts as its node's reboot: one more restart of each container.
        cluster
            .wait_for::<Pod>(pod, |pod| {
                let containers = &pod.status.container_statuses;
                let restarts: Vec<i32> = containers.iter().map(|c| c.restart_count).collect();
                if restarts == [1] { Ok(()) } else { Err(format!("restarts: {restarts:?}")) }
            })
            .await;
        cluster.wait_pod_ready(pod).await;
    }
    assert_eq!(pods(&cluster).await, before);
}

/// Services with their addresses and ports, and nodes with theirs, as JSON.
async fn lasting(cluster: &TestCluster) -> (Vec<String>, Vec<String>, Vec<String>) {
    let client = cluster.client();
    let services = client.list::<Service>("", &ListOptions::default()).await.unwrap();
    let services = services.items.iter().map(|s| serde_json::to_string(s).unwrap()).collect();
    let nodes = client.list::<Node>("", &ListOptions::default()).await.unwrap();
    let nodes = nodes
        .items
        .iter()
        .map(|node| format!("{:?} {:?} {:?}", node.metadata.uid, node.spec, node.status.addresses))
        .collect();
    let maps =
        client.list_objects(&resource::CONFIG_MAPS, "", &ListOptions::default()).await.unwrap();
    (services, nodes, maps.items.iter().map(|map| format!("{map:?}")).collect())
}

async fn sleeps_and_wakes(runner: Runner) {
    let cluster = TestCluster::builder().runner(runner).nodes(2).durable().start().await.unwrap();
    cluster.apply(&whoami("web", 2, None)).await.unwrap();
    cluster.wait_ready("web").await;
    let url = cluster.node_port_url("web").await.unwrap();
    wait_for_url(&cluster, &url).await;
    let (before, kept) = (pods(&cluster).await, lasting(&cluster).await);

    cluster.stop_all().await.unwrap();
    assert!(http::get(&url).await.is_err(), "a stopped cluster answers");
    cluster.start_all().await.unwrap();
    for pod in before.keys() {
        cluster.wait_pod_ready(pod).await;
    }
    all_answer(&cluster, &url, &before).await;
    assert_eq!(pods(&cluster).await, before);
    assert_eq!(lasting(&cluster).await, kept);
}

#[tokio::test]
async fn a_cluster_sleeps_and_wakes_in_process() {
    sleeps_and_wakes(Runner::InProcess).await;
}

#[tokio::test]
async fn a_cluster_sleeps_and_wakes_as_processes() {
    sleeps_and_wakes(Runner::Process).await;
}
