//! The node lifecycle controller: what becomes of a node that is not heard of any more, and of its pods.
//!
//! | module | decides |
//! |---|---|
//! | [`health`] | a node's conditions and taints from its Lease and status; pure |
//! | [`eviction`] | when a pod must leave a node with NoExecute taints; pure |
//!
//! A node renews its Lease every 10 s. Once nothing of it has changed for 50 s (by this controller's own clock: the
//! node's may differ) its conditions become Unknown, it is tainted `unreachable`, and its pods are no longer ready.
//! Pods tolerate that for 300 s by default (DefaultTolerationSeconds) and are then deleted; a node that comes back in
//! time keeps them. Nothing is polled: each node and each pod has its own deadline in a work queue. Follows
//! `pkg/controller/nodelifecycle` and `pkg/controller/tainteviction` of Kubernetes.

pub mod act;
pub mod eviction;
pub mod health;
