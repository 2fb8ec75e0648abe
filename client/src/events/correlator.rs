//! Which events are the same, which are similar, and which are too many: client-go's `EventCorrelator`, pure.
//!
//! Three steps: the spam filter gives each source and object a bucket of 25 events that refills one per 5 minutes; the
//! aggregator turns 10 and more different messages of one object and reason within 10 minutes into one event; the
//! logger remembers what was written, so that the same event raises a count instead of making a new one. The last two
//! remember 4096 things each, the least recently used of which is forgotten first. What tells them apart is kept as 128 bits
//! of hash under keys of the process: the texts of a node's events are a multiple of what is remembered about them.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, Hash, RandomState},
    time::Duration,
};

use apimachinery::{
    api::core::{Event, EventSource, ObjectReference},
    time::Time,
};

use super::EventType;

/// What each memory holds.
const REMEMBERED: usize = 4096;
/// Different messages from which on they are combined.
const SIMILAR: usize = 10;
/// A pause of this long ends a series of similar events.
const SIMILAR_WITHIN: Duration = Duration::from_secs(600);
/// Events of one source and object at once.
const BURST: f64 = 25.0;
/// One more event after this long.
const REFILL: Duration = Duration::from_secs(300);

/// What one event is.
#[derive(Clone, Debug, PartialEq)]
pub struct EventKey {
    /// Who recorded it.
    pub source: EventSource,
    /// The object.
    pub about: ObjectReference,
    /// Normal or Warning.
    pub kind: EventType,
    /// The reason, for machines.
    pub reason: String,
    /// The message, for people.
    pub message: String,
}

/// What to do with an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing: there are too many.
    Drop,
    /// Write it under this message.
    Write {
        /// The message, combined or not.
        message: String,
        /// The Event that says the same already.
        known: Option<Known>,
    },
}

/// An Event that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How often it has happened.
    pub count: i32,
    /// When it first happened.
    pub first: Time,
}

/// The memory of one recorder.
#[derive(Debug)]
pub struct Correlator {
    identify: (RandomState, RandomState),
    buckets: Recent<Identity, Bucket>,
    similar: Recent<Identity, Similar>,
    written: Recent<Identity, Known>,
}

/// What an event, or a part of one, is told apart by.
type Identity = u128;

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

#[derive(Debug)]
struct Similar {
    /// Fewer than [`SIMILAR`].
    messages: Vec<Identity>,
    at: Duration,
}

impl Default for Correlator {
    fn default() -> Self {
        Self {
            identify: Default::default(),
            buckets: Recent::new(REMEMBERED),
            similar: Recent::new(REMEMBERED),
            written: Recent::new(REMEMBERED),
        }
    }
}

impl Correlator {
    /// Decides about an event that happens `now` (monotonic).
    pub fn correlate(&mut self, key: &EventKey, now: Duration) -> Decision {
        let (message, identity) = self.aggregate(key, now);
        let allowed = self.take_token(key, now);
        match self.written.get(&identity) {
            // What is dropped still happened: the next one that is written counts it.
            Some(known) if !allowed => known.count += 1,
            known if allowed => return Decision::Write { message, known: known.cloned() },
            _ => {}
        }
        Decision::Drop
    }

    /// Remembers the Event that came of a decision.
    pub fn written(&mut self, key: &EventKey, message: &str, event: &Event) {
        let combined = message != key.message;
        let known = Known {
            namespace: event.metadata.namespace.clone().unwrap_or_default(),
            name: event.metadata.name.clone().unwrap_or_default(),
            count: event.count.unwrap_or(1),
            first: event.first_timestamp.unwrap_or_default(),
        };
        let identity =
            if combined { self.identity(&similar(key)) } else { self.identity(&same(key)) };
        self.written.insert(identity, known);
    }

    /// The message under which the event goes out, and the key under which it is the same as others.
    fn aggregate(&mut self, key: &EventKey, now: Duration) -> (String, Identity) {
        let identity = self.identity(&similar(key));
        let message = self.identity(&key.message);
        let similar = self
            .similar
            .get_or_insert_with(&identity, || Similar { messages: Vec::new(), at: now });
        if now.saturating_sub(similar.at) > SIMILAR_WITHIN {
            similar.messages.clear();
        }
        similar.at = now;
        // Messages from before there were too many go on being counted under their own words.
        let known = similar.messages.contains(&message);
        if known || similar.messages.len() + 1 < SIMILAR {
            if !known {
                similar.messages.push(message);
            }
            return (key.message.clone(), self.identity(&same(key)));
        }
        (format!("(combined from similar events): {}", key.message), identity)
    }

    fn identity(&self, what: &impl Hash) -> Identity {
        let (high, low) = &self.identify;
        Identity::from(high.hash_one(what)) << 64 | Identity::from(low.hash_one(what))
    }

    fn take_token(&mut self, key: &EventKey, now: Duration) -> bool {
        let identity = self.identity(&source_and_object(key));
        let bucket =
            self.buckets.get_or_insert_with(&identity, || Bucket { tokens: BURST, at: now });
        let refill = now.saturating_sub(bucket.at).as_secs_f64() / REFILL.as_secs_f64();
        bucket.tokens = (bucket.tokens + refill).min(BURST);
        bucket.at = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }
}

