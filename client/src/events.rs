//! Events on objects, recorded without ever holding up whoever records them: client-go's recorder and correlator.
//!
//! [`EventRecorder::record`] puts a note into a bounded queue; one task turns notes into `v1` Events:
//! - the same event again raises `count` and `lastTimestamp` of the Event that is there;
//! - many similar events (same object and reason, other words) become one `(combined from similar events): …`;
//! - an object that floods is cut down to a trickle.
//!
//! What is similar, same and too much is decided in [`correlator`], which is pure. Events are notes for people: when the
//! queue is full or the server refuses, they are dropped and the log says so.

pub mod correlator;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use apimachinery::{
    api::{
        Resource,
        core::{Event, EventSource, ObjectReference},
        meta::ObjectMeta,
    },
    status::Status,
    time::{MicroTime, Time},
};
use component_base::{clock::Clock, shutdown::Shutdown};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use self::correlator::{Correlator, Decision, EventKey, Known};
use crate::{api::Client, options::Patch, retry::Backoff, wire};

/// Notes waiting to be written; client-go's.
const QUEUE: usize = 1000;
/// Pauses while the server cannot be reached. client-go's are 10 s from the first on: what a component says while the server
/// starts would hold up everything that it says in the next ten seconds.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// For how long that is tried: as long as client-go's twelve times.
const PATIENCE: Duration = Duration::from_secs(120);

/// `type` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
}

impl EventType {
    /// Kubernetes' word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events as one component; cheap to clone.
#[derive(Clone, Debug)]
pub struct EventRecorder {
    notes: mpsc::Sender<Note>,
    clock: Clock,
    source: Arc<EventSource>,
}

/// An event that is yet to be correlated.
#[derive(Debug)]
struct Note {
    at: Time,
    about: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
    source: Arc<EventSource>,
}

impl EventRecorder {
    /// Starts recording as `component` (on `host`, where that is a node's), until `shutdown`; what is queued then is still
    /// written once.
    #[must_use]
    pub fn start(
        client: &Client,
        clock: &Clock,
        component: &str,
        host: Option<&str>,
        shutdown: &Shutdown,
    ) -> Self {
        let (sender, notes) = mpsc::channel(QUEUE);
        let writer = Writer {
            client: client.clone(),
            clock: clock.clone(),
            correlator: Correlator::default(),
            shutdown: shutdown.token().clone(),
            names: 0,
        };
        shutdown.spawn("event recorder", writer.run(notes));
        let source =
            EventSource { component: Some(component.to_owned()), host: host.map(str::to_owned) };
        Self { notes: sender, clock: clock.clone(), source: Arc::new(source) }
    }

    /// Records that `reason` happened to `object`.
    pub fn record<T: Resource>(
        &self,
        object: &T,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.record_about(reference(object), kind, reason, message);
    }

    /// Records that `reason` happened to the object that `about` names.
    pub fn record_about(
        &self,
        about: ObjectReference,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let note = Note {
            at: Time(self.clock.now()),
            about,
            kind,
            reason: reason.to_owned(),
            message: message.into(),
            source: Arc::clone(&self.source),
        };
        if let Err(error) = self.notes.try_send(note) {
            let note = error.into_inner();
            warn!(
                reason = note.reason,
                message = note.message,
                "event dropped: too many are waiting"
            );
        }
    }
}

/// The reference that an Event's `involvedObject` is.
#[must_use]
pub fn reference<T: Resource>(object: &T) -> ObjectReference {
    let metadata = object.metadata();
    ObjectReference {
        api_version: Some(T::INFO.api_version()),
        kind: Some(T::INFO.kind.to_owned()),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
        field_path: None,
    }
}

struct Writer {
    client: Client,
    clock: Clock,
    correlator: Correlator,
    shutdown: tokio_util::sync::CancellationToken,
    /// Makes names unique where time stands still.
    names: u64,
}

impl Writer {
    async fn run(mut self, mut notes: mpsc::Receiver<Note>) {
        let token = self.shutdown.clone();
        while let Some(Some(note)) = token.run_until_cancelled(notes.recv()).await {
            Box::pin(self.write(note)).await;
        }
        notes.close();
        while let Ok(note) = notes.try_recv() {
            Box::pin(self.write(note)).await;
        }
    }

    async fn write(&mut self, note: Note) {
        let key = EventKey {
            source: note.source.as_ref().clone(),
            about: note.about.clone(),
            kind: note.kind,
            reason: note.reason.clone(),
            message: note.message.clone(),
        };
        match self.correlator.correlate(&key, self.clock.monotonic()) {
            Decision::Drop => {
                debug!(
                    reason = note.reason,
                    message = note.message,
                    "event dropped: too many of this object"
                );
            }
            Decision::Write { message, known } => {
                let mut pauses = Backoff::new(RETRY.0, RETRY.1);
                let given_up = self.clock.monotonic() + PATIENCE;
                loop {
                    let written = self.send(&note, &message, known.as_ref()).await;
                    let status = match written {
                        Ok(event) => {
                            self.correlator.written(&key, &message, &event);
                            return;
                        }
                        Err(status) => status,
                    };
                    let unreachable = wire::transport_failure(&status).is_some();
                    let over = self.clock.monotonic() >= given_up;
                    if !unreachable || over || self.shutdown.is_cancelled() {
                        // Of an object that is going, or in a namespace that is: nobody misses it.
                        if status.is_not_found() || status.is_forbidden() {
                            debug!(reason = note.reason, message, %status, "an event is refused");
                        } else {
                            warn!(reason = note.reason, message, %status, "failed to write an event");
                        }
                        return;
                    }
                    let pause = pauses.next(&self.clock);
                    self.shutdown.run_until_cancelled(self.clock.sleep(pause)).await;
                }
            }
        }
    }

    async fn send(
        &mut self,
        note: &Note,
        message: &str,
        known: Option<&Known>,
    ) -> Result<Event, Status> {
        if let Some(known) = known {
            let patch = Patch::Strategic(json!({
                "count": known.count + 1,
                "lastTimestamp": note.at,
                "message": message,
            }));
            match self.client.patch(&known.namespace, &known.name, &patch, "").await {
                // It has expired: begin anew, but go on counting.
                Err(status) if status.is_not_found() => {}
                patched => return patched,
            }
        }
        let event = self.event(note, message, known);
        self.client.create(&event).await
    }

    fn event(&mut self, note: &Note, message: &str, known: Option<&Known>) -> Event {
        // Events of objects without a namespace live in `default`, as in Kubernetes.
        let namespace = note.about.namespace.clone().filter(|namespace| !namespace.is_empty());
        let nanos = note.at.0.as_nanosecond() + i128::from(self.names);
        self.names += 1;
        let name = format!("{}.{nanos:x}", note.about.name.as_deref().unwrap_or_default());
        Event {
            metadata: ObjectMeta {
                namespace: Some(namespace.unwrap_or_else(|| "default".to_owned())),
                name: Some(name),
                ..ObjectMeta::default()
            },
            involved_object: note.about.clone(),
            reason: Some(note.reason.clone()),
            message: Some(message.to_owned()),
            type_: Some(note.kind.as_str().to_owned()),
            source: Some(note.source.as_ref().clone()),
            reporting_component: note.source.component.clone(),
            reporting_instance: note.source.host.clone(),
            first_timestamp: Some(known.map_or(note.at, |known| known.first)),
            last_timestamp: Some(note.at),
            count: Some(known.map_or(1, |known| known.count + 1)),
            event_time: None::<MicroTime>,
            ..Event::default()
        }
    }
}
