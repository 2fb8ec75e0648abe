//! One container instance.

use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cni::network::Sandbox;
use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, watch};

use super::Runtime;
use crate::files::{FileSystem, FsError, Mount, MountSource};
use crate::image::Image;
use crate::launch;
use crate::logs::{LogError, LogOptions, LogReader, LogStream, LogWriter};
use crate::processes::{Entry, ProcessTable};
use crate::program::{ContainerContext, DeclaredPort, ExitStatus, Program, Signals, Tasks};
use crate::stdio::{Input, Output};
use crate::terminal;

/// Bytes of the termination message that a status keeps, as a kubelet does.
const TERMINATION_MESSAGE_LIMIT: usize = 4096;
/// Chunks of standard input that may wait for the Program.
const STDIN_CHUNKS: usize = 16;

/// 64 hexadecimal digits; a status shows them behind `containerd://`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(pub Arc<str>);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a container is made of; the kubelet has resolved every reference in it.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// Name in the pod.
    pub name: String,
    /// The image.
    pub image: Arc<Image>,
    /// `command` of the pod spec, variables expanded; empty for the image's ENTRYPOINT.
    pub command: Vec<String>,
    /// `args` of the pod spec, variables expanded; empty for the image's CMD.
    pub args: Vec<String>,
    /// Environment of the pod spec in order; it comes after the image's.
    pub env: Vec<(String, String)>,
    /// `workingDir`; the image's when `None`.
    pub working_dir: Option<String>,
    /// Volumes and kubelet-made files. `/etc/hosts` and `/etc/resolv.conf` are taken from the sandbox unless mounted.
    pub mounts: Vec<Mount>,
    /// The pod's network.
    pub network: Sandbox,
    /// The pod's host name.
    pub hostname: String,
    /// Declared ports.
    pub ports: Vec<DeclaredPort>,
    /// Log file of this instance, see [`crate::logs::path`].
    pub log_path: PathBuf,
    /// `stdin: true`.
    pub stdin: bool,
    /// `stdinOnce: true`: standard input ends with the first attached client.
    pub stdin_once: bool,
    /// `tty: true`.
    pub tty: bool,
    /// `terminationMessagePath`, `/dev/termination-log` by default.
    pub termination_message_path: String,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Running.
    Running {
        /// When it was started.
        started_at: Timestamp,
    },
    /// At its end.
    Exited(Exit),
}

/// How a container ended; the fields of `ContainerStateTerminated`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code.
    pub code: i32,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// `Completed`, `Error` or `StartError`.
    pub reason: &'static str,
    /// Termination message, or why the start failed.
    pub message: String,
    /// When it was started; the Unix epoch when it never was.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Why a container could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A volume or its subPath cannot be opened, or a mount path is not absolute.
    #[error("failed to prepare the mounts of container \"{container}\": {source}")]
    Mounts {
        /// Container name.
        container: String,
        /// Why.
        source: io::Error,
    },
    /// The log file cannot be opened.
    #[error("failed to open the log of container \"{container}\": {source}")]
    Log {
        /// Container name.
        container: String,
        /// Why.
        source: io::Error,
    },
    /// Neither the image nor the pod spec names a command.
    #[error("no command specified")]
    NoCommand,
    /// The working directory cannot be made.
    #[error("failed to create the working directory \"{path}\": {source}")]
    WorkingDir {
        /// The directory.
        path: String,
        /// Why.
        source: FsError,
    },
}

/// Why a container could not be started; displays as containerd and runc word it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The executable is not there or cannot be run.
    #[error(
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: \
         runc create failed: unable to start container process: error during container init: {0}"
    )]
    Executable(#[source] launch::LaunchError),
    /// It was started before.
    #[error("container is in {0} state")]
    State(&'static str),
}

/// A handle to a container; the container is killed when the last one is dropped.
#[derive(Clone)]
pub struct Container(Arc<Handle>);

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.tasks.kill();
    }
}

