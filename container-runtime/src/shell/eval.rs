//! Evaluation of lists, pipelines, compound commands and functions.
//!
//! Evaluation recurses with the script. Every [`FRESH_STACK`] levels of calls it goes on in a task of
//! its own, which starts on an empty stack, so the depth of a recursive function is bounded by
//! [`super::MAX_DEPTH`] and not by a worker's stack.

use std::sync::Arc;

use brush_parser::ast::{
    AndOr, AndOrList, Command, CompoundCommand, CompoundList, FunctionBody, Pipeline, Program,
    SeparatorOperator,
};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::MAX_DEPTH;
use super::expand::Failure;
use super::parse;
use super::redirect::Stream;
use super::state::{Eval, Job, Shell, Stop};
use crate::program::{ExitStatus, Signals};
use crate::stdio::{Input, pipe};

/// Levels of calls that share a stack.
const FRESH_STACK: u32 = 6;

/// Commands between two chances for other tasks.
const GIVE_WAY: u32 = 16;

/// What a call evaluates.
#[derive(Clone)]
pub(super) enum Body {
    Function(Arc<FunctionBody>),
    Script(Arc<Program>),
}

impl Shell {
    /// Parses and evaluates a text in this shell.
    pub(super) async fn source(&mut self, text: &str) -> Eval {
        match parse::program(text) {
            Ok(program) => self.call(Body::Script(Arc::new(program))).await,
            Err(error) => {
                self.complain(error.message()).await;
                self.status = 2;
                Err(Stop::Abort(2))
            }
        }
    }

    /// Evaluates one level deeper.
    pub(super) async fn call(&mut self, body: Body) -> Eval {
        if self.depth >= MAX_DEPTH {
            self.complain("maximum function recursion depth exceeded").await;
            return Err(Stop::Abort(2));
        }
        self.depth += 1;
        let result = if self.depth.is_multiple_of(FRESH_STACK) {
            let mut shell = std::mem::replace(self, self.hollow());
            let tasks = self.context.tasks.clone();
            let task = tasks.spawn_scoped(async move {
                let result = shell.body(&body).await;
                (shell, result)
            });
            match task.await {
                Ok((shell, result)) => {
                    *self = shell;
                    result
                }
                Err(_) => return Err(Stop::Exit(ExitStatus::KILLED.0)),
            }
        } else {
            self.body(&body).await
        };
        self.depth -= 1;
        result
    }

    fn body<'a>(&'a mut self, body: &'a Body) -> BoxFuture<'a, Eval> {
        async move {
            match body {
                Body::Script(program) => {
                    let mut status = 0;
                    for list in &program.complete_commands {
                        status = self.list(list).await?;
                    }
                    Ok(status)
                }
                Body::Function(function) => {
                    let FunctionBody(compound, redirects) = &**function;
                    self.compound_redirected(compound, redirects.as_ref().map(|list| &list.0)).await
                }
            }
        }
        .boxed()
    }

    pub(super) fn list<'a>(&'a mut self, list: &'a CompoundList) -> BoxFuture<'a, Eval> {
        async move {
            let mut status = 0;
            for item in &list.0 {
                status = match item.1 {
                    SeparatorOperator::Sequence => self.and_or(&item.0).await?,
                    SeparatorOperator::Async => self.background(&item.0).await,
                };
                self.status = status;
            }
            Ok(status)
        }
        .boxed()
    }

    async fn and_or(&mut self, list: &AndOrList) -> Eval {
        let was_tested = self.tested;
        self.tested = was_tested || !list.additional.is_empty();
        let mut status =
            self.pipeline(&list.first, was_tested || !list.additional.is_empty()).await;
        for (index, next) in list.additional.iter().enumerate() {
            let Ok(code) = status else { break };
            let last = index + 1 == list.additional.len();
            let (run, pipeline) = match next {
                AndOr::And(pipeline) => (code == 0, pipeline),
                AndOr::Or(pipeline) => (code != 0, pipeline),
            };
            if run {
                self.tested = was_tested || !last;
                status = self.pipeline(pipeline, self.tested).await;
            }
        }
        self.tested = was_tested;
        status
    }

