//! SchedulingGates (PreEnqueue): a pod with gates waits outside the queue until its last gate is lifted.

use crate::framework::PodInfo;

/// The plugin's name.
pub const NAME: &str = "SchedulingGates";

/// The message of the PodScheduled condition of a gated pod; None: the pod may enter the queue.
#[must_use]
pub fn waiting_for(pod: &PodInfo) -> Option<String> {
    let gates: Vec<&str> = pod.pod.spec.scheduling_gates.iter().map(|g| g.name.as_str()).collect();
    (!gates.is_empty()).then(|| format!("waiting for scheduling gates: [{}]", gates.join(" ")))
}
