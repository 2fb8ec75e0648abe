//! Clients and endpoints that do not behave, against the real ports on a pod network.

use std::collections::HashMap;

use apimachinery::{api::networking::Ingress, object::ObjectKey};
use arc_swap::ArcSwap;
use cni::userspace::{Fabric, FabricConfig, HostPorts, NodeConfig, SandboxSpec};
use container_runtime::stdio::Output;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::task::TaskTracker;

use super::*;
use crate::{
    access_log::AccessLog,
    certificates,
    directory::Snapshot,
    pool::Pool,
    routes::{Backend, BackendPort, Routes},
    upstreams::Upstream,
};

const SECOND: Duration = Duration::from_secs(1);

/// Limits that are over soon.
const SHORT: Limits = Limits {
    connections: 2,
    idle: Duration::from_millis(300),
    silence: Duration::from_millis(200),
    closing: Duration::from_millis(100),
};

struct World {
    fabric: Fabric,
    controller: Sandbox,
    client: Sandbox,
    /// Where the requests go.
    endpoint: PodListener,
    ending: CancellationToken,
    served: tokio::task::JoinHandle<io::Result<()>>,
}

impl World {
    async fn start(limits: Limits) -> Self {
        let clock = Clock::real();
        let fabric = Fabric::new(FabricConfig::new(clock.clone()), &CancellationToken::new());
        let node = fabric
            .add_node(NodeConfig {
                name: "node-1".into(),
                pod_cidr: "10.244.1.0/24".parse().unwrap(),
                address: "192.168.1.101".parse().unwrap(),
                checkpoint: None,
                host_ports: HostPorts::default(),
            })
            .unwrap();
        let pod = |name: &str| {
            let spec = SandboxSpec { id: name.into(), namespace: "d".into(), name: name.into() };
            node.add(spec).unwrap()
        };
        let (controller, client, server) = (pod("controller"), pod("client"), pod("server"));
        let endpoint = server.listen_tcp("0.0.0.0:8080".parse().unwrap()).await.unwrap();
        let address = SocketAddr::new(server.ip(), 8080);
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot(address)));
        let tasks = TaskTracker::new();
        let spawner = || {
            let tasks = tasks.clone();
            move |task: futures::future::BoxFuture<'static, ()>| drop(tasks.spawn(task))
        };
        let (log, write_log) = AccessLog::new(clock.clone(), Output::null());
        tasks.spawn(write_log);
        let pool = Pool::new(controller.clone(), clock.clone(), spawner());
        let spawn = Box::new(spawner());
        let proxy = Proxy { snapshot: snapshot.clone(), pool, clock: clock.clone(), log, spawn };
        let fallback = certificates::fallback(clock.now()).unwrap();
        let by_sni = BySni { snapshot, fallback };
        let ending = CancellationToken::new();
        let ports = Ports::bind(&controller).await.unwrap();
        let served = tasks.spawn(ports.run(Arc::new(proxy), by_sni, limits, ending.clone()));
        Self { fabric, controller, client, endpoint, ending, served }
    }

    async fn connect(&self) -> PodStream {
        self.client.connect_tcp(SocketAddr::new(self.controller.ip(), 80)).await.unwrap()
    }

    async fn send(&self, text: &str) -> PodStream {
        let mut stream = self.connect().await;
        // Who is turned away may not get that far.
        let _ = stream.write_all(text.as_bytes()).await;
        stream
    }

    /// What the endpoint is asked next.
    async fn asked(&self) -> PodStream {
        let (mut stream, _) = self.endpoint.accept().await.unwrap();
        head(&mut stream).await;
        stream
    }
}

/// Everything to one endpoint.
fn snapshot(endpoint: SocketAddr) -> Snapshot {
    let ingress: Ingress = serde_json::from_value(json!({
        "metadata": {"namespace": "d", "name": "web"},
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}},
    }))
    .unwrap();
    let backend = Backend { service: ObjectKey::new("d", "web"), port: BackendPort::Number(80) };
    let mut upstream = Upstream::default();
    upstream.endpoints.push(endpoint);
    Snapshot {
        routes: Arc::new(Routes::new([&ingress])),
        upstreams: Arc::new(HashMap::from([(backend, Arc::new(upstream))])),
        ..Snapshot::default()
    }
}

