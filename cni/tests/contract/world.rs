//! A small cluster to test against: three nodes with a server pod each, in this process or in another.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use cni::{
    network::{PodStream, Sandbox},
    rules::{Endpoint, NodeRoute, Protocol, RuleSet, ServiceRule, TrafficPolicy},
    userspace::{
        Fabric, FabricConfig, HostPorts, Node, NodeConfig, Problem, RuleChange, SandboxSpec,
    },
};
use component_base::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

/// Where the server is, seen from the client pod on node 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    SamePod,
    SameNode,
    OtherNode,
    OtherProcess,
}

pub(crate) const PLACES: [Place; 4] =
    [Place::SamePod, Place::SameNode, Place::OtherNode, Place::OtherProcess];

impl Place {
    /// The number of the node that has the server.
    pub(crate) fn node(self) -> u8 {
        match self {
            Self::SamePod | Self::SameNode => 1,
            Self::OtherNode => 2,
            Self::OtherProcess => 3,
        }
    }
}

pub(crate) struct World {
    pub(crate) fabric: Fabric,
    pub(crate) nodes: Vec<Node>,
    pub(crate) client: Sandbox,
    pub(crate) place: Place,
    /// The server pod's address.
    pub(crate) server: IpAddr,
    /// The server's sandbox, when it is in this process.
    pub(crate) server_pod: Option<Sandbox>,
    /// Where node 1 opens node ports on the host.
    pub(crate) external_ip: IpAddr,
    pub(crate) problems: Vec<Problem>,
    other_process: Option<Child>,
    folder: tempfile::TempDir,
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

/// A host address of 127/8 that no other test has at the moment.
pub(crate) fn free_host_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., a, b] = std::process::id().to_be_bytes();
    IpAddr::from([127, 100 + a % 100, b, NEXT.fetch_add(1, Ordering::Relaxed)])
}

pub(crate) fn service(cluster_ip: &str, endpoints: Vec<Endpoint>) -> ServiceRule {
    ServiceRule {
        protocol: Protocol::Tcp,
        cluster_ips: vec![ip(cluster_ip)],
        port: 80,
        node_port: None,
        external_ips: vec![],
        load_balancer_ips: vec![],
        source_ranges: vec![],
        affinity_seconds: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        endpoints,
    }
}

pub(crate) fn endpoint(address: SocketAddr, node: &str) -> Endpoint {
    let node = Some(node.to_owned());
    Endpoint { address, node, ready: true, serving: true, terminating: false, hints: None }
}

/// Three nodes, and Services: `web` has the server, `none` nobody, `elsewhere` only a pod of a node far away although
/// its policy is `Local`, `names` is the server's UDP port.
pub(crate) fn rules(server: IpAddr, server_node: &str) -> RuleSet {
    let mut rules = RuleSet::default();
    for n in 1..=3_u8 {
        let pod_cidrs = vec![format!("10.244.{n}.0/24").parse().unwrap()];
        let addresses = vec![IpAddr::from([192, 168, 1, 100 + n])];
        rules.nodes.insert(format!("node-{n}"), NodeRoute { pod_cidrs, addresses, zone: None });
    }
    let mut add = |name: &str, rule| drop(rules.services.insert(name.parse().unwrap(), rule));
    let web = service("10.96.0.50", vec![endpoint(at(server, 8080), server_node)]);
    add("default/web", ServiceRule { node_port: Some(30080), ..web.clone() });
    let local = TrafficPolicy::Local;
    add(
        "default/web-local",
        ServiceRule {
            cluster_ips: vec![ip("10.96.0.54")],
            node_port: Some(30082),
            external_policy: local,
            ..web.clone()
        },
    );
    add("default/none", ServiceRule { node_port: Some(30081), ..service("10.96.0.51", vec![]) });
    let far = vec![endpoint(at(ip("10.244.9.9"), 80), "node-9")];
    add("default/elsewhere", ServiceRule { internal_policy: local, ..service("10.96.0.52", far) });
    let names = vec![endpoint(at(server, 5353), server_node)];
    add(
        "default/names",
        ServiceRule {
            protocol: Protocol::Udp,
            port: 53,
            node_port: Some(30053),
            ..service("10.96.0.53", names)
        },
    );
    rules
}

pub(crate) fn config(socket_dir: Option<&Path>) -> FabricConfig {
    FabricConfig {
        socket_dir: socket_dir.map(Into::into),
        connect_timeout: Duration::from_millis(200),
        ..FabricConfig::new(Clock::real())
    }
}

pub(crate) fn node(fabric: &Fabric, n: u8, host_ports: HostPorts) -> Node {
    let config = NodeConfig {
        name: format!("node-{n}"),
        pod_cidr: format!("10.244.{n}.0/24").parse().unwrap(),
        address: IpAddr::from([192, 168, 1, 100 + n]),
        checkpoint: None,
        host_ports,
    };
    fabric.add_node(config).unwrap()
}