pub(super) struct Shared {
    pub(super) id: ContainerId,
    pub(super) name: Arc<str>,
    pub(super) runtime: Runtime,
    pub(super) base: ContainerContext,
    pub(super) signals: Signals,
    pub(super) processes: ProcessTable,
    pub(super) tasks: Tasks,
    state: watch::Sender<ContainerState>,
    log: LogWriter,
    stdin: Mutex<Option<mpsc::Sender<Bytes>>>,
    stdin_once: bool,
    tty: bool,
}

impl Container {
    pub(super) fn create(runtime: &Runtime, spec: ContainerSpec) -> Result<Self, CreateError> {
        let image = spec.image;
        let args = image.argv(&spec.command, &spec.args);
        if args.first().is_none_or(String::is_empty) {
            return Err(CreateError::NoCommand);
        }
        let clock = &runtime.clock;
        let mounts = standard_mounts(spec.mounts, &spec.network, &spec.hostname);
        let files = FileSystem::new(image.files.clone(), mounts, clock.clone())
            .map_err(|source| CreateError::Mounts { container: spec.name.clone(), source })?;
        let working_dir = spec.working_dir.unwrap_or_else(|| image.working_dir.clone());
        files
            .create_dir_all(&working_dir)
            .map_err(|source| CreateError::WorkingDir { path: working_dir.clone(), source })?;
        let log = LogWriter::open(&spec.log_path, clock)
            .map_err(|source| CreateError::Log { container: spec.name.clone(), source })?;

        let mut env = image.env.clone();
        for (name, value) in
            [("HOSTNAME".to_owned(), spec.hostname.clone())].into_iter().chain(spec.env)
        {
            match env.iter_mut().find(|(existing, _)| *existing == name) {
                Some(existing) => existing.1 = value,
                None => env.push((name, value)),
            }
        }
        let stderr = if spec.tty { LogStream::Stdout } else { LogStream::Stderr };
        let stdout = Output::log(log.sink(LogStream::Stdout));
        let (stdin, input) = match spec.stdin {
            true => {
                let (sender, receiver) = mpsc::channel(STDIN_CHUNKS);
                (Some(sender), Input::from_receiver(receiver))
            }
            false => (None, Input::empty()),
        };
        let signals = Signals::new();
        let processes = ProcessTable::default();
        let tasks = Tasks::new(&runtime.kill);
        let name: Arc<str> = spec.name.into();
        let base = ContainerContext {
            container: name.clone(),
            args,
            env,
            working_dir,
            files,
            stdin: input,
            stdout,
            stderr: Output::log(log.sink(stderr)),
            clock: clock.clone(),
            network: spec.network,
            signals: signals.clone(),
            hostname: spec.hostname.into(),
            ports: spec.ports.into(),
            termination_message_path: spec.termination_message_path.into(),
            image,
            pid: 1,
            terminal: spec.tty,
            processes: processes.clone(),
            tasks: tasks.clone(),
        };
        let shared = Arc::new(Shared {
            id: ContainerId(runtime.random_hex(4)),
            name,
            runtime: runtime.clone(),
            base,
            signals,
            processes,
            tasks,
            state: watch::Sender::new(ContainerState::Created),
            log,
            stdin: Mutex::new(stdin),
            stdin_once: spec.stdin_once,
            tty: spec.tty,
        });
        Ok(Self(Arc::new(Handle(shared))))
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0.0
    }

    /// Its id.
    pub fn id(&self) -> &ContainerId {
        &self.shared().id
    }

    /// Its name in the pod.
    pub fn name(&self) -> &str {
        &self.shared().name
    }

    /// The image it was made from.
    pub fn image(&self) -> &Arc<Image> {
        &self.shared().base.image
    }

    /// Its files, as the container sees them.
    pub fn files(&self) -> &FileSystem {
        &self.shared().base.files
    }

    /// Its state now.
    pub fn state(&self) -> ContainerState {
        self.shared().state.borrow().clone()
    }

