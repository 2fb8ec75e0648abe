//! What a node opens on the host: node ports, and the addresses of load balancers.
//!
//! [`wants`] says from the rules alone what a Service port should have open; [`HostListeners::plan`] gathers that, change
//! by change, and [`HostListeners::update`] makes it so and returns what the host refused. Nothing outside 127/8 is ever
//! opened.
//!
//! A port whose Service has no endpoint is *reserved*: bound, but not listening, so that a client is refused as the
//! rules say it must be, and nobody else takes the port meanwhile.
//!
//! `127.0.0.1` exists once per host, but clusters may be many. Whoever holds the lock file has it; it is tried for
//! again at each change of rules, and dies with the process.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::Arc,
};

use rustix::fs::{FlockOperation, flock};
use tokio::net::UdpSocket;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    index::Target,
    nat::NatKey,
    node::{NodeInner, Problem},
    sys::{self, Sharing},
};
use crate::{
    descriptor,
    network::MAX_DATAGRAM,
    report::{HostListener, HostRefusal},
    rules::{
        Place, Protocol, Reachable, RuleSet, ServicePortName, ServiceRule, Traffic, TrafficPolicy,
    },
};

/// Which addresses of the host a node opens.
#[derive(Clone, Debug, Default)]
pub struct HostPorts {
    /// The node's ExternalIPs: node ports open there.
    pub addresses: Vec<IpAddr>,
    /// Set for the one node of a cluster that also opens node ports on 127.0.0.1.
    pub shared_loopback: Option<SharedLoopback>,
    /// Whether it opens the Services' load balancer and external addresses.
    pub load_balancers: LoadBalancers,
}

/// Which load balancer and external addresses a node opens. Several nodes may open one: the kernel spreads new
/// connections over those that listen, and one that dies takes no address with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadBalancers {
    /// None.
    #[default]
    None,
    /// Those of Services with `externalTrafficPolicy: Local` that have an endpoint here: nobody else may serve it.
    Local,
    /// All, at the edge of the cluster.
    All,
}

impl LoadBalancers {
    /// Nodes at the edge of a cluster: enough to outlive two.
    const EDGE: u32 = 3;

    /// What the node of this number opens; they count from 1.
    #[must_use]
    pub fn of_node(number: u32) -> Self {
        if number <= Self::EDGE { Self::All } else { Self::Local }
    }
}

/// The claim to 127.0.0.1, which only one cluster of a host can have.
#[derive(Clone, Debug)]
pub struct SharedLoopback {
    /// The lock file, the same for all clusters of a user.
    pub lock_file: PathBuf,
    /// Name of this cluster, for the others to read.
    pub owner: String,
}

/// An address to open, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    service: ServicePortName,
    entry: Entry,
    /// False: only reserved, as nobody can serve.
    open: bool,
    /// Where else the Service answers, should the host refuse.
    instead: Option<SocketAddr>,
}

