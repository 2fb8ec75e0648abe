//! What a shell knows: variables, functions, parameters, options, streams.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use brush_parser::ast::FunctionBody;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::redirect::Streams;
use crate::program::ContainerContext;

/// Bytes that all variables of a shell may hold.
const VARIABLES_LIMIT: usize = 8 * 1024 * 1024;

/// A variable.
#[derive(Clone, Debug, Default)]
pub(super) struct Variable {
    pub(super) value: String,
    pub(super) exported: bool,
    pub(super) read_only: bool,
    /// Keeps the order of the environment.
    order: u64,
}

/// Options of `set`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) errexit: bool,
    pub(super) nounset: bool,
    pub(super) xtrace: bool,
    pub(super) noglob: bool,
    pub(super) noexec: bool,
    pub(super) pipefail: bool,
}

/// Why the evaluation of a list stops early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// `break n`
    Break(u32),
    /// `continue n`
    Continue(u32),
    /// `return code`
    Return(i32),
    /// `exit code`
    Exit(i32),
    /// An error that ends a script; an interactive shell goes on.
    Abort(i32),
}

/// Exit code of what was evaluated, or why evaluation stops.
pub(crate) type Eval = Result<i32, Stop>;

/// A background job.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) pid: u32,
    pub(super) command: String,
    /// The exit code once it has ended.
    pub(super) status: watch::Receiver<Option<i32>>,
}

/// What a shell shares with its subshells.
#[derive(Default)]
pub(super) struct Shared {
    /// Set when the shell, or the Program that took its place, sees to SIGTERM itself.
    handles_term: AtomicBool,
    trap_ran: AtomicBool,
    /// Actions of `trap` by signal name.
    pub(super) traps: Mutex<BTreeMap<String, String>>,
}

impl Shared {
    pub(super) fn handle_term(&self) {
        self.handles_term.store(true, Ordering::Relaxed);
    }

    pub(super) fn trap_ran(&self) -> bool {
        self.trap_ran.load(Ordering::Relaxed)
    }

    pub(super) fn set_trap_ran(&self) {
        self.trap_ran.store(true, Ordering::Relaxed);
    }

    pub(super) fn handles_term(&self) -> bool {
        self.handles_term.load(Ordering::Relaxed) || self.traps.lock().contains_key("TERM")
    }
}

/// One shell environment; a clone is a subshell.
#[derive(Clone)]
pub(crate) struct Shell {
    /// Files, network, clock, signals; its streams, environment and arguments are those of the start.
    pub(super) context: ContainerContext,
    pub(super) streams: Streams,
    variables: BTreeMap<String, Variable>,
    held: usize,
    next_order: u64,
    /// Variables that functions declared `local`: what to put back, per call.
    pub(super) locals: Vec<Vec<(String, Option<Variable>)>>,
    pub(super) functions: BTreeMap<String, Arc<FunctionBody>>,
    pub(super) name: String,
    pub(super) parameters: Vec<String>,
    pub(super) status: i32,
    pub(super) options: Options,
    pub(super) depth: u32,
    /// Inside a condition, where `set -e` does not apply.
    pub(super) tested: bool,
    pub(super) loops: u32,
    pub(super) jobs: Vec<Job>,
    pub(super) last_background: Option<u32>,
    pub(super) shared: Arc<Shared>,
    /// bash: braces are expanded.
    pub(super) braces: bool,
    /// Place in `getopts`' current argument.
    pub(super) getopts_offset: usize,
    /// Exit code of the last substitution in the current simple command.
    pub(super) substituted: Option<i32>,
    /// Commands evaluated, to give way now and then.
    pub(super) ticks: u32,
}

impl Shell {
    /// A shell with the environment and streams of a context.
    pub(crate) fn new(context: ContainerContext, name: &str, parameters: Vec<String>) -> Self {
        let mut shell = Self {
            streams: Streams::new(&context),
            variables: BTreeMap::new(),
            held: 0,
            next_order: 0,
            locals: Vec::new(),
            functions: BTreeMap::new(),
            name: name.to_owned(),
            parameters,
            status: 0,
            options: Options::default(),
            depth: 0,
            tested: false,
            loops: 0,
            jobs: Vec::new(),
            last_background: None,
            shared: Arc::default(),
            braces: name.ends_with("bash"),
            getopts_offset: 0,
            substituted: None,
            ticks: 0,
            context,
        };
        for (name, value) in std::mem::take(&mut shell.context.env) {
            if is_name(&name) && shell.set(&name, value).is_ok() {
                shell.export(&name);
            }
        }
        let working_dir = shell.context.working_dir.clone();
        let defaults = [
            ("PWD", working_dir.as_str()),
            ("IFS", " \t\n"),
            ("OPTIND", "1"),
            ("PATH", crate::catalogue::PATH),
        ];
        for (name, value) in defaults {
            if name == "PWD" || shell.get(name).is_none() {
                // A fresh shell has room and no read-only variable.
                let _ = shell.set(name, value.to_owned());
            }
        }
        shell.export("PWD");
        shell
    }

