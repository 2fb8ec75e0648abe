//! A server with both faces, in this process.

use std::sync::Arc;

use axum::{Router, body::Body, response::Response};
use component_base::{
    clock::Clock,
    shutdown::Shutdown,
    transport::{ConnectionInfo, Listener, PeerIdentity},
};
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::{
    Config, Server,
    audit::AuditConfig,
    kubelet::{KubeletDialer, NodeAnnotationDialer},
};

/// A server, and an administrator at it.
pub(crate) struct Running {
    pub(crate) router: Router,
    pub(crate) connector: component_base::transport::InProcessConnector,
    pub(crate) shutdown: Shutdown,
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::start_with(Arc::new(NodeAnnotationDialer::new(String::new(), None))).await
    }

    pub(crate) async fn start_with(kubelets: Arc<dyn KubeletDialer>) -> Self {
        Self::of(Config::new(Clock::real(), kubelets)).await
    }

    /// A server that records.
    pub(crate) async fn audited(audit: AuditConfig) -> Self {
        let kubelets = Arc::new(NodeAnnotationDialer::new(String::new(), None));
        Self::of(Config { audit: Some(audit), ..Config::new(Clock::real(), kubelets) }).await
    }

    async fn of(config: Config) -> Self {
        let (listener, connector) = Listener::in_process();
        let config = Config { listeners: vec![listener], ..config };
        let server = Server::bind(config).await.unwrap();
        let router = server.router.clone();
        let bootstrapped = server.bootstrapped.clone();
        let shutdown = Shutdown::new();
        let running = shutdown.clone();
        shutdown.spawn("server", async move { server.run(running).await.unwrap() });
        while !bootstrapped.load(std::sync::atomic::Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
        Self { router, connector, shutdown }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let identity = PeerIdentity::InProcess {
            user: "admin".to_owned(),
            groups: vec!["system:masters".to_owned()],
        };
        let request = request
            .extension(ConnectionInfo {
                identity: Arc::new(identity),
                peer_addr: None,
                local_addr: None,
            })
            .body(body.into())
            .unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn json(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Value) {
        let response = self.send(method, path, headers, body.to_owned()).await;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (
            code,
            serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()),
        )
    }
}
