//! The engine on disk: records in sled, the only module that names it.
//!
//! # Keys
//! | key | value |
//! |---|---|
//! | `f` | the format of everything else |
//! | `c` | the compacted revision |
//! | `r`, revision, place in the transaction, piece (big-endian u64, u32, u16) | a piece of an encoded record |
//!
//! Records are cut into pieces of [`PIECE`] bytes, since sled 0.34 moves what is larger than a quarter of a segment out of
//! its log into files in `blobs/`, which it does not sync. A piece shorter than [`PIECE`] is the last of its record.
//!
//! # Durability
//! A group is one sled batch, which sled recovers as a whole or not at all; a group of one piece is atomic without. Then
//! sled writes its log (`flush`), which on Linux does not make it durable: that is done by `fdatasync` on a descriptor of
//! our own. On recovery sled cuts its log silently at the first damage. [`DurableMarker`] turns that into a refusal to start.
//!
//! sled 0.34 panics on some damage; every call into it is guarded.
//!
//! # Space
//! sled collects a segment of its log once half of it is superseded, and gives the end of the file back. What it needs is a
//! small multiple of what is kept, not of what was written: after a million Lease updates 12 MiB; while 10,000 pods of 2 KB
//! are updated at random some 140 MiB, of which state and history are 42 (`store_bench space churn`).
//! Its page cache evicts late, whatever the configured size, so records are kept few rather than the cache small.

use std::{
    any::Any,
    fs::{self, File},
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use bytes::Bytes;
use rustix::fs::FlockOperation;

use super::{Engine, Garbage, Group, Loaded, Record, RecordId, marker::DurableMarker};
use crate::storage::{EngineError, OpenError, Revision, record};

const FORMAT: u32 = 1;
const FORMAT_KEY: &[u8] = b"f";
const COMPACTED_KEY: &[u8] = b"c";
const RECORD_PREFIX: &[u8] = b"r";
const RECORD_KEY_LEN: usize = 15;

/// The most that is stored under one sled key.
const PIECE: usize = 4096;

/// What must fit on the disk again before a store that could not be written is opened anew: some segments of sled's log.
const PROBE: usize = 2 << 20;

/// sled's page cache. It is read only when the database is opened: what is alive lives in the store's own memory.
const CACHE_BYTES: u64 = 1 << 20;

/// sled's own flush is a backstop that also moves data out of nearly empty segments; durability never waits for it.
const SLED_FLUSH_MS: u64 = 10_000;

/// Records in a sled database in a directory of its own.
pub struct SledEngine {
    dir: PathBuf,
    // Dropped before the log, which waits for sled to let go of the file.
    database: sled::Db,
    log: Log,
    marker: DurableMarker,
    scratch: Vec<u8>,
}

impl SledEngine {
    /// Opens or creates the database in `dir`.
    ///
    /// # Errors
    /// When it is in use, damaged, or of another format.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(io)?;
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(SLED_FLUSH_MS));
        let path = dir.join("db");
        let is_new = !path.exists();
        let database = guarded(|| config.open()).map_err(|failure| failure.on_open(&path))?;
        let log = Log::open(&path).map_err(io)?;
        let marker = DurableMarker::open(dir)?;
        let engine = Self { dir: dir.to_owned(), database, log, marker, scratch: Vec::new() };
        engine.check_format(is_new)?;
        Ok(engine)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("db")
    }

    fn damaged(&self, reason: impl Into<String>) -> OpenError {
        OpenError::Damaged { path: self.log_path(), reason: reason.into() }
    }

    fn check_format(&self, is_new: bool) -> Result<(), OpenError> {
        let path = self.log_path();
        let found =
            guarded(|| self.database.get(FORMAT_KEY)).map_err(|failure| failure.on_open(&path))?;
        match found {
            Some(bytes) => {
                let bytes = <[u8; 4]>::try_from(&*bytes)
                    .map_err(|_| self.damaged("malformed format record"))?;
                let found = u32::from_be_bytes(bytes);
                if found == FORMAT {
                    return Ok(());
                }
                Err(OpenError::Format { path, found, supported: FORMAT })
            }
            None if is_new || self.database.is_empty() => {
                let init = || {
                    self.database.insert(FORMAT_KEY, &FORMAT.to_be_bytes())?;
                    self.database.flush()
                };
                guarded(init).map_err(|failure| failure.on_open(&path))?;
                self.sync_directory().map_err(|source| OpenError::Io { path, source })
            }
            None => Err(self.damaged("no format record")),
        }
    }

    /// Makes a new database's files durable, and their names.
    fn sync_directory(&self) -> io::Result<()> {
        self.log.file.sync_all()?;
        File::open(self.dir.join("conf"))?.sync_all()?;
        File::open(&self.dir)?.sync_all()?;
        match self.dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    }

    fn read_compacted(&self) -> Result<Revision, OpenError> {
        let found = guarded(|| self.database.get(COMPACTED_KEY))
            .map_err(|failure| failure.on_open(&self.log_path()))?;
        let Some(bytes) = found else { return Ok(Revision::ZERO) };
        let bytes = <[u8; 8]>::try_from(&*bytes)
            .map_err(|_| self.damaged("malformed compacted revision"))?;
        Ok(Revision(u64::from_be_bytes(bytes)))
    }

    fn read_records(&self) -> Result<Vec<Record>, OpenError> {
        let mut records = Vec::new();
        let mut pieces = Pieces::default();
        for entry in self.database.scan_prefix(RECORD_PREFIX) {
            let (key, piece) = entry.map_err(|error| self.damaged(error.to_string()))?;
            if let Some(record) = pieces.add(&key, piece).map_err(|reason| self.damaged(reason))? {
                records.push(record);
            }
        }
        pieces.finish().map_err(|reason| self.damaged(reason))?;
        Ok(records)
    }

    /// The changes to sled's tree.
    fn batch(&mut self, group: &Group) -> Vec<(RecordKey, Option<sled::IVec>)> {
        let mut writes = Vec::with_capacity(group.records.len() + group.garbage.len());
        for record in &group.records {
            self.scratch.clear();
            record::encode(record, &mut self.scratch);
            for (piece, bytes) in pieces_of(&self.scratch).enumerate() {
                writes.push((record_key(record.id(), piece), Some(bytes.into())));
            }
        }
        for Garbage { id, encoded_len } in &group.garbage {
            for piece in 0..=encoded_len / PIECE {
                writes.push((record_key(*id, piece), None));
            }
        }
        writes
    }
}

