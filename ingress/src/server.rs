//! The ports: plain HTTP and TLS, each with HTTP/1.1 and HTTP/2, and one for probes.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use cni::network::{PodListener, PodStream, Sandbox};
use component_base::clock::Clock;
use futures::FutureExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::{ServerConfig, crypto::ring};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    activity::{Connection, Limits},
    certificates::BySni,
    decision,
    headers::Client,
    proxy::Proxy,
};

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Most bytes of a request's head, and of a body that wait to go on.
const BUFFER: usize = 64 << 10;
/// Most bytes of the headers of a request by HTTP/2.
const HEADERS: u32 = 64 << 10;
/// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(30);
/// See [`PING`].
const PONG: Duration = Duration::from_secs(20);
/// Requests of one HTTP/2 connection at one time.
const STREAMS: u32 = 128;
/// After a failure that is not the end.
const PAUSE: Duration = Duration::from_millis(10);
/// The port of the probes, as ingress-nginx has it.
pub(crate) const HEALTH_PORT: u16 = 10254;

/// The open ports.
pub(crate) struct Ports {
    plain: PodListener,
    tls: PodListener,
    health: PodListener,
}

impl Ports {
    pub(crate) async fn bind(sandbox: &Sandbox) -> io::Result<Self> {
        let listen = |port| sandbox.listen_tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        Ok(Self {
            plain: listen(80).await?,
            tls: listen(443).await?,
            health: listen(HEALTH_PORT).await?,
        })
    }

    /// Serves until the pod's network is gone. From the end of `ending` on nobody new is let in, and who is there is
    /// answered and told to go.
    pub(crate) async fn run(
        self,
        proxy: Arc<Proxy>,
        certificates: BySni,
        limits: Limits,
        ending: CancellationToken,
    ) -> io::Result<()> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let port = |tls| Port { proxy: Arc::clone(&proxy), tls, limits, ending: ending.clone() };
        let (plain, tls) = (port(None), port(Some(acceptor)));
        let serving = async { tokio::join!(plain.serve(self.plain), tls.serve(self.tls)) };
        tokio::select! {
            _ = serving => {}
            () = probes(&proxy, &self.health) => {}
        }
        Ok(())
    }
}

/// One of the ports, and what all its connections share.
#[derive(Clone)]
struct Port {
    proxy: Arc<Proxy>,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    ending: CancellationToken,
}

impl Port {
    async fn serve(self, listener: PodListener) {
        let slots = Arc::new(Semaphore::new(self.limits.connections as usize));
        let mut connections = JoinSet::new();
        let mut let_in = |(stream, peer)| {
            while connections.try_join_next().is_some() {}
            // Beyond the limit who comes is turned away at once.
            if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
                let clock = self.proxy.clock.clone();
                let connection = Connection::new(clock, self.limits, slot);
                connections.spawn(self.clone().connection(stream, peer, connection));
            }
        };
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.ending.cancelled() => break,
            };
            match accepted {
                Ok(arrival) => let_in(arrival),
                Err(error) if error.kind() == io::ErrorKind::NetworkDown => return,
                Err(_) => self.proxy.clock.sleep(PAUSE).await,
            }
        }
        // Who is in the queue has connected.
        while let Some(Ok(arrival)) = listener.accept().now_or_never() {
            let_in(arrival);
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
        // Tunnels have left their connections, but keep their places.
        drop(slots.acquire_many(self.limits.connections).await);
    }

    async fn connection(self, stream: PodStream, peer: SocketAddr, connection: Arc<Connection>) {
        let client = Client { ip: peer.ip(), tls: self.tls.is_some() };
        match &self.tls {
            None => self.http(stream, client, connection).await,
            Some(acceptor) => {
                let shaken = self.proxy.clock.timeout(HANDSHAKE, acceptor.accept(stream)).await;
                if let Ok(Ok(stream)) = shaken {
                    self.http(stream, client, connection).await;
                }
            }
        }
    }

    async fn http<S>(&self, stream: S, client: Client, connection: Arc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = builder();
        let of_requests = Arc::clone(&connection);
        let service = service_fn(move |request: Request<Incoming>| {
            let (proxy, client) = (Arc::clone(&self.proxy), client.clone());
            let connection = Arc::clone(&of_requests);
            async move { Ok::<_, Infallible>(proxy.answer(request, &client, &connection).await) }
        });
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut serving = pin!(serving);
        let (over, ending) = (connection.is_over(), self.ending.cancelled());
        let (mut over, mut ending) = (pin!(over), pin!(ending));
        let mut ends = false;
        loop {
            tokio::select! {
                // Whoever breaks off has nothing to be told.
                _ = serving.as_mut() => return,
                () = &mut over => return,
                () = &mut ending, if !ends => {
                    ends = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// What a connection may have in memory is bounded: a head, and as much again of each body.
fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // When a head has to be there is our own rule, for both versions: see `activity`.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(BUFFER);
    let window = u32::try_from(BUFFER).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(window)
        .initial_connection_window_size(window.saturating_mul(4))
        .max_send_buf_size(BUFFER)
        .max_header_list_size(HEADERS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder
}

async fn probes(proxy: &Arc<Proxy>, listener: &PodListener) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while connections.try_join_next().is_some() {}
                connections.spawn(probe(proxy.clock.clone(), Arc::clone(proxy), stream));
            }
            Err(error) if error.kind() == io::ErrorKind::NetworkDown => return,
            Err(_) => proxy.clock.sleep(PAUSE).await,
        }
    }
}

async fn probe(clock: Clock, proxy: Arc<Proxy>, stream: PodStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let plain = |status, text: &'static str| (status, Bytes::from_static(text.as_bytes()));
        let (status, text) = match request.uri().path() {
            "/healthz" => plain(StatusCode::OK, "ok"),
            "/readyz" if proxy.snapshot.load().synced => plain(StatusCode::OK, "ok"),
            "/readyz" => plain(StatusCode::SERVICE_UNAVAILABLE, "the API's lists are not in yet"),
            "/explain" => {
                let query = request.uri().query().unwrap_or_default();
                let told = decision::explain(&proxy.snapshot.load(), query);
                (StatusCode::OK, Bytes::from(told.to_string()))
            }
            _ => plain(StatusCode::NOT_FOUND, "404 page not found\n"),
        };
        let mut response = Response::new(Full::<Bytes>::from(text));
        *response.status_mut() = status;
        async move { Ok::<_, Infallible>(response) }
    });
    let connection =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    drop(clock.timeout(HANDSHAKE, connection).await);
}

#[cfg(test)]
mod tests;
