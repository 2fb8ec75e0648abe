//! The ReplicaSet controller: keeps the wanted number of pods of one template.
//!
//! | module | decides |
//! |---|---|
//! | [`plan`] | which pods to adopt, release, create and delete, and the status; pure |
//! | [`ranking`] | which pods go first when there are too many |
//!
//! Creations come in batches that double (1, 2, 4, …), so that a quota or a broken template costs one failed request,
//! not a thousand. Between a write and its echo in the cache, [`crate::expectations`] keep the controller from counting
//! twice. Follows `pkg/controller/replicaset` of Kubernetes.

pub mod act;
pub mod plan;
pub mod ranking;
