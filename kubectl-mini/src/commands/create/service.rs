//! `kubectl create service clusterip`, `nodeport`, `loadbalancer` and `externalname`.

use apimachinery::resource;

use super::common::{CreateFlags, create, one_name, required};
use crate::{
    cli::{Command, values::parse_i32},
    context::Context,
    errors::CommandError,
    generate::service::{Service, ServiceType},
};

async fn run(
    context: &Context,
    flags: &CreateFlags,
    command: &str,
    arguments: &[String],
    service: Service,
) -> Result<(), CommandError> {
    let name = one_name(&format!("create service {command}"), arguments)?;
    let service = Service { name: name.to_owned(), ..service };
    let prefix = format!("failed to create {} service:", service.service_type.as_str());
    create(context, flags, &resource::SERVICES, service.generate(), Some(&prefix)).await
}

/// Creates a service with an address of the cluster.
#[derive(clap::Args, Clone, Debug)]
pub struct ClusterIp {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// Port pairs can be specified as '<port>:<targetPort>'.
    #[arg(long, value_delimiter = ',')]
    pub tcp: Vec<String>,
    /// Assign your own ClusterIP or set to 'None' for a 'headless' service (no loadbalancing).
    #[arg(long, default_value = "")]
    pub clusterip: String,
}

impl Command for ClusterIp {
    const NAME: &'static str = "clusterip";
    const ABOUT: &'static str = "Create a ClusterIP service";
    const USAGE: &'static str =
        "clusterip NAME [--tcp=<port>:<targetPort>] [--dry-run=server|client|none]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let service = Service { tcp: self.tcp, cluster_ip: self.clusterip, ..Service::default() };
        run(context, &self.flags, Self::NAME, &self.arguments, service).await
    }
}

/// Creates a service with a port on every node.
#[derive(clap::Args, Clone, Debug)]
pub struct NodePort {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// Port pairs can be specified as '<port>:<targetPort>'.
    #[arg(long, value_delimiter = ',')]
    pub tcp: Vec<String>,
    /// Port used to expose the service on each node in a cluster.
    #[arg(long, default_value = "0", value_parser = parse_i32)]
    pub node_port: i32,
}

impl Command for NodePort {
    const NAME: &'static str = "nodeport";
    const ABOUT: &'static str = "Create a NodePort service";
    const USAGE: &'static str =
        "nodeport NAME [--tcp=port:targetPort] [--dry-run=server|client|none]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let service = Service {
            service_type: ServiceType::NodePort,
            tcp: self.tcp,
            node_port: self.node_port,
            ..Service::default()
        };
        run(context, &self.flags, Self::NAME, &self.arguments, service).await
    }
}

/// Creates a service with an outside address.
#[derive(clap::Args, Clone, Debug)]
pub struct LoadBalancer {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// Port pairs can be specified as '<port>:<targetPort>'.
    #[arg(long, value_delimiter = ',')]
    pub tcp: Vec<String>,
}

impl Command for LoadBalancer {
    const NAME: &'static str = "loadbalancer";
    const ABOUT: &'static str = "Create a LoadBalancer service";
    const USAGE: &'static str =
        "loadbalancer NAME [--tcp=port:targetPort] [--dry-run=server|client|none]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let service = Service {
            service_type: ServiceType::LoadBalancer,
            tcp: self.tcp,
            ..Service::default()
        };
        run(context, &self.flags, Self::NAME, &self.arguments, service).await
    }
}

/// Creates a service that is another name.
#[derive(clap::Args, Clone, Debug)]
pub struct ExternalName {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// Port pairs can be specified as '<port>:<targetPort>'.
    #[arg(long, value_delimiter = ',')]
    pub tcp: Vec<String>,
    /// External name of service
    #[arg(long)]
    pub external_name: Option<String>,
}

impl Command for ExternalName {
    const NAME: &'static str = "externalname";
    const ABOUT: &'static str = "Create an ExternalName service";
    const USAGE: &'static str =
        "externalname NAME --external-name external.name [--dry-run=server|client|none]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        required(&[("external-name", self.external_name.is_some())])?;
        let service = Service {
            service_type: ServiceType::ExternalName,
            tcp: self.tcp,
            external_name: self.external_name.unwrap_or_default(),
            ..Service::default()
        };
        run(context, &self.flags, Self::NAME, &self.arguments, service).await
    }
}
