//! What the kubelet's probes and Prometheus ask: `/health` on 8080, `/ready` on 8181, `/metrics` on 9153, as kubeadm's
//! Corefile has them.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use cni::network::{PodListener, PodStream, Sandbox};
use component_base::{
    clock::Clock,
    metrics::{CONTENT_TYPE, Registry},
};
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use crate::server::Published;

/// Connections of one port at one time.
const CONNECTIONS: usize = 64;
/// For one request and its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failure that is not the end.
const PAUSE: Duration = Duration::from_millis(10);

/// What stands on a port.
#[derive(Clone)]
enum Page {
    Health,
    Ready(Published),
    Metrics(Registry),
}

/// The open ports.
pub(crate) struct Pages {
    clock: Clock,
    ports: Vec<(PodListener, Page)>,
}

impl Pages {
    pub(crate) async fn bind(
        sandbox: &Sandbox,
        clock: Clock,
        records: Published,
        registry: Registry,
    ) -> io::Result<Self> {
        let pages =
            [(8080, Page::Health), (8181, Page::Ready(records)), (9153, Page::Metrics(registry))];
        let mut ports = Vec::new();
        for (port, page) in pages {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            ports.push((sandbox.listen_tcp(address).await?, page));
        }
        Ok(Self { clock, ports })
    }

    /// Serves until the pod's network is gone.
    pub(crate) async fn run(self) {
        let mut tasks = JoinSet::new();
        for (listener, page) in self.ports {
            tasks.spawn(serve(self.clock.clone(), listener, page));
        }
        while tasks.join_next().await.is_some() {}
    }
}

async fn serve(clock: Clock, listener: PodListener, page: Page) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while connections.try_join_next().is_some() {}
                if connections.len() < CONNECTIONS {
                    connections.spawn(answer(clock.clone(), stream, page.clone()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NetworkDown => return,
            Err(_) => clock.sleep(PAUSE).await,
        }
    }
}

async fn answer(clock: Clock, stream: PodStream, page: Page) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = page.answer(request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let connection =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // Whoever breaks off has nothing to be told.
    drop(clock.timeout(PATIENCE, connection).await);
}

impl Page {
    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        let (status, kind, body) = match (self, path) {
            (Self::Health, "/health") => (StatusCode::OK, "text/plain", "OK".to_owned()),
            (Self::Ready(records), "/ready") if records.load().is_synced() => {
                (StatusCode::OK, "text/plain", "OK".to_owned())
            }
            (Self::Ready(_), "/ready") => {
                (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "kubernetes".to_owned())
            }
            (Self::Metrics(registry), "/metrics") => {
                (StatusCode::OK, CONTENT_TYPE, registry.encode())
            }
            _ => (StatusCode::NOT_FOUND, "text/plain", "404 page not found\n".to_owned()),
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
        response
    }
}
