//! Keeps a cluster's processes running.
//!
//! The supervisor is the one process of a cluster that nobody watches; everything else is its child. A child's standard
//! input is a pipe that only the supervisor holds open: when the supervisor dies, however it dies, the pipe closes and
//! the child ends by itself, so nothing is ever left over. A child that ends is started again after a back-off that
//! doubles from 100 ms to 10 s and starts anew once a child has run for 10 s; what its log said last is told with its end.
//!
//! Commands reach it over a Unix socket in the run folder, one JSON line each way: [`control`].

mod backoff;
pub mod control;
mod process;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};

use component_base::{clock::Clock, shutdown::Shutdown};
use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::process::Process;

/// A process to keep running.
#[derive(Clone, Debug)]
pub struct ComponentSpec {
    /// Its name, as `kube-mini logs` takes it.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// What became of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Its pid while it runs.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// How it ended the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<String>,
    /// How long it waits before it is started again, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Duration>,
}

/// The statuses by component name.
pub type Statuses = Arc<Mutex<BTreeMap<String, ComponentStatus>>>;

/// Runs the components until `shutdown` is told, or a client of the control socket says stop; then ends them in the
/// reverse of their order.
///
/// # Errors
/// The control socket cannot be opened.
pub async fn run(
    specs: Vec<ComponentSpec>,
    control_socket: PathBuf,
    clock: Clock,
    shutdown: Shutdown,
) -> io::Result<()> {
    let statuses: Statuses = Arc::default();
    let listener = control::listen(&control_socket)?;
    let stop = shutdown.token().clone();
    let tasks = TaskTracker::new();
    let control = CancellationToken::new();
    tasks.spawn(control::serve(listener, statuses.clone(), stop.clone(), control.clone()));

    // Each component ends when its own token does, so that they can be ended one after the other.
    let mut running = Vec::new();
    for spec in specs {
        let token = CancellationToken::new();
        let process = Process::new(spec, statuses.clone(), clock.clone(), token.clone());
        running.push((token, tasks.spawn(process.supervise())));
    }
    stop.cancelled().await;
    for (token, task) in running.into_iter().rev() {
        token.cancel();
        if let Err(e) = task.await {
            tracing::error!(error = %e, "a component's supervision failed");
        }
    }
    control.cancel();
    tasks.close();
    tasks.wait().await;
    match std::fs::remove_file(&control_socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
