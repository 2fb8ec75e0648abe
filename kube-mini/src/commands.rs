//! The commands, one file each.

mod delete;
mod down;
mod kubeconfig;
mod logs;
mod service;
mod status;
mod supervise;
mod up;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{
    config::{ClusterConfig, check_name},
    paths::{ClusterPaths, Environment},
};

/// What `kube-mini` can do.
#[derive(Subcommand)]
pub enum Command {
    /// Start a cluster, or bring a stopped one back.
    Up(up::UpArgs),
    /// Stop a cluster; its state is kept.
    Down(ClusterArgs),
    /// Stop a cluster and remove its state.
    Delete(ClusterArgs),
    /// Show a cluster's processes and nodes.
    Status(ClusterArgs),
    /// Print the log of a component.
    Logs(logs::LogsArgs),
    /// Tell how a Service is reached from this machine.
    Service(service::ServiceArgs),
    /// Print the administrator's kubeconfig.
    Kubeconfig(ClusterArgs),
    /// Keep a cluster's processes running; `up` starts this.
    #[command(hide = true)]
    Supervise(ClusterArgs),
}

/// Which cluster.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Name of the cluster.
    #[arg(long, default_value = "kube-mini", value_parser = check_name)]
    pub name: String,
    /// Folder that holds the clusters' state.
    #[arg(long)]
    pub state_dir: Option<PathBuf>,
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// What went wrong, for the user.
    pub async fn run(self, environment: &Environment) -> anyhow::Result<()> {
        match self {
            Self::Up(args) => up::run(args, environment).await,
            Self::Down(args) => down::run(&args, environment).await,
            Self::Delete(args) => delete::run(&args, environment).await,
            Self::Status(args) => status::run(&args, environment).await,
            Self::Logs(args) => logs::run(&args, environment).await,
            Self::Service(args) => service::run(&args, environment).await,
            Self::Kubeconfig(args) => kubeconfig::run(&args, environment),
            Self::Supervise(args) => supervise::run(&args, environment).await,
        }
    }
}

impl ClusterArgs {
    fn paths(&self, environment: &Environment) -> anyhow::Result<ClusterPaths> {
        let root = environment.state_root(self.state_dir.as_deref())?;
        Ok(ClusterPaths::new(environment, &root, &self.name))
    }

    /// The places and the configuration of a cluster that must exist.
    fn existing(&self, environment: &Environment) -> anyhow::Result<(ClusterPaths, ClusterConfig)> {
        let paths = self.paths(environment)?;
        if paths.exists() {
            paths.check_format()?;
            if let Some(config) = ClusterConfig::load(&paths.state("cluster.yaml"))? {
                return Ok((paths, config));
            }
        }
        anyhow::bail!(
            "there is no cluster {:?}: make it with `kube-mini up{}`",
            self.name,
            self.flag()
        )
    }

    /// `--name X` for messages, where it is not the default.
    fn flag(&self) -> String {
        if self.name == "kube-mini" { String::new() } else { format!(" --name {}", self.name) }
    }
}

/// Whether nobody listens on a control socket.
fn not_running(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
}