    /// Its state as it changes; the last value is always seen.
    pub fn watch(&self) -> watch::Receiver<ContainerState> {
        self.shared().state.subscribe()
    }

    /// Starts the Program.
    ///
    /// # Errors
    /// When the image has no such executable (the container is `Exited` with 128 and `StartError`
    /// then), or it was started before.
    pub fn start(&self) -> Result<(), StartError> {
        let shared = self.0.0.clone();
        match self.state() {
            ContainerState::Created => {}
            ContainerState::Running { .. } => return Err(StartError::State("CONTAINER_RUNNING")),
            ContainerState::Exited(_) => return Err(StartError::State("CONTAINER_EXITED")),
        }
        let now = shared.runtime.clock.now();
        let mut context = shared.base.clone();
        let program = match launch::find(&context, &context.args[0]) {
            Ok(program) => program,
            Err(error) => {
                let error = StartError::Executable(error);
                shared.log.close();
                shared.state.send_replace(ContainerState::Exited(Exit {
                    code: 128,
                    signal: None,
                    reason: "StartError",
                    message: error.to_string(),
                    started_at: Timestamp::UNIX_EPOCH,
                    finished_at: now,
                }));
                return Err(error);
            }
        };
        let kill = shared.tasks.kill_token();
        if shared.tty {
            terminal::attach(&mut context, kill.clone());
        }
        let process = shared.processes.add(&context.args, shared.signals.clone(), kill);
        shared.state.send_replace(ContainerState::Running { started_at: now });
        let tracker = shared.runtime.tracker.clone();
        let ending = Ending {
            shared,
            stderr: context.stderr.clone(),
            files: context.files.clone(),
            message_path: context.termination_message_path.clone(),
            started_at: now,
        };
        tracker.spawn(run(ending, begin(&*program, context), process));
        Ok(())
    }

    /// Sends SIGTERM, waits up to `grace`, then kills. Returns when nothing of it runs any more.
    pub async fn stop(&self, grace: Duration) {
        match self.state() {
            ContainerState::Created => self.kill(),
            ContainerState::Exited(_) => return,
            ContainerState::Running { .. } => {}
        }
        self.shared().signals.terminate();
        if self.shared().runtime.clock.timeout(grace, self.wait()).await.is_err() {
            self.kill();
            self.wait().await;
        }
    }

    /// Sends SIGKILL: every future of the container is dropped.
    pub fn kill(&self) {
        let shared = self.shared();
        shared.tasks.kill();
        let now = shared.runtime.clock.now();
        // One that never started has no task that would tell of its end.
        let ended = shared.state.send_if_modified(|state| {
            let created = *state == ContainerState::Created;
            if created {
                *state =
                    ContainerState::Exited(exit_of(ExitStatus::KILLED, String::new(), now, now));
            }
            created
        });
        if ended {
            shared.log.close();
        }
    }

    /// Waits for the end.
    pub async fn wait(&self) -> Exit {
        let mut watch = self.watch();
        loop {
            if let ContainerState::Exited(exit) = &*watch.borrow_and_update() {
                return exit.clone();
            }
            watch.changed().await.expect("the sender lives in this handle");
        }
    }

    /// Reads the log of this instance; following ends with the container.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn logs(&self, options: LogOptions) -> Result<LogReader, LogError> {
        let log = &self.shared().log;
        LogReader::open(log.path(), options, Some(log))
    }

    /// Joins the running Program's streams. Standard input is there when the container has
    /// `stdin: true` and nobody holds it.
    pub fn attach(&self) -> AttachSession {
        let shared = self.shared();
        let mut slot = shared.stdin.lock();
        let stdin = if shared.stdin_once { slot.take() } else { slot.clone() };
        AttachSession {
            stdin,
            output: shared.log.subscribe(),
            state: self.watch(),
            tty: shared.tty,
        }
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Container");
        debug.field("id", self.id()).field("name", &self.name()).field("state", &self.state());
        debug.finish()
    }
}

