//! As whom a candidate stands.
//!
//! Kubernetes' components take their host's name and a fresh uuid, so that one which was killed and started again waits
//! for its own lease to run out. [`Identity::of_slot`] avoids that where it is safe: the uuid lives in a file that the
//! process keeps locked. The kernel gives the lock up only when that process has ended, so who gets the lock may take the
//! former holder's name: that holder can neither act nor renew any more. Who does not get it is another copy beside a
//! living one, and stands under a name of its own.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use component_base::clock::Clock;

/// A candidate's name; a slot's is ours as long as this value lives.
#[derive(Debug)]
pub struct Identity {
    name: String,
    _lock: Option<File>,
}

impl Identity {
    /// A name that nobody else has had: `<host>_<uuid>`.
    #[must_use]
    pub fn fresh(host: &str, clock: &Clock) -> Self {
        Self { name: format!("{host}_{}", uuid(clock)), _lock: None }
    }

    /// The name of the slot whose file is at `path`, if no living process has it; else a fresh one.
    ///
    /// # Errors
    /// The file cannot be opened, locked, read or written.
    pub fn of_slot(path: &Path, host: &str, clock: &Clock) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Self::fresh(host, clock)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut name = String::new();
        file.read_to_string(&mut name)?;
        // Cut short when its writer was killed, or of a host that bore another name.
        if !name.starts_with(&format!("{host}_")) || name.len() != host.len() + 37 {
            name = Self::fresh(host, clock).name;
            file.rewind()?;
            file.set_len(0)?;
            file.write_all(name.as_bytes())?;
        }
        Ok(Self { name, _lock: Some(file) })
    }

    /// The name, as `spec.holderIdentity` tells it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A random uuid (version 4).
fn uuid(clock: &Clock) -> String {
    let (a, b) = (clock.random_u64(), clock.random_u64());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        (b >> 48) & 0x3fff | 0x8000,
        b & 0xffff_ffff_ffff,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_passes_its_name_on_and_a_second_copy_gets_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (path, clock) = (folder.path().join("slot"), Clock::real());
        let slot = || Identity::of_slot(&path, "host", &clock).unwrap();
        let first = slot();
        let name = first.name().to_owned();
        assert_eq!((name.len(), name.starts_with("host_")), ("host_".len() + 36, true), "{name}");
        let second = slot();
        assert_ne!(second.name(), name);
        drop(first);
        assert_eq!(slot().name(), name, "the former holder is gone");
        std::fs::write(&path, "host_cut").unwrap();
        let renamed = slot().name().to_owned();
        assert_ne!((renamed.as_str(), renamed.len()), ("host_cut", 8));
        assert_eq!(slot().name(), renamed, "and it was written down");
    }
}
