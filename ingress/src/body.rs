//! The bodies that pass through: frames go on as they come, in both directions, trailers included. Each frame is a sign
//! of life of its exchange; one that gives none for too long ends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{
    access_log::Entry,
    activity::{Exchange, Watch},
    pool::Lease,
};

/// What an endpoint is sent.
#[derive(Default)]
pub(crate) enum Sent {
    #[default]
    Nothing,
    /// What the client sends.
    Client(Incoming, Exchange),
}

impl Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Nothing => Poll::Ready(None),
            Self::Client(body, exchange) => {
                let polled = Pin::new(&mut *body).poll_frame(context);
                exchange.wait_for_client(polled.is_pending());
                if let Poll::Ready(frame) = &polled {
                    exchange.touch();
                    if frame.is_none() || body.is_end_stream() {
                        exchange.sent();
                    }
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Client(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Client(body, _) => body.size_hint(),
        }
    }
}

enum Source {
    Text(Option<Bytes>),
    Endpoint(Incoming),
}

/// What a client is answered. When it is through, its connection goes back to the pool and its line to the log.
pub(crate) struct Answer {
    source: Source,
    lease: Option<Lease>,
    entry: Option<Entry>,
    /// Lasts as long as its answer.
    exchange: Option<Exchange>,
    watch: Watch,
}

impl Answer {
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        Self::of(Source::Text(Some(text.into())), None)
    }

    pub(crate) fn nothing() -> Self {
        Self::of(Source::Text(None), None)
    }

    fn of(source: Source, lease: Option<Lease>) -> Self {
        Self { source, lease, entry: None, exchange: None, watch: Watch::default() }
    }

    pub(crate) fn endpoint(body: Incoming, lease: Lease) -> Self {
        let mut answer = Self::of(Source::Endpoint(body), Some(lease));
        answer.give_back_at_end();
        answer
    }

    pub(crate) fn logged(mut self, entry: Entry, exchange: Exchange) -> Self {
        (self.entry, self.exchange) = (Some(entry), Some(exchange));
        self
    }

    fn give_back_at_end(&mut self) {
        if self.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let polled = match &mut this.source {
            Source::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Endpoint(body) => Pin::new(body)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(io::Error::other))),
        };
        if let Some(exchange) = &this.exchange {
            if polled.is_ready() {
                exchange.touch();
            } else if this.watch.poll(context, exchange).is_ready() {
                this.lease = None;
                return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
            }
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(data), Some(entry)) = (frame.data_ref(), &mut this.entry) {
                    entry.sent(data.len());
                }
                this.give_back_at_end();
            }
            Poll::Ready(None) => {
                if let Some(lease) = this.lease.take() {
                    lease.give_back();
                }
            }
            Poll::Ready(Some(Err(_))) => this.lease = None,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Text(text) => text.is_none(),
            Source::Endpoint(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => {
                let length = text.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Source::Endpoint(body) => body.size_hint(),
        }
    }
}
