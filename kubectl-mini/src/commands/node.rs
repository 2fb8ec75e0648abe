//! `kubectl-mini node`: looking into a node. kubectl has no such command.

pub mod rules;

use crate::cli::{Spec, leaf};

/// The subcommands.
pub static SUBCOMMANDS: &[Spec] = &[leaf::<rules::Rules>()];

/// The usage line of the group.
pub const USAGE: &str = "node";
