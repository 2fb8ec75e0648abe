//! Sandboxes come and go; so do nodes.

use std::{
    collections::HashMap,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use cni::{
    network::{Direction, Shaper},
    userspace::{
        Egress, Fabric, FabricConfig, HostPorts, NodeConfig, RuleChange, SandboxError, SandboxSpec,
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::world::{Place, World, ask, at, config, dial, endpoint, ip, node, pod, serve, service};

#[tokio::test]
async fn containers_of_a_pod_share_its_ports() {
    let fabric = Fabric::new(config(None), &CancellationToken::new());
    let node = node(&fabric, 1, HostPorts::default());
    let first = pod(&node, "web");
    let second = first.clone();
    serve(&first).await;
    let taken = second.listen_tcp("0.0.0.0:8080".parse().unwrap()).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    let foreign = second.listen_tcp("10.244.1.77:1".parse().unwrap()).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::AddrNotAvailable);
    let stream = dial(&second, "127.0.0.1:8080".parse().unwrap()).await.unwrap();
    assert_eq!(ask(stream, "sidecar").await.2, "sidecar");
    assert_eq!(second.resolve("web").await.unwrap(), [second.ip()]);
    assert_eq!(second.resolve("localhost").await.unwrap()[0], ip("127.0.0.1"));
    let unknown = second.resolve("nowhere").await.unwrap_err();
    assert!(unknown.to_string().contains("no DNS yet"), "{unknown}");
    let names: Vec<_> = second.interfaces().into_iter().map(|interface| interface.name).collect();
    assert_eq!(names, ["lo", "eth0"]);
    fabric.stop().await;
}

#[tokio::test]
async fn a_deleted_pod_ends_its_connections_and_frees_its_address() {
    for place in [Place::SameNode, Place::OtherNode] {
        let world = World::start(place).await;
        let server = world.server_pod.clone().unwrap();
        let node = &world.nodes[usize::from(place.node()) - 1];
        let mut open = dial(&world.client, at(world.server, 8080)).await.unwrap();
        let mut held = dial(&server, at(ip("127.0.0.1"), 8080)).await.unwrap();
        let mut buffer = [0; 64];
        assert!(open.read(&mut buffer).await.unwrap() > 0);
        assert!(held.read(&mut buffer).await.unwrap() > 0);
        let waiting = server.listen_tcp("0.0.0.0:9".parse().unwrap()).await.unwrap();
        assert_eq!(node.listening("server").len(), 3);

        node.del("server").unwrap();
        node.del("server").unwrap();
        assert!(matches!(open.read(&mut buffer).await, Ok(0) | Err(_)), "the peer sees the end");
        assert_eq!(held.read(&mut buffer).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(held.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(waiting.accept().await.unwrap_err().kind(), ErrorKind::NetworkDown);
        let gone = at(world.server, 8080);
        assert_eq!(dial(&world.client, gone).await.err(), Some(ErrorKind::HostUnreachable));
        assert_eq!(dial(&server, gone).await.err(), Some(ErrorKind::NetworkDown));
        let bind = server.bind_udp("0.0.0.0:0".parse().unwrap()).await.unwrap_err();
        assert_eq!(bind.kind(), ErrorKind::NetworkDown);
        assert!(matches!(node.check("server"), Err(SandboxError::NotFound(_))));
        world.stop().await;
    }
}

#[tokio::test]
async fn a_kill_handle_ends_one_connection() {
    let world = World::start(Place::OtherNode).await;
    let mut doomed = dial(&world.client, at(world.server, 8080)).await.unwrap();
    let spared = dial(&world.client, at(world.server, 8080)).await.unwrap();
    let handle = doomed.kill_handle();
    let reading = async {
        let mut all = Vec::new();
        doomed.read_to_end(&mut all).await
    };
    let (result, ()) = tokio::join!(reading, async { handle.kill() });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ask(spared, "still here").await.2, "still here");
    world.stop().await;
}

#[tokio::test]
async fn a_deleted_pod_resets_its_clients_on_the_host() {
    for place in [Place::SameNode, Place::OtherNode] {
        let world = World::start(place).await;
        let to = at(world.external_ip, 30080);
        let mut client = tokio::net::TcpStream::connect(to).await.unwrap();
        let mut buffer = [0; 64];
        assert!(client.read(&mut buffer).await.unwrap() > 0);
        world.nodes[usize::from(place.node()) - 1].del("server").unwrap();
        let reset = client.read(&mut buffer).await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        world.stop().await;
    }
}

/// Lets three bytes pass at a time, and counts them.
struct Drip(AtomicUsize);

impl Shaper for Drip {
    fn poll_admit(&self, _: &mut Context<'_>, _: Direction, wanted: usize) -> Poll<usize> {
        let admitted = wanted.min(3);
        self.0.fetch_add(admitted, Ordering::Relaxed);
        Poll::Ready(admitted)
    }
}

#[tokio::test]
async fn a_shaper_sees_every_byte() {
    let world = World::start(Place::OtherNode).await;
    let shaper = Arc::new(Drip(AtomicUsize::new(0)));
    world.nodes[0].set_shaper("client", Some(shaper.clone())).unwrap();
    let stream = dial(&world.client, at(world.server, 8080)).await.unwrap();
    let (.., echo) = ask(stream, "a text of some length").await;
    assert_eq!(echo, "a text of some length");
    assert!(shaper.0.load(Ordering::Relaxed) >= 2 * echo.len());
    world.stop().await;
}

/// Needs root, to have somebody else try; says so where it is not.
#[tokio::test]
async fn another_user_cannot_use_a_node_socket() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};
    let python = std::process::Command::new("python3").arg("-V").output();
    if !rustix::process::geteuid().is_root() || python.is_err() {
        println!("SKIPPED: needs root and python3");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sockets = folder.path().join("net");
    let fabric = Fabric::new(config(Some(&sockets)), &CancellationToken::new());
    let _node = node(&fabric, 1, HostPorts::default());
    // The script says what became of it: what it was sent, or how it failed.
    let script = "import socket,sys\n\
        s = socket.socket(socket.AF_UNIX)\n\
        try:\n s.connect(sys.argv[1]); s.settimeout(5); print(s.recv(1))\n\
        except OSError as e: print(type(e).__name__)";
    let try_as_nobody = async || {
        let mut python = std::process::Command::new("python3");
        python.args(["-c", script]).arg(sockets.join("node-1.sock")).uid(65534).gid(65534);
        let output = tokio::task::spawn_blocking(move || python.output()).await.unwrap().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(folder.path(), 0o755);
    assert_eq!(try_as_nobody().await, "PermissionError", "the folder is closed");
    mode(&sockets, 0o755);
    mode(&sockets.join("node-1.sock"), 0o666);
    assert_eq!(try_as_nobody().await, "b''", "even where files let in, the node hangs up");
    fabric.stop().await;
}

#[tokio::test]
async fn pods_keep_their_addresses_over_a_reboot() {
    let folder = tempfile::tempdir().unwrap();
    let config_of = || NodeConfig {
        name: "node-1".into(),
        pod_cidr: "10.244.1.0/24".parse().unwrap(),
        address: ip("192.168.1.101"),
        checkpoint: Some(folder.path().join("ipam.json")),
        host_ports: HostPorts::default(),
    };
    let spec =
        |id: &str| SandboxSpec { id: id.into(), namespace: "default".into(), name: id.into() };
    let fabric = Fabric::new(config(None), &CancellationToken::new());
    let before = fabric.add_node(config_of()).unwrap();
    for id in ["a", "b", "c"] {
        before.add(spec(id)).unwrap();
    }
    assert_eq!(before.add(spec("b")).unwrap().ip(), ip("10.244.1.3"), "ADD is repeatable");
    assert!(fabric.add_node(config_of()).is_err(), "the name is taken");
    before.stop().await;
    let after = fabric.add_node(config_of()).unwrap();
    assert_ne!(before.boot_id(), after.boot_id());
    assert_eq!(after.add(spec("c")).unwrap().ip(), ip("10.244.1.4"));
    assert_eq!(after.check("c").unwrap().ip(), ip("10.244.1.4"));
    assert_eq!(after.release_all_but(|id| id == "a").unwrap(), ["b"]);
    assert_eq!(after.add(spec("a")).unwrap().ip(), ip("10.244.1.2"));
    fabric.stop().await;
}

#[tokio::test]
async fn the_api_server_is_reached_by_its_service_only() {
    let api = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let real = api.local_addr().unwrap();
    let advertised: SocketAddr = "192.168.1.100:6443".parse().unwrap();
    let fabric_config = FabricConfig {
        host_backends: HashMap::from([(advertised, real)]),
        egress: Egress::Allowed,
        ..config(None)
    };
    let fabric = Fabric::new(fabric_config, &CancellationToken::new());
    let node = node(&fabric, 1, HostPorts::default());
    let client = pod(&node, "client");
    let mut rules = cni::rules::RuleSet::default();
    let rule = cni::rules::ServiceRule {
        port: 443,
        ..service("10.96.0.1", vec![endpoint(advertised, "")])
    };
    rules.services.insert("default/kubernetes:https".parse().unwrap(), rule);
    node.apply_rules(RuleChange::Full(rules), 1).await.unwrap();

    for to in [at(ip("10.96.0.1"), 443), advertised] {
        let (mut stream, accepted) = tokio::join!(client.connect_tcp(to), api.accept());
        accepted.unwrap().0.write_all(b"api").await.unwrap();
        let mut answer = String::new();
        stream.as_mut().unwrap().read_to_string(&mut answer).await.unwrap();
        assert_eq!((answer.as_str(), stream.unwrap().peer_addr()), ("api", to));
    }
    // Even where pods may talk to the world, the host's loopback is not the world.
    for address in ["127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "127.0.0.2"] {
        let error = dial(&client, at(ip(address), real.port())).await.err();
        assert_eq!(error, Some(ErrorKind::ConnectionRefused), "{address}");
    }
    let other_port = dial(&client, at(ip("192.168.1.100"), 22)).await.err();
    assert_eq!(other_port, Some(ErrorKind::ConnectionRefused));
    for nobody in ["10.244.9.9", "10.100.0.9", "192.168.1.150"] {
        let error = dial(&client, at(ip(nobody), 80)).await.err();
        assert_eq!(error, Some(ErrorKind::HostUnreachable), "{nobody}");
    }
    fabric.stop().await;
}

#[tokio::test]
async fn the_node_calls_its_pods_from_their_gateway() {
    for place in [Place::SameNode, Place::OtherNode, Place::OtherProcess] {
        let world = World::start(place).await;
        let own = world.nodes[0].own_sandbox();
        let (peer, ..) = ask(dial(&own, at(world.server, 8080)).await.unwrap(), "").await;
        let expected = if place == Place::SameNode { "10.244.1.1" } else { "192.168.1.101" };
        assert_eq!(peer, expected);
        let listener = own.listen_tcp("192.168.1.101:10250".parse().unwrap()).await.unwrap();
        let (stream, accepted) =
            tokio::join!(dial(&world.client, listener.local_addr()), listener.accept());
        assert!(stream.is_ok());
        assert_eq!(accepted.unwrap().1.ip(), world.client.ip());
        world.stop().await;
    }
}

#[tokio::test]
async fn rules_are_changed_against_what_is_in_force() {
    let fabric = Fabric::new(config(None), &CancellationToken::new());
    let node = node(&fabric, 1, HostPorts::default());
    let mut rules = cni::rules::RuleSet::default();
    let name: cni::rules::ServicePortName = "default/a".parse().unwrap();
    rules.services.insert(name.clone(), service("10.96.0.9", vec![]));
    assert_eq!(node.rules().generation, 0);
    node.apply_rules(RuleChange::Full(rules.clone()), 4).await.unwrap();
    let mut delta = cni::rules::RuleDelta::default();
    delta.services.insert(name, None);
    let stale = node.apply_rules(RuleChange::Delta { base: 3, delta: delta.clone() }, 5).await;
    assert_eq!(
        stale.unwrap_err().to_string(),
        "rules are at generation 4, the change is against 3"
    );
    assert_eq!(node.rules().rules, rules);
    node.apply_rules(RuleChange::Delta { base: 4, delta }, 5).await.unwrap();
    assert!(node.rules().rules.services.is_empty());
    assert_eq!(node.rules().generation, 5);
    fabric.stop().await;
}

#[tokio::test]
async fn a_node_that_dies_has_no_route_and_comes_back() {
    let mut world = World::start(Place::OtherProcess).await;
    let to = at(world.server, 8080);
    ask(dial(&world.client, to).await.unwrap(), "").await;
    world.kill_other_process();
    assert_eq!(dial(&world.client, to).await.err(), Some(ErrorKind::HostUnreachable));
    world.restart_other_process();
    assert_eq!(ask(dial(&world.client, to).await.unwrap(), "again").await.2, "again");
    world.stop().await;
}

#[tokio::test]
async fn a_socket_folder_open_to_others_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let fabric = Fabric::new(config(Some(folder.path())), &CancellationToken::new());
    let add = |name: &str, fabric: &Fabric| {
        let config = NodeConfig {
            name: name.into(),
            pod_cidr: "10.244.1.0/24".parse().unwrap(),
            address: ip("192.168.1.101"),
            checkpoint: None,
            host_ports: HostPorts::default(),
        };
        std::error::Error::source(&fabric.add_node(config).unwrap_err()).unwrap().to_string()
    };
    assert!(add("node-1", &fabric).contains("mode 755"));
    let deep = folder.path().join("x".repeat(90));
    let fabric = Fabric::new(config(Some(&deep)), &CancellationToken::new());
    assert!(add("node-1", &fabric).contains("longer than 103 bytes"));
}
