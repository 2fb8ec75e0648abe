//! Why the storage refuses.

use std::path::PathBuf;

use super::Revision;

/// Why a request to the storage failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The history asked for is gone: HTTP 410, and a watcher lists again.
    #[error("required revision {requested} has been compacted (oldest available {compacted})")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest state still known.
        compacted: Revision,
    },
    /// The revision has not happened yet.
    #[error("required revision {requested} is a future revision (current {current})")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// The newest.
        current: Revision,
    },
    /// The transaction is malformed, whatever is stored.
    #[error("invalid transaction: {0}")]
    InvalidTxn(String),
    /// A write to disk failed; the store answers reads and refuses writes until it is opened again. A transaction
    /// in flight at that moment may or may not be there afterwards.
    #[error(
        "storage refuses writes since {0}: make room on its disk, or mend it; as soon as the disk takes writes the storage is \
         opened again by itself"
    )]
    ReadOnly(String),
    /// The store is shut down.
    #[error("storage is closed")]
    Closed,
}

/// Why a store could not be opened. Each message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("database {path} is in use by another process: {reason}")]
    Locked {
        /// The database.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The files cannot be read as a database.
    #[error(
        "database {path} is damaged ({reason}): restore it from a backup, or move it away to start with an empty cluster"
    )]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The end of the log is missing: acknowledged writes are lost.
    #[error(
        "database {path} ends at revision {found}, but revision {expected} was acknowledged: its log was cut off. Restore it \
         from a backup; to accept the loss of the writes between, delete {marker}"
    )]
    Truncated {
        /// The database.
        path: PathBuf,
        /// The file that remembers.
        marker: PathBuf,
        /// The newest revision known to have been durable.
        expected: Revision,
        /// The newest revision found.
        found: Revision,
    },
    /// Written by another version of the store.
    #[error(
        "database {path} has format {found}, this build reads format {supported}: use the build that wrote it"
    )]
    Format {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// The operating system refused.
    #[error("open {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Why an engine could not make a group durable.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed: {reason}")]
pub struct EngineError {
    /// `write`, `flush`, `fdatasync`, …
    pub operation: &'static str,
    /// The reason, in the words of the layer below.
    pub reason: String,
}
