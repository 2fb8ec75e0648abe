//! Bound sockets, before anything is served on them.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

use super::{InProcessConnector, Limits, PeerIdentity, in_process};

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: u32 = 1024;

/// A bound socket. Dropping it closes it, and removes a Unix socket's file.
pub struct Listener {
    pub(super) socket: Socket,
    pub(super) limits: Limits,
}

pub(super) enum Socket {
    Tls { tcp: TcpListener, acceptor: TlsAcceptor },
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
    InProcess(mpsc::Receiver<in_process::Accepted>),
}

/// A connection as it comes from the socket, before any handshake.
pub(super) enum Raw {
    Tls(TcpStream, TlsAcceptor),
    Tcp(TcpStream),
    Unix(UnixStream, PeerIdentity),
    InProcess(tokio::io::DuplexStream, Arc<PeerIdentity>),
}

impl Listener {
    /// Binds a TLS listener. Port 0 takes any free one: ask [`Listener::local_addr`].
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind_tls(address: SocketAddr, config: Arc<rustls::ServerConfig>) -> io::Result<Self> {
        Ok(Self::new(Socket::Tls { tcp: bind_tcp(address)?, acceptor: config.into() }))
    }

    /// Binds a listener without TLS, whose peers are all anonymous: for health and metrics on loopback.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind_plain(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::new(Socket::Tcp(bind_tcp(address)?)))
    }

    /// Binds a Unix socket of mode 0600 that talks to processes of our own user only. A socket file that nobody
    /// listens on any more is replaced.
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there; else whatever the system says.
    pub fn bind_unix(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let file = SocketFile(path.to_owned());
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self::new(Socket::Unix { listener, _file: file }))
    }

    /// Makes a listener that only its connector, and that connector's clones, can reach.
    #[must_use]
    pub fn in_process() -> (Self, InProcessConnector) {
        let connector = InProcessConnector::unbound();
        (connector.listen(), connector)
    }

    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, limits: Limits::default() }
    }

    /// Grants other limits than the default ones.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The bound address, for TCP.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tls { tcp, .. } | Socket::Tcp(tcp) => tcp.local_addr().ok(),
            Socket::Unix { .. } | Socket::InProcess(_) => None,
        }
    }

    /// The next connection; `None` when no one can ever connect again.
    pub(super) async fn accept(&mut self) -> Option<io::Result<Raw>> {
        let accepted = match &mut self.socket {
            Socket::Tls { tcp, acceptor } => {
                tcp.accept().await.map(|(stream, _)| Raw::Tls(stream, acceptor.clone()))
            }
            Socket::Tcp(tcp) => tcp.accept().await.map(|(stream, _)| Raw::Tcp(stream)),
            Socket::Unix { listener, .. } => match listener.accept().await {
                Ok((stream, _)) => own_user(&stream).map(|identity| Raw::Unix(stream, identity)),
                Err(error) => Err(error),
            },
            Socket::InProcess(accepted) => {
                let (stream, identity) = accepted.recv().await?;
                Ok(Raw::InProcess(stream, identity))
            }
        };
        Some(accepted)
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted server takes its port back although old connections linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The peer, if it runs as the same user as we do.
fn own_user(stream: &UnixStream) -> io::Result<PeerIdentity> {
    let peer = stream.peer_cred()?;
    if peer.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("peer runs as another user (uid {})", peer.uid()),
        ));
    }
    Ok(PeerIdentity::Unix { uid: peer.uid(), pid: peer.pid() })
}

/// Whether the socket file is left over from a process that is gone.
fn is_stale(path: &Path) -> bool {
    let refused = std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    refused
        && fs::symlink_metadata(path)
            .is_ok_and(|metadata| std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type()))
}

/// Removes the socket's file when the listener goes.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already, or the directory is: nothing is left to do either way.
        let _ = fs::remove_file(&self.0);
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.socket {
            Socket::Tls { .. } => "tls",
            Socket::Tcp(_) => "tcp",
            Socket::Unix { .. } => "unix",
            Socket::InProcess(_) => "in-process",
        };
        f.debug_struct("Listener")
            .field("kind", &kind)
            .field("address", &self.local_addr())
            .finish_non_exhaustive()
    }
}
