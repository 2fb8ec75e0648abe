//! The server's loop: accept, shake hands, hand requests to the router, and end in order.
//!
//! Each connection is one task with its own cancellation, and the HTTP/2 streams of a connection are tasks under that
//! cancellation: what belongs to a peer ends with the peer.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::{
    ConnectionInfo, Limits, Listener, PeerIdentity,
    answers::Answers,
    listener::Raw,
    table::{Entry, Table},
};
use crate::{clock::Clock, tls};

/// Pause after the system refused to accept, which it does when descriptors run out.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// A silent HTTP/2 peer is pinged this often, and has the second duration to answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// How much of a request's body a peer may send ahead.
const STREAM_WINDOW: u32 = 1 << 20;
/// How much all requests of a connection may send ahead.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// The largest HTTP/2 frame that we take.
const MAX_FRAME: u32 = 64 * 1024;
/// The largest HTTP/2 header list that we take.
const MAX_HEADERS: u32 = 64 * 1024;
/// The longest request line with headers that we take by HTTP/1; also its buffer.
const MAX_HTTP1_HEAD: usize = 128 * 1024;
/// Requests at one time on an HTTP/2 connection without a client certificate: Go's usual limit.
const STRANGERS_STREAMS: u32 = 250;

/// Serves `router` on `listener` until `shutdown`; then requests under way get [`Limits::drain`] to finish.
///
/// Every request carries a [`ConnectionInfo`] in its extensions. Long-lived responses (watches) should end by
/// themselves on `shutdown`, else they are cut after the drain.
pub async fn serve(mut listener: Listener, router: Router, shutdown: CancellationToken) {
    let limits = listener.limits;
    // Ends all connections without waiting, also when this future is dropped.
    let cut = CancellationToken::new();
    let _cut_on_drop = cut.clone().drop_guard();
    let connections = TaskTracker::new();
    let table = Table::new(limits.connections);
    let clock = Clock::real();
    let mut full = false;

    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let raw = match accepted {
            None => break,
            Some(Ok(raw)) => raw,
            Some(Err(error)) => {
                warn!(%error, "failed to accept a connection");
                if !is_one_connections_fault(&error) {
                    clock.sleep(ACCEPT_BACKOFF).await;
                }
                continue;
            }
        };
        let connection_cut = cut.child_token();
        let Some(place) = table.enter(connection_cut.clone()) else {
            // Once per episode: an enemy should not fill the log as well.
            if !std::mem::replace(&mut full, true) {
                warn!(limit = limits.connections, "too many connections, closing new ones");
            }
            continue;
        };
        full = false;
        let connection = Connection {
            router: router.clone(),
            limits,
            shutdown: shutdown.clone(),
            cut: connection_cut,
            tasks: connections.clone(),
            entry: place.entry.clone(),
        };
        connections.spawn(async move {
            let cut = connection.cut.clone();
            cut.run_until_cancelled(connection.run(raw)).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if clock.timeout(limits.drain, connections.wait()).await.is_err() {
        debug!(connections = connections.len(), "cutting connections that did not drain");
        cut.cancel();
        connections.wait().await;
    }
}

fn is_one_connections_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::PermissionDenied
    )
}

/// Everything that one connection's task needs.
struct Connection {
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
    entry: Arc<Entry>,
}

/// The HTTP versions that a connection may speak.
#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
    /// To be told by its first bytes.
    Unknown,
}

