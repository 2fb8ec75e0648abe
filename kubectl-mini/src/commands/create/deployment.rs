//! `kubectl create deployment`.

use apimachinery::resource;

use super::common::{CreateFlags, create, one_name, required};
use crate::{
    cli::{Command, values::parse_i32},
    context::Context,
    errors::CommandError,
    generate::deployment,
};

/// Creates a deployment.
#[derive(clap::Args, Clone, Debug)]
pub struct Deployment {
    /// Its name.
    pub arguments: Vec<String>,
    /// The command of its container.
    #[arg(last = true)]
    pub container_command: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// Image names to run. A deployment can have multiple images set for multi-container pod.
    #[arg(long, value_delimiter = ',')]
    pub image: Vec<String>,
    /// The containerPort that this deployment exposes.
    #[arg(long, default_value = "-1", value_parser = parse_i32)]
    pub port: i32,
    /// Number of replicas to create. Default is 1.
    #[arg(long, short = 'r', default_value = "1", value_parser = parse_i32)]
    pub replicas: i32,
}

impl Command for Deployment {
    const NAME: &'static str = "deployment";
    const ABOUT: &'static str = "Create a deployment with the specified name";
    const USAGE: &'static str = "deployment NAME --image=image -- [COMMAND] [args...]";
    const EXAMPLES: &'static str = "# Create a deployment named my-dep that runs the busybox image
kubectl-mini create deployment my-dep --image=busybox

# Create a deployment with a command
kubectl-mini create deployment my-dep --image=busybox -- date

# Create a deployment named my-dep that runs the nginx image with 3 replicas
kubectl-mini create deployment my-dep --image=nginx --replicas=3

# Create a deployment named my-dep that runs the busybox image and expose port 5701
kubectl-mini create deployment my-dep --image=busybox --port=5701";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        required(&[("image", !self.image.is_empty())])?;
        let name = one_name("create deployment", &self.arguments)?;
        let generated = deployment::Deployment {
            name: name.to_owned(),
            images: self.image.clone(),
            command: self.container_command.clone(),
            replicas: self.replicas,
            port: (self.port >= 0).then_some(self.port),
        }
        .generate();
        let prefix = Some("failed to create deployment:");
        create(context, &self.flags, &resource::DEPLOYMENTS, generated, prefix).await
    }
}
