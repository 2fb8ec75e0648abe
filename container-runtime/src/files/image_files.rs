//! The read-only files of an image, in layers: a base that many images share and the image's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::tree::{Kind, Node, direct_children};
use super::{FileType, parent_of};

/// Files of an image by canonical path.
#[derive(Clone, Debug, Default)]
pub struct ImageFiles {
    base: Option<Arc<Self>>,
    nodes: BTreeMap<String, Node>,
}

impl ImageFiles {
    /// An empty root.
    pub fn new() -> Self {
        let root = Node::new(Kind::Directory, 0o755, Timestamp::UNIX_EPOCH);
        Self { base: None, nodes: BTreeMap::from([("/".to_owned(), root)]) }
    }

    /// A layer on top of others.
    pub fn over(base: Arc<Self>) -> Self {
        Self { base: Some(base), nodes: BTreeMap::new() }
    }

    /// Adds a node and its missing parents. The path is absolute and canonical.
    pub fn add(&mut self, path: &str, kind: Kind, mode: u32) -> &mut Self {
        let parent = parent_of(path);
        if path != "/" && self.get(parent).is_none() {
            self.add(parent, Kind::Directory, 0o755);
        }
        self.nodes.insert(path.to_owned(), Node::new(kind, mode, Timestamp::UNIX_EPOCH));
        self
    }

    /// Adds a file of mode 0644.
    pub fn file(&mut self, path: &str, content: impl Into<Vec<u8>>) -> &mut Self {
        self.add(path, Kind::file(content), 0o644)
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path).or_else(|| self.base.as_ref()?.get(path))
    }

    pub(crate) fn children(&self, directory: &str) -> BTreeMap<String, FileType> {
        let mut found = self.base.as_ref().map(|base| base.children(directory)).unwrap_or_default();
        for (name, node) in direct_children(&self.nodes, directory) {
            found.insert(name.to_owned(), node.metadata().kind);
        }
        found
    }
}
