//! `kubectl create secret generic`, `docker-registry` and `tls`.

use apimachinery::resource;

use super::{
    common::{CreateFlags, create, one_name},
    config_map::SourceFlags,
};
use crate::{cli::Command, context::Context, errors::CommandError, generate::secret};

const PREFIX: Option<&str> = Some("failed to create secret");

/// Creates a secret from files and literals.
#[derive(clap::Args, Clone, Debug)]
pub struct Generic {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// Where its data comes from.
    #[command(flatten)]
    pub sources: SourceFlags,
    /// The type of secret to create
    #[arg(long = "type", default_value = "")]
    pub secret_type: String,
    /// Append a hash of the secret to its name.
    #[arg(long)]
    pub append_hash: bool,
}

impl Command for Generic {
    const NAME: &'static str = "generic";
    const ABOUT: &'static str = "Create a secret from a local file, directory, or literal value";
    const USAGE: &'static str = "generic NAME [--type=string] [--from-file=[key=]source] [--from-literal=key1=value1] [--dry-run=server|client|none]";
    const EXAMPLES: &'static str = "# Create a new secret named my-secret with key1=supersecret and key2=topsecret
kubectl-mini create secret generic my-secret --from-literal=key1=supersecret --from-literal=key2=topsecret";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create secret generic", &self.arguments)?;
        let generated = secret::Generic {
            name: name.to_owned(),
            secret_type: self.secret_type.clone(),
            sources: self.sources.clone().into(),
            append_hash: self.append_hash,
        }
        .generate();
        create(context, &self.flags, &resource::SECRETS, generated, PREFIX).await
    }
}

/// Creates a secret for a container registry.
#[derive(clap::Args, Clone)]
pub struct DockerRegistry {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// Username for Docker registry authentication
    #[arg(long, default_value = "")]
    pub docker_username: String,
    /// Password for Docker registry authentication
    #[arg(long, default_value = "")]
    pub docker_password: String,
    /// Email for Docker registry
    #[arg(long, default_value = "")]
    pub docker_email: String,
    /// Server location for Docker registry
    #[arg(long, default_value = "https://index.docker.io/v1/")]
    pub docker_server: String,
    /// Key files can be specified using their file path, in which case a default name of .dockerconfigjson will be
    /// given to them, or optionally with a name and file path, in which case the given name will be used.
    #[arg(long, value_delimiter = ',')]
    pub from_file: Vec<String>,
    /// Append a hash of the secret to its name.
    #[arg(long)]
    pub append_hash: bool,
}

impl Command for DockerRegistry {
    const NAME: &'static str = "docker-registry";
    const ABOUT: &'static str = "Create a secret for use with a Docker registry";
    const USAGE: &'static str = "docker-registry NAME --docker-username=user --docker-password=password --docker-email=email [--docker-server=string] [--from-file=[key=]source] [--dry-run=server|client|none]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create secret docker-registry", &self.arguments)?;
        let generated = secret::DockerRegistry {
            name: name.to_owned(),
            server: self.docker_server.clone(),
            username: self.docker_username.clone(),
            password: self.docker_password.clone(),
            email: self.docker_email.clone(),
            files: self.from_file.clone(),
            append_hash: self.append_hash,
        }
        .generate();
        create(context, &self.flags, &resource::SECRETS, generated, PREFIX).await
    }
}

/// Creates a secret of a certificate and its key.
#[derive(clap::Args, Clone, Debug)]
pub struct Tls {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// Path to PEM encoded public key certificate.
    #[arg(long, default_value = "")]
    pub cert: String,
    /// Path to private key associated with given certificate.
    #[arg(long, default_value = "")]
    pub key: String,
    /// Append a hash of the secret to its name.
    #[arg(long)]
    pub append_hash: bool,
}

impl Command for Tls {
    const NAME: &'static str = "tls";
    const ABOUT: &'static str = "Create a TLS secret";
    const USAGE: &'static str =
        "tls NAME --cert=path/to/cert/file --key=path/to/key/file [--dry-run=server|client|none]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create secret tls", &self.arguments)?;
        let generated = secret::Tls {
            name: name.to_owned(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            append_hash: self.append_hash,
        }
        .generate();
        create(context, &self.flags, &resource::SECRETS, generated, PREFIX).await
    }
}
