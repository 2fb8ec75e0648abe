//! The answers that a connection is sending, and which of them the peer does not take.
//!
//! HTTP asks an answer's body for its next piece only when the peer has taken what went before: so a body that has
//! given a piece and is not asked again is one whose reader has stopped. HTTP/2's window of one request can be shut
//! while the connection itself is alive, so nothing below would notice.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;

use super::table::Active;
use crate::clock::Clock;

/// The answers of one connection.
#[derive(Clone)]
pub(super) struct Answers {
    clock: Clock,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// Since when each waits for its reader, in milliseconds and one more; 0: it waits for us.
    waiting: HashMap<u64, Arc<AtomicU64>>,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self { clock: Clock::real(), open: Arc::default() }
    }

    /// Watches over `body` until it is sent; `active` lives as long.
    pub(super) fn watch(&self, body: Body, active: Active) -> Watched {
        let waiting = Arc::new(AtomicU64::new(self.now()));
        let mut open = self.open.lock();
        open.next += 1;
        let id = open.next;
        open.waiting.insert(id, waiting.clone());
        Watched { body, id, waiting, answers: self.clone(), _active: active }
    }

    /// Whether some answer has waited for its reader for that long.
    pub(super) fn stalled(&self, patience: Duration) -> bool {
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let now = self.now();
        self.open.lock().waiting.values().any(|waiting| {
            let since = waiting.load(Ordering::Relaxed);
            since != 0 && now.saturating_sub(since) >= patience
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).map_or(u64::MAX, |now| now + 1)
    }
}

/// An answer's body that tells whether it is asked for more.
pub(super) struct Watched {
    body: Body,
    id: u64,
    waiting: Arc<AtomicU64>,
    answers: Answers,
    _active: Active,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let waiting = if frame.is_ready() { self.answers.now() } else { 0 };
        self.waiting.store(waiting, Ordering::Relaxed);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.answers.open.lock().waiting.remove(&self.id);
    }
}
