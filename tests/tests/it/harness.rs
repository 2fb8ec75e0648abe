//! The harness itself: clusters come up, and leave nothing.

use tests::{Runner, TestCluster};

async fn comes_and_goes(runner: Runner) {
    let cluster = TestCluster::builder().runner(runner).nodes(2).start().await.unwrap();
    let folder = cluster.folder().to_owned();
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec:\n  containers:\n  - {name: c, image: nginx}\n";
    cluster.apply(manifest).await.unwrap();
    cluster.wait_pod_ready("one").await;
    let greeting = cluster.sh("one", "echo $HOSTNAME; exit 3").await.unwrap();
    assert_eq!((greeting.stdout.as_str(), greeting.code), ("one\n", 3));
    cluster.shutdown().await.unwrap();
    assert!(!folder.exists());
}

#[tokio::test]
async fn an_in_process_cluster_comes_and_goes() {
    comes_and_goes(Runner::InProcess).await;
}

#[tokio::test]
async fn a_cluster_of_processes_comes_and_goes() {
    comes_and_goes(Runner::Process).await;
}
