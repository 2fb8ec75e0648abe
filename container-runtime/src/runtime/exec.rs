//! Further processes in a running container: `kubectl exec`, exec probes and hooks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::container::{Container, ContainerState, begin, run_to_end};
use crate::launch::{self, LaunchError};
use crate::program::{ExitStatus, Signals};
use crate::stdio::{Input, Output};
use crate::terminal;

/// Chunks of a stream that may wait for the other side.
const STREAM_CHUNKS: usize = 16;
/// Output kept of a synchronous exec, as a kubelet limits its probes.
const OUTPUT_LIMIT: usize = 10 * 1024;

/// What to run and how.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// Argument vector; not a shell line.
    pub command: Vec<String>,
    /// Whether the process gets standard input.
    pub stdin: bool,
    /// Whether it gets a terminal: standard error joins standard output, input is edited and echoed.
    pub tty: bool,
}

/// Why a process could not be started in a container; displays as containerd words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    /// The container does not run.
    #[error("failed to exec in container: container is in {0} state")]
    NotRunning(&'static str),
    /// No command was given.
    #[error("failed to exec in container: exec command is empty")]
    Empty,
    /// The executable is not there or cannot be run.
    #[error(
        "failed to exec in container: failed to start exec \"{id}\": OCI runtime exec failed: \
         exec failed: unable to start container process: {source}"
    )]
    Executable {
        /// Id of the attempt.
        id: Arc<str>,
        /// Why.
        source: LaunchError,
    },
}

impl ExecError {
    /// The exit code that runtimes give to a command that could not be started.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Executable { source, .. } => source.exit_code(),
            Self::NotRunning(_) | Self::Empty => 126,
        }
    }
}

/// A process that runs for a client. Dropping the session kills the process.
#[derive(Debug)]
pub struct ExecSession {
    /// Standard input when asked for; dropping it is the end of the input.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// Standard output; ends when the process has closed it.
    pub stdout: mpsc::Receiver<Bytes>,
    /// Standard error; ends at once with a terminal.
    pub stderr: mpsc::Receiver<Bytes>,
    /// Sends signals to the process.
    pub signals: Signals,
    exit: oneshot::Receiver<ExitStatus>,
    _kill: DropGuard,
}

impl ExecSession {
    /// Waits for the end; 137 when the container died under it. Both outputs must be read meanwhile.
    pub async fn wait(&mut self) -> ExitStatus {
        (&mut self.exit).await.unwrap_or(ExitStatus::KILLED)
    }
}

/// Result of [`Container::exec_sync`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// Exit code; `None` when the time ran out.
    pub exit_code: Option<i32>,
    /// Standard output and error in order of arrival, cut at 10 KiB.
    pub output: Vec<u8>,
}

impl Container {
    /// Starts a process in the container.
    ///
    /// # Errors
    /// When the container does not run or the command cannot be started.
    pub fn exec(&self, request: ExecRequest) -> Result<ExecSession, ExecError> {
        let shared = self.shared();
        match self.state() {
            ContainerState::Running { .. } => {}
            ContainerState::Created => return Err(ExecError::NotRunning("CONTAINER_CREATED")),
            ContainerState::Exited(_) => return Err(ExecError::NotRunning("CONTAINER_EXITED")),
        }
        let Some(executable) = request.command.first() else { return Err(ExecError::Empty) };
        let mut context = shared.base.clone();
        let program = launch::find(&context, executable)
            .map_err(|source| ExecError::Executable { id: shared.runtime.random_hex(4), source })?;

        let (stdin, input) = match request.stdin {
            true => {
                let (sender, receiver) = mpsc::channel(STREAM_CHUNKS);
                (Some(sender), Input::from_receiver(receiver))
            }
            false => (None, Input::empty()),
        };
        let (stdout_sender, stdout) = mpsc::channel(STREAM_CHUNKS);
        let (stderr_sender, stderr) = mpsc::channel(STREAM_CHUNKS);
        let signals = Signals::new();
        let kill = CancellationToken::new();
        let process = shared.processes.add(&request.command, signals.clone(), kill.clone());
        context.args = request.command;
        context.stdin = input;
        context.stdout = Output::channel(stdout_sender);
        context.stderr = Output::channel(stderr_sender);
        context.signals = signals.clone();
        context.pid = process.pid;
        context.terminal = request.tty;
        let terminal = CancellationToken::new();
        if request.tty {
            context.env.push(("TERM".to_owned(), "xterm".to_owned()));
            terminal::attach(&mut context, terminal.clone());
        }
        let terminal = terminal.drop_guard();

        let (exited, exit) = oneshot::channel();
        let tasks = shared.tasks.clone();
        let session_kill = kill.clone();
        shared.tasks.spawn(async move {
            let stderr = context.stderr.clone();
            let status = tokio::select! {
                biased;
                () = session_kill.cancelled() => ExitStatus::KILLED,
                status = run_to_end(&tasks, begin(&*program, context), &stderr) => status,
            };
            drop((process, terminal));
            // A client that left does not want to know.
            let _ = exited.send(status);
        });
        Ok(ExecSession { stdin, stdout, stderr, signals, exit, _kill: kill.drop_guard() })
    }

    /// Runs a command to its end or for `timeout`, as probes and hooks do.
    ///
    /// # Errors
    /// As [`Self::exec`].
    pub async fn exec_sync(
        &self,
        command: Vec<String>,
        timeout: Duration,
    ) -> Result<ExecOutput, ExecError> {
        let mut session = self.exec(ExecRequest { command, ..ExecRequest::default() })?;
        let mut output = Vec::new();
        let mut keep = |chunk: Bytes| {
            let room = OUTPUT_LIMIT.saturating_sub(output.len()).min(chunk.len());
            output.extend_from_slice(&chunk[..room]);
        };
        let run = async {
            loop {
                tokio::select! {
                    biased;
                    Some(chunk) = session.stdout.recv() => keep(chunk),
                    Some(chunk) = session.stderr.recv() => keep(chunk),
                    else => break,
                }
            }
            (&mut session.exit).await.unwrap_or(ExitStatus::KILLED)
        };
        let ended = self.shared().base.within(timeout, run).await;
        Ok(ExecOutput { exit_code: ended.map(|status| status.0), output })
    }
}