impl Engine for SledEngine {
    fn load(&mut self) -> Result<Loaded, OpenError> {
        let compacted = self.read_compacted()?;
        let read = catch_unwind(AssertUnwindSafe(|| self.read_records()));
        let records = read.map_err(|panic| self.damaged(panic_message(&*panic)))??;
        let found = records.last().map_or(compacted, |record| record.id().revision.max(compacted));
        self.marker.check(found, &self.log_path())?;
        Ok(Loaded { records, compacted })
    }

    fn persist(&mut self, group: &Group, sync: bool) -> Result<(), EngineError> {
        let mut writes = self.batch(group);
        let failed = |operation| {
            move |failure: Failure| EngineError { operation, reason: failure.to_string() }
        };
        if writes.len() == 1 && group.compacted.is_none() {
            let (key, value) = writes.remove(0);
            let write = || match value {
                Some(value) => self.database.insert(key, value),
                None => self.database.remove(key),
            };
            guarded(write).map_err(failed("write"))?;
        } else {
            let mut batch = sled::Batch::default();
            for (key, value) in writes {
                match value {
                    Some(value) => batch.insert(&key, value),
                    None => batch.remove(&key),
                }
            }
            if let Some(compacted) = group.compacted {
                batch.insert(COMPACTED_KEY, &compacted.0.to_be_bytes());
            }
            guarded(|| self.database.apply_batch(batch)).map_err(failed("write"))?;
        }
        guarded(|| self.database.flush()).map_err(failed("flush"))?;
        if sync {
            let sync_error = |error: io::Error| EngineError {
                operation: "fdatasync",
                reason: error.to_string(),
            };
            self.log.sync().map_err(sync_error)?;
            if let Some(last) = group.records.last() {
                self.marker.set(last.id().revision);
            }
        }
        Ok(())
    }

    fn probe(&self) -> io::Result<()> {
        let path = self.dir.join("probe");
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(&vec![0; PROBE])?;
            file.sync_data()
        };
        let written = write();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => written,
        }
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.dir)
    }

    fn size(&self) -> u64 {
        self.log.file.metadata().map_or(0, |metadata| metadata.len())
    }
}

/// sled's log, on a descriptor of our own.
struct Log {
    file: File,
    sync: SyncFn,
}

