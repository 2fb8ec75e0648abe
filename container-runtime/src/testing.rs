//! What the tests share: a node's network, pods on it, containers in them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cni::cidr::Cidr;
use cni::network::Sandbox;
use cni::userspace::{Fabric, FabricConfig, HostPorts, Node, NodeConfig, SandboxSpec};
use component_base::clock::Clock;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::files::Mount;
use crate::{
    Container, ContainerSpec, DeclaredPort, ExecRequest, ImageCatalogue, Protocol, Runtime,
};

/// A node with its network and its runtime.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) runtime: Runtime,
    pub(crate) catalogue: ImageCatalogue,
    pub(crate) directory: TempDir,
    node: Node,
    _fabric: Fabric,
    count: AtomicU32,
}

/// What a command gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_clock(Clock::real())
    }

    pub(crate) fn with_clock(clock: Clock) -> Self {
        let fabric = Fabric::new(FabricConfig::new(clock.clone()), &CancellationToken::new());
        let config = NodeConfig {
            name: "node-1".to_owned(),
            pod_cidr: "10.244.1.0/24".parse::<Cidr>().unwrap(),
            address: [192, 168, 1, 101].into(),
            checkpoint: None,
            host_ports: HostPorts::default(),
        };
        let node = fabric.add_node(config).unwrap();
        Self {
            runtime: Runtime::new(clock.clone()),
            clock,
            catalogue: ImageCatalogue::new(),
            directory: tempfile::tempdir().unwrap(),
            node,
            _fabric: fabric,
            count: AtomicU32::new(0),
        }
    }

    pub(crate) fn pod(&self, name: &str) -> Sandbox {
        let id = format!("uid-{name}");
        let spec = SandboxSpec { id, namespace: "default".to_owned(), name: name.to_owned() };
        self.node.add(spec).unwrap()
    }

    pub(crate) fn spec(&self, pod: &Sandbox, image: &str, command: &[&str]) -> ContainerSpec {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        ContainerSpec {
            name: "main".to_owned(),
            image: self.catalogue.resolve(image).unwrap(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            args: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            mounts: Vec::new(),
            network: pod.clone(),
            hostname: pod.identity().name.clone(),
            ports: vec![DeclaredPort { name: String::new(), port: 8080, protocol: Protocol::Tcp }],
            log_path: self.directory.path().join(format!("{number}.log")),
            stdin: false,
            stdin_once: false,
            tty: false,
            termination_message_path: "/dev/termination-log".to_owned(),
        }
    }

    pub(crate) fn start(&self, spec: ContainerSpec) -> Container {
        let container = self.runtime.create(spec).unwrap();
        container.start().unwrap();
        container
    }

    pub(crate) fn run(&self, pod: &Sandbox, image: &str, command: &[&str]) -> Container {
        self.start(self.spec(pod, image, command))
    }

    /// Waits until a listener answers on the pod.
    pub(crate) async fn listening(&self, pod: &Sandbox, port: u16) {
        for _ in 0..200 {
            let address = (pod.ip(), port).into();
            if pod.connect_tcp(address).await.is_ok() {
                return;
            }
            self.clock.sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing listens on port {port}");
    }

    /// A container that waits, with these mounts.
    pub(crate) fn shell(&self, pod: &Sandbox, mounts: Vec<Mount>) -> Container {
        let mut spec = self.spec(pod, "busybox", &["sleep", "inf"]);
        spec.mounts = mounts;
        self.start(spec)
    }
}

impl Container {
    /// Runs a script and gathers its output.
    pub(crate) async fn sh(&self, script: &str) -> Ran {
        self.exec_all(&["sh", "-c", script], None).await
    }

    pub(crate) async fn exec_all(&self, command: &[&str], stdin: Option<&str>) -> Ran {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let request = ExecRequest { command, stdin: stdin.is_some(), tty: false };
        let mut session = self.exec(request).unwrap();
        let input = session.stdin.take();
        let text = stdin.unwrap_or_default().to_owned();
        let feed = async {
            if let Some(input) = input {
                let _ = input.send(Bytes::from(text)).await;
            }
        };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let read = async {
            loop {
                tokio::select! {
                    Some(chunk) = session.stdout.recv() => stdout.extend_from_slice(&chunk),
                    Some(chunk) = session.stderr.recv() => stderr.extend_from_slice(&chunk),
                    else => break,
                }
            }
        };
        tokio::join!(feed, read);
        let code = session.wait().await.0;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { stdout: text(stdout), stderr: text(stderr), code }
    }
}