    async fn pipeline(&mut self, pipeline: &Pipeline, tested: bool) -> Eval {
        let started = self.context.clock.monotonic();
        let was_tested = self.tested;
        self.tested = tested || pipeline.bang;
        let result = match pipeline.seq.as_slice() {
            [command] => self.command(command).await,
            commands => self.piped(commands).await,
        };
        self.tested = was_tested;
        let mut status = result?;
        if pipeline.bang {
            status = i32::from(status == 0);
        }
        self.status = status;
        if pipeline.timed.is_some() {
            let elapsed = self.context.clock.monotonic().saturating_sub(started);
            let (minutes, seconds) = (elapsed.as_secs() / 60, elapsed.as_secs_f64() % 60.0);
            let zero = "0m 0.00s";
            let text = format!("real\t{minutes}m {seconds:.2}s\nuser\t{zero}\nsys\t{zero}\n");
            // Nobody may be reading.
            let _ = self.streams.stderr().write_all(text).await;
        }
        if status != 0 && self.options.errexit && !tested && !pipeline.bang {
            return Err(Stop::Exit(status));
        }
        Ok(status)
    }

    /// Runs every command of a pipe in a subshell of its own, all at once.
    async fn piped(&mut self, commands: &[Command]) -> Eval {
        let mut running = Vec::new();
        let mut input: Option<Input> = None;
        for (index, command) in commands.iter().enumerate() {
            let mut shell = self.subshell();
            if let Some(input) = input.take() {
                shell.streams.set(0, Stream::In(input));
            }
            if index + 1 < commands.len() {
                let (output, next) = pipe();
                shell.streams.set(1, Stream::Out(output));
                input = Some(next);
            }
            running.push(
                async move {
                    let result = shell.command(command).await;
                    shell.ended(result)
                }
                .boxed(),
            );
        }
        let statuses = join_all(running).await;
        let failed = statuses.iter().rev().find(|status| **status != 0).copied();
        let last = statuses.last().copied().unwrap_or(0);
        Ok(if self.options.pipefail { failed.unwrap_or(0) } else { last })
    }

    /// The exit code that a subshell ends with.
    pub(super) fn ended(&self, result: Eval) -> i32 {
        match result {
            Ok(code) | Err(Stop::Exit(code) | Stop::Abort(code) | Stop::Return(code)) => code,
            Err(Stop::Break(_) | Stop::Continue(_)) => self.status,
        }
    }

    /// `list &`
    async fn background(&mut self, list: &AndOrList) -> i32 {
        let mut shell = self.subshell();
        let signals = Signals::new();
        let kill = CancellationToken::new();
        shell.context.signals = signals.clone();
        shell.streams.set(0, Stream::In(Input::empty()));
        let command = list.to_string();
        let process = self.context.processes.add(
            std::slice::from_ref(&command),
            signals.clone(),
            kill.clone(),
        );
        let pid = process.pid;
        shell.context.pid = pid;
        let (ended, status) = watch::channel(None);
        let list = list.clone();
        self.context.spawn(async move {
            let run = async {
                let result = shell.and_or(&list).await;
                shell.ended(result)
            };
            let status = tokio::select! {
                biased;
                () = kill.cancelled() => ExitStatus::KILLED.0,
                () = signals.terminated() => ExitStatus::TERMINATED.0,
                status = run.boxed() => status,
            };
            drop(process);
            ended.send_replace(Some(status));
        });
        self.last_background = Some(pid);
        self.jobs.push(Job { pid, command, status });
        0
    }

