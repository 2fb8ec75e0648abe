//! `kubectl exec`.

use proto::v1::{ExecStart, PodRef};

use crate::{
    cli::{
        Command,
        values::{Signed, parse_duration},
    },
    context::Context,
    errors::CommandError,
    pods::{Order, choose, default_container},
    resources::{FileFlags, Selection, Targets, fetch},
    session::{self, Call, check_running, check_terminal, pod_by_default},
};

/// Executes a command in a container.
#[derive(clap::Args, Clone, Debug)]
pub struct Exec {
    /// The pod, or what has pods.
    pub arguments: Vec<String>,
    /// The command.
    #[arg(last = true)]
    pub command: Vec<String>,
    /// to use to exec into the resource
    #[arg(long, short = 'f', value_delimiter = ',')]
    pub filename: Vec<String>,
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

impl Command for Exec {
    const NAME: &'static str = "exec";
    const ABOUT: &'static str = "Execute a command in a container";
    const USAGE: &'static str =
        "exec (POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]";
    const EXAMPLES: &'static str = "# Get output from running the 'date' command from pod mypod, using the first container by default
kubectl-mini exec mypod -- date

# Get output from running the 'date' command in ruby-container from pod mypod
kubectl-mini exec mypod -c ruby-container -- date

# Switch to raw terminal mode; sends stdin to 'sh' in ruby-container from pod mypod
# and sends stdout/stderr from 'sh' back to the client
kubectl-mini exec mypod -c ruby-container -i -t -- sh

# Get output from running 'date' command from the first pod of the deployment mydeployment, using the first container by default
kubectl-mini exec deploy/mydeployment -- date";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        self.check()?;
        let selection = Selection {
            files: FileFlags { filename: self.filename.clone(), ..FileFlags::default() },
            arguments: pod_by_default(&self.arguments[..self.arguments.len().min(1)]),
            single_type: true,
            ..Selection::default()
        };
        let Targets { targets, errors, .. } = selection.targets(context).await?;
        CommandError::gather(errors)?;
        let [target] = targets.as_slice() else {
            return Err(CommandError::message("cannot exec into multiple objects at a time"));
        };
        let items = fetch(context, target, 0).await?;
        let [item] = items.as_slice() else {
            return Err(CommandError::message("cannot exec into multiple objects at a time"));
        };
        let timeout = self.pod_running_timeout.magnitude;
        let chosen = choose(context, item, Order::ForExec, timeout, "cannot attach to").await?;
        let pod = chosen.pod;
        check_running(pod.status.phase.as_deref(), "exec into")?;
        let container = match self.container.filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => {
                let (name, told) = default_container(&pod, false);
                if !self.quiet {
                    context.print_err(&told)?;
                }
                name
            }
        };
        let tty = check_terminal(context, self.stdin, self.tty, self.quiet)?;
        let start = ExecStart {
            pod: Some(PodRef {
                namespace: pod.metadata.namespace.unwrap_or_default(),
                name: pod.metadata.name.unwrap_or_default(),
                container,
                uid: String::new(),
            }),
            command: self.command,
            stdin: self.stdin,
            stdout: true,
            // A terminal has one output only.
            stderr: !tty,
            tty,
        };
        session::run(context, Call::Exec, start).await
    }
}

impl Exec {
    fn check(&self) -> Result<(), CommandError> {
        if !self.pod_running_timeout.is_positive() {
            return Err(CommandError::usage(
                "exec",
                "--pod-running-timeout must be higher than zero",
            ));
        }
        let words_without_dashes =
            self.arguments.len() > 1 || (!self.arguments.is_empty() && !self.filename.is_empty());
        if self.command.is_empty() && words_without_dashes {
            return Err(CommandError::usage(
                "exec",
                "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead",
            ));
        }
        if self.arguments.is_empty() && self.filename.is_empty() {
            return Err(CommandError::message("pod, type/name or --filename must be specified"));
        }
        if self.command.is_empty() {
            return Err(CommandError::message(
                "you must specify at least one command for the container",
            ));
        }
        if let [_, more @ ..] = self.arguments.as_slice()
            && !more.is_empty()
        {
            return Err(CommandError::usage(
                "exec",
                format!(
                    "only one pod or type/name is taken before --, saw also {}",
                    more.join(" ")
                ),
            ));
        }
        Ok(())
    }
}
