//! Every listener takes garbage, half requests, slow senders and idle connections by the thousand: whoever asks
//! properly meanwhile is answered, and when the enemy has gone, so has the memory that it took.
//!
//! The real programs are measured, by their proportional memory (PSS). The quick size is 500 idle connections, the long
//! one 10,000 for each listener: with its peer's end of each that is half of the 20,000 files that a process may have
//! open on a usual machine, on either side.

#![allow(clippy::print_stdout, reason = "what was measured is told")]

use std::{fs, net::SocketAddr, time::Duration};

use ::http::Method;
use component_base::{
    clock::Clock,
    transport::{Endpoint, TlsEndpoint, channel},
};
use tests::{Component, Runner, TestCluster, http};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    rest::Rest,
    support::{size, wait_for_url, whoami},
};

/// What a process may have grown by when all is over: its allocator's and its tables' slack.
const SLACK: u64 = 24 << 20;
/// For one proper request, however many others there are.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process's proportional memory, in bytes.
fn pss(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// What the enemy sends before it falls silent.
fn openings() -> Vec<Vec<u8>> {
    let noise = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let large = [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n".to_vec(),
        vec![b'x'; 60_000],
    ];
    vec![
        noise,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec(),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc".to_vec(),
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"
            .to_vec(),
        large.concat(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x04".to_vec(),
        // Half a TLS greeting; half a DNS query.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc".to_vec(),
        b"\x00\x40\x12\x34\x01\x00\x00\x01".to_vec(),
        b"\x00\x00\x00\x00\xff\xff".to_vec(),
        vec![0xff; 10_000],
    ]
}

/// Connections of an enemy: `count` of them silent, and some of every opening.
async fn attack(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::with_capacity(count);
    for opening in openings() {
        for _ in 0..5 {
            let mut stream = connect(address).await;
            // The listener may have had enough already.
            let _ = stream.write_all(&opening).await;
            held.push(stream);
        }
    }
    while held.len() < count {
        held.push(connect(address).await);
    }
    held
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap_or_else(|error| panic!("{address}: {error}"))
}

/// Attacks a listener of process `pid`; `ask` is a proper request on a connection of its own.
async fn withstands<F>(cluster: &TestCluster, address: SocketAddr, pid: u32, ask: impl Fn() -> F)
where
    F: Future<Output = anyhow::Result<()>>,
{
    let proper = async |when: &str| {
        let answered = Clock::real().timeout(PATIENCE, ask()).await;
        let answered = answered.unwrap_or_else(|_| panic!("{when}: no answer in time"));
        answered.unwrap_or_else(|error| panic!("{when}: {error:#}"));
    };
    // What the first attack leaves is warmth; what later ones add is not.
    for round in 0..2 {
        drop(attack(address, size(100, 1000)).await);
        proper(&format!("warm-up {round}")).await;
    }
    let before = pss(pid);
    let mut held = attack(address, size(500, 10_000)).await;
    for number in 0..20 {
        proper(&format!("request {number} beside {} connections", held.len())).await;
        // Slow senders: a byte more of whatever it is.
        for stream in held.iter_mut().take(50) {
            let _ = stream.write_all(b"x").await;
        }
    }
    let peak = pss(pid);
    drop(held);
    cluster
        .eventually("the memory is given back", async || {
            let now = pss(pid);
            if now <= before + SLACK { Ok(now) } else { Err(format!("{before}, {peak}, {now}")) }
        })
        .await;
    proper("afterwards").await;
    println!("{address}: {} KiB before, {} KiB at the peak", before >> 10, peak >> 10);
}

async fn answers(url: &str) -> anyhow::Result<()> {
    let answer = http::get(url).await?;
    anyhow::ensure!(answer.status == 200, "status {}", answer.status);
    Ok(())
}

#[tokio::test]
async fn the_api_withstands() {
    let cluster = TestCluster::builder().runner(Runner::Process).nodes(0).start().await.unwrap();
    let address = cluster.api_address();
    let pid = cluster.pid(Component::ApiServer).unwrap();
    withstands(&cluster, address, pid, || async {
        let endpoint = TlsEndpoint::new(&address.to_string(), cluster.ca_pem(), None)?;
        let rest = Rest::over(channel(&Endpoint::Tls(endpoint)));
        let (status, text) = rest.text(Method::GET, "/readyz", "").await;
        anyhow::ensure!(status == 200, "{status} {text}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn node_ports_withstand() {
    let cluster = TestCluster::builder().runner(Runner::Process).nodes(1).start().await.unwrap();
    cluster.apply(&whoami("web", 1, None)).await.unwrap();
    cluster.wait_ready("web").await;
    let url = cluster.node_port_url("web").await.unwrap();
    wait_for_url(&cluster, &url).await;
    let address = url.trim_start_matches("http://").parse().unwrap();
    let pid = cluster.pid(Component::Kubelet(1)).unwrap();
    withstands(&cluster, address, pid, || answers(&url)).await;
}

#[tokio::test]
async fn load_balancers_withstand() {
    let cluster = TestCluster::builder().runner(Runner::Process).nodes(1).start().await.unwrap();
    cluster.apply(&whoami("web", 1, None)).await.unwrap();
    cluster.apply(&crate::load_balancer::balancer("web-lb", "web", "")).await.unwrap();
    cluster.wait_ready("web").await;
    let ip = crate::load_balancer::address(&cluster, "web-lb").await;
    let url = format!("http://{ip}:8088");
    wait_for_url(&cluster, &url).await;
    let pid = cluster.pid(Component::Kubelet(1)).unwrap();
    withstands(&cluster, SocketAddr::from((ip, 8088)), pid, || answers(&url)).await;
}

#[tokio::test]
async fn the_ingress_controller_withstands() {
    let cluster =
        TestCluster::builder().runner(Runner::Process).nodes(1).ingress().start().await.unwrap();
    cluster.apply(&whoami("web", 1, None)).await.unwrap();
    let ingress = "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web}, spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}";
    cluster.apply(ingress).await.unwrap();
    cluster.wait_ready("web").await;
    let [plain, tls] = cluster.ingress_address().await;
    let url = format!("http://{plain}");
    wait_for_url(&cluster, &url).await;
    let pid = cluster.pid(Component::Kubelet(1)).unwrap();
    withstands(&cluster, plain, pid, || answers(&url)).await;
    // Handshakes that are never finished.
    withstands(&cluster, tls, pid, || answers(&url)).await;
}

/// A DNS server asked by TCP: a name that it must know, and its answer without an error.
async fn resolves(address: SocketAddr) -> anyhow::Result<()> {
    let mut query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in ["kubernetes", "default", "svc", "cluster", "local"] {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(b"\x00\x00\x01\x00\x01");
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&[0, query.len() as u8]).await?;
    stream.write_all(&query).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    anyhow::ensure!(answer[..2] == query[..2] && answer[3] & 15 == 0, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn dns_withstands() {
    let cluster =
        TestCluster::builder().runner(Runner::Process).nodes(1).dns().start().await.unwrap();
    // The host's way to the cluster's DNS.
    let service = "{apiVersion: v1, kind: Service, metadata: {name: dns, namespace: kube-system}, spec: {type: NodePort, selector: {k8s-app: kube-dns}, ports: [{port: 53, protocol: TCP}]}}";
    cluster.apply(service).await.unwrap();
    let port = u16::try_from(cluster.node_port("kube-system/dns").await.unwrap()).unwrap();
    let address = SocketAddr::from((cluster.node_address(1), port));
    cluster.eventually("an answer of the DNS", async || resolves(address).await).await;
    let pid = cluster.pid(Component::Kubelet(1)).unwrap();
    withstands(&cluster, address, pid, || resolves(address)).await;
}
