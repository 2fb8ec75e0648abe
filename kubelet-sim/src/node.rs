//! One simulated node: its registration, its Lease, its pods.
//!
//! | part | does |
//! |---|---|
//! | [`context`] | what all parts of a node share |
//! | [`registration`] | the Node object and its status |
//! | [`lease`] | the heartbeat |
//! | [`pods`] | a worker for each pod that is bound here |

pub mod context;
mod lease;
mod pods;
mod registration;

pub use context::{NodeContext, NodeSettings};
pub(crate) use lease::keep_lease;
pub use pods::PodTable;
pub(crate) use pods::follow_pods;
pub(crate) use registration::{await_pod_cidr, keep_status, register};
