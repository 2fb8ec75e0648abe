//! A session with a container: exec and attach.
//!
//! Standard input is read by a thread of its own, as a terminal cannot be read otherwise; everything else happens in
//! one loop. The session ends with the server's status, whatever standard input does.

use std::{io::Read, pin::pin};

use apimachinery::{
    resource,
    status::{Status, StatusReason},
};
use bytes::Bytes;
use client::wire;
use futures::{StreamExt, stream};
use proto::v1::{ExecInput, ExecOutput, ExecStart, exec_input, exec_output};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    context::Context,
    errors::CommandError,
    terminal::{self, RawMode},
};

/// Which of the two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Starts a process.
    Exec,
    /// Joins the container's own process.
    Attach,
}

/// How much of standard input is sent at once.
const CHUNK: usize = 8 * 1024;
/// Chunks of standard input that may wait.
const WAITING: usize = 4;

/// A piece of what a process writes.
pub enum Output {
    /// On standard output.
    Stdout(Bytes),
    /// On standard error.
    Stderr(Bytes),
}

/// Runs the session. With `start.tty`, the terminal is in raw mode meanwhile.
///
/// # Errors
/// The server's, or the exit code of the process.
pub async fn run(context: &Context, call: Call, start: ExecStart) -> Result<(), CommandError> {
    let stdin = if start.stdin { context.take_stdin() } else { None };
    let mut print = |output| match output {
        Output::Stdout(bytes) => context.print_bytes(&bytes),
        Output::Stderr(bytes) => context.print_err_bytes(&bytes),
    };
    carry(context, call, start, stdin, &mut print).await
}

/// Runs a command with its streams in this program's hands.
///
/// # Errors
/// The server's, the exit code of the process, or what `take` says.
pub async fn pipe(
    context: &Context,
    start: ExecStart,
    stdin: Option<Box<dyn Read + Send>>,
    take: &mut dyn FnMut(Output) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    carry(context, Call::Exec, start, stdin, take).await
}

async fn carry(
    context: &Context,
    call: Call,
    start: ExecStart,
    stdin: Option<Box<dyn Read + Send>>,
    output: &mut dyn FnMut(Output) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let (sender, receiver) = mpsc::channel::<ExecInput>(WAITING);
    let raw = start.tty;
    let _raw = if raw { RawMode::enter().ok() } else { None };
    if let Some(stdin) = stdin {
        let sender = sender.clone();
        std::thread::spawn(move || forward(stdin, &sender));
    }
    let first = input(exec_input::Kind::Start(start));
    let requests = stream::once(async { first }).chain(ReceiverStream::new(receiver));
    let mut client = context.client()?.streams();
    let call = async {
        let replies = match call {
            Call::Exec => client.exec(requests).await,
            Call::Attach => client.attach(requests).await,
        };
        replies.map(tonic::Response::into_inner).map_err(|status| wire::from_tonic(&status))
    };
    let resizes = async {
        if raw {
            send_sizes(&sender).await;
        }
        std::future::pending::<()>().await;
    };
    let session = async {
        let mut replies = context.request(call).await?;
        while let Some(reply) =
            replies.message().await.map_err(|status| wire::from_tonic(&status))?
        {
            if let Some(end) = take(output, reply)? {
                return end;
            }
        }
        Err(CommandError::message("the server ended the session without a status"))
    };
    let (mut session, mut resizes) = (pin!(session), pin!(resizes));
    tokio::select! {
        result = &mut session => result,
        () = &mut resizes => Ok(()),
    }
}

fn input(kind: exec_input::Kind) -> ExecInput {
    ExecInput { kind: Some(kind) }
}

/// Sends standard input until it ends or nobody wants it.
fn forward(mut stdin: Box<dyn Read + Send>, sender: &mpsc::Sender<ExecInput>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let kind = match stdin.read(&mut buffer) {
            Ok(0) | Err(_) => exec_input::Kind::StdinClosed(true),
            Ok(length) => exec_input::Kind::Stdin(buffer[..length].to_vec().into()),
        };
        let last = matches!(kind, exec_input::Kind::StdinClosed(_));
        if sender.blocking_send(input(kind)).is_err() || last {
            return;
        }
    }
}