impl Wanted {
    /// Whether what is open for `other` does as well. Whose it is does not matter: that is looked up at each arrival.
    fn is_served_by(&self, other: &Self) -> bool {
        (self.entry, self.open) == (other.entry, other.open)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    NodePort(u16),
    Virtual(SocketAddr),
}

impl Entry {
    fn is_node_port(self) -> bool {
        matches!(self, Self::NodePort(_))
    }
}

pub(super) type Key = (Protocol, SocketAddr);

/// Says what one Service port wants open on the host.
fn wants(
    name: &ServicePortName,
    rule: &ServiceRule,
    place: Place<'_>,
    host: &HostPorts,
) -> Vec<(Key, Wanted)> {
    let open = matches!(rule.reachable(Traffic::External, place), Reachable::Endpoints(_));
    let mut wanted = vec![];
    let mut want = |ip: IpAddr, port, entry| {
        // A datagram socket needs no reservation: where none is bound, the kernel refuses.
        if ip.is_loopback() && (open || rule.protocol == Protocol::Tcp) {
            let key = (rule.protocol, SocketAddr::new(ip, port));
            let instead = match entry {
                Entry::Virtual(_) => host.addresses.first().zip(rule.node_port),
                Entry::NodePort(_) => None,
            };
            let instead = instead.map(|(ip, port)| SocketAddr::new(*ip, port));
            wanted.push((key, Wanted { service: name.clone(), entry, open, instead }));
        }
    };
    if let Some(port) = rule.node_port {
        let loopback = host.shared_loopback.as_ref().map(|_| Ipv4Addr::LOCALHOST.into());
        for ip in host.addresses.iter().copied().chain(loopback) {
            want(ip, port, Entry::NodePort(port));
        }
    }
    let opens = match host.load_balancers {
        LoadBalancers::None => false,
        LoadBalancers::Local => open && rule.external_policy == TrafficPolicy::Local,
        LoadBalancers::All => true,
    };
    if opens {
        // 127.0.0.1 is shared with everybody on the host: one node opens it, and nobody beside it.
        let ours = |ip: &&IpAddr| **ip != Ipv4Addr::LOCALHOST || host.shared_loopback.is_some();
        for ip in rule.load_balancer_ips.iter().chain(&rule.external_ips).filter(ours) {
            want(*ip, rule.port, Entry::Virtual(SocketAddr::new(*ip, rule.port)));
        }
    }
    wanted
}

/// What a node has open on the host.
#[derive(Default)]
pub(super) struct HostListeners {
    /// Who wants what, by name: the first has it, and the next when that one goes.
    wanted: BTreeMap<Key, Vec<Wanted>>,
    keys_of: HashMap<ServicePortName, Vec<Key>>,
    /// Where what is open may not be what is wanted.
    stale: BTreeSet<Key>,
    open: BTreeMap<Key, Opened>,
    refused: BTreeMap<Key, Problem>,
    /// All that the last update had to tell.
    problems: Vec<Problem>,
    lock: Option<File>,
}

struct Opened {
    wanted: Wanted,
    state: State,
}

enum State {
    Reserved { socket: OwnedFd },
    Serving { task: AbortOnDropHandle<()>, stop: CancellationToken },
}

impl HostListeners {
    /// Takes a change of the rules in; [`Self::update`] makes it so.
    pub(super) fn plan(
        &mut self,
        rules: &RuleSet,
        changed: &[ServicePortName],
        place: Place<'_>,
        host: &HostPorts,
    ) {
        for name in changed {
            for key in self.keys_of.remove(name).unwrap_or_default() {
                self.stale.insert(key);
                if let Some(wanted) = self.wanted.get_mut(&key) {
                    wanted.retain(|wanted| wanted.service != *name);
                    if wanted.is_empty() {
                        self.wanted.remove(&key);
                    }
                }
            }
            let Some(rule) = rules.services.get(name) else { continue };
            for (key, new) in wants(name, rule, place, host) {
                let wanted = self.wanted.entry(key).or_default();
                let position = wanted.partition_point(|known| known.service < new.service);
                wanted.insert(position, new);
                self.keys_of.entry(name.clone()).or_default().push(key);
                self.stale.insert(key);
            }
        }
    }

    /// Opens and closes until what is open is what is wanted; returns all that the host refuses.
    pub(super) async fn update(&mut self, node: &Arc<NodeInner>) -> Vec<Problem> {
        let mut problems = self.claim_loopback(node.host_ports());
        let others = !problems.is_empty();
        let not_ours = |key: &Key, wanted: &Wanted| {
            others && key.1.ip() == Ipv4Addr::LOCALHOST && wanted.entry.is_node_port()
        };
        let mut stale = std::mem::take(&mut self.stale);
        stale.extend(std::mem::take(&mut self.refused).into_keys());
        for key in stale {
            let wanted = self.wanted.get(&key).and_then(|all| all.first()).cloned();
            let wanted = wanted.filter(|wanted| !not_ours(&key, wanted));
            if let (Some(opened), Some(wanted)) = (self.open.get_mut(&key), &wanted)
                && wanted.is_served_by(&opened.wanted)
            {
                opened.wanted = wanted.clone();
                continue;
            }
            let reserved = self.close(node, key, wanted.is_some()).await;
            let Some(wanted) = wanted else { continue };
            match open(node, key, &wanted, reserved) {
                Ok(state) => drop(self.open.insert(key, Opened { wanted, state })),
                Err(error) => {
                    let (reason, mut message) = refusal(key, &error);
                    if let Some(address) = wanted.instead {
                        message.push_str(&format!("; the Service answers at {address}"));
                    }
                    let problem =
                        Problem { service: wanted.service, reason: reason.into(), message };
                    self.refused.insert(key, problem);
                }
            }
        }
        problems.extend(self.refused.values().cloned());
        self.problems.clone_from(&problems);
        problems
    }

