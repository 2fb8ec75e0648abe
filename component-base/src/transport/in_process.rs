//! Connections inside one process: a pipe in memory, with the identity that the connector states.
//!
//! A connector is an address: listeners come and go behind it, one at a time, as they do behind a Unix socket's path.

use std::{fmt, io, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

use super::{Listener, PeerIdentity, listener::Socket};

/// Bytes under way in each direction. Enough for the HTTP/2 frames of a list's chunk.
const BUFFER: usize = 64 * 1024;
/// Connections waiting to be accepted.
const BACKLOG: usize = 128;

/// The server's end of a new connection.
pub(super) type Accepted = (DuplexStream, Arc<PeerIdentity>);

/// Connects to the listener of the moment; cheap to clone.
#[derive(Clone)]
pub struct InProcessConnector {
    listener: Arc<Mutex<Option<mpsc::Sender<Accepted>>>>,
    identity: Arc<PeerIdentity>,
}

impl InProcessConnector {
    /// A connector that is refused until somebody listens.
    #[must_use]
    pub fn unbound() -> Self {
        Self { listener: Arc::default(), identity: Arc::new(PeerIdentity::Anonymous) }
    }

    /// Listens where this connector and its clones connect to, in place of any listener before.
    #[must_use]
    pub fn listen(&self) -> Listener {
        let (listener, accepted) = mpsc::channel(BACKLOG);
        *self.listener.lock() = Some(listener);
        Listener::new(Socket::InProcess(accepted))
    }

    /// The same address, reached as `user`.
    #[must_use]
    pub fn with_identity(&self, user: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        let identity = PeerIdentity::InProcess { user: user.to_owned(), groups };
        Self { listener: self.listener.clone(), identity: Arc::new(identity) }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens.
    pub async fn connect(&self) -> io::Result<DuplexStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listener = self.listener.lock().clone().ok_or_else(refused)?;
        let (ours, theirs) = duplex(BUFFER);
        listener.send((theirs, Arc::clone(&self.identity))).await.map_err(|_| refused())?;
        Ok(ours)
    }
}

impl fmt::Debug for InProcessConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessConnector")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
