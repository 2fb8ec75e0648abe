//! Connections inside one process: a pipe in memory, with the identity that the connector states.

use std::{fmt, io, sync::Arc};

use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

use super::PeerIdentity;

/// Bytes under way in each direction. Enough for the HTTP/2 frames of a list's chunk.
const BUFFER: usize = 64 * 1024;
/// Connections waiting to be accepted.
const BACKLOG: usize = 128;

/// The server's end of a new connection.
pub(super) type Accepted = (DuplexStream, Arc<PeerIdentity>);

/// Connects to a listener of this process; cheap to clone.
#[derive(Clone)]
pub struct InProcessConnector {
    listener: mpsc::Sender<Accepted>,
    identity: Arc<PeerIdentity>,
}

impl InProcessConnector {
    pub(super) fn pair() -> (Self, mpsc::Receiver<Accepted>) {
        let (listener, accepted) = mpsc::channel(BACKLOG);
        (Self { listener, identity: Arc::new(PeerIdentity::Anonymous) }, accepted)
    }

    /// The same listener, reached as `user`.
    #[must_use]
    pub fn with_identity(&self, user: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        let identity = PeerIdentity::InProcess { user: user.to_owned(), groups };
        Self { listener: self.listener.clone(), identity: Arc::new(identity) }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// `ConnectionRefused` when the listener is gone.
    pub async fn connect(&self) -> io::Result<DuplexStream> {
        let (ours, theirs) = duplex(BUFFER);
        self.listener
            .send((theirs, Arc::clone(&self.identity)))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
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
