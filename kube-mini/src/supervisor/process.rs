//! One supervised process.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use component_base::clock::Clock;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::{
    ComponentSpec, Statuses,
    backoff::{self, Backoff},
};

/// How much of a log's end is read for the reason of an end.
const LAST_WORDS: u64 = 4096;
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
        let blank = super::ComponentStatus::default();
        statuses.lock().insert(spec.name.clone(), blank);
        Self { spec, statuses, clock, stop }
    }

    /// Starts the process again and again until told to stop.
    pub(super) async fn supervise(self) {
        let mut backoff = Backoff::new();
        while !self.stop.is_cancelled() {
            let started = self.clock.monotonic();
            let ended = match self.start() {
                Ok(mut child) => match self.watch(&mut child).await {
                    Some(status) => self.describe(status),
                    None => return,
                },
                Err(e) => format!("cannot start {}: {e}", self.spec.program.display()),
            };
            let pause = backoff.after(self.clock.monotonic().saturating_sub(started));
            tracing::warn!(component = %self.spec.name, ?pause, "{ended}; starting it again");
            {
                let mut statuses = self.statuses.lock();
                if let Some(status) = statuses.get_mut(&self.spec.name) {
                    status.pid = None;
                    status.restarts += 1;
                    status.last_exit = Some(ended);
                    status.pause = Some(pause);
                }
            }
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
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
            status.pause = None;
        }
        Ok(child)
    }

    /// How it ended, and why, if it said so; who is killed says nothing.
    fn describe(&self, status: ExitStatus) -> String {
        let said =
            status.code().filter(|code| *code != 0).and_then(|_| last_words(&self.spec).ok());
        match said.as_deref().and_then(backoff::reason) {
            Some(reason) => format!("ended with {status}: {reason}"),
            None => format!("ended with {status}"),
        }
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

fn last_words(spec: &ComponentSpec) -> io::Result<String> {
    let mut log = File::open(&spec.log)?;
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS)))?;
    let mut words = Vec::new();
    log.take(LAST_WORDS).read_to_end(&mut words)?;
    Ok(String::from_utf8_lossy(&words).into_owned())
}

fn open_log(spec: &ComponentSpec) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(&spec.log)
}
