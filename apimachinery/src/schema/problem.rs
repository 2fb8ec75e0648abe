//! What is wrong with a value, in the words of Kubernetes' decoder.

use std::fmt;

/// A fault that [`super::check()`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A field that the schema does not have; an error under strict field validation, a warning or
    /// nothing otherwise.
    UnknownField {
        /// The path as `spec.containers[0].imagePullPolice`.
        path: String,
    },
    /// A value that cannot be decoded; always an error. The text is Go's.
    Undecodable(String),
}

impl Problem {
    /// Whether the object can be decoded in spite of it.
    #[must_use]
    pub const fn is_strict(&self) -> bool {
        matches!(self, Self::UnknownField { .. })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownField { path } => write!(f, "unknown field \"{path}\""),
            Self::Undecodable(message) => f.write_str(message),
        }
    }
}
