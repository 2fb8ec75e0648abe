//! Help texts in kubectl's layout, from clap's definitions.

use std::fmt::Write;

use clap::{Arg, ArgAction};

use super::{COMMANDS, GlobalFlags, Group, PROGRAM, Spec};
use crate::errors::CommandError;

const OPTIONS: &str = "Global options (apply to all commands):";

/// The help of one command.
pub(super) struct Page<'a> {
    pub(super) spec: &'a Spec,
    /// `kubectl-mini rollout status`.
    pub(super) words: String,
    pub(super) definition: &'a clap::Command,
}

impl Page<'_> {
    pub(super) fn render(&self) -> String {
        let Self { spec, words, definition } = self;
        let mut text = String::new();
        let help =
            if spec.help.is_empty() { format!("{}.", spec.about) } else { spec.help.to_owned() };
        let _ = writeln!(text, "{help}\n");
        if !spec.examples.is_empty() {
            let _ = writeln!(text, "Examples:\n{}", indented(spec.examples));
        }
        if !spec.subcommands.is_empty() {
            let _ = writeln!(text, "Available Commands:\n{}", list(spec.subcommands));
        }
        let own = (spec.define)(clap::Command::new(spec.name));
        if own.get_opts().next().is_some() {
            let _ = write!(text, "Options:\n{}", options(&own));
        }
        let parent = words.strip_suffix(spec.name).unwrap_or_default();
        let _ = writeln!(text, "Usage:\n  {parent}{} [options]\n", spec.usage);
        if !spec.subcommands.is_empty() {
            let _ = writeln!(
                text,
                "Use \"{words} <command> --help\" for more information about a given command.\n"
            );
        }
        let globals: Vec<&str> =
            GLOBAL_NAMES.iter().copied().filter(|name| has(definition, name)).collect();
        let _ = writeln!(text, "{OPTIONS} --{}", globals.join(", --"));
        text
    }
}

/// The most used ones; all of them stand in the program's own help.
const GLOBAL_NAMES: &[&str] =
    &["kubeconfig", "context", "namespace", "server", "request-timeout", "user", "cluster"];

fn has(definition: &clap::Command, name: &str) -> bool {
    definition.get_arguments().any(|arg| arg.get_long() == Some(name))
}

/// The help of the program.
pub(super) fn overview() -> String {
    let mut text = format!(
        "{PROGRAM} controls a kube-mini cluster as kubectl controls a Kubernetes cluster.\n\n"
    );
    for Group { title, commands } in COMMANDS {
        let _ = writeln!(text, "{title}:\n{}", list(commands));
    }
    let _ = write!(text, "{OPTIONS}\n{}", options(&GlobalFlags::definition()));
    let _ = writeln!(text, "Usage:\n  {PROGRAM} [flags] [options]\n");
    let _ = writeln!(
        text,
        "Use \"{PROGRAM} <command> --help\" for more information about a given command."
    );
    text
}

/// What cobra says when help is asked for what is not there.
pub(super) fn unknown_topic(typed: &str) -> CommandError {
    CommandError::Exit { text: format!("Unknown help topic [`{typed}`]\n{}", overview()), code: 0 }
}

fn list(specs: &[Spec]) -> String {
    specs.iter().fold(String::new(), |mut text, spec| {
        let _ = writeln!(text, "  {:<15} {}", spec.name, spec.about);
        text
    })
}

pub(super) fn options(command: &clap::Command) -> String {
    let mut args: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| arg.get_long().is_some() && !arg.is_hide_set())
        .collect();
    args.sort_by_key(|arg| arg.get_long());
    args.iter().fold(String::new(), |mut text, arg| {
        let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
        let long = arg.get_long().unwrap_or_default();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "    {short}--{long}={}:\n\t{help}\n", default_value(arg));
        text
    })
}

fn default_value(arg: &Arg) -> String {
    let default: Vec<_> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    match arg.get_action() {
        ArgAction::SetTrue => "false".to_owned(),
        ArgAction::Append => format!("[{}]", default.join(",")),
        _ if default.is_empty() => "''".to_owned(),
        _ if default[0].parse::<f64>().is_ok() || default[0].parse::<bool>().is_ok() => {
            default[0].to_string()
        }
        _ => format!("'{}'", default[0]),
    }
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "  {line}");
        out
    })
}