/// Makes what was written to a file durable; replaced by tests.
type SyncFn = Box<dyn FnMut(&File) -> io::Result<()> + Send>;

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Self { file, sync: Box::new(File::sync_data) })
    }

    fn sync(&mut self) -> io::Result<()> {
        (self.sync)(&self.file)
    }
}

impl Drop for Log {
    /// Waits until the file can be opened again: a thread of sled's pool may hold it, and the lock on it, a moment longer
    /// than the database.
    fn drop(&mut self) {
        for _ in 0..2000 {
            if rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return;
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        tracing::warn!("sled still holds its log after it was closed");
    }
}

type RecordKey = [u8; RECORD_KEY_LEN];

fn record_key(id: RecordId, piece: usize) -> RecordKey {
    let mut key = [0; RECORD_KEY_LEN];
    key[..1].copy_from_slice(RECORD_PREFIX);
    key[1..9].copy_from_slice(&id.revision.0.to_be_bytes());
    key[9..13].copy_from_slice(&id.sub.to_be_bytes());
    let piece = u16::try_from(piece).expect("the largest value has less than 2^16 pieces");
    key[13..].copy_from_slice(&piece.to_be_bytes());
    key
}

fn parse_record_key(key: &[u8]) -> Option<(RecordId, usize)> {
    let key = RecordKey::try_from(key).ok()?;
    let revision = u64::from_be_bytes(key[1..9].try_into().ok()?);
    let sub = u32::from_be_bytes(key[9..13].try_into().ok()?);
    let piece = u16::from_be_bytes(key[13..].try_into().ok()?);
    Some((RecordId { revision: Revision(revision), sub }, usize::from(piece)))
}

/// Pieces of exactly [`PIECE`] bytes, and a last one that is shorter, empty if need be.
fn pieces_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = bytes.chunks_exact(PIECE);
    let rest = whole.remainder();
    whole.chain([rest])
}

/// Puts records together again, from their pieces in order.
#[derive(Default)]
struct Pieces {
    /// The record whose last piece is awaited, and how many there are so far.
    open: Option<(RecordId, usize)>,
    bytes: Vec<u8>,
}

impl Pieces {
    fn add(&mut self, key: &[u8], piece: sled::IVec) -> Result<Option<Record>, String> {
        let (id, number) = parse_record_key(key).ok_or("malformed record key")?;
        let expected = self.open.unwrap_or((id, 0));
        if expected != (id, number) {
            return Err(format!("a piece of revision {} is missing", expected.0.revision));
        }
        if piece.len() == PIECE {
            self.bytes.extend_from_slice(&piece);
            self.open = Some((id, number + 1));
            return Ok(None);
        }
        let bytes = if number == 0 {
            // Shared with sled's cache, which holds on to most of what it reads.
            Bytes::from_owner(piece)
        } else {
            self.bytes.extend_from_slice(&piece);
            Bytes::copy_from_slice(&self.bytes)
        };
        self.open = None;
        self.bytes.clear();
        let decoded = record::decode(id, &bytes)
            .map_err(|error| format!("{error} at revision {}", id.revision))?;
        Ok(Some(decoded))
    }

    fn finish(self) -> Result<(), String> {
        self.open.map_or(Ok(()), |(id, _)| {
            Err(format!("the end of revision {} is missing", id.revision))
        })
    }
}

/// What came of a call into sled.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", words(.0))]
    Sled(sled::Error),
    #[error("sled panicked: {0}")]
    Panic(String),
}

impl Failure {
    fn on_open(self, path: &Path) -> OpenError {
        match self {
            Self::Sled(sled::Error::Io(source))
                if source.to_string().contains("could not acquire lock") =>
            {
                OpenError::Locked { path: path.to_owned(), reason: source.to_string() }
            }
            Self::Sled(sled::Error::Io(source)) => OpenError::Io { path: path.to_owned(), source },
            other => OpenError::Damaged { path: path.to_owned(), reason: other.to_string() },
        }
    }
}

/// sled passes an error of the operating system on as the text of a Rust value; a full disk is told in words.
fn words(error: &sled::Error) -> String {
    let text = error.to_string();
    if text.contains("StorageFull") { "no space left on device".to_owned() } else { text }
}

/// Calls sled; a panic becomes an error. The database is not used again after one.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Failure::Sled),
        Err(panic) => Err(Failure::Panic(panic_message(&*panic))),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown panic".to_owned())
}

#[cfg(test)]
mod tests;
