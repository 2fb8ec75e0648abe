//! Listening for connections to a pod.

use std::{any::Any, io, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use tokio::sync::mpsc;

use super::{Gate, PodStream, StreamRegistry, network_down};

/// A connection that reached a pod's port and waits to be accepted: a connected stream descriptor and the
/// addresses that both ends are known by.
#[derive(Debug)]
pub struct Incoming {
    /// Non-blocking, connected.
    pub fd: OwnedFd,
    /// Who connected.
    pub peer: SocketAddr,
    /// The address of the pod that was reached.
    pub local: SocketAddr,
}

/// A listening port of a pod. Dropping it frees the port and resets what still waits; [`Self::close`] loses nobody.
pub struct PodListener {
    local: SocketAddr,
    queue: tokio::sync::Mutex<mpsc::Receiver<Box<Incoming>>>,
    streams: Arc<StreamRegistry>,
    registration: Option<Box<dyn Any + Send + Sync>>,
    pub(super) gate: Option<Arc<dyn Gate>>,
}

impl PodListener {
    /// Joins an accept queue to its port (of boxes: a channel has room for 32 entries from the start, and most listeners wait); `registration` frees the port when it is dropped. Data planes call this.
    #[must_use]
    pub fn new(
        local: SocketAddr,
        queue: mpsc::Receiver<Box<Incoming>>,
        streams: Arc<StreamRegistry>,
        registration: Box<dyn Any + Send + Sync>,
    ) -> Self {
        Self {
            local,
            queue: tokio::sync::Mutex::new(queue),
            streams,
            registration: Some(registration),
            gate: None,
        }
    }

    /// Takes the next connection and the address of its peer. Safe to cancel.
    ///
    /// # Errors
    /// `NetworkDown` once the sandbox is deleted or the listener closed; what the system says when it cannot take another descriptor.
    pub async fn accept(&self) -> io::Result<(PodStream, SocketAddr)> {
        loop {
            let next = self.queue.lock().await.recv().await;
            let Incoming { fd, peer, local } = *next.ok_or_else(network_down)?;
            let mut stream = PodStream::new(fd, local, peer, &self.streams)?;
            if self.gate.as_ref().is_none_or(|gate| gate.admit(&mut stream)) {
                return Ok((stream, peer));
            }
            stream.kill_handle().kill();
        }
    }

    /// Frees the port: callers are refused from now on, while [`Self::accept`] still gives what has come, and then
    /// `NetworkDown`. A server that ends calls it first, so that no caller who was accepted goes without an answer.
    pub fn close(&mut self) {
        self.queue.get_mut().close();
        self.registration = None;
    }

    /// Returns the address that it listens on, with the port that was taken.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl std::fmt::Debug for PodListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodListener").field("local", &self.local).finish_non_exhaustive()
    }
}
