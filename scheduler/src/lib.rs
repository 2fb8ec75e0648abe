//! kube-scheduler: finds each pod its node.
//!
//! | module | holds |
//! |---|---|
//! | [`framework`] | the extension points, and what plugins see of nodes and pods |
//! | [`plugins`] | the policy, one plugin per file |
//! | [`queue`] | the pods that wait: active, backing off, unschedulable, gated |
//! | [`snapshot`] | the cache of nodes and assigned pods, and the views taken of it |
//! | [`schedule_one`] | one pod's decision |
//! | [`preemption`] | who must go to make room |
//! | [`nominator`] | who waits for the room that preemption makes |
//! | [`explain`] | what would be decided of a pod now, in full |
//! | [`scheduler`] | all of that as a state machine: changes in, actions out |
//! | [`server`] | follows the API and carries the actions out |
//!
//! **Invariant:** everything but [`server`] is pure: no clock, no task, no I/O. A decision can be replayed from its
//! inputs.

pub mod explain;
pub mod framework;
pub mod metrics;
pub mod nominator;
pub mod plugins;
pub mod preemption;
pub mod queue;
pub mod schedule_one;
pub mod scheduler;
pub mod server;
pub mod snapshot;
#[cfg(test)]
mod testing;

pub use server::{Config, Server};
