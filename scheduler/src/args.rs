//! The command line.

use std::path::PathBuf;

use clap::Parser;
use client::leader_election;

/// Finds pods their nodes.
#[derive(Parser)]
#[command(name = "kube-scheduler", version)]
pub(crate) struct Args {
    /// Kubeconfig file that leads to the API server.
    #[arg(long)]
    pub(crate) kubeconfig: PathBuf,
    /// The `spec.schedulerName` of the pods that it serves.
    #[arg(long, default_value = "default-scheduler")]
    pub(crate) scheduler_name: String,
    /// Leader election.
    #[command(flatten)]
    pub(crate) leader_election: leader_election::Flags,
    /// Unix socket to explain decisions on, while this copy leads.
    #[arg(long)]
    pub(crate) endpoint_socket: Option<PathBuf>,
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
