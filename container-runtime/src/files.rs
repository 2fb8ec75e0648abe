//! A container's files: an in-memory root filesystem over its image's, with volumes mounted into it.
//!
//! Three layers answer a path, the first that knows it wins:
//! 1. **mounts**: a volume's folder on the host (`host`) or a text given by the kubelet
//!    (`/etc/hosts`, `/etc/resolv.conf`);
//! 2. **upper**: what the container wrote, deleted or renamed since it started (`tree`), at most
//!    [`UPPER_LIMIT`] bytes, gone with the container;
//! 3. **image**: read only, shared by all containers of the image ([`ImageFiles`]).
//!
//! Symbolic links are resolved *here*, component by component in the container's own namespace; only
//! canonical paths without links or `..` reach a volume, where every component is opened from the
//! descriptor of its parent without following links. So no path, link or race leads to a host file.
//!
//! Everything is owned by root. The calls are synchronous: memory, or small files on the host.

mod errno;
pub(crate) mod host;
mod image_files;
mod mount;
mod tree;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use component_base::clock::Clock;
use jiff::Timestamp;
use parking_lot::Mutex;

pub use errno::{FsError, FsResult};
pub use image_files::ImageFiles;
pub use mount::{Mount, MountSource};
pub use tree::{Device, Kind};

use errno::Errno;
use mount::Mounted;
use tree::{Node, Upper};

/// Bytes a container may write into its own root filesystem.
pub const UPPER_LIMIT: usize = 64 * 1024 * 1024;
/// Symbolic links followed in one resolution, as Linux does.
const MAX_LINKS: usize = 40;
/// Longest path, as Linux' PATH_MAX.
const PATH_MAX: usize = 4096;

/// A container's root filesystem with its mounts; clones share it.
#[derive(Clone)]
pub struct FileSystem(Arc<Inner>);

struct Inner {
    image: Arc<ImageFiles>,
    upper: Mutex<Upper>,
    mounts: Vec<Mounted>,
    clock: Clock,
}

/// What `stat` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Type of the file.
    pub kind: FileType,
    /// Permission bits.
    pub mode: u32,
    /// Length in bytes.
    pub size: u64,
    /// Time of the last change of the content.
    pub modified: Timestamp,
}

impl Metadata {
    /// Tells whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }
}

/// Type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Character device such as `/dev/null`.
    Device(Device),
    /// An executable that the image provides as a Program or command.
    Executable,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// File name.
    pub name: String,
    /// Type, links not followed.
    pub kind: FileType,
}

/// Where a canonical path lives.
enum Place<'a> {
    Mount(&'a Mounted, Vec<&'a str>),
    Memory,
}

impl FileSystem {
    /// A fresh root filesystem; mount points and their parents come into being.
    ///
    /// # Errors
    /// When a volume's folder or subPath cannot be opened.
    pub fn new(image: Arc<ImageFiles>, mounts: Vec<Mount>, clock: Clock) -> io::Result<Self> {
        let mut mounted =
            mounts.into_iter().map(Mounted::open).collect::<io::Result<Vec<Mounted>>>()?;
        mounted.sort_by_key(|mount| std::cmp::Reverse(mount.path.len()));
        let inner = Inner { image, upper: Mutex::new(Upper::default()), mounts: mounted, clock };
        let files = Self(Arc::new(inner));
        for mount in files.0.mounts.iter().rev() {
            let parent = parent_of(&mount.path);
            if files.create_dir_all(parent).is_ok() && files.lookup(&mount.path).is_err() {
                let kind = if mount.is_dir() { Kind::Directory } else { Kind::file(Vec::new()) };
                let node = Node::new(kind, 0o755, files.0.clock.now());
                files.0.upper.lock().insert(mount.path.clone(), node);
            }
        }
        Ok(files)
    }

    fn place<'a>(&'a self, canonical: &'a str) -> Place<'a> {
        for mount in &self.0.mounts {
            if let Some(rest) = canonical.strip_prefix(mount.path.as_str()) {
                if rest.is_empty() {
                    return Place::Mount(mount, Vec::new());
                }
                if let Some(rest) = rest.strip_prefix('/') {
                    return Place::Mount(mount, rest.split('/').collect());
                }
            }
        }
        Place::Memory
    }

