//! The exec shell: what `sh`, `ash` and `bash` are in a container.
//!
//! Scripts are parsed by brush-parser and evaluated here, on the container's own files, environment
//! and network. Nothing of the host is involved: a command is an entry of [`commands`] or a Program of
//! the image, a pipe is a channel, a subshell is a copy of [`Shell`], a process is a future.
//!
//! | module | does |
//! |---|---|
//! | [`parse`] | text to syntax tree, with bounds on size and nesting |
//! | [`eval`] | lists, pipelines, compound commands, functions |
//! | [`simple`] | one simple command: assignments, redirections, dispatch |
//! | [`expand`], [`parameter`], [`arithmetic`], [`pattern`] | words to fields |
//! | [`redirect`] | streams |
//! | [`builtins`] | commands that change the shell itself |
//! | [`mod@test`] | `test`, `[` and `[[` |
//! | [`commands`] | everything else, one file per command or small group |
//!
//! # Bounds
//! Script 1 MiB, nesting 48, call depth [`MAX_DEPTH`], all variables of a shell 8 MiB, one expanded
//! word or substitution 4 MiB. An endless loop gives way to other tasks at every command and dies
//! with its container or exec session.
//!
//! # Where it differs from a POSIX shell
//! No job control and no aliases. Arrays, process substitution and coprocesses are refused with an
//! error, never ignored. `trap` runs its actions for EXIT and TERM (as which HUP and QUIT arrive);
//! one for INT is kept and not run. Messages are busybox ash's.

mod arithmetic;
mod builtins;
mod commands;
mod eval;
mod expand;
mod parameter;
mod parse;
mod pattern;
mod redirect;
mod run;
mod simple;
mod state;
mod test;

use std::sync::Arc;

use crate::program::Program;

pub(crate) use run::script;
pub(crate) use state::Shell;

/// Nested calls of functions, substitutions, `eval` and `.`.
const MAX_DEPTH: u32 = 256;

/// The command of this name or path, if the userland has it.
pub(crate) fn command(name: &str) -> Option<Arc<dyn Program>> {
    commands::find(name)
}

/// Names of all commands.
pub(crate) fn command_names() -> impl Iterator<Item = &'static str> {
    commands::COMMANDS.iter().map(|(name, _)| *name)
}

/// Whether a shell pattern matches the whole text.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    pattern::Pattern::new(pattern).matches(text)
}

#[cfg(test)]
mod tests;
