//! The seam between the store and what makes its records durable.
//!
//! An engine keeps [`Record`]s, ordered by revision, and knows nothing of keys, transactions or watchers. It lives on the
//! writer thread alone, so it needs no lock and may block.

pub mod fault;
mod marker;
pub mod memory;
pub mod sled;

use std::{io, path::Path, sync::Arc};

use super::{EngineError, KeyValue, OpenError, Revision};

/// One change of one key, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The key was written.
    Put(Arc<KeyValue>),
    /// The key was deleted.
    Delete {
        /// The key.
        key: Arc<str>,
        /// Which record this is.
        id: RecordId,
    },
}

impl Record {
    /// Which record this is.
    #[must_use]
    pub fn id(&self) -> RecordId {
        match self {
            Self::Put(kv) => RecordId { revision: kv.mod_revision, sub: kv.sub },
            Self::Delete { id, .. } => *id,
        }
    }
}

/// Names a record: the revision of its transaction, and its place among that transaction's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    /// The revision of the transaction.
    pub revision: Revision,
    /// The place in the transaction.
    pub sub: u32,
}

/// A record that no state or history needs any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// Which record.
    pub id: RecordId,
    /// Its length when encoded, from which an engine knows how many pieces it is in.
    pub encoded_len: usize,
}

/// What becomes durable together: all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// New records, ordered by id.
    pub records: Vec<Record>,
    /// Records to forget, which are superseded at or before `compacted`.
    pub garbage: Vec<Garbage>,
    /// The oldest revision whose state can be told after the garbage is gone, if it moved.
    pub compacted: Option<Revision>,
}

/// What an engine found when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// All records, ordered by id.
    pub records: Vec<Record>,
    /// The oldest revision whose state they tell.
    pub compacted: Revision,
}

/// Makes records durable.
pub trait Engine: Send + 'static {
    /// Reads everything back; called once, first.
    ///
    /// # Errors
    /// When the files are damaged, or from another format.
    fn load(&mut self) -> Result<Loaded, OpenError>;

    /// Makes a group durable. With `sync` false it may be lost, as a whole, until the next synced group: enough for
    /// a group that only drops garbage.
    ///
    /// # Errors
    /// When it cannot be told that the group is durable. The store then writes no more.
    fn persist(&mut self, group: &Group, sync: bool) -> Result<(), EngineError>;

    /// Whether the disk takes writes, after one has failed. Asks the disk, not the database, whose state is not known then.
    ///
    /// # Errors
    /// What the disk says.
    fn probe(&self) -> io::Result<()> {
        Ok(())
    }

    /// Where the files are.
    fn path(&self) -> Option<&Path> {
        None
    }

    /// Bytes on disk.
    fn size(&self) -> u64 {
        0
    }
}

impl Engine for Box<dyn Engine> {
    fn load(&mut self) -> Result<Loaded, OpenError> {
        (**self).load()
    }

    fn persist(&mut self, group: &Group, sync: bool) -> Result<(), EngineError> {
        (**self).persist(group, sync)
    }

    fn probe(&self) -> io::Result<()> {
        (**self).probe()
    }

    fn path(&self) -> Option<&Path> {
        (**self).path()
    }

    fn size(&self) -> u64 {
        (**self).size()
    }
}
