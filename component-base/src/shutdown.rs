//! How a process ends: one cancellation, and the tasks that it ends.
//!
//! Every background task is spawned on a [`Shutdown`] (or on one of its [children](Shutdown::child)) under a name, sees
//! its [token](Shutdown::token), and is waited for. Three things start the end: a signal
//! ([`Shutdown::on_signals`]), the supervisor's death ([`Shutdown::follow_lifeline`]), or the panic of a task: a process
//! that lost one of its tasks is worth less than one that its supervisor starts afresh.
//!
//! # The lifeline
//! A supervisor gives each child the reading end of a pipe, and keeps the writing end open as long as it lives. It
//! never writes. The kernel closes the pipe however the supervisor ends, `kill -9` included, and the child then
//! shuts down. The usual way is `Command::stdin(reader)` with `--lifeline-fd 0`.

use std::{
    fs::File,
    future::Future,
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

use crate::clock::Clock;

/// One cancellation and the tasks that see it; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
    crashed: Arc<OnceLock<&'static str>>,
    /// What a panic cancels, where this is a part: the whole.
    whole: Option<CancellationToken>,
}

/// Why [`Shutdown::wait`] did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShutdownError {
    /// A task panicked, which is what started the end.
    #[error("task {0} panicked")]
    TaskPanicked(&'static str),
    /// Tasks were still running after the grace period.
    #[error("{0} tasks did not end in time")]
    TasksLeft(usize),
}

impl Shutdown {
    /// Makes one that nothing has ended yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A part of this one: ends with it, can be ended and waited for alone. A panic in a part ends the whole.
    #[must_use]
    pub fn child(&self) -> Child {
        Child {
            shutdown: Self {
                token: self.token.child_token(),
                tasks: TaskTracker::new(),
                crashed: Arc::clone(&self.crashed),
                whole: Some(self.whole.as_ref().unwrap_or(&self.token).clone()),
            },
        }
    }

    /// The cancellation, for `select!` and for handing on.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Completes when the end has begun.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// Begins the end.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Runs `task` in the background. It should end soon after the token is cancelled.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let crashed = Arc::clone(&self.crashed);
        let whole = self.whole.as_ref().unwrap_or(&self.token).clone();
        // Not awaited in a block, which would have room for the task twice.
        self.tasks.spawn(AssertUnwindSafe(task).catch_unwind().map(move |ended| {
            // The panic hook has already written message and place.
            if ended.is_err() {
                error!(task = name, "task panicked, shutting down");
                let _ = crashed.set(name);
                whole.cancel();
            }
        }));
    }

    /// Waits until the end has begun and all tasks have ended, for these at most `grace`.
    ///
    /// # Errors
    /// When a panic was the cause, or when tasks were left.
    pub async fn wait(&self, grace: Duration) -> Result<(), ShutdownError> {
        self.token.cancelled().await;
        self.tasks.close();
        let ended = Clock::real().timeout(grace, self.tasks.wait()).await;
        match (self.crashed.get(), ended) {
            (Some(name), _) => Err(ShutdownError::TaskPanicked(name)),
            (None, Err(_)) => Err(ShutdownError::TasksLeft(self.tasks.len())),
            (None, Ok(())) => Ok(()),
        }
    }

    /// SIGTERM and SIGINT begin the end; a second one ends the process at once, as in Kubernetes' components.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn on_signals(&self) -> io::Result<()> {
        Self::on_signals_cancel(&self.token)
    }

    /// Like [`Self::on_signals`], for whoever has something to do before the end begins: the first signal cancels `token`.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn on_signals_cancel(token: &CancellationToken) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let token = token.clone();
        // Outside the tracker: it listens until the process ends.
        TaskTracker::new().spawn(async move {
            for first in [true, false] {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if first {
                    info!(signal = name, "shutting down");
                    token.cancel();
                }
            }
            std::process::exit(1);
        });
        Ok(())
    }

    /// The closing of the pipe `fd` begins the end; see the module's documentation.
    ///
    /// # Errors
    /// When `fd` is not the reading end of a pipe.
    pub fn follow_lifeline(&self, fd: u32) -> io::Result<()> {
        // Opened by its name, which needs no unsafe claim to own the number.
        let file = File::open(format!("/dev/fd/{fd}"))?;
        let mut pipe = pipe::Receiver::from_file(file)?;
        let token = self.token.clone();
        self.spawn("lifeline", async move {
            let mut byte = [0];
            let closed = async {
                // Whatever a supervisor should write is no reason to end.
                while matches!(pipe.read(&mut byte).await, Ok(1..)) {}
            };
            if token.run_until_cancelled(closed).await.is_some() {
                info!("supervisor is gone, shutting down");
                token.cancel();
            }
        });
        Ok(())
    }
}

/// A part of a [`Shutdown`]; dropping it ends its tasks.
#[derive(Debug)]
pub struct Child {
    shutdown: Shutdown,
}

impl Child {
    /// This part as a whole of its own, for what takes a [`Shutdown`].
    #[must_use]
    pub fn as_shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// The cancellation of this part.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.shutdown.token
    }

    /// Begins the end of this part alone.
    pub fn cancel(&self) {
        self.shutdown.token.cancel();
    }

    /// Runs `task` in the background of this part.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.shutdown.spawn(name, task);
    }

    /// Waits like [`Shutdown::wait`], for this part.
    ///
    /// # Errors
    /// As [`Shutdown::wait`].
    pub async fn wait(&self, grace: Duration) -> Result<(), ShutdownError> {
        self.shutdown.wait(grace).await
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.shutdown.token.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::fd::AsRawFd, time::Duration};

    use super::{Shutdown, ShutdownError};

    const GRACE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn waits_for_tasks_after_the_cancellation() {
        let shutdown = Shutdown::new();
        let token = shutdown.token().clone();
        shutdown.spawn("waiter", async move { token.cancelled().await });
        let part = shutdown.child();
        let token = part.token().clone();
        part.spawn("part", async move { token.cancelled().await });
        part.cancel();
        assert_eq!(part.wait(GRACE).await, Ok(()));
        assert!(!shutdown.token().is_cancelled());
        shutdown.cancel();
        assert_eq!(shutdown.wait(GRACE).await, Ok(()));
    }

    #[tokio::test]
    async fn a_panic_ends_the_whole_and_names_the_task() {
        let shutdown = Shutdown::new();
        let part = shutdown.child();
        part.spawn("broken", async { panic!("on purpose") });
        assert_eq!(shutdown.wait(GRACE).await, Err(ShutdownError::TaskPanicked("broken")));
    }

    #[tokio::test]
    async fn tells_of_tasks_that_stay() {
        let shutdown = Shutdown::new();
        shutdown.spawn("stubborn", std::future::pending());
        shutdown.cancel();
        let waited = shutdown.wait(Duration::from_millis(1)).await;
        assert_eq!(waited, Err(ShutdownError::TasksLeft(1)));
    }

    #[tokio::test]
    async fn the_closed_lifeline_begins_the_end() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let shutdown = Shutdown::new();
        shutdown.follow_lifeline(u32::try_from(reader.as_raw_fd()).unwrap()).unwrap();
        writer.write_all(b"x").unwrap();
        tokio::task::yield_now().await;
        assert!(!shutdown.token().is_cancelled());
        drop(writer);
        assert_eq!(shutdown.wait(GRACE).await, Ok(()));
    }
}
