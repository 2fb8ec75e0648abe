//! The data plane that needs no root: the network stack of every node lives in its own process.
//!
//! ```text
//!  process of node-1                                process of node-2
//!  ┌───────────────────────────────┐                ┌───────────────────────────────┐
//!  │ pod 10.244.1.2   pod .1.3     │   Unix socket  │ pod 10.244.2.2                │
//!  │   PodStream ═════ PodStream   │  node-2.sock   │   PodListener                 │
//!  │        ╚══════ far end ───────┼── SCM_RIGHTS ──┼──▶ accept queue ─▶ PodStream  │
//!  │ host :30080 ── TCP connection ┼── SCM_RIGHTS ──┼──▶ accept queue ─▶ PodStream  │
//!  └───────────────────────────────┘                └───────────────────────────────┘
//! ```
//!
//! * A connection between pods is a socket pair. Its far end is passed to the process that owns the callee's range,
//!   with the pod addresses in the message; between nodes of one process it is simply handed over. From then on
//!   the kernel carries the bytes and we are out of the way.
//! * A connection from the host to a node port is the accepted TCP descriptor itself, passed on the same way.
//! * `connect` succeeds once the far end is in the callee's accept queue, so a refusal is a refusal.
//! * Service addresses are translated where the connection starts, by the node's rules.
//!
//! The parts, in the order a connection meets them: `pod` (a sandbox), `carry` (connections), `datagrams` (and
//! `nat`, `outside`), `policing` (the verdicts of policies), `index` (the rules), `link` and `wire` (other processes), `host_ports` and
//! `forward` (the host).
//!
//! **Limits that follow from the idea**: the host has completed a TCP handshake before an endpoint is asked, so a
//! client of a node port whose endpoints all refuse sees a reset, not a refusal (a Service *without* endpoints does
//! refuse); `Local` policy without a local endpoint refuses on the host, where it would time out; an endpoint
//! outside the cluster cannot serve datagrams of a node port.

mod affinity;
mod carry;
mod datagrams;
mod forward;
mod host_ports;
pub(crate) mod index;
mod link;
mod nat;
mod node;
mod outside;
mod pod;
mod policing;
mod ports;
mod sys;
mod wire;

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use component_base::clock::Clock;
use parking_lot::{Mutex, RwLock};
use tokio::net::UnixListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use forward::{ForwardedPort, Refused};
pub use host_ports::{HostPorts, LoadBalancers, SharedLoopback};
pub use node::{
    ActiveRules, ApplyError, Node, NodeConfig, Problem, RuleChange, SandboxError, SandboxSpec,
};

use self::{carry::Hop, link::Link, node::NodeInner};
use crate::{cidr::Cidr, ipam::IpamError, rules::Protocol, stance::Stance};

/// Longest path of a Unix socket that every system takes.
const MAX_SOCKET_PATH: usize = 103;

/// Whether pods may talk to the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// Outside addresses have no route.
    #[default]
    Refused,
    /// Outside addresses are dialled from the host; never its own loopback.
    Allowed,
}

/// What all nodes of one process share.
#[derive(Clone, Debug)]
pub struct FabricConfig {
    /// Time, and chance.
    pub clock: Clock,
    /// Folder of the node sockets, shared by all node processes of a cluster and closed to others. `None` keeps the
    /// fabric inside this process.
    pub socket_dir: Option<PathBuf>,
    /// Addresses in the cluster behind which a socket of the host stands, such as the API server's.
    pub host_backends: HashMap<SocketAddr, SocketAddr>,
    /// Whether pods may talk to the world.
    pub egress: Egress,
    /// Ranges that belong to the cluster: an address in them that nobody has leads nowhere, not outside.
    pub virtual_ranges: Vec<Cidr>,
    /// The address by which pods know the host.
    pub host_address: IpAddr,
    /// How long a connection may take before it times out.
    pub connect_timeout: Duration,
}

impl FabricConfig {
    /// The usual cluster, inside this process, closed to the outside.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let range = |[a, b, c]: [u8; 3], prefix| {
            Cidr::new(Ipv4Addr::new(a, b, c, 0).into(), prefix).expect("a prefix below 32")
        };
        Self {
            clock,
            socket_dir: None,
            host_backends: HashMap::new(),
            egress: Egress::Refused,
            // Pods, Services, nodes.
            virtual_ranges: vec![
                range([10, 244, 0], 16),
                range([10, 96, 0], 12),
                range([192, 168, 1], 24),
            ],
            host_address: Ipv4Addr::new(192, 168, 1, 1).into(),
            // What Linux takes with `net.ipv4.tcp_syn_retries` = 6.
            connect_timeout: Duration::from_secs(127),
        }
    }

    /// How a node of this fabric sees the network.
    fn stance(&self, node: &NodeConfig) -> Stance {
        let mut backends: Vec<SocketAddr> = self.host_backends.keys().copied().collect();
        backends.sort_unstable();
        Stance {
            node: node.name.clone(),
            address: node.address,
            pod_cidr: node.pod_cidr,
            host_address: self.host_address,
            backends,
            egress: self.egress == Egress::Allowed,
            virtual_ranges: self.virtual_ranges.clone(),
        }
    }
}

