//! The command line.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use client::Client;
use cni::{
    node_service::rules_socket,
    userspace::{Egress, FabricConfig, HostPorts, LoadBalancers, SharedLoopback},
};
use component_base::{
    clock::Clock,
    kubeconfig::{self, Overrides},
    tls::KeyPair,
    transport::Listener,
};
use container_runtime::{ImageCatalogue, ImagePattern, PullError};
use dns::{
    CoreDns, CoreDnsConfig, PodResolver,
    in_cluster::{self, Credentials},
};
use ingress::{IngressConfig, IngressController};
use kubelet_sim::{
    Config, GracefulShutdown, NodeSetup,
    names::{self, Names},
    node::{NodeSettings, shutdown::GracePeriods},
    node_address,
};

/// Runs the pods of one simulated node, or of many.
#[derive(Parser)]
#[command(name = "kubelet-sim", version)]
pub(crate) struct Args {
    /// Folder with a kubeconfig file per node, `<node>.kubeconfig`.
    #[arg(long)]
    kubeconfig_dir: PathBuf,
    /// Numbers of the nodes of this process, as `3` or `1..100`: node-1 to node-100.
    #[arg(long, value_parser = node_range)]
    nodes: (u32, u32),
    /// Folder with a folder per node.
    #[arg(long)]
    state_dir: PathBuf,
    /// Folder of the nodes' sockets.
    #[arg(long)]
    run_dir: PathBuf,
    /// First three bytes of the nodes' addresses on the host: node N answers at 127.X.Y.N.
    #[arg(long)]
    external_network: Option<Ipv4Addr>,
    /// Lock file of the machine: whoever holds it opens node ports on 127.0.0.1, too.
    #[arg(long)]
    loopback_lock: Option<PathBuf>,
    /// The cluster's name, for whoever asks who holds the lock.
    #[arg(long, default_value = "kube-mini")]
    cluster_name: String,
    /// Where the API server listens: behind 192.168.1.100:6443 and 10.96.0.1:443 for pods.
    #[arg(long)]
    api_server: Option<SocketAddr>,
    /// The pods' network.
    #[arg(long, default_value = "10.244.0.0/16")]
    cluster_cidr: String,
    /// Cores of each node.
    #[arg(long, default_value = "8")]
    cpu: String,
    /// Memory of each node.
    #[arg(long, default_value = "16Gi")]
    memory: String,
    /// Pods of each node.
    #[arg(long, default_value = "110")]
    max_pods: String,
    /// Images that cannot be pulled, by name as written or in full, with `*` for any text: `nginx:broken*`. Can be given
    /// several times.
    #[arg(long, value_name = "PATTERN")]
    unpullable_images: Vec<String>,
    /// The cluster's DNS servers, for pods.
    #[arg(long, value_delimiter = ',')]
    cluster_dns: Vec<IpAddr>,
    /// The cluster's domain.
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// The resolv.conf file that pods take over from the node; without it they take over nothing.
    #[arg(long)]
    resolv_conf: Option<PathBuf>,
    /// The certificate by which CoreDNS speaks to the API server; without it that image is as any other.
    #[arg(long, requires_all = ["coredns_client_key", "certificate_authority"])]
    coredns_client_certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long)]
    coredns_client_key: Option<PathBuf>,
    /// The certificate by which the ingress controller speaks to the API server; without it that image is as any other.
    #[arg(long, requires_all = ["ingress_client_key", "certificate_authority"])]
    ingress_client_certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long)]
    ingress_client_key: Option<PathBuf>,
    /// The certificate of the authority that the API server's is signed by.
    #[arg(long)]
    certificate_authority: Option<PathBuf>,
    /// How long the nodes take on SIGTERM to end their pods, as `30s`: graceful node shutdown. 0: none, the pods come back at
    /// the next start.
    #[arg(long, default_value = "0s", value_parser = go_duration, value_name = "DURATION")]
    shutdown_grace_period: Duration,
    /// What of that is for critical pods, which end last.
    #[arg(long, default_value = "0s", value_parser = go_duration, value_name = "DURATION")]
    shutdown_grace_period_critical_pods: Duration,
    /// Lets pods reach addresses outside of the cluster.
    #[arg(long)]
    allow_egress: bool,
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

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn go_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?}: write a duration, like 30s or 1m30s");
    apimachinery::duration::parse_go_duration(text).ok_or_else(wrong)
}

