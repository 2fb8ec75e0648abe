//! The API server: one handler chain behind two faces, on an embedded store.

pub mod registry;
pub mod request;
pub mod storage;
