//! Watches as streams of decoded events.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use apimachinery::status::Status;
use futures::Stream;
use proto::v1;
use serde::Deserialize;

use crate::{stored::Stored, wire};

/// What became of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent<T> {
    /// It came to be, or into the selection, or it was there when the watch began.
    Added(T),
    /// It changed.
    Modified(T),
    /// It went, or left the selection. The last state.
    Deleted(T),
    /// Nothing happened up to this version.
    Bookmark {
        /// Where a later watch may resume.
        resource_version: String,
        /// The present state has been sent whole (`k8s.io/initial-events-end`).
        initial_events_end: bool,
    },
}

/// A running watch. Ends without an error when the server ends it in order (timeout, shutdown).
///
/// An `Err` of an API status (410 above all) came as the watch's own error event; either way it is the last item.
#[derive(Debug)]
pub struct WatchStream<T> {
    events: Option<tonic::Streaming<v1::WatchEvent>>,
    decoded: PhantomData<fn() -> T>,
}

impl<T> WatchStream<T> {
    pub(crate) fn new(events: tonic::Streaming<v1::WatchEvent>) -> Self {
        Self { events: Some(events), decoded: PhantomData }
    }
}

impl<T: Stored> Stream for WatchStream<T> {
    type Item = Result<WatchEvent<T>, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(events) = &mut self.events else { return Poll::Ready(None) };
        let item = match ready!(Pin::new(events).poll_next(context)) {
            None => None,
            Some(Ok(event)) => Some(decode(&event)),
            Some(Err(status)) => Some(Err(wire::from_tonic(&status))),
        };
        if !matches!(item, Some(Ok(_))) {
            self.events = None;
        }
        Poll::Ready(item)
    }
}

fn decode<T: Stored>(event: &v1::WatchEvent) -> Result<WatchEvent<T>, Status> {
    use v1::watch_event::Type;
    let undecodable =
        |error: serde_json::Error| Status::internal(format!("unable to decode an event: {error}"));
    let object = || T::decode(&event.object).map_err(undecodable);
    match event.r#type() {
        Type::Added => object().map(WatchEvent::Added),
        Type::Modified => object().map(WatchEvent::Modified),
        Type::Deleted => object().map(WatchEvent::Deleted),
        Type::Bookmark => {
            let bookmark: Bookmark = serde_json::from_slice(&event.object).map_err(undecodable)?;
            Ok(WatchEvent::Bookmark {
                initial_events_end: bookmark.metadata.annotations.is_some_and(|annotations| {
                    annotations.initial_events_end.as_deref() == Some("true")
                }),
                resource_version: bookmark.metadata.resource_version,
            })
        }
        Type::Error => Err(serde_json::from_slice(&event.object).map_err(undecodable)?),
        Type::Unspecified => Err(Status::internal("a watch event of unknown type")),
    }
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    resource_version: String,
    #[serde(default)]
    annotations: Option<BookmarkAnnotations>,
}

#[derive(Deserialize)]
struct BookmarkAnnotations {
    #[serde(rename = "k8s.io/initial-events-end")]
    initial_events_end: Option<String>,
}