    /// An empty stand-in while this shell is evaluated elsewhere.
    pub(super) fn hollow(&self) -> Self {
        Self {
            context: self.context.clone(),
            streams: self.streams.clone(),
            variables: BTreeMap::new(),
            held: 0,
            next_order: 0,
            locals: Vec::new(),
            functions: BTreeMap::new(),
            name: String::new(),
            parameters: Vec::new(),
            status: 0,
            options: Options::default(),
            depth: 0,
            tested: false,
            loops: 0,
            jobs: Vec::new(),
            last_background: None,
            shared: self.shared.clone(),
            braces: false,
            getopts_offset: 0,
            substituted: None,
            ticks: 0,
        }
    }

    /// Value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|variable| variable.value.as_str())
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.get(name)
    }

    /// Sets a variable.
    pub(super) fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let old = self.variables.get(name);
        if old.is_some_and(|old| old.read_only) {
            return Err(format!("{name}: is read only"));
        }
        let held = self.held - old.map_or(0, |old| old.value.len()) + value.len();
        if held > VARIABLES_LIMIT {
            return Err("out of memory".to_owned());
        }
        self.held = held;
        match self.variables.get_mut(name) {
            Some(variable) => variable.value = value,
            None => {
                self.next_order += 1;
                let order = self.next_order;
                let variable = Variable { value, order, ..Variable::default() };
                self.variables.insert(name.to_owned(), variable);
            }
        }
        Ok(())
    }

    pub(super) fn unset(&mut self, name: &str) -> Result<(), String> {
        if self.variables.get(name).is_some_and(|old| old.read_only) {
            return Err(format!("{name}: is read only"));
        }
        if let Some(old) = self.variables.remove(name) {
            self.held -= old.value.len();
        }
        Ok(())
    }

    /// Puts a variable back as it was.
    pub(super) fn restore(&mut self, name: &str, old: Option<Variable>) {
        if let Some(current) = self.variables.remove(name) {
            self.held -= current.value.len();
        }
        if let Some(old) = old {
            self.held += old.value.len();
            self.variables.insert(name.to_owned(), old);
        }
    }

    pub(super) fn export(&mut self, name: &str) {
        if let Some(variable) = self.variables.get_mut(name) {
            variable.exported = true;
        }
    }

    pub(super) fn set_exported(&mut self, name: &str, exported: bool) {
        if let Some(variable) = self.variables.get_mut(name) {
            variable.exported = exported;
        }
    }

    pub(super) fn set_read_only(&mut self, name: &str) {
        if let Some(variable) = self.variables.get_mut(name) {
            variable.read_only = true;
        }
    }

    /// All variables by name.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &Variable)> {
        self.variables.iter().map(|(name, variable)| (name.as_str(), variable))
    }

    /// The environment that commands get.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let mut exported: Vec<_> =
            self.variables.iter().filter(|(_, variable)| variable.exported).collect();
        exported.sort_by_key(|(_, variable)| variable.order);
        exported
            .into_iter()
            .map(|(name, variable)| (name.clone(), variable.value.clone()))
            .collect()
    }

    /// The current directory.
    pub(super) fn directory(&self) -> &str {
        &self.context.working_dir
    }

    /// A path as the current directory sees it.
    pub(super) fn path(&self, path: &str) -> String {
        crate::files::join(self.directory(), path)
    }

    /// Prints `sh: message` on standard error.
    pub(super) async fn complain(&self, message: &str) {
        let name = self.name.rsplit('/').next().unwrap_or("sh");
        // Nobody may be reading; the exit code tells the rest.
        let _ = self.streams.stderr().write_all(format!("{name}: {message}\n")).await;
    }

    /// A copy that runs beside this one: loops, locals and jobs of the parent are not its own.
    pub(super) fn subshell(&self) -> Self {
        let mut shell = self.clone();
        shell.loops = 0;
        shell.jobs.clear();
        shell
    }
}

/// Whether the text can name a variable.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
