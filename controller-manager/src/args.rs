//! The command line.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use client::leader_election;
use controller_manager::Options;

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
    /// File with the certificates (PEM) that are published as the ConfigMap `kube-root-ca.crt` of every namespace; none
    /// are without it.
    #[arg(long)]
    pub(crate) root_ca_file: Option<PathBuf>,
    /// How many pods that have ended may stay before the oldest are deleted; 0 and less: any number.
    #[arg(long, default_value_t = 12_500, allow_negative_numbers = true)]
    pub(crate) terminated_pod_gc_threshold: i32,
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

impl Args {
    /// The controllers' settings.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn options(&self) -> anyhow::Result<Options> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path)
                .with_context(|| format!("--root-ca-file {}", path.display()))
        };
        Ok(Options {
            root_ca: self.root_ca_file.as_ref().map(read).transpose()?,
            terminated_pod_gc_threshold: self.terminated_pod_gc_threshold,
            ..Options::default()
        })
    }
}
