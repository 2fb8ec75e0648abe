//! One simple command: its words, assignments and redirections, and what it starts.

use brush_parser::ast::{
    Assignment, AssignmentName, AssignmentValue, CommandPrefixOrSuffixItem as Item, IoRedirect,
    SimpleCommand, Word,
};

use super::builtins;
use super::eval::Body;
use super::expand::{Expanded, Failure};
use super::state::{Eval, Shell, Stop, Variable};
use crate::launch::{self, LaunchError};
use crate::program::ContainerContext;

/// A simple command, sorted.
#[derive(Default)]
struct Parts<'a> {
    assignments: Vec<&'a Assignment>,
    words: Vec<&'a Word>,
    redirects: Vec<&'a IoRedirect>,
}

fn parts(command: &SimpleCommand) -> Expanded<Parts<'_>> {
    let mut parts = Parts::default();
    let prefix = command.prefix.iter().flat_map(|prefix| &prefix.0);
    let suffix = command.suffix.iter().flat_map(|suffix| &suffix.0);
    let sort = |item: &'_ Item| -> Expanded<()> {
        match item {
            Item::ProcessSubstitution(..) => {
                Err("syntax error: process substitution is not supported".into())
            }
            _ => Ok(()),
        }
    };
    for item in prefix {
        sort(item)?;
        match item {
            Item::AssignmentWord(assignment, _) => parts.assignments.push(assignment),
            Item::IoRedirect(redirect) => parts.redirects.push(redirect),
            Item::Word(word) => parts.words.push(word),
            Item::ProcessSubstitution(..) => {}
        }
    }
    parts.words.extend(&command.word_or_name);
    for item in suffix {
        sort(item)?;
        match item {
            // `export A=b`: an argument like any other.
            Item::AssignmentWord(_, word) | Item::Word(word) => parts.words.push(word),
            Item::IoRedirect(redirect) => parts.redirects.push(redirect),
            Item::ProcessSubstitution(..) => {}
        }
    }
    Ok(parts)
}

impl Shell {
    pub(super) async fn simple(&mut self, command: &SimpleCommand) -> Eval {
        let parts = match parts(command) {
            Ok(parts) => parts,
            Err(failure) => return self.fail(failure).await,
        };
        self.substituted = None;
        let args = match self.arguments(&parts).await {
            Ok(args) => args,
            Err(failure) => return self.fail(failure).await,
        };
        let saved = self.streams.clone();
        let result = match self.redirect(&parts.redirects).await {
            Ok(()) => self.prepared(&parts, args, &saved).await,
            Err(Failure::Message(message)) => {
                self.streams = saved.clone();
                self.complain(&message).await;
                Ok(1)
            }
            Err(Failure::Stop(stop)) => Err(stop),
        };
        if !matches!(result, Ok(status) if status == KEEP_STREAMS) {
            self.streams = saved;
        }
        match result {
            Ok(KEEP_STREAMS) => Ok(0),
            other => other,
        }
    }

    async fn arguments(&mut self, parts: &Parts<'_>) -> Expanded<Vec<String>> {
        // `export A=$b` does not split, whatever is in $b.
        let declares = parts.words.first().is_some_and(|word| {
            matches!(word.value.as_str(), "export" | "readonly" | "local" | "declare" | "typeset")
        });
        if !declares {
            return self.fields(&parts.words).await;
        }
        let mut args = Vec::new();
        for word in &parts.words {
            match word.value.split_once('=') {
                Some((name, _)) if super::state::is_name(name) => {
                    args.push(self.text(&word.value).await?);
                }
                _ => args.append(&mut self.fields(&[*word]).await?),
            }
        }
        Ok(args)
    }

