//! `kubectl attach`.

use apimachinery::api::core::Pod;
use proto::v1::{ExecStart, PodRef};

use crate::{
    PROGRAM,
    cli::{
        Command,
        values::{Signed, parse_duration},
    },
    context::Context,
    errors::CommandError,
    pods::{Order, choose, default_container, has_container},
    resources::{Selection, fetch},
    session::{self, Call, check_running, check_terminal, pod_by_default},
};

/// Attaches to a process that is already running inside a container.
#[derive(clap::Args, Clone, Debug)]
pub struct Attach {
    /// The pod, or what has pods.
    pub arguments: Vec<String>,
    /// Container name. If omitted, use the kubectl.kubernetes.io/default-container annotation for selecting the
    /// container to be attached or the first container in the pod will be chosen
    #[arg(long, short = 'c')]
    pub container: Option<String>,
    /// The length of time (like 5s, 2m, or 3h, higher than zero) to wait until at least one pod is running
    #[arg(long, default_value = "1m0s", value_parser = parse_duration)]
    pub pod_running_timeout: Signed,
    /// Only print output from the remote session
    #[arg(long, short = 'q')]
    pub quiet: bool,
    /// Pass stdin to the container
    #[arg(long, short = 'i')]
    pub stdin: bool,
    /// Stdin is a TTY
    #[arg(long, short = 't')]
    pub tty: bool,
}

impl Command for Attach {
    const NAME: &'static str = "attach";
    const ABOUT: &'static str = "Attach to a running container";
    const USAGE: &'static str = "attach (POD | TYPE/NAME) -c CONTAINER";
    const EXAMPLES: &'static str = "# Get output from running pod mypod; use the 'kubectl.kubernetes.io/default-container' annotation
# for selecting the container to be attached or the first container in the pod will be chosen
kubectl-mini attach mypod

# Get output from ruby-container from pod mypod
kubectl-mini attach mypod -c ruby-container";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        self.check()?;
        let selection = Selection {
            arguments: pod_by_default(&self.arguments),
            single_type: true,
            ..Selection::default()
        };
        let found = selection.targets(context).await?;
        let mut items = Vec::new();
        for target in &found.targets {
            items.extend(fetch(context, target, 0).await?);
        }
        let [item] = items.as_slice() else {
            return Err(CommandError::message("expected exactly one object to attach to"));
        };
        let timeout = self.pod_running_timeout.magnitude;
        let chosen = choose(context, item, Order::ForExec, timeout, "cannot attach to").await?;
        let pod = chosen.pod;
        check_running(pod.status.phase.as_deref(), "attach")?;
        let container = self.container(context, &pod)?;
        let has_tty = wants_tty(&pod, &container);
        if self.tty && !has_tty && !self.quiet {
            context.print_err(&format!(
                "error: Unable to use a TTY - container {container} did not allocate one\n"
            ))?;
        }
        // A container with a terminal is only understood through one.
        let tty = check_terminal(context, self.stdin, has_tty, self.quiet)?;
        if !self.quiet {
            context.print_err(
                "All commands and output from this session will be recorded in container logs, including credentials and sensitive information passed through the command prompt.\nIf you don't see a command prompt, try pressing enter.\n",
            )?;
        }
        let name = pod.metadata.name.clone().unwrap_or_default();
        let start = ExecStart {
            pod: Some(PodRef {
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                name: name.clone(),
                container: container.clone(),
                uid: String::new(),
            }),
            command: Vec::new(),
            stdin: self.stdin,
            stdout: true,
            stderr: !tty,
            tty,
        };
        session::run(context, Call::Attach, start).await?;
        if tty && !self.quiet && pod.spec.restart_policy.as_deref() == Some("Always") {
            context.print(&format!(
                "Session ended, resume using '{PROGRAM} attach {name} -c {container} -i -t' command when the pod is running\n"
            ))?;
        }
        Ok(())
    }
}

fn wants_tty(pod: &Pod, container: &str) -> bool {
    let spec = &pod.spec;
    let mut containers = spec.containers.iter().chain(&spec.init_containers);
    containers.any(|c| c.name == container && c.tty == Some(true))
}

impl Attach {
    fn check(&self) -> Result<(), CommandError> {
        if self.arguments.is_empty() {
            return Err(CommandError::message("at least 1 argument is required for attach"));
        }
        if self.arguments.len() > 2 {
            return Err(CommandError::message(format!(
                "expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw {}: [{}]",
                self.arguments.len(),
                self.arguments.join(" ")
            )));
        }
        if !self.pod_running_timeout.is_positive() {
            return Err(CommandError::usage(
                "attach",
                "--pod-running-timeout must be higher than zero",
            ));
        }
        Ok(())
    }

    fn container(&self, context: &Context, pod: &Pod) -> Result<String, CommandError> {
        if let Some(name) = self.container.as_ref().filter(|name| !name.is_empty()) {
            if !has_container(pod, name) {
                return Err(CommandError::message(format!(
                    "cannot attach to the container: container {name} not found in pod {}",
                    pod.metadata.name.as_deref().unwrap_or_default()
                )));
            }
            return Ok(name.clone());
        }
        let (name, told) = default_container(pod, false);
        if !self.quiet {
            context.print_err(&told)?;
        }
        Ok(name)
    }
}
