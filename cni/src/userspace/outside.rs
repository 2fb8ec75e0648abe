//! Datagrams to the outside: one connected socket of the host per destination, so that only that destination can
//! answer and nothing on the host listens for others.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Fabric,
    datagrams::{Arrivals, DatagramSink},
};
use crate::network::MAX_DATAGRAM;

/// Most destinations of one socket; the oldest gives way.
const MAX_DESTINATIONS: usize = 32;

/// The host sockets behind one pod socket.
#[derive(Default)]
pub(super) struct OutsideFlows {
    flows: Mutex<VecDeque<Flow>>,
}

struct Flow {
    to: SocketAddr,
    socket: Arc<UdpSocket>,
    _reader: DropGuard,
}

impl OutsideFlows {
    pub(super) fn send(
        &self,
        fabric: &Fabric,
        arrivals: &Arc<Arrivals>,
        payload: &[u8],
        to: SocketAddr,
    ) -> io::Result<()> {
        let mut flows = self.flows.lock();
        let known = flows.iter().find(|flow| flow.to == to).map(|flow| Arc::clone(&flow.socket));
        let socket = match known {
            Some(socket) => socket,
            None => {
                let flow = open(fabric, Arc::clone(arrivals), to)?;
                let socket = Arc::clone(&flow.socket);
                flows.push_back(flow);
                if flows.len() > MAX_DESTINATIONS {
                    flows.pop_front();
                }
                socket
            }
        };
        match socket.try_send(payload) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

fn open(fabric: &Fabric, arrivals: Arc<Arrivals>, to: SocketAddr) -> io::Result<Flow> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    let cancelled = CancellationToken::new();
    let (reading, stopped, all) =
        (Arc::clone(&socket), cancelled.clone(), fabric.cancellation().clone());
    fabric.tasks().spawn(async move {
        let read = async {
            let mut buffer = vec![0; MAX_DATAGRAM];
            loop {
                match reading.recv(&mut buffer).await {
                    Ok(count) => arrivals.deliver(to, Bytes::copy_from_slice(&buffer[..count])),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        arrivals.unreachable(to);
                    }
                    Err(_) => return,
                }
            }
        };
        tokio::select! {
            () = read => {}
            () = stopped.cancelled() => {}
            () = all.cancelled() => {}
        }
    });
    Ok(Flow { to, socket, _reader: cancelled.drop_guard() })
}