    /// Tells what is open, and what is refused.
    pub(super) fn report(&self) -> (Vec<HostListener>, Vec<HostRefusal>) {
        let open = self.open.iter().map(|((protocol, address), opened)| HostListener {
            protocol: *protocol,
            address: *address,
            service: opened.wanted.service.clone(),
            node_port: opened.wanted.entry.is_node_port(),
            open: opened.wanted.open,
        });
        let refused = self.problems.iter().map(|problem| HostRefusal {
            service: problem.service.clone(),
            reason: problem.reason.clone(),
            message: problem.message.clone(),
        });
        (open.collect(), refused.collect())
    }

    /// Closes everything.
    pub(super) async fn close_all(&mut self, node: &Arc<NodeInner>) {
        for key in self.open.keys().copied().collect::<Vec<_>>() {
            drop(self.close(node, key, false).await);
        }
        self.lock = None;
    }

    /// Closes what is open; a reserved socket is given back when it goes `on`.
    async fn close(&mut self, node: &Arc<NodeInner>, key: Key, on: bool) -> Option<OwnedFd> {
        let state = self.open.remove(&key)?.state;
        if let State::Reserved { socket } = state {
            return on.then_some(socket);
        }
        if let State::Serving { task, stop } = state {
            stop.cancel();
            // Its socket is closed when the task has ended, and only then can the port be bound again.
            let _ = task.await;
        }
        if key.0 == Protocol::Udp {
            node.nat().remove_host_socket(key.1);
        }
        None
    }

    /// Takes the lock for 127.0.0.1, or tells those who want something there that another has it.
    fn claim_loopback(&mut self, host: &HostPorts) -> Vec<Problem> {
        let Some(shared) = &host.shared_loopback else { return vec![] };
        if self.lock.is_some() {
            return vec![];
        }
        let on_loopback: Vec<(Key, ServicePortName)> = [Protocol::Tcp, Protocol::Udp]
            .into_iter()
            .flat_map(|protocol| {
                let port = |port| (protocol, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
                self.wanted.range(port(0)..=port(u16::MAX))
            })
            .filter_map(|(key, wanted)| {
                let first = wanted.first().filter(|wanted| wanted.entry.is_node_port())?;
                Some((*key, first.service.clone()))
            })
            .collect();
        if on_loopback.is_empty() {
            return vec![];
        }
        let holder = match lock(shared) {
            Ok(Ok(file)) => {
                self.lock = Some(file);
                self.stale.extend(on_loopback.into_iter().map(|(key, _)| key));
                return vec![];
            }
            Ok(Err(holder)) => format!("cluster {holder:?} holds this host's node ports"),
            Err(error) => format!("cannot lock {}: {error}", shared.lock_file.display()),
        };
        let elsewhere = host.addresses.first();
        let problem = |((_, address), service): (Key, ServicePortName)| {
            let instead = elsewhere.map_or_else(String::new, |ip| {
                format!("; the Service answers at {}", SocketAddr::new(*ip, address.port()))
            });
            Problem {
                service,
                reason: "NodePortNotOnLocalhost".into(),
                message: format!("{address} is not open: {holder}{instead}"),
            }
        };
        on_loopback.into_iter().map(problem).collect()
    }
}

/// Takes the lock, or tells who has it.
fn lock(shared: &SharedLoopback) -> io::Result<Result<File, String>> {
    use std::io::{Read as _, Seek as _, Write as _};
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&shared.lock_file)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(shared.owner.as_bytes())?;
            Ok(Ok(file))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            let _ = file.take(256).read_to_string(&mut holder);
            Ok(Err(holder))
        }
        Err(error) => Err(error.into()),
    }
}

/// Why the host refuses an address, in one word and in a sentence.
pub(super) fn refusal((protocol, address): Key, error: &io::Error) -> (&'static str, String) {
    let protocol = match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    };
    let (reason, why) = match error.kind() {
        io::ErrorKind::AddrInUse => ("HostPortInUse", "another program uses it".to_owned()),
        io::ErrorKind::PermissionDenied if address.port() < 1024 => (
            "HostPortForbidden",
            format!(
                "ports below 1024 need privileges here; run: sudo sysctl net.ipv4.ip_unprivileged_port_start={}",
                address.port()
            ),
        ),
        _ => ("HostPortUnavailable", error.to_string()),
    };
    (reason, format!("cannot open {address}/{protocol}: {why}"))
}

