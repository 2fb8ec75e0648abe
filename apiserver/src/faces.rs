//! The two tongues: gRPC for kube-mini's own processes, REST for every client of Kubernetes.
//!
//! A face translates: the wire's request into a [`crate::request::RequestContext`] and a
//! [`crate::request::Request`], the chain's answer back, and an error by the one function that each has for that. It
//! decides nothing.

pub mod grpc;
pub mod rest;

/// The default field manager: the user agent's first word.
fn default_manager(user_agent: &str) -> &str {
    user_agent.split('/').next().unwrap_or("")
}

#[cfg(test)]
mod tests;
