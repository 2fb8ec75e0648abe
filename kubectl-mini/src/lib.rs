//! kubectl, for kube-mini: the same commands, flags, output, errors and exit codes, over the cluster's gRPC API.
//!
//! | module | gives |
//! |---|---|
//! | [`cli`] | the command line: pflag's grammar over clap's definitions, cobra's messages, the help |
//! | [`commands`] | the table of commands; one file per command |
//! | [`context`] | what a command runs in: kubeconfig, client, streams, clock |
//! | [`resources`] | what the user named: types, names, selectors, files |
//! | [`pods`], [`session`], [`terminal`] | what logs, exec and attach share |
//! | [`printers`] | tables, YAML, JSON, names, JSONPath, custom columns |
//! | [`changing`] | flags, writes and reports of the commands that change objects |
//! | [`generate`] | objects made from flags |
//! | [`errors`] | errors as kubectl words them, and exit codes |
//!
//! The library neither reads its environment nor prints: [`run`] is given arguments, streams and a clock in an
//! [`Invocation`], so that a test runs whole commands and compares what they print.
//!
//! **Invariant:** a flag or field that is not acted on is an error; texts are kubectl's but for the program's name.

pub mod changing;
pub mod cli;
pub mod commands;
pub mod context;
pub mod errors;
pub mod generate;
pub mod inspection;
pub mod pods;
pub mod printers;
pub mod resources;
pub mod session;
pub mod tabwriter;
pub mod terminal;
pub mod waiting;

pub use self::{
    cli::run,
    context::{Context, Environment, Invocation, Streams},
    errors::CommandError,
};

/// The program's name in messages.
pub const PROGRAM: &str = "kubectl-mini";
