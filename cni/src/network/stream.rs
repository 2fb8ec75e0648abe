//! A connection of a pod.
//!
//! A [`PodStream`] is a connected stream descriptor, whatever its kind (a socket pair between pods, a TCP
//! connection from the host), and the addresses that the two ends are known by in the cluster. Reads and writes go
//! straight to the descriptor; nothing is copied in between.
//!
//! Every stream is entered in its sandbox's [`StreamRegistry`], so that the death of a pod ends them all at once,
//! even those whose owner never looks at them again.

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::OwnedFd,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;
use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, Shutdown, send, sendmsg, shutdown},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, unix::AsyncFd};

use crate::descriptor;

/// Most parts of one write; the kernel's limit.
const MAX_PARTS: usize = 1024;

/// Which way bytes flow, seen from the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer to the program.
    Read,
    /// From the program to the peer.
    Write,
}

/// Slows a stream down: a bandwidth limit, an emulated bad line.
pub trait Shaper: Send + Sync {
    /// Says how many of `wanted` bytes (at least 1) may pass now, or wakes the task when some may.
    ///
    /// What was granted may go unused in part: a read may find fewer bytes.
    fn poll_admit(
        &self,
        context: &mut Context<'_>,
        direction: Direction,
        wanted: usize,
    ) -> Poll<usize>;
}

/// A connection of a pod: `AsyncRead` and `AsyncWrite`; `shutdown` closes the writing half only.
pub struct PodStream {
    socket: Arc<Socket>,
    local: SocketAddr,
    peer: SocketAddr,
    endpoint: Option<SocketAddr>,
    pub(super) shaper: Option<Arc<dyn Shaper>>,
    entry: Option<Entry>,
}

struct Socket {
    fd: AsyncFd<OwnedFd>,
    killed: AtomicBool,
}

impl PodStream {
    /// Makes a stream of a connected, non-blocking descriptor and enters it among its sandbox's streams.
    ///
    /// # Errors
    /// `NetworkDown` when the sandbox is deleted; what the system says when it cannot watch another descriptor.
    pub fn new(
        fd: OwnedFd,
        local: SocketAddr,
        peer: SocketAddr,
        streams: &Arc<StreamRegistry>,
    ) -> io::Result<Self> {
        let socket =
            Arc::new(Socket { fd: descriptor::watch(fd)?, killed: AtomicBool::new(false) });
        let (entry, shaper) = streams.enter(&socket)?;
        Ok(Self { socket, local, peer, endpoint: None, shaper, entry: Some(entry) })
    }

    /// Notes who stands behind the Service address that was called.
    #[must_use]
    pub(crate) fn served_by(mut self, endpoint: Option<SocketAddr>) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// Returns the endpoint that a Service address was translated to; None where none was called, or where another node
    /// translated it. (On Linux connection tracking knows.)
    #[must_use]
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoint
    }

    /// Returns the address of this end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Returns the address of the other end, as the cluster names it.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Returns a handle that ends the connection from elsewhere.
    #[must_use]
    pub fn kill_handle(&self) -> KillHandle {
        KillHandle { socket: Arc::downgrade(&self.socket) }
    }

    /// Puts a shaper between the program and the stream, in place of the sandbox's.
    pub fn set_shaper(&mut self, shaper: Arc<dyn Shaper>) {
        self.shaper = Some(shaper);
    }

    fn poll_admit(
        &self,
        context: &mut Context<'_>,
        direction: Direction,
        wanted: usize,
    ) -> Poll<usize> {
        match &self.shaper {
            Some(shaper) if wanted > 0 => shaper.poll_admit(context, direction, wanted),
            _ => Poll::Ready(wanted),
        }
    }

    fn poll_send(
        &self,
        context: &mut Context<'_>,
        wanted: usize,
        send: impl Fn(&OwnedFd) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.socket.fd.poll_write_ready(context))?;
            if self.socket.is_killed() {
                return Poll::Ready(Err(Errno::CONNRESET.into()));
            }
            if let Ok(result) = guard.try_io(|fd| Ok(send(fd.get_ref())?)) {
                // A short write filled the socket: the next readiness event will tell of room.
                if result.as_ref().is_ok_and(|count| *count < wanted) {
                    guard.clear_ready();
                }
                return Poll::Ready(result);
            }
        }
    }
}

