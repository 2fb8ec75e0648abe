//! The rules in force, kept in a file: a proxy that starts while the API is away programs a rebooted node with what was
//! last true.
//!
//! ```text
//! {"services":{…},"nodes":{…}}      the rules at some moment
//! {"services":{"default/web":…}}    a change of them
//! …                                 and so on
//! ```
//! A change is written before the next is looked at, so that nothing is lost with this process. It is one line, whatever
//! the number of Services; when the changes have become longer than the rules, the file is written afresh beside the old
//! one and takes its place. Against the loss of the machine the file is synced, but only a while after the first change
//! that needs it: an idle cluster syncs nothing, and one that never rests a few times a minute. What such a loss leaves
//! of the last line is left out when the file is read.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use cni::rules::{RuleDelta, RuleSet};
use tokio::{
    fs::{self, File, OpenOptions},
    io::AsyncWriteExt as _,
};
use tracing::warn;

/// How long a change may be unsynced.
const SYNC_AFTER: Duration = Duration::from_secs(10);
/// Changes of this length are kept, however short the rules.
const LEAST_JOURNAL: usize = 64 << 10;

/// The file, as far as this process has written it.
pub(crate) struct Cache {
    path: PathBuf,
    file: Option<File>,
    /// Bytes of the rules, and of the changes after them.
    written: (usize, usize),
    /// When the file has to be synced.
    sync_at: Option<Duration>,
}

impl Cache {
    /// A file that is written at the first [`Self::replace`].
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None, written: (0, 0), sync_at: None }
    }

    /// Whether it should be [replaced](Self::replace) rather than continued.
    pub(crate) fn is_overgrown(&self) -> bool {
        let (rules, changes) = self.written;
        self.file.is_none() || changes > rules.max(LEAST_JOURNAL)
    }

    /// Writes all rules.
    pub(crate) async fn replace(&mut self, rules: &[u8]) -> io::Result<()> {
        self.file = None;
        self.sync_at = None;
        let beside = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options.create(true).write(true).truncate(true).open(&beside).await?;
        file.write_all(rules).await?;
        file.write_all(b"\n").await?;
        file.flush().await?;
        // What takes the place of the old file has to be whole.
        file.sync_data().await?;
        fs::rename(&beside, &self.path).await?;
        self.written = (rules.len(), 0);
        self.file = Some(file);
        Ok(())
    }

    /// Writes a change of what was written last.
    pub(crate) async fn append(&mut self, change: &RuleDelta, now: Duration) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut line = serde_json::to_vec(change)?;
        line.push(b'\n');
        let written = async {
            file.write_all(&line).await?;
            file.flush().await
        };
        if let Err(error) = written.await {
            // Half a line may be there: nothing may follow it.
            self.file = None;
            return Err(error);
        }
        self.written.1 += line.len();
        self.sync_at.get_or_insert(now + SYNC_AFTER);
        Ok(())
    }

    /// When [`Self::sync`] is due, if it is.
    pub(crate) fn sync_at(&self) -> Option<Duration> {
        self.sync_at
    }

    /// Makes sure that what was written outlives the machine.
    pub(crate) async fn sync(&mut self) -> io::Result<()> {
        self.sync_at = None;
        match &self.file {
            Some(file) => file.sync_data().await,
            None => Ok(()),
        }
    }
}

/// Reads the rules of an earlier life.
pub(crate) fn read(path: &Path) -> Option<RuleSet> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!(path = %path.display(), %error, "cannot read the rules of an earlier life");
            return None;
        }
    };
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let mut rules: RuleSet = match serde_json::from_slice(lines.next().unwrap_or_default()) {
        Ok(rules) => rules,
        Err(error) => {
            warn!(path = %path.display(), %error, "cannot read the rules of an earlier life");
            return None;
        }
    };
    for line in lines {
        match serde_json::from_slice::<RuleDelta>(line) {
            Ok(change) if line.ends_with(b"\n") => drop(rules.apply(change)),
            // What follows was against this.
            _ => {
                warn!(path = %path.display(), "the last rules of an earlier life were not written whole");
                break;
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use cni::rules::{NodeRoute, RuleDelta};

    use super::*;

    fn change(node: &str) -> RuleDelta {
        let mut delta = RuleDelta::default();
        delta.nodes.insert(node.to_owned(), Some(NodeRoute::default()));
        delta
    }

    fn nodes(path: &Path) -> Option<Vec<String>> {
        read(path).map(|rules| rules.nodes.into_keys().collect())
    }

    #[tokio::test]
    async fn what_was_written_is_read_however_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.json");
        assert_eq!(nodes(&path), None);
        let mut cache = Cache::new(path.clone());
        assert!(cache.is_overgrown());
        let second = Duration::from_secs(1);
        cache.append(&change("lost"), second).await.unwrap();
        assert!(nodes(&path).is_none(), "without the rules a change means nothing");
        cache.replace(b"{}").await.unwrap();
        assert_eq!((nodes(&path).unwrap(), cache.sync_at()), (vec![], None));
        for node in ["a", "b"] {
            cache.append(&change(node), second).await.unwrap();
            // The file is never closed: this is what a killed process leaves.
            assert_eq!(nodes(&path).unwrap().last().unwrap(), node);
        }
        // One sync for both, and none without a change.
        assert_eq!(cache.sync_at(), Some(second + SYNC_AFTER));
        cache.sync().await.unwrap();
        assert_eq!(cache.sync_at(), None);

        let whole = std::fs::read(&path).unwrap();
        let last = whole.iter().rev().skip(1).position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in 1..=last {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            assert_eq!(nodes(&path).unwrap(), ["a"], "{cut} bytes less");
        }
        for damaged in ["", "{", "7\n", "{\"x\":1}\n"] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(nodes(&path), None, "{damaged:?}");
        }
        // An earlier version wrote the rules alone, without an end of line.
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(nodes(&path).unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn many_changes_become_rules() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = Cache::new(folder.path().join("rules.json"));
        cache.replace(b"{}").await.unwrap();
        let mut written = 0;
        while !cache.is_overgrown() {
            cache.append(&change(&"x".repeat(1000)), Duration::ZERO).await.unwrap();
            written += 1;
        }
        assert!((60..70).contains(&written), "{written}");
        cache.replace(b"{}").await.unwrap();
        assert!(!cache.is_overgrown());
    }
}
