//! What a program in a pod sees of the network: the contract that every data plane keeps.
//!
//! A [`Sandbox`] is one pod's network, shared by all its containers, as a network namespace is: one address,
//! one private localhost, one hosts file. Programs get a [`PodStream`], a [`PodListener`] or a [`PodUdpSocket`],
//! never a raw socket, and addresses are the cluster's: what the peer's pod is called, not how the bytes travel.
//!
//! | case | the caller sees |
//! |---|---|
//! | port not listening; Service without endpoints | `ConnectionRefused` |
//! | traffic that a policy drops; Service whose `Local` policy finds no endpoint here | `TimedOut` |
//! | address nobody has | `HostUnreachable` |
//! | 127/8 | the pod's own private localhost, never the host's |
//! | the sandbox is deleted | streams reset, listeners and sockets end |
//!
//! Errors are the kernel's own (`ECONNREFUSED`, `ETIMEDOUT`, `EHOSTUNREACH`, `EADDRINUSE`, `EADDRNOTAVAIL`,
//! `EMSGSIZE`, `ENETDOWN`), so that programs print what they would print on Linux.

mod gate;
mod hosts;
mod listener;
mod stream;
mod udp;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use rustix::io::Errno;

pub use gate::Gate;
pub use hosts::{HostsFile, Resolver};
pub use listener::{Incoming, PodListener};
pub use stream::{Direction, KillHandle, PodStream, Shaper, StreamRegistry};
pub use udp::{Datagram, MAX_DATAGRAM, PodUdpSocket, UdpTransport};

use crate::cidr::Cidr;

/// A network interface as `ip addr` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Kernel index, from 1.
    pub index: u32,
    /// `lo`, `eth0`.
    pub name: String,
    /// Hardware address; all zero for `lo`.
    pub mac: [u8; 6],
    /// Largest packet.
    pub mtu: u32,
    /// Addresses with the length of their network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// What a data plane implements for one sandbox.
#[async_trait]
pub trait SandboxNetwork: Send + Sync {
    /// Lists the interfaces, `lo` first.
    fn interfaces(&self) -> Vec<Interface>;
    /// Listens on an address of the sandbox; see [`Sandbox::listen_tcp`].
    async fn listen_tcp(&self, address: SocketAddr) -> io::Result<PodListener>;
    /// Connects to an address as the cluster names it; see [`Sandbox::connect_tcp`].
    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<PodStream>;
    /// Binds a datagram socket; see [`Sandbox::bind_udp`].
    async fn bind_udp(&self, address: SocketAddr) -> io::Result<PodUdpSocket>;
}

/// Who a sandbox is: fixed when it is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxIdentity {
    /// The caller's key of the sandbox; the pod's UID.
    pub id: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod, which is also its host name.
    pub name: String,
    /// Node that hosts it.
    pub node: String,
    /// The pod's address.
    pub ip: IpAddr,
    /// The node's pod range.
    pub pod_cidr: Cidr,
}

/// How a name was resolved.
#[derive(Debug)]
pub enum NameExplanation {
    /// It is an address.
    Literal(IpAddr),
    /// The hosts file knows it.
    Hosts(Vec<IpAddr>),
    /// Name servers were asked for these full names, one after the other.
    Asked(Vec<(String, io::Result<Vec<IpAddr>>)>),
    /// The hosts file does not know it, and there is nobody to ask.
    NoResolver,
}

/// One pod's network. Clones are the same sandbox.
#[derive(Clone)]
pub struct Sandbox {
    shared: Arc<Shared>,
    gate: Option<Arc<dyn Gate>>,
}

struct Shared {
    identity: SandboxIdentity,
    network: Arc<dyn SandboxNetwork>,
    hosts: ArcSwap<HostsFile>,
    resolv_conf: ArcSwap<String>,
    resolver: ArcSwap<Option<Arc<dyn Resolver>>>,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("identity", &self.shared.identity).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Joins an identity to its data plane; data planes call this.
    #[must_use]
    pub fn new(identity: SandboxIdentity, network: Arc<dyn SandboxNetwork>) -> Self {
        let hosts = HostsFile::managed(&[(identity.ip, identity.name.as_str())]);
        Self {
            shared: Arc::new(Shared {
                identity,
                network,
                hosts: ArcSwap::from_pointee(hosts),
                resolv_conf: ArcSwap::default(),
                resolver: ArcSwap::from_pointee(None),
            }),
            gate: None,
        }
    }

    /// The same sandbox for one of its programs, whose listeners have this gate before them.
    #[must_use]
    pub fn with_gate(&self, gate: Arc<dyn Gate>) -> Self {
        Self { shared: self.shared.clone(), gate: Some(gate) }
    }

