//! `kubectl create configmap`.

use apimachinery::resource;

use super::common::{CreateFlags, create, one_name};
use crate::{
    cli::Command,
    context::Context,
    errors::CommandError,
    generate::{config_map, sources::Sources},
};

/// Where data comes from.
#[derive(clap::Args, Clone, Debug)]
pub struct SourceFlags {
    /// Key file can be specified using its file path, in which case file basename will be used as the key, or
    /// optionally with a key and file path, in which case the given key will be used. Specifying a directory will
    /// iterate each named file in the directory whose basename is a valid key.
    #[arg(long, value_delimiter = ',')]
    pub from_file: Vec<String>,
    /// Specify a key and literal value to insert (i.e. mykey=somevalue)
    #[arg(long)]
    pub from_literal: Vec<String>,
    /// Specify the path to a file to read lines of key=val pairs.
    #[arg(long, value_delimiter = ',')]
    pub from_env_file: Vec<String>,
}

impl From<SourceFlags> for Sources {
    fn from(flags: SourceFlags) -> Self {
        Self {
            files: flags.from_file,
            literals: flags.from_literal,
            env_files: flags.from_env_file,
        }
    }
}

/// Creates a config map.
#[derive(clap::Args, Clone, Debug)]
pub struct ConfigMap {
    /// Its name.
    pub arguments: Vec<String>,
    /// What all subcommands know.
    #[command(flatten)]
    pub flags: CreateFlags,
    /// Where its data comes from.
    #[command(flatten)]
    pub sources: SourceFlags,
    /// Append a hash of the configmap to its name.
    #[arg(long)]
    pub append_hash: bool,
}

impl Command for ConfigMap {
    const NAME: &'static str = "configmap";
    const ABOUT: &'static str = "Create a config map from a local file, directory or literal value";
    const USAGE: &'static str = "configmap NAME [--from-file=[key=]source] [--from-literal=key1=value1] [--dry-run=server|client|none]";
    const EXAMPLES: &'static str = "# Create a new config map named my-config based on folder bar
kubectl-mini create configmap my-config --from-file=path/to/bar

# Create a new config map named my-config with key1=config1 and key2=config2
kubectl-mini create configmap my-config --from-literal=key1=config1 --from-literal=key2=config2

# Create a new config map named my-config from an env file
kubectl-mini create configmap my-config --from-env-file=path/to/foo.env";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create configmap", &self.arguments)?;
        let generated = config_map::ConfigMap {
            name: name.to_owned(),
            sources: self.sources.clone().into(),
            append_hash: self.append_hash,
        }
        .generate();
        let prefix = Some("failed to create configmap:");
        create(context, &self.flags, &resource::CONFIG_MAPS, generated, prefix).await
    }
}
