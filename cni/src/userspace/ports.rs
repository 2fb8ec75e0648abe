//! The ports of one sandbox: who listens where.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rustix::io::Errno;
use tokio::sync::mpsc;

use super::datagrams::DatagramSink;
use crate::{network::Incoming, rules::Protocol};

/// The kernel's default range for ports that it chooses (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// Where what arrives at a port goes.
#[derive(Clone)]
pub(super) enum Sink {
    Tcp(mpsc::Sender<Box<Incoming>>),
    Udp(Arc<dyn DatagramSink>),
}

impl Sink {
    fn protocol(&self) -> Protocol {
        match self {
            Self::Tcp(_) => Protocol::Tcp,
            Self::Udp(_) => Protocol::Udp,
        }
    }
}

struct Bound {
    ip: IpAddr,
    id: u64,
    sink: Sink,
}

/// Bound ports, by protocol and number; a closed table accepts nothing more.
#[derive(Default)]
pub(super) struct PortTable {
    bound: HashMap<(Protocol, u16), Vec<Bound>>,
    /// TCP ports of servers that have stopped listening: a Service that still leads there is about to change.
    left: HashSet<u16>,
    next_id: u64,
    next_ephemeral: u16,
    closed: bool,
}

impl PortTable {
    /// Binds `address`, whose address is known to be the sandbox's (or unspecified), and returns it with the port
    /// taken and an id to free it by. `make` gets the final address.
    pub(super) fn bind(
        &mut self,
        address: SocketAddr,
        protocol: Protocol,
        make: impl FnOnce(SocketAddr) -> Sink,
    ) -> io::Result<(SocketAddr, u64)> {
        if self.closed {
            return Err(Errno::NETDOWN.into());
        }
        let port = match address.port() {
            0 => self.free_port(address.ip(), protocol).ok_or(Errno::ADDRINUSE)?,
            port if self.is_taken(address.ip(), port, protocol) => {
                return Err(Errno::ADDRINUSE.into());
            }
            port => port,
        };
        let address = SocketAddr::new(address.ip(), port);
        let sink = make(address);
        debug_assert_eq!(sink.protocol(), protocol);
        self.next_id += 1;
        let bound = Bound { ip: address.ip(), id: self.next_id, sink };
        self.bound.entry((protocol, port)).or_default().push(bound);
        Ok((address, self.next_id))
    }

    /// Frees what was bound under `id`.
    pub(super) fn unbind(&mut self, protocol: Protocol, port: u16, id: u64) {
        if let Some(bound) = self.bound.get_mut(&(protocol, port)) {
            bound.retain(|bound| bound.id != id);
            if bound.is_empty() {
                self.bound.remove(&(protocol, port));
                if protocol == Protocol::Tcp && !EPHEMERAL.contains(&port) {
                    self.left.insert(port);
                }
            }
        }
    }

    /// Whether a server listened at a TCP port and does no more, or nothing will ever listen here again.
    pub(super) fn was_left(&self, port: u16) -> bool {
        self.closed
            || (self.left.contains(&port) && !self.bound.contains_key(&(Protocol::Tcp, port)))
    }

    /// Finds who listens on `to`: on that very address, or on all.
    pub(super) fn find(&self, to: SocketAddr, protocol: Protocol) -> Option<&Sink> {
        let bound = self.bound.get(&(protocol, to.port()))?;
        let exact = bound.iter().find(|bound| bound.ip == to.ip());
        let found = exact.or_else(|| bound.iter().find(|bound| bound.ip.is_unspecified()));
        found.map(|bound| &bound.sink)
    }

    /// Lists what is bound, sorted.
    pub(super) fn list(&self) -> Vec<(Protocol, SocketAddr)> {
        let all = self.bound.iter().flat_map(|((protocol, port), bound)| {
            bound.iter().map(|bound| (*protocol, SocketAddr::new(bound.ip, *port)))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all
    }

    /// Returns a port number for the near end of a connection. Two connections may share one: nothing here tells
    /// connections apart by it.
    pub(super) fn next_source_port(&mut self) -> u16 {
        let next = self.next_ephemeral.max(*EPHEMERAL.start());
        self.next_ephemeral = if next == *EPHEMERAL.end() { *EPHEMERAL.start() } else { next + 1 };
        next
    }

    /// Frees everything and refuses from now on.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for bound in std::mem::take(&mut self.bound).into_values().flatten() {
            if let Sink::Udp(sink) = bound.sink {
                sink.close();
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn is_taken(&self, ip: IpAddr, port: u16, protocol: Protocol) -> bool {
        self.bound.get(&(protocol, port)).is_some_and(|bound| {
            bound
                .iter()
                .any(|bound| bound.ip == ip || bound.ip.is_unspecified() || ip.is_unspecified())
        })
    }

    fn free_port(&mut self, ip: IpAddr, protocol: Protocol) -> Option<u16> {
        for _ in EPHEMERAL {
            let port = self.next_source_port();
            if !self.is_taken(ip, port, protocol) {
                return Some(port);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_as_the_kernel_does() {
        let mut ports = PortTable::default();
        let tcp = || Sink::Tcp(mpsc::channel(1).0);
        let mut bind = |address: &str| {
            let bound = ports.bind(address.parse().unwrap(), Protocol::Tcp, |_| tcp());
            bound.map_err(|error| error.kind())
        };
        let in_use = Err(io::ErrorKind::AddrInUse);
        let (_, first) = bind("10.244.1.2:80").unwrap();
        assert_eq!(bind("10.244.1.2:80"), in_use);
        assert_eq!(bind("0.0.0.0:80"), in_use);
        assert!(bind("127.0.0.1:80").is_ok());
        assert!(bind("0.0.0.0:81").is_ok());
        assert_eq!(bind("127.0.0.1:81"), in_use);
        let (a, b) = (bind("0.0.0.0:0").unwrap().0, bind("0.0.0.0:0").unwrap().0);
        assert!(EPHEMERAL.contains(&a.port()) && EPHEMERAL.contains(&b.port()) && a != b);

        let found =
            |ports: &PortTable, to: &str| ports.find(to.parse().unwrap(), Protocol::Tcp).is_some();
        assert!(found(&ports, "10.244.1.2:80") && found(&ports, "127.0.0.1:80"));
        assert!(found(&ports, "127.0.0.9:81") && !found(&ports, "127.0.0.9:80"));
        ports.unbind(Protocol::Tcp, 80, first);
        assert!(!found(&ports, "10.244.1.2:80") && found(&ports, "127.0.0.1:80"));
        ports.close();
        assert!(ports.list().is_empty());
        let after = ports.bind("0.0.0.0:1".parse().unwrap(), Protocol::Tcp, |_| tcp());
        assert_eq!(after.unwrap_err().kind(), io::ErrorKind::NetworkDown);
    }
}