    async fn prepared(
        &mut self,
        parts: &Parts<'_>,
        args: Vec<String>,
        saved: &super::redirect::Streams,
    ) -> Eval {
        let mut values = Vec::new();
        for assignment in &parts.assignments {
            match self.assigned(assignment).await {
                Ok(pair) => values.push(pair),
                Err(failure) => return self.fail(failure).await,
            }
            if args.is_empty() {
                // `a=1 b=$a`: each sees the ones before it.
                let (name, value) = values.last().expect("pushed above").clone();
                if let Err(message) = self.set(&name, value) {
                    return self.fail(message.into()).await;
                }
            }
        }
        if self.options.xtrace {
            let assigned = values.iter().map(|(name, value)| format!("{name}={value}"));
            let words: Vec<String> = assigned.chain(args.iter().cloned()).collect();
            let prefix = self.get("PS4").unwrap_or("+ ").to_owned();
            let line = format!("{prefix}{}\n", words.join(" "));
            // Tracing goes where the shell's errors go, not where the command's do.
            let _ = saved.stderr().write_all(line).await;
        }
        // The code of a command without a name is that of its last substitution.
        let Some(name) = args.first() else { return Ok(self.substituted.unwrap_or(0)) };
        if self.options.noexec {
            return Ok(0);
        }
        if let Some(function) = self.functions.get(name).cloned() {
            let old = self.assign_temporarily(&values)?;
            let result = self.function(function, args).await;
            self.put_back(old);
            return result;
        }
        if let Some(builtin) = builtins::find(name) {
            let old = self.assign_temporarily(&values)?;
            let result = builtin(self, args).await;
            self.put_back(old);
            return self.check_pipe(result).await;
        }
        let result = self.program(args, &values).await;
        self.check_pipe(result).await
    }

    /// A command that ended because nobody reads its output ends the script as SIGPIPE would.
    async fn check_pipe(&self, result: Eval) -> Eval {
        if result == Ok(141) && self.streams.stdout().is_closed() {
            return Err(Stop::Exit(141));
        }
        result
    }

    async fn assigned(&mut self, assignment: &Assignment) -> Expanded<(String, String)> {
        let AssignmentName::VariableName(name) = &assignment.name else {
            return Err("arrays are not supported".into());
        };
        let AssignmentValue::Scalar(word) = &assignment.value else {
            return Err("arrays are not supported".into());
        };
        let mut value = self.text(&word.value).await?;
        if assignment.append {
            value.insert_str(0, self.get(name).unwrap_or_default());
        }
        Ok((name.clone(), value))
    }

    fn assign_temporarily(
        &mut self,
        values: &[(String, String)],
    ) -> Result<Vec<(String, Option<Variable>)>, Stop> {
        let mut old = Vec::new();
        for (name, value) in values {
            old.push((name.clone(), self.variable(name).cloned()));
            self.set(name, value.clone()).map_err(|_| Stop::Abort(2))?;
            self.export(name);
        }
        Ok(old)
    }

    fn put_back(&mut self, old: Vec<(String, Option<Variable>)>) {
        for (name, variable) in old.into_iter().rev() {
            self.restore(&name, variable);
        }
    }

    async fn function(
        &mut self,
        function: std::sync::Arc<brush_parser::ast::FunctionBody>,
        mut args: Vec<String>,
    ) -> Eval {
        args.remove(0);
        let parameters = std::mem::replace(&mut self.parameters, args);
        let loops = std::mem::take(&mut self.loops);
        self.locals.push(Vec::new());
        let result = self.call(Body::Function(function)).await;
        let locals = self.locals.pop().unwrap_or_default();
        self.put_back(locals);
        self.loops = loops;
        self.parameters = parameters;
        match result {
            Err(Stop::Return(status)) => Ok(status),
            other => other,
        }
    }

    /// The context that a command of this shell gets.
    pub(super) fn child(&self, args: Vec<String>, values: &[(String, String)]) -> ContainerContext {
        let mut context = self.context.clone();
        context.args = args;
        context.env = self.environment();
        for (name, value) in values {
            match context.env.iter_mut().find(|(existing, _)| existing == name) {
                Some(existing) => existing.1.clone_from(value),
                None => context.env.push((name.clone(), value.clone())),
            }
        }
        context.stdin = self.streams.stdin();
        context.stdout = self.streams.stdout();
        context.stderr = self.streams.stderr();
        context.signals = self.context.signals.child();
        context
    }

    pub(super) async fn program(&mut self, args: Vec<String>, values: &[(String, String)]) -> Eval {
        let name = args[0].clone();
        let context = self.child(args, values);
        match launch::find(&context, &name) {
            Ok(program) => Ok(program.run(context).await.0),
            Err(error) => {
                let why = match &error {
                    LaunchError::PermissionDenied(_) => "Permission denied",
                    LaunchError::NoSuchFile(_) | LaunchError::NotFound(_) => "not found",
                };
                self.complain(&format!("{name}: {why}")).await;
                Ok(error.exit_code())
            }
        }
    }
}

/// What a builtin returns (`exec` alone) to keep the redirections for the rest of the script.
pub(super) const KEEP_STREAMS: i32 = i32::MIN;
