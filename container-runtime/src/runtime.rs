//! The containers of a node: created, started, stopped, looked into.
//!
//! ```text
//! create ──> Created ──start──> Running ──program ends, panics, SIGKILL──> Exited
//!               └────start fails (no such executable): Exited 128 StartError──^
//! ```
//! A container instance runs once. A restart is a new [`Container`] with the next attempt number, its
//! own root filesystem and its own log file; the previous log stays where it is. All futures of a
//! container, exec sessions included, belong to one task group that SIGKILL drops, and a [`Container`]
//! whose last handle is dropped is killed.
//!
//! The runtime knows nothing of pods, restarts or back-off: the kubelet decides, this crate obeys.

mod container;
mod exec;

use std::sync::Arc;

use component_base::clock::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use container::{
    AttachSession, Container, ContainerId, ContainerSpec, ContainerState, CreateError, Exit,
    StartError,
};
pub use exec::{ExecError, ExecOutput, ExecRequest, ExecSession};

/// Makes containers. Clones are the same runtime.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub(crate) clock: Clock,
    pub(crate) tracker: TaskTracker,
    pub(crate) kill: CancellationToken,
}

impl Runtime {
    /// A runtime whose containers live by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, tracker: TaskTracker::new(), kill: CancellationToken::new() }
    }

    /// Makes a container: opens its volumes and its log, starts nothing.
    ///
    /// # Errors
    /// [`CreateError`] when a volume or the log cannot be opened.
    pub fn create(&self, spec: ContainerSpec) -> Result<Container, CreateError> {
        Container::create(self, spec)
    }

    /// Kills what still runs and waits until every future is gone.
    pub async fn shutdown(&self) {
        self.kill.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    pub(crate) fn random_hex(&self, words: usize) -> Arc<str> {
        (0..words).map(|_| format!("{:016x}", self.clock.random_u64())).collect::<String>().into()
    }
}

#[cfg(test)]
mod tests;