/// A client at the streams of a container's Program.
#[derive(Debug)]
pub struct AttachSession {
    /// Standard input, where there is one. With `stdinOnce`, dropping it is the end of the input.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// Output from now on; a slow client misses some.
    pub output: broadcast::Receiver<(LogStream, Bytes)>,
    /// The container's state: the session ends with it.
    pub state: watch::Receiver<ContainerState>,
    /// Whether the container has a terminal.
    pub tty: bool,
}

/// What a container's end needs to know.
struct Ending {
    shared: Arc<Shared>,
    stderr: Output,
    files: FileSystem,
    message_path: Arc<str>,
    started_at: Timestamp,
}

async fn run(ending: Ending, begun: Begun, process: Entry) {
    let status = run_to_end(&ending.shared.tasks, begun, &ending.stderr).await;
    let Ending { shared, files, message_path, started_at, .. } = ending;
    drop(process);
    shared.tasks.kill();
    shared.tasks.gone().await;
    shared.log.close();
    shared.stdin.lock().take();
    let message = termination_message(&files, &message_path);
    let finished_at = shared.runtime.clock.now();
    let exit = exit_of(status, message, started_at, finished_at);
    shared.state.send_replace(ContainerState::Exited(exit));
}

/// A Program's future, or the panic that it gave in place of one.
pub(super) type Begun = std::thread::Result<BoxFuture<'static, ExitStatus>>;

/// Makes a Program's future. `run` itself is the Program's code too and may panic.
pub(super) fn begin(program: &dyn Program, context: ContainerContext) -> Begun {
    std::panic::catch_unwind(AssertUnwindSafe(|| program.run(context)))
}

/// Runs a Program until it returns, panics or is killed; its future is gone afterwards.
pub(super) async fn run_to_end(tasks: &Tasks, begun: Begun, stderr: &Output) -> ExitStatus {
    let ended = match begun {
        Ok(future) => {
            let mut future = AssertUnwindSafe(future).catch_unwind();
            tokio::select! {
                biased;
                () = tasks.killed() => return ExitStatus::KILLED,
                ended = &mut future => ended,
            }
        }
        Err(panic) => Err(panic),
    };
    match ended {
        Ok(status) => status,
        Err(panic) => {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "unknown cause".to_owned());
            // The log may be unwritable; the exit code tells of the panic all the same.
            let text = format!("thread 'main' panicked: {message}\n");
            let _ = Box::pin(stderr.write_all(text)).await;
            ExitStatus::PANIC
        }
    }
}

fn exit_of(
    status: ExitStatus,
    message: String,
    started_at: Timestamp,
    finished_at: Timestamp,
) -> Exit {
    let signal =
        matches!(status, ExitStatus::KILLED | ExitStatus::TERMINATED).then_some(status.0 - 128);
    let reason = if status.success() { "Completed" } else { "Error" };
    Exit { code: status.0, signal, reason, message, started_at, finished_at }
}

fn termination_message(files: &FileSystem, path: &str) -> String {
    let mut message = files.read_to_string(path).unwrap_or_default();
    if message.len() > TERMINATION_MESSAGE_LIMIT {
        let mut start = message.len() - TERMINATION_MESSAGE_LIMIT;
        while !message.is_char_boundary(start) {
            start += 1;
        }
        message.drain(..start);
    }
    message
}

/// Adds the files every container has unless the kubelet mounts its own.
fn standard_mounts(mut mounts: Vec<Mount>, network: &Sandbox, hostname: &str) -> Vec<Mount> {
    let texts = [
        ("/etc/hosts", network.hosts_file()),
        ("/etc/hostname", format!("{hostname}\n")),
        ("/etc/resolv.conf", network.resolv_conf()),
    ];
    for (path, text) in texts {
        if !text.is_empty() && !mounts.iter().any(|mount| mount.path == path) {
            let source = MountSource::Text { content: text.into(), mode: 0o644 };
            mounts.push(Mount { path: path.to_owned(), source, read_only: true });
        }
    }
    mounts
}
