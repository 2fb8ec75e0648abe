//! A volume's folder (or one file of it) on the host, reached only from its own descriptor.
//!
//! A whole volume is opened when it is used: its folder is the kubelet's, no container can put another in its place, and a
//! process has tens of thousands of them. What `subPath` names lies within the container's reach: it is held open.
//!
//! Every component of a path is opened from the descriptor of its parent with `O_NOFOLLOW`, and
//! callers pass plain names only (no `..`, no `/`), so what a container does in a volume, even while
//! it swaps folders for links, stays inside the volume. Works on every Unix; needs no `openat2`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType as RawType, Mode, OFlags, RawMode, Timespec, Timestamps};

use super::errno::{Errno, FsResult};
use super::{DirEntry, FileType, Metadata};

/// Largest file that a container may write into a volume, and the largest it may read at once.
const FILE_LIMIT: u64 = 256 * 1024 * 1024;

/// An opened volume, or the file or folder that `subPath` names in it.
#[derive(Debug)]
pub(crate) struct HostEntry {
    root: Root,
    /// Set for a single-file mount: the name in `root`, resolved through the volume's own links.
    file: Option<String>,
    /// The file itself, where it is only read: as a bind mount does, it stays when the volume's content is exchanged.
    pinned: Option<File>,
}

#[derive(Debug)]
enum Root {
    /// A volume's own folder.
    Volume(PathBuf),
    /// What was found in one.
    Held(OwnedFd),
}

fn open_volume(folder: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty())
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn directory_at(parent: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(parent, name, OFlags::RDONLY | DIRECTORY, Mode::empty())
}

