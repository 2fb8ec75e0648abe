//! Measures node ports against direct connections, in one run: `cargo run --release -p cni --example netbench`.
//!
//! One process is the client, one is node 1 with the node port, one is node 2 with the server pod; a plain listener
//! in the latter, served by the same code, is what it is compared with. Goals: 0.6 of the connection rate, 0.9 of the
//! bytes per second.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints, spawns without end, and stops at the first surprise"
)]

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use cni::{
    rules::{Endpoint, NodeRoute, Protocol, RuleSet, ServiceRule, TrafficPolicy},
    userspace::{Fabric, FabricConfig, HostPorts, Node, NodeConfig, RuleChange, SandboxSpec},
};
use component_base::clock::Clock;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

const CLIENTS: usize = 64;
const SPAN: Duration = Duration::from_secs(1);
const ROUNDS: usize = 5;
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const NODE_PORT: u16 = 30080;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["node", n, sockets, host] => {
            be_node(n.parse().unwrap(), Path::new(sockets), host.parse().unwrap()).await;
        }
        _ => measure().await,
    }
}

async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let sockets = folder.path().join("net");
    let [.., a, b] = std::process::id().to_be_bytes();
    let host = |n: u8| IpAddr::from([127, 100 + a % 100, b, n]);
    let mut server = start_node(2, &sockets, host(2));
    let mut entry = start_node(1, &sockets, host(1));
    let direct = SocketAddr::new(host(2), 8080);
    let places = [
        ("direct connection", direct),
        ("node port, pod on the node", SocketAddr::new(host(2), NODE_PORT)),
        ("node port, pod on another node", SocketAddr::new(host(1), NODE_PORT)),
    ];
    // The machine's noise is larger than the difference: take turns, and compare the best of each.
    let mut best = [(0.0_f64, 0.0_f64); 3];
    for _ in 0..ROUNDS {
        for ((_, address), best) in places.iter().zip(&mut best) {
            best.0 = best.0.max(connections(*address).await);
            best.1 = best.1.max(throughput(*address).await);
        }
    }
    for ((name, _), (rate, bytes)) in places.iter().zip(best) {
        println!(
            "{name:<32} {rate:>8.0} connections/s ({:.2})  {:>6.2} GB/s ({:.2})",
            rate / best[0].0,
            bytes / 1e9,
            bytes / best[0].1
        );
    }
    for child in [&mut server, &mut entry] {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

/// Connects, asks, reads the answer to its end, again and again; returns how often per second.
async fn connections(to: SocketAddr) -> f64 {
    let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (count, stop) = (Arc::clone(&count), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answer = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = TcpStream::connect(to).await.unwrap();
                    stream.write_all(REQUEST).await.unwrap();
                    answer.clear();
                    stream.read_to_end(&mut answer).await.unwrap();
                    assert!(answer.starts_with(b"HTTP/1.0 200"));
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let clock = Clock::real();
    clock.sleep(SPAN).await;
    let rate = count.load(Ordering::Relaxed) as f64 / clock.monotonic().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    rate
}

/// Reads one endless answer; returns bytes per second.
async fn throughput(to: SocketAddr) -> f64 {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"STREAM\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; 256 * 1024];
    let (clock, mut total) = (Clock::real(), 0);
    while clock.monotonic() < SPAN {
        total += stream.read(&mut buffer).await.unwrap();
    }
    total as f64 / clock.monotonic().as_secs_f64()
}

fn start_node(n: u8, sockets: &Path, host: IpAddr) -> Child {
    use std::io::BufRead as _;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["node", &n.to_string(), sockets.to_str().unwrap(), &host.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    std::io::BufReader::new(output).lines().next().unwrap().unwrap();
    child
}

async fn be_node(n: u8, sockets: &Path, host: IpAddr) {
    let config =
        FabricConfig { socket_dir: Some(sockets.to_owned()), ..FabricConfig::new(Clock::real()) };
    let fabric = Fabric::new(config, &CancellationToken::new());
    let node = fabric
        .add_node(NodeConfig {
            name: format!("node-{n}"),
            pod_cidr: format!("10.244.{n}.0/24").parse().unwrap(),
            address: IpAddr::from([192, 168, 1, 100 + n]),
            checkpoint: None,
            host_ports: HostPorts { addresses: vec![host], ..HostPorts::default() },
        })
        .unwrap();
    node.apply_rules(RuleChange::Full(rules()), 1).await.unwrap();
    if n == 2 {
        serve(&node, host).await;
    }
    println!("ready");
    let until_closed = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(until_closed).await.unwrap().unwrap();
    fabric.stop().await;
}

fn rules() -> RuleSet {
    let mut rules = RuleSet::default();
    for n in 1..=2 {
        let route = NodeRoute {
            pod_cidrs: vec![format!("10.244.{n}.0/24").parse().unwrap()],
            addresses: vec![IpAddr::from([192, 168, 1, 100 + n])],
            zone: None,
        };
        rules.nodes.insert(format!("node-{n}"), route);
    }
    let endpoint = Endpoint {
        address: "10.244.2.2:80".parse().unwrap(),
        node: Some("node-2".into()),
        ready: true,
        serving: true,
        terminating: false,
        hints: None,
    };
    let web = ServiceRule {
        protocol: Protocol::Tcp,
        cluster_ips: vec!["10.96.0.50".parse().unwrap()],
        port: 80,
        node_port: Some(NODE_PORT),
        external_ips: vec![],
        load_balancer_ips: vec![],
        source_ranges: vec![],
        affinity_seconds: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        endpoints: vec![endpoint],
    };
    rules.services.insert("default/web".parse().unwrap(), web);
    rules
}

async fn serve(node: &Node, host: IpAddr) {
    let spec = SandboxSpec { id: "web".into(), namespace: "default".into(), name: "web".into() };
    let sandbox = node.add(spec).unwrap();
    let in_pod = sandbox.listen_tcp("0.0.0.0:80".parse().unwrap()).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = in_pod.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    let direct = TcpListener::bind((host, 8080)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = direct.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(answer(stream));
        }
    });
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = [0; 1024];
    let Ok(count) = stream.read(&mut request).await else { return };
    if request[..count].starts_with(b"STREAM") {
        let block = vec![7; 256 * 1024];
        while stream.write_all(&block).await.is_ok() {}
        return;
    }
    let answer = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
    let _ = stream.write_all(answer).await;
}
