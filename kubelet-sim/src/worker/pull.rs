//! A container's image: on the node, pulled, or not to be had. Follows the kubelet's image manager.

use std::{sync::Arc, time::Duration};

use apimachinery::api::core::Container as Spec;
use client::events::EventType;
use container_runtime::{Image, ImageReference};

use super::PodWorker;
use crate::simulation::PodSimulation;

/// How long a failed pull shows as ErrImagePull before it shows as ImagePullBackOff.
const SHOWN: Duration = Duration::from_secs(1);
/// How long after a failure that only the user can mend the kubelet looks again.
const RETRY: Duration = Duration::from_secs(10);

/// Why there is no image.
struct Missing {
    reason: &'static str,
    message: String,
    /// When to look again.
    retry_at: Duration,
}

impl PodWorker {
    /// The container's image, pulled if its policy says so; None: it is not to be had now, which is told.
    pub(super) fn image(&mut self, spec: &Spec) -> Option<Arc<Image>> {
        match self.ensure_image(spec) {
            Ok(image) => Some(image),
            Err(Missing { reason, message, retry_at }) => {
                let text = format!("Error: {reason}");
                self.container_event(&spec.name, EventType::Warning, "Failed", &text);
                let record = self.records.get_or_default(&spec.name);
                record.problem = Some((reason.to_owned(), message));
                record.retry_at = Some(retry_at);
                None
            }
        }
    }

    fn ensure_image(&mut self, spec: &Spec) -> Result<Arc<Image>, Missing> {
        let now = self.node.clock.monotonic();
        let written = spec.image.as_deref().unwrap_or_default();
        let tell = |worker: &Self, kind, reason: &str, text: &str| {
            worker.container_event(&spec.name, kind, reason, text);
        };
        let reference = ImageReference::parse(written).map_err(|e| {
            let message = format!(
                "Failed to apply default image tag {written:?}: couldn't parse image reference {written:?}: {e}"
            );
            tell(self, EventType::Warning, "InspectFailed", &message);
            Missing { reason: "InvalidImageName", message, retry_at: now + RETRY }
        })?;
        let image = self.node.catalogue.get(&reference);
        let present = self.node.images.has(&reference);
        match spec.image_pull_policy.as_deref() {
            Some("Always") => {}
            _ if present => {
                let text = format!(
                    "Container image {written:?} already present on machine and can be accessed by the pod"
                );
                tell(self, EventType::Normal, "Pulled", &text);
                return Ok(image);
            }
            Some("Never") => {
                let message =
                    format!("Container image {written:?} is not present with pull policy of Never");
                tell(self, EventType::Warning, "ErrImageNeverPull", &message);
                let reason = "ErrImageNeverPull";
                return Err(Missing { reason, message, retry_at: now + RETRY });
            }
            _ => {}
        }
        if let Some((last, until)) = self.pulls.waiting(written, now) {
            let text = format!("Back-off pulling image {written:?}");
            let message = format!("{text}: ErrImagePull: {last}");
            tell(self, EventType::Normal, "BackOff", &text);
            return Err(Missing { reason: "ImagePullBackOff", message, retry_at: until });
        }
        tell(self, EventType::Normal, "Pulling", &format!("Pulling image {written:?}"));
        let asked = PodSimulation::of(&self.pod).container(&spec.name).image_pull_error;
        let refused = asked.or_else(|| self.node.catalogue.refusal(written, &reference));
        if let Some(error) = refused {
            let message = error.message(&reference);
            let text = format!("Failed to pull image {written:?}: {message}");
            tell(self, EventType::Warning, "Failed", &text);
            self.pulls.failed(written, now, &message);
            return Err(Missing { reason: "ErrImagePull", message, retry_at: now + SHOWN });
        }
        let text = format!(
            "Successfully pulled image {written:?} in 0s (0s including waiting). Image size: {} bytes.",
            image.size_bytes
        );
        tell(self, EventType::Normal, "Pulled", &text);
        self.node.images.add(&image);
        Ok(image)
    }
}

#[cfg(test)]
mod tests;
