//! A watcher: a position in a stream of events, polled.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use futures::{Stream as _, task::AtomicWaker};

use super::{
    Event, Revision, StorageError, WatchQuery,
    shared::Shared,
    stream::{Read, Stream},
};

/// How many events a watcher takes at a time, so that one far behind does not keep its thread to itself.
const BATCH: usize = 256;

/// Where a [`Watch`] gets its batches from. The store has one; a store over etcd would have another.
pub trait WatchSource: Send {
    /// The next batch: at least one event, never part of a transaction. None when the store is closed; nothing
    /// follows an error.
    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<Arc<Event>>, StorageError>>>;

    /// The revision up to which everything has been handed out.
    fn progress(&self) -> Revision;
}

/// The changes that a [`WatchQuery`] selects, in order, each once; a `futures::Stream` of batches.
///
/// It buffers nothing: a watcher that lags finds its events in the store's history, or, when that has been compacted,
/// gets [`StorageError::Compacted`] and must list again.
pub struct Watch {
    source: Box<dyn WatchSource>,
    ended: bool,
}

impl Watch {
    /// Wraps a source.
    #[must_use]
    pub fn new(source: Box<dyn WatchSource>) -> Self {
        Self { source, ended: false }
    }

    /// Waits for the next batch: one event or more, whole transactions. None when the store is closed.
    ///
    /// Cancel safe: nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`StorageError::Compacted`] when the watcher was too slow; the watch is over then.
    pub async fn next(&mut self) -> Option<Result<Vec<Arc<Event>>, StorageError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Every selected change up to this revision has been handed out: what a bookmark may say, and where a new watch
    /// may resume. It moves on when others than the selected keys change, too: after `next` was left pending.
    #[must_use]
    pub fn progress(&self) -> Revision {
        self.source.progress()
    }
}

impl futures::Stream for Watch {
    type Item = Result<Vec<Arc<Event>>, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = self.source.poll_batch(cx);
        self.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }
}

/// The store's own source.
pub(super) struct StreamWatch {
    shared: Arc<Shared>,
    stream: Arc<Stream>,
    query: WatchQuery,
    position: u64,
    progress: Revision,
    id: u64,
    waker: Arc<AtomicWaker>,
}

impl StreamWatch {
    pub(super) fn open(shared: &Arc<Shared>, query: WatchQuery) -> Result<Self, StorageError> {
        let mut state = shared.state.write();
        if query.after < state.compacted() {
            let compacted = state.compacted();
            return Err(StorageError::Compacted { requested: query.after, compacted });
        }
        let stream = state.watch_stream(&query.prefix, query.index.as_ref());
        let position = stream.position_after(query.after);
        let (id, waker) = stream.add_watcher();
        drop(state);
        let progress = query.after;
        Ok(Self { shared: shared.clone(), stream, query, position, progress, id, waker })
    }
}

impl WatchSource for StreamWatch {
    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<Arc<Event>>, StorageError>>> {
        self.waker.register(cx.waker());
        loop {
            // Before the stream is read: whatever is committed by now is in it.
            let committed = self.shared.revision();
            let selected = |event: &Event| {
                // A watch may be asked for from a revision that is yet to come.
                event.revision() > self.query.after
                    && event.kv.key.starts_with(&self.query.prefix)
                    && self.query.index.as_ref().is_none_or(|index| event.touches_index(index))
            };
            match self.stream.read(self.position, BATCH, selected) {
                Read::Lost => {
                    let compacted = self.shared.state.read().compacted();
                    let requested = self.progress;
                    return Poll::Ready(Some(Err(StorageError::Compacted {
                        requested,
                        compacted,
                    })));
                }
                Read::End => {
                    self.progress = self.progress.max(committed);
                    if self.shared.closed.load(Ordering::Acquire) {
                        return Poll::Ready(None);
                    }
                    return Poll::Pending;
                }
                Read::Events { events, position, revision } => {
                    self.position = position;
                    self.progress = self.progress.max(revision);
                    if !events.is_empty() {
                        return Poll::Ready(Some(Ok(events)));
                    }
                }
            }
        }
    }

    fn progress(&self) -> Revision {
        self.progress
    }
}

impl Drop for StreamWatch {
    fn drop(&mut self) {
        let others = self.stream.remove_watcher(self.id);
        if let Some(index) = &self.query.index
            && !others
        {
            self.shared.state.write().release_index_stream(&self.query.prefix, index);
        }
    }
}
