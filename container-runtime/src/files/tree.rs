//! The in-memory part of a root filesystem: nodes by canonical path, deletions as whiteouts.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::errno::{Errno, FsResult};
use super::{FileType, Metadata, UPPER_LIMIT};

/// Devices that a container has below `/dev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// `/dev/null`
    Null,
    /// `/dev/zero`
    Zero,
    /// `/dev/random`, `/dev/urandom`
    Random,
    /// `/dev/stdin`
    Stdin,
    /// `/dev/stdout`
    Stdout,
    /// `/dev/stderr`
    Stderr,
}

/// What a node of the in-memory tree is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A file and its content.
    File(Arc<Vec<u8>>),
    /// A directory; its children are the nodes below its path.
    Directory,
    /// A symbolic link and its target.
    Symlink(String),
    /// A device.
    Device(Device),
    /// An executable that stands for a Program or command.
    Executable,
}

impl Kind {
    /// A file of this content.
    pub fn file(content: impl Into<Vec<u8>>) -> Self {
        Self::File(Arc::new(content.into()))
    }
}

/// A node with its metadata.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) modified: Timestamp,
}

impl Node {
    pub(crate) fn new(kind: Kind, mode: u32, modified: Timestamp) -> Self {
        Self { kind, mode, modified }
    }

    pub(crate) fn metadata(&self) -> Metadata {
        let (kind, size) = match &self.kind {
            Kind::File(content) => (FileType::File, content.len()),
            Kind::Directory => (FileType::Directory, 4096),
            Kind::Symlink(target) => (FileType::Symlink, target.len()),
            Kind::Device(device) => (FileType::Device(*device), 0),
            Kind::Executable => (FileType::Executable, 1_131_168),
        };
        Metadata { kind, mode: self.mode, size: size as u64, modified: self.modified }
    }

    fn weight(&self) -> usize {
        match &self.kind {
            Kind::File(content) => content.len() + 128,
            Kind::Symlink(target) => target.len() + 128,
            _ => 128,
        }
    }
}

/// The container's own changes: nodes, and `None` where it deleted one of the image's.
#[derive(Debug, Default)]
pub(crate) struct Upper {
    nodes: BTreeMap<String, Option<Node>>,
    bytes: usize,
}

impl Upper {
    /// `None`: unknown here; `Some(None)`: deleted.
    pub(crate) fn get(&self, path: &str) -> Option<Option<&Node>> {
        self.nodes.get(path).map(Option::as_ref)
    }

    pub(crate) fn insert(&mut self, path: String, node: Node) {
        self.bytes += node.weight();
        let old = self.nodes.insert(path, Some(node));
        self.forget(old.flatten().as_ref());
    }

    pub(crate) fn remove(&mut self, path: String) {
        let old = self.nodes.insert(path, None);
        self.forget(old.flatten().as_ref());
    }

    fn forget(&mut self, old: Option<&Node>) {
        self.bytes = self.bytes.saturating_sub(old.map_or(0, Node::weight));
    }

    /// Replaces or extends a file's content; `node` is the file as it was before.
    pub(crate) fn write(
        &mut self,
        path: String,
        mut node: Node,
        content: &[u8],
        truncate: bool,
    ) -> FsResult<()> {
        if self.bytes + content.len() > UPPER_LIMIT {
            return Err(Errno::NOSPC.into());
        }
        // The tree's own reference goes first, so that appending does not copy what is there.
        let old = self.nodes.remove(&path).flatten();
        self.forget(old.as_ref());
        drop(old);
        let mut bytes = match node.kind {
            Kind::File(bytes) if !truncate => bytes,
            _ => Arc::default(),
        };
        Arc::make_mut(&mut bytes).extend_from_slice(content);
        node.kind = Kind::File(bytes);
        self.insert(path, node);
        Ok(())
    }

    /// Direct children of a directory that are known here.
    pub(crate) fn children(&self, directory: &str) -> Vec<(String, Option<&Node>)> {
        direct_children(&self.nodes, directory)
            .map(|(name, node)| (name.to_owned(), node.as_ref()))
            .collect()
    }
}

/// Entries of a path-keyed map that lie directly in a directory, without their subtrees.
pub(crate) fn direct_children<'a, T>(
    nodes: &'a BTreeMap<String, T>,
    directory: &str,
) -> impl Iterator<Item = (&'a str, &'a T)> {
    let prefix = format!("{}/", directory.trim_end_matches('/'));
    nodes
        .range(prefix.clone()..)
        .take_while({
            let prefix = prefix.clone();
            move |(path, _)| path.starts_with(&prefix)
        })
        .filter_map(move |(path, node)| {
            let name = &path[prefix.len()..];
            (!name.is_empty() && !name.contains('/')).then_some((name, node))
        })
}
