//! What a node opens on the host: node ports, and the addresses of load balancers.
//!
//! [`plan`] says from the rules alone what should be open; [`HostListeners::update`] makes it so and returns what
//! the host refused. Nothing outside 127/8 is ever opened.
//!
//! A port whose Service has no endpoint is *reserved*: bound, but not listening, so that a client is refused as the
//! rules say it must be, and nobody else takes the port meanwhile.
//!
//! `127.0.0.1` exists once per host, but clusters may be many. Whoever holds the lock file has it; it is tried for
//! again at each change of rules, and dies with the process.

use std::{
    collections::BTreeMap,
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
    sys,
};
use crate::{
    descriptor,
    network::MAX_DATAGRAM,
    rules::{Protocol, Reachable, RuleSet, ServicePortName, Traffic},
};

/// Which addresses of the host a node opens.
#[derive(Clone, Debug, Default)]
pub struct HostPorts {
    /// The node's ExternalIPs: node ports open there.
    pub addresses: Vec<IpAddr>,
    /// Set for the one node of a cluster that also opens node ports on 127.0.0.1.
    pub shared_loopback: Option<SharedLoopback>,
    /// Set for the one node of a cluster that opens the Services' load balancer and external addresses.
    pub load_balancers: bool,
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    NodePort(u16),
    Virtual(SocketAddr),
}

type Key = (Protocol, SocketAddr);

/// Says what should be open on the host.
fn plan(rules: &RuleSet, node: &str, host: &HostPorts) -> BTreeMap<Key, Wanted> {
    let loopback = host.shared_loopback.as_ref().map(|_| Ipv4Addr::LOCALHOST.into());
    let node_addresses: Vec<IpAddr> = host.addresses.iter().copied().chain(loopback).collect();
    let mut wanted = BTreeMap::new();
    for (name, rule) in &rules.services {
        let open = matches!(rule.reachable(Traffic::External, node), Reachable::Endpoints(_));
        let mut want = |ip: IpAddr, port, entry| {
            // A datagram socket needs no reservation: where none is bound, the kernel refuses.
            if ip.is_loopback() && (open || rule.protocol == Protocol::Tcp) {
                let key = (rule.protocol, SocketAddr::new(ip, port));
                wanted.insert(key, Wanted { service: name.clone(), entry, open });
            }
        };
        if let Some(port) = rule.node_port {
            for ip in &node_addresses {
                want(*ip, port, Entry::NodePort(port));
            }
        }
        if host.load_balancers {
            for ip in rule.load_balancer_ips.iter().chain(&rule.external_ips) {
                want(*ip, rule.port, Entry::Virtual(SocketAddr::new(*ip, rule.port)));
            }
        }
    }
    wanted
}

/// What a node has open on the host.
#[derive(Default)]
pub(super) struct HostListeners {
    open: BTreeMap<Key, Opened>,
    lock: Option<File>,
}

struct Opened {
    wanted: Wanted,
    state: State,
}

enum State {
    Reserved { _socket: OwnedFd },
    Serving { task: AbortOnDropHandle<()>, stop: CancellationToken },
}

impl HostListeners {
    /// Opens and closes until what is open is what the rules want; returns what the host refused.
    pub(super) async fn update(&mut self, node: &Arc<NodeInner>, rules: &RuleSet) -> Vec<Problem> {
        let host = node.host_ports();
        let mut wanted = plan(rules, node.name(), host);
        let mut problems = self.claim_loopback(host, &mut wanted);
        for key in self.open.keys().copied().collect::<Vec<_>>() {
            if self.open.get(&key).map(|opened| &opened.wanted) != wanted.get(&key) {
                self.close(node, key).await;
            }
        }
        for (key, wanted) in wanted {
            if self.open.contains_key(&key) {
                continue;
            }
            match open(node, key, &wanted) {
                Ok(state) => drop(self.open.insert(key, Opened { wanted, state })),
                Err(error) => problems.push(refusal(wanted.service, key, &error)),
            }
        }
        problems
    }

    /// Closes everything.
    pub(super) async fn close_all(&mut self, node: &Arc<NodeInner>) {
        for key in self.open.keys().copied().collect::<Vec<_>>() {
            self.close(node, key).await;
        }
        self.lock = None;
    }

