//! The exec shell and its commands: what `sh` and its friends are in a container.

mod commands;

use std::sync::Arc;

use crate::program::Program;

/// The command of this name or path, if the userland has it.
pub(crate) fn command(name: &str) -> Option<Arc<dyn Program>> {
    commands::find(name)
}

/// Names of all commands.
pub(crate) fn command_names() -> impl Iterator<Item = &'static str> {
    commands::COMMANDS.iter().map(|(name, _)| *name)
}
