//! The command line, named as Kubernetes' where Kubernetes has the flag.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use apimachinery::duration::parse_flag;
use apiserver::{
    Config, StorageKind, TlsListener,
    audit::{AuditConfig, LogConfig, Policy},
    authentication::token::TokenKey,
    handler::RequestLimits,
    kubelet::NodeAnnotationDialer,
    registry::allocators::Ipv4Range,
};
use clap::Parser;
use component_base::{clock::Clock, tls::KeyPair, transport::Listener};

/// Serves the Kubernetes API.
#[derive(Parser)]
#[command(name = "kube-apiserver", version)]
pub(crate) struct Args {
    /// Directory of the database; without it, everything is in memory and gone at the end.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    bind_address: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 6443)]
    secure_port: u16,
    /// File that gets the address, once bound.
    #[arg(long)]
    pub(crate) address_file: Option<PathBuf>,
    /// Unix socket to listen on besides, for processes of this user.
    #[arg(long)]
    unix_socket: Option<PathBuf>,
    /// Authority of client certificates, and of kubelets.
    #[arg(long)]
    client_ca_file: PathBuf,
    /// The server's certificate.
    #[arg(long)]
    tls_cert_file: PathBuf,
    /// The server's key.
    #[arg(long)]
    tls_private_key_file: PathBuf,
    /// Certificate shown to kubelets.
    #[arg(long, requires = "kubelet_client_key")]
    kubelet_client_certificate: Option<PathBuf>,
    /// Key of that certificate.
    #[arg(long, requires = "kubelet_client_certificate")]
    kubelet_client_key: Option<PathBuf>,
    /// Key that signs the tokens of ServiceAccounts: ECDSA P-256, PKCS#8 PEM. Without it they end with this process.
    #[arg(long)]
    service_account_signing_key_file: Option<PathBuf>,
    /// Addresses of Services.
    #[arg(long, default_value = "10.96.0.0/12", value_parser = address_range)]
    service_cluster_ip_range: Ipv4Range,
    /// Node ports of Services.
    #[arg(long, default_value = "30000-32767", value_parser = port_range)]
    service_node_port_range: (u16, u16),
    /// Address at which pods find the API.
    #[arg(long, default_value = "192.168.1.100")]
    advertise_address: Ipv4Addr,
    /// Reads that are served at one time; with --max-mutating-requests-inflight the seats that all clients share.
    #[arg(long, default_value_t = 400)]
    max_requests_inflight: usize,
    /// Writes that are served at one time; see --max-requests-inflight.
    #[arg(long, default_value_t = 200)]
    max_mutating_requests_inflight: usize,
    /// How long a request may take that is no watch and no stream.
    #[arg(long, default_value = "1m0s", value_parser = parse_flag)]
    request_timeout: Duration,
    /// File with the rules of what is recorded of requests (audit.k8s.io/v1 Policy).
    #[arg(long, requires = "audit_log_path")]
    audit_policy_file: Option<PathBuf>,
    /// File that gets a line of JSON for each event; - is the standard output.
    #[arg(long, requires = "audit_policy_file")]
    audit_log_path: Option<PathBuf>,
    /// Size in megabytes at which the audit log is put aside and a new one begun; 0 means 100.
    #[arg(long, default_value_t = 0)]
    audit_log_maxsize: u64,
    /// How many audit logs that were put aside are kept; 0 means all.
    #[arg(long, default_value_t = 0)]
    audit_log_maxbackup: usize,
    /// For how many days audit logs that were put aside are kept; 0 means for ever.
    #[arg(long, default_value_t = 0)]
    audit_log_maxage: u64,
    /// Descriptor of the pipe that closes when the supervisor ends.
    #[arg(long)]
    pub(crate) lifeline_fd: Option<u32>,
    /// Verbosity of the log, 0 to 10.
    #[arg(short = 'v', default_value_t = 0)]
    pub(crate) verbosity: u8,
}

impl Args {
    /// Reads the files that the flags name.
    pub(crate) fn config(self) -> anyhow::Result<Config> {
        let client_ca_pem = read(&self.client_ca_file)?;
        let serving = key_pair(&self.tls_cert_file, &self.tls_private_key_file)?;
        let client = match (&self.kubelet_client_certificate, &self.kubelet_client_key) {
            (Some(certificate), Some(key)) => Some(key_pair(certificate, key)?),
            _ => None,
        };
        let kubelets = Arc::new(NodeAnnotationDialer::new(client_ca_pem.clone(), client));
        let token_key = match &self.service_account_signing_key_file {
            Some(path) => {
                TokenKey::from_pem(&read(path)?).with_context(|| path.display().to_string())?
            }
            None => TokenKey::generate(),
        };
        let mut listeners = Vec::new();
        if let Some(path) = &self.unix_socket {
            listeners.push(
                Listener::bind_unix(path)
                    .with_context(|| format!("listen on {}", path.display()))?,
            );
        }
        let in_flight = self.max_requests_inflight + self.max_mutating_requests_inflight;
        anyhow::ensure!(
            in_flight > 0,
            "--max-requests-inflight and --max-mutating-requests-inflight add up to no seat at all"
        );
        anyhow::ensure!(!self.request_timeout.is_zero(), "--request-timeout must be positive");
        let audit = match (&self.audit_policy_file, self.audit_log_path) {
            (Some(file), Some(path)) => Some(AuditConfig {
                policy: Policy::parse(&read(file)?)
                    .with_context(|| format!("audit policy {}", file.display()))?,
                log: LogConfig {
                    path,
                    max_size: self.audit_log_maxsize,
                    max_backups: self.audit_log_maxbackup,
                    max_age: self.audit_log_maxage,
                },
            }),
            _ => None,
        };
        Ok(Config {
            audit,
            limits: RequestLimits { in_flight, timeout: self.request_timeout },
            storage: self.data_dir.map_or(StorageKind::Memory, StorageKind::Sled),
            tls: Some(TlsListener {
                address: SocketAddr::new(self.bind_address, self.secure_port),
                serving,
                client_ca_pem,
            }),
            listeners,
            service_addresses: self.service_cluster_ip_range,
            node_ports: self.service_node_port_range,
            advertise_address: self.advertise_address,
            token_key,
            ..Config::new(Clock::real(), kubelets)
        })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn key_pair(certificate: &Path, key: &Path) -> anyhow::Result<KeyPair> {
    Ok(KeyPair { cert_pem: read(certificate)?, key_pem: read(key)? })
}

fn address_range(text: &str) -> Result<Ipv4Range, String> {
    Ipv4Range::parse(text).ok_or_else(|| "an IPv4 range of /12 to /30".to_owned())
}

fn port_range(text: &str) -> Result<(u16, u16), String> {
    text.split_once('-')
        .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)))
        .filter(|(first, last)| *first > 0 && first <= last)
        .ok_or_else(|| "two ports, as 30000-32767".to_owned())
}