pub(crate) fn pod(node: &Node, name: &str) -> Sandbox {
    let spec = SandboxSpec { id: name.into(), namespace: "default".into(), name: name.into() };
    node.add(spec).unwrap()
}

impl World {
    pub(crate) async fn start(place: Place) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sockets = folder.path().join("net");
        let fabric = Fabric::new(config(Some(&sockets)), &CancellationToken::new());
        let external_ip = free_host_address();
        let host = HostPorts { addresses: vec![external_ip], ..HostPorts::default() };
        let mut nodes = vec![node(&fabric, 1, host), node(&fabric, 2, HostPorts::default())];
        let client = pod(&nodes[0], "client");
        let (server, server_pod, other_process) = match place {
            Place::OtherProcess => (ip("10.244.3.2"), None, Some(start_other_process(&sockets))),
            Place::SamePod => (client.ip(), Some(client.clone()), None),
            Place::SameNode | Place::OtherNode => {
                let server = pod(&nodes[usize::from(place.node()) - 1], "server");
                (server.ip(), Some(server), None)
            }
        };
        if place != Place::OtherProcess {
            nodes.push(node(&fabric, 3, HostPorts::default()));
        }
        if let Some(server) = &server_pod {
            serve(server).await;
        }
        let mut problems = vec![];
        let node_name = format!("node-{}", place.node());
        for node in &nodes {
            let change = RuleChange::Full(rules(server, &node_name));
            problems.extend(node.apply_rules(change, 1).await.unwrap());
        }
        Self {
            fabric,
            nodes,
            client,
            place,
            server,
            server_pod,
            external_ip,
            problems,
            other_process,
            folder,
        }
    }

    pub(crate) fn kill_other_process(&mut self) {
        let mut child = self.other_process.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn restart_other_process(&mut self) {
        self.other_process = Some(start_other_process(&self.folder.path().join("net")));
    }

    pub(crate) async fn stop(mut self) {
        if let Some(mut child) = self.other_process.take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        self.fabric.stop().await;
    }
}

/// Answers on TCP 8080 with the caller's address, a line, and then whatever the caller sends, until it ends; and on
/// UDP 5353 with the caller's address and what it sent.
#[allow(clippy::disallowed_methods, reason = "test servers die with their runtime")]
pub(crate) async fn serve(sandbox: &Sandbox) {
    let listener = sandbox.listen_tcp("0.0.0.0:8080".parse().unwrap()).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, peer)) = listener.accept().await {
            tokio::spawn(async move {
                let hello = format!("{} {}\n", peer.ip(), stream.local_addr());
                let mut all = Vec::new();
                stream.write_all(hello.as_bytes()).await?;
                stream.read_to_end(&mut all).await?;
                stream.write_all(&all).await?;
                stream.shutdown().await
            });
        }
    });
    let socket = sandbox.bind_udp("0.0.0.0:5353".parse().unwrap()).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((count, from)) = socket.recv_from(&mut buffer).await {
            let mut answer = format!("{} ", from.ip()).into_bytes();
            answer.extend_from_slice(&buffer[..count]);
            socket.send_to(&answer, from).await.unwrap();
        }
    });
}

/// Says `text`, ends its half, and returns what the server saw as peer and local address, and its echo.
pub(crate) async fn ask(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    text: &str,
) -> (String, String, String) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, echo) = answer.split_once('\n').unwrap();
    let (peer, local) = head.split_once(' ').unwrap();
    (peer.to_owned(), local.to_owned(), echo.to_owned())
}

pub(crate) async fn dial(
    sandbox: &Sandbox,
    to: SocketAddr,
) -> Result<PodStream, std::io::ErrorKind> {
    sandbox.connect_tcp(to).await.map_err(|error| error.kind())
}

const SOCKETS: &str = "CNI_TEST_SOCKETS";

/// Runs this test binary again as a node process with a server pod; it lives until its input closes.
fn start_other_process(sockets: &Path) -> Child {
    use std::io::BufRead as _;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "world::other_process"])
        .env(SOCKETS, sockets)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut lines = std::io::BufReader::new(&mut output).lines();
    assert!(lines.any(|line| line.unwrap().contains("other process ready")));
    // It prints a little more as it ends: somebody must be there to hear it.
    child.stdout = Some(output);
    child
}

/// Not a test by itself: the other process of those that need one.
#[tokio::test]
async fn other_process() {
    let Some(sockets) = std::env::var_os(SOCKETS) else { return };
    let fabric = Fabric::new(config(Some(Path::new(&sockets))), &CancellationToken::new());
    let node = node(&fabric, 3, HostPorts::default());
    let server = pod(&node, "server");
    serve(&server).await;
    let rules = rules(server.ip(), "node-3");
    node.apply_rules(RuleChange::Full(rules), 1).await.unwrap();
    println!("other process ready");
    let until_closed = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(until_closed).await.unwrap().unwrap();
    fabric.stop().await;
}
