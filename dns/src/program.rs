//! CoreDNS as an image: `registry.k8s.io/coredns/coredns`.

#[cfg(test)]
mod tests;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use client::Client;
use component_base::metrics::Registry;
use container_runtime::{ContainerContext, ExitStatus, Program};
use futures::future::BoxFuture;
use hickory_proto::rr::Name;

use crate::{
    health::Pages,
    metrics::Metrics,
    records::{Directory, Zone},
    resolver::ResolvConf,
    server::{Limits, Server, ServerConfig},
    watch,
};

/// Makes the client by which a container follows the API; the place where its identity comes from.
pub type Connect = Arc<dyn Fn(&ContainerContext) -> Result<Client, String> + Send + Sync>;

/// What the image is registered with.
#[derive(Clone)]
pub struct CoreDnsConfig {
    /// The way to the API.
    pub connect: Connect,
    /// `cluster.local.`
    pub domain: Name,
    /// Lifetime of records, in seconds.
    pub ttl: u32,
    /// Servers of other zones, asked over the pod's network. Empty: those of the container's `/etc/resolv.conf`, and when
    /// that names none other zones are refused.
    pub upstreams: Vec<SocketAddr>,
    /// How long it goes on serving after SIGTERM, until nobody is sent here any more.
    pub lameduck: Duration,
}

impl CoreDnsConfig {
    /// kubeadm's settings, without upstream servers.
    #[must_use]
    pub fn new(connect: Connect) -> Self {
        let zone = Zone::default();
        Self {
            connect,
            domain: zone.domain,
            ttl: zone.ttl,
            upstreams: Vec::new(),
            lameduck: Duration::from_secs(5),
        }
    }

    /// The same, by a client that is there already.
    #[must_use]
    pub fn with_client(client: Client) -> Self {
        Self::new(Arc::new(move |_| Ok(client.clone())))
    }
}

impl fmt::Debug for CoreDnsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreDnsConfig")
            .field("domain", &self.domain)
            .field("ttl", &self.ttl)
            .field("upstreams", &self.upstreams)
            .field("lameduck", &self.lameduck)
            .finish_non_exhaustive()
    }
}

/// What a cluster applies to have this image as its DNS, in Kubernetes' names: ServiceAccount, RBAC, Deployment, Service.
pub const MANIFEST: &str = include_str!("../coredns.yaml");

/// The cluster's DNS as a Program.
#[derive(Clone, Debug)]
pub struct CoreDns {
    config: Arc<CoreDnsConfig>,
}

impl CoreDns {
    /// The image's repository, for every tag.
    pub const IMAGE: &'static str = "registry.k8s.io/coredns/coredns";

    /// Makes the Program.
    #[must_use]
    pub fn new(config: CoreDnsConfig) -> Self {
        Self { config: Arc::new(config) }
    }
}

impl Program for CoreDns {
    fn run(&self, context: ContainerContext) -> BoxFuture<'static, ExitStatus> {
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            match serve(&config, &context).await {
                Ok(()) => ExitStatus::SUCCESS,
                Err(error) => {
                    // The container's own stderr; when nobody reads it there is nobody to tell.
                    drop(context.stderr.write_all(format!("{error}\n")).await);
                    ExitStatus(1)
                }
            }
        })
    }
}

/// kubeadm's `forward . /etc/resolv.conf`. An address of the loopback would be the container's own: nobody is there, or
/// we are.
fn upstreams(config: &CoreDnsConfig, context: &ContainerContext) -> Vec<SocketAddr> {
    if !config.upstreams.is_empty() {
        return config.upstreams.clone();
    }
    let text = context.files.read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = ResolvConf::parse(&text).nameservers.into_iter();
    servers.filter(|ip| !ip.is_loopback()).map(|ip| SocketAddr::new(ip, 53)).collect()
}

async fn serve(config: &CoreDnsConfig, context: &ContainerContext) -> io::Result<()> {
    if let Some(flag) = context.args.get(1) {
        let unknown = format!("flag provided but not supported here: {flag}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, unknown));
    }
    let client = (config.connect)(context).map_err(io::Error::other)?;
    let sandbox = &context.network;
    let zone =
        Zone { domain: config.domain.clone(), ttl: config.ttl, own_address: Some(sandbox.ip()) };
    let directory = Directory::new(zone);
    let records = Arc::new(ArcSwap::from_pointee(directory.records().clone()));
    let registry = Registry::new();
    let server = ServerConfig {
        records: Arc::clone(&records),
        clock: context.clock.clone(),
        upstreams: upstreams(config, context),
        limits: Limits::default(),
        metrics: Metrics::new(&registry),
    };
    let server = Server::bind(server, sandbox).await?;
    let pages = Pages::bind(sandbox, context.clock.clone(), Arc::clone(&records), registry).await?;
    let zone = config.domain.to_ascii();
    drop(context.stdout.write_all(format!("{zone}:53\nCoreDNS-1.12.1\n")).await);
    let follow = watch::follow(client, context.clock.clone(), directory, records);
    let ended = async {
        context.signals.terminated().await;
        drop(
            context
                .stdout
                .write_all("[INFO] SIGTERM: Shutting down servers then terminating\n")
                .await,
        );
        context.clock.sleep(config.lameduck).await;
    };
    tokio::select! {
        () = ended => {}
        () = server.run() => {}
        () = pages.run() => {}
        () = follow => {}
    }
    Ok(())
}
