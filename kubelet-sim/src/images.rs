//! The images of a node: which are on it, and how they are named in statuses.
//!
//! Nothing is transferred, but a node knows what it has pulled, as a node with a disk does: over reboots, for
//! `imagePullPolicy`, and for the scheduler, which reads it in the node's status.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use apimachinery::api::core::ContainerImage;
use component_base::files;
use container_runtime::{Image, ImageReference};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::backoff::Backoff;

/// As many images are told in a node's status: `nodeStatusMaxImages`.
const MOST: usize = 50;

/// The name in a container status: the normalised reference, as container runtimes report it.
#[must_use]
pub fn display_name(image: &str) -> String {
    match ImageReference::parse(image) {
        Ok(reference) => reference.to_string(),
        Err(_) => image.to_owned(),
    }
}

/// An image as a node keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    id: String,
    size: i64,
}

/// The images on a node.
pub struct NodeImages {
    file: PathBuf,
    kept: Mutex<BTreeMap<String, Kept>>,
    changed: watch::Sender<()>,
}

impl NodeImages {
    /// The images that the file tells of; none where it cannot be read.
    #[must_use]
    pub fn open(file: PathBuf) -> Self {
        let text = std::fs::read(&file).ok();
        let kept = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { file, kept: Mutex::new(kept), changed: watch::Sender::new(()) }
    }

    /// Whether the node has an image.
    #[must_use]
    pub fn has(&self, reference: &ImageReference) -> bool {
        self.kept.lock().contains_key(&reference.to_string())
    }

    /// Puts an image on the node.
    pub fn add(&self, image: &Image) {
        let mut kept = self.kept.lock();
        let entry = Kept { id: image.id(), size: image.size_bytes };
        if kept.insert(image.reference.to_string(), entry.clone()) == Some(entry) {
            return;
        }
        let written = serde_json::to_vec(&*kept)
            .map_err(std::io::Error::from)
            .and_then(|text| files::write_atomic(&self.file, &text, files::PRIVATE));
        drop(kept);
        if let Err(e) = written {
            tracing::warn!(file = %self.file.display(), error = %e, "cannot keep the node's images");
        }
        self.changed.send_replace(());
    }

    /// Tells of images that come.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// `status.images`: the largest first.
    #[must_use]
    pub fn list(&self) -> Vec<ContainerImage> {
        let kept = self.kept.lock();
        let image = |(name, kept): (&String, &Kept)| {
            let mut names = vec![kept.id.clone()];
            if *name != kept.id {
                names.push(name.clone());
            }
            ContainerImage { names, size_bytes: Some(kept.size) }
        };
        let mut images: Vec<ContainerImage> = kept.iter().map(image).collect();
        images.sort_by_key(|image| std::cmp::Reverse(image.size_bytes));
        images.truncate(MOST);
        images
    }
}

/// The pulls of a pod that failed, by image: until when each waits, and what it said.
#[derive(Clone, Debug, Default)]
pub struct FailedPulls(BTreeMap<String, (Backoff, Duration, String)>);

impl FailedPulls {
    /// What the last pull said, and until when the next one waits; None: it need not.
    #[must_use]
    pub fn waiting(&self, image: &str, now: Duration) -> Option<(&str, Duration)> {
        let (_, until, message) = self.0.get(image)?;
        (now < *until).then_some((message, *until))
    }

    /// Notes a failure; gives until when the next pull waits.
    pub fn failed(&mut self, image: &str, now: Duration, message: &str) -> Duration {
        let (backoff, until, text) = self.0.entry(image.to_owned()).or_default();
        backoff.restarted(now, now);
        *until = now + backoff.current();
        message.clone_into(text);
        *until
    }
}

#[cfg(test)]
mod tests {
    use container_runtime::ImageCatalogue;

    use super::*;

    #[test]
    fn a_node_remembers_its_images() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("images.json");
        let catalogue = ImageCatalogue::new();
        let digest = format!("x@sha256:{}", "0a".repeat(32));
        let images = NodeImages::open(file.clone());
        let mut watch = images.watch();
        for name in ["busybox", "nginx:1.27", &digest] {
            images.add(&catalogue.resolve(name).unwrap());
        }
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        images.add(&catalogue.resolve("busybox").unwrap());
        assert!(!watch.has_changed().unwrap(), "nothing new");

        let again = NodeImages::open(file);
        let has = |name| again.has(&ImageReference::parse(name).unwrap());
        assert!(has("nginx:1.27") && has("docker.io/library/busybox:latest") && !has("nginx"));
        let list = again.list();
        let sizes: Vec<i64> = list.iter().filter_map(|image| image.size_bytes).collect();
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
        let names: Vec<&[String]> = list.iter().map(|image| &image.names[..]).collect();
        assert!(names.contains(&&[format!("docker.io/library/{digest}")][..]), "{names:?}");
        assert!(names[0][0].starts_with("docker.io/library/nginx@sha256:"), "{names:?}");
        assert_eq!(names[0][1], "docker.io/library/nginx:1.27");
    }

    #[test]
    fn failed_pulls_wait_longer_each_time() {
        let mut pulls = FailedPulls::default();
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..7 {
            let until = pulls.failed("x", now, "no");
            assert_eq!(pulls.waiting("x", now), Some(("no", until)));
            assert_eq!(pulls.waiting("x", until), None);
            waits.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pulls.waiting("y", Duration::ZERO), None);
    }
}
