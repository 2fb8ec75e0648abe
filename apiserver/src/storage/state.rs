//! The committed state: the newest version of every key, and the recent changes that led to it.
//!
//! Keys live in buckets, one per resource (`/registry/pods/`), so that a list touches no other resource and an event
//! finds its watchers without looking at the rest. Buckets sort as their keys do. An older state is told by undoing
//! the events since.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    Event, EventKind, KeyValue, ListQuery, ListResult, Revision, StorageError,
    engine::{Garbage, Loaded, Record, RecordId},
    plan, record,
    stream::Stream,
};

/// See the module. Changed by the writer alone.
#[derive(Debug, Default)]
pub(super) struct State {
    revision: Revision,
    compacted: Revision,
    buckets: BTreeMap<Box<str>, Bucket>,
    history: Arc<Stream>,
    expiries: BTreeSet<(Timestamp, Arc<str>)>,
    size: Size,
}

#[derive(Debug, Default)]
struct Bucket {
    entries: BTreeMap<Arc<str>, Arc<KeyValue>>,
    stream: Arc<Stream>,
    /// Only for index values that are being watched.
    by_index: HashMap<Arc<str>, Arc<Stream>>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) keys: usize,
    /// Bytes of the newest versions.
    pub(super) live: usize,
    /// Bytes that only the history keeps: superseded versions, and the events themselves.
    pub(super) history: usize,
}

/// What an event weighs beside the values: itself, its `KeyValue`, its places in the streams.
const EVENT_OVERHEAD: usize = 240;

/// `/registry/pods/` of `/registry/pods/default/web-1`: up to the third slash. A key with fewer is its own bucket.
pub(super) fn bucket_of(key: &str) -> &str {
    let end = key.match_indices('/').nth(2).map_or(key.len(), |(at, _)| at + 1);
    &key[..end]
}

