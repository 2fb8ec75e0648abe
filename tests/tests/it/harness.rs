//! The harness itself: clusters come up, and leave nothing, also when a test panics.

use std::{
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::mpsc,
};

use tests::{Component, Runner, TestCluster};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  containers:
  - {name: c, image: nginx}
";

async fn comes_and_goes(runner: Runner) {
    let cluster = TestCluster::builder().runner(runner).nodes(2).start().await.unwrap();
    let folder = cluster.folder().to_owned();
    cluster.apply(POD).await.unwrap();
    cluster.wait_pod_ready("one").await;
    let greeting = cluster.sh("one", "echo $HOSTNAME; exit 3").await.unwrap();
    assert_eq!((greeting.stdout.as_str(), greeting.code), ("one\n", 3));
    assert!(cluster.logs("one").await.unwrap().contains("nginx"));
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

/// What a cluster has on the machine.
struct Traces {
    folder: PathBuf,
    api: SocketAddr,
    pids: Vec<u32>,
}

/// Runs a test of one's own that fails while its cluster runs; what the cluster had.
fn a_failing_test(runner: Runner) -> Traces {
    let (sender, receiver) = mpsc::sync_channel(1);
    let failed = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cluster = TestCluster::builder().runner(runner).nodes(2).start().await.unwrap();
            cluster.apply(POD).await.unwrap();
            cluster.wait_pod_ready("one").await;
            let (folder, api) = (cluster.folder().to_owned(), cluster.api_address());
            let own = std::process::id();
            let pids = cluster.pids().into_iter().filter(|pid| *pid != own).collect();
            sender.send(Traces { folder, api, pids }).unwrap();
            panic!("on purpose");
        });
    });
    assert!(failed.join().is_err(), "the test within has failed");
    receiver.recv().unwrap()
}

fn leaves_nothing(runner: Runner, processes: usize) {
    let Traces { folder, api, pids } = a_failing_test(runner);
    assert_eq!(pids.len(), processes);
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left");
    }
    assert!(!folder.exists(), "{} is left", folder.display());
    assert!(TcpStream::connect(api).is_err(), "somebody listens at {api}");
}

#[test]
fn a_failing_test_leaves_nothing_in_process() {
    leaves_nothing(Runner::InProcess, 0);
}

#[test]
fn a_failing_test_leaves_no_process() {
    leaves_nothing(Runner::Process, Component::all(2).count());
}

/// What does not fit a runner is said, not ignored.
#[tokio::test]
async fn options_fit_the_runner_or_are_refused() {
    let process = || TestCluster::builder().runner(Runner::Process);
    let program = async |_: container_runtime::ContainerContext| {};
    let image = process().register_image("example.com/own", program).unwrap();
    let error = image.start().await.unwrap_err().to_string();
    assert!(error.contains("own images need the in-process runner"), "{error}");
    let (clock, _) = component_base::clock::Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
    let error = process().clock(clock).start().await.unwrap_err().to_string();
    assert!(error.contains("a virtual clock needs the in-process runner"), "{error}");
    let cluster = TestCluster::builder().nodes(0).start().await.unwrap();
    let error = cluster.kill(Component::Scheduler).unwrap_err().to_string();
    assert!(error.contains("cannot be killed alone"), "{error}");
    assert!(cluster.start(Component::Scheduler).await.is_err(), "it runs already");
}
