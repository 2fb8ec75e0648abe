//! Watches as clients see them: selectors, initial state, bookmarks, shapes.
//!
//! The storage keeps one shared log of events per resource, and one per node for pods; a watcher is a position in it
//! and buffers nothing. What is added here:
//! - **selectors**, with Kubernetes' transitions: an object that an update moves into the selection is ADDED, one that is
//!   moved out is DELETED as it was, at the revision of the update;
//! - the **initial state**, from a list whose revision the watch continues without a gap;
//! - **bookmarks**, about one a minute and after the initial state;
//! - an ERROR event with `410 Expired` for a watcher that starts or falls too far behind.
//!
//! An event's bytes are the stored bytes. What has to be made (a Table row, `PartialObjectMetadata`) is made per watcher.
//! A watcher hands out all that has come since it was last asked as one batch, so that a busy server writes to a slow
//! client seldom and much.

use std::{pin::Pin, sync::Arc, time::Duration};

use apimachinery::status::Status;
use bytes::Bytes;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    output::Shaper,
    selection::Selection,
    store::{Store, parse_version, storage_error, validate_watch},
};
use crate::{
    metrics::InFlight,
    request::ListOptions,
    storage::{Event, EventKind, KeyValue, ListQuery, Revision, StorageError, Watch, WatchQuery},
};

const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// A watch without a timeout ends after this long to twice as long, so that clients spread over restarted servers.
const MIN_TIMEOUT: Duration = Duration::from_secs(1800);
/// The annotation of the bookmark that ends the initial state.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";
/// How many initial objects go out in one batch.
const INITIAL_BATCH: usize = 500;

/// What happened to an object, as a watcher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    /// It is new, or newly selected.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or no longer selected.
    Deleted,
    /// Nothing: the resourceVersion to resume from.
    Bookmark,
    /// The watch is over; the object is a `metav1.Status`.
    Error,
}

impl WatchKind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
            Self::Error => "ERROR",
        }
    }
}

/// One event, its object in the shape that the watcher asked for.
#[derive(Clone, Debug)]
pub struct WatchItem {
    /// What happened.
    pub kind: WatchKind,
    /// The object's JSON.
    pub object: Bytes,
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One client's watch.
pub struct Watcher {
    store: Arc<Store>,
    watch: Watch,
    selection: Selection,
    shaper: Shaper,
    initial: std::vec::IntoIter<Arc<KeyValue>>,
    /// The bookmark that ends the initial state.
    initial_end: Option<Revision>,
    bookmarks: bool,
    next_bookmark: Sleep,
    end: Sleep,
    shutdown: CancellationToken,
    over: bool,
    _counted: InFlight,
}

impl Watcher {
    /// Starts a watch.
    ///
    /// # Errors
    /// Invalid options. A resourceVersion that is too old is no error here but the watch's first event.
    pub(crate) async fn start(
        store: Arc<Store>,
        namespace: &str,
        selection: Selection,
        options: &ListOptions,
        shaper: Shaper,
        shutdown: CancellationToken,
        counted: InFlight,
    ) -> Result<Self, Status> {
        validate_watch(options)?;
        let clock = store.deps.clock.clone();
        let timeout = options.timeout.unwrap_or_else(|| clock.jitter(MIN_TIMEOUT, 1.0));
        let requested = parse_version(&options.resource_version)?;
        store.reach(requested).await?;
        let prefix = store.prefix(namespace);
        let storage = &store.deps.storage;
        let mut initial = Vec::new();
        let mut query = WatchQuery::prefix(prefix.clone(), requested);
        query.index = selection.index().cloned();
        let wants_state = options
            .send_initial_events
            .unwrap_or(requested == Revision::ZERO && options.continue_token.is_empty());
        if wants_state {
            let mut list = ListQuery::prefix(prefix);
            list.index.clone_from(&query.index);
            let result = storage.list(&list).await.map_err(|e| storage_error(store.info, &e))?;
            query.after = result.revision;
            initial = result.items;
            if !selection.is_everything() {
                initial.retain(|kv| selection.matches(kv, false));
            }
        } else if requested == Revision::ZERO {
            query.after =
                storage.current_revision().await.map_err(|e| storage_error(store.info, &e))?;
        }
        let initial_end =
            (wants_state && options.send_initial_events.is_some()).then_some(query.after);
        let (watch, over) = match storage.watch(query).await {
            Ok(watch) => (watch, false),
            Err(error) => (failed_watch(error), false),
        };
        Ok(Self {
            watch,
            selection,
            shaper,
            initial: initial.into_iter(),
            initial_end: initial_end.filter(|_| options.allow_bookmarks),
            bookmarks: options.allow_bookmarks,
            next_bookmark: Box::pin(clock.sleep(clock.jitter(BOOKMARK_INTERVAL, 0.1))),
            end: Box::pin(clock.sleep(timeout)),
            shutdown,
            over,
            store,
            _counted: counted,
        })
    }

