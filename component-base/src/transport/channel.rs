//! tonic channels over our endpoints.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tonic::transport::Channel;

use super::{Endpoint, TlsEndpoint};
use crate::clock::Clock;

/// For reaching the server and the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that is silent while requests are open is pinged this often, and has the second duration to answer, as
/// client-go does.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15));
/// What a server may send ahead on one call: a whole list of 10,000 pods needs few round trips.
const STREAM_WINDOW: u32 = 8 << 20;
/// What a server may send ahead on all calls of a connection together.
const CONNECTION_WINDOW: u32 = 32 << 20;
/// The largest frame that a server may send; large ones cost a list less.
const MAX_FRAME: u32 = 256 * 1024;
/// Errors travel in headers, and a long validation error is longer than the default allows.
const MAX_HEADERS: u32 = 256 * 1024;
/// Requests waiting inside the channel.
const QUEUE: usize = 1024;

/// A channel that connects at the first call, and again after the connection was lost. Cheap to clone; all calls share
/// one connection.
#[must_use]
pub fn channel(endpoint: &Endpoint) -> Channel {
    // Only the request's `:authority`; where it goes is the connector's matter.
    let settings = tonic::transport::Endpoint::from_static("http://kubernetes")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .http2_max_header_list_size(MAX_HEADERS)
        .buffer_size(QUEUE);
    let settings = match endpoint {
        // A ping on real time has no place in a virtual one, and a process does not lose itself.
        Endpoint::InProcess(_) => settings,
        Endpoint::Tls(_) | Endpoint::Unix { .. } => {
            settings.http2_keep_alive_interval(PING.0).keep_alive_timeout(PING.1)
        }
    };
    let endpoint = endpoint.clone();
    settings.connect_with_connector_lazy(tower::service_fn(move |_| {
        let endpoint = endpoint.clone();
        async move {
            let connected = Clock::real().timeout(CONNECT_TIMEOUT, connect(&endpoint)).await;
            connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(TokioIo::new)
        }
    }))
}

async fn connect(endpoint: &Endpoint) -> io::Result<Stream> {
    Ok(match endpoint {
        Endpoint::Tls(endpoint) => Stream(Box::new(connect_tls(endpoint).await?)),
        Endpoint::Unix { path } => Stream(Box::new(UnixStream::connect(path).await?)),
        Endpoint::InProcess(connector) => Stream(Box::new(connector.connect().await?)),
    })
}

/// Connects to speak HTTP/1.1, which can be upgraded to another protocol.
///
/// # Errors
/// The system's, or the TLS library's.
pub async fn connect_http1(
    endpoint: &Endpoint,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
    let connecting = async {
        match endpoint {
            Endpoint::Tls(endpoint) => {
                let mut config = rustls::ClientConfig::clone(&endpoint.config);
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                let endpoint = TlsEndpoint { config: config.into(), ..endpoint.clone() };
                Ok(Stream(Box::new(connect_tls(&endpoint).await?)))
            }
            other => connect(other).await,
        }
    };
    let connected = Clock::real().timeout(CONNECT_TIMEOUT, connecting).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn connect_tls(
    endpoint: &TlsEndpoint,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(&endpoint.address).await?;
    stream.set_nodelay(true)?;
    tokio_rustls::TlsConnector::from(endpoint.config.clone())
        .connect(endpoint.server_name.clone(), stream)
        .await
}

/// Speaks TLS over a connection, to whoever is at its other end: no certificate is asked for a name. `host` is `IP:port` or
/// `name:port`.
///
/// # Errors
/// What went wrong, in words.
pub async fn unverified_tls<S>(
    stream: S,
    host: &str,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    let bare = bare.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = bare.try_into().map_err(|_| format!("{host:?} is not the name of a server"))?;
    let config = crate::tls::unverified_client_config().map_err(|error| error.to_string())?;
    let connecting = tokio_rustls::TlsConnector::from(config).connect(name, stream);
    match Clock::real().timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("tls: {error}")),
        Err(_) => Err("net/http: TLS handshake timeout".to_owned()),
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection of any kind: one dynamic call per read or write costs nothing beside the system call.
struct Stream(Box<dyn Duplex>);

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
