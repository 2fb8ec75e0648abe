//! Connections to endpoints, kept for the next request.
//!
//! HTTP/1.1: a connection serves one request at a time and goes back when its answer is through. HTTP/2: one connection
//! per endpoint serves all.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use cni::network::{self, Sandbox};
use component_base::clock::Clock;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;

use crate::body::Sent;

/// Idle connections that are kept for one endpoint.
const IDLE: usize = 64;
/// How long one is kept.
const KEEP: Duration = Duration::from_secs(60);
/// For a connection to be made; then the next endpoint is tried.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// All connections of the controller. Clones are the same pool.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    sandbox: Sandbox,
    clock: Clock,
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
    shared: Mutex<HashMap<SocketAddr, http2::SendRequest<Sent>>>,
    spawn: Box<dyn Fn(futures::future::BoxFuture<'static, ()>) + Send + Sync>,
}

struct Idle {
    sender: http1::SendRequest<Sent>,
    since: Duration,
}

/// A connection to send one request on.
pub(crate) enum Connection {
    Http1 { sender: http1::SendRequest<Sent>, fresh: bool },
    Http2(http2::SendRequest<Sent>),
}

/// Why there is no answer.
pub(crate) enum Failed {
    /// Nothing was sent: the request is whole.
    Unsent(Box<Request<Sent>>),
    /// Something was.
    Sent(hyper::Error),
}

/// A connection whose answer is on its way.
pub(crate) struct Lease {
    pool: Pool,
    endpoint: SocketAddr,
    sender: Option<http1::SendRequest<Sent>>,
}

impl Lease {
    /// Keeps the connection for the next request.
    pub(crate) fn give_back(self) {
        let Some(sender) = self.sender.filter(|sender| !sender.is_closed()) else { return };
        let since = self.pool.0.clock.monotonic();
        let mut idle = self.pool.0.idle.lock();
        let of_endpoint = idle.entry(self.endpoint).or_default();
        of_endpoint.retain(|idle| !idle.sender.is_closed() && since - idle.since < KEEP);
        if of_endpoint.len() < IDLE {
            of_endpoint.push(Idle { sender, since });
        }
    }
}

impl Pool {
    pub(crate) fn new(
        sandbox: Sandbox,
        clock: Clock,
        spawn: impl Fn(futures::future::BoxFuture<'static, ()>) + Send + Sync + 'static,
    ) -> Self {
        let (idle, shared) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { sandbox, clock, idle, shared, spawn: Box::new(spawn) }))
    }

    /// Closes what leads to endpoints that are no more.
    pub(crate) fn retain(&self, serves: impl Fn(&SocketAddr) -> bool) {
        self.0.idle.lock().retain(|endpoint, _| serves(endpoint));
        self.0.shared.lock().retain(|endpoint, _| serves(endpoint));
    }

    /// Finds a connection to an endpoint, or makes one.
    pub(crate) async fn connect(&self, endpoint: SocketAddr, h2c: bool) -> io::Result<Connection> {
        if h2c {
            let known = self.0.shared.lock().get(&endpoint).filter(|s| !s.is_closed()).cloned();
            return match known {
                Some(sender) => Ok(Connection::Http2(sender)),
                None => self.open_http2(endpoint).await,
            };
        }
        loop {
            let kept = self.0.idle.lock().get_mut(&endpoint).and_then(Vec::pop);
            let Some(Idle { mut sender, .. }) = kept else { break };
            // Its last answer is through, but its task may not have seen that yet.
            if sender.ready().await.is_ok() {
                return Ok(Connection::Http1 { sender, fresh: false });
            }
        }
        self.open_http1(endpoint).await
    }

    async fn dial(&self, endpoint: SocketAddr) -> io::Result<TokioIo<network::PodStream>> {
        let dialling = self.0.sandbox.connect_tcp(endpoint);
        let stream = self.0.clock.timeout(CONNECT_TIMEOUT, dialling).await;
        stream.unwrap_or_else(|_elapsed| Err(network::timed_out())).map(TokioIo::new)
    }

    pub(crate) async fn open_http1(&self, endpoint: SocketAddr) -> io::Result<Connection> {
        let stream = self.dial(endpoint).await?;
        let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
        (self.0.spawn)(Box::pin(async move {
            // What went wrong is told to whoever waits for an answer.
            let _ = connection.with_upgrades().await;
        }));
        Ok(Connection::Http1 { sender, fresh: true })
    }

    async fn open_http2(&self, endpoint: SocketAddr) -> io::Result<Connection> {
        let stream = self.dial(endpoint).await?;
        let handshake = http2::handshake(TokioExecutor::new(), stream);
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        (self.0.spawn)(Box::pin(async move {
            let _ = connection.await;
        }));
        self.0.shared.lock().insert(endpoint, sender.clone());
        Ok(Connection::Http2(sender))
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &self,
        endpoint: SocketAddr,
        connection: Connection,
        request: Request<Sent>,
    ) -> Result<(Response<Incoming>, Lease), Failed> {
        let (answer, sender) = match connection {
            Connection::Http1 { mut sender, .. } => {
                let answer = sender.try_send_request(request).await;
                (answer, Some(sender))
            }
            Connection::Http2(mut sender) => {
                if sender.ready().await.is_err() {
                    return Err(Failed::Unsent(Box::new(request)));
                }
                (sender.try_send_request(request).await, None)
            }
        };
        match answer {
            Ok(response) => Ok((response, Lease { pool: self.clone(), endpoint, sender })),
            Err(mut failed) => Err(match failed.take_message() {
                Some(request) => Failed::Unsent(Box::new(request)),
                None => Failed::Sent(failed.into_error()),
            }),
        }
    }
}
