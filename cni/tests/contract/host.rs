//! Node ports and load balancer addresses, from the host.

use std::{collections::HashMap, io::ErrorKind};

use cni::{
    rules::{Protocol, RuleSet, ServiceRule, TrafficPolicy},
    userspace::{Fabric, HostPorts, LoadBalancers, RuleChange, SharedLoopback},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, UdpSocket},
};
use tokio_util::sync::CancellationToken;

use crate::world::{
    PLACES, World, ask, at, config, endpoint, free_host_address, ip, node, pod, rules, serve,
    service,
};

async fn dial(to: std::net::SocketAddr) -> Result<TcpStream, ErrorKind> {
    TcpStream::connect(to).await.map_err(|error| error.kind())
}

#[tokio::test]
async fn a_node_port_reaches_the_pod_wherever_it_is() {
    for place in PLACES {
        let world = World::start(place).await;
        let stream = dial(at(world.external_ip, 30080)).await.unwrap();
        let (peer, local, echo) = ask(stream, "from the host").await;
        assert_eq!((peer.as_str(), echo.as_str()), ("192.168.1.101", "from the host"), "{place:?}");
        assert_eq!(local, at(world.server, 8080).to_string());
        // Policy Local keeps the caller's address, and serves only where a pod is.
        match dial(at(world.external_ip, 30082)).await {
            Ok(stream) => assert_eq!(ask(stream, "").await.0, "192.168.1.1", "{place:?}"),
            Err(error) => assert!(place.node() != 1 && error == ErrorKind::ConnectionRefused),
        }
        assert_eq!(
            dial(at(world.external_ip, 30081)).await.err(),
            Some(ErrorKind::ConnectionRefused)
        );

        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(at(world.external_ip, 30053)).await.unwrap();
        socket.send(b"name?").await.unwrap();
        let mut buffer = [0; 64];
        let count = socket.recv(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..count], b"192.168.1.101 name?", "{place:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_port_follows_its_endpoints() {
    let fabric = Fabric::new(config(None), &CancellationToken::new());
    let external = free_host_address();
    let host = HostPorts {
        addresses: vec![external],
        load_balancers: LoadBalancers::All,
        ..HostPorts::default()
    };
    let node = node(&fabric, 1, host);
    let server = pod(&node, "server");
    serve(&server).await;
    let balancer = free_host_address();
    let with = |endpoints| {
        let mut rules = RuleSet::default();
        rules.services.insert(
            "default/web".parse().unwrap(),
            ServiceRule {
                node_port: Some(30080),
                port: 8088,
                load_balancer_ips: vec![balancer, ip("8.8.8.8")],
                ..service("10.96.0.50", endpoints)
            },
        );
        RuleChange::Full(rules)
    };
    let refused = Some(ErrorKind::ConnectionRefused);
    for round in 1..=2 {
        assert_eq!(node.apply_rules(with(vec![]), round).await.unwrap(), []);
        for to in [at(external, 30080), at(balancer, 8088)] {
            assert_eq!(dial(to).await.err(), refused, "{to}");
        }
        let all = vec![endpoint(at(server.ip(), 8080), "node-1")];
        assert_eq!(node.apply_rules(with(all), round).await.unwrap(), []);
        for to in [at(external, 30080), at(balancer, 8088)] {
            assert_eq!(ask(dial(to).await.unwrap(), "x").await.2, "x", "{to}");
        }
    }
    // An endpoint that does not listen: the handshake is over, so the connection is reset.
    let deaf = vec![endpoint(at(server.ip(), 1), "node-1")];
    node.apply_rules(with(deaf), 3).await.unwrap();
    let mut stream = dial(at(external, 30080)).await.unwrap();
    let reset = stream.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    // One that does not listen and one that does: everybody is served.
    let half =
        vec![endpoint(at(server.ip(), 1), "node-1"), endpoint(at(server.ip(), 8080), "node-1")];
    node.apply_rules(with(half), 4).await.unwrap();
    for _ in 0..20 {
        assert_eq!(ask(dial(at(external, 30080)).await.unwrap(), "x").await.2, "x");
    }
    node.apply_rules(RuleChange::Full(RuleSet::default()), 5).await.unwrap();
    assert_eq!(dial(at(external, 30080)).await.err(), refused);
    fabric.stop().await;
}

#[tokio::test]
async fn every_endpoint_gets_its_share() {
    let fabric = Fabric::new(config(None), &CancellationToken::new());
    let external = free_host_address();
    let first = node(&fabric, 1, HostPorts { addresses: vec![external], ..HostPorts::default() });
    let nodes =
        [first, node(&fabric, 2, HostPorts::default()), node(&fabric, 3, HostPorts::default())];
    let mut endpoints = vec![];
    for node in &nodes {
        let server = pod(node, "server");
        serve(&server).await;
        endpoints.push(endpoint(at(server.ip(), 8080), node.name()));
    }
    let mut rules = rules(ip("10.244.1.2"), "node-1");
    let web = rules.services.get_mut(&"default/web".parse().unwrap()).unwrap();
    web.endpoints = endpoints;
    for affinity_seconds in [None, Some(10)] {
        let web = rules.services.get_mut(&"default/web".parse().unwrap()).unwrap();
        web.affinity_seconds = affinity_seconds;
        for node in &nodes {
            node.apply_rules(RuleChange::Full(rules.clone()), 1).await.unwrap();
        }
        let mut served = HashMap::<String, usize>::new();
        for _ in 0..300 {
            let stream = dial(at(external, 30080)).await.unwrap();
            *served.entry(ask(stream, "").await.1).or_default() += 1;
        }
        match affinity_seconds {
            None => assert!(served.len() == 3 && served.values().all(|n| *n > 50), "{served:?}"),
            Some(_) => assert_eq!(served.len(), 1, "a client stays with its endpoint"),
        }
    }
    fabric.stop().await;
}

#[tokio::test]
async fn what_the_host_refuses_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let lock_file = folder.path().join("127.0.0.1.lock");
    let cluster = |owner: &str| {
        let fabric = Fabric::new(config(None), &CancellationToken::new());
        let shared = SharedLoopback { lock_file: lock_file.clone(), owner: owner.into() };
        let addresses = vec![free_host_address()];
        let host = HostPorts {
            addresses,
            shared_loopback: Some(shared),
            load_balancers: LoadBalancers::None,
        };
        let node = node(&fabric, 1, host.clone());
        let server = pod(&node, "server");
        (fabric, node, server, host.addresses[0])
    };
    let one = |server: &cni::network::Sandbox, node_port| {
        let endpoints = vec![endpoint(at(server.ip(), 8080), "node-1")];
        let mut rules = RuleSet::default();
        let rule = ServiceRule { node_port: Some(node_port), ..service("10.96.0.50", endpoints) };
        rules.services.insert("default/web".parse().unwrap(), rule);
        RuleChange::Full(rules)
    };
    let (a, b) = (cluster("a"), cluster("b"));
    for (_, _, server, _) in [&a, &b] {
        serve(server).await;
    }
    // A port that is free on 127.0.0.1 now; node ports need no particular range here.
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    let in_use = a.1.apply_rules(one(&a.2, port), 1).await.unwrap();
    assert_eq!(in_use.len(), 1);
    assert_eq!(in_use[0].reason, "HostPortInUse");
    assert_eq!(
        in_use[0].message,
        format!("cannot open 127.0.0.1:{port}/TCP: another program uses it")
    );
    drop(probe);
    assert_eq!(a.1.apply_rules(one(&a.2, port), 2).await.unwrap(), []);
    assert_eq!(ask(dial(at(ip("127.0.0.1"), port)).await.unwrap(), "a").await.2, "a");

    let held = b.1.apply_rules(one(&b.2, port), 1).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].reason, "NodePortNotOnLocalhost");
    let expected = format!(
        "127.0.0.1:{port} is not open: cluster \"a\" holds this host's node ports; the Service answers at {}",
        at(b.3, port)
    );
    assert_eq!(held[0].message, expected);
    assert_eq!(ask(dial(at(b.3, port)).await.unwrap(), "b").await.2, "b");

    a.0.stop().await;
    assert_eq!(b.1.apply_rules(one(&b.2, port), 2).await.unwrap(), [], "the lock was freed");
    assert_eq!(ask(dial(at(ip("127.0.0.1"), port)).await.unwrap(), "b").await.2, "b");
    b.0.stop().await;
}

