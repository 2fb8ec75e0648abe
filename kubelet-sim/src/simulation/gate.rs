//! Acts out a slow or failing server before a container's listeners, as the pod's annotations say at the time.

use std::sync::Arc;

use apimachinery::api::core::Pod;
use cni::network::{Gate, PodStream};
use component_base::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{ContainerSimulation, PodSimulation};

/// The gate of one container.
pub struct FaultGate {
    container: String,
    clock: Clock,
    /// The pod as it changes, and what was read of it last.
    known: Mutex<(watch::Receiver<Arc<Pod>>, ContainerSimulation)>,
}

impl FaultGate {
    /// A gate that follows the pod's annotations.
    #[must_use]
    pub fn new(container: &str, mut pods: watch::Receiver<Arc<Pod>>, clock: Clock) -> Self {
        let simulation = PodSimulation::of(&pods.borrow_and_update()).container(container);
        Self { container: container.to_owned(), clock, known: Mutex::new((pods, simulation)) }
    }

    fn chance(&self, share: f64) -> bool {
        // 53 bits: as many as the number has.
        let dice = (self.clock.random_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        dice < share
    }
}

impl Gate for FaultGate {
    fn admit(&self, stream: &mut PodStream) -> bool {
        let mut known = self.known.lock();
        let (pods, simulation) = &mut *known;
        if pods.has_changed().unwrap_or(false) {
            *simulation = PodSimulation::of(&pods.borrow_and_update()).container(&self.container);
        }
        if simulation.error_rate.is_some_and(|share| self.chance(share)) {
            return false;
        }
        if let Some(latency) = simulation.latency {
            let wait = self.clock.sleep(latency);
            stream.hold(wait);
        }
        true
    }
}

#[cfg(test)]
mod tests;
