//! The `kube` crate, a client that is not ours, against a test cluster: client, watcher, reflector, streams, server-side
//! apply, derived definitions, and the controller of `examples/website`.
//!
//! A package of its own, so that no other waits for the crates that only these tests need.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod certificates;
#[path = "../../examples/website/controller.rs"]
mod controller;
mod definitions;
mod objects;
mod pods;
mod subresources;
mod support;
mod watching;
mod website;
