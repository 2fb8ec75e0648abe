//! One connection to a node's network.
//!
//! It is opened by hand, not as a channel that reconnects in silence: that the connection ends is how we learn, without
//! asking again and again, that the node's network may have started afresh.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use cni::node_service::MAX_MESSAGE;
use component_base::{shutdown::Shutdown, transport::Endpoint};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::v1::{self, node_network_client::NodeNetworkClient};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

/// Why the node could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// It cannot be reached.
    #[error("cannot connect to the node's network at {endpoint}")]
    Connect {
        /// Where it should be.
        endpoint: String,
        /// Why.
        source: std::io::Error,
    },
    /// What answered does not speak HTTP/2.
    #[error("cannot speak to the node's network")]
    Handshake(#[source] hyper::Error),
    /// The node is not on this machine.
    #[error("a node's network is reached by a Unix socket or inside the process, not by {0}")]
    Remote(String),
    /// It refused a call, or the connection ended.
    #[error("the node's network answered: {0}")]
    Call(#[from] tonic::Status),
    /// The connection ended.
    #[error("the node's network closed the connection")]
    Closed,
    /// Rules that cannot be written.
    #[error("cannot write the rules")]
    Encode(#[from] serde_json::Error),
}

impl NodeError {
    /// Whether the node is there but wants everything afresh.
    pub(crate) fn wants_everything(&self) -> bool {
        matches!(self, Self::Call(status) if status.code() == tonic::Code::FailedPrecondition)
    }
}

pub(crate) struct NodeConnection {
    client: NodeNetworkClient<Requests>,
    closed: CancellationToken,
}

impl NodeConnection {
    pub(crate) async fn open(endpoint: &Endpoint, shutdown: &Shutdown) -> Result<Self, NodeError> {
        let unreachable = |source| NodeError::Connect { endpoint: endpoint.to_string(), source };
        match endpoint {
            Endpoint::Unix { path } => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                Self::over(stream, shutdown).await
            }
            Endpoint::InProcess(connector) => {
                Self::over(connector.connect().await.map_err(unreachable)?, shutdown).await
            }
            Endpoint::Tls(_) => Err(NodeError::Remote(endpoint.to_string())),
        }
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        shutdown: &Shutdown,
    ) -> Result<Self, NodeError> {
        let (requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(NodeError::Handshake)?;
        let closed = CancellationToken::new();
        let (ended, token) = (closed.clone().drop_guard(), shutdown.token().clone());
        shutdown.spawn("node connection", async move {
            let _ = token.run_until_cancelled(connection).await;
            drop(ended);
        });
        let origin = http::Uri::from_static("http://node");
        let client = NodeNetworkClient::with_origin(Requests(requests), origin)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Ok(Self { client, closed })
    }

    /// Completes when the connection has ended.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    pub(crate) async fn info(&mut self) -> Result<v1::NodeInfoReply, NodeError> {
        Ok(self.client.info(v1::NodeInfoRequest {}).await?.into_inner())
    }

    /// Sends rules; returns what the host refused.
    pub(crate) async fn apply(
        &mut self,
        request: v1::ApplyRulesRequest,
    ) -> Result<Vec<v1::ListenerProblem>, NodeError> {
        Ok(self.client.apply_rules(request).await?.into_inner().problems)
    }
}

/// The requests of one HTTP/2 connection as tonic wants them.
#[derive(Clone)]
struct Requests(SendRequest<Body>);

impl tower::Service<http::Request<Body>> for Requests {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
