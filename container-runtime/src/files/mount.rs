//! A mount of a container: where, what, and whether it may be written.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use jiff::Timestamp;

use super::errno::{Errno, FsResult};
use super::host::HostEntry;
use super::{DirEntry, FileType, Metadata};

/// What is mounted.
#[derive(Clone, Debug)]
pub enum MountSource {
    /// A volume: a folder of the host below the cluster's state.
    Host {
        /// The volume's folder; it must exist.
        root: PathBuf,
        /// `subPath`: file or folder inside the volume; a missing one is made as a folder.
        sub_path: Option<String>,
    },
    /// A read-only text made by the kubelet, such as `/etc/hosts`.
    Text {
        /// Its content.
        content: Bytes,
        /// Its permission bits.
        mode: u32,
    },
}

/// A mount as the kubelet asks for it.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Absolute path in the container.
    pub path: String,
    /// What is mounted there.
    pub source: MountSource,
    /// Refuses writes with "Read-only file system".
    pub read_only: bool,
}

/// An opened mount.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub(crate) path: String,
    pub(crate) read_only: bool,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Host(HostEntry),
    Text { content: Bytes, mode: u32 },
}

impl Mounted {
    pub(crate) fn open(mount: Mount) -> io::Result<Self> {
        let names = mount.path.split('/').filter(|name| !name.is_empty() && *name != ".");
        let path: String = names.flat_map(|name| ["/", name]).collect();
        if path.is_empty() || path.split('/').any(|name| name == "..") {
            return Err(io::Error::from(Errno::INVAL));
        }
        let source = match mount.source {
            MountSource::Host { root, sub_path } => {
                Source::Host(HostEntry::open(&root, sub_path.as_deref(), mount.read_only)?)
            }
            MountSource::Text { content, mode } => Source::Text { content, mode },
        };
        Ok(Self { path, read_only: mount.read_only, source })
    }

    pub(crate) fn is_dir(&self) -> bool {
        matches!(&self.source, Source::Host(entry) if entry.is_dir())
    }

    fn writable(&self) -> FsResult<&HostEntry> {
        match &self.source {
            Source::Host(entry) if !self.read_only => Ok(entry),
            _ => Err(Errno::ROFS.into()),
        }
    }

    pub(crate) fn stat(&self, rest: &[&str]) -> FsResult<Metadata> {
        match &self.source {
            Source::Host(entry) => entry.stat(rest),
            Source::Text { content, mode } if rest.is_empty() => Ok(Metadata {
                kind: FileType::File,
                mode: *mode,
                size: content.len() as u64,
                modified: Timestamp::UNIX_EPOCH,
            }),
            Source::Text { .. } => Err(Errno::NOTDIR.into()),
        }
    }

    pub(crate) fn read(&self, rest: &[&str]) -> FsResult<Bytes> {
        match &self.source {
            Source::Host(entry) => entry.read(rest),
            Source::Text { content, .. } => Ok(content.clone()),
        }
    }

    pub(crate) fn read_link(&self, rest: &[&str]) -> FsResult<String> {
        match &self.source {
            Source::Host(entry) => entry.read_link(rest),
            Source::Text { .. } => Err(Errno::INVAL.into()),
        }
    }

    pub(crate) fn list(&self, rest: &[&str]) -> FsResult<Vec<DirEntry>> {
        match &self.source {
            Source::Host(entry) => entry.list(rest),
            Source::Text { .. } => Err(Errno::NOTDIR.into()),
        }
    }

    pub(crate) fn write(&self, rest: &[&str], content: &[u8], truncate: bool) -> FsResult<()> {
        self.writable()?.write(rest, content, truncate)
    }

    pub(crate) fn create_dir(&self, rest: &[&str]) -> FsResult<()> {
        self.writable()?.create_dir(rest)
    }

    pub(crate) fn remove(&self, rest: &[&str], directory: bool) -> FsResult<()> {
        self.writable()?.remove(rest, directory)
    }

    pub(crate) fn symlink(&self, target: &str, rest: &[&str]) -> FsResult<()> {
        self.writable()?.symlink(target, rest)
    }

    pub(crate) fn rename(&self, from: &[&str], to: &[&str]) -> FsResult<()> {
        self.writable()?.rename(from, to)
    }

    pub(crate) fn set_mode(&self, rest: &[&str], mode: u32) -> FsResult<()> {
        self.writable()?.set_mode(rest, mode)
    }

    pub(crate) fn touch(&self, rest: &[&str]) -> FsResult<()> {
        self.writable()?.touch(rest)
    }
}