impl State {
    /// Replays what an engine loaded. Records up to the compacted revision are state; later ones are history as well.
    /// Also tells which records it did not need: none, unless an engine dropped less than it was told.
    pub(super) fn replay(loaded: Loaded) -> (Self, Vec<(Revision, Garbage)>) {
        let mut state =
            Self { compacted: loaded.compacted, revision: loaded.compacted, ..Self::default() };
        let mut unneeded = Vec::new();
        for record in loaded.records {
            let RecordId { revision, sub } = record.id();
            let event = match record {
                Record::Put(kv) => {
                    let previous = state.get(&kv.key).cloned();
                    Event { kind: EventKind::Put, kv, previous }
                }
                Record::Delete { key, id } => match state.get(&key).cloned() {
                    Some(previous) => plan::delete_event(previous, revision, sub as usize),
                    None => {
                        let encoded_len = record::delete_len(&key);
                        unneeded.push((state.compacted, Garbage { id, encoded_len }));
                        continue;
                    }
                },
            };
            if revision > state.compacted {
                state.apply(&Arc::new(event), &mut Vec::new());
            } else {
                superseded_by(&event, &mut unneeded);
                state.apply_to_keys(&event);
            }
        }
        (state, unneeded)
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(super) fn size(&self) -> Size {
        self.size
    }

    pub(super) fn history_len(&self) -> usize {
        self.history.len()
    }

    /// How many keys begin with the prefix: those of a bucket, or of a part of one.
    pub(super) fn count(&self, prefix: &str) -> usize {
        let Some(bucket) = self.buckets.get(bucket_of(prefix)) else { return 0 };
        if bucket_of(prefix) == prefix {
            return bucket.entries.len();
        }
        let bounds = (Bound::Included(prefix), Bound::Unbounded);
        let from = bucket.entries.range::<str, _>(bounds);
        from.take_while(|(key, _)| key.starts_with(prefix)).count()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Arc<KeyValue>> {
        self.buckets.get(bucket_of(key))?.entries.get(key)
    }

    /// Applies one durable change, and adds the streams that have news to `touched`.
    pub(super) fn apply(&mut self, event: &Arc<Event>, touched: &mut Vec<Arc<Stream>>) {
        self.revision = event.revision();
        self.size.history += history_weight(event);
        self.history.push(event.clone());
        touch(touched, &self.history);

        let bucket = self.apply_to_keys(event);
        bucket.stream.push(event.clone());
        touch(touched, &bucket.stream);
        if !bucket.by_index.is_empty() {
            let new = event.kv.index.as_ref();
            let old = event
                .previous
                .as_ref()
                .and_then(|kv| kv.index.as_ref())
                .filter(|old| Some(*old) != new);
            for stream in new.into_iter().chain(old).filter_map(|index| bucket.by_index.get(index))
            {
                stream.push(event.clone());
                touch(touched, stream);
            }
        }
    }

    fn apply_to_keys(&mut self, event: &Event) -> &mut Bucket {
        let key = &event.kv.key;
        if let Some(previous) = &event.previous {
            self.size.live -= previous.value.len();
            self.size.keys -= 1;
            if let Some(at) = previous.expires_at {
                self.expiries.remove(&(at, key.clone()));
            }
        }
        if event.kind == EventKind::Put {
            self.size.live += event.kv.value.len();
            self.size.keys += 1;
            if let Some(at) = event.kv.expires_at {
                self.expiries.insert((at, key.clone()));
            }
        }
        let bucket = bucket_entry(&mut self.buckets, bucket_of(key));
        match event.kind {
            EventKind::Put => bucket.entries.insert(key.clone(), event.kv.clone()),
            EventKind::Delete => bucket.entries.remove(key),
        };
        bucket
    }

    /// Forgets the history up to and including `revision`, adding the records that nobody needs any longer to
    /// `garbage`, ordered by the revision that superseded them.
    pub(super) fn compact(&mut self, revision: Revision, garbage: &mut Vec<(Revision, Garbage)>) {
        let revision = revision.min(self.revision);
        if revision <= self.compacted {
            return;
        }
        self.compacted = revision;
        let mut buckets = BTreeSet::new();
        let size = &mut self.size;
        self.history.compact(revision, |event| {
            size.history -= history_weight(event);
            let bucket = bucket_of(&event.kv.key);
            if !buckets.contains(bucket) {
                buckets.insert(bucket.to_owned());
            }
            superseded_by(event, garbage);
        });
        for bucket in buckets.iter().filter_map(|name| self.buckets.get(name.as_str())) {
            bucket.stream.compact(revision, |_| ());
            for stream in bucket.by_index.values() {
                stream.compact(revision, |_| ());
            }
        }
    }

    /// The revision to compact to so that about `excess` bytes of history go.
    pub(super) fn revision_freeing(&self, excess: usize) -> Revision {
        let mut freed = 0;
        self.history.find_revision(|event| {
            freed += history_weight(event);
            freed >= excess
        })
    }

    pub(super) fn list(&self, query: &ListQuery) -> Result<ListResult, StorageError> {
        let revision = query.revision.unwrap_or(self.revision);
        if revision > self.revision {
            return Err(StorageError::Future { requested: revision, current: self.revision });
        }
        if revision < self.compacted {
            let compacted = self.compacted;
            return Err(StorageError::Compacted { requested: revision, compacted });
        }
        let from = query
            .start
            .as_deref()
            .filter(|start| *start > query.prefix.as_str())
            .unwrap_or(&query.prefix);
        let selected = |key: &str| key >= from && key.starts_with(&query.prefix);
        let mut undone: BTreeMap<Arc<str>, Option<Arc<KeyValue>>> = BTreeMap::new();
        if revision < self.revision {
            self.stream(&query.prefix).for_each_undo(revision, |event| {
                if selected(&event.kv.key) {
                    undone.insert(event.kv.key.clone(), event.previous.clone());
                }
            });
        }

        let limit = if query.limit == 0 { usize::MAX } else { query.limit };
        let mut result = ListResult { revision, items: Vec::new(), remaining: 0 };
        let mut add = |kv: &Arc<KeyValue>| {
            if query.index.is_some() && kv.index != query.index {
                return;
            }
            if result.items.len() < limit {
                result.items.push(kv.clone());
            } else {
                result.remaining += 1;
            }
        };
        // A merge of two sorted sequences, the undone one winning.
        let mut undone = undone.into_iter().peekable();
        for (key, kv) in self.range(from, &query.prefix) {
            while let Some((_, old)) = undone.next_if(|(old_key, _)| old_key < key) {
                old.iter().for_each(&mut add);
            }
            match undone.next_if(|(old_key, _)| old_key == key) {
                Some((_, old)) => old.iter().for_each(&mut add),
                None => add(kv),
            }
        }
        undone.filter_map(|(_, old)| old).for_each(|old| add(&old));
        Ok(result)
    }

    fn range<'a>(
        &'a self,
        from: &'a str,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<KeyValue>)> {
        self.buckets
            .range::<str, _>((Bound::Included(bucket_of(from)), Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix) || prefix.starts_with(&***name))
            .flat_map(move |(_, bucket)| {
                bucket.entries.range::<str, _>((Bound::Included(from), Bound::Unbounded))
            })
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// The narrowest stream that has all changes under a prefix.
    fn stream(&self, prefix: &str) -> Arc<Stream> {
        if is_within_bucket(prefix) {
            self.buckets
                .get(bucket_of(prefix))
                .map(|bucket| bucket.stream.clone())
                .unwrap_or_default()
        } else {
            self.history.clone()
        }
    }

    /// The narrowest stream for a watcher, made if need be.
    pub(super) fn watch_stream(&mut self, prefix: &str, index: Option<&Arc<str>>) -> Arc<Stream> {
        if !is_within_bucket(prefix) {
            return self.history.clone();
        }
        let bucket = bucket_entry(&mut self.buckets, bucket_of(prefix));
        let Some(index) = index else { return bucket.stream.clone() };
        let stream = bucket.by_index.entry(index.clone()).or_insert_with(|| {
            Arc::new(Stream::from_events(
                bucket.stream.filtered(|event| event.touches_index(index)),
            ))
        });
        stream.clone()
    }

    /// Forgets the stream of an index value that nobody watches any longer.
    pub(super) fn release_index_stream(&mut self, prefix: &str, index: &str) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(prefix))
            && bucket.by_index.get(index).is_some_and(|stream| stream.watcher_count() == 0)
        {
            bucket.by_index.remove(index);
        }
    }

