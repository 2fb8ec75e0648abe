//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Programs a node's network with the cluster's Services.
#[derive(Parser)]
#[command(name = "kube-proxy", version)]
pub(crate) struct Args {
    /// Kubeconfig file that leads to the API server.
    #[arg(long)]
    pub(crate) kubeconfig: PathBuf,
    /// Name of the node.
    #[arg(long)]
    pub(crate) node_name: String,
    /// Unix socket at which the node takes its rules.
    #[arg(long)]
    pub(crate) node_socket: PathBuf,
    /// File that keeps the rules for a start without the API server.
    #[arg(long)]
    pub(crate) cache_file: Option<PathBuf>,
    /// Unix socket to serve health and metrics on.
    #[arg(long)]
    pub(crate) health_socket: Option<PathBuf>,
    /// Descriptor of the pipe that closes when the supervisor ends.
    #[arg(long)]
    pub(crate) lifeline_fd: Option<u32>,
    /// Verbosity of the log, 0 to 10.
    #[arg(short = 'v', default_value_t = 0)]
    pub(crate) verbosity: u8,
}
