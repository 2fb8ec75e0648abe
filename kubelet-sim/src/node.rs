//! One simulated node: its registration, its Lease, its pods.
//!
//! | part | does |
//! |---|---|
//! | [`context`] | what all parts of a node share |
//! | [`own`] | what the node knows of itself |
//! | [`registration`], [`status`] | the Node object and its status |
//! | [`lease`] | the heartbeat |
//! | [`admission`] | whether a pod may run here (pure) |
//! | [`pods`] | a worker for each pod that is bound here |
//! | [`shutdown`] | the node's end in order |

pub(crate) mod admission;
pub mod context;
mod lease;
mod own;
mod pods;
mod registration;
pub mod shutdown;
mod status;

pub use context::{NodeContext, NodeSettings};
pub(crate) use lease::keep_lease;
pub use own::OwnNode;
pub use pods::PodTable;
pub(crate) use pods::follow_pods;
pub(crate) use registration::{Reporter, object};

#[cfg(test)]
mod tests;
