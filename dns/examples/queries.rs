//! Measures the server: questions per second from pods to the DNS pod, and what a change costs.
//!
//! `cargo run --release -p dns --example queries`

use std::{net::SocketAddr, sync::Arc, time::Duration};

use apimachinery::api::{core::Service, discovery::EndpointSlice};
use arc_swap::ArcSwap;
use cni::{
    network::Sandbox,
    userspace::{Fabric, FabricConfig, HostPorts, NodeConfig, SandboxSpec},
};
use component_base::{clock::Clock, metrics::Registry};
use dns::{
    metrics::Metrics,
    records::{Directory, Found, Zone},
    server::{Limits, Server, ServerConfig},
};
use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 5;
const CLIENTS: usize = 8;
/// Questions of a client that are on their way at one time.
const WINDOW: usize = 32;
const DURATION: Duration = Duration::from_secs(5);

fn objects() -> (Vec<Service>, Vec<EndpointSlice>) {
    let service = |n: usize| {
        let ip = format!("10.100.{}.{}", n / 250, n % 250);
        let spec =
            json!({"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80}]});
        let metadata = json!({"name": format!("service-{n}"), "namespace": "default"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a Service")
    };
    ((0..SERVICES).map(service).collect(), (0..SERVICES).map(|n| slice(n, true)).collect())
}

fn slice(n: usize, ready: bool) -> EndpointSlice {
    let endpoints: Vec<_> = (0..ENDPOINTS)
        .map(|e| {
            let number = n * ENDPOINTS + e;
            let ip =
                format!("10.{}.{}.{}", 128 + number / 65_536, number / 256 % 256, number % 256);
            json!({"addresses": [ip], "conditions": {"ready": ready || e > 0}})
        })
        .collect();
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("service-{n}-x"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": format!("service-{n}")},
        },
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080}],
    }))
    .expect("an EndpointSlice")
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn report(what: &str, value: impl std::fmt::Display) {
    println!("{what:<50} {value}");
}

async fn ask(client: Sandbox, server: SocketAddr, clock: Clock) -> std::io::Result<usize> {
    let socket = client.bind_udp((client.ip(), 0).into()).await?;
    socket.connect(server)?;
    let questions: Vec<Vec<u8>> = (0..64)
        .map(|n| {
            let name = format!("service-{}.default.svc.cluster.local.", n * 150);
            let name = Name::from_ascii(name).expect("a name");
            let mut message = Message::query();
            message.add_query(Query::query(name, RecordType::A));
            message.to_vec().expect("a packet")
        })
        .collect();
    let (mut answers, mut sent) = (0, 0);
    let mut buffer = [0; 4096];
    let end = clock.monotonic() + DURATION;
    for _ in 0..WINDOW {
        socket.send(&questions[sent % questions.len()]).await?;
        sent += 1;
    }
    while clock.monotonic() < end {
        socket.recv(&mut buffer).await?;
        answers += 1;
        socket.send(&questions[sent % questions.len()]).await?;
        sent += 1;
    }
    Ok(answers)
}

fn main() -> std::io::Result<()> {
    let clock = Clock::real();
    let (services, slices) = objects();
    let since = clock.monotonic();
    let mut directory = Directory::new(Zone::default());
    directory.replace_services(&services);
    directory.replace_slices(&slices);
    directory.replace_namespaces(["default"]);
    let records = directory.publish(1).expect("records");
    report("load of 10,000 Services x 5 endpoints", format!("{:?}", clock.monotonic() - since));

    let (since, changes) = (clock.monotonic(), 1000_u32);
    for n in 0..changes {
        directory.set_slice(&slice(n as usize * 7, n % 2 == 1));
        let _ = std::hint::black_box(directory.publish(n));
    }
    report("one change", format!("{:?}", (clock.monotonic() - since) / changes));

    let name = Name::from_ascii("service-77.default.svc.cluster.local.").expect("a name");
    let (since, lookups) = (clock.monotonic(), 1_000_000_u32);
    for _ in 0..lookups {
        let found = records.lookup(std::hint::black_box(&name), RecordType::A);
        assert!(matches!(std::hint::black_box(found), Found::Answer(_)));
    }
    report("one lookup", format!("{:?}", (clock.monotonic() - since) / lookups));

    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build()?.block_on(async move {
        let fabric = Fabric::new(FabricConfig::new(clock.clone()), &CancellationToken::new());
        let node = fabric
            .add_node(NodeConfig {
                name: "node-1".to_owned(),
                pod_cidr: "10.244.1.0/24".parse().expect("a range"),
                address: [192, 168, 1, 101].into(),
                checkpoint: None,
                host_ports: HostPorts::default(),
            })
            .map_err(std::io::Error::other)?;
        let pod = |name: String| {
            let spec = SandboxSpec { id: name.clone(), namespace: "default".to_owned(), name };
            node.add(spec).map_err(std::io::Error::other)
        };
        let pod_of_server = pod("dns".to_owned())?;
        let config = ServerConfig {
            records: Arc::new(ArcSwap::from_pointee(records)),
            clock: clock.clone(),
            upstreams: vec![],
            limits: Limits::default(),
            metrics: Metrics::new(&Registry::new()),
        };
        let server = Server::bind(config, &pod_of_server).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run());
        let mut clients = JoinSet::new();
        for n in 0..CLIENTS {
            let client = pod(format!("client-{n}"))?;
            clients.spawn(ask(client, (pod_of_server.ip(), 53).into(), clock.clone()));
        }
        let mut total = 0;
        while let Some(answers) = clients.join_next().await {
            total += answers.map_err(std::io::Error::other)??;
        }
        let per_second = total as f64 / DURATION.as_secs_f64();
        report("questions per second, clients and server in 2 threads", format!("{per_second:.0}"));
        Ok(())
    })
}
