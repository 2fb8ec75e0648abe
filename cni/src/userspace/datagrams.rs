//! The life of a datagram: as a connection's (see [`carry`](super::carry)), but each one alone, and lost without a
//! word wherever a queue is full.
//!
//! A Service address is translated at the sender's socket, which remembers the endpoint it drew, so that a
//! conversation stays with one endpoint and its answers come from the address that was asked. Datagrams that enter
//! by a node port are rewritten by the node's [`nat`](super::nat).

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::{
    carry::Hop,
    index::{Candidates, Lookup},
    nat::NatKey,
    node::NodeInner,
    outside::OutsideFlows,
    pod::{BoundPort, PodNet},
    ports::Sink,
    sys,
};
use crate::{
    network::{self, Datagram, UdpTransport},
    rules::{Direction, Protocol, Traffic},
};

/// Most nodes that one datagram passes.
const MAX_HOPS: u8 = 8;
/// Most Service addresses that one socket keeps talking to.
const MAX_FLOWS: usize = 1024;
/// How long an idle conversation keeps its endpoint: `nf_conntrack_udp_timeout_stream`.
pub(super) const FLOW_TIMEOUT: Duration = Duration::from_secs(120);

/// Who gets what arrives at a bound port.
pub(super) trait DatagramSink: Send + Sync {
    /// Takes one datagram, or loses it.
    fn deliver(&self, from: SocketAddr, payload: Bytes);
    /// Learns that nobody listens at `to`.
    fn unreachable(&self, to: SocketAddr);
    /// Learns that the sandbox is deleted.
    fn close(&self) {}
}

/// Why a datagram did not go on its way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Nobody listens there.
    Refused,
    /// Nobody has the address.
    NoRoute,
    /// It has to leave the cluster, which only the sender's own socket can do.
    Outside,
}

impl NodeInner {
    /// Sends a datagram on its way to an address that is no Service's.
    pub(super) fn send_datagram(
        self: &Arc<Self>,
        from: SocketAddr,
        to: SocketAddr,
        hops: u8,
        payload: Bytes,
    ) -> Result<(), Lost> {
        match self.route(to) {
            Hop::Here => self.receive_datagram(from, to, hops, payload),
            _ if hops >= MAX_HOPS => Err(Lost::NoRoute),
            Hop::Peer(peer) => peer.receive_datagram(from, to, hops + 1, payload),
            Hop::Link(link) => {
                link.datagram(from, to, hops, payload);
                Ok(())
            }
            Hop::Outside => Err(Lost::Outside),
            Hop::Backend(_) | Hop::Closed => Err(Lost::Refused),
            Hop::Nowhere => Err(Lost::NoRoute),
        }
    }

    /// Takes a datagram that has come to this node.
    pub(super) fn receive_datagram(
        self: &Arc<Self>,
        from: SocketAddr,
        to: SocketAddr,
        hops: u8,
        payload: Bytes,
    ) -> Result<(), Lost> {
        let pod = match self.pod_at(to.ip()) {
            // A datagram that policies drop is lost like any other.
            Some(_) if !self.may_pass(Direction::Ingress, to, from) => return Ok(()),
            Some(pod) => pod,
            None if self.own().owns(to.ip()) => Arc::clone(self.own()),
            None => return Err(Lost::NoRoute),
        };
        if let Some(Sink::Udp(sink)) = pod.sink(to, Protocol::Udp) {
            sink.deliver(from, payload);
            return Ok(());
        }
        match self.node_port(Protocol::Udp, to.port()) {
            Some(target) if self.own().owns(to.ip()) => {
                let key = NatKey::Inside { client: from, entry: to };
                self.nat().forward(self, key, &target, Traffic::ExternalFromInside, hops, payload)
            }
            _ => Err(Lost::Refused),
        }
    }
}

/// A bound datagram socket of a sandbox.
pub(super) struct PodSocket {
    pod: Arc<PodNet>,
    node: Weak<NodeInner>,
    local: SocketAddr,
    arrivals: Arc<Arrivals>,
    outside: OutsideFlows,
    _bound: BoundPort,
}