    pub(super) fn command<'a>(&'a mut self, command: &'a Command) -> BoxFuture<'a, Eval> {
        async move {
            // Lets other tasks run, and a kill take effect, even in `while :; do :; done`. Not by the
            // budget of tokio: a timer that runs beside a future which eats it up would starve.
            self.ticks = self.ticks.wrapping_add(1);
            if self.ticks.is_multiple_of(GIVE_WAY) {
                tokio::task::yield_now().await;
            }
            self.run_traps().await?;
            match command {
                Command::Simple(simple) => self.simple(simple).await,
                Command::Compound(compound, redirects) => {
                    self.compound_redirected(compound, redirects.as_ref().map(|list| &list.0)).await
                }
                Command::Function(function) => {
                    let body = Arc::new(function.body.clone());
                    self.functions.insert(function.fname.value.clone(), body);
                    Ok(0)
                }
                Command::ExtendedTest(test) => {
                    let result = self.extended_test(&test.expr).await;
                    match result {
                        Ok(truth) => Ok(i32::from(!truth)),
                        Err(failure) => self.fail(failure).await,
                    }
                }
            }
        }
        .boxed()
    }

    /// Prints why an expansion failed; a script ends there.
    pub(super) async fn fail(&mut self, failure: Failure) -> Eval {
        match failure {
            Failure::Message(message) => {
                self.complain(&message).await;
                self.status = 2;
                Err(Stop::Abort(2))
            }
            Failure::Stop(stop) => Err(stop),
        }
    }

    async fn compound_redirected(
        &mut self,
        compound: &CompoundCommand,
        redirects: Option<&Vec<brush_parser::ast::IoRedirect>>,
    ) -> Eval {
        let Some(redirects) = redirects else { return self.compound(compound).await };
        let saved = self.streams.clone();
        let result = match self.redirect(&redirects.iter().collect::<Vec<_>>()).await {
            Ok(()) => self.compound(compound).await,
            Err(Failure::Message(message)) => {
                self.streams = saved.clone();
                self.complain(&message).await;
                Ok(1)
            }
            Err(Failure::Stop(stop)) => Err(stop),
        };
        self.streams = saved;
        result
    }

    fn compound<'a>(&'a mut self, compound: &'a CompoundCommand) -> BoxFuture<'a, Eval> {
        async move {
            match compound {
                CompoundCommand::BraceGroup(group) => self.list(&group.list).await,
                CompoundCommand::Subshell(subshell) => {
                    let mut shell = self.subshell();
                    let result = shell.list(&subshell.list).await;
                    let status = shell.ended(result);
                    Ok(status)
                }
                CompoundCommand::IfClause(clause) => {
                    if self.condition(&clause.condition).await? == 0 {
                        return self.list(&clause.then).await;
                    }
                    for part in clause.elses.iter().flatten() {
                        let chosen = match &part.condition {
                            Some(condition) => self.condition(condition).await? == 0,
                            None => true,
                        };
                        if chosen {
                            return self.list(&part.body).await;
                        }
                    }
                    Ok(0)
                }
                CompoundCommand::WhileClause(clause) => {
                    self.while_loop(&clause.0, &clause.1.list, true).await
                }
                CompoundCommand::UntilClause(clause) => {
                    self.while_loop(&clause.0, &clause.1.list, false).await
                }
                CompoundCommand::ForClause(clause) => {
                    let values = match &clause.values {
                        Some(words) => match self.fields(&words.iter().collect::<Vec<_>>()).await {
                            Ok(values) => values,
                            Err(failure) => return self.fail(failure).await,
                        },
                        None => self.parameters.clone(),
                    };
                    let mut status = 0;
                    for value in values {
                        if let Err(message) = self.set(&clause.variable_name, value) {
                            return self.fail(message.into()).await;
                        }
                        match self.iteration(&clause.body.list, &mut status).await? {
                            Next::Go => {}
                            Next::Leave => break,
                        }
                    }
                    Ok(status)
                }
                CompoundCommand::CaseClause(clause) => self.case(clause).await,
                CompoundCommand::Arithmetic(command) => {
                    Ok(i32::from(self.number(&command.expr.value).await? == 0))
                }
                CompoundCommand::ArithmeticForClause(clause) => {
                    if let Some(initializer) = &clause.initializer {
                        self.number(&initializer.value).await?;
                    }
                    let mut status = 0;
                    loop {
                        if let Some(condition) = &clause.condition
                            && self.number(&condition.value).await? == 0
                        {
                            break;
                        }
                        match self.iteration(&clause.body.list, &mut status).await? {
                            Next::Go => {}
                            Next::Leave => break,
                        }
                        if let Some(updater) = &clause.updater {
                            self.number(&updater.value).await?;
                        }
                    }
                    Ok(status)
                }
            }
        }
        .boxed()
    }

