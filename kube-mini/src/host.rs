//! What the clusters of one machine share: the loopback addresses.
//!
//! Every running cluster holds one slice of 127/8, `127.X.Y.0/24`, by a lock on a file in a folder that all users of
//! the machine see. Node N answers at `127.X.Y.N`, LoadBalancers at `127.X.Y.128` and up; so two clusters never open
//! the same address, whatever ports they choose. The lock dies with its holder.

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::Ipv4Addr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// Slices that are tried: X from 1 to 250, Y from 0 to 255.
const SLICES: u32 = 250 * 256;

/// A `127.X.Y.0/24` that this process holds.
#[derive(Debug)]
pub struct AddressSlice {
    x: u8,
    y: u8,
    _lock: File,
}

impl AddressSlice {
    /// Takes the preferred slice, or the next free one.
    ///
    /// # Errors
    /// The lock folder cannot be used, or all slices are taken.
    pub fn acquire(lock_dir: &Path, preferred: u32) -> io::Result<Self> {
        prepare(lock_dir)?;
        for step in 0..SLICES {
            let index = preferred.wrapping_add(step) % SLICES;
            let bytes = index.to_be_bytes();
            let (x, y) = (bytes[2] + 1, bytes[3]);
            if let Some(lock) = try_lock(&lock_dir.join(format!("slice-{x}.{y}")))? {
                return Ok(Self { x, y, _lock: lock });
            }
        }
        Err(io::Error::other("every address slice of 127/8 is taken by another cluster"))
    }

    /// The slice's number, to prefer it again.
    #[must_use]
    pub fn index(&self) -> u32 {
        u32::from(self.x - 1) * 256 + u32::from(self.y)
    }

    /// The address with this last byte.
    #[must_use]
    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.x, self.y, last)
    }
}

/// The folder of the machine's locks.
#[must_use]
pub fn lock_dir() -> PathBuf {
    PathBuf::from("/tmp/kube-mini-locks")
}

fn prepare(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(0o1777)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

/// Locks a file; None: somebody else holds it.
///
/// # Errors
/// The file cannot be opened.
pub fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits();
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o666)
        .custom_flags(i32::try_from(no_follow).unwrap_or(0))
        .open(path);
    let file = match opened {
        Ok(file) => file,
        // Another user's lock file: reading suffices to see whether it is held.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => File::open(path)?,
        Err(e) => return Err(e),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_has_one_holder_and_is_free_again_after_it() {
        let dir = std::env::temp_dir().join(format!("kube-mini-host-{}", std::process::id()));
        let first = AddressSlice::acquire(&dir, 300).unwrap();
        let second = AddressSlice::acquire(&dir, 300).unwrap();
        assert_eq!((first.index(), second.index()), (300, 301));
        assert_eq!(first.address(1), Ipv4Addr::new(127, 2, 44, 1));
        drop(first);
        assert_eq!(AddressSlice::acquire(&dir, 300).unwrap().index(), 300);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_last_slice_is_followed_by_the_first() {
        let dir = std::env::temp_dir().join(format!("kube-mini-host-wrap-{}", std::process::id()));
        let last = AddressSlice::acquire(&dir, SLICES - 1).unwrap();
        let next = AddressSlice::acquire(&dir, SLICES - 1).unwrap();
        assert_eq!((last.address(0), next.index()), (Ipv4Addr::new(127, 250, 255, 0), 0));
        fs::remove_dir_all(&dir).unwrap();
    }
}
