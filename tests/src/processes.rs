//! The runner of real programs.
//!
//! Each component is a child with kube-mini's own arguments for it. Its standard input is the lifeline: should this
//! process die without a word, the pipe closes and the child ends by itself. Nothing is started again unless asked,
//! so that a test decides what is down and when.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use component_base::clock::Clock;
use kube_mini::{
    components::{Assembly, PROGRAMS, table},
    supervisor::ComponentSpec,
};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    builder::Builder,
    cluster::{Component, Parts},
};

/// How long a process may take to end after SIGTERM, beyond a node's shutdown.
const GRACE: Duration = Duration::from_secs(10);
/// Lines of each log that a failed test shows.
const TAIL: usize = 12;

pub(crate) struct Processes {
    specs: BTreeMap<String, ComponentSpec>,
    children: Mutex<BTreeMap<Component, Child>>,
    /// How long one may take to end after SIGTERM.
    grace: Duration,
}

impl Processes {
    pub(crate) fn new(builder: &Builder, parts: &Parts) -> anyhow::Result<Self> {
        anyhow::ensure!(builder.own_images.is_empty(), "own images need the in-process runner");
        anyhow::ensure!(builder.clock.is_none(), "a virtual clock needs the in-process runner");
        let programs = builder.programs.clone().map_or_else(programs_dir, Ok)?;
        let specs = table(&Assembly {
            programs: &programs,
            paths: &parts.paths,
            config: &parts.config,
            external_network: parts.slice.address(0),
            loopback_lock: builder.loopback.then(|| parts.paths.run.join("loopback")),
            allow_egress: builder.allow_egress,
        });
        let specs = specs.into_iter().map(|mut spec| {
            if spec.name.starts_with("kubelet-") {
                spec.args.extend(builder.shutdown_periods.flags());
            }
            (spec.name.clone(), spec)
        });
        let grace = GRACE + builder.shutdown_periods.total();
        Ok(Self { specs: specs.collect(), children: Mutex::default(), grace })
    }

    pub(crate) fn start(&self, component: Component) -> anyhow::Result<()> {
        let spec = self
            .specs
            .get(&component.to_string())
            .with_context(|| format!("there is no {component}"))?;
        let mut children = self.children.lock();
        anyhow::ensure!(!children.contains_key(&component), "{component} runs already");
        let log = OpenOptions::new().create(true).append(true).open(&spec.log)?;
        let child = Command::new(&spec.program)
            .args(&spec.args)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| spec.program.display().to_string())?;
        children.insert(component, child);
        Ok(())
    }

    /// Starts a second process of a component, with sockets of its own.
    pub(crate) fn start_copy(
        &self,
        component: Component,
        number: u32,
        args: &[&str],
    ) -> anyhow::Result<ComponentCopy> {
        let spec = self
            .specs
            .get(&component.to_string())
            .with_context(|| format!("there is no {component}"))?;
        let flag = |arg: &str| arg.split('=').next().unwrap_or_default().to_owned();
        let kept = spec.args.iter().filter(|own| args.iter().all(|arg| flag(arg) != flag(own)));
        let own_socket = |arg: &String| match flag(arg) {
            flag if flag.ends_with("-socket") => format!("{arg}-{number}"),
            _ => arg.clone(),
        };
        let log = spec.log.with_extension(format!("{number}.log"));
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let child = Command::new(&spec.program)
            .args(kept.map(own_socket))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| spec.program.display().to_string())?;
        Ok(ComponentCopy { child })
    }

    pub(crate) async fn stop(&self, component: Component) -> anyhow::Result<()> {
        let mut child = self.take(component)?;
        kill_process(pid_of(&child)?, Signal::TERM)?;
        // A wait closes the standard input: to a node that shuts down, its supervisor would be gone.
        let lifeline = child.stdin.take();
        let ended = tokio::task::spawn_blocking(move || {
            let waited = child.wait();
            drop(lifeline);
            (waited, child)
        });
        match Clock::real().timeout(self.grace, ended).await {
            Ok(joined) => {
                let status = joined?.0?;
                anyhow::ensure!(status.success(), "{component} ended with {status}");
                Ok(())
            }
            // The wait goes on in its thread and reaps the process when `end` or the lifeline ends it.
            Err(_) => anyhow::bail!("{component} did not end within {:?}", self.grace),
        }
    }

    pub(crate) fn kill(&self, component: Component) -> anyhow::Result<()> {
        let mut child = self.take(component)?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    pub(crate) fn pid(&self, component: Component) -> Option<u32> {
        self.children.lock().get(&component).map(Child::id)
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.children.lock().values().map(Child::id).collect()
    }

    pub(crate) fn ended(&self, component: Component) -> Option<ExitStatus> {
        self.children.lock().get_mut(&component)?.try_wait().ok()?
    }

    /// Panics where a process has ended by itself: nothing that is waited for will come.
    pub(crate) fn check_alive(&self) {
        let components: Vec<Component> = self.children.lock().keys().copied().collect();
        for component in components {
            if let Some(status) = self.ended(component) {
                panic!("{component} ended by itself: {status}");
            }
        }
    }

    /// Kills and reaps all that is left.
    pub(crate) fn end(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        let children = self.children.get_mut();
        for child in children.values_mut() {
            // It may have ended by itself.
            let _ = child.kill();
        }
        for child in children.values_mut() {
            let _ = child.wait();
        }
        children.clear();
    }

    fn take(&self, component: Component) -> anyhow::Result<Child> {
        let child = self.children.lock().remove(&component);
        child.with_context(|| format!("{component} does not run"))
    }

    /// What the components wrote last, for whoever reads a failed test's output.
    fn show_logs(&self) {
        let mut text = String::new();
        for spec in self.specs.values() {
            let log = std::fs::read_to_string(&spec.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(TAIL)..].join("\n");
            text.push_str(&format!("---- {}\n{last}\n", spec.name));
        }
        // Nobody is left to hear of a failure.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// One more process of a component; killed when this is dropped.
#[derive(Debug)]
pub struct ComponentCopy {
    child: Child,
}

impl ComponentCopy {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end in order (SIGTERM), without waiting.
    ///
    /// # Errors
    /// It is gone.
    pub fn terminate(&self) -> anyhow::Result<()> {
        Ok(kill_process(pid_of(&self.child)?, Signal::TERM)?)
    }
}

impl Drop for ComponentCopy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid_of(child: &Child) -> anyhow::Result<Pid> {
    let id = i32::try_from(child.id())?;
    Pid::from_raw(id).context("a process id is not 0")
}

/// The folder of the programs: cargo puts test binaries into its `deps`.
pub(crate) fn programs_dir() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let has_all = |dir: &&Path| PROGRAMS.iter().all(|program| dir.join(program).is_file());
    let found = own.ancestors().skip(1).take(3).find(has_all);
    found.map(Path::to_owned).with_context(|| {
        format!(
            "{} are not all near {}: build them with `cargo build --workspace --bins`",
            PROGRAMS.join(", "),
            own.display()
        )
    })
}
