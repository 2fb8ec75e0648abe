//! The values that cross the storage boundary: what is stored, asked and told.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;

/// A point in the store's history. Each committed transaction takes the next one; 0 means "never".
///
/// Outside the storage it is the opaque `resourceVersion`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of a key that does not exist, and of a store never written to.
    pub const ZERO: Self = Self(0);

    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One version of one key, as etcd's `mvccpb.KeyValue`. Shared by every reader and watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Such as `/registry/pods/default/web-1`.
    pub key: Arc<str>,
    /// The stored bytes, the revision spliced in where the writer asked for it.
    pub value: Bytes,
    /// When the key came to exist.
    pub create_revision: Revision,
    /// When this version was written.
    pub mod_revision: Revision,
    /// 1 for a new key, one more for each write since.
    pub version: u64,
    /// The secondary key given by [`Put::index`].
    pub index: Option<Arc<str>>,
    /// When the store deletes the key by itself.
    pub expires_at: Option<Timestamp>,
    /// Where in `value` the decimal `mod_revision` stands, if it was spliced.
    pub slot: Option<usize>,
    /// Position among the changes of its transaction; with the revision it names the stored record.
    pub(crate) sub: u32,
}

impl KeyValue {
    /// The value as it would read at another revision: the spliced digits replaced.
    ///
    /// A watcher is shown a deleted object with the revision of its deletion.
    #[must_use]
    pub fn value_at(&self, revision: Revision) -> Bytes {
        let Some(slot) = self.slot else { return self.value.clone() };
        let digits = decimal_len(self.mod_revision);
        let mut value = Vec::with_capacity(self.value.len() + 4);
        value.extend_from_slice(&self.value[..slot]);
        value.extend_from_slice(revision.to_string().as_bytes());
        value.extend_from_slice(&self.value[slot + digits..]);
        value.into()
    }
}

/// How many digits a revision has in decimal.
pub(crate) fn decimal_len(revision: Revision) -> usize {
    revision.0.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// A condition on a key, which must hold when the transaction is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key was last written at this revision; [`Revision::ZERO`]: it does not exist.
    ModRevision(Arc<str>, Revision),
    /// The key came to exist at this revision: the same object, whatever its state.
    CreateRevision(Arc<str>, Revision),
    /// The key exists.
    Exists(Arc<str>),
}

impl Compare {
    /// The key must not exist.
    #[must_use]
    pub fn absent(key: impl Into<Arc<str>>) -> Self {
        Self::ModRevision(key.into(), Revision::ZERO)
    }

    /// The key under condition.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        match self {
            Self::ModRevision(key, _) | Self::CreateRevision(key, _) | Self::Exists(key) => key,
        }
    }

    /// Whether the condition holds for what is stored.
    #[must_use]
    pub fn holds(&self, current: Option<&KeyValue>) -> bool {
        match self {
            Self::ModRevision(_, revision) => {
                current.map_or(Revision::ZERO, |kv| kv.mod_revision) == *revision
            }
            Self::CreateRevision(_, revision) => {
                current.map_or(Revision::ZERO, |kv| kv.create_revision) == *revision
            }
            Self::Exists(_) => current.is_some(),
        }
    }
}

/// A write of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Such as `/registry/pods/default/web-1`.
    pub key: Arc<str>,
    /// What to store.
    pub value: Bytes,
    /// Byte offset in `value` at which the writer inserts the decimal revision of the write, so that an object
    /// is serialized once (`"resourceVersion":""`, the slot between the quotes) and carries its own revision.
    pub slot: Option<usize>,
    /// The store deletes the key after this long, unless it is written again. None: it stays.
    pub ttl: Option<Duration>,
    /// A secondary key by which lists and watches select cheaply: the node name of a pod, which spares a
    /// thousand kubelets from looking at each other's pods. Stored with the value.
    pub index: Option<Arc<str>>,
}

impl Put {
    /// Stores `value` under `key`, for ever, unindexed, as it is.
    #[must_use]
    pub fn new(key: impl Into<Arc<str>>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: value.into(), slot: None, ttl: None, index: None }
    }

    /// Splices the revision in at byte `slot`.
    #[must_use]
    pub fn slot(mut self, slot: usize) -> Self {
        self.slot = Some(slot);
        self
    }

    /// Expires after `ttl`.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Gives the value a secondary key.
    #[must_use]
    pub fn index(mut self, index: impl Into<Arc<str>>) -> Self {
        self.index = Some(index.into());
        self
    }
}

