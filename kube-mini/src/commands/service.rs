//! `kube-mini service NAME`: how a Service is reached from this machine.

use std::path::PathBuf;

use anyhow::Context as _;
use apimachinery::api::core::{Node, Service};
use clap::Args;
use client::{Client, ListOptions};
use component_base::kubeconfig::{Overrides, load_file};

use super::ClusterArgs;
use crate::{output::line, paths::Environment};

/// Which Service.
#[derive(Args)]
pub struct ServiceArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The Service.
    service: String,
    /// Its namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Print URLs only.
    #[arg(long)]
    url: bool,
}

pub(super) async fn run(args: &ServiceArgs, environment: &Environment) -> anyhow::Result<()> {
    let (paths, _) = args.cluster.existing(environment)?;
    let file: PathBuf = paths.state("kubeconfig");
    let endpoint = load_file(&file)?.resolve(&Overrides::default())?.endpoint;
    let client = Client::new(&endpoint)?;
    let service: Service = client.get(&args.namespace, &args.service).await.map_err(|status| {
        if status.is_not_found() {
            anyhow::anyhow!(
                "there is no Service {:?} in namespace {:?}: `kubectl-mini get services -A` lists them",
                args.service,
                args.namespace
            )
        } else {
            status.into()
        }
    })?;
    let nodes = client.list::<Node>("", &ListOptions::default()).await?;
    let address = nodes
        .items
        .iter()
        .flat_map(|n| &n.status.addresses)
        .find(|a| a.type_ == "ExternalIP")
        .map(|a| a.address.clone())
        .context("no node has an address on this machine")?;
    let ports: Vec<_> =
        service.spec.ports.iter().filter(|p| p.node_port.is_some_and(|n| n > 0)).collect();
    anyhow::ensure!(
        !ports.is_empty(),
        "Service {:?} has no node port: it is of type {}; make one with `kubectl-mini expose --type=NodePort`",
        args.service,
        service.spec.type_.as_deref().unwrap_or("ClusterIP"),
    );
    for port in ports {
        let url = format!("http://{address}:{}", port.node_port.unwrap_or_default());
        if args.url {
            line(&url);
        } else {
            let name = port.name.as_deref().filter(|n| !n.is_empty());
            let label =
                name.map_or_else(|| port.port.to_string(), |n| format!("{n}/{}", port.port));
            line(&format!("{}/{}  port {label}  {url}", args.namespace, args.service));
        }
    }
    Ok(())
}
