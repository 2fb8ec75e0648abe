//! One sandbox as this data plane keeps it: its addresses, ports and open streams.

use std::{
    any::Any,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::{
    carry::{Call, Failed, Outcome, Reached},
    datagrams::PodSocket,
    node::NodeInner,
    ports::{PortTable, Sink},
    sys,
};
use crate::{
    network::{
        self, Incoming, Interface, PodListener, PodStream, PodUdpSocket, SandboxNetwork,
        StreamRegistry,
    },
    rules::Protocol,
    stance::Identity,
};

/// Connections that wait for `accept` before callers have to wait.
const BACKLOG: usize = 1024;
/// Datagrams that wait for `recv` before they are lost.
const DATAGRAM_QUEUE: usize = 1024;

/// A sandbox of one node: a pod's, or the node's own.
pub(super) struct PodNet {
    node: Weak<NodeInner>,
    identity: Identity,
    ports: Mutex<PortTable>,
    streams: Arc<StreamRegistry>,
}

impl PodNet {
    pub(super) fn new(node: Weak<NodeInner>, identity: Identity) -> Arc<Self> {
        let (ports, streams) = (Mutex::default(), Arc::default());
        Arc::new(Self { node, identity, ports, streams })
    }

    fn node(&self) -> io::Result<Arc<NodeInner>> {
        self.node.upgrade().ok_or_else(network::network_down)
    }

    pub(super) fn streams(&self) -> &Arc<StreamRegistry> {
        &self.streams
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn owns(&self, ip: IpAddr) -> bool {
        self.identity.owns(ip)
    }

    pub(super) fn is_private(&self, ip: IpAddr) -> bool {
        self.identity.is_private(ip)
    }

    pub(super) fn source_towards(&self, ip: IpAddr) -> IpAddr {
        self.identity.source_towards(ip)
    }

    pub(super) fn next_source_port(&self) -> io::Result<u16> {
        let mut ports = self.ports.lock();
        if ports.is_closed() { Err(network::network_down()) } else { Ok(ports.next_source_port()) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.ports.lock().is_closed()
    }

    pub(super) fn is_listening(&self, to: SocketAddr, protocol: Protocol) -> bool {
        self.ports.lock().find(to, protocol).is_some()
    }

    pub(super) fn listening(&self) -> Vec<(Protocol, SocketAddr)> {
        self.ports.lock().list()
    }

    pub(super) fn sink(&self, to: SocketAddr, protocol: Protocol) -> Option<Sink> {
        self.ports.lock().find(to, protocol).cloned()
    }

    /// Puts a call into the accept queue of its port, or hands it back when that is full.
    pub(super) fn take_at_once(&self, call: Call) -> Result<Outcome, Call> {
        let Call { fd, from, to, hops } = call;
        let Some(Sink::Tcp(queue)) = self.sink(to, Protocol::Tcp) else {
            return Ok(Err(self.unheard(to, fd)));
        };
        match queue.try_send(Box::new(Incoming { fd, peer: from, local: to })) {
            Ok(()) => Ok(Ok(Reached::Queued)),
            Err(mpsc::error::TrySendError::Full(back)) => Err(Call { fd: back.fd, from, to, hops }),
            Err(mpsc::error::TrySendError::Closed(back)) => Ok(Err(self.unheard(to, back.fd))),
        }
    }

    /// Puts a call into the accept queue of its port, waiting for room as long as a connect may last.
    pub(super) async fn take(&self, call: Call) -> Outcome {
        let call = match self.take_at_once(call) {
            Ok(outcome) => return outcome,
            Err(call) => call,
        };
        let (Ok(node), Some(Sink::Tcp(queue))) = (self.node(), self.sink(call.to, Protocol::Tcp))
        else {
            return Err(self.unheard(call.to, call.fd));
        };
        let fabric = node.fabric();
        let room = fabric.clock().timeout(fabric.config().connect_timeout, queue.reserve()).await;
        match room {
            Ok(Ok(place)) => {
                place.send(Box::new(Incoming { fd: call.fd, peer: call.from, local: call.to }));
                Ok(Reached::Queued)
            }
            Ok(Err(_closed)) => Err(self.unheard(call.to, call.fd)),
            Err(_elapsed) => Err(Failed::new(network::timed_out(), call.fd)),
        }
    }

    /// What a caller sees where nobody listens: refused, or nothing at all of a sandbox that is gone.
    fn unheard(&self, to: SocketAddr, fd: OwnedFd) -> Failed {
        let ports = self.ports.lock();
        let error = if ports.is_closed() { network::no_route() } else { network::refused() };
        Failed { error, fd: Some(fd), left: ports.was_left(to.port()) }
    }

    /// Ends every stream, listener and socket.
    pub(super) fn close(&self) {
        self.ports.lock().close();
        self.streams.close();
    }

    /// Binds `address`, checked to be the sandbox's; the guard frees it.
    pub(super) fn bind(
        self: &Arc<Self>,
        address: SocketAddr,
        protocol: Protocol,
        make: impl FnOnce(SocketAddr) -> Sink,
    ) -> io::Result<(SocketAddr, BoundPort)> {
        let address = sys::canonical(address);
        let ip = address.ip();
        if !(ip.is_unspecified() || ip.is_loopback() || self.owns(ip)) {
            return Err(Errno::ADDRNOTAVAIL.into());
        }
        let (address, id) = self.ports.lock().bind(address, protocol, make)?;
        let pod = Arc::downgrade(self);
        Ok((address, BoundPort { pod, protocol, port: address.port(), id }))
    }
}

/// Frees a port when it is dropped.
pub(super) struct BoundPort {
    pod: Weak<PodNet>,
    protocol: Protocol,
    port: u16,
    id: u64,
}

impl Drop for BoundPort {
    fn drop(&mut self) {
        if let Some(pod) = self.pod.upgrade() {
            pod.ports.lock().unbind(self.protocol, self.port, self.id);
        }
    }
}

/// [`SandboxNetwork`] needs the sandbox as something it can hand on.
pub(super) struct PodNetwork(pub(super) Arc<PodNet>);

#[async_trait]
impl SandboxNetwork for PodNetwork {
    fn interfaces(&self) -> Vec<Interface> {
        let pod = &self.0.identity;
        let mac = match pod.addresses[0] {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                // As the bridge plugin does: a locally administered prefix, then the address.
                [0x0a, 0x58, a, b, c, d]
            }
            IpAddr::V6(_) => [0x0a, 0x58, 0, 0, 0, 1],
        };
        let lo = Interface {
            index: 1,
            name: "lo".into(),
            mac: [0; 6],
            mtu: 65_536,
            addresses: vec![(std::net::Ipv4Addr::LOCALHOST.into(), 8)],
        };
        let eth0 = Interface {
            index: 2,
            name: "eth0".into(),
            mac,
            mtu: 1500,
            addresses: vec![(
                pod.addresses[0],
                if pod.is_node { 24 } else { pod.pod_cidr.prefix() },
            )],
        };
        vec![lo, eth0]
    }

    async fn listen_tcp(&self, address: SocketAddr) -> io::Result<PodListener> {
        let (sender, queue) = mpsc::channel(BACKLOG);
        let (local, guard) = self.0.bind(address, Protocol::Tcp, |_| Sink::Tcp(sender))?;
        let guard: Box<dyn Any + Send + Sync> = Box::new(guard);
        Ok(PodListener::new(local, queue, Arc::clone(&self.0.streams), guard))
    }

    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<PodStream> {
        self.0.node()?.connect(&self.0, address).await
    }

    async fn bind_udp(&self, address: SocketAddr) -> io::Result<PodUdpSocket> {
        let (sender, queue) = mpsc::channel(DATAGRAM_QUEUE);
        let socket = PodSocket::bind(&self.0, &self.0.node()?, address, sender)?;
        Ok(PodUdpSocket::new(socket.local(), queue, socket))
    }
}
