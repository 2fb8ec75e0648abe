//! The storage: etcd's place, embedded.
//!
//! Keys are etcd's (`/registry/pods/default/web-1`), values are bytes. Every committed transaction takes the next
//! [`Revision`]; recent revisions can still be listed and watched from. [`Storage`] is the contract, [`Store`] the
//! implementation over an [`engine::Engine`], which only makes records durable: [`engine::memory`] for tests of
//! clusters. A store over a real etcd would implement [`Storage`] itself.
//!
//! # What is kept, and where
//! In memory: the newest version of every key, in one ordered map per resource, and the *history*: the recent changes,
//! each with the version before. Reads, lists and watches are served from there and never touch the disk. An older state
//! is the newest one with the changes since undone.
//!
//! On disk: one *record* per change, under `(revision, position in its transaction)`, as in etcd's mvcc. A record is
//! written once and never changed. It is dropped when a later record of the same key supersedes it and the history in
//! between is compacted. So the records are state and log in one; replaying them in order rebuilds both.
//!
//! # Order of effects
//! One writer thread takes all the transactions that have queued up as a group:
//! 1. check the conditions of each against the state and the transactions before it in the group, and plan its changes;
//! 2. make the group durable, as a whole;
//! 3. apply it to the committed state and push its events to the streams;
//! 4. answer;
//! 5. wake the watchers.
//!
//! A reader therefore never sees what a crash could take back, and whoever was answered reads their own write.
//!
//! # When it goes wrong
//! | what happens | what is true afterwards |
//! |---|---|
//! | crash before 2 is done | none of the group's transactions happened; nobody was told otherwise |
//! | crash after 2 | all of them happened; some who asked may not know |
//! | an error in 2 | the group is answered with the error and not applied; reads go on; every later write is refused until the store is opened again, because the disk's content is unknown |
//! | garbage is dropped, then a crash | the drop and the compacted revision are one group: the history starts later, or is as before |
//! | the caller goes away | its transaction happens or not as if it had stayed |
//!
//! # Watches
//! A watcher is a position in a shared stream of events and buffers nothing. There is a stream per resource, and one per
//! watched value of [`Put::index`], so an event costs nothing to those it does not concern. A watcher that falls behind
//! the compacted end of its stream gets [`StorageError::Compacted`], as does one that resumes from before it.
//!
//! # Bounds
//! The history is bounded by age and bytes ([`Retention`]), the queue to the writer by count: a caller waits for room.

mod error;
mod maintenance;
mod metrics;
mod plan;
mod record;
mod shared;
mod state;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod types;
mod watch;
mod writer;

pub mod engine;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::{
    error::{EngineError, OpenError, StorageError},
    metrics::StorageMetrics,
    store::{Retention, Store, StoreConfig},
    types::{
        Compare, Event, EventKind, KeyValue, ListQuery, ListResult, Put, Revision, Txn, TxnResult,
        WatchQuery,
    },
    watch::{Watch, WatchSource},
};

/// The contract. Every method may be called from any task; a read after an acknowledged write sees it.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Reads one key.
    async fn get(&self, key: &str) -> Result<Option<Arc<KeyValue>>, StorageError>;

    /// Reads the keys under a prefix, now or as of an exact revision that is not compacted yet.
    ///
    /// # Errors
    /// [`StorageError::Compacted`], [`StorageError::Future`].
    async fn list(&self, query: &ListQuery) -> Result<ListResult, StorageError>;

    /// Follows the changes under a prefix after a revision. A list's revision continues the list without a gap.
    ///
    /// # Errors
    /// [`StorageError::Compacted`].
    async fn watch(&self, query: WatchQuery) -> Result<Watch, StorageError>;

    /// Commits a transaction, or tells which condition did not hold.
    ///
    /// # Errors
    /// [`StorageError::InvalidTxn`], [`StorageError::ReadOnly`], [`StorageError::Closed`].
    async fn txn(&self, txn: Txn) -> Result<TxnResult, StorageError>;

    /// The newest committed revision.
    async fn current_revision(&self) -> Result<Revision, StorageError>;

    /// Waits until a revision is committed, and tells the newest. Without a limit: the caller has a deadline.
    async fn wait_for(&self, revision: Revision) -> Result<Revision, StorageError>;

    /// Forgets the history up to and including a revision; the state at that revision can still be listed. The
    /// store compacts by itself; this is for tests and administrators.
    ///
    /// # Errors
    /// [`StorageError::Compacted`], [`StorageError::Future`].
    async fn compact(&self, revision: Revision) -> Result<(), StorageError>;
}