/// Opens an address, with the socket that reserved it if there is one: it is nobody else's for a moment.
fn open(
    node: &Arc<NodeInner>,
    (protocol, address): Key,
    wanted: &Wanted,
    reserved: Option<OwnedFd>,
) -> io::Result<State> {
    let stop = node.cancellation().child_token();
    let stopped = stop.clone().cancelled_owned();
    let (entry, serving) = (wanted.entry, Arc::clone(node));
    let sharing = if entry.is_node_port() || address.ip() == Ipv4Addr::LOCALHOST {
        Sharing::Alone
    } else {
        Sharing::WithOtherNodes
    };
    let reserve = || sys::reserve_tcp(address, sharing);
    let task = match (protocol, wanted.open) {
        (Protocol::Tcp, false) => {
            let socket = reserved.map_or_else(reserve, Ok)?;
            return Ok(State::Reserved { socket });
        }
        (Protocol::Tcp, true) => {
            let socket = reserved.map_or_else(reserve, Ok)?;
            sys::start_listening(&socket)?;
            let socket = descriptor::watch(socket)?;
            node.fabric().tasks().spawn(async move {
                tokio::select! { () = accept_loop(&serving, &socket, entry) => {}, () = stopped => {} }
                // Who is in the queue by now has connected: others that listen here will not get them.
                while let Ok(arrival) = sys::accept(socket.get_ref()) {
                    let_in(&serving, entry, arrival);
                }
            })
        }
        (Protocol::Udp, _) => {
            let socket = sys::bind_udp(address, sharing)?;
            let socket = Arc::new(UdpSocket::from_std(socket.into())?);
            node.nat().add_host_socket(address, Arc::clone(&socket));
            node.fabric().tasks().spawn(async move {
                tokio::select! {
                    () = receive_loop(serving, socket, address, entry) => {}
                    () = stopped => {}
                }
            })
        }
    };
    Ok(State::Serving { task: AbortOnDropHandle::new(task), stop })
}

fn target(
    node: &NodeInner,
    entry: Entry,
    protocol: Protocol,
    client: IpAddr,
) -> Option<Arc<Target>> {
    match entry {
        Entry::NodePort(port) => node.node_port(protocol, port),
        Entry::Virtual(address) => node.virtual_address(protocol, client, address),
    }
}

/// Carries a connection of the host on; one that nobody takes, or that its Service does not admit, is reset.
fn let_in(node: &Arc<NodeInner>, entry: Entry, (connection, client): (OwnedFd, SocketAddr)) {
    match target(node, entry, Protocol::Tcp, client.ip()) {
        Some(target) => {
            let entered = Arc::clone(node);
            node.spawn(async move { entered.enter(connection, client, &target).await });
        }
        None => sys::reset(&connection),
    }
}

async fn accept_loop(
    node: &Arc<NodeInner>,
    socket: &tokio::io::unix::AsyncFd<OwnedFd>,
    entry: Entry,
) {
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        match ready.try_io(|socket| sys::accept(socket.get_ref())) {
            Ok(Ok(arrival)) => let_in(node, entry, arrival),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Ok(Err(error)) => {
                tracing::warn!(node = node.name(), %error, "cannot accept a connection from the host");
                node.fabric().pause_after_error().await;
            }
            Err(_would_block) => {}
        }
    }
}

async fn receive_loop(
    node: Arc<NodeInner>,
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    entry: Entry,
) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let Ok((count, client)) = socket.recv_from(&mut buffer).await else {
            // An error belongs to an earlier answer that found no reader, as a rule.
            node.fabric().pause_after_error().await;
            continue;
        };
        if let Some(target) = target(&node, entry, Protocol::Udp, client.ip()) {
            let key = NatKey::Host { client, entry: address };
            let payload = bytes::Bytes::copy_from_slice(&buffer[..count]);
            let _ = node.nat().forward(&node, key, &target, Traffic::External, 0, payload);
        }
    }
}
