//! The ports: plain HTTP and TLS, each with HTTP/1.1 and HTTP/2, and one for probes.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use cni::network::{PodListener, PodStream, Sandbox};
use component_base::clock::Clock;
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

use crate::{certificates::BySni, decision, headers::Client, proxy::Proxy};

/// Connections of one port at one time.
const CONNECTIONS: usize = 16_384;
/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the head of a request; also how long an idle connection stays.
const HEADERS: Duration = Duration::from_secs(75);
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

    /// Serves until the pod's network is gone.
    pub(crate) async fn run(self, proxy: Arc<Proxy>, certificates: BySni) -> io::Result<()> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::join!(
            accept(&proxy, self.plain, None),
            accept(&proxy, self.tls, Some(acceptor)),
            probes(&proxy, &self.health),
        );
        Ok(())
    }
}

async fn accept(proxy: &Arc<Proxy>, listener: PodListener, tls: Option<TlsAcceptor>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                while connections.try_join_next().is_some() {}
                // Beyond the limit who comes is turned away at once.
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
                let (proxy, tls) = (Arc::clone(proxy), tls.clone());
                connections.spawn(async move {
                    serve(proxy, stream, peer, tls).await;
                    drop(slot);
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NetworkDown => return,
            Err(_) => proxy.clock.sleep(PAUSE).await,
        }
    }
}

async fn serve(proxy: Arc<Proxy>, stream: PodStream, peer: SocketAddr, tls: Option<TlsAcceptor>) {
    let client = Client { ip: peer.ip(), tls: tls.is_some() };
    match tls {
        None => http(proxy, stream, client).await,
        Some(acceptor) => {
            let shaken = proxy.clock.timeout(HANDSHAKE, acceptor.accept(stream)).await;
            if let Ok(Ok(stream)) = shaken {
                http(proxy, stream, client).await;
            }
        }
    }
}

async fn http<S>(proxy: Arc<Proxy>, stream: S, client: Client)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    let service = service_fn(move |request: Request<Incoming>| {
        let (proxy, client) = (Arc::clone(&proxy), client.clone());
        async move { Ok::<_, Infallible>(proxy.answer(request, &client).await) }
    });
    // Whoever breaks off has nothing to be told.
    drop(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await);
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
