//! The file that remembers how much of the log was durable.
//!
//! sled recovers from a damaged log by cutting it off at the damage, without a word. The newest revision known to be durable
//! is therefore written beside it after each group. It is not synced, for that would double the cost of a write: the kernel
//! writes it back in its own time, so after a power failure it may be some seconds old. It is never ahead of the log, since
//! it is written after the log's `fdatasync`: a lower bound. A log that ends below it has lost acknowledged writes.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::storage::{OpenError, Revision};

const NAME: &str = "last-durable-revision";

/// See the module.
pub(super) struct DurableMarker {
    path: PathBuf,
    file: File,
    revision: Revision,
}

impl DurableMarker {
    /// Opens the file in `dir`, or creates it.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(NAME);
        let read = || -> io::Result<(File, String)> {
            let mut file =
                File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok((file, text))
        };
        let (file, text) = read().map_err(|source| OpenError::Io { path: path.clone(), source })?;
        let revision = match text.trim() {
            "" => 0,
            digits => digits.parse().map_err(|_| OpenError::Damaged {
                path: path.clone(),
                reason: "it should hold one revision; delete it to start without the check that it stands for".to_owned(),
            })?,
        };
        Ok(Self { path, file, revision: Revision(revision) })
    }

    /// Compares with the newest revision found in the log at `log`.
    pub(super) fn check(&self, found: Revision, log: &Path) -> Result<(), OpenError> {
        if found >= self.revision {
            return Ok(());
        }
        Err(OpenError::Truncated {
            path: log.to_owned(),
            marker: self.path.clone(),
            expected: self.revision,
            found,
        })
    }

    /// Remembers that everything up to `revision` is durable.
    pub(super) fn set(&mut self, revision: Revision) {
        // One sector at a fixed place: it is there as a whole, old or new.
        let line = format!("{:020}\n", revision.0);
        match self.file.write_all_at(line.as_bytes(), 0) {
            Ok(()) => self.revision = revision,
            Err(error) => {
                // An older mark is still true, and the next group tries again.
                tracing::warn!(path = %self.path.display(), %error, "cannot write the durable revision");
            }
        }
    }
}

impl Drop for DurableMarker {
    fn drop(&mut self) {
        if let Err(error) = self.file.sync_data() {
            tracing::warn!(path = %self.path.display(), %error, "cannot sync the durable revision");
        }
    }
}