    async fn number(&mut self, text: &str) -> Result<i64, Stop> {
        let value = match self.arithmetic_text(text).await {
            Ok(text) => self.arithmetic(&text).map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        match value {
            Ok(value) => Ok(value),
            Err(failure) => Err(self.fail(failure).await.err().unwrap_or(Stop::Abort(2))),
        }
    }

    async fn case(&mut self, clause: &brush_parser::ast::CaseClauseCommand) -> Eval {
        use brush_parser::ast::CaseItemPostAction as After;
        let value = match self.text(&clause.value.value).await {
            Ok(value) => value,
            Err(failure) => return self.fail(failure).await,
        };
        let mut status = 0;
        let mut fall_through = false;
        for item in &clause.cases {
            let mut chosen = fall_through;
            for pattern in &item.patterns {
                if chosen {
                    break;
                }
                match self.pattern(&pattern.value).await {
                    Ok(pattern) => chosen = pattern.matches(&value),
                    Err(failure) => return self.fail(failure).await,
                }
            }
            if !chosen {
                continue;
            }
            if let Some(list) = &item.cmd {
                status = self.list(list).await?;
            }
            match item.post_action {
                After::ExitCase => return Ok(status),
                After::UnconditionallyExecuteNextCaseItem => fall_through = true,
                After::ContinueEvaluatingCases => fall_through = false,
            }
        }
        Ok(status)
    }

    /// A list whose failure is an answer, not an error.
    async fn condition(&mut self, list: &CompoundList) -> Eval {
        let was_tested = std::mem::replace(&mut self.tested, true);
        let result = self.list(list).await;
        self.tested = was_tested;
        result
    }

    async fn while_loop(
        &mut self,
        condition: &CompoundList,
        body: &CompoundList,
        expected: bool,
    ) -> Eval {
        let mut status = 0;
        loop {
            self.loops += 1;
            let met = self.condition(condition).await;
            self.loops -= 1;
            match met {
                Ok(code) if (code == 0) == expected => {}
                Ok(_) => break,
                Err(Stop::Break(count)) if count > 1 => return Err(Stop::Break(count - 1)),
                Err(Stop::Break(_)) => break,
                Err(stop) => return Err(stop),
            }
            match self.iteration(body, &mut status).await? {
                Next::Go => {}
                Next::Leave => break,
            }
        }
        Ok(status)
    }

    async fn iteration(&mut self, body: &CompoundList, status: &mut i32) -> Result<Next, Stop> {
        self.loops += 1;
        let result = self.list(body).await;
        self.loops -= 1;
        match result {
            Ok(code) => {
                *status = code;
                Ok(Next::Go)
            }
            Err(Stop::Break(count)) if count > 1 => Err(Stop::Break(count - 1)),
            Err(Stop::Continue(count)) if count > 1 => Err(Stop::Continue(count - 1)),
            Err(Stop::Break(_)) => Ok(Next::Leave),
            Err(Stop::Continue(_)) => Ok(Next::Go),
            Err(stop) => Err(stop),
        }
    }
}

/// Whether a loop goes on.
enum Next {
    Go,
    Leave,
}
