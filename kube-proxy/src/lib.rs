//! kube-proxy.
pub mod compile;
