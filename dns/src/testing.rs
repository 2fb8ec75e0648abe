//! What the tests share: two nodes, a server pod behind the DNS Service, a client pod.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use apimachinery::api::{core::Service, discovery::EndpointSlice};
use arc_swap::ArcSwap;
use cni::{
    cidr::Cidr,
    network::Sandbox,
    rules::{Endpoint, NodeRoute, Protocol, RuleSet, ServiceRule, TrafficPolicy},
    userspace::{Fabric, FabricConfig, HostPorts, Node, NodeConfig, RuleChange, SandboxSpec},
};
use component_base::{clock::Clock, metrics::Registry};
use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    metrics::Metrics,
    records::{Directory, Zone},
    server::{Limits, Published, Server, ServerConfig},
};

/// The cluster's DNS address.
pub(crate) const DNS: &str = "10.96.0.10";

pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) nodes: Vec<Node>,
    pub(crate) server: Sandbox,
    pub(crate) client: Sandbox,
    pub(crate) fabric: Fabric,
    tasks: TaskTracker,
}

impl World {
    /// The server is on node 1, its client on node 2.
    pub(crate) async fn new() -> Self {
        let clock = Clock::real();
        let fabric = Fabric::new(FabricConfig::new(clock.clone()), &CancellationToken::new());
        let nodes: Vec<Node> = (1..=2_u8)
            .map(|number| {
                let config = NodeConfig {
                    name: format!("node-{number}"),
                    pod_cidr: format!("10.244.{number}.0/24").parse::<Cidr>().unwrap(),
                    address: [192, 168, 1, 100 + number].into(),
                    checkpoint: None,
                    host_ports: HostPorts::default(),
                };
                fabric.add_node(config).unwrap()
            })
            .collect();
        let server = pod(&nodes[0], "coredns");
        let client = pod(&nodes[1], "client");
        let rules = rules(server.ip());
        for node in &nodes {
            node.apply_rules(RuleChange::Full(rules.clone()), 1).await.unwrap();
        }
        Self { clock, nodes, server, client, fabric, tasks: TaskTracker::new() }
    }

    /// A server over these records, with these upstream servers.
    pub(crate) async fn serve(&self, records: Published, upstreams: Vec<SocketAddr>) {
        self.serve_on(&self.server, records, upstreams, Limits::default()).await;
    }

    pub(crate) async fn serve_on(
        &self,
        sandbox: &Sandbox,
        records: Published,
        upstreams: Vec<SocketAddr>,
        limits: Limits,
    ) {
        let config = ServerConfig {
            records,
            clock: self.clock.clone(),
            upstreams,
            limits,
            metrics: Metrics::new(&Registry::new()),
        };
        let server = Server::bind(config, sandbox).await.unwrap();
        self.spawn(server.run());
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.tasks.spawn(task)
    }

    pub(crate) fn dns(&self) -> SocketAddr {
        SocketAddr::new(DNS.parse().unwrap(), 53)
    }
}

pub(crate) fn pod(node: &Node, name: &str) -> Sandbox {
    let id = format!("uid-{name}");
    node.add(SandboxSpec { id, namespace: "default".into(), name: name.into() }).unwrap()
}

fn rules(server: std::net::IpAddr) -> RuleSet {
    let mut rules = RuleSet::default();
    for number in 1..=2_u8 {
        let route = NodeRoute {
            pod_cidrs: vec![format!("10.244.{number}.0/24").parse().unwrap()],
            addresses: vec![[192, 168, 1, 100 + number].into()],
            zone: None,
        };
        rules.nodes.insert(format!("node-{number}"), route);
    }
    for (name, protocol) in [("dns", Protocol::Udp), ("dns-tcp", Protocol::Tcp)] {
        let endpoint = Endpoint {
            address: SocketAddr::new(server, 53),
            node: Some("node-1".into()),
            ready: true,
            serving: true,
            terminating: false,
            hints: None,
        };
        let rule = ServiceRule {
            protocol,
            cluster_ips: vec![DNS.parse().unwrap()],
            port: 53,
            node_port: None,
            external_ips: vec![],
            load_balancer_ips: vec![],
            source_ranges: vec![],
            affinity_seconds: None,
            internal_policy: TrafficPolicy::Cluster,
            external_policy: TrafficPolicy::Cluster,
            endpoints: vec![endpoint],
        };
        rules.services.insert(format!("kube-system/kube-dns:{name}").parse().unwrap(), rule);
    }
    rules
}

/// A Service `web`, a headless one `many` of 300 endpoints, aliases out of the zone and to nowhere.
pub(crate) fn some_records() -> Published {
    let service = |name: &str, spec: serde_json::Value| -> Service {
        let metadata = json!({"name": name, "namespace": "default"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    };
    let ports = json!([{"name": "http", "port": 80}]);
    let services = [
        service(
            "web",
            json!({"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"], "ports": ports}),
        ),
        service("many", json!({"clusterIP": "None", "ports": ports})),
        service("outside", json!({"type": "ExternalName", "externalName": "www.example.com"})),
    ];
    let endpoints: Vec<_> = (0..300)
        .map(|n| json!({"addresses": [format!("10.244.{}.{}", 2 + n / 200, 2 + n % 200)]}))
        .collect();
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {
            "name": "many-1", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "many"},
        },
        "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    }))
    .unwrap();
    let mut directory = Directory::new(Zone::default());
    directory.replace_services(&services);
    directory.replace_slices(&[slice]);
    directory.replace_namespaces(["default"]);
    Arc::new(ArcSwap::from_pointee(directory.publish(1).unwrap()))
}

/// A query for a name, as a client sends it.
pub(crate) fn query(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    message
}

/// Long enough for anything that must happen.
pub(crate) const LONG: Duration = Duration::from_secs(20);