    /// The events since the last call, at least one; None when the watch is over.
    pub async fn next(&mut self) -> Option<Vec<WatchItem>> {
        if self.over {
            return None;
        }
        if self.initial.len() > 0 {
            let batch: Vec<_> = self.initial.by_ref().take(INITIAL_BATCH).collect();
            return Some(batch.iter().map(|kv| self.item(WatchKind::Added, &kv.value)).collect());
        }
        if let Some(revision) = self.initial_end.take() {
            return Some(vec![self.bookmark(revision, true)]);
        }
        loop {
            tokio::select! {
                biased;
                batch = self.watch.next() => match batch {
                    Some(Ok(events)) => {
                        let items = self.select(&events);
                        if !items.is_empty() {
                            return Some(items);
                        }
                    }
                    Some(Err(error)) => {
                        self.over = true;
                        let status = storage_error(self.store.info, &error);
                        return Some(vec![error_item(&status)]);
                    }
                    None => return self.finish(),
                },
                () = &mut self.next_bookmark => {
                    let clock = &self.store.deps.clock;
                    self.next_bookmark = Box::pin(clock.sleep(clock.jitter(BOOKMARK_INTERVAL, 0.1)));
                    if self.bookmarks {
                        return Some(vec![self.bookmark(self.watch.progress(), false)]);
                    }
                }
                () = &mut self.end => return self.finish(),
                () = self.shutdown.cancelled() => return self.finish(),
            }
        }
    }

    fn finish(&mut self) -> Option<Vec<WatchItem>> {
        self.over = true;
        None
    }

    fn select(&mut self, events: &[Arc<Event>]) -> Vec<WatchItem> {
        let mut items = Vec::with_capacity(events.len());
        for event in events {
            if let Some((kind, bytes)) = transition(&self.selection, event) {
                items.push(self.item(kind, &bytes));
            }
        }
        items
    }

    fn item(&mut self, kind: WatchKind, bytes: &Bytes) -> WatchItem {
        match self.shaper.event(bytes) {
            Ok(object) => WatchItem { kind, object },
            Err(status) => error_item(&status),
        }
    }

    fn bookmark(&self, revision: Revision, initial_end: bool) -> WatchItem {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        WatchItem { kind: WatchKind::Bookmark, object: self.shaper.bookmark(&metadata) }
    }
}

/// What an event is to a watcher with this selection, and which bytes show it.
fn transition(selection: &Selection, event: &Event) -> Option<(WatchKind, Bytes)> {
    let previous = event.previous.as_deref();
    let (was, is) = if selection.is_empty() {
        (previous.is_some(), event.kind == EventKind::Put)
    } else {
        (
            previous.is_some_and(|kv| selection.matches(kv, true)),
            event.kind == EventKind::Put && selection.matches(&event.kv, true),
        )
    };
    match (was, is) {
        (false, false) => None,
        (false, true) => Some((WatchKind::Added, event.kv.value.clone())),
        (true, true) => Some((WatchKind::Modified, event.kv.value.clone())),
        (true, false) if event.kind == EventKind::Delete => {
            Some((WatchKind::Deleted, event.kv.value.clone()))
        }
        (true, false) => previous.map(|kv| (WatchKind::Deleted, kv.value_at(event.revision()))),
    }
}

fn error_item(status: &Status) -> WatchItem {
    let object = serde_json::to_vec(status).expect("a status is JSON").into();
    WatchItem { kind: WatchKind::Error, object }
}

/// A watch that only tells why there is none.
fn failed_watch(error: StorageError) -> Watch {
    struct Failed(Option<StorageError>);
    impl crate::storage::WatchSource for Failed {
        fn poll_batch(
            &mut self,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Vec<Arc<Event>>, StorageError>>> {
            std::task::Poll::Ready(self.0.take().map(Err))
        }

        fn progress(&self) -> Revision {
            Revision::ZERO
        }
    }
    Watch::new(Box::new(Failed(Some(error))))
}
