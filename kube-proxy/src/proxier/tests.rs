use std::path::Path;

use client::{Client, events::EventRecorder};
use cni::{
    node_service,
    rules::RuleSet,
    userspace::{Fabric, FabricConfig, HostPorts, Node, NodeConfig, RuleChange},
};
use component_base::{
    metrics::Registry,
    transport::{Listener, serve},
};
use tokio_util::sync::CancellationToken;

use super::*;

/// A node's network that can be rebooted, and a proxy for it that learns by hand.
struct World {
    folder: tempfile::TempDir,
    shutdown: Shutdown,
    knowledge: Arc<Knowledge>,
}

struct Booted {
    node: Node,
    fabric: Fabric,
    life: CancellationToken,
}

impl World {
    fn start(remembered: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (shutdown, clock) = (Shutdown::new(), Clock::real());
        let metrics = Metrics::new(&Registry::new());
        let remembered = remembered.map(|rules| serde_json::from_str(rules).unwrap());
        let knowledge = Knowledge::new("node-1", remembered, metrics.clone(), clock.clone());
        let nowhere = Endpoint::Unix { path: folder.path().join("no-api.sock") };
        let client = Client::new(&nowhere).unwrap();
        let recorder = EventRecorder::start(&client, &clock, "kube-proxy", None, &shutdown);
        let proxier = Proxier {
            knowledge: Arc::clone(&knowledge),
            node: node_service::rules_endpoint(folder.path(), "node-1"),
            clock: clock.clone(),
            shutdown: shutdown.clone(),
            min_sync_period: Duration::from_millis(1),
            cache: Some(Cache::new(folder.path().join("rules.json"))),
            metrics,
            reporter: Reporter::new(recorder),
            health_checks: HealthChecks::new(Arc::default(), shutdown.clone()),
            in_step: Arc::default(),
        };
        let token = shutdown.token().clone();
        shutdown.spawn("proxier", async move {
            token.run_until_cancelled(proxier.run()).await;
        });
        Self { folder, shutdown, knowledge }
    }

    async fn boot(&self) -> Booted {
        self.boot_with(RuleSet::default(), 0).await
    }

    /// Boots a node that has these rules before anybody can reach it.
    async fn boot_with(&self, rules: RuleSet, generation: u64) -> Booted {
        let life = CancellationToken::new();
        let fabric = Fabric::new(FabricConfig::new(Clock::real()), &life);
        let node = fabric
            .add_node(NodeConfig {
                name: "node-1".into(),
                pod_cidr: "10.244.1.0/24".parse().unwrap(),
                address: "192.168.1.101".parse().unwrap(),
                checkpoint: None,
                host_ports: HostPorts::default(),
            })
            .unwrap();
        node.apply_rules(RuleChange::Full(rules), generation).await.unwrap();
        let socket = node_service::rules_socket(self.folder.path(), "node-1");
        let listener = Listener::bind_unix(&socket).unwrap();
        let router = node_service::router(node.clone());
        self.shutdown.spawn("node", serve(listener, router, life.clone()));
        Booted { node, fabric, life }
    }

    /// The first lists: `count` Services, no slices, no Nodes.
    fn list(&self, count: usize) {
        let services: Vec<_> = (0..count).map(service).collect();
        self.knowledge.learn(Some(0), |compiler| compiler.replace_services(&services));
        self.knowledge.learn(Some(1), |compiler| compiler.replace_slices(&[]));
        self.knowledge.learn(Some(2), |compiler| compiler.replace_nodes(&[]));
        self.knowledge.learn(Some(3), |compiler| compiler.policies().clear_policies());
    }

    async fn stop(self, booted: Booted) {
        booted.stop(&self).await;
        self.shutdown.cancel();
        self.shutdown.wait(Duration::from_secs(10)).await.unwrap();
    }
}

impl Booted {
    /// Dies, and waits until its socket is gone.
    async fn stop(self, world: &World) {
        self.life.cancel();
        self.fabric.stop().await;
        let socket = node_service::rules_socket(world.folder.path(), "node-1");
        until("the socket is gone", || !socket.exists()).await;
    }

