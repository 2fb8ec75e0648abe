//! A whole cluster of three nodes: how soon it is up, and what it uses when nobody asks it for anything.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;

use super::start::millis;
use crate::{
    report::{Bound, Report},
    world::{Lab, cpu_time, pss},
};

/// What goes on just after the start is not the idle cluster.
const SETTLE: Duration = Duration::from_secs(15);
const NAME: &str = "bench";

pub(super) async fn run(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    report.section("A cluster of three nodes");
    let mut rounds = Vec::new();
    for _ in 0..lab.rounds {
        let mut cluster = Cluster::new(lab)?;
        rounds.push(millis(cluster.up(lab)?) / 1000.0);
    }
    report.best("`kube-mini up`, every node Ready", &rounds, "s", Bound::AtMost(1.5));

    let mut cluster = Cluster::new(lab)?;
    cluster.up(lab)?;
    lab.clock.sleep(SETTLE).await;
    let processes = cluster.processes()?;
    let cpu =
        |processes: &[u32]| processes.iter().map(|pid| cpu_time(*pid)).sum::<Result<Duration, _>>();
    let before = cpu(&processes)?;
    lab.clock.sleep(lab.idle).await;
    let used = cpu(&processes)?.saturating_sub(before).as_secs_f64() / lab.idle.as_secs_f64();
    let mut memory = 0.0;
    let mut parts = Vec::new();
    for pid in &processes {
        let size = pss(*pid)?;
        memory += size;
        let name = fs::read_to_string(format!("/proc/{pid}/comm"))?;
        parts.push(format!("{} {size:.1}", name.trim()));
    }
    report.row("idle: memory of all processes (PSS)", memory, "MiB", Bound::AtMost(100.0));
    report.note(&parts.join(", "));
    report.row("idle: CPU", used * 100.0, "% of one", Bound::AtMost(1.0));
    match fsyncs(lab, &processes).await {
        Ok(count) => {
            let rate = count as f64 / lab.idle.as_secs_f64();
            report.row(
                "idle: fsync and fdatasync, counted by strace",
                rate,
                "per s",
                Bound::AtMost(2.0),
            );
        }
        Err(error) => report.note(&format!("fsyncs not counted: {error:#}")),
    }
    Ok(())
}

/// A cluster that is deleted when it is dropped.
pub(super) struct Cluster {
    programs: PathBuf,
    dir: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // There may be none yet.
        let _ = self.command("delete").status();
    }
}

impl Cluster {
    pub(super) fn new(lab: &Lab) -> anyhow::Result<Self> {
        Ok(Self { programs: lab.programs.clone(), dir: lab.temp()? })
    }

    fn command(&self, command: &str) -> Command {
        let mut process = Command::new(self.programs.join("kube-mini"));
        process.args([command, "--name", NAME, "--state-dir"]).arg(self.dir.path().join("state"));
        process.env("HOME", self.dir.path()).env_remove("KUBECONFIG");
        process.stdout(Stdio::null()).stderr(Stdio::piped());
        process
    }

    pub(super) fn up(&mut self, lab: &Lab) -> anyhow::Result<Duration> {
        let begun = lab.clock.monotonic();
        let done = self.command("up").output()?;
        let took = lab.clock.monotonic().saturating_sub(begun);
        anyhow::ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(took)
    }

    /// Where it keeps everything.
    pub(super) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// kubectl-mini on this cluster.
    pub(super) fn kubectl(&self) -> Command {
        let mut process = Command::new(self.programs.join("kubectl-mini"));
        process.env("HOME", self.dir.path()).env_remove("KUBECONFIG").stdin(Stdio::null());
        process
    }

    /// The supervisor and all that it started.
    fn processes(&self) -> anyhow::Result<Vec<u32>> {
        let lock = self.dir.path().join("state").join(NAME).join("lock");
        let supervisor: u32 = fs::read_to_string(lock)?.trim().parse()?;
        let mut found = vec![supervisor];
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if parent(pid) == Some(supervisor) {
                found.push(pid);
            }
        }
        Ok(found)
    }
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// How often processes make files durable.
async fn fsyncs(lab: &Lab, processes: &[u32]) -> anyhow::Result<usize> {
    let dir = lab.temp()?;
    let log = dir.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=fsync,fdatasync,sync_file_range,msync", "-o"]).arg(&log);
    for pid in processes {
        strace.arg("-p").arg(pid.to_string());
    }
    let mut child = strace.stderr(Stdio::null()).spawn().context("strace")?;
    lab.clock.sleep(lab.idle).await;
    let ended = child.try_wait()?;
    anyhow::ensure!(ended.is_none(), "strace may not look at other processes here");
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::INT,
    )?;
    child.wait()?;
    let text = fs::read_to_string(log)?;
    Ok(text
        .lines()
        .filter(|line| line.contains("sync(") || line.contains("sync_file_range("))
        .count())
}
