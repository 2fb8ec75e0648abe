//! `sh` as a Program: `sh -c TEXT`, `sh FILE`, a script on standard input, and the interactive shell.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::commands::Outcome;
use super::parse::{self, SyntaxError};
use super::state::{Eval, Shell, Stop};
use crate::program::{ContainerContext, ExitStatus, Program};

/// Longest script on standard input.
const SCRIPT_LIMIT: usize = 1024 * 1024;

/// A script of the container's files, run by `sh`.
pub(crate) fn script(path: String) -> Arc<dyn Program> {
    Arc::new(Script(path))
}

struct Script(String);

impl Program for Script {
    fn run(&self, mut context: ContainerContext) -> BoxFuture<'static, ExitStatus> {
        let path = self.0.clone();
        context.args.splice(0..1, ["sh".to_owned(), path]);
        async move { ExitStatus(sh(context).await.unwrap_or(1)) }.boxed()
    }
}

/// The shell.
pub(super) async fn sh(context: ContainerContext) -> Outcome {
    let mut args = context.args.clone().into_iter();
    let name = args.next().unwrap_or_else(|| "sh".to_owned());
    let mut rest: Vec<String> = args.collect();
    let (mut command, mut interactive) = (false, false);
    let mut settings: Vec<String> = Vec::new();
    while let Some(word) = rest.first().cloned() {
        if !(word.starts_with('-') || word.starts_with('+')) || word == "-" {
            break;
        }
        rest.remove(0);
        match word.as_str() {
            "--" => break,
            "--login" | "--norc" | "--noprofile" | "--posix" => {}
            "-o" | "+o" if !rest.is_empty() => settings.extend([word, rest.remove(0)]),
            _ => {
                let sign = word.chars().next().unwrap_or('-');
                for flag in word.chars().skip(1) {
                    match flag {
                        'c' => command = true,
                        'i' => interactive = true,
                        'l' | 's' => {}
                        'o' if !rest.is_empty() => {
                            settings.extend([format!("{sign}o"), rest.remove(0)]);
                        }
                        other => settings.push(format!("{sign}{other}")),
                    }
                }
            }
        }
    }
    let terminal = context.terminal;
    let mut text = None;
    let mut zero = name.clone();
    if command {
        if rest.is_empty() {
            context.stderr.write_all(format!("{name}: -c requires an argument\n")).await?;
            return Ok(2);
        }
        text = Some(rest.remove(0));
        if !rest.is_empty() {
            zero = rest.remove(0);
        }
    } else if !rest.is_empty() {
        zero = rest.remove(0);
        let path = crate::files::join(&context.working_dir, &zero);
        match context.files.read_to_string(&path) {
            Ok(script) => text = Some(script),
            Err(error) => {
                let line = format!("{name}: can't open '{zero}': {error}\n");
                context.stderr.write_all(line).await?;
                return Ok(if error.is_not_found() { 2 } else { 126 });
            }
        }
    }
    let signals = context.signals.clone();
    let mut shell = Shell::new(context, &zero, rest);
    shell.braces = name.ends_with("bash");
    if !settings.is_empty()
        && let Err(message) = shell.apply_options(&settings)
    {
        shell.complain(&message).await;
        return Ok(2);
    }
    let shared = shell.shared.clone();
    let prompts = text.is_none() && (interactive || terminal);
    let run = async move {
        let result = match text {
            Some(text) => shell.source(&text).await,
            None => shell.interact(prompts).await,
        };
        shell.finish(result).await
    };
    let mut run = run.boxed();
    let term = async {
        signals.terminated().await;
        if shared.handles_term() {
            std::future::pending::<()>().await;
        }
    };
    let interrupt = async {
        if prompts {
            std::future::pending::<()>().await;
        }
        signals.interrupted().await;
    };
    tokio::select! {
        biased;
        () = term => Ok(ExitStatus::TERMINATED.0),
        () = interrupt => Ok(130),
        status = run.as_mut() => Ok(status),
    }
}

impl Shell {
    /// Runs the action of `trap … EXIT` and gives the exit code.
    async fn finish(&mut self, result: Eval) -> i32 {
        let status = self.ended(result);
        let action = self.shared.traps.lock().remove("EXIT");
        let Some(action) = action else { return status };
        self.status = status;
        match self.source(&action).await {
            Err(Stop::Exit(status)) => status,
            _ => status,
        }
    }

    /// Runs the action of `trap … TERM` once SIGTERM has come.
    pub(super) async fn run_traps(&mut self) -> Result<(), Stop> {
        if !self.context.signals.is_terminated() || self.shared.trap_ran() {
            return Ok(());
        }
        let action = self.shared.traps.lock().get("TERM").cloned();
        let Some(action) = action else { return Ok(()) };
        self.shared.set_trap_ran();
        let status = self.status;
        self.source(&action).boxed().await?;
        self.status = status;
        Ok(())
    }

    /// Reads and evaluates until the end of the input, line by line; a person gets prompts, and goes on
    /// after an error.
    async fn interact(&mut self, person: bool) -> Eval {
        let input = self.streams.stdin();
        let mut text = String::new();
        loop {
            if person {
                let prompt = if text.is_empty() { self.prompt() } else { "> ".to_owned() };
                // A client that left is noticed at the next read.
                let _ = self.streams.stderr().write_all(prompt).await;
            }
            let signals = self.context.signals.clone();
            let line = tokio::select! {
                line = input.read_line() => line,
                () = signals.interrupted() => {
                    text.clear();
                    continue;
                }
            };
            let Some(line) = line else { break };
            text.push_str(&String::from_utf8_lossy(&line));
            let program = match parse::program(&text) {
                Err(SyntaxError::Incomplete(_)) if text.len() < SCRIPT_LIMIT => continue,
                Err(error) => {
                    self.complain(error.message()).await;
                    self.status = 2;
                    if !person {
                        return Err(Stop::Abort(2));
                    }
                    text.clear();
                    continue;
                }
                Ok(program) => Arc::new(program),
            };
            text.clear();
            let saved = (self.streams.clone(), self.depth, self.loops, self.parameters.clone());
            let evaluated = {
                let mut copy = self.clone();
                let run = async move {
                    let result = copy.call(super::eval::Body::Script(program)).await;
                    (copy, result)
                };
                tokio::select! {
                    done = run.boxed() => Some(done),
                    () = signals.interrupted() => None,
                }
            };
            let Some((shell, result)) = evaluated else {
                self.status = 130;
                continue;
            };
            *self = shell;
            match result {
                Err(Stop::Exit(status)) => return Err(Stop::Exit(status)),
                Err(Stop::Abort(status)) if !person => return Err(Stop::Abort(status)),
                Err(Stop::Abort(status)) => {
                    self.status = status;
                    (self.depth, self.loops) = (saved.1, saved.2);
                    self.streams = saved.0;
                    self.parameters = saved.3;
                    self.locals.clear();
                }
                Ok(_) | Err(_) => {}
            }
        }
        if !text.is_empty() {
            return self.source(&text).await;
        }
        Ok(self.status)
    }

    fn prompt(&self) -> String {
        let directory = self.directory();
        match self.get("PS1") {
            Some(prompt) => prompt
                .replace("\\u", "root")
                .replace("\\h", &self.context.hostname)
                .replace("\\w", directory)
                .replace("\\$", "#"),
            None if self.braces => format!("root@{}:{directory}# ", self.context.hostname),
            None => format!("{directory} # "),
        }
    }
}
