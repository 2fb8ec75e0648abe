//! Commands in containers, and attaching to their main process.

use apimachinery::status::Status;
use bytes::Bytes;
use container_runtime::{
    Container, ContainerState, ExecError, ExecRequest, ExitStatus, logs::LogStream,
};
use futures::StreamExt;
use proto::v1::{self, exec_input::Kind as Input, exec_output::Kind as Output};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Answers, Target};

/// Messages that may wait for the client.
const DEPTH: usize = 16;

/// The first message.
pub(super) async fn start_of(
    input: &mut tonic::Streaming<v1::ExecInput>,
) -> Result<v1::ExecStart, tonic::Status> {
    match input.message().await? {
        Some(v1::ExecInput { kind: Some(Input::Start(start)) }) => Ok(start),
        _ => Err(tonic::Status::invalid_argument("the first message must start the command")),
    }
}

fn running(target: &Target) -> Result<Container, Status> {
    let found = target.shared.read().containers.get(&target.container).cloned();
    found.filter(|c| matches!(c.state(), ContainerState::Running { .. })).ok_or_else(|| {
        Status::internal(format!(
            "unable to upgrade connection: container not found (\"{}\")",
            target.container
        ))
    })
}

fn message(kind: Output) -> Result<v1::ExecOutput, tonic::Status> {
    Ok(v1::ExecOutput { kind: Some(kind) })
}

/// The last message: how the command ended, as Kubernetes' error channel tells it.
fn exit_message(code: i32) -> Output {
    let status = if code == 0 {
        json!({"metadata": {}, "status": "Success"})
    } else {
        json!({
            "metadata": {},
            "status": "Failure",
            "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        })
    };
    Output::Status(status.to_string().into())
}

/// Runs a command.
pub(super) fn exec(
    target: &Target,
    start: v1::ExecStart,
    mut input: tonic::Streaming<v1::ExecInput>,
) -> Result<Answers<v1::ExecOutput>, Status> {
    let container = running(target)?;
    let request = ExecRequest { command: start.command, stdin: start.stdin, tty: start.tty };
    let mut session = match container.exec(request) {
        Ok(session) => session,
        Err(error @ ExecError::NotRunning(_)) => return Err(Status::internal(error.to_string())),
        Err(error) => return Ok(refused(&error)),
    };
    let (sender, receiver) = mpsc::channel(DEPTH);
    let relay = async move {
        let mut stdin = session.stdin.take();
        // Beside the outputs, not between them: a command that waits until its output is read reads nothing meanwhile.
        let forwarding = async {
            while forward_input(input.next().await, &mut stdin).await {}
            // A client that went away takes its command with it; one that has said all does not.
            if !sender.is_closed() {
                std::future::pending::<()>().await;
            }
        };
        let telling = async {
            let (mut out_open, mut err_open) = (true, true);
            while out_open || err_open {
                let said = tokio::select! {
                    chunk = session.stdout.recv(), if out_open => {
                        out_open = chunk.is_some();
                        chunk.filter(|_| start.stdout).map(Output::Stdout)
                    }
                    chunk = session.stderr.recv(), if err_open => {
                        err_open = chunk.is_some();
                        chunk.filter(|_| start.stderr).map(Output::Stderr)
                    }
                    () = sender.closed() => return,
                };
                if let Some(said) = said
                    && sender.send(message(said)).await.is_err()
                {
                    return;
                }
            }
            let ExitStatus(code) = session.wait().await;
            // The client may be gone by now.
            let _ = sender.send(message(exit_message(code))).await;
        };
        tokio::select! {
            () = telling => {}
            () = forwarding => {}
        }
    };
    Ok(driven(relay, receiver))
}

/// A command that could not be started: its message on the error channel, as runtimes give it.
fn refused(error: &ExecError) -> Answers<v1::ExecOutput> {
    let text = format!("Internal error occurred: error executing command in container: {error}");
    let status = json!({
        "metadata": {}, "status": "Failure", "message": text, "reason": "InternalError", "code": 500,
        "details": {"causes": [{"message": error.to_string()}]},
    });
    Box::pin(futures::stream::iter([message(Output::Status(status.to_string().into()))]))
}

/// Hands one message on to the command; false: no more will come.
async fn forward_input(
    received: Option<Result<v1::ExecInput, tonic::Status>>,
    stdin: &mut Option<mpsc::Sender<Bytes>>,
) -> bool {
    match received {
        Some(Ok(v1::ExecInput { kind: Some(Input::Stdin(data)) })) => {
            if let Some(open) = stdin
                && open.send(data).await.is_err()
            {
                *stdin = None;
            }
            true
        }
        Some(Ok(v1::ExecInput { kind: Some(Input::StdinClosed(_)) })) => {
            *stdin = None;
            true
        }
        Some(Ok(_)) => true,
        Some(Err(_)) | None => {
            *stdin = None;
            false
        }
    }
}

/// Joins the container's main process.
pub(super) fn attach(
    target: &Target,
    mut input: tonic::Streaming<v1::ExecInput>,
) -> Result<Answers<v1::ExecOutput>, Status> {
    let container = running(target)?;
    let mut session = container.attach();
    let (sender, receiver) = mpsc::channel(DEPTH);
    let relay = async move {
        let mut stdin = session.stdin.take();
        let mut in_open = true;
        loop {
            tokio::select! {
                biased;
                chunk = session.output.recv() => {
                    let sent = match chunk {
                        Ok((LogStream::Stdout, data)) => sender.send(message(Output::Stdout(data))).await,
                        Ok((LogStream::Stderr, data)) => sender.send(message(Output::Stderr(data))).await,
                        Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => Ok(()),
                        Err(tokio::sync::broadcast::error::RecvError::Closed) => break,
                    };
                    if sent.is_err() { return; }
                }
                received = input.next(), if in_open => {
                    in_open = forward_input(received, &mut stdin).await;
                }
                () = sender.closed() => return,
                changed = session.state.changed() => {
                    let ended = matches!(*session.state.borrow(), ContainerState::Exited(_));
                    if changed.is_err() || ended { break; }
                }
            }
        }
        // What was written before the end still counts.
        while let Ok((stream, data)) = session.output.try_recv() {
            let kind = match stream {
                LogStream::Stdout => Output::Stdout(data),
                LogStream::Stderr => Output::Stderr(data),
            };
            if sender.send(message(kind)).await.is_err() {
                return;
            }
        }
        let code = match &*session.state.borrow() {
            ContainerState::Exited(exit) => exit.code,
            _ => 0,
        };
        let _ = sender.send(message(exit_message(code))).await;
    };
    Ok(driven(relay, receiver))
}

/// A stream of what a relay sends, which drives the relay itself: both end together, and no task is left behind.
pub(super) fn driven<T: Send + 'static>(
    relay: impl Future<Output = ()> + Send + 'static,
    receiver: mpsc::Receiver<Result<T, tonic::Status>>,
) -> Answers<T> {
    let work = futures::stream::once(relay).filter_map(|()| async { None });
    Box::pin(futures::stream::select(ReceiverStream::new(receiver), work))
}