/// client-go's `getSpamKey`: source and object.
fn source_and_object(key: &EventKey) -> impl Hash {
    let (source, about) = (&key.source, &key.about);
    [
        &source.component,
        &source.host,
        &about.kind,
        &about.namespace,
        &about.name,
        &about.uid,
        &about.api_version,
    ]
}

/// client-go's `EventAggregatorByReasonFunc`: all but the message.
fn similar(key: &EventKey) -> impl Hash {
    (source_and_object(key), &key.about.field_path, key.kind.as_str(), &key.reason)
}

/// client-go's `getEventKey`: everything.
fn same(key: &EventKey) -> impl Hash {
    (similar(key), &key.message)
}

/// A map that forgets its least recently used entry when it is full.
#[derive(Debug)]
struct Recent<K, V> {
    capacity: usize,
    entries: HashMap<K, (u64, V)>,
    /// Keys by when they were last used.
    order: BTreeMap<u64, K>,
    uses: u64,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn new(capacity: usize) -> Self {
        Self { capacity, entries: HashMap::new(), order: BTreeMap::new(), uses: 0 }
    }

    fn get(&mut self, key: &K) -> Option<&mut V> {
        let (used, value) = self.entries.get_mut(key)?;
        self.order.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.order.insert(self.uses, key.clone());
        Some(value)
    }

    fn get_or_insert_with(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        if !self.entries.contains_key(key) {
            self.insert(key.clone(), make());
        }
        self.get(key).expect("it is there now")
    }

    fn insert(&mut self, key: K, value: V) {
        if let Some(present) = self.get(&key) {
            *present = value;
            return;
        }
        if self.entries.len() == self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.uses += 1;
        self.order.insert(self.uses, key.clone());
        self.entries.insert(key, (self.uses, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(name: &str, reason: &str, message: &str) -> EventKey {
        let about = ObjectReference { name: Some(name.to_owned()), ..ObjectReference::default() };
        EventKey {
            source: EventSource::default(),
            about,
            kind: EventType::Normal,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    /// Records an event at a time, as the writer does, and tells its message and count.
    fn record(correlator: &mut Correlator, key: &EventKey, at: Duration) -> Option<(String, i32)> {
        match correlator.correlate(key, at) {
            Decision::Drop => None,
            Decision::Write { message, known } => {
                let count = known.map_or(0, |known| known.count) + 1;
                let event = Event { count: Some(count), ..Event::default() };
                correlator.written(key, &message, &event);
                Some((message, count))
            }
        }
    }

    fn plain(message: &str, count: i32) -> Option<(String, i32)> {
        Some((message.to_owned(), count))
    }

    #[test]
    fn the_same_event_is_counted() {
        let mut correlator = Correlator::default();
        for count in 1..=3 {
            let key = key("web", "Pulled", "image pulled");
            assert_eq!(record(&mut correlator, &key, Duration::ZERO), plain("image pulled", count));
        }
        let other = key("web", "Started", "image pulled");
        assert_eq!(record(&mut correlator, &other, Duration::ZERO), plain("image pulled", 1));
    }

    #[test]
    fn many_similar_events_are_combined_until_a_pause() {
        let mut correlator = Correlator::default();
        let numbered = |number: u32| key("web", "Failed", &format!("attempt {number}"));
        for number in 1..10 {
            let recorded = record(&mut correlator, &numbered(number), SECOND);
            assert_eq!(recorded, plain(&format!("attempt {number}"), 1));
        }
        assert_eq!(record(&mut correlator, &numbered(1), SECOND), plain("attempt 1", 2));
        for (number, count) in [(10, 1), (11, 2), (10, 3)] {
            let recorded = record(&mut correlator, &numbered(number), SECOND);
            let combined = format!("(combined from similar events): attempt {number}");
            assert_eq!(recorded, plain(&combined, count));
        }
        let later = record(&mut correlator, &numbered(12), SECOND + SIMILAR_WITHIN + SECOND);
        assert_eq!(later, plain("attempt 12", 1));
    }

    #[test]
    fn an_object_that_floods_is_cut_to_a_trickle() {
        let mut correlator = Correlator::default();
        let key = key("web", "BackOff", "back-off");
        let recorded = |correlator: &mut Correlator, at: Duration| {
            (0..100).filter(|_| record(correlator, &key, at).is_some()).count()
        };
        assert_eq!(recorded(&mut correlator, Duration::ZERO), 25);
        assert_eq!(recorded(&mut correlator, REFILL * 2), 2);
        let Some((_, count)) = record(&mut correlator, &key, REFILL * 3) else { panic!("dropped") };
        assert_eq!(count, 201, "what was dropped is counted");
        let other = super::tests::key("db", "BackOff", "back-off");
        assert!(record(&mut correlator, &other, Duration::ZERO).is_some());
    }

    #[test]
    fn the_least_recently_used_is_forgotten() {
        let mut recent = Recent::new(2);
        recent.get_or_insert_with(&"a", || 1);
        recent.get_or_insert_with(&"b", || 2);
        recent.get(&"a");
        recent.get_or_insert_with(&"c", || 3);
        let held = ["a", "b", "c"].map(|key| recent.get(&key).copied());
        assert_eq!(held, [Some(1), None, Some(3)]);
        assert_eq!(recent.order.len(), 2);
    }
}
