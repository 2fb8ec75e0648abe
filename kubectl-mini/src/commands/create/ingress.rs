//! `kubectl create ingress`.

use apimachinery::resource;

use super::common::{CreateFlags, create, one_name};
use crate::{
    cli::Command, context::Context, errors::CommandError, generate::ingress::Ingress as Generator,
};

/// Creates an ingress.
#[derive(clap::Args, Clone, Debug)]
pub struct Ingress {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// Annotation to insert in the ingress object, in the format annotation=value
    #[arg(long)]
    pub annotation: Vec<String>,
    /// Ingress Class to be used
    #[arg(long, default_value = "")]
    pub class: String,
    /// Default service for backend, in format of svcname:port
    #[arg(long, default_value = "")]
    pub default_backend: String,
    /// Rule in format host/path=service:port[,tls=secretname]. Paths that end with '*' are prefixes.
    #[arg(long)]
    pub rule: Vec<String>,
}

impl Command for Ingress {
    const NAME: &'static str = "ingress";
    const ABOUT: &'static str = "Create an ingress with the specified name";
    const USAGE: &'static str = "ingress NAME --rule=host/path=service:port[,tls[=secret]] ";
    const EXAMPLES: &'static str =
        "# Requests for foo.com/bar go to port 8080 of svc1, by TLS with the certificate in my-cert
kubectl-mini create ingress simple --rule=\"foo.com/bar=svc1:8080,tls=my-cert\"

# All that begins with /api goes to one service, all else to another
kubectl-mini create ingress paths --rule=\"/api*=api:80\" --default-backend=ui:http";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create ingress", &self.arguments)?;
        let generated = Generator {
            name: name.to_owned(),
            class: self.class.clone(),
            default_backend: self.default_backend.clone(),
            annotations: self.annotation.clone(),
            rules: self.rule.clone(),
        }
        .generate();
        let prefix = Some("failed to create ingress:");
        create(context, &self.flags, &resource::INGRESSES, generated, prefix).await
    }
}
