//! List and watch as one state machine, after kube-rs' watcher.
//!
//! ```text
//!            list                   watch
//!  ┌─ Empty ──────▶ Listed{version} ──────▶ Watching{version, stream} ─┐
//!  │  ▲ ▲ error:          ▲ ▲ error: pause                             │ event: version moves on
//!  │  │ └─pause           │ └──────────────────────────────────────────┤ end or error: resume at version
//!  └──┘                   └────────────────────────────────────────────┘
//!     ▲ 410 Expired: the version is too old to resume from; list again
//!     └────────────────────── from Listed and Watching
//! ```
//! A list is one [`Change::Replaced`]: whoever follows swaps its whole copy at once, so that a deletion that happened while we
//! were away is never missed. In between, every change is told once and in order. Pauses grow with repeated failures and
//! carry jitter, and start anew after the first event.

use std::{fmt, time::Duration};

use apimachinery::{resource::ResourceInfo, status::Status};
use component_base::clock::Clock;
use futures::StreamExt;
use tracing::{debug, warn};

use crate::{
    api::Client,
    options::{ListOptions, WatchOptions},
    retry::Backoff,
    stored::Stored,
    watch::{WatchEvent, WatchStream},
};

/// The first and the longest pause after failures.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// The server is asked to end a watch after this long or up to twice that, as client-go does.
const WATCH_TIMEOUT: Duration = Duration::from_secs(300);
/// How long after the end that was asked for a watch is given up that has not ended: whoever serves it hangs.
const OVERDUE: Duration = Duration::from_secs(30);
/// A watch that ended sooner without any event counts as a failure.
const SHORT_WATCH: Duration = Duration::from_secs(1);

/// What a reflector follows.
#[derive(Clone, Debug)]
pub struct ListWatch {
    /// The resource.
    pub info: &'static ResourceInfo,
    /// Empty: all namespaces.
    pub namespace: String,
    /// Empty: everything.
    pub label_selector: String,
    /// Empty: everything.
    pub field_selector: String,
}

impl ListWatch {
    /// All objects of a resource.
    #[must_use]
    pub fn all(info: &'static ResourceInfo) -> Self {
        Self {
            info,
            namespace: String::new(),
            label_selector: String::new(),
            field_selector: String::new(),
        }
    }
}

/// One step in the life of the collection.
#[derive(Debug, PartialEq)]
pub enum Change<T> {
    /// The whole collection as it is now.
    Replaced {
        /// All its objects.
        objects: Vec<T>,
        /// Its version.
        resource_version: String,
    },
    /// An object that is new or has changed.
    Applied(T),
    /// The last state of an object that is gone.
    Deleted(T),
    /// Nothing happened up to this version.
    Reached(String),
}

/// Follows one collection for ever.
pub struct Reflector<T> {
    client: Client,
    clock: Clock,
    source: ListWatch,
    backoff: Backoff,
    state: State<T>,
}

enum State<T> {
    /// Nothing is known. Next: a list.
    Empty,
    /// Everything up to the version is known. Next: a watch from there.
    Listed { resource_version: String },
    /// Events are followed. Next: the stream's next item.
    Watching { resource_version: String, stream: Box<WatchStream<T>>, watch: Watch },
}

/// What is remembered of a watch to judge its end.
struct Watch {
    since: Duration,
    had_events: bool,
    /// When it should long have ended, by the monotonic clock.
    overdue: Duration,
}

impl<T: Stored> Reflector<T> {
    /// Makes a reflector that has not begun.
    #[must_use]
    pub fn new(client: Client, clock: Clock, source: ListWatch) -> Self {
        let backoff = Backoff::new(PAUSE.0, PAUSE.1);
        Self { client, clock, source, backoff, state: State::Empty }
    }