#[tokio::test]
async fn local_policy_keeps_udp_callers_address() {
    let fabric = Fabric::new(config(None), &CancellationToken::new());
    let external = free_host_address();
    let node = node(&fabric, 1, HostPorts { addresses: vec![external], ..HostPorts::default() });
    let server = pod(&node, "server");
    serve(&server).await;
    let mut rules = RuleSet::default();
    rules.services.insert(
        "default/names".parse().unwrap(),
        ServiceRule {
            protocol: Protocol::Udp,
            node_port: Some(30053),
            external_policy: TrafficPolicy::Local,
            ..service("10.96.0.53", vec![endpoint(at(server.ip(), 5353), "node-1")])
        },
    );
    node.apply_rules(RuleChange::Full(rules), 1).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(at(external, 30053)).await.unwrap();
    socket.send(b"q").await.unwrap();
    let mut buffer = [0; 64];
    let count = socket.recv(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..count], b"192.168.1.1 q");
    fabric.stop().await;
}

#[tokio::test]
async fn a_forwarded_port_leads_to_its_pod_alone() {
    let fabric = Fabric::new(config(None), &CancellationToken::new());
    let external = free_host_address();
    let node = node(&fabric, 1, HostPorts { addresses: vec![external], ..HostPorts::default() });
    let (server, client) = (pod(&node, "server"), pod(&node, "client"));
    serve(&server).await;
    let to = at(server.ip(), 8080);
    let (open, refused) = node.forward_port(18080, None, to);
    assert_eq!(refused, []);
    let (peer, local, echo) = ask(dial(at(external, 18080)).await.unwrap(), "host").await;
    assert_eq!((peer.as_str(), local, echo.as_str()), ("192.168.1.1", to.to_string(), "host"));
    let inside = at(ip("192.168.1.101"), 18080);
    let (peer, _, echo) = ask(client.connect_tcp(inside).await.unwrap(), "pod").await;
    assert_eq!((peer, echo.as_str()), (client.ip().to_string(), "pod"));

    let (second, refused) = node.forward_port(18080, Some(external), to);
    assert_eq!(
        refused[0].message,
        format!("cannot open {external}:18080/TCP: another program uses it")
    );
    drop((open, second));
    let refused = async || client.connect_tcp(inside).await.err().map(|error| error.kind());
    assert_eq!(refused().await, Some(ErrorKind::ConnectionRefused));
    // The host's side is closed when its task has been dropped.
    while dial(at(external, 18080)).await.is_ok() {
        tokio::task::yield_now().await;
    }
    fabric.stop().await;
}

#[tokio::test]
async fn a_gate_ends_connections_and_holds_them_up() {
    struct Strict(std::sync::atomic::AtomicUsize);
    impl cni::network::Gate for Strict {
        fn admit(&self, stream: &mut cni::network::PodStream) -> bool {
            let count = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            stream.hold(tokio::task::yield_now());
            count != 0
        }
    }
    let fabric = Fabric::new(config(None), &CancellationToken::new());
    let node = node(&fabric, 1, HostPorts::default());
    let (server, client) = (pod(&node, "server"), pod(&node, "client"));
    serve(&server.with_gate(std::sync::Arc::new(Strict(0.into())))).await;
    let to = at(server.ip(), 8080);
    let mut first = client.connect_tcp(to).await.unwrap();
    assert!(matches!(first.read(&mut [0; 8]).await, Ok(0) | Err(_)), "ended");
    let (.., echo) = ask(client.connect_tcp(to).await.unwrap(), "through").await;
    assert_eq!(echo, "through");
    fabric.stop().await;
}
