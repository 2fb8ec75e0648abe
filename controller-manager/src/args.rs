//! The command line.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use apimachinery::duration;
use clap::Parser;
use client::leader_election;
use component_base::tls::KeyPair;
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
    /// File with the certificate (PEM) of the authority that signs CertificateSigningRequests; none are signed without it.
    #[arg(long, requires = "cluster_signing_key_file")]
    pub(crate) cluster_signing_cert_file: Option<PathBuf>,
    /// File with its private key (PEM).
    #[arg(long, requires = "cluster_signing_cert_file")]
    pub(crate) cluster_signing_key_file: Option<PathBuf>,
    /// How long certificates last at most; requests may ask for less.
    #[arg(long, default_value = "8760h0m0s", value_parser = duration::parse_flag)]
    pub(crate) cluster_signing_duration: Duration,
    /// How many pods that have ended may stay before the oldest are deleted; 0 and less: any number.
    #[arg(long, default_value_t = 12_500, allow_negative_numbers = true)]
    pub(crate) terminated_pod_gc_threshold: i32,
    /// How long a node may be silent.
    #[arg(long, default_value = "50s", value_parser = duration::parse_flag)]
    pub(crate) node_monitor_grace_period: Duration,
    /// How long a node may be silent that has never posted its status.
    #[arg(long, default_value = "1m0s", value_parser = duration::parse_flag)]
    pub(crate) node_startup_grace_period: Duration,
    /// Nodes per second from which pods are evicted in a healthy zone.
    #[arg(long, default_value_t = 0.1)]
    pub(crate) node_eviction_rate: f64,
    /// The same in a large zone that is partly disrupted.
    #[arg(long, default_value_t = 0.01)]
    pub(crate) secondary_node_eviction_rate: f64,
    /// The share of silent nodes from which on a zone is partly disrupted, if they are at least three.
    #[arg(long, default_value_t = 0.55)]
    pub(crate) unhealthy_zone_threshold: f64,
    /// A zone with at most so many nodes is small: when it is partly disrupted, evictions stop.
    #[arg(long, default_value_t = 50)]
    pub(crate) large_cluster_size_threshold: usize,
    /// A /24 of the host's loopback network (its first address): Services of type LoadBalancer get addresses of its upper
    /// half. Without it they wait for somebody else.
    #[arg(long)]
    pub(crate) external_network: Option<Ipv4Addr>,
    /// The most addresses of a subset of Endpoints that are mirrored to EndpointSlices.
    #[arg(long, default_value_t = 1000)]
    pub(crate) mirroring_max_endpoints_per_subset: usize,
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
        let read = |flag: &str, path: &Option<PathBuf>| {
            let read = |path: &PathBuf| {
                std::fs::read_to_string(path)
                    .with_context(|| format!("--{flag} {}", path.display()))
            };
            path.as_ref().map(read).transpose()
        };
        let cert_pem = read("cluster-signing-cert-file", &self.cluster_signing_cert_file)?;
        let key_pem = read("cluster-signing-key-file", &self.cluster_signing_key_file)?;
        let pair = |(cert_pem, key_pem)| KeyPair { cert_pem, key_pem };
        Ok(Options {
            root_ca: read("root-ca-file", &self.root_ca_file)?,
            cluster_signing: cert_pem.zip(key_pem).map(pair),
            cluster_signing_duration: self.cluster_signing_duration,
            terminated_pod_gc_threshold: self.terminated_pod_gc_threshold,
            node_monitor_grace_period: self.node_monitor_grace_period,
            node_startup_grace_period: self.node_startup_grace_period,
            node_eviction_rate: self.node_eviction_rate,
            secondary_node_eviction_rate: self.secondary_node_eviction_rate,
            unhealthy_zone_threshold: self.unhealthy_zone_threshold,
            large_cluster_size_threshold: self.large_cluster_size_threshold,
            load_balancer_network: self.external_network,
            mirroring_max_endpoints_per_subset: self.mirroring_max_endpoints_per_subset,
        })
    }
}
