//! Rolling updates and scaling under load: with `maxUnavailable: 0` not one request fails.
//!
//! Every request is a connection of its own. Clients on the host go through a node port of each node in turn, clients in a
//! pod through the ClusterIP. There is no `preStop` hook that waits: nothing but the system's own order keeps the promise.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use apimachinery::api::apps::Deployment;
use client::Patch;
use component_base::clock::Clock;
use parking_lot::Mutex;
use serde_json::json;
use tests::{Runner, TestCluster, http};
use tokio::task::JoinSet;

use crate::support::{shell, size, wait_for_url, whoami};

/// On the host, and as many in the pod.
const CLIENTS: usize = 4;
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks in a loop until a file says that it is enough; prints each failure, and in the end how many requests it made.
const LOAD: &str = "
n=0
while [ ! -e /tmp/enough ]; do
  wget -q -T 10 -O /dev/null http://$WEB_SERVICE_HOST || echo failed after $n
  n=$((n+1))
  sleep 0.01
done
echo made $n
";

/// Requests from the host until they are enough.
struct HostLoad {
    enough: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    clients: JoinSet<()>,
}

impl HostLoad {
    fn start(urls: &[String]) -> Self {
        let mut load = Self {
            enough: Arc::default(),
            made: Arc::default(),
            failures: Arc::default(),
            clients: JoinSet::new(),
        };
        for number in 0..CLIENTS {
            let clock = Clock::real();
            let (enough, made) = (load.enough.clone(), load.made.clone());
            let (failures, url) = (load.failures.clone(), urls[number % urls.len()].clone());
            load.clients.spawn(async move {
                while !enough.load(Ordering::Relaxed) {
                    match http::get(&url).await {
                        Ok(answer) if answer.status == 200 => {}
                        Ok(answer) => failures.lock().push(format!("{url}: {}", answer.status)),
                        Err(error) => failures.lock().push(format!("{url}: {error:#}")),
                    }
                    made.fetch_add(1, Ordering::Relaxed);
                    // What is tested is the update, not how much the machine can bear.
                    clock.sleep(PAUSE).await;
                }
            });
        }
        load
    }

    async fn end(mut self) -> usize {
        self.enough.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        assert_eq!(
            *self.failures.lock(),
            [""; 0],
            "of {} requests",
            self.made.load(Ordering::Relaxed)
        );
        self.made.load(Ordering::Relaxed)
    }
}

async fn no_request_fails(runner: Runner, updates: usize) {
    let cluster = TestCluster::builder().runner(runner).nodes(2).start().await.unwrap();
    let manifest = whoami("web", 2, None).replace(
        "  template:",
        "  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}\n  template:",
    );
    cluster.apply(&manifest).await.unwrap();
    cluster.wait_ready("web").await;
    cluster.apply(&shell("client", "node-1")).await.unwrap();
    cluster.wait_pod_ready("client").await;
    let port = cluster.node_port("web").await.unwrap();
    let urls = [1, 2].map(|node| format!("http://{}:{port}", cluster.node_address(node)));
    for url in &urls {
        wait_for_url(&cluster, url).await;
    }
    let inside = (0..CLIENTS).map(|_| cluster.sh("client", LOAD));
    let inside = futures::future::join_all(inside);
    let host = HostLoad::start(&urls);
    let outside = async {
        for update in 0..updates {
            let template = json!({"metadata": {"annotations": {"update": update.to_string()}}});
            change(&cluster, json!({"template": template})).await;
        }
        for replicas in [5, 1, 3, 2] {
            change(&cluster, json!({"replicas": replicas})).await;
        }
        let enough = cluster.sh("client", "touch /tmp/enough").await.unwrap();
        assert_eq!(enough.code, 0);
        host.end().await
    };
    let (inside, made) = tokio::join!(inside, outside);
    assert!(made >= updates, "{made} requests from the host");
    for load in inside {
        let said = load.unwrap();
        let lines: Vec<&str> = said.stdout.lines().collect();
        let [end] = lines[..] else { panic!("{}{}", said.stdout, said.stderr) };
        let made: usize = end.strip_prefix("made ").unwrap().parse().unwrap();
        assert!(made >= updates, "{made} requests of a client in a pod");
    }
}

/// Changes the Deployment and waits until it has rolled out.
async fn change(cluster: &TestCluster, spec: serde_json::Value) {
    let patch = Patch::Strategic(json!({"spec": spec}));
    cluster.client().patch::<Deployment>("default", "web", &patch, "").await.unwrap();
    cluster.wait_ready("web").await;
}

#[tokio::test]
async fn no_request_fails_in_process() {
    no_request_fails(Runner::InProcess, size(20, 100)).await;
}

#[tokio::test]
async fn no_request_fails_as_processes() {
    no_request_fails(Runner::Process, size(4, 20)).await;
}
