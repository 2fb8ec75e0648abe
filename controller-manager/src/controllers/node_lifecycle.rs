//! The node lifecycle controller: what becomes of a node that is not heard of any more.
//!
//! | module | decides |
//! |---|---|
//! | [`health`] | a node's conditions and taints from its Lease and status; pure |
//! | [`zones`] | how fast nodes get the taint that evicts their pods; pure |
//!
//! A node renews its Lease every 10 s. Once nothing of it has changed for 50 s (by this controller's own clock: the
//! node's may differ) its conditions become Unknown, it is tainted `unreachable`, and its pods are no longer ready. The
//! NoSchedule taint comes at once, the NoExecute taint when it is the node's turn: [`zones`]. What that means for the pods
//! is the taint eviction controller's business. Nothing is polled: each node has its own deadline in a work queue. Follows
//! `pkg/controller/nodelifecycle` of Kubernetes.

pub mod act;
pub mod health;
pub mod zones;
