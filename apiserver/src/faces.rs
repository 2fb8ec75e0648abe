//! The two tongues: gRPC for kube-mini's own processes, REST for every client of Kubernetes.
//!
//! A face translates: the wire's request into a [`crate::request::RequestContext`] and a
//! [`crate::request::Request`], the chain's answer back, and an error by the one function that each has for that. It
//! decides nothing. Before both stands the [`guard`], which bounds what a request may cost before anybody looks at it.

pub mod grpc;
pub(crate) mod guard;
pub(crate) mod live;
pub mod openapi;
pub mod rest;

/// A field manager's name is at most this many bytes long.
const MAX_MANAGER: usize = 128;

/// The default field manager: the user agent's first word, cut to what a manager's name may be.
fn default_manager(user_agent: &str) -> &str {
    let word = user_agent.split('/').next().unwrap_or("");
    let end = word.char_indices().find(|(at, c)| c.is_control() || at + c.len_utf8() > MAX_MANAGER);
    end.map_or(word, |(at, _)| &word[..at])
}

/// The subresources whose answers last as long as somebody wants them.
fn is_stream(subresource: &str) -> bool {
    matches!(subresource, "exec" | "attach" | "portforward" | "log")
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