/// Reads up to the end of a head.
async fn head(stream: &mut PodStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

/// Reads until the stream ends, in whichever way.
async fn rest(mut stream: PodStream) -> String {
    let mut read = Vec::new();
    let reading = async { while matches!(stream.read_buf(&mut read).await, Ok(1..)) {} };
    Clock::real().timeout(20 * SECOND, reading).await.expect("it ends");
    String::from_utf8_lossy(&read).into_owned()
}

/// Whether a stream stays open for longer than the limits would have it, if they held for it.
async fn stays(stream: &mut PodStream) -> bool {
    Clock::real().timeout(3 * SHORT.silence, stream.read_u8()).await.is_err()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
const KEPT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Whoever holds every place in silence loses it, whatever little was said.
#[tokio::test]
async fn silent_connections_give_their_places_back() {
    for said in ["", "PRI * HT", "GET / HTTP/1.1\r\nHos", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let world = World::start(SHORT).await;
        let silent = [world.send(said).await, world.send(said).await];
        for stream in silent {
            rest(stream).await;
        }
        let asking = world.send(GET).await;
        world.asked().await.write_all(ANSWER).await.unwrap();
        assert!(rest(asking).await.ends_with("ok"), "{said:?}");
        world.fabric.stop().await;
    }
}

#[tokio::test]
async fn beyond_the_limit_who_comes_is_turned_away() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let world = World::start(limits).await;
    let mut held = [world.send(GET).await, world.send(GET).await];
    let mut endpoints = [world.asked().await, world.asked().await];
    assert_eq!(rest(world.connect().await).await, "");
    endpoints[0].write_all(ANSWER).await.unwrap();
    endpoints[1].write_all(ANSWER).await.unwrap();
    for stream in &mut held {
        assert!(head(stream).await.starts_with("HTTP/1.1 200"));
    }
    world.fabric.stop().await;
}

/// A tunnel keeps its client's place, ends when nothing moves, and soon after one of its ends has closed.
#[tokio::test]
async fn a_tunnel_counts_and_ends() {
    let long = Limits { connections: 1, ..Limits::default() };
    let closing = Limits { closing: Duration::from_millis(100), ..long };
    for limits in [SHORT, closing] {
        let world = World::start(Limits { connections: 1, ..limits }).await;
        let mut client = world.send(UPGRADE).await;
        let mut endpoint = world.asked().await;
        endpoint.write_all(SWITCH).await.unwrap();
        assert!(head(&mut client).await.contains("101"));
        client.write_all(b"x").await.unwrap();
        assert_eq!(endpoint.read_u8().await.unwrap(), b'x');
        assert_eq!(rest(world.connect().await).await, "", "the tunnel has the place");
        let mut endpoint = (limits == SHORT).then_some(endpoint);
        if limits == closing {
            drop(endpoint.take());
        }
        // The client does not close: it is closed.
        rest(client).await;
        drop(endpoint);
        let asking = loop {
            let mut stream = world.send(GET).await;
            if stays_for_an_answer(&world, &mut stream).await {
                break stream;
            }
        };
        drop(asking);
        world.fabric.stop().await;
    }
}

/// Whether there was a place for a request; then it has been answered.
async fn stays_for_an_answer(world: &World, stream: &mut PodStream) -> bool {
    let answering = async {
        world.asked().await.write_all(ANSWER).await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        byte = stream.read_u8() => byte.is_ok(),
        () = answering => false,
    }
}

/// What moves is not cut, however long it takes: 60 s are from one byte to the next.
#[tokio::test]
async fn uploads_and_answers_may_take_their_time_but_not_stand_still() {
    let clock = Clock::real();
    let world = World::start(Limits { connections: 9, ..SHORT }).await;
    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n";
    let mut client = world.send(post).await;
    let mut endpoint = world.asked().await;
    for byte in b"12345678" {
        clock.sleep(SHORT.silence / 4).await;
        client.write_all(&[*byte]).await.unwrap();
        assert_eq!(endpoint.read_u8().await.unwrap(), *byte);
    }
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\r\n";
    endpoint.write_all(answer).await.unwrap();
    for byte in b"abcdefgh" {
        clock.sleep(SHORT.silence / 4).await;
        endpoint.write_all(&[*byte]).await.unwrap();
    }
    assert!(rest(client).await.ends_with("abcdefgh"));

    // The upload stands still: the client's fault.
    let client = world.send(&format!("{post}123")).await;
    let endpoint = world.asked().await;
    assert!(rest(client).await.starts_with("HTTP/1.1 408"));
    drop(endpoint);
    // There is no answer: the endpoint's.
    let client = world.send(GET).await;
    let endpoint = world.asked().await;
    assert!(head(&mut { client }).await.starts_with("HTTP/1.1 504"));
    drop(endpoint);
    // The answer stands still: it breaks off.
    let client = world.send(GET).await;
    let mut endpoint = world.asked().await;
    endpoint.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nabc").await.unwrap();
    assert!(rest(client).await.ends_with("\r\n\r\nabc"));
    assert!(rest(endpoint).await.is_empty(), "the endpoint's connection ends with it");
    world.fabric.stop().await;
}

/// An endpoint that answers before it has read everything does not get the next client's request behind the first's.
#[tokio::test]
async fn an_upload_that_goes_on_holds_up_nobody() {
    let world = World::start(Limits { connections: 9, ..Limits::default() }).await;
    let mut slow = world.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n123").await;
    let mut early = world.asked().await;
    early.write_all(KEPT).await.unwrap();
    assert!(head(&mut slow).await.starts_with("HTTP/1.1 200"));
    let mut next = world.send(GET).await;
    world.asked().await.write_all(ANSWER).await.unwrap();
    assert!(head(&mut next).await.starts_with("HTTP/1.1 200"));
    world.fabric.stop().await;
}

/// Who is being answered when the end comes still is; idle connections end, new ones are not let in.
#[tokio::test]
async fn the_end_waits_for_what_is_on_its_way() {
    let world = World::start(Limits { connections: 9, ..Limits::default() }).await;
    let (idle, asking) = (world.connect().await, world.send(GET).await);
    let mut endpoint = world.asked().await;
    let mut tunnel = world.send(UPGRADE).await;
    let mut shouting = world.asked().await;
    shouting.write_all(SWITCH).await.unwrap();
    head(&mut tunnel).await;
    world.ending.cancel();
    rest(idle).await;
    assert!(stays(&mut tunnel).await && !world.served.is_finished());
    let address = SocketAddr::new(world.controller.ip(), 80);
    assert!(world.client.connect_tcp(address).await.is_err());
    endpoint.write_all(ANSWER).await.unwrap();
    let answer = rest(asking).await;
    assert!(answer.contains("connection: close") && answer.ends_with("ok"), "{answer}");
    assert!(!world.served.is_finished());
    drop((tunnel, shouting));
    Clock::real().timeout(20 * SECOND, world.served).await.unwrap().unwrap().unwrap();
    world.fabric.stop().await;
}

/// Heads have an end, and so has what a client says of itself in the log.
#[tokio::test]
async fn a_head_without_end_is_refused() {
    let world = World::start(Limits::default()).await;
    let endless = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(2 * BUFFER));
    let (mut stream, text) = (world.connect().await, endless);
    // It may be cut off while it is still speaking.
    let _ = stream.write_all(text.as_bytes()).await;
    assert!(rest(stream).await.starts_with("HTTP/1.1 431"));
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    ] {
        let answer = head(&mut world.send(request).await).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{request}: {answer}");
    }
    world.fabric.stop().await;
}