impl PodSocket {
    pub(super) fn bind(
        pod: &Arc<PodNet>,
        node: &Arc<NodeInner>,
        address: SocketAddr,
        queue: mpsc::Sender<Datagram>,
    ) -> io::Result<Arc<Self>> {
        let arrivals = Arc::new(Arrivals::new(queue));
        let sink = Arc::clone(&arrivals);
        let (local, bound) = pod.bind(address, Protocol::Udp, |_| Sink::Udp(sink))?;
        let (pod, outside) = (Arc::clone(pod), OutsideFlows::default());
        Ok(Arc::new(Self {
            pod,
            node: Arc::downgrade(node),
            local,
            arrivals,
            outside,
            _bound: bound,
        }))
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Finds the endpoint behind a Service address; `Ok(None)` when the rules drop the datagram.
    fn translate(&self, node: &NodeInner, to: SocketAddr) -> Result<Option<SocketAddr>, Lost> {
        let client = node.local_towards(&self.pod, to.ip());
        let (target, traffic) = match node.lookup(Protocol::Udp, client, to) {
            Lookup::Forbidden => return Ok(None),
            Lookup::NotVirtual => return Ok(Some(to)),
            Lookup::ClosedPort => return Err(Lost::Refused),
            Lookup::Service(target, traffic) => (target, traffic),
        };
        let endpoints = match target.candidates(traffic) {
            Candidates::Nobody => return Err(Lost::Refused),
            Candidates::NoneLocal => return Ok(None),
            Candidates::Endpoints(endpoints) => endpoints,
        };
        let now = node.fabric().clock().monotonic();
        let mut open = self.arrivals.open.lock();
        let flows = &mut open.flows;
        let kept = flows.endpoint_of(to, now).filter(|endpoint| target.still_serves(*endpoint));
        let endpoint = kept.unwrap_or_else(|| {
            let chosen = endpoints[node.choose(&target, endpoints, client)];
            node.remember(&target, client, chosen);
            chosen
        });
        flows.set(to, endpoint, now);
        Ok(Some(endpoint))
    }
}

impl UdpTransport for PodSocket {
    fn send(&self, payload: &[u8], to: SocketAddr) -> io::Result<()> {
        let mut to = sys::canonical(to);
        if to.ip().is_unspecified() {
            to.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        let node = self.node.upgrade().ok_or_else(network::network_down)?;
        if self.pod.is_closed() {
            return Err(network::network_down());
        }
        let source = |ip| match self.local.ip() {
            any if any.is_unspecified() => node.local_towards(&self.pod, ip),
            bound => bound,
        };
        let private = node.is_private(&self.pod, to.ip());
        if (private && to.ip().is_loopback()) != source(to.ip()).is_loopback() {
            return Err(Errno::INVAL.into());
        }
        let outcome = if private {
            let from = SocketAddr::new(source(to.ip()), self.local.port());
            match self.pod.sink(to, Protocol::Udp) {
                Some(Sink::Udp(sink)) => {
                    sink.deliver(from, Bytes::copy_from_slice(payload));
                    Ok(())
                }
                _ => Err(Lost::Refused),
            }
        } else {
            match self.translate(&node, to) {
                Ok(None) => Ok(()),
                Err(lost) => Err(lost),
                Ok(Some(endpoint)) => {
                    // A pod that reaches itself through a Service keeps its own address: its socket undoes the
                    // translation, so nothing has to lead the answer through the gateway.
                    let ip = if self.pod.is_private(endpoint.ip()) {
                        endpoint.ip()
                    } else {
                        source(endpoint.ip())
                    };
                    let from = SocketAddr::new(ip, self.local.port());
                    if !node.may_pass(Direction::Egress, from, endpoint) {
                        return Ok(());
                    }
                    match node.send_datagram(from, endpoint, 0, Bytes::copy_from_slice(payload)) {
                        Err(Lost::Outside) => {
                            self.outside.send(node.fabric(), &self.arrivals, payload, endpoint)?;
                            Ok(())
                        }
                        other => other,
                    }
                }
            }
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(Lost::Refused) => {
                self.arrivals.unreachable(to);
                Ok(())
            }
            Err(Lost::NoRoute | Lost::Outside) => Err(network::no_route()),
        }
    }
}

/// The receiving half of a socket: its queue, and the Service addresses that it talks to.
pub(super) struct Arrivals {
    open: Mutex<Open>,
}

struct Open {
    /// `None` once the sandbox is deleted: then who receives gets what is left, and an end.
    queue: Option<mpsc::Sender<Datagram>>,
    flows: Flows,
}

impl Arrivals {
    fn new(queue: mpsc::Sender<Datagram>) -> Self {
        Self { open: Mutex::new(Open { queue: Some(queue), flows: Flows::default() }) }
    }
}

impl DatagramSink for Arrivals {
    fn deliver(&self, from: SocketAddr, payload: Bytes) {
        let open = self.open.lock();
        let from = open.flows.virtual_of(from);
        if let Some(queue) = &open.queue {
            let _ = queue.try_send(Datagram::Data { from, payload });
        }
    }

    fn unreachable(&self, to: SocketAddr) {
        let open = self.open.lock();
        let to = open.flows.virtual_of(to);
        if let Some(queue) = &open.queue {
            let _ = queue.try_send(Datagram::Refused { to });
        }
    }

    fn close(&self) {
        self.open.lock().queue = None;
    }
}

/// Which endpoint stands for a Service address, both ways.
#[derive(Default)]
struct Flows {
    endpoints: HashMap<SocketAddr, (SocketAddr, Duration)>,
    virtuals: HashMap<SocketAddr, SocketAddr>,
}

impl Flows {
    fn endpoint_of(&self, to: SocketAddr, now: Duration) -> Option<SocketAddr> {
        let (endpoint, at) = self.endpoints.get(&to)?;
        (now.saturating_sub(*at) < FLOW_TIMEOUT).then_some(*endpoint)
    }

    fn virtual_of(&self, endpoint: SocketAddr) -> SocketAddr {
        self.virtuals.get(&endpoint).copied().unwrap_or(endpoint)
    }

    fn set(&mut self, to: SocketAddr, endpoint: SocketAddr, now: Duration) {
        if self.endpoints.len() >= MAX_FLOWS {
            self.endpoints.retain(|_, (_, at)| now.saturating_sub(*at) < FLOW_TIMEOUT);
            if self.endpoints.len() >= MAX_FLOWS {
                self.endpoints.clear();
            }
            let kept: HashMap<_, _> = self.endpoints.iter().map(|(to, (e, _))| (*e, *to)).collect();
            self.virtuals = kept;
        }
        if let Some((old, _)) = self.endpoints.insert(to, (endpoint, now))
            && old != endpoint
        {
            self.virtuals.remove(&old);
        }
        self.virtuals.insert(endpoint, to);
    }
}