    /// All streams that may have watchers.
    pub(super) fn streams(&self) -> impl Iterator<Item = &Arc<Stream>> {
        let buckets = self.buckets.values();
        let streams = buckets.flat_map(|bucket| bucket.by_index.values().chain([&bucket.stream]));
        streams.chain([&self.history])
    }

    /// When the next key expires.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Up to `limit` keys whose time has come.
    pub(super) fn expired(&self, now: Timestamp, limit: usize) -> Vec<Arc<str>> {
        self.expiries
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(limit)
            .map(|(_, key)| key.clone())
            .collect()
    }
}

fn bucket_entry<'a>(buckets: &'a mut BTreeMap<Box<str>, Bucket>, name: &str) -> &'a mut Bucket {
    if !buckets.contains_key(name) {
        buckets.insert(name.into(), Bucket::default());
    }
    buckets.get_mut(name).expect("it was inserted above")
}

/// Whether all keys under the prefix are in one bucket.
fn is_within_bucket(prefix: &str) -> bool {
    bucket_of(prefix).matches('/').count() == 3
}

fn history_weight(event: &Event) -> usize {
    let superseded = event.previous.as_ref().map_or(0, |kv| kv.value.len());
    let told_again = if event.kind == EventKind::Delete { event.kv.value.len() } else { 0 };
    EVENT_OVERHEAD + superseded + told_again
}

/// The records that nobody needs once the history before an event is forgotten.
fn superseded_by(event: &Event, garbage: &mut Vec<(Revision, Garbage)>) {
    if let Some(previous) = &event.previous {
        let id = RecordId { revision: previous.mod_revision, sub: previous.sub };
        let encoded_len = record::put_len(previous);
        garbage.push((event.revision(), Garbage { id, encoded_len }));
    }
    if event.kind == EventKind::Delete {
        let id = RecordId { revision: event.revision(), sub: event.kv.sub };
        let encoded_len = record::delete_len(&event.kv.key);
        garbage.push((event.revision(), Garbage { id, encoded_len }));
    }
}

fn touch(touched: &mut Vec<Arc<Stream>>, stream: &Arc<Stream>) {
    if !touched.iter().any(|other| Arc::ptr_eq(other, stream)) {
        touched.push(stream.clone());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn put(key: &str, revision: u64) -> Record {
        Record::Put(Arc::new(KeyValue {
            key: key.into(),
            value: Bytes::from_static(b"v"),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            index: None,
            expires_at: None,
            slot: None,
            sub: 0,
        }))
    }

    fn delete(key: &str, revision: u64) -> Record {
        Record::Delete { key: key.into(), id: RecordId { revision: Revision(revision), sub: 0 } }
    }

    #[test]
    fn replay_tells_which_records_are_not_needed() {
        let records = vec![
            put("a", 1),
            put("a", 2),
            put("b", 3),
            delete("b", 4),
            delete("c", 5),
            put("a", 6),
            delete("a", 7),
        ];
        let check = |compacted, expected: &[u64], keys, events| {
            let (state, unneeded) =
                State::replay(Loaded { records: records.clone(), compacted: Revision(compacted) });
            let ids: Vec<_> = unneeded.iter().map(|(_, garbage)| garbage.id.revision.0).collect();
            assert_eq!(ids, expected, "compacted {compacted}");
            assert_eq!(
                (state.revision(), state.size().keys, state.history_len()),
                (Revision(7), keys, events)
            );
        };
        check(0, &[5], 0, 6);
        check(2, &[1, 5], 0, 4);
        check(6, &[1, 3, 4, 5, 2], 0, 1);
        check(7, &[1, 3, 4, 5, 2, 6, 7], 0, 0);
    }

    #[test]
    fn buckets_are_resources() {
        let check = |key, expected| assert_eq!(bucket_of(key), expected);
        check("/registry/pods/a/x", "/registry/pods/");
        check("/registry/nodes/n", "/registry/nodes/");
        check("/registry/pods/", "/registry/pods/");
        check("/registry/health", "/registry/health");
        check("", "");
    }
}
