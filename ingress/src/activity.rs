//! What goes on in a client's connection, and when it has to end: the proxy's one notion of inactivity.
//!
//! A [`Connection`] has a request in progress, or begins one before [`Limits::idle`] is over; how slowly its bytes come
//! in the meantime, and that they are pings, does not matter. An [`Exchange`], which is a request with its answer or with
//! the tunnel that became of it, moves a byte of its contents within [`Limits::silence`], in whichever direction. What
//! keeps neither is ended. A connection holds its place for as long as anything of it lives.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use component_base::clock::Clock;
use tokio::sync::OwnedSemaphorePermit;

/// What a client may hold, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of one port at one time.
    pub connections: u32,
    /// How long a connection may be without a request: nginx' `keepalive_timeout`.
    pub idle: Duration,
    /// How long a request, its answer or a tunnel may be silent: nginx' `proxy_read_timeout`, `client_body_timeout`,
    /// `send_timeout`.
    pub silence: Duration,
    /// How long a tunnel may be silent when one of its ends has closed.
    pub closing: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            idle: Duration::from_secs(75),
            silence: Duration::from_secs(60),
            closing: Duration::from_secs(10),
        }
    }
}

/// A moment that several may set.
struct Moment(AtomicU64);

impl Moment {
    fn new(at: Duration) -> Self {
        Self(AtomicU64::new(micros(at)))
    }

    fn set(&self, at: Duration) {
        self.0.store(micros(at), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

fn micros(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX)
}

/// Sleeps until `limit` has passed since the moment that `last` tells at its end.
async fn passed(clock: &Clock, limit: Duration, last: impl Fn() -> Duration) {
    loop {
        let end = last() + limit;
        if clock.monotonic() >= end {
            return;
        }
        clock.sleep_until(end).await;
    }
}

/// A client's connection.
pub(crate) struct Connection {
    clock: Clock,
    limits: Limits,
    last: Moment,
    open: AtomicUsize,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    pub(crate) fn new(clock: Clock, limits: Limits, place: OwnedSemaphorePermit) -> Arc<Self> {
        let last = Moment::new(clock.monotonic());
        Arc::new(Self { clock, limits, last, open: AtomicUsize::new(0), _place: place })
    }

    /// Begins a request.
    pub(crate) fn begin(self: &Arc<Self>) -> Exchange {
        let now = self.clock.monotonic();
        self.last.set(now);
        self.open.fetch_add(1, Ordering::Relaxed);
        Exchange(Arc::new(Progress {
            connection: Arc::clone(self),
            last: Moment::new(now),
            waits_for_client: AtomicBool::new(false),
            is_sent: AtomicBool::new(false),
        }))
    }

    /// Completes when the connection has to end: nothing is in progress and nothing has begun, or what is in progress is
    /// stuck. What is only silent has had its time before, and its answer.
    pub(crate) async fn is_over(&self) {
        let Limits { idle, silence, .. } = self.limits;
        loop {
            let is_open = self.open.load(Ordering::Relaxed) > 0;
            let end = self.last.get() + if is_open { silence.saturating_mul(2) } else { idle };
            let now = self.clock.monotonic();
            if now >= end {
                return;
            }
            // What is open now may be over before: then it is idle.
            self.clock.sleep_until(end.min(now + idle)).await;
        }
    }
}

/// One request of a connection, with what becomes of it; over when all clones are dropped.
#[derive(Clone)]
pub(crate) struct Exchange(Arc<Progress>);

struct Progress {
    connection: Arc<Connection>,
    last: Moment,
    /// Whether the rest of the request is the client's to send.
    waits_for_client: AtomicBool,
    /// Whether the whole request has gone to an endpoint.
    is_sent: AtomicBool,
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.connection.last.set(self.connection.clock.monotonic());
        self.connection.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Exchange {
    /// Notes that something of it moved.
    pub(crate) fn touch(&self) {
        let now = self.0.connection.clock.monotonic();
        self.0.last.set(now);
        self.0.connection.last.set(now);
    }

    pub(crate) fn limits(&self) -> Limits {
        self.0.connection.limits
    }

    pub(crate) fn wait_for_client(&self, waits: bool) {
        self.0.waits_for_client.store(waits, Ordering::Relaxed);
    }

    pub(crate) fn waits_for_client(&self) -> bool {
        self.0.waits_for_client.load(Ordering::Relaxed)
    }

    /// Notes that the request is through.
    pub(crate) fn sent(&self) {
        self.wait_for_client(false);
        self.0.is_sent.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.0.is_sent.load(Ordering::Relaxed)
    }

    /// Completes when nothing has moved for so long.
    pub(crate) async fn silent_for(&self, limit: Duration) {
        passed(&self.0.connection.clock, limit, || self.0.last.get()).await;
    }
}

/// Watches an exchange from a place that is polled.
#[derive(Default)]
pub(crate) struct Watch(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Watch {
    /// Ready when the exchange has been silent for too long.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, exchange: &Exchange) -> Poll<()> {
        let watch = self.0.get_or_insert_with(|| {
            let exchange = exchange.clone();
            Box::pin(async move { exchange.silent_for(exchange.limits().silence).await })
        });
        watch.as_mut().poll(context)
    }
}
