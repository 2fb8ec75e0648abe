//! The disruption controller: how many pods of a PodDisruptionBudget may be disrupted now.
//!
//! It counts the budget's pods and writes the status by which the API server grants or refuses evictions. How many pods
//! there should be is told by the pods' controllers where the budget speaks in percent or of pods that may be missing, by
//! the pods themselves where it speaks of a number. An eviction that was granted counts as done for two minutes, until
//! the pod's deletion shows. When something goes wrong no disruption is allowed, and a condition says why. A pod's
//! `DisruptionTarget` condition that nothing came of is taken back after two minutes.
//!
//! [`plan`] is pure. Follows `pkg/controller/disruption` of Kubernetes.

mod act;
pub mod plan;
mod scale;
mod stale;

pub use act::start;
