//! The API server: one handler chain behind two faces, on an embedded store.

mod admission;
pub mod authentication;
pub mod authorization;
pub mod faces;
pub mod handler;
pub mod kubelet;
mod metrics;
pub mod registry;
pub mod request;
pub mod storage;
