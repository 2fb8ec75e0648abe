//! Connections between processes, and inside one, each with the identity of its peer.
//!
//! A server binds a [`Listener`] eagerly, so that its address is known, and later [`serve()`]s an axum router (with the
//! tonic routes in it) on it. A client makes a tonic channel from an [`Endpoint`] with [`channel()`]. Three ways lead from
//! one to the other:
//!
//! | way | peer's identity | for |
//! |---|---|---|
//! | TLS over TCP (HTTP/2 and HTTP/1.1) | its client certificate, when it gave one | the API; kubelets |
//! | Unix socket | its uid; another user's process is turned away | a node's own processes |
//! | in-process | stated when the connector is made | tests, virtual time |
//!
//! Identity is a value of the connection ([`ConnectionInfo`] in each request's extensions), not a property of TLS, so
//! what stands above authenticates all three alike. Bearer tokens are the request's, not the connection's: see
//! [`Endpoint::bearer_token`].
//!
//! # The enemy at the socket
//! Whoever can reach a listener may send nothing, slowly, or too much. Each [`Listener`] has [`Limits`]: a TLS handshake
//! and the first request have a deadline, an HTTP/1 request's headers too, silent HTTP/2 peers are pinged, and the
//! number of connections is bounded: a newcomer to a full table takes the place of those who have been idle longest, the
//! ones without a certificate first, and is closed at once only when everybody is at work. A connection without requests
//! ends after a while, and one whose peer does not read its answers is cut: nobody holds our memory by not reading.
//! Headers and addresses have a size (431, 414), HTTP/2 bounds requests per connection and resets of them.
//! These guards are about sockets, so they run on real time also where the cluster's time is virtual.
//!
//! **Invariant:** this module knows no Kubernetes object, no user beyond a name and its groups, and no authorization.

mod answers;
mod channel;
mod failure;
mod in_process;
mod listener;
mod serve;
mod table;
#[cfg(test)]
mod tests;

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

pub use self::{
    channel::{channel, connect_http1, unverified_tls},
    failure::Failure,
    in_process::InProcessConnector,
    listener::Listener,
    serve::serve,
};
use crate::tls::{self, KeyPair, TlsError};

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerIdentity {
    /// Nobody in particular; a request may still carry a token.
    Anonymous,
    /// The holder of a client certificate that the listener's authority signed.
    Certificate {
        /// The certificate's common name.
        user: String,
        /// The certificate's organizations.
        groups: Vec<String>,
    },
    /// A process of this machine.
    Unix {
        /// Its user id; always the listener's own.
        uid: u32,
        /// Its process id, where the system tells.
        pid: Option<i32>,
    },
    /// A component of this process.
    InProcess {
        /// The user it acts as.
        user: String,
        /// That user's groups.
        groups: Vec<String>,
    },
}

/// What is known of the connection that a request came by; in the request's extensions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Who is at the other end.
    pub identity: Arc<PeerIdentity>,
    /// The peer's address, for TCP.
    pub peer_addr: Option<SocketAddr>,
    /// Our address, for TCP.
    pub local_addr: Option<SocketAddr>,
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// TLS over TCP.
    Tls(TlsEndpoint),
    /// A Unix socket.
    Unix {
        /// The socket's path.
        path: PathBuf,
    },
    /// A listener of this process.
    InProcess(InProcessConnector),
}

impl Endpoint {
    /// The token that requests to this endpoint carry. Whoever makes requests adds it as `authorization: Bearer …`.
    #[must_use]
    pub fn bearer_token(&self) -> Option<&str> {
        match self {
            Self::Tls(endpoint) => endpoint.bearer_token.as_deref(),
            Self::Unix { .. } | Self::InProcess(_) => None,
        }
    }
}

/// The address in words, for messages; without credentials.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(endpoint) => f.write_str(&endpoint.address),
            Self::Unix { path } => write!(f, "{}", path.display()),
            Self::InProcess(_) => f.write_str("in-process"),
        }
    }
}

/// A TLS server and what proves who we are to it.
#[derive(Clone)]
pub struct TlsEndpoint {
    address: String,
    server_name: rustls_pki_types::ServerName<'static>,
    config: Arc<rustls::ClientConfig>,
    bearer_token: Option<String>,
}

impl TlsEndpoint {
    /// Describes the server at `address` (`host:port`) that must show a certificate for its host, signed by `ca_pem`.
    ///
    /// # Errors
    /// When `address` has no usable host or a PEM is not what it should be.
    pub fn new(
        address: &str,
        ca_pem: &str,
        client: Option<&KeyPair>,
    ) -> Result<Self, EndpointError> {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let invalid = || EndpointError::Address(address.to_owned());
        port.parse::<u16>().map_err(|_| invalid())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            address: address.to_owned(),
            server_name: host.to_owned().try_into().map_err(|_| invalid())?,
            config: tls::client_config(ca_pem, client)?,
            bearer_token: None,
        })
    }

    /// The certificate must be for `name` instead of the address's host.
    ///
    /// # Errors
    /// When `name` is neither a DNS name nor an address.
    pub fn with_server_name(mut self, name: &str) -> Result<Self, EndpointError> {
        self.server_name =
            name.to_owned().try_into().map_err(|_| EndpointError::Address(name.to_owned()))?;
        Ok(self)
    }

    /// Requests carry this token.
    #[must_use]
    pub fn with_bearer_token(mut self, token: String) -> Self {
        self.bearer_token = Some(token);
        self
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Debug for TlsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsEndpoint")
            .field("address", &self.address)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address is not `host:port`.
    #[error("invalid server address {0:?}")]
    Address(String),
    /// A certificate or key is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What a listener grants its peers; see the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the first request of a connection and for the headers of an HTTP/1 request, the wait for it included.
    pub headers: Duration,
    /// For the peer to take the next piece of an answer.
    pub reading: Duration,
    /// For a connection without requests.
    pub idle: Duration,
    /// Connections at one time.
    pub connections: usize,
    /// Requests at one time on one HTTP/2 connection.
    pub streams_per_connection: u32,
    /// At the end: for requests under way, before they are cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(30),
            reading: Duration::from_secs(60),
            idle: Duration::from_secs(90),
            connections: 4096,
            streams_per_connection: 4096,
            drain: Duration::from_secs(2),
        }
    }
}