    /// The next change. Failures are logged and overcome in here.
    ///
    /// Dropping the future loses no change that was not yet returned, but may repeat a list.
    pub async fn next(&mut self) -> Change<T> {
        loop {
            match &mut self.state {
                State::Empty => match Box::pin(self.list()).await {
                    Ok((objects, resource_version)) => {
                        self.state = State::Listed { resource_version: resource_version.clone() };
                        return Change::Replaced { objects, resource_version };
                    }
                    Err(status) => self.pause("list", &status).await,
                },
                State::Listed { resource_version } => {
                    let resource_version = resource_version.clone();
                    match Box::pin(self.watch(&resource_version)).await {
                        Ok((stream, timeout)) => {
                            let since = self.clock.monotonic();
                            let overdue = since + timeout + OVERDUE;
                            let watch = Watch { since, had_events: false, overdue };
                            let stream = Box::new(stream);
                            self.state = State::Watching { resource_version, stream, watch };
                        }
                        Err(status) => self.recover(resource_version, "watch", &status).await,
                    }
                }
                State::Watching { resource_version, stream, watch } => {
                    let next = tokio::select! {
                        biased;
                        next = stream.as_mut().next() => next,
                        () = self.clock.sleep_until(watch.overdue) => {
                            Some(Err(Status::service_unavailable("the watch hangs")))
                        }
                    };
                    match next {
                        Some(Ok(event)) => {
                            watch.had_events = true;
                            self.backoff.reset();
                            return told(event, resource_version);
                        }
                        Some(Err(status)) => {
                            let resource_version = std::mem::take(resource_version);
                            self.recover(resource_version, "watch", &status).await;
                        }
                        None => {
                            let lived = self.clock.monotonic().saturating_sub(watch.since);
                            let short = !watch.had_events && lived < SHORT_WATCH;
                            let resource_version = std::mem::take(resource_version);
                            self.state = State::Listed { resource_version };
                            if short {
                                let status = Status::service_unavailable("the watch ended at once");
                                self.pause("watch", &status).await;
                            }
                        }
                    }
                }
            }
        }
    }

    async fn list(&self) -> Result<(Vec<T>, String), Status> {
        let options = ListOptions {
            label_selector: self.source.label_selector.clone(),
            field_selector: self.source.field_selector.clone(),
            ..ListOptions::default()
        };
        let api = self.client.resource(self.source.info).namespace(&self.source.namespace);
        let list = api.list(&options).await?;
        Ok((list.items, list.resource_version))
    }

    /// Begins a watch; how long it lasts comes with it.
    async fn watch(&self, resource_version: &str) -> Result<(WatchStream<T>, Duration), Status> {
        let timeout = self.clock.jitter(WATCH_TIMEOUT, 1.0);
        let options = WatchOptions {
            label_selector: self.source.label_selector.clone(),
            field_selector: self.source.field_selector.clone(),
            resource_version: resource_version.to_owned(),
            allow_bookmarks: true,
            timeout: Some(timeout),
            ..WatchOptions::default()
        };
        let api = self.client.resource(self.source.info).namespace(&self.source.namespace);
        Ok((api.watch(&options).await?, timeout))
    }

    /// After a failed watch: list again if the version is too old, else pause and resume.
    async fn recover(&mut self, resource_version: String, operation: &str, status: &Status) {
        if status.is_expired() || status.code == 410 {
            debug!(resource = self.source.info.resource, %status, "resuming is not possible, listing again");
            self.state = State::Empty;
        } else {
            self.state = State::Listed { resource_version };
            self.pause(operation, status).await;
        }
    }

    async fn pause(&mut self, operation: &str, status: &Status) {
        let pause = self.backoff.next(&self.clock);
        warn!(resource = self.source.info.resource, operation, %status, ?pause, "failed to follow");
        self.clock.sleep(pause).await;
    }
}

fn told<T: Stored>(event: WatchEvent<T>, version: &mut String) -> Change<T> {
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
            object.resource_version().clone_into(version);
            Change::Applied(object)
        }
        WatchEvent::Deleted(object) => {
            object.resource_version().clone_into(version);
            Change::Deleted(object)
        }
        WatchEvent::Bookmark { resource_version, .. } => {
            version.clone_from(&resource_version);
            Change::Reached(resource_version)
        }
    }
}

impl<T> fmt::Debug for Reflector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Empty => "Empty",
            State::Listed { .. } => "Listed",
            State::Watching { .. } => "Watching",
        };
        f.debug_struct("Reflector")
            .field("source", &self.source)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