    /// `lstat` of a canonical path whose parents are directories.
    fn lookup(&self, canonical: &str) -> FsResult<Metadata> {
        match self.place(canonical) {
            Place::Mount(mount, rest) => mount.stat(&rest),
            Place::Memory => self.node(canonical).map(|node| node.metadata()),
        }
    }

    /// A node of upper or image.
    fn node(&self, canonical: &str) -> FsResult<Node> {
        match self.0.upper.lock().get(canonical) {
            Some(Some(node)) => Ok(node.clone()),
            Some(None) => Err(Errno::NOENT.into()),
            None => self.0.image.get(canonical).cloned().ok_or(Errno::NOENT.into()),
        }
    }

    /// Canonical form of an absolute path. The last component need not exist.
    ///
    /// # Errors
    /// A missing or unsuitable parent, a loop of links.
    pub fn resolve(&self, path: &str, follow_last: bool) -> FsResult<String> {
        if path.is_empty() {
            return Err(Errno::NOENT.into());
        }
        if path.len() > PATH_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        let mut links = 0;
        let mut canonical = String::new();
        let mut todo: Vec<String> = components(path).rev().map(str::to_owned).collect();
        let must_be_dir = path.ends_with('/');
        while let Some(name) = todo.pop() {
            if name == ".." {
                canonical.truncate(canonical.rfind('/').unwrap_or(0));
                continue;
            }
            let parent = canonical.len();
            canonical.push('/');
            canonical.push_str(&name);
            let last = todo.is_empty();
            match self.lookup(&canonical) {
                Ok(found) if found.kind == FileType::Symlink => {
                    if last && !follow_last && !must_be_dir {
                        break;
                    }
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = self.link_target(&canonical)?;
                    canonical.truncate(if target.starts_with('/') { 0 } else { parent });
                    todo.extend(components(&target).rev().map(str::to_owned));
                }
                Ok(found) if (!last || must_be_dir) && !found.is_dir() => {
                    return Err(Errno::NOTDIR.into());
                }
                Ok(_) => {}
                Err(FsError(Errno::NOENT)) if last => {}
                Err(error) => return Err(error),
            }
        }
        if canonical.is_empty() {
            canonical.push('/');
        }
        Ok(canonical)
    }

    fn link_target(&self, canonical: &str) -> FsResult<String> {
        match self.place(canonical) {
            Place::Mount(mount, rest) => mount.read_link(&rest),
            Place::Memory => match self.node(canonical)?.kind {
                Kind::Symlink(target) => Ok(target),
                _ => Err(Errno::INVAL.into()),
            },
        }
    }

    /// `stat`: follows links.
    ///
    /// # Errors
    /// As `stat(2)`; the same holds for every method below and its system call.
    pub fn metadata(&self, path: &str) -> FsResult<Metadata> {
        self.lookup(&self.resolve(path, true)?)
    }

    /// `lstat`: does not follow a link at the end.
    ///
    /// # Errors
    /// As `lstat(2)`.
    pub fn symlink_metadata(&self, path: &str) -> FsResult<Metadata> {
        self.lookup(&self.resolve(path, false)?)
    }

    /// Tells whether something is there.
    pub fn exists(&self, path: &str) -> bool {
        self.metadata(path).is_ok()
    }

    /// Tells whether a directory is there.
    pub fn is_dir(&self, path: &str) -> bool {
        self.metadata(path).is_ok_and(|found| found.is_dir())
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// As `readlink(2)`.
    pub fn read_link(&self, path: &str) -> FsResult<String> {
        self.link_target(&self.resolve(path, false)?)
    }

    /// Whole content of a file.
    ///
    /// # Errors
    /// As `open(2)` and `read(2)`.
    pub fn read(&self, path: &str) -> FsResult<Bytes> {
        let canonical = self.resolve(path, true)?;
        match self.place(&canonical) {
            Place::Mount(mount, rest) => mount.read(&rest),
            Place::Memory => match self.node(&canonical)?.kind {
                Kind::File(content) => Ok(Bytes::copy_from_slice(&content)),
                Kind::Directory => Err(Errno::ISDIR.into()),
                Kind::Symlink(_) => Err(Errno::LOOP.into()),
                Kind::Device(_) | Kind::Executable => Ok(Bytes::new()),
            },
        }
    }

    /// Whole content of a file as text, invalid UTF-8 replaced.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_to_string(&self, path: &str) -> FsResult<String> {
        Ok(String::from_utf8_lossy(&self.read(path)?).into_owned())
    }

