//! `kubectl top`: needs the metrics API, which no server of ours has.

use crate::{
    cli::{Command, Spec, leaf},
    context::Context,
    errors::CommandError,
};

/// The subcommands.
pub static SUBCOMMANDS: &[Spec] =
    &[leaf::<TopNode>().alias(&["nodes", "no"]), leaf::<TopPod>().alias(&["pods", "po"])];

/// The usage line of the group.
pub const USAGE: &str = "top";

/// Shows the use of nodes.
#[derive(clap::Args, Clone, Debug)]
pub struct TopNode {
    /// The nodes.
    pub arguments: Vec<String>,
}

/// Shows the use of pods.
#[derive(clap::Args, Clone, Debug)]
pub struct TopPod {
    /// The pods.
    pub arguments: Vec<String>,
}

/// Without a server, that is the error.
async fn refuse(context: &Context) -> Result<(), CommandError> {
    context.request(context.client()?.discovery()).await?;
    Err(CommandError::message("Metrics API not available"))
}

impl Command for TopNode {
    const NAME: &'static str = "node";
    const ABOUT: &'static str = "Display resource (CPU/memory) usage of nodes";
    const USAGE: &'static str = "node [NAME | -l label]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        refuse(context).await
    }
}

impl Command for TopPod {
    const NAME: &'static str = "pod";
    const ABOUT: &'static str = "Display resource (CPU/memory) usage of pods";
    const USAGE: &'static str = "pod [NAME | -l label]";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        refuse(context).await
    }
}
