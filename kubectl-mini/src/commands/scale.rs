//! `kubectl scale`.

use std::time::Duration;

use apimachinery::{object::Object, resource::ResourceInfo};
use client::Patch;
use serde_json::json;

use crate::{
    changing::{DryRun, DryRunFlag, Place, Reporter, Writer},
    cli::{
        Command,
        values::{Signed, parse_duration, parse_i32},
    },
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::{FileFlags, Item, Selection, Target, fetch},
    waiting::{Seen, Waited, until},
};

/// Sets how many replicas there shall be.
#[derive(clap::Args, Clone, Debug)]
pub struct Scale {
    /// The types, and names.
    pub arguments: Vec<String>,
    /// Which files.
    #[command(flatten)]
    pub files: FileFlags,
    /// How far to go.
    #[command(flatten)]
    pub dry_run: DryRunFlag,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// Select all resources in the namespace of the specified resource types
    #[arg(long)]
    pub all: bool,
    /// Precondition for current size. Requires that the current size of the resource match this value in order to
    /// scale. -1 (default) for no condition.
    #[arg(long, default_value = "-1", value_parser = parse_i32)]
    pub current_replicas: i32,
    /// The new desired number of replicas. Required.
    #[arg(long, value_parser = parse_i32)]
    pub replicas: Option<i32>,
    /// Precondition for resource version. Requires that the current resource version match this value in order to
    /// scale.
    #[arg(long, default_value = "")]
    pub resource_version: String,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
    /// The length of time to wait before giving up on a scale operation, zero means don't wait. Any other values should
    /// contain a corresponding time unit (e.g. 1s, 2m, 3h).
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub timeout: Signed,
}

impl Command for Scale {
    const NAME: &'static str = "scale";
    const ABOUT: &'static str =
        "Set a new size for a deployment, replica set, or replication controller";
    const USAGE: &'static str = "scale [--resource-version=version] [--current-replicas=count] --replicas=COUNT (-f FILENAME | TYPE NAME)";
    const EXAMPLES: &'static str = "# Scale a replica set named 'foo' to 3
kubectl-mini scale --replicas=3 rs/foo

# If the deployment named mysql's current size is 2, scale mysql to 3
kubectl-mini scale --current-replicas=2 --replicas=3 deployment/mysql";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        super::create::common::required(&[("replicas", self.replicas.is_some())])?;
        let replicas = self.replicas.unwrap_or(-1);
        let dry_run = self.dry_run.get(context)?;
        let reporter = Reporter::new(&self.output, dry_run)?;
        if replicas < 0 {
            return Err(CommandError::message(
                "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
            ));
        }
        if self.current_replicas < -1 {
            return Err(CommandError::message(
                "The --current-replicas must specify an integer of -1 or greater",
            ));
        }
        let selection = Selection {
            files: self.files.clone(),
            arguments: self.arguments.clone(),
            labels: self.selector.clone(),
            all: self.all,
            ..Selection::default()
        };
        let targets = selection.targets(context).await?;
        let mut errors = targets.errors;
        let from_files = !self.files.is_empty();
        let mut items = Vec::new();
        for target in &targets.targets {
            match look_up(context, target).await {
                Ok(found) => items.extend(found),
                Err(error) => errors.push(error),
            }
        }
        if items.len() > 1 && !self.resource_version.is_empty() {
            return Err(CommandError::message(
                "cannot use --resource-version with multiple resources",
            ));
        }
        if let Some(at) = errors.iter().position(|error| {
            error.status().is_some_and(|status| client::wire::transport_failure(status).is_some())
        }) {
            return Err(errors.swap_remove(at));
        }
        if items.is_empty() {
            return Err(match errors.len() {
                0 => CommandError::message("no objects passed to scale"),
                _ if from_files => CommandError::Several(errors),
                1 => CommandError::message(format!("no objects passed to scale {}", errors[0])),
                _ => CommandError::message(format!(
                    "no objects passed to scale {}",
                    CommandError::Several(errors)
                )),
            });
        }
        let writer = Writer::new(context, "kubectl", dry_run)?;
        for Item { info, object } in items {
            if dry_run != DryRun::Client {
                self.scale(context, &writer, info, &object, replicas, dry_run).await?;
            }
            reporter.report(context, &object, "scaled")?;
        }
        CommandError::gather(errors)
    }
}

/// The objects; those of files are taken as they stand there.
async fn look_up(context: &Context, target: &Target) -> Result<Vec<Item>, CommandError> {
    match target {
        Target::Named { info, manifest: Some((object, _)), .. } => {
            Ok(vec![Item { info, object: object.clone() }])
        }
        target => fetch(context, target, 500).await,
    }
}

impl Scale {
    async fn scale(
        &self,
        context: &Context,
        writer: &Writer<'_>,
        info: &'static ResourceInfo,
        object: &Object,
        replicas: i32,
        dry_run: DryRun,
    ) -> Result<(), CommandError> {
        let key = object.key();
        let place = Place { subresource: "scale", ..Place::new(info, &key.namespace, &key.name) };
        if self.current_replicas == -1 && self.resource_version.is_empty() {
            let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
            writer.patch(place, &patch).await?;
        } else {
            let client = context.client()?;
            let api = client.resource(info).namespace(&key.namespace).subresource("scale");
            let mut scale = context.request(api.get(&key.name)).await?.object()?;
            self.check(&scale)?;
            scale.set(&["spec", "replicas"], replicas);
            writer.update(place, &scale).await?;
        }
        if self.timeout.is_positive() && dry_run == DryRun::None {
            wait_for_replicas(context, info, object, replicas, self.timeout.magnitude).await?;
        }
        Ok(())
    }

    /// The preconditions.
    fn check(&self, scale: &Object) -> Result<(), CommandError> {
        let replicas = scale.get_i64(&["spec", "replicas"]).unwrap_or_default();
        if self.current_replicas != -1 && replicas != i64::from(self.current_replicas) {
            return Err(CommandError::message(format!(
                "Expected replicas to be {}, was {replicas}",
                self.current_replicas
            )));
        }
        if !self.resource_version.is_empty() && scale.resource_version() != self.resource_version {
            return Err(CommandError::message(format!(
                "Expected resource version to be {}, was {}",
                self.resource_version,
                scale.resource_version()
            )));
        }
        Ok(())
    }
}

async fn wait_for_replicas(
    context: &Context,
    info: &'static ResourceInfo,
    object: &Object,
    replicas: i32,
    timeout: Duration,
) -> Result<(), CommandError> {
    let reached = |seen: Seen<'_>| {
        let Seen::Present(object) = seen else { return Ok(false) };
        let observed = object.get_i64(&["status", "observedGeneration"]).unwrap_or_default();
        let current = object.get_i64(&["status", "replicas"]).unwrap_or_default();
        Ok(observed >= object.generation() && current == i64::from(replicas))
    };
    let key = object.key();
    match until(context, info, &key.namespace, &key.name, Some(timeout), reached).await? {
        Waited::Done => Ok(()),
        Waited::TimedOut => Err(CommandError::message("timed out waiting for the condition")),
    }
}