impl Connection {
    async fn run(self, raw: Raw) {
        match raw {
            Raw::Tls(stream, acceptor) => {
                let (peer_addr, local_addr) = prepare(&stream);
                let handshake = acceptor.accept(stream);
                let stream = match Clock::real().timeout(self.limits.handshake, handshake).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => return debug!(?peer_addr, %error, "TLS handshake failed"),
                    Err(error) => return debug!(?peer_addr, %error, "TLS handshake failed"),
                };
                let identity = Arc::new(certificate_identity(&stream));
                let protocol = match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => Protocol::Http2,
                    Some(b"http/1.1") => Protocol::Http1,
                    _ => Protocol::Unknown,
                };
                let info = ConnectionInfo { identity, peer_addr, local_addr };
                self.http(stream, protocol, info).await;
            }
            Raw::Tcp(stream) => {
                let (peer_addr, local_addr) = prepare(&stream);
                let identity = Arc::new(PeerIdentity::Anonymous);
                let info = ConnectionInfo { identity, peer_addr, local_addr };
                self.http(stream, Protocol::Unknown, info).await;
            }
            Raw::Unix(stream, identity) => {
                let identity = Arc::new(identity);
                let info = ConnectionInfo { identity, peer_addr: None, local_addr: None };
                self.http(stream, Protocol::Unknown, info).await;
            }
            Raw::InProcess(stream, identity) => {
                let info = ConnectionInfo { identity, peer_addr: None, local_addr: None };
                self.http(stream, Protocol::Unknown, info).await;
            }
        }
    }

    async fn http<S>(self, stream: S, protocol: Protocol, info: ConnectionInfo)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let streams = self.cut.child_token();
        let _streams_end_with_the_connection = streams.clone().drop_guard();
        // Our own processes and the holders of certificates go before strangers.
        let proven = !matches!(*info.identity, PeerIdentity::Anonymous);
        let builder = self.builder(protocol, streams, proven);
        let peer_addr = info.peer_addr;
        let asked = Arc::new(AtomicBool::new(false));
        let answers = Answers::new();
        let service = {
            let (router, asked) = (self.router, Arc::clone(&asked));
            let (entry, answers) = (self.entry.clone(), answers.clone());
            service_fn(move |mut request: Request<Incoming>| {
                asked.store(true, Ordering::Relaxed);
                let (active, answers) = (entry.begin(proven), answers.clone());
                request.extensions_mut().insert(info.clone());
                let response = router.clone().oneshot(request.map(Body::new));
                async move {
                    let Ok(response) = response.await;
                    Ok::<_, Infallible>(response.map(|body| answers.watch(body, active)))
                }
            })
        };
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let clock = Clock::real();
        let mut first_request_due = pin!(clock.sleep(self.limits.headers));
        let round = self.limits.reading.min(self.limits.idle) / 2;
        let mut look = Box::pin(clock.sleep(round));
        let mut ending = false;
        let mut first_request_checked = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        debug!(?peer_addr, %error, "connection ended");
                    }
                    return;
                }
                () = self.shutdown.cancelled(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = first_request_due.as_mut(), if !first_request_checked => {
                    first_request_checked = true;
                    if !asked.load(Ordering::Relaxed) {
                        return debug!(?peer_addr, "connection closed: no request in time");
                    }
                }
                () = look.as_mut() => {
                    look = Box::pin(clock.sleep(round));
                    if answers.stalled(self.limits.reading) {
                        return debug!(?peer_addr, "connection closed: an answer is not read");
                    }
                    if !ending && self.entry.idle().is_some_and(|idle| idle >= self.limits.idle) {
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }

    fn builder(
        &self,
        protocol: Protocol,
        cut: CancellationToken,
        proven: bool,
    ) -> auto::Builder<Executor> {
        let streams = if proven {
            self.limits.streams_per_connection
        } else {
            self.limits.streams_per_connection.min(STRANGERS_STREAMS)
        };
        let builder = auto::Builder::new(Executor { tasks: self.tasks.clone(), cut });
        let mut builder = match protocol {
            Protocol::Http1 => builder.http1_only(),
            Protocol::Http2 => builder.http2_only(),
            Protocol::Unknown => builder,
        };
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.headers)
            .max_buf_size(MAX_HTTP1_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME)
            .max_header_list_size(MAX_HEADERS)
            .max_concurrent_streams(streams);
        builder
    }
}

/// Small answers must not wait for the peer's acknowledgement of earlier ones.
fn prepare(stream: &TcpStream) -> (Option<SocketAddr>, Option<SocketAddr>) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "failed to set TCP_NODELAY");
    }
    (stream.peer_addr().ok(), stream.local_addr().ok())
}

/// Who the (verified) client certificate names. One without a name authenticates nobody.
fn certificate_identity(stream: &TlsStream<TcpStream>) -> PeerIdentity {
    let certificates = stream.get_ref().1.peer_certificates();
    match certificates.and_then(<[_]>::first).and_then(tls::identity_of) {
        Some((user, groups)) => PeerIdentity::Certificate { user, groups },
        None => PeerIdentity::Anonymous,
    }
}

/// Runs a connection's HTTP/2 streams as tracked tasks that end with it.
#[derive(Clone)]
struct Executor {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.tasks.spawn(self.cut.clone().run_until_cancelled_owned(future));
    }
}
