//! Datagrams that enter by a node port or load balancer address: rewritten to come from an address of the node (or
//! the host's, with policy `Local`), so that the answers pass here and can be led back.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::UdpSocket;

use super::{
    datagrams::{DatagramSink, FLOW_TIMEOUT, Lost},
    index::{Candidates, Target},
    node::NodeInner,
    pod::BoundPort,
    ports::Sink,
};
use crate::rules::{Protocol, ServicePortName, Traffic};

/// Most conversations of one node; beyond, new ones are lost until old ones end.
const MAX_FLOWS: usize = 8192;

/// Who talks to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum NatKey {
    /// Somebody on the host, at an address that the host listens on.
    Host { client: SocketAddr, entry: SocketAddr },
    /// A pod, at a node's own address.
    Inside { client: SocketAddr, entry: SocketAddr },
}

#[derive(Default)]
pub(super) struct NatTable {
    flows: Mutex<HashMap<NatKey, Flow>>,
    /// The sockets that host clients talk to, by address.
    host: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
}

struct Flow {
    service: ServicePortName,
    source: SocketAddr,
    endpoint: SocketAddr,
    last: Duration,
    _bound: BoundPort,
}

impl NatTable {
    /// Lets answers to host clients leave by `socket`.
    pub(super) fn add_host_socket(&self, entry: SocketAddr, socket: Arc<UdpSocket>) {
        self.host.lock().insert(entry, socket);
    }

    /// Ends the conversations of a host address.
    pub(super) fn remove_host_socket(&self, entry: SocketAddr) {
        self.host.lock().remove(&entry);
        self.flows
            .lock()
            .retain(|key, _| !matches!(key, NatKey::Host { entry: of, .. } if *of == entry));
    }

    /// Ends the conversations of these Services with endpoints that `serves` does not name, as kube-proxy cleans up what
    /// the kernel tracks: the next datagram goes to another, and nobody who gets an address later answers for it.
    pub(super) fn retain(
        &self,
        touched: impl Fn(&ServicePortName) -> bool,
        serves: impl Fn(&ServicePortName, SocketAddr) -> bool,
    ) {
        self.flows
            .lock()
            .retain(|_, flow| !touched(&flow.service) || serves(&flow.service, flow.endpoint));
    }

    /// Returns the endpoint of a conversation.
    fn endpoint_of(&self, key: &NatKey) -> Option<SocketAddr> {
        self.flows.lock().get(key).map(|flow| flow.endpoint)
    }

    /// Sends a datagram on to an endpoint of `target`, the same one as long as the rules allow.
    pub(super) fn forward(
        &self,
        node: &Arc<NodeInner>,
        key: NatKey,
        target: &Target,
        traffic: Traffic,
        hops: u8,
        payload: Bytes,
    ) -> Result<(), Lost> {
        let endpoints = match target.candidates(traffic) {
            Candidates::Nobody => return Err(Lost::Refused),
            Candidates::NoneLocal => return Ok(()),
            Candidates::Endpoints(endpoints) => endpoints,
        };
        let now = node.fabric().clock().monotonic();
        let (source, endpoint) = {
            let mut flows = self.flows.lock();
            let idle = |flow: &Flow| now.saturating_sub(flow.last) >= FLOW_TIMEOUT;
            if flows.len() >= MAX_FLOWS && !flows.contains_key(&key) {
                flows.retain(|_, flow| !idle(flow));
                if flows.len() >= MAX_FLOWS {
                    return Ok(());
                }
            }
            let client = match key {
                NatKey::Host { client, .. } | NatKey::Inside { client, .. } => client.ip(),
            };
            let choose = || {
                let chosen = endpoints[node.choose(target, endpoints, client)];
                node.remember(target, client, chosen);
                chosen
            };
            match flows.get_mut(&key) {
                Some(flow) => {
                    if idle(flow)
                        || flow.service != target.name
                        || !target.still_serves(flow.endpoint)
                    {
                        flow.endpoint = choose();
                        flow.service = target.name.clone();
                    }
                    flow.last = now;
                    (flow.source, flow.endpoint)
                }
                None => {
                    let back: Arc<dyn DatagramSink> =
                        Arc::new(WayBack { key, node: Arc::downgrade(node) });
                    let ip = match key {
                        NatKey::Host { .. } => node.seen_from_host(target),
                        NatKey::Inside { .. } => node.address(),
                    };
                    let any_port = SocketAddr::new(ip, 0);
                    let bound = node.own().bind(any_port, Protocol::Udp, |_| Sink::Udp(back));
                    let Ok((source, bound)) = bound else { return Ok(()) };
                    let endpoint = choose();
                    let service = target.name.clone();
                    let flow = Flow { service, source, endpoint, last: now, _bound: bound };
                    flows.insert(key, flow);
                    (source, endpoint)
                }
            }
        };
        match node.send_datagram(source, endpoint, hops, payload) {
            // Endpoints outside the cluster would need a socket of their own on the host: not for datagrams.
            Err(Lost::Outside) => Err(Lost::NoRoute),
            other => other,
        }
    }
}

/// Leads answers back to the client.
struct WayBack {
    key: NatKey,
    node: Weak<NodeInner>,
}

impl DatagramSink for WayBack {
    fn deliver(&self, from: SocketAddr, payload: Bytes) {
        let Some(node) = self.node.upgrade() else { return };
        // Only who was asked may answer.
        if node.nat().endpoint_of(&self.key) != Some(from) {
            return;
        }
        match self.key {
            NatKey::Host { client, entry } => {
                let socket = node.nat().host.lock().get(&entry).cloned();
                if let Some(socket) = socket {
                    let _ = socket.try_send_to(&payload, client);
                }
            }
            NatKey::Inside { client, entry } => {
                let _ = node.send_datagram(entry, client, 0, payload);
            }
        }
    }

    fn unreachable(&self, _to: SocketAddr) {
        let Some(node) = self.node.upgrade() else { return };
        if let NatKey::Inside { client, entry } = self.key {
            node.fabric().unreachable(client, entry);
        }
    }
}