/// Why a node could not be added.
#[derive(Debug, thiserror::Error)]
pub enum AddNodeError {
    /// Its pods' addresses cannot be managed.
    #[error(transparent)]
    Address(#[from] IpamError),
    /// Its socket cannot be opened.
    #[error("cannot open node socket {}", path.display())]
    Socket {
        /// The socket, or its folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The fabric has a node of that name.
    #[error("node {0} is in this process already")]
    Exists(String),
}

/// The nodes of one process, and the ways to those of others. Clones are the same fabric.
#[derive(Clone)]
pub struct Fabric(Arc<FabricInner>);

struct FabricInner {
    config: FabricConfig,
    nodes: RwLock<HashMap<String, Arc<NodeInner>>>,
    links: Mutex<HashMap<String, Arc<Link>>>,
    cancelled: CancellationToken,
    tasks: TaskTracker,
}

impl Fabric {
    /// Makes a fabric without nodes. It ends with `shutdown`, or by [`Self::stop`].
    #[must_use]
    pub fn new(config: FabricConfig, shutdown: &CancellationToken) -> Self {
        Self(Arc::new(FabricInner {
            config,
            nodes: RwLock::default(),
            links: Mutex::default(),
            cancelled: shutdown.child_token(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Brings a node up: opens its socket for the nodes of other processes. Its pods' addresses are those of its
    /// checkpoint.
    ///
    /// # Errors
    /// See [`AddNodeError`].
    pub fn add_node(&self, config: NodeConfig) -> Result<Node, AddNodeError> {
        let name = config.name.clone();
        let socket = match &self.0.config.socket_dir {
            Some(folder) => Some(
                open_socket(folder, &name)
                    .map_err(|(path, source)| AddNodeError::Socket { path, source })?,
            ),
            None => None,
        };
        let inner = NodeInner::new(self.clone(), config)?;
        {
            let mut nodes = self.0.nodes.write();
            if nodes.contains_key(&name) {
                return Err(AddNodeError::Exists(name));
            }
            nodes.insert(name, Arc::clone(&inner));
        }
        if let Some(socket) = socket {
            inner.spawn(link::serve(Arc::clone(&inner), socket));
        }
        Ok(Node::new(inner))
    }

    /// Stops every node and waits until nothing runs any more.
    pub async fn stop(&self) {
        let nodes: Vec<_> = self.0.nodes.read().values().cloned().collect();
        for node in nodes {
            Node::new(node).stop().await;
        }
        self.0.cancelled.cancel();
        self.0.links.lock().clear();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn config(&self) -> &FabricConfig {
        &self.0.config
    }

    fn clock(&self) -> &Clock {
        &self.0.config.clock
    }

    fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    fn cancellation(&self) -> &CancellationToken {
        &self.0.cancelled
    }

    fn forget(&self, node: &Arc<NodeInner>) {
        let mut nodes = self.0.nodes.write();
        if nodes.get(node.name()).is_some_and(|known| Arc::ptr_eq(known, node)) {
            nodes.remove(node.name());
        }
    }

    /// Finds the way to another node.
    fn way_to(&self, name: &str) -> Hop {
        if let Some(node) = self.0.nodes.read().get(name) {
            return Hop::Peer(Arc::clone(node));
        }
        let Some(folder) = &self.0.config.socket_dir else { return Hop::Nowhere };
        let mut links = self.0.links.lock();
        if let Some(link) = links.get(name).filter(|link| !link.is_closed()) {
            return Hop::Link(Arc::clone(link));
        }
        let link = Link::open(socket_path(folder, name), self);
        links.insert(name.to_owned(), Arc::clone(&link));
        Hop::Link(link)
    }

    /// Tells the sender of a datagram in this process that nobody listens where it went.
    fn unreachable(&self, from: SocketAddr, to: SocketAddr) {
        let nodes = self.0.nodes.read();
        let pod = nodes.values().find_map(|node| {
            let own = || node.own().owns(from.ip()).then(|| Arc::clone(node.own()));
            node.pod_at(from.ip()).or_else(own)
        });
        drop(nodes);
        if let Some(ports::Sink::Udp(sink)) = pod.and_then(|pod| pod.sink(from, Protocol::Udp)) {
            sink.unreachable(to);
        }
    }

    /// Waits a little before trying again what failed for want of resources.
    async fn pause_after_error(&self) {
        self.clock().sleep(Duration::from_millis(100)).await;
    }
}

impl std::fmt::Debug for Fabric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fabric").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// Returns where a node's socket is.
fn socket_path(folder: &Path, node: &str) -> PathBuf {
    folder.join(format!("{node}.sock"))
}

/// Opens a node's socket in a folder that is made if need be and must be closed to other users.
fn open_socket(folder: &Path, node: &str) -> Result<UnixListener, (PathBuf, io::Error)> {
    let path = socket_path(folder, node);
    let open = || {
        private_folder(folder)?;
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("its path is longer than {MAX_SOCKET_PATH} bytes"),
            ));
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    open().map_err(|source| (path.clone(), source))
}

fn private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let metadata = fs::metadata(folder)?;
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "folder {} must be this user's alone, but is uid {}'s with mode {:o}",
                folder.display(),
                metadata.uid(),
                metadata.mode() & 0o777
            ),
        ));
    }
    Ok(())
}
