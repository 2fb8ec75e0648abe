//! The life of a connection: from `connect`, or from a port of the host, to an accept queue.
//!
//! 1. A Service address is translated: an endpoint is drawn at random among those that the rules allow (or the one
//!    that the client's affinity says), and the next one is tried when it refuses. When all have refused and one of
//!    them is *gone*, its pod or its server, the rules are behind: the call waits a little for newer ones. A kernel
//!    would fail here; that nobody does is what makes rolling updates lossless without `preStop` hooks.
//! 2. The address leads to a pod of this node, to another node (in this process, or over its link), to a backend on
//!    the host (the API server), to the outside, or nowhere.
//! 3. At its node, the connection's far end is put into the accept queue of the port, and only then has it
//!    succeeded.
//!
//! What travels is the *far end*: one half of a socket pair, or the TCP connection that the host accepted. It moves
//! along and comes back with a refusal, so that there is always one owner.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};
use tokio::net::TcpStream;

use super::{
    index::{Candidates, Lookup, Target},
    link::{self, Link},
    node::NodeInner,
    pod::PodNet,
    sys,
};
use crate::{
    network::{self, PodStream},
    rules::{Protocol, Traffic},
    stance::Way,
};

/// Most nodes that one connection passes; Services that point at each other's node ports end here.
const MAX_HOPS: u8 = 8;
/// How long a call whose endpoints have left waits for rules that know it: as long as Linux looks for a neighbour
/// before it says that there is no route.
const STALE_RULES: Duration = Duration::from_secs(3);
/// A server that was started again is found without a change of the rules, too.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A connection on its way.
pub(super) struct Call {
    /// The far end.
    pub(super) fd: OwnedFd,
    /// Who calls, as the callee will see it.
    pub(super) from: SocketAddr,
    /// Who is called.
    pub(super) to: SocketAddr,
    /// Nodes passed.
    pub(super) hops: u8,
}

/// Where a call arrived.
pub(super) enum Reached {
    /// In an accept queue, and the far end with it.
    Queued,
    /// At a real socket on the host or outside, which takes the place of the pair whose far end stays unused.
    Direct { socket: OwnedFd, unused: OwnedFd },
}

/// Why a call arrived nowhere; the far end, if it is still whole.
pub(super) struct Failed {
    pub(super) error: io::Error,
    pub(super) fd: Option<OwnedFd>,
    /// Who was called has left: whoever sent the call there does not know yet.
    pub(super) left: bool,
}

impl Failed {
    pub(super) fn new(error: io::Error, fd: OwnedFd) -> Self {
        Self { error, fd: Some(fd), left: false }
    }
}

pub(super) type Outcome = Result<Reached, Failed>;
/// The same with the endpoint of a Service that took the call.
type Served = Result<(Reached, SocketAddr), Failed>;

fn failed<T>(error: io::Error, fd: OwnedFd) -> Result<T, Failed> {
    Err(Failed::new(error, fd))
}

/// Who calls: decides the address that an endpoint sees.
#[derive(Clone)]
pub(super) enum Source {
    /// A sandbox of this node.
    Sandbox(Arc<PodNet>, u16),
    /// An address that is settled.
    Fixed(SocketAddr),
}

impl Source {
    fn towards(&self, ip: IpAddr) -> SocketAddr {
        match self {
            Self::Sandbox(pod, port) => SocketAddr::new(pod.source_towards(ip), *port),
            Self::Fixed(address) => *address,
        }
    }
}

/// Ends a connection that got nowhere.
fn reset(failed: Failed) {
    if let Some(fd) = failed.fd {
        sys::reset(&fd);
    }
}

/// Where an address leads from this node.
pub(super) enum Hop {
    Here,
    Peer(Arc<NodeInner>),
    Link(Arc<Link>),
    /// A socket of the host that stands for an address in the cluster.
    Backend(SocketAddr),
    /// Another port of an address that has backends.
    Closed,
    Outside,
    Nowhere,
}

