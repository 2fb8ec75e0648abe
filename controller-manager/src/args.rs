//! The command line.

use std::path::PathBuf;

use clap::Parser;
use client::leader_election;

/// Brings what is to what should be.
#[derive(Parser)]
#[command(name = "kube-controller-manager", version)]
pub(crate) struct Args {
    /// Kubeconfig file that leads to the API server.
    #[arg(long)]
    pub(crate) kubeconfig: PathBuf,
    /// The pods' network; every node gets a /24 of it.
    #[arg(long, default_value = "10.244.0.0/16")]
    pub(crate) cluster_cidr: String,
    /// Leader election.
    #[command(flatten)]
    pub(crate) leader_election: leader_election::Flags,
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