/// Several writes that happen together or not at all, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// What to write. A key may be changed once in a transaction.
    pub puts: Vec<Put>,
    /// What to delete; absent keys are passed over.
    pub deletes: Vec<Arc<str>>,
}

impl Txn {
    /// Creates a key that must not exist yet.
    #[must_use]
    pub fn create(put: Put) -> Self {
        Self { compares: vec![Compare::absent(put.key.clone())], puts: vec![put], deletes: vec![] }
    }

    /// Replaces a key that must still be at `revision`.
    #[must_use]
    pub fn update(put: Put, revision: Revision) -> Self {
        Self {
            compares: vec![Compare::ModRevision(put.key.clone(), revision)],
            puts: vec![put],
            deletes: vec![],
        }
    }

    /// Writes a key whatever it was.
    #[must_use]
    pub fn put(put: Put) -> Self {
        Self { compares: vec![], puts: vec![put], deletes: vec![] }
    }

    /// Deletes a key that must still be at `revision`.
    #[must_use]
    pub fn delete(key: impl Into<Arc<str>>, revision: Revision) -> Self {
        let key = key.into();
        Self {
            compares: vec![Compare::ModRevision(key.clone(), revision)],
            puts: vec![],
            deletes: vec![key],
        }
    }

    /// Adds a condition.
    #[must_use]
    pub fn and_compare(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds a write.
    #[must_use]
    pub fn and_put(mut self, put: Put) -> Self {
        self.puts.push(put);
        self
    }

    /// Adds a deletion.
    #[must_use]
    pub fn and_delete(mut self, key: impl Into<Arc<str>>) -> Self {
        self.deletes.push(key.into());
        self
    }
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnResult {
    /// It is durable and visible.
    Committed {
        /// Its revision; the current one, if there was nothing to change.
        revision: Revision,
        /// The stored versions, in the order of [`Txn::puts`].
        puts: Vec<Arc<KeyValue>>,
        /// What was deleted, in the order of [`Txn::deletes`]; None for keys that were absent.
        deleted: Vec<Option<Arc<KeyValue>>>,
    },
    /// Nothing happened, because a condition did not hold.
    Conflict {
        /// The index of the condition in [`Txn::compares`].
        failed: usize,
        /// What is stored under the condition's key.
        current: Option<Arc<KeyValue>>,
    },
}

/// Which keys to list, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Keys that start with this: `/registry/pods/`, `/registry/pods/default/`.
    pub prefix: String,
    /// Only values with this [`Put::index`].
    pub index: Option<Arc<str>>,
    /// The state as of this revision exactly; None: the newest.
    pub revision: Option<Revision>,
    /// Skip keys before this one (which need not exist): the next page starts at `last key + "\0"`.
    pub start: Option<String>,
    /// At most this many; 0: all.
    pub limit: usize,
}

impl ListQuery {
    /// Everything under a prefix, now.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListResult {
    /// The state shown: [`ListQuery::revision`], or the newest. A watch after it misses nothing.
    pub revision: Revision,
    /// Sorted by key.
    pub items: Vec<Arc<KeyValue>>,
    /// How many more keys the limit cut off.
    pub remaining: usize,
}

/// Which changes to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchQuery {
    /// Keys that start with this.
    pub prefix: String,
    /// Only changes whose old or new value has this [`Put::index`].
    pub index: Option<Arc<str>>,
    /// Changes later than this revision.
    pub after: Revision,
}

impl WatchQuery {
    /// Every change under a prefix after a revision.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>, after: Revision) -> Self {
        Self { prefix: prefix.into(), index: None, after }
    }
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was written; [`Event::previous`] tells whether it is new.
    Put,
    /// It was deleted, or it expired.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The new version. Of a deletion: the last one, but with the deletion's revision as `mod_revision` and
    /// in the value's slot, as Kubernetes shows deleted objects.
    pub kv: Arc<KeyValue>,
    /// The version before, as it was stored.
    pub previous: Option<Arc<KeyValue>>,
}

impl Event {
    /// When it happened.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.kv.mod_revision
    }

    /// Whether either side of the change has this index.
    #[must_use]
    pub fn touches_index(&self, index: &str) -> bool {
        self.kv.index.as_deref() == Some(index)
            || self.previous.as_ref().is_some_and(|kv| kv.index.as_deref() == Some(index))
    }
}