    async fn close(&mut self, node: &Arc<NodeInner>, key: Key) {
        if let Some(Opened { state: State::Serving { task, stop }, .. }) = self.open.remove(&key) {
            stop.cancel();
            // Its socket is closed when the task has ended, and only then can the port be bound again.
            let _ = task.await;
        }
        if key.0 == Protocol::Udp {
            node.nat().remove_host_socket(key.1);
        }
    }

    /// Takes the lock for 127.0.0.1, or takes what stands on it off the plan and says so.
    fn claim_loopback(
        &mut self,
        host: &HostPorts,
        wanted: &mut BTreeMap<Key, Wanted>,
    ) -> Vec<Problem> {
        let Some(shared) = &host.shared_loopback else { return vec![] };
        let needed = wanted.keys().any(|(_, address)| address.ip() == Ipv4Addr::LOCALHOST);
        if !needed || self.lock.is_some() {
            return vec![];
        }
        let holder = match lock(shared) {
            Ok(Ok(file)) => {
                self.lock = Some(file);
                return vec![];
            }
            Ok(Err(holder)) => format!("cluster {holder:?} holds this host's node ports"),
            Err(error) => format!("cannot lock {}: {error}", shared.lock_file.display()),
        };
        let (taken, free): (BTreeMap<_, _>, _) = std::mem::take(wanted)
            .into_iter()
            .partition(|((_, address), _)| address.ip() == Ipv4Addr::LOCALHOST);
        *wanted = free;
        let elsewhere = host.addresses.first();
        let problem = |((_, address), wanted): (Key, Wanted)| {
            let instead = elsewhere.map_or_else(String::new, |ip| {
                format!("; the Service answers at {}", SocketAddr::new(*ip, address.port()))
            });
            Problem {
                service: wanted.service,
                reason: "NodePortNotOnLocalhost".into(),
                message: format!("{address} is not open: {holder}{instead}"),
            }
        };
        taken.into_iter().map(problem).collect()
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

fn refusal(service: ServicePortName, (protocol, address): Key, error: &io::Error) -> Problem {
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
    Problem {
        service,
        reason: reason.into(),
        message: format!("cannot open {address}/{protocol}: {why}"),
    }
}

fn open(node: &Arc<NodeInner>, (protocol, address): Key, wanted: &Wanted) -> io::Result<State> {
    let stop = node.cancellation().child_token();
    let stopped = stop.clone().cancelled_owned();
    let (entry, serving) = (wanted.entry, Arc::clone(node));
    let task = match (protocol, wanted.open) {
        (Protocol::Tcp, false) => {
            return Ok(State::Reserved { _socket: sys::reserve_tcp(address)? });
        }
        (Protocol::Tcp, true) => {
            let socket = sys::reserve_tcp(address)?;
            sys::start_listening(&socket)?;
            let socket = descriptor::watch(socket)?;
            node.fabric().tasks().spawn(async move {
                tokio::select! { () = accept_loop(serving, &socket, entry) => {}, () = stopped => {} }
            })
        }
        (Protocol::Udp, _) => {
            let socket = std::net::UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            let socket = Arc::new(UdpSocket::from_std(socket)?);
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

fn target(node: &NodeInner, entry: Entry, protocol: Protocol) -> Option<Arc<Target>> {
    let index = node.index();
    match entry {
        Entry::NodePort(port) => index.node_port(protocol, port).cloned(),
        Entry::Virtual(address) => index.virtual_address(protocol, address).cloned(),
    }
}

async fn accept_loop(
    node: Arc<NodeInner>,
    socket: &tokio::io::unix::AsyncFd<OwnedFd>,
    entry: Entry,
) {
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        match ready.try_io(|socket| sys::accept(socket.get_ref())) {
            Ok(Ok((connection, client))) => {
                if let Some(target) = target(&node, entry, Protocol::Tcp) {
                    let entered = Arc::clone(&node);
                    node.spawn(async move { entered.enter(connection, client, &target).await });
                }
            }
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
        if let Some(target) = target(&node, entry, Protocol::Udp) {
            let key = NatKey::Host { client, entry: address };
            let payload = bytes::Bytes::copy_from_slice(&buffer[..count]);
            let _ = node.nat().forward(&node, key, &target, Traffic::External, 0, payload);
        }
    }
}
