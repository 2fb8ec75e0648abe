//! `rollout restart`, `pause` and `resume`.

use client::Patch;
use serde_json::{Value, json};

use super::{Flags, is_deployment};
use crate::{
    changing::{DryRun, Place, Reporter, Writer},
    cli::Command,
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::Item,
};

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Restart,
    Pause,
    Resume,
}

impl Change {
    fn past(self) -> &'static str {
        match self {
            Self::Restart => "restarted",
            Self::Pause => "paused",
            Self::Resume => "resumed",
        }
    }

    fn present(self) -> &'static str {
        match self {
            Self::Restart => "restarting",
            Self::Pause => "pausing",
            Self::Resume => "resuming",
        }
    }

    /// The patch, or why it cannot be.
    fn patch(self, context: &Context, item: &Item) -> Result<Value, String> {
        if !is_deployment(item) {
            return Err(format!("{} is not supported", self.present()));
        }
        let paused = item.object.get_bool(&["spec", "paused"]).unwrap_or_default();
        match self {
            Self::Restart if paused => {
                Err("can't restart paused deployment (run rollout resume first)".to_owned())
            }
            Self::Pause if paused => Err("is already paused".to_owned()),
            Self::Resume if !paused => Err("is not paused".to_owned()),
            Self::Restart => {
                let now = apimachinery::time::Time(context.clock.now()).to_string();
                let annotations = json!({"kubectl.kubernetes.io/restartedAt": now});
                Ok(json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}))
            }
            Self::Pause => Ok(json!({"spec": {"paused": true}})),
            Self::Resume => Ok(json!({"spec": {"paused": null}})),
        }
    }
}

async fn run(
    context: &Context,
    flags: &Flags,
    output: &OutputFlags,
    manager: &str,
    change: Change,
) -> Result<(), CommandError> {
    Reporter::new(output, DryRun::None)?;
    let (items, mut errors) = flags.items(context).await?;
    let writer = Writer::new(context, manager, DryRun::None)?;
    for item in items {
        if let Err(error) = change_one(context, &writer, output, &item, change).await {
            errors.push(error);
        }
    }
    CommandError::gather(errors)
}

async fn change_one(
    context: &Context,
    writer: &Writer<'_>,
    output: &OutputFlags,
    item: &Item,
    change: Change,
) -> Result<(), CommandError> {
    let key = item.object.key();
    let patch = change.patch(context, item).map_err(|problem| {
        CommandError::message(format!(
            "error: {} {:?} {problem}",
            item.info.group_resource(),
            key.name
        ))
    })?;
    let place = Place::new(item.info, &key.namespace, &key.name);
    let object = writer
        .patch(place, &Patch::Strategic(patch))
        .await
        .map_err(|error| CommandError::message(format!("failed to patch: {error}")))?;
    Reporter::typed(output, DryRun::None)?.report(context, &object, change.past())
}

/// Starts all pods anew.
#[derive(clap::Args, Clone, Debug)]
pub struct Restart {
    /// What names the objects.
    #[command(flatten)]
    pub flags: Flags,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// Name of the manager used to track field ownership.
    #[arg(long, default_value = "kubectl-rollout")]
    pub field_manager: String,
}

impl Command for Restart {
    const NAME: &'static str = "restart";
    const ABOUT: &'static str = "Restart a resource";
    const USAGE: &'static str = "restart RESOURCE";
    const EXAMPLES: &'static str = "# Restart a deployment
kubectl-mini rollout restart deployment/nginx";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        run(context, &self.flags, &self.output, &self.field_manager, Change::Restart).await
    }
}

/// Stops reconciling.
#[derive(clap::Args, Clone, Debug)]
pub struct Pause {
    /// What names the objects.
    #[command(flatten)]
    pub flags: Flags,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// Name of the manager used to track field ownership.
    #[arg(long, default_value = "kubectl-rollout")]
    pub field_manager: String,
}

impl Command for Pause {
    const NAME: &'static str = "pause";
    const ABOUT: &'static str = "Mark the provided resource as paused";
    const USAGE: &'static str = "pause RESOURCE";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        run(context, &self.flags, &self.output, &self.field_manager, Change::Pause).await
    }
}

/// Goes on reconciling.
#[derive(clap::Args, Clone, Debug)]
pub struct Resume {
    /// What names the objects.
    #[command(flatten)]
    pub flags: Flags,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// Name of the manager used to track field ownership.
    #[arg(long, default_value = "kubectl-rollout")]
    pub field_manager: String,
}

impl Command for Resume {
    const NAME: &'static str = "resume";
    const ABOUT: &'static str = "Resume a paused resource";
    const USAGE: &'static str = "resume RESOURCE";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        run(context, &self.flags, &self.output, &self.field_manager, Change::Resume).await
    }
}
