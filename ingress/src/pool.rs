//! Connections to endpoints, kept for the next request.
//!
//! HTTP/1.1: a connection serves one request at a time and goes back when its answer is through. HTTP/2: one connection
//! per endpoint serves all. What nobody has used for a while is closed.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use cni::network::{self, Sandbox};
use component_base::clock::Clock;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{activity::Exchange, body::Sent};

/// Most bytes of an answer's head.
const BUFFER: usize = 64 << 10;
/// Idle connections that are kept for one endpoint.
const IDLE: usize = 64;
/// How long one is kept.
const KEEP: Duration = Duration::from_secs(60);
/// How long a kept connection may take to be ready: its last request is through, but its task may not have seen that yet.
const READY: Duration = Duration::from_millis(20);
/// For a connection to be made; then the next endpoint is tried.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// All connections of the controller. Clones are the same pool.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    sandbox: Sandbox,
    clock: Clock,
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
    shared: Mutex<HashMap<SocketAddr, Shared>>,
    /// Something is kept.
    keeps: Notify,
    spawn: Box<dyn Fn(futures::future::BoxFuture<'static, ()>) + Send + Sync>,
}

struct Idle {
    sender: http1::SendRequest<Sent>,
    since: Duration,
}

struct Shared {
    sender: http2::SendRequest<Sent>,
    since: Duration,
}

/// A connection to send one request on.
pub(crate) enum Connection {
    Http1(http1::SendRequest<Sent>),
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
    exchange: Exchange,
}

impl Lease {
    /// Keeps the connection for the next request, if this one is through: an answer may be there before that.
    pub(crate) fn give_back(self) {
        let through = self.exchange.is_sent();
        let sender = self.sender.filter(|sender| through && !sender.is_closed());
        let Some(sender) = sender else { return };
        let since = self.pool.0.clock.monotonic();
        let mut idle = self.pool.0.idle.lock();
        let of_endpoint = idle.entry(self.endpoint).or_default();
        of_endpoint.retain(|idle| !idle.sender.is_closed() && since - idle.since < KEEP);
        if of_endpoint.len() < IDLE {
            of_endpoint.push(Idle { sender, since });
            self.pool.0.keeps.notify_one();
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
        let keeps = Notify::new();
        Self(Arc::new(Inner { sandbox, clock, idle, shared, keeps, spawn: Box::new(spawn) }))
    }

    /// Closes what leads to endpoints that are no more.
    pub(crate) fn retain(&self, serve: &HashSet<SocketAddr>) {
        self.0.idle.lock().retain(|endpoint, _| serve.contains(endpoint));
        self.0.shared.lock().retain(|endpoint, _| serve.contains(endpoint));
    }

    /// Closes what nobody uses, for ever; sleeps as long as nothing is kept.
    pub(crate) async fn sweep(&self) {
        loop {
            self.0.keeps.notified().await;
            while self.close_unused() {
                self.0.clock.sleep(KEEP / 2).await;
            }
        }
    }

    /// Closes what has not been used for a while; whether anything is left.
    fn close_unused(&self) -> bool {
        let now = self.0.clock.monotonic();
        let is_used = |since: Duration| now.saturating_sub(since) < KEEP;
        let (mut idle, mut shared) = (self.0.idle.lock(), self.0.shared.lock());
        idle.retain(|_, kept| {
            kept.retain(|idle| is_used(idle.since) && !idle.sender.is_closed());
            !kept.is_empty()
        });
        // Requests that are on such a connection stay on it: it ends with the last of them.
        shared.retain(|_, shared| is_used(shared.since) && !shared.sender.is_closed());
        !(idle.is_empty() && shared.is_empty())
    }

    /// Finds a connection to an endpoint that is there already.
    pub(crate) async fn kept(&self, endpoint: SocketAddr, h2c: bool) -> Option<Connection> {
        let now = self.0.clock.monotonic();
        if h2c {
            let mut shared = self.0.shared.lock();
            let known = shared.get_mut(&endpoint).filter(|known| !known.sender.is_closed())?;
            known.since = now;
            return Some(Connection::Http2(known.sender.clone()));
        }
        loop {
            let Idle { mut sender, since } = self.0.idle.lock().get_mut(&endpoint)?.pop()?;
            let is_fresh = now.saturating_sub(since) < KEEP;
            if is_fresh && let Ok(Ok(())) = self.0.clock.timeout(READY, sender.ready()).await {
                return Some(Connection::Http1(sender));
            }
        }
    }

    /// Makes a connection to an endpoint.
    pub(crate) async fn open(&self, endpoint: SocketAddr, h2c: bool) -> io::Result<Connection> {
        if h2c { self.open_http2(endpoint).await } else { self.open_http1(endpoint).await }
    }

    async fn dial(&self, endpoint: SocketAddr) -> io::Result<TokioIo<network::PodStream>> {
        let dialling = self.0.sandbox.connect_tcp(endpoint);
        let stream = self.0.clock.timeout(CONNECT_TIMEOUT, dialling).await;
        stream.unwrap_or_else(|_elapsed| Err(network::timed_out())).map(TokioIo::new)
    }

    async fn open_http1(&self, endpoint: SocketAddr) -> io::Result<Connection> {
        let stream = self.dial(endpoint).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(stream)
            .await
            .map_err(io::Error::other)?;
        (self.0.spawn)(Box::pin(async move {
            // What went wrong is told to whoever waits for an answer.
            let _ = connection.with_upgrades().await;
        }));
        Ok(Connection::Http1(sender))
    }

    async fn open_http2(&self, endpoint: SocketAddr) -> io::Result<Connection> {
        let stream = self.dial(endpoint).await?;
        let handshake = http2::handshake(TokioExecutor::new(), stream);
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        (self.0.spawn)(Box::pin(async move {
            let _ = connection.await;
        }));
        let shared = Shared { sender: sender.clone(), since: self.0.clock.monotonic() };
        self.0.shared.lock().insert(endpoint, shared);
        self.0.keeps.notify_one();
        Ok(Connection::Http2(sender))
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &self,
        endpoint: SocketAddr,
        connection: Connection,
        request: Request<Sent>,
        exchange: &Exchange,
    ) -> Result<(Response<Incoming>, Lease), Failed> {
        let (answer, sender) = match connection {
            Connection::Http1(mut sender) => {
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
            Ok(response) => {
                let (pool, exchange) = (self.clone(), exchange.clone());
                Ok((response, Lease { pool, endpoint, sender, exchange }))
            }
            Err(mut failed) => Err(match failed.take_message() {
                Some(request) => Failed::Unsent(Box::new(request)),
                None => Failed::Sent(failed.into_error()),
            }),
        }
    }
}
