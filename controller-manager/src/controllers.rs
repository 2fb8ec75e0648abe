//! The controllers, one file or folder each.

pub mod deployment;
pub mod endpoint_slice;
pub mod replica_set;