    /// Replaces the content of a file, which is created with mode 0644 when it is not there.
    ///
    /// # Errors
    /// As `open(2)` and `write(2)`; `ENOSPC` past the limits.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> FsResult<()> {
        self.put(path, content.as_ref(), true)
    }

    /// Adds to the end of a file, which is created when it is not there.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn append(&self, path: &str, content: impl AsRef<[u8]>) -> FsResult<()> {
        self.put(path, content.as_ref(), false)
    }

    fn put(&self, path: &str, content: &[u8], truncate: bool) -> FsResult<()> {
        let canonical = self.resolve(path, true)?;
        if canonical == "/" {
            return Err(Errno::ISDIR.into());
        }
        match self.place(&canonical) {
            Place::Mount(mount, rest) => mount.write(&rest, content, truncate),
            Place::Memory => {
                let now = self.0.clock.now();
                let mut node = match self.node(&canonical) {
                    Ok(node) => node,
                    Err(FsError(Errno::NOENT)) => {
                        self.expect_dir(parent_of(&canonical))?;
                        Node::new(Kind::file(Vec::new()), 0o644, now)
                    }
                    Err(error) => return Err(error),
                };
                match &mut node.kind {
                    Kind::Directory => return Err(Errno::ISDIR.into()),
                    Kind::Device(_) => return Ok(()),
                    Kind::Executable if !truncate => return Err(Errno::TXTBSY.into()),
                    Kind::Executable | Kind::Symlink(_) | Kind::File(_) => {}
                }
                node.modified = now;
                self.0.upper.lock().write(canonical, node, content, truncate)
            }
        }
    }

    /// Opens a file for appending, cut to nothing first when `truncate`.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn open(&self, path: &str, truncate: bool) -> FsResult<OpenFile> {
        self.put(path, &[], truncate)?;
        Ok(OpenFile { files: self.clone(), path: self.resolve(path, true)? })
    }

    fn expect_dir(&self, canonical: &str) -> FsResult<()> {
        match self.lookup(canonical)?.is_dir() {
            true => Ok(()),
            false => Err(Errno::NOTDIR.into()),
        }
    }

    /// Names in a directory, sorted.
    ///
    /// # Errors
    /// As `opendir(3)`.
    pub fn read_dir(&self, path: &str) -> FsResult<Vec<DirEntry>> {
        let canonical = self.resolve(path, true)?;
        self.expect_dir(&canonical)?;
        let mut entries = match self.place(&canonical) {
            Place::Mount(mount, rest) => mount.list(&rest)?,
            Place::Memory => self.list_memory(&canonical),
        };
        for mount in &self.0.mounts {
            let name = mount.path.rsplit('/').next().unwrap_or_default();
            let listed = entries.iter().any(|entry| entry.name == name);
            if parent_of(&mount.path) == canonical && !listed {
                let kind = if mount.is_dir() { FileType::Directory } else { FileType::File };
                entries.push(DirEntry { name: name.to_owned(), kind });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn list_memory(&self, canonical: &str) -> Vec<DirEntry> {
        let upper = self.0.upper.lock();
        let mut found = self.0.image.children(canonical);
        for (name, node) in upper.children(canonical) {
            match node {
                Some(node) => found.insert(name, node.metadata().kind),
                None => found.remove(&name),
            };
        }
        found.into_iter().map(|(name, kind)| DirEntry { name, kind }).collect()
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    pub fn create_dir(&self, path: &str) -> FsResult<()> {
        let canonical = self.resolve(path.trim_end_matches('/'), false).or_else(|error| {
            if path.trim_matches('/').is_empty() { Ok("/".to_owned()) } else { Err(error) }
        })?;
        if self.lookup(&canonical).is_ok() {
            return Err(Errno::EXIST.into());
        }
        match self.place(&canonical) {
            Place::Mount(mount, rest) => mount.create_dir(&rest),
            Place::Memory => {
                self.expect_dir(parent_of(&canonical))?;
                let node = Node::new(Kind::Directory, 0o755, self.0.clock.now());
                self.0.upper.lock().insert(canonical, node);
                Ok(())
            }
        }
    }

    /// Makes a directory and its missing parents.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    pub fn create_dir_all(&self, path: &str) -> FsResult<()> {
        let mut current = String::new();
        for name in components(path) {
            current.push('/');
            current.push_str(name);
            match self.create_dir(&current) {
                Ok(()) => {}
                Err(FsError(Errno::EXIST)) if self.is_dir(&current) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes a file or link.
    ///
    /// # Errors
    /// As `unlink(2)`.
    pub fn remove_file(&self, path: &str) -> FsResult<()> {
        let canonical = self.resolve(path, false)?;
        if self.lookup(&canonical)?.is_dir() {
            return Err(Errno::ISDIR.into());
        }
        match self.place(&canonical) {
            Place::Mount(_, rest) if rest.is_empty() => Err(Errno::BUSY.into()),
            Place::Mount(mount, rest) => mount.remove(&rest, false),
            Place::Memory => {
                self.0.upper.lock().remove(canonical);
                Ok(())
            }
        }
    }

    /// Deletes an empty directory.
    ///
    /// # Errors
    /// As `rmdir(2)`.
    pub fn remove_dir(&self, path: &str) -> FsResult<()> {
        let canonical = self.resolve(path, false)?;
        self.expect_dir(&canonical)?;
        if !self.read_dir(&canonical)?.is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        match self.place(&canonical) {
            Place::Mount(_, rest) if rest.is_empty() => Err(Errno::BUSY.into()),
            Place::Mount(mount, rest) => mount.remove(&rest, true),
            Place::Memory if canonical == "/" => Err(Errno::BUSY.into()),
            Place::Memory => {
                self.0.upper.lock().remove(canonical);
                Ok(())
            }
        }
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As `symlink(2)`.
    pub fn symlink(&self, target: &str, path: &str) -> FsResult<()> {
        let canonical = self.resolve(path, false)?;
        if self.lookup(&canonical).is_ok() {
            return Err(Errno::EXIST.into());
        }
        match self.place(&canonical) {
            Place::Mount(mount, rest) => mount.symlink(target, &rest),
            Place::Memory => {
                self.expect_dir(parent_of(&canonical))?;
                let node = Node::new(Kind::Symlink(target.to_owned()), 0o777, self.0.clock.now());
                self.0.upper.lock().insert(canonical, node);
                Ok(())
            }
        }
    }

    /// Sets the permission bits.
    ///
    /// # Errors
    /// As `chmod(2)`.
    pub fn set_mode(&self, path: &str, mode: u32) -> FsResult<()> {
        let canonical = self.resolve(path, true)?;
        match self.place(&canonical) {
            Place::Mount(mount, rest) => mount.set_mode(&rest, mode),
            Place::Memory => {
                let mut node = self.node(&canonical)?;
                node.mode = mode & 0o7777;
                self.0.upper.lock().insert(canonical, node);
                Ok(())
            }
        }
    }

    /// Sets the modification time to now, creating an empty file when nothing is there.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn touch(&self, path: &str) -> FsResult<()> {
        let canonical = self.resolve(path, true)?;
        match (self.place(&canonical), self.node(&canonical)) {
            (Place::Memory, Ok(mut node)) => {
                node.modified = self.0.clock.now();
                self.0.upper.lock().insert(canonical, node);
                Ok(())
            }
            (Place::Mount(mount, rest), _) => mount.touch(&rest),
            (Place::Memory, Err(_)) => self.put(path, &[], false),
        }
    }

    /// Moves a file or directory within one place; across mounts it is `EXDEV`, as in Linux.
    ///
    /// # Errors
    /// As `rename(2)`.
    pub fn rename(&self, from: &str, to: &str) -> FsResult<()> {
        let (source, target) = (self.resolve(from, false)?, self.resolve(to, false)?);
        let moved = self.lookup(&source)?;
        if source == target {
            return Ok(());
        }
        if target.strip_prefix(&source).is_some_and(|rest| rest.starts_with('/')) {
            return Err(Errno::INVAL.into());
        }
        if let Ok(existing) = self.lookup(&target) {
            match (moved.is_dir(), existing.is_dir()) {
                (true, false) => return Err(Errno::NOTDIR.into()),
                (false, true) => return Err(Errno::ISDIR.into()),
                (true, true) => self.remove_dir(&target)?,
                (false, false) => {}
            }
        }
        match (self.place(&source), self.place(&target)) {
            (Place::Mount(a, from), Place::Mount(b, to)) if std::ptr::eq(a, b) => {
                a.rename(&from, &to)
            }
            (Place::Memory, Place::Memory) => {
                self.expect_dir(parent_of(&target))?;
                let inside = format!("{source}/");
                if self.0.mounts.iter().any(|mount| mount.path.starts_with(&inside)) {
                    return Err(Errno::BUSY.into());
                }
                self.rename_memory(&source, &target)
            }
            _ => Err(Errno::XDEV.into()),
        }
    }

    fn rename_memory(&self, source: &str, target: &str) -> FsResult<()> {
        let mut paths = vec![source.to_owned()];
        let mut next = 0;
        while let Some(path) = paths.get(next).cloned() {
            if self.node(&path).is_ok_and(|node| matches!(node.kind, Kind::Directory)) {
                let children = self.list_memory(&path);
                paths.extend(children.into_iter().map(|entry| format!("{path}/{}", entry.name)));
            }
            next += 1;
        }
        for path in paths {
            let node = self.node(&path)?;
            let moved = format!("{target}{}", &path[source.len()..]);
            let mut upper = self.0.upper.lock();
            upper.remove(path);
            upper.insert(moved, node);
        }
        Ok(())
    }

    /// Tells whether a write to this path would meet a read-only mount.
    pub fn is_read_only(&self, path: &str) -> bool {
        self.resolve(path, true).is_ok_and(|canonical| match self.place(&canonical) {
            Place::Mount(mount, _) => mount.read_only,
            Place::Memory => false,
        })
    }

    /// The mounts as `/proc/mounts` and `df` list them: path and whether read-only.
    pub fn mounts(&self) -> Vec<(String, bool)> {
        let mut all: Vec<(String, bool)> =
            self.0.mounts.iter().map(|mount| (mount.path.clone(), mount.read_only)).collect();
        all.sort();
        all
    }
}

impl std::fmt::Debug for FileSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSystem").field("mounts", &self.mounts()).finish()
    }
}

/// A file opened for appending.
#[derive(Clone, Debug)]
pub struct OpenFile {
    files: FileSystem,
    path: String,
}

impl OpenFile {
    /// Adds to the end of the file; nothing when it has been deleted meanwhile.
    ///
    /// # Errors
    /// As `write(2)`.
    pub fn append(&self, content: &[u8]) -> FsResult<()> {
        if self.files.lookup(&self.path).is_err() {
            return Ok(());
        }
        self.files.append(&self.path, content)
    }
}

/// Joins a path to the directory it is relative to; `.` and `..` stay for [`FileSystem::resolve`].
pub fn join(directory: &str, path: &str) -> String {
    match path {
        _ if path.starts_with('/') => path.to_owned(),
        "" => String::new(),
        _ => format!("{}/{path}", directory.trim_end_matches('/')),
    }
}

/// Parent of a canonical path.
pub(crate) fn parent_of(canonical: &str) -> &str {
    match canonical.rfind('/') {
        Some(0) | None => "/",
        Some(end) => &canonical[..end],
    }
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

#[cfg(test)]
mod tests;
