//! Servers that stop, and rules that are behind: nobody is lost who need not be.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use cni::{
    network::Sandbox,
    rules::{Endpoint, Protocol, RuleSet, ServiceRule},
    userspace::{Fabric, HostPorts, Node, RuleChange},
};
use component_base::clock::Clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};
use tokio_util::sync::CancellationToken;

use crate::world::{
    World, ask, at, config, dial, endpoint, free_host_address, ip, node, pod, serve, service,
};

/// One node with a node port on the host, pods `old` and `new`, and a client.
struct Update {
    fabric: Fabric,
    node: Node,
    old: Sandbox,
    new: Sandbox,
    client: Sandbox,
    from_host: SocketAddr,
    generation: u64,
}

impl Update {
    async fn start() -> Self {
        let fabric = Fabric::new(config(None), &CancellationToken::new());
        let external = free_host_address();
        let host = HostPorts { addresses: vec![external], ..HostPorts::default() };
        let node = node(&fabric, 1, host);
        let [old, new, client] = ["old", "new", "client"].map(|name| pod(&node, name));
        serve(&new).await;
        let from_host = at(external, 30080);
        Self { fabric, node, old, new, client, from_host, generation: 0 }
    }

    async fn lead_to(&mut self, endpoints: Vec<Endpoint>, protocol: Protocol) {
        let mut rules = RuleSet::default();
        let rule =
            ServiceRule { node_port: Some(30080), protocol, ..service("10.96.0.50", endpoints) };
        rules.services.insert("default/web".parse().unwrap(), rule);
        self.generation += 1;
        self.node.apply_rules(RuleChange::Full(rules), self.generation).await.unwrap();
    }

    fn endpoint(pod: &Sandbox, port: u16) -> Endpoint {
        endpoint(at(pod.ip(), port), "node-1")
    }
}

#[tokio::test]
async fn a_datagram_socket_ends_with_its_pod() {
    let world = World::start(crate::Place::SameNode).await;
    let server = world.server_pod.clone().unwrap();
    let socket = server.bind_udp("0.0.0.0:9".parse().unwrap()).await.unwrap();
    world.client.bind_udp("0.0.0.0:0".parse().unwrap()).await.unwrap();
    let from = world.client.bind_udp("0.0.0.0:0".parse().unwrap()).await.unwrap();
    from.send_to(b"last", at(server.ip(), 9)).await.unwrap();
    let mut buffer = [0; 8];
    world.nodes[0].del("server").unwrap();
    // What had come is there, and then the end.
    assert_eq!(socket.recv_from(&mut buffer).await.unwrap().0, 4);
    for _ in 0..2 {
        let end = socket.recv_from(&mut buffer).await.unwrap_err();
        assert_eq!(end.kind(), ErrorKind::NetworkDown);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_closed_listener_gives_those_who_came_and_refuses_others() {
    let update = Update::start().await;
    let any = "0.0.0.0:80".parse().unwrap();
    let mut listener = update.old.listen_tcp(any).await.unwrap();
    let to = at(update.old.ip(), 80);
    let mut callers = Vec::new();
    for _ in 0..5 {
        callers.push(dial(&update.client, to).await.unwrap());
    }
    listener.close();
    assert_eq!(dial(&update.client, to).await.err(), Some(ErrorKind::ConnectionRefused));
    // The port is free for the next server.
    let next = update.old.listen_tcp(any).await.unwrap();
    for caller in &mut callers {
        let (mut stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip(), update.client.ip());
        stream.write_all(b"served").await.unwrap();
        drop(stream);
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "served");
    }
    assert_eq!(listener.accept().await.unwrap_err().kind(), ErrorKind::NetworkDown);
    drop(listener);
    let (stream, accepted) = tokio::join!(dial(&update.client, to), next.accept());
    assert!(stream.is_ok() && accepted.is_ok(), "the first listener's end leaves the second alone");
    update.fabric.stop().await;
}

/// The rules lead to a pod that has left, by its server's end or its own; then they lead to another.
#[tokio::test]
async fn who_calls_a_server_that_has_left_waits_for_newer_rules() {
    for deleted in [false, true] {
        let mut update = Update::start().await;
        let listener = update.old.listen_tcp("0.0.0.0:8080".parse().unwrap()).await.unwrap();
        update.lead_to(vec![Update::endpoint(&update.old, 8080)], Protocol::Tcp).await;
        drop(listener);
        if deleted {
            update.node.del("old").unwrap();
        }
        let client = update.client.clone();
        let inside = async {
            let stream = dial(&client, at(ip("10.96.0.50"), 80)).await.unwrap();
            ask(stream, "inside").await.2
        };
        let from_host = update.from_host;
        let outside = async {
            let stream = TcpStream::connect(from_host).await.unwrap();
            ask(stream, "outside").await.2
        };
        let newer = async {
            // Long enough for both to have been turned away.
            Clock::real().sleep(Duration::from_millis(50)).await;
            update.lead_to(vec![Update::endpoint(&update.new, 8080)], Protocol::Tcp).await;
        };
        let (inside, outside, ()) = tokio::join!(inside, outside, newer);
        assert_eq!((inside.as_str(), outside.as_str()), ("inside", "outside"), "{deleted}");
        // Rules that say that nobody is left are an answer, too.
        let gone = vec![Update::endpoint(&update.old, 8080)];
        update.lead_to(gone, Protocol::Tcp).await;
        let client = update.client.clone();
        let waiting = dial(&client, at(ip("10.96.0.50"), 80));
        let (refused, ()) = tokio::join!(waiting, update.lead_to(vec![], Protocol::Tcp));
        assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
        update.fabric.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_without_newer_rules() {
    let mut update = Update::start().await;
    let any = "0.0.0.0:8080".parse().unwrap();
    drop(update.old.listen_tcp(any).await.unwrap());
    update.lead_to(vec![Update::endpoint(&update.old, 8080)], Protocol::Tcp).await;
    let again = async {
        Clock::real().sleep(Duration::from_millis(20)).await;
        serve(&update.old).await;
    };
    let (stream, ()) = tokio::join!(dial(&update.client, at(ip("10.96.0.50"), 80)), again);
    assert_eq!(ask(stream.unwrap(), "back").await.2, "back");
    update.fabric.stop().await;
}

/// Says its name to whoever sends it something.
#[allow(clippy::disallowed_methods, reason = "test servers die with their runtime")]
async fn names_itself(pod: &Sandbox, name: &'static str) {
    let socket = pod.bind_udp("0.0.0.0:53".parse().unwrap()).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
            socket.send_to(name.as_bytes(), from).await.unwrap();
        }
    });
}