impl HostEntry {
    /// Opens a volume and walks its `subPath`; links inside (the `..data` of ConfigMap volumes) are
    /// followed within the volume. `pin`: what is found now is read for ever, where it is a file.
    pub(crate) fn open(root: &Path, sub_path: Option<&str>, pin: bool) -> io::Result<Self> {
        let mut todo: Vec<String> = split(sub_path.unwrap_or_default());
        let opened = open_volume(root)?;
        if todo.is_empty() {
            return Ok(Self { root: Root::Volume(root.to_owned()), file: None, pinned: None });
        }
        let mut stack = vec![opened];
        let mut links = 0;
        while let Some(name) = todo.pop() {
            let current = stack.last().expect("the root stays on the stack");
            if name == ".." {
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            match directory_at(current, &name) {
                Ok(next) => stack.push(next),
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(current, name.as_str(), Mode::from_raw_mode(0o755))?;
                    stack.push(directory_at(current, &name)?);
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let stat =
                        rustix::fs::statat(current, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
                    match RawType::from_raw_mode(stat.st_mode) {
                        RawType::Symlink => {
                            links += 1;
                            let target = link_text(current, &name)?;
                            if links > 40 || target.starts_with('/') {
                                return Err(Errno::LOOP.into());
                            }
                            todo.extend(split(&target));
                        }
                        RawType::RegularFile if todo.is_empty() => {
                            let root = stack.pop().expect("the root stays on the stack");
                            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                            let open =
                                || rustix::fs::openat(&root, name.as_str(), flags, Mode::empty());
                            let pinned = pin.then(open).transpose()?.map(File::from);
                            let root = Root::Held(root);
                            return Ok(Self { root, file: Some(name), pinned });
                        }
                        _ => return Err(Errno::NOTDIR.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let root = stack.pop().expect("the root stays on the stack");
        Ok(Self { root: Root::Held(root), file: None, pinned: None })
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.file.is_none()
    }

    /// Calls with the descriptor of the last component's parent and the last component.
    fn at<'a, T>(
        &'a self,
        path: &[&'a str],
        act: impl FnOnce(&OwnedFd, &str) -> rustix::io::Result<T>,
    ) -> FsResult<T> {
        let (parents, last): (&[&str], &str) = match (&self.file, path) {
            (Some(file), []) => (&[], file),
            (Some(_), _) => return Err(Errno::NOTDIR.into()),
            (None, []) => (&[], "."),
            (None, [parents @ .., last]) => (parents, last),
        };
        let volume;
        let root = match &self.root {
            Root::Volume(folder) => {
                volume = open_volume(folder)?;
                &volume
            }
            Root::Held(root) => root,
        };
        let mut opened: Option<OwnedFd> = None;
        for name in parents {
            let next = directory_at(opened.as_ref().unwrap_or(root), name);
            opened = Some(next.map_err(|e| if e == Errno::LOOP { Errno::NOTDIR } else { e })?);
        }
        Ok(act(opened.as_ref().unwrap_or(root), last)?)
    }

    pub(crate) fn stat(&self, path: &[&str]) -> FsResult<Metadata> {
        let stat = match (&self.pinned, path) {
            (Some(file), []) => rustix::fs::fstat(file)?,
            _ => {
                self.at(path, |dir, name| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW))?
            }
        };
        let nanos = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        Ok(Metadata {
            kind: file_type(RawType::from_raw_mode(stat.st_mode)),
            mode: stat.st_mode & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: Timestamp::new(stat.st_mtime, nanos).unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }

    fn open_file(&self, path: &[&str], flags: OFlags) -> FsResult<File> {
        // NONBLOCK: a FIFO or device someone put there must not hang the node.
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mode = Mode::from_raw_mode(0o644);
        let file = self.at(path, |dir, name| rustix::fs::openat(dir, name, flags, mode))?;
        Ok(File::from(file))
    }

    pub(crate) fn read(&self, path: &[&str]) -> FsResult<Bytes> {
        if let (Some(file), []) = (&self.pinned, path) {
            let length = file.metadata()?.len().min(FILE_LIMIT);
            let mut content = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_exact_at(&mut content, 0)?;
            return Ok(content.into());
        }
        let file = self.open_file(path, OFlags::RDONLY)?;
        let mut content = Vec::new();
        file.take(FILE_LIMIT).read_to_end(&mut content)?;
        Ok(content.into())
    }

    pub(crate) fn write(&self, path: &[&str], content: &[u8], truncate: bool) -> FsResult<()> {
        let how = if truncate { OFlags::TRUNC } else { OFlags::APPEND };
        let mut file = self.open_file(path, OFlags::WRONLY | OFlags::CREATE | how)?;
        if file.metadata()?.len() + content.len() as u64 > FILE_LIMIT {
            return Err(Errno::NOSPC.into());
        }
        Ok(file.write_all(content)?)
    }

    pub(crate) fn list(&self, path: &[&str]) -> FsResult<Vec<DirEntry>> {
        let dir = self.at(path, directory_at)?;
        let mut entries = Vec::new();
        for entry in Dir::new(dir).map_err(super::FsError)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                entries.push(DirEntry { name, kind: file_type(entry.file_type()) });
            }
        }
        Ok(entries)
    }

    pub(crate) fn read_link(&self, path: &[&str]) -> FsResult<String> {
        self.at(path, link_text)
    }

    pub(crate) fn create_dir(&self, path: &[&str]) -> FsResult<()> {
        self.at(path, |dir, name| rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)))
    }

    pub(crate) fn remove(&self, path: &[&str], directory: bool) -> FsResult<()> {
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        self.at(path, |dir, name| rustix::fs::unlinkat(dir, name, flags))
    }

    pub(crate) fn symlink(&self, target: &str, path: &[&str]) -> FsResult<()> {
        self.at(path, |dir, name| rustix::fs::symlinkat(target, dir, name))
    }

    pub(crate) fn rename(&self, from: &[&str], to: &[&str]) -> FsResult<()> {
        let (dir, name) = self.at(from, |dir, name| Ok((dir.try_clone(), name.to_owned())))?;
        let dir = dir?;
        self.at(to, |to_dir, to_name| rustix::fs::renameat(&dir, name.as_str(), to_dir, to_name))
    }

    pub(crate) fn set_mode(&self, path: &[&str], mode: u32) -> FsResult<()> {
        let file = self.open_file(path, OFlags::RDONLY)?;
        let mode = Mode::from_raw_mode(RawMode::try_from(mode & 0o7777).unwrap_or(0o644));
        Ok(rustix::fs::fchmod(&file, mode)?)
    }

    pub(crate) fn touch(&self, path: &[&str]) -> FsResult<()> {
        if self.stat(path).is_err() {
            return self.write(path, &[], false);
        }
        let file = self.open_file(path, OFlags::RDONLY)?;
        let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        Ok(rustix::fs::futimens(&file, &Timestamps { last_access: now, last_modification: now })?)
    }
}

/// Components of a relative path, last one first.
fn split(path: &str) -> Vec<String> {
    let names = path.split('/').filter(|name| !name.is_empty() && *name != ".");
    names.rev().map(str::to_owned).collect()
}

fn link_text(dir: &OwnedFd, name: &str) -> rustix::io::Result<String> {
    let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
    Ok(target.to_string_lossy().into_owned())
}

fn file_type(raw: RawType) -> FileType {
    match raw {
        RawType::Directory => FileType::Directory,
        RawType::Symlink => FileType::Symlink,
        _ => FileType::File,
    }
}
