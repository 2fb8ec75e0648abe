//! Clusters that do not meet, on one machine and in one process.

use std::collections::BTreeSet;

use tests::{Runner, TestCluster};
use tokio::task::JoinSet;

use crate::support::{answers, size, wait_for_url, whoami};

/// Both want node port 30080, and each gets its own.
async fn own_answers(cluster: &TestCluster, replicas: usize, requests: usize) -> BTreeSet<String> {
    let replicas = u32::try_from(replicas).unwrap();
    cluster.apply(&whoami("web", replicas, Some(30080))).await.unwrap();
    cluster.wait_ready("web").await;
    let url = cluster.node_port_url("web").await.unwrap();
    wait_for_url(cluster, &url).await;
    let pods = cluster.ready_pods("default", "app=web").await.unwrap();
    let own: BTreeSet<String> =
        pods.into_iter().map(|pod| pod.metadata.name.unwrap_or_default()).collect();
    let counts = answers(&url, requests).await;
    let foreign: Vec<_> = counts.keys().filter(|pod| !own.contains(*pod)).collect();
    assert!(foreign.is_empty(), "{url} was answered by {foreign:?}, not by {own:?}");
    own
}

#[tokio::test]
async fn two_clusters_of_processes_share_a_node_port() {
    let start = || TestCluster::builder().runner(Runner::Process).nodes(2).start();
    let (a, b) = tokio::try_join!(start(), start()).unwrap();
    let (of_a, of_b) = tokio::join!(own_answers(&a, 2, 200), own_answers(&b, 2, 200));
    assert!(of_a.is_disjoint(&of_b));
    assert_ne!(a.node_address(1), b.node_address(1));
}

#[tokio::test]
async fn twenty_clusters_in_one_process() {
    let mut all = JoinSet::new();
    for _ in 0..20 {
        all.spawn(async {
            let cluster = TestCluster::builder().nodes(1).start().await.unwrap();
            let own = own_answers(&cluster, 1, size(20, 200)).await;
            (cluster, own)
        });
    }
    let clusters = all.join_all().await;
    let pods: BTreeSet<_> = clusters.iter().flat_map(|(_, own)| own).collect();
    let addresses: BTreeSet<_> = clusters.iter().map(|(c, _)| c.node_address(1)).collect();
    assert_eq!((pods.len(), addresses.len()), (20, 20));
}