fn node_range(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("{text:?}: write a number, or a range like 1..100");
    let number = |part: &str| part.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(wrong);
    let (first, last) = match text.split_once("..") {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if first > last || last > 65_000 {
        return Err(wrong());
    }
    Ok((first, last))
}

impl Args {
    /// Opens what is to be opened.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let clock = Clock::real();
        let (first, last) = self.nodes;
        let network_dir = self.run_dir.join("net");
        let streams = self.run_dir.join(format!("kubelet-{first}.sock"));
        let mut fabric = FabricConfig::new(clock.clone());
        fabric.socket_dir = Some(network_dir.clone());
        fabric.egress = if self.allow_egress { Egress::Allowed } else { Egress::Refused };
        fabric.virtual_ranges[0] = self.cluster_cidr.parse().context("--cluster-cidr")?;
        if let Some(address) = self.api_server {
            let inside = SocketAddr::from((Ipv4Addr::new(192, 168, 1, 100), address.port()));
            fabric.host_backends = HashMap::from([(inside, address)]);
        }
        let nodes = (first..=last)
            .map(|number| self.node(number, &network_dir, &streams))
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Config {
            clock: clock.clone(),
            nodes,
            fabric,
            catalogue: Arc::new(self.catalogue()?),
            names: Some(self.names(clock)?),
            streams: Listener::bind_unix(&streams)
                .with_context(|| format!("listen on {}", streams.display()))?,
            graceful: self.graceful()?,
        })
    }

    fn graceful(&self) -> anyhow::Result<GracefulShutdown> {
        let (total, critical) =
            (self.shutdown_grace_period, self.shutdown_grace_period_critical_pods);
        let periods = GracePeriods::new(total, critical).map_err(anyhow::Error::msg)?;
        Ok(GracefulShutdown { periods, ..GracefulShutdown::default() })
    }

    /// The images: ours, and the cluster's DNS.
    fn catalogue(&self) -> anyhow::Result<ImageCatalogue> {
        let mut catalogue = ImageCatalogue::new();
        for pattern in &self.unpullable_images {
            catalogue.refuse(ImagePattern::new(pattern), PullError::NotFound);
        }
        dns::tools::register(&mut catalogue);
        let coredns = (&self.coredns_client_certificate, &self.coredns_client_key);
        if let Some(connect) = self.connect_as(coredns)? {
            catalogue.register(CoreDns::IMAGE, CoreDns::new(CoreDnsConfig::new(connect)))?;
        }
        let ingress = (&self.ingress_client_certificate, &self.ingress_client_key);
        if let Some(connect) = self.connect_as(ingress)? {
            let controller = IngressController::new(IngressConfig::new(connect));
            catalogue.register(IngressController::IMAGE, controller)?;
        }
        Ok(catalogue)
    }

    /// The way of a pod to the API server, by a certificate of its ServiceAccount; None without one.
    fn connect_as(
        &self,
        (certificate, key): (&Option<PathBuf>, &Option<PathBuf>),
    ) -> anyhow::Result<Option<dns::program::Connect>> {
        let (Some(certificate), Some(key), Some(authority)) =
            (certificate, key, &self.certificate_authority)
        else {
            return Ok(None);
        };
        let credentials = Credentials {
            server: SocketAddr::from((Ipv4Addr::new(10, 96, 0, 1), 443)),
            ca_pem: read(authority)?,
            client: KeyPair { cert_pem: read(certificate)?, key_pem: read(key)? },
        };
        Ok(Some(Arc::new(move |context| {
            in_cluster::client(&context.network, &credentials).map_err(|e| e.to_string())
        })))
    }

    /// How pods find names.
    fn names(&self, clock: Clock) -> anyhow::Result<Names> {
        let node = self.resolv_conf.as_deref().map(read).transpose()?.unwrap_or_default();
        Ok(Names {
            cluster_dns: self.cluster_dns.iter().map(IpAddr::to_string).collect(),
            domain: self.cluster_domain.clone(),
            node: names::ResolvConf::parse(&node),
            resolver: Arc::new(move |text| {
                Arc::new(PodResolver::new(clock.clone(), dns::ResolvConf::parse(text)))
            }),
        })
    }

    fn node(&self, number: u32, network: &Path, streams: &Path) -> anyhow::Result<NodeSetup> {
        let name = format!("node-{number}");
        let kubeconfig = self.kubeconfig_dir.join(format!("{name}.kubeconfig"));
        let resolved = kubeconfig::load_file(&kubeconfig)?.resolve(&Overrides::default())?;
        let client = Client::new(&resolved.endpoint)?.with_field_manager("kubelet");
        let external = self.external_network.filter(|_| number < 128).map(|network| {
            let [a, b, c, _] = network.octets();
            Ipv4Addr::new(a, b, c, u8::try_from(number).unwrap_or(0))
        });
        let shared_loopback = self
            .loopback_lock
            .clone()
            .filter(|_| number == 1)
            .map(|lock_file| SharedLoopback { lock_file, owner: self.cluster_name.clone() });
        let quantity = |text: &str| text.parse().map_err(|e| anyhow::anyhow!("{text:?}: {e}"));
        let socket = rules_socket(network, &name);
        component_base::files::create_private_dir(network)?;
        Ok(NodeSetup {
            settings: NodeSettings {
                internal_ip: node_address(number).to_string(),
                external_ip: external.map(|address| address.to_string()),
                capacity: [
                    ("cpu".to_owned(), quantity(&self.cpu)?),
                    ("memory".to_owned(), quantity(&self.memory)?),
                    ("pods".to_owned(), quantity(&self.max_pods)?),
                    ("ephemeral-storage".to_owned(), quantity("100Gi")?),
                ]
                .into(),
                labels: std::collections::BTreeMap::new(),
                state_dir: self.state_dir.join(&name),
                kubelet_endpoint: format!("unix://{}", streams.display()),
                name,
            },
            client,
            host_ports: HostPorts {
                addresses: external.map(Into::into).into_iter().collect(),
                shared_loopback,
                load_balancers: LoadBalancers::of_node(number),
            },
            rules: Listener::bind_unix(&socket)
                .with_context(|| format!("listen on {}", socket.display()))?,
        })
    }
}
