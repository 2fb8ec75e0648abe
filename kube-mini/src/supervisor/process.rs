//! One supervised process.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use component_base::clock::Clock;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::{ComponentSpec, Statuses};

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(10);
/// A process that ran this long is healthy: its next back-off is the first again.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// How long a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// A process with its supervision.
pub(super) struct Process {
    spec: ComponentSpec,
    statuses: Statuses,
    clock: Clock,
    stop: CancellationToken,
}

impl Process {
    pub(super) fn new(
        spec: ComponentSpec,
        statuses: Statuses,
        clock: Clock,
        stop: CancellationToken,
    ) -> Self {
        let blank = super::ComponentStatus { pid: None, restarts: 0, last_exit: None };
        statuses.lock().insert(spec.name.clone(), blank);
        Self { spec, statuses, clock, stop }
    }

    /// Starts the process again and again until told to stop.
    pub(super) async fn supervise(self) {
        let mut backoff = FIRST_BACKOFF;
        while !self.stop.is_cancelled() {
            let started = self.clock.monotonic();
            let ended = match self.start() {
                Ok(mut child) => match self.watch(&mut child).await {
                    Some(status) => describe(status),
                    None => return,
                },
                Err(e) => format!("cannot start {}: {e}", self.spec.program.display()),
            };
            tracing::warn!(component = %self.spec.name, "{ended}; starting it again");
            {
                let mut statuses = self.statuses.lock();
                if let Some(status) = statuses.get_mut(&self.spec.name) {
                    status.pid = None;
                    status.restarts += 1;
                    status.last_exit = Some(ended);
                }
            }
            if self.clock.monotonic().saturating_sub(started) >= HEALTHY_AFTER {
                backoff = FIRST_BACKOFF;
            }
            tokio::select! {
                () = self.clock.sleep(backoff) => {}
                () = self.stop.cancelled() => return,
            }
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    fn start(&self) -> io::Result<Child> {
        let log = open_log(&self.spec)?;
        let child = Command::new(&self.spec.program)
            .args(&self.spec.args)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        if let Some(status) = self.statuses.lock().get_mut(&self.spec.name) {
            status.pid = child.id();
        }
        Ok(child)
    }

    /// Waits for the process to end; None: it was told to, and did.
    async fn watch(&self, child: &mut Child) -> Option<ExitStatus> {
        // Held open as long as the supervisor lives: the child's lifeline.
        let _lifeline = child.stdin.take();
        tokio::select! {
            status = child.wait() => return status.ok(),
            () = self.stop.cancelled() => {}
        }
        if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
            && let Err(e) = kill_process(pid, Signal::TERM)
        {
            tracing::debug!(component = %self.spec.name, error = %e, "SIGTERM");
        }
        if self.clock.timeout(GRACE, child.wait()).await.is_err() {
            tracing::warn!(component = %self.spec.name, "did not end in {GRACE:?}: killed");
            if let Err(e) = child.kill().await {
                tracing::error!(component = %self.spec.name, error = %e, "cannot kill it");
            }
        }
        if let Some(status) = self.statuses.lock().get_mut(&self.spec.name) {
            status.pid = None;
        }
        None
    }
}

fn describe(status: ExitStatus) -> String {
    format!("ended with {status}")
}

fn open_log(spec: &ComponentSpec) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(&spec.log)
}