impl NodeInner {
    /// Connects a sandbox of this node to `to`.
    pub(super) async fn connect(
        self: &Arc<Self>,
        pod: &Arc<PodNet>,
        to: SocketAddr,
    ) -> io::Result<PodStream> {
        let mut to = sys::canonical(to);
        if to.ip().is_unspecified() {
            // As on Linux: "any address" as a destination is this machine.
            to.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        let port = pod.next_source_port()?;
        let (near, far) = sys::pair()?;
        let source = Source::Sandbox(Arc::clone(pod), port);
        let local = SocketAddr::new(self.local_towards(pod, to.ip()), port);
        let mut endpoint = None;
        let outcome = if self.is_private(pod, to.ip()) {
            pod.take(Call { fd: far, from: local, to, hops: 0 }).await
        } else {
            match self.lookup(Protocol::Tcp, local.ip(), to) {
                Lookup::Service(target, traffic) => {
                    let served = self.serve(&target, traffic, &source, local.ip(), far, 0).await;
                    served.map(|(reached, chosen)| {
                        endpoint = Some(chosen);
                        reached
                    })
                }
                Lookup::ClosedPort => failed(network::refused(), far),
                Lookup::Forbidden => Err(self.dropped(far).await),
                Lookup::NotVirtual => {
                    let from = source.towards(to.ip());
                    self.dial(Call { fd: far, from, to, hops: 0 }).await
                }
            }
        };
        let fd = match outcome {
            Ok(Reached::Queued) => near,
            Ok(Reached::Direct { socket, .. }) => socket,
            Err(failed) => return Err(failed.error),
        };
        Ok(PodStream::new(fd, local, to, pod.streams())?.served_by(endpoint))
    }

    /// Takes a connection that a port of the host accepted.
    pub(super) async fn enter(
        self: Arc<Self>,
        fd: OwnedFd,
        client: SocketAddr,
        target: &Arc<Target>,
    ) {
        let from = SocketAddr::new(self.seen_from_host(target), client.port());
        let source = Source::Fixed(from);
        let served = self.serve(target, Traffic::External, &source, client.ip(), fd, 0).await;
        let outcome = served.map(|(reached, _)| reached);
        if let Err(failed) = self.join(outcome, from).await {
            tracing::debug!(service = %target.name, error = %failed.error, "host connection reached no endpoint");
            reset(failed);
        }
    }

    /// Takes a connection that leads to one address, whatever the rules say.
    pub(super) async fn enter_directly(self: Arc<Self>, call: Call) {
        let (from, to) = (call.from, call.to);
        let outcome = self.dial(call).await;
        if let Err(failed) = self.join(outcome, from).await {
            tracing::debug!(%to, error = %failed.error, "a connection to a forwarded port reached nobody");
            reset(failed);
        }
    }

    /// The address under which a pod sees the host.
    pub(super) fn seen_from_host(&self, target: &Target) -> IpAddr {
        self.stance().seen_from_host(target.external_policy)
    }

    /// Finds an endpoint of a Service that takes the call; waits a little for newer rules when those that the rules name
    /// have left.
    async fn serve(
        self: &Arc<Self>,
        target: &Arc<Target>,
        traffic: Traffic,
        source: &Source,
        client: IpAddr,
        mut fd: OwnedFd,
        hops: u8,
    ) -> Served {
        let mut target = Arc::clone(target);
        let mut generations = self.generations();
        let clock = self.fabric().clock();
        let give_up = clock.monotonic() + STALE_RULES;
        loop {
            generations.mark_unchanged();
            fd = match self.try_endpoints(&target, traffic, source, client, fd, hops).await {
                Err(Failed { fd: Some(whole), left: true, .. }) if clock.monotonic() < give_up => {
                    whole
                }
                outcome => return outcome,
            };
            let _ = clock.timeout(LOOK_AGAIN, generations.changed()).await;
            match self.target(&target.name) {
                Some(current) => target = current,
                None => return failed(network::refused(), fd),
            }
        }
    }

    /// Tries the endpoints of a Service, each once.
    async fn try_endpoints(
        self: &Arc<Self>,
        target: &Target,
        traffic: Traffic,
        source: &Source,
        client: IpAddr,
        mut fd: OwnedFd,
        hops: u8,
    ) -> Served {
        let endpoints = match target.candidates(traffic) {
            Candidates::Nobody => return failed(network::refused(), fd),
            Candidates::NoneLocal => return Err(self.dropped(fd).await),
            Candidates::Endpoints(endpoints) => endpoints,
        };
        let first = self.choose(target, endpoints, client);
        let (mut last, mut any_left) = (network::refused(), false);
        for endpoint in endpoints.iter().cycle().skip(first).take(endpoints.len()) {
            let from = source.towards(endpoint.ip());
            match self.dial(Call { fd, from, to: *endpoint, hops }).await {
                Ok(reached) => {
                    self.remember(target, client, *endpoint);
                    return Ok((reached, *endpoint));
                }
                Err(Failed { error, fd: Some(whole), left }) if may_try_next(&error) => {
                    (last, fd) = (error, whole);
                    any_left |= left;
                }
                Err(failed) => return Err(failed),
            }
        }
        Err(Failed { error: last, fd: Some(fd), left: any_left })
    }

    /// What the caller of a dropped connection sees: nothing, until it gives up.
    async fn dropped(&self, fd: OwnedFd) -> Failed {
        let fabric = self.fabric();
        fabric.clock().sleep(fabric.config().connect_timeout).await;
        Failed::new(network::timed_out(), fd)
    }

    /// Draws the first endpoint to try: the client's by affinity, else any.
    pub(super) fn choose(
        &self,
        target: &Target,
        endpoints: &[SocketAddr],
        client: IpAddr,
    ) -> usize {
        let clock = self.fabric().clock();
        let given = target
            .affinity
            .and_then(|timeout| {
                self.affinity().get(&target.name, client, timeout, clock.monotonic())
            })
            .and_then(|given| endpoints.iter().position(|endpoint| *endpoint == given));
        given.unwrap_or_else(|| {
            let count = u64::try_from(endpoints.len().max(1)).unwrap_or(u64::MAX);
            usize::try_from(clock.random_u64() % count).expect("below a length")
        })
    }

    pub(super) fn remember(&self, target: &Target, client: IpAddr, endpoint: SocketAddr) {
        if target.affinity.is_some() {
            let now = self.fabric().clock().monotonic();
            self.affinity().set(&target.name, client, endpoint, now);
        }
    }

    /// Carries a call to an address that is no Service's.
    async fn dial(self: &Arc<Self>, call: Call) -> Outcome {
        let (from, to) = (call.from.ip(), call.to);
        let leaves = |node: &Self| call.hops > 0 || node.may_leave(from, Protocol::Tcp, to);
        if !self.wait_until(leaves).await {
            return failed(network::timed_out(), call.fd);
        }
        match self.route(call.to) {
            Hop::Here => self.receive(call).await,
            _ if call.hops >= MAX_HOPS => link::no_route(call.fd),
            Hop::Peer(peer) => peer.receive(Call { hops: call.hops + 1, ..call }).await,
            Hop::Link(link) => {
                // The peer gives up before; this is for a process that stands still.
                let fabric = self.fabric();
                let patience = fabric.config().connect_timeout * 2;
                let connected = fabric.clock().timeout(patience, link.connect(call)).await;
                connected.unwrap_or_else(|_elapsed| {
                    Err(Failed { error: network::timed_out(), fd: None, left: false })
                })
            }
            Hop::Backend(real) => self.connect_out(call, real).await,
            Hop::Outside => {
                let to = call.to;
                self.connect_out(call, to).await
            }
            Hop::Closed => failed(network::refused(), call.fd),
            Hop::Nowhere => link::no_route(call.fd),
        }
    }

    async fn connect_out(&self, call: Call, real: SocketAddr) -> Outcome {
        let fabric = self.fabric();
        let connecting = TcpStream::connect(real);
        let connected = fabric.clock().timeout(fabric.config().connect_timeout, connecting).await;
        let socket =
            connected.unwrap_or_else(|_elapsed| Err(network::timed_out())).and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.into_std()
            });
        match socket {
            Ok(socket) => Ok(Reached::Direct { socket: socket.into(), unused: call.fd }),
            Err(error) => failed(error, call.fd),
        }
    }

    /// Takes a call that has come to this node, if that needs no waiting.
    pub(super) fn receive_at_once(&self, call: Call) -> Result<Outcome, Call> {
        match self.pod_at(call.to.ip()) {
            Some(pod) if self.may_enter(call.from.ip(), Protocol::Tcp, call.to) => {
                pod.take_at_once(call)
            }
            _ => Err(call),
        }
    }

    /// Takes a call that has come to this node: to a pod, to the node itself, or to one of its node ports.
    fn receive(self: &Arc<Self>, call: Call) -> BoxFuture<'_, Outcome> {
        async move {
            if let Some(pod) = self.pod_at(call.to.ip()) {
                let (from, to) = (call.from.ip(), call.to);
                let enters = |node: &Self| node.may_enter(from, Protocol::Tcp, to);
                if !self.wait_until(enters).await {
                    return failed(network::timed_out(), call.fd);
                }
                return pod.take(call).await;
            }
            let own = self.own();
            if !own.owns(call.to.ip()) {
                return link::no_route(call.fd);
            }
            if own.is_listening(call.to, Protocol::Tcp) {
                return own.take(call).await;
            }
            let Some(target) = self.node_port(Protocol::Tcp, call.to.port()) else {
                return failed(network::refused(), call.fd);
            };
            let (client, traffic) = (call.from.ip(), Traffic::ExternalFromInside);
            let seen = self.stance().seen_through_node_port(target.external_policy, client);
            let source = Source::Fixed(SocketAddr::new(seen, call.from.port()));
            let served = self.serve(&target, traffic, &source, client, call.fd, call.hops).await;
            served.map(|(reached, _)| reached)
        }
        .boxed()
    }

    /// As [`Self::receive`], for a caller who cannot put a direct socket in the place of the far end.
    pub(super) async fn receive_and_join(self: &Arc<Self>, call: Call) -> Outcome {
        let from = call.from;
        let outcome = self.receive(call).await;
        self.join(outcome, from).await
    }

    /// Joins a far end that stayed unused to the direct socket that was reached. Only traffic that enters by a node
    /// port and leaves for the outside comes here, and only here are bytes copied.
    async fn join(self: &Arc<Self>, outcome: Outcome, from: SocketAddr) -> Outcome {
        let (socket, unused) = match outcome {
            Ok(Reached::Direct { socket, unused }) => (socket, unused),
            other => return other,
        };
        let streams = self.own().streams();
        let ends = PodStream::new(socket, from, from, streams)
            .and_then(|outer| Ok((outer, PodStream::new(unused, from, from, streams)?)));
        match ends {
            Ok((mut outer, mut inner)) => {
                self.spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                });
                Ok(Reached::Queued)
            }
            Err(error) => Err(Failed { error, fd: None, left: false }),
        }
    }

    /// Says where an address leads.
    pub(super) fn route(&self, to: SocketAddr) -> Hop {
        let fabric = self.fabric();
        match self.stance().way(to, |ip| self.node_of(ip)) {
            Way::Here => Hop::Here,
            Way::Node(name) => fabric.way_to(&name),
            Way::Backend => fabric
                .config()
                .host_backends
                .get(&to)
                .map_or(Hop::Closed, |real| Hop::Backend(*real)),
            Way::ClosedBackend => Hop::Closed,
            Way::Outside => Hop::Outside,
            Way::Nowhere => Hop::Nowhere,
        }
    }
}

/// Whether the next endpoint should be tried: nobody has taken the connection.
fn may_try_next(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable)
}
