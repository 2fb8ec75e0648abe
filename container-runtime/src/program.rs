//! What a container runs: a [`Program`], an asynchronous function given a [`ContainerContext`].
//!
//! A container is not a process here. It is one future, driven by the runtime, that may start
//! further futures through [`ContainerContext::spawn`]; all of them die with the container. The
//! context is everything such a "process" may touch: its arguments and environment, its own files,
//! its pod's network, its streams, its clock, and the signals sent to it. A Program that needs
//! anything else (the host's files, the host's network, the host's time) cannot be one.
//!
//! The same context serves commands of the exec shell, so `sh -c 'echo hi > /x && nginx'` runs
//! nginx with the shell's files, variables and streams.
//!
//! # Exit codes
//! | end | exit code |
//! |---|---|
//! | the function returns | its [`ExitStatus`] |
//! | it panics | 101, as any Rust process; the message is on the container's stderr |
//! | SIGTERM ends a Program that does not handle it (shell scripts, `sleep`) | 143 |
//! | SIGKILL | 137 |
//!
//! Unlike a Linux PID 1, a script or `sleep` ends at SIGTERM, as it does under an init process.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use cni::network::Sandbox;
use component_base::clock::Clock;
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::files::FileSystem;
use crate::image::Image;
use crate::processes::ProcessTable;
use crate::stdio::{Input, Output};

/// The code a process ends with; 128 + n after signal n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(pub i32);

impl ExitStatus {
    /// Exit code 0.
    pub const SUCCESS: Self = Self(0);
    /// What a panic looks like from outside: the code of a Rust process that panicked.
    pub const PANIC: Self = Self(101);
    /// The end of a process by SIGTERM.
    pub const TERMINATED: Self = Self(143);
    /// The end of a process by SIGKILL.
    pub const KILLED: Self = Self(137);

    /// Tells whether the code is 0.
    pub fn success(self) -> bool {
        self.0 == 0
    }
}

impl From<i32> for ExitStatus {
    fn from(code: i32) -> Self {
        Self(code)
    }
}

impl From<()> for ExitStatus {
    fn from((): ()) -> Self {
        Self::SUCCESS
    }
}

/// What an image runs. Closures and async functions that take a [`ContainerContext`] are Programs.
pub trait Program: Send + Sync + 'static {
    /// Runs once per container start, until it ends by itself or the future is dropped (SIGKILL).
    fn run(&self, context: ContainerContext) -> BoxFuture<'static, ExitStatus>;
}

impl<F, Fut> Program for F
where
    F: Fn(ContainerContext) -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Into<ExitStatus>,
{
    fn run(&self, context: ContainerContext) -> BoxFuture<'static, ExitStatus> {
        // Not awaited in a block, which would have room for the future twice.
        Box::pin(self(context).map(Into::into))
    }
}

/// The signals a process can see. SIGKILL is not among them: it drops the future.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    terminate: CancellationToken,
    /// SIGINT can come again and again: it wakes who waits now.
    interrupt: Arc<Notify>,
}

impl Signals {
    /// Signals of a new process, none sent yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Completes when SIGTERM has been sent.
    pub async fn terminated(&self) {
        self.terminate.cancelled().await;
    }

    /// Tells whether SIGTERM has been sent.
    pub fn is_terminated(&self) -> bool {
        self.terminate.is_cancelled()
    }

    /// Completes when SIGINT has been sent (Ctrl-C on a terminal).
    pub async fn interrupted(&self) {
        self.interrupt.notified().await;
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.terminate.cancel();
    }

    /// Sends SIGINT.
    pub fn interrupt(&self) {
        self.interrupt.notify_waiters();
    }

    /// Signals of a child in the foreground: SIGINT of the terminal reaches both, SIGTERM only whom it
    /// was sent to.
    pub fn child(&self) -> Self {
        Self { terminate: CancellationToken::new(), interrupt: self.interrupt.clone() }
    }
}

/// Transport protocol of a [`DeclaredPort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
}

/// One of the container's `ports` in the pod spec; informative, as in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredPort {
    /// `name`, empty when none was given.
    pub name: String,
    /// `containerPort`.
    pub port: u16,
    /// `protocol`.
    pub protocol: Protocol,
}

/// The futures of one container: they are dropped together when it ends.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    kill: CancellationToken,
}

impl Tasks {
    /// A group that dies with its runtime.
    pub(crate) fn new(runtime: &CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), kill: runtime.child_token() }
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let kill = self.kill.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = kill.cancelled() => {}
                () = future => {}
            }
        });
    }

    /// Starts a future that is polled elsewhere and given back here; dropping the handle ends it.
    pub(crate) fn spawn_scoped<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.tracker.spawn(future))
    }

    pub(crate) async fn killed(&self) {
        self.kill.cancelled().await;
    }

    pub(crate) fn kill_token(&self) -> CancellationToken {
        self.kill.clone()
    }

    /// SIGKILL to every future; they are gone when [`Self::gone`] completes.
    pub(crate) fn kill(&self) {
        self.kill.cancel();
        self.tracker.close();
    }

    pub(crate) async fn gone(&self) {
        self.tracker.wait().await;
    }
}

/// Everything a running Program may use. Cheap to clone; a clone is a second handle to the same
/// container, which a command started by this one gets with its own arguments and streams.
#[derive(Clone)]
pub struct ContainerContext {
    /// The container's name in its pod.
    pub container: Arc<str>,
    /// The whole argument vector, after the rules for ENTRYPOINT, CMD, `command` and `args`.
    pub args: Vec<String>,
    /// Environment in order: the image's, then the pod spec's.
    pub env: Vec<(String, String)>,
    /// Absolute path.
    pub working_dir: String,
    /// The root filesystem with its mounts.
    pub files: FileSystem,
    /// Standard input; empty unless the container has `stdin: true` and someone is attached.
    pub stdin: Input,
    /// Standard output: the container's log, or the caller of exec.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
    /// The only source of time.
    pub clock: Clock,
    /// The pod's network.
    pub network: Sandbox,
    /// SIGTERM and SIGINT.
    pub signals: Signals,
    /// The pod's host name.
    pub hostname: Arc<str>,
    /// `ports` of the container in the pod spec.
    pub ports: Arc<[DeclaredPort]>,
    /// Where the container may leave its termination message.
    pub termination_message_path: Arc<str>,
    /// The image the container was made from.
    pub image: Arc<Image>,
    /// This process' id inside the container; 1 is the container's own Program.
    pub pid: u32,
    /// Whether the streams are a terminal.
    pub terminal: bool,
    pub(crate) processes: ProcessTable,
    pub(crate) tasks: Tasks,
}

impl ContainerContext {
    /// Starts a future that lives no longer than the container. A panic in it ends that future only.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(future);
    }

    /// Runs a future for at most `limit`. The timer is looked at first, so that a future which never
    /// waits for long cannot starve it.
    pub(crate) async fn within<F: Future>(
        &self,
        limit: std::time::Duration,
        future: F,
    ) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.clock.sleep(limit) => None,
            output = future => Some(output),
        }
    }

    /// Value of an environment variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Leaves the message that appears as `terminated.message` in the container's status.
    ///
    /// # Errors
    /// Those of writing a file in the container.
    pub fn set_termination_message(
        &self,
        message: impl Into<Bytes>,
    ) -> Result<(), crate::files::FsError> {
        self.files.write(&self.termination_message_path, message.into())
    }
}