    async fn has(&self, generation: u64, services: usize) {
        let what = format!("{services} services at generation {generation}");
        let there = || {
            let active = self.node.rules();
            (active.generation, active.rules.services.len()) == (generation, services)
        };
        until(&what, there).await;
    }
}

fn service(n: usize) -> apimachinery::api::core::Service {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": format!("web-{n}"), "namespace": "default"},
        "spec": {"clusterIP": format!("10.96.1.{n}"), "ports": [{"port": 80}]},
    }))
    .unwrap()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = Clock::real();
    let wait = async {
        while !condition() {
            clock.sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(clock.timeout(Duration::from_secs(10), wait).await.is_ok(), "never: {what}");
}

const REMEMBERED: &str = r#"{"services": {"default/old": {
    "protocol": "TCP", "clusterIps": ["10.96.0.9"], "port": 80}}}"#;

#[tokio::test]
async fn a_node_gets_everything_once_and_then_changes() {
    let world = World::start(None);
    let node = world.boot().await;
    world.knowledge.learn(Some(0), |compiler| compiler.replace_services(&[service(0)]));
    tokio::task::yield_now().await;
    assert_eq!(node.node.rules().generation, 0, "half of the cluster is not programmed");
    world.list(2);
    node.has(1, 2).await;
    world.knowledge.learn(None, |compiler| compiler.set_service(&service(2)));
    node.has(2, 3).await;
    world
        .knowledge
        .learn(None, |compiler| compiler.remove_service(&ObjectKey::new("default", "web-0")));
    node.has(3, 2).await;
    // What is in force is also in the file, without anybody having ended in order.
    let cache = world.folder.path().join("rules.json");
    let in_force = node.node.rules().rules;
    until("the rules are kept", || crate::cache::read(&cache).as_ref() == Some(&in_force)).await;
    let text = std::fs::read_to_string(&cache).unwrap();
    assert_eq!(text.lines().count(), 3, "the rules, and two changes: {text}");
    world.stop(node).await;
}

#[tokio::test]
async fn a_rebooted_node_gets_everything_again() {
    let world = World::start(None);
    let first = world.boot().await;
    world.list(2);
    first.has(1, 2).await;
    first.stop(&world).await;
    // What changes meanwhile is not lost.
    world.knowledge.learn(None, |compiler| compiler.set_service(&service(2)));
    let second = world.boot().await;
    second.has(1, 3).await;
    world.stop(second).await;
}

#[tokio::test]
async fn a_node_that_was_programmed_by_another_gets_everything() {
    let world = World::start(None);
    let node = world.boot().await;
    world.list(1);
    node.has(1, 1).await;
    let foreign = RuleChange::Full(RuleSet::default());
    node.node.apply_rules(foreign, 9).await.unwrap();
    world.knowledge.learn(None, |compiler| compiler.set_service(&service(1)));
    node.has(10, 2).await;
    world.stop(node).await;
}

#[tokio::test]
async fn without_the_api_a_fresh_node_gets_the_rules_of_an_earlier_life() {
    let world = World::start(Some(REMEMBERED));
    let node = world.boot().await;
    node.has(1, 1).await;
    assert!(node.node.rules().rules.services.contains_key(&"default/old".parse().unwrap()));
    world.list(2);
    node.has(2, 2).await;
    assert!(!node.node.rules().rules.services.contains_key(&"default/old".parse().unwrap()));
    let cache = world.folder.path().join("rules.json");
    let kept =
        |path: &Path| crate::cache::read(path).is_some_and(|rules| rules.services.len() == 2);
    until("the rules are kept", || kept(&cache)).await;
    world.stop(node).await;
}

#[tokio::test]
async fn without_the_api_a_node_with_rules_keeps_them() {
    let world = World::start(Some(REMEMBERED));
    let mut newer = RuleSet::default();
    newer.nodes.insert("node-2".into(), cni::rules::NodeRoute::default());
    let node = world.boot_with(newer.clone(), 4).await;
    world.list(2);
    // Generation 5, not 6: the remembered rules were never sent.
    node.has(5, 2).await;
    world.stop(node).await;
}
