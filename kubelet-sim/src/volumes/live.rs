//! Keeps the volumes of a running pod as their sources are.
//!
//! ConfigMaps, Secrets and the pod's own labels and annotations are written anew when they change, volume by volume and
//! each in one step. What vanishes stays as it was, unless it is optional; what fails is told by `FailedMount` and does
//! not hold up the other volumes. A container that mounts a single file by `subPath` keeps the file that it began with.

use std::{path::PathBuf, sync::Arc};

use apimachinery::api::core::{Pod, Volume};
use client::events::EventType;
use tokio::sync::watch;

use crate::{
    node::NodeContext,
    objects::{Referenced, References},
    tokens::{is_account_volume, kept},
};

/// Whether a pod has volumes that change while it runs.
#[must_use]
pub fn is_needed(pod: &Pod) -> bool {
    followed(pod).any(|volume| {
        volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.projected.is_some()
            || volume.downward_api.is_some()
    })
}

/// The volumes that are followed: all but the one with the pod's own token, whose other content comes with each token.
fn followed(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.volumes.iter().filter(|volume| !is_account_volume(volume))
}

/// What of a pod its volumes show.
fn shown(pod: &Pod) -> (&impl PartialEq, &impl PartialEq) {
    (&pod.metadata.labels, &pod.metadata.annotations)
}

/// Keeps a pod's volumes up to date until the pod is gone. They have been set up.
pub async fn follow(node: Arc<NodeContext>, mut pods: watch::Receiver<Arc<Pod>>, dir: PathBuf) {
    let mut pod = pods.borrow_and_update().clone();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let references = References::of(followed(&pod));
    let mut objects = node.objects.follow(&namespace, &references);
    let mut told = Vec::new();
    loop {
        tokio::select! {
            () = objects.changed() => {}
            changed = pods.changed() => {
                if changed.is_err() {
                    return;
                }
                let new = pods.borrow_and_update().clone();
                let same = shown(&pod) == shown(&new);
                pod = new;
                if same {
                    continue;
                }
            }
        }
        let Some(referenced) = objects.now() else { continue };
        node.objects.keep(&namespace, &referenced);
        let problems = refresh(&node, &pod, &dir, &referenced);
        for problem in problems.iter().filter(|problem| !told.contains(*problem)) {
            node.event(&pod, EventType::Warning, "FailedMount", problem);
        }
        told = problems;
    }
}

/// Writes what differs; gives what could not be written.
fn refresh(
    node: &NodeContext,
    pod: &Pod,
    dir: &std::path::Path,
    referenced: &Referenced,
) -> Vec<String> {
    let now = node.clock.now();
    // Between the look at a token and its writing nobody may write a newer one.
    let _writing = node.volume_writes.lock();
    let referenced = Referenced { tokens: kept(pod, dir), ..referenced.clone() };
    let volumes = followed(pod).filter(|volume| volume.empty_dir.is_none());
    volumes
        .filter_map(|volume| {
            super::set_up_one(pod, volume, dir, &referenced, &node.host_ip, now).err()
        })
        .collect()
}

#[cfg(test)]
mod tests;
