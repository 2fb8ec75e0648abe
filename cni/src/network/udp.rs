//! Datagram sockets of a pod.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use rustix::io::Errno;
use tokio::sync::{Mutex, mpsc};

use super::{network_down, refused};

/// Largest payload of a UDP datagram over IPv4.
pub const MAX_DATAGRAM: usize = 65_507;

/// What arrives at a datagram socket.
#[derive(Clone, Debug)]
pub enum Datagram {
    /// A payload and its sender.
    Data {
        /// Address that an answer reaches.
        from: SocketAddr,
        /// The bytes.
        payload: Bytes,
    },
    /// Nobody listens where an earlier datagram was sent; ICMP's "port unreachable".
    Refused {
        /// Where it was sent.
        to: SocketAddr,
    },
}

/// How a data plane carries the datagrams of one socket; dropping it frees the port.
pub trait UdpTransport: Send + Sync {
    /// Sends one datagram; it may be lost without an error, as UDP's may.
    ///
    /// # Errors
    /// `HostUnreachable`, `NetworkDown`.
    fn send(&self, payload: &[u8], to: SocketAddr) -> io::Result<()>;
}

/// A datagram socket of a pod. Queues are bounded: a slow reader loses datagrams.
pub struct PodUdpSocket {
    local: SocketAddr,
    peer: OnceLock<SocketAddr>,
    queue: Mutex<mpsc::Receiver<Datagram>>,
    transport: Arc<dyn UdpTransport>,
}

impl PodUdpSocket {
    /// Joins a queue of arrivals to the way out. Data planes call this.
    #[must_use]
    pub fn new(
        local: SocketAddr,
        queue: mpsc::Receiver<Datagram>,
        transport: Arc<dyn UdpTransport>,
    ) -> Self {
        Self { local, peer: OnceLock::new(), queue: Mutex::new(queue), transport }
    }

    /// Returns the bound address, with the port that was taken.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Fixes the peer: [`Self::send`] goes there, and datagrams of others are no longer received.
    ///
    /// # Errors
    /// `EISCONN` when a peer is fixed already.
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.peer.set(peer).map_err(|_| Errno::ISCONN.into())
    }

    /// Sends one datagram to the connected peer.
    ///
    /// # Errors
    /// `ENOTCONN` without a peer; as [`Self::send_to`].
    pub async fn send(&self, payload: &[u8]) -> io::Result<usize> {
        let peer = self.peer.get().ok_or(Errno::NOTCONN)?;
        self.send_to(payload, *peer).await
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// `EMSGSIZE` above [`MAX_DATAGRAM`], `HostUnreachable`, `NetworkDown`.
    #[expect(clippy::unused_async, reason = "a data plane may have to wait for its socket")]
    pub async fn send_to(&self, payload: &[u8], to: SocketAddr) -> io::Result<usize> {
        if payload.len() > MAX_DATAGRAM {
            return Err(Errno::MSGSIZE.into());
        }
        self.transport.send(payload, to)?;
        Ok(payload.len())
    }

    /// Receives the next datagram from anybody (or the connected peer), cutting it to the buffer. Safe to cancel.
    ///
    /// # Errors
    /// `NetworkDown` once the sandbox is deleted; on a connected socket `ConnectionRefused` when the peer's port
    /// turned out closed.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut queue = self.queue.lock().await;
        loop {
            match queue.recv().await.ok_or_else(network_down)? {
                Datagram::Data { from, payload }
                    if self.peer.get().is_none_or(|peer| *peer == from) =>
                {
                    let count = payload.len().min(buffer.len());
                    buffer[..count].copy_from_slice(&payload[..count]);
                    return Ok((count, from));
                }
                Datagram::Refused { to } if self.peer.get() == Some(&to) => return Err(refused()),
                Datagram::Data { .. } | Datagram::Refused { .. } => {}
            }
        }
    }

    /// Receives from the connected peer; as [`Self::recv_from`].
    ///
    /// # Errors
    /// As [`Self::recv_from`].
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv_from(buffer).await?.0)
    }
}

impl std::fmt::Debug for PodUdpSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodUdpSocket").field("local", &self.local).finish_non_exhaustive()
    }
}