/// Tells the terminal's size, now and whenever it changes.
async fn send_sizes(sender: &mpsc::Sender<ExecInput>) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Some(size) = terminal::size()
            && sender.send(input(exec_input::Kind::Resize(size))).await.is_err()
        {
            return;
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

/// Hands a piece of output on; the status is the end.
fn take(
    output: &mut dyn FnMut(Output) -> Result<(), CommandError>,
    reply: ExecOutput,
) -> Result<Option<Result<(), CommandError>>, CommandError> {
    match reply.kind {
        Some(exec_output::Kind::Stdout(bytes)) => output(Output::Stdout(bytes))?,
        Some(exec_output::Kind::Stderr(bytes)) => output(Output::Stderr(bytes))?,
        Some(exec_output::Kind::Status(json)) => {
            let status: Status = serde_json::from_slice(&json).map_err(|error| {
                CommandError::message(format!(
                    "error stream protocol error: {error} in {}",
                    String::from_utf8_lossy(&json)
                ))
            })?;
            return Ok(Some(outcome(&status)));
        }
        None => {}
    }
    Ok(None)
}

/// What the process' end means for us.
fn outcome(status: &Status) -> Result<(), CommandError> {
    if status.success {
        return Ok(());
    }
    if status.reason == StatusReason::Other("NonZeroExitCode".to_owned()) {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let code = causes
            .filter(|cause| cause.reason == "ExitCode")
            .find_map(|cause| cause.message.parse::<u8>().ok());
        return Err(match code {
            Some(code) => CommandError::Exit {
                text: format!("command terminated with exit code {code}"),
                code,
            },
            None => CommandError::message("error stream protocol error: no ExitCode cause given"),
        });
    }
    Err(CommandError::message(status.message.clone()))
}

/// Refuses a pod that runs no more. `verb` is `exec into` or `attach`.
///
/// # Errors
/// kubectl's, when the pod is completed.
pub fn check_running(phase: Option<&str>, verb: &str) -> Result<(), CommandError> {
    match phase {
        Some(phase @ ("Succeeded" | "Failed")) => Err(CommandError::message(format!(
            "cannot {verb} a container in a completed pod; current phase is {phase}"
        ))),
        _ => Ok(()),
    }
}

/// Whether there can be a terminal: it needs standard input, and that to be one. Tells where not.
///
/// # Errors
/// When standard error cannot be written.
pub fn check_terminal(
    context: &Context,
    stdin: bool,
    tty: bool,
    quiet: bool,
) -> Result<bool, CommandError> {
    if !stdin || !tty {
        return Ok(false);
    }
    if !context.stdin_is_terminal && !quiet {
        context.print_err(
            "Unable to use a TTY - input is not a terminal or the right kind of file\n",
        )?;
    }
    Ok(context.stdin_is_terminal)
}

/// `TYPE NAME`, `TYPE/NAME`, or the name of a pod.
#[must_use]
pub fn pod_by_default(arguments: &[String]) -> Vec<String> {
    match arguments {
        [name] if !name.contains('/') => vec![resource::PODS.resource.to_owned(), name.clone()],
        arguments => arguments.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_status_becomes_the_exit_code() {
        let check = |json: serde_json::Value, expected: Result<(), &str>, code: u8| {
            let status = serde_json::from_value(json).unwrap();
            let result = outcome(&status);
            assert_eq!(
                result.as_ref().map_err(ToString::to_string),
                expected.map(|()| &()).map_err(ToOwned::to_owned)
            );
            if let Err(error) = result {
                assert_eq!(crate::errors::report(&error, "").1, code);
            }
        };
        check(json!({ "status": "Success" }), Ok(()), 0);
        check(
            json!({ "status": "Failure", "reason": "NonZeroExitCode", "details": { "causes": [{ "reason": "ExitCode", "message": "3" }] } }),
            Err("command terminated with exit code 3"),
            3,
        );
        check(
            json!({ "status": "Failure", "message": "no such container" }),
            Err("no such container"),
            1,
        );
    }
}