impl Socket {
    fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        let fd = self.fd.get_ref();
        // Dissolving the association resets a TCP connection at once; a socket pair only knows shutdown.
        let is_tcp = rustix::net::sockopt::socket_domain(fd)
            .is_ok_and(|domain| domain != rustix::net::AddressFamily::UNIX);
        if !is_tcp || rustix::net::connect_unspec(fd).is_err() {
            let _ = shutdown(fd, Shutdown::Both);
        }
    }
}

impl AsyncRead for PodStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wanted = buffer.remaining();
        if wanted == 0 {
            return Poll::Ready(Ok(()));
        }
        let admitted = ready!(self.poll_admit(context, Direction::Read, wanted)).clamp(1, wanted);
        loop {
            let mut guard = ready!(self.socket.fd.poll_read_ready(context))?;
            if self.socket.is_killed() {
                return Poll::Ready(Err(Errno::CONNRESET.into()));
            }
            match guard.try_io(|fd| descriptor::receive(fd.get_ref(), buffer, admitted)) {
                Ok(Ok(count)) => {
                    // A short read drained the socket: the next readiness event will tell of more.
                    if count > 0 && count < admitted {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for PodStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let admitted = ready!(self.poll_admit(context, Direction::Write, buffer.len()));
        let buffer = &buffer[..admitted.min(buffer.len())];
        self.poll_send(context, buffer.len(), |fd| send(fd, buffer, descriptor::SEND_FLAGS))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.shaper.is_some() {
            let first = buffers.iter().find(|buffer| !buffer.is_empty());
            return self.poll_write(context, first.map_or(&[][..], |buffer| buffer));
        }
        let buffers = &buffers[..buffers.len().min(MAX_PARTS)];
        self.poll_send(context, 0, |fd| {
            sendmsg(fd, buffers, &mut SendAncillaryBuffer::default(), descriptor::SEND_FLAGS)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match shutdown(self.socket.fd.get_ref(), Shutdown::Write) {
            // The peer is gone already: there is nobody left to tell.
            Ok(()) | Err(Errno::NOTCONN) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

impl Drop for PodStream {
    fn drop(&mut self) {
        if let Some(Entry { registry, id }) = self.entry.take() {
            registry.leave(id);
        }
    }
}

impl std::fmt::Debug for PodStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodStream")
            .field("local", &self.local)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Ends one connection from elsewhere; does not keep it open.
#[derive(Clone)]
pub struct KillHandle {
    socket: Weak<Socket>,
}

impl KillHandle {
    /// Resets the connection: both ends see it end, whoever holds them.
    pub fn kill(&self) {
        if let Some(socket) = self.socket.upgrade() {
            socket.kill();
        }
    }
}

/// The open streams of one sandbox.
#[derive(Default)]
pub struct StreamRegistry {
    next: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    closed: bool,
    sockets: HashMap<u64, Weak<Socket>>,
    shaper: Option<Arc<dyn Shaper>>,
}

struct Entry {
    registry: Arc<StreamRegistry>,
    id: u64,
}

impl StreamRegistry {
    fn enter(
        self: &Arc<Self>,
        socket: &Arc<Socket>,
    ) -> io::Result<(Entry, Option<Arc<dyn Shaper>>)> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock();
        if open.closed {
            return Err(super::network_down());
        }
        open.sockets.insert(id, Arc::downgrade(socket));
        Ok((Entry { registry: Arc::clone(self), id }, open.shaper.clone()))
    }

    fn leave(&self, id: u64) {
        self.open.lock().sockets.remove(&id);
    }

    /// Shapes the streams that open from now on.
    pub fn set_shaper(&self, shaper: Option<Arc<dyn Shaper>>) {
        self.open.lock().shaper = shaper;
    }

    /// Returns the number of open streams.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.lock().sockets.len()
    }

    /// Reports whether no stream is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Resets every open stream and lets no other in.
    pub fn close(&self) {
        let sockets = {
            let mut open = self.open.lock();
            open.closed = true;
            std::mem::take(&mut open.sockets)
        };
        for socket in sockets.values().filter_map(Weak::upgrade) {
            socket.kill();
        }
    }
}