    /// Returns who this sandbox is.
    #[must_use]
    pub fn identity(&self) -> &SandboxIdentity {
        &self.shared.identity
    }

    /// Returns the pod's address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.shared.identity.ip
    }

    /// Returns the name of the node that hosts the pod.
    #[must_use]
    pub fn node_name(&self) -> &str {
        &self.shared.identity.node
    }

    /// Lists the pod's interfaces, `lo` first.
    #[must_use]
    pub fn interfaces(&self) -> Vec<Interface> {
        self.shared.network.interfaces()
    }

    /// Listens on an address of the pod: its own, one of 127/8 (private to the pod), or the unspecified address
    /// for both. Port 0 takes a free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` (not an address of this pod), `NetworkDown` (the sandbox is deleted).
    pub async fn listen_tcp(&self, address: SocketAddr) -> io::Result<PodListener> {
        let mut listener = self.shared.network.listen_tcp(address).await?;
        listener.gate.clone_from(&self.gate);
        Ok(listener)
    }

    /// Connects to a pod, a Service, a node, or the outside, as this pod would.
    ///
    /// # Errors
    /// As in the table of this module; `NetworkDown` when the sandbox is deleted.
    pub async fn connect_tcp(&self, address: SocketAddr) -> io::Result<PodStream> {
        self.shared.network.connect_tcp(address).await
    }

    /// Binds a datagram socket to an address of the pod; port 0 takes a free one.
    ///
    /// # Errors
    /// As [`Self::listen_tcp`].
    pub async fn bind_udp(&self, address: SocketAddr) -> io::Result<PodUdpSocket> {
        self.shared.network.bind_udp(address).await
    }

    /// Finds the addresses of a host name: literal addresses, then the hosts file, then the resolver if one is set.
    ///
    /// # Errors
    /// `NotFound` when nobody knows the name; the resolver's own errors.
    pub async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        let found = self.shared.hosts.load().lookup(name);
        if !found.is_empty() {
            return Ok(found);
        }
        let resolver = self.shared.resolver.load_full();
        match resolver.as_ref() {
            Some(resolver) => resolver.resolve(self, name).await,
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "could not resolve host: {name} (this cluster has no DNS yet: names resolve from /etc/hosts only)"
                ),
            )),
        }
    }

    /// Finds the addresses of a host name as [`Self::resolve`] does, and tells how.
    pub async fn explain_name(&self, name: &str) -> NameExplanation {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return NameExplanation::Literal(address);
        }
        let found = self.shared.hosts.load().lookup(name);
        if !found.is_empty() {
            return NameExplanation::Hosts(found);
        }
        let resolver = self.shared.resolver.load_full();
        match resolver.as_ref() {
            Some(resolver) => NameExplanation::Asked(resolver.steps(self, name).await),
            None => NameExplanation::NoResolver,
        }
    }

    /// Returns the text of the pod's `/etc/hosts`.
    #[must_use]
    pub fn hosts_file(&self) -> String {
        self.shared.hosts.load().text().to_owned()
    }

    /// Replaces the pod's `/etc/hosts`.
    pub fn set_hosts_file(&self, text: impl Into<Box<str>>) {
        self.shared.hosts.store(Arc::new(HostsFile::new(text)));
    }

    /// Returns the text of the pod's `/etc/resolv.conf`; empty when nobody has said who is to be asked.
    #[must_use]
    pub fn resolv_conf(&self) -> String {
        self.shared.resolv_conf.load().to_string()
    }

    /// Replaces the pod's `/etc/resolv.conf`, and sets who is asked, by it, for names that the hosts file does not know.
    pub fn set_resolver(&self, resolv_conf: impl Into<String>, resolver: Arc<dyn Resolver>) {
        self.shared.resolv_conf.store(Arc::new(resolv_conf.into()));
        self.shared.resolver.store(Arc::new(Some(resolver)));
    }
}

/// `ECONNREFUSED`: the port is not listening, or the Service has no endpoints.
#[must_use]
pub fn refused() -> io::Error {
    Errno::CONNREFUSED.into()
}

/// `ETIMEDOUT`: nothing answered.
#[must_use]
pub fn timed_out() -> io::Error {
    Errno::TIMEDOUT.into()
}

/// `EHOSTUNREACH`: nobody has the address.
#[must_use]
pub fn no_route() -> io::Error {
    Errno::HOSTUNREACH.into()
}

/// `ENETDOWN`: the sandbox is deleted.
#[must_use]
pub fn network_down() -> io::Error {
    Errno::NETDOWN.into()
}