/// A conversation stays with its endpoint as long as that serves, terminating or not, and goes to another at once when
/// it does not; whether it comes from a pod to the Service, from a pod to a node, or from the host.
#[tokio::test]
async fn datagram_conversations_leave_removed_endpoints_at_once() {
    let mut update = Update::start().await;
    names_itself(&update.old, "old").await;
    names_itself(&update.new, "new").await;
    let old = Update::endpoint(&update.old, 53);
    let new = Update::endpoint(&update.new, 53);
    let ending = Endpoint { ready: false, terminating: true, ..old.clone() };
    let failing = Endpoint { ready: false, serving: false, ..old.clone() };
    update.lead_to(vec![old.clone()], Protocol::Udp).await;

    let any = "0.0.0.0:0".parse().unwrap();
    let service = update.client.bind_udp(any).await.unwrap();
    let node_port = update.client.bind_udp(any).await.unwrap();
    let host = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    host.connect(update.from_host).await.unwrap();
    let talk = async || {
        let mut buffer = [0; 64];
        let mut heard = Vec::new();
        for (socket, to) in
            [(&service, at(ip("10.96.0.50"), 80)), (&node_port, at(ip("192.168.1.101"), 30080))]
        {
            socket.send_to(b"who?", to).await.unwrap();
            let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
            assert_eq!(from, to);
            heard.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
        }
        host.send(b"who?").await.unwrap();
        let count = host.recv(&mut buffer).await.unwrap();
        heard.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
        heard.join(" ")
    };
    for (endpoints, expected) in [
        (vec![old.clone()], "old old old"),
        (vec![old.clone(), new.clone()], "old old old"),
        (vec![ending.clone(), new.clone()], "old old old"),
        (vec![failing, new.clone()], "new new new"),
        (vec![ending.clone()], "old old old"),
        (vec![new], "new new new"),
    ] {
        update.lead_to(endpoints.clone(), Protocol::Udp).await;
        assert_eq!(talk().await, expected, "{endpoints:?}");
    }
    update.fabric.stop().await;
}

/// What a node sends on for a client is answered by who was asked, and by nobody else.
#[tokio::test]
async fn only_who_was_asked_answers() {
    let mut update = Update::start().await;
    let server = update.old.bind_udp("0.0.0.0:53".parse().unwrap()).await.unwrap();
    update.lead_to(vec![Update::endpoint(&update.old, 53)], Protocol::Udp).await;
    let host = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    host.connect(update.from_host).await.unwrap();
    host.send(b"q").await.unwrap();
    let mut buffer = [0; 64];
    let (_, asker) = server.recv_from(&mut buffer).await.unwrap();
    let stranger = update.new.bind_udp("0.0.0.0:53".parse().unwrap()).await.unwrap();
    stranger.send_to(b"forged", asker).await.unwrap();
    server.send_to(b"answer", asker).await.unwrap();
    let count = host.recv(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..count], b"answer");
    update.fabric.stop().await;
}
