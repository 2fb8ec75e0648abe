//! `kubectl patch`.

use std::fs;

use apimachinery::{
    field::go_quote,
    object::Object,
    patch::{json as json_patch, merge, strategic},
    resource::ResourceInfo,
    schema, yaml,
};
use client::Patch as Change;
use serde_json::Value;

use super::label::items;
use crate::{
    changing::{DryRun, DryRunFlag, Place, Reporter, Writer},
    cli::Command,
    context::Context,
    errors::CommandError,
    generate::sources::go_io_error,
    printers::OutputFlags,
    resources::{FileFlags, Item, Selection},
};

/// Changes fields of objects.
#[derive(clap::Args, Clone, Debug)]
pub struct Patch {
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
    /// Name of the manager used to track field ownership.
    #[arg(long, default_value = "kubectl-patch")]
    pub field_manager: String,
    /// If true, patch will operate on the content of the file, not the server-side resource.
    #[arg(long)]
    pub local: bool,
    /// The patch to be applied to the resource JSON file.
    #[arg(long, short, default_value = "")]
    pub patch: String,
    /// A file containing a patch to be applied to the resource.
    #[arg(long, default_value = "")]
    pub patch_file: String,
    /// If specified, patch will operate on the subresource of the requested object.
    #[arg(long, default_value = "")]
    pub subresource: String,
    /// The type of patch being provided; one of [json merge strategic]
    #[arg(long = "type", default_value = "strategic")]
    pub patch_type: String,
}

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

impl Command for Patch {
    const NAME: &'static str = "patch";
    const ABOUT: &'static str = "Update fields of a resource";
    const USAGE: &'static str = "patch (-f FILENAME | TYPE NAME) [-p PATCH|--patch-file FILE]";
    const EXAMPLES: &'static str = "# Partially update a node using a strategic merge patch, specifying the patch as JSON
kubectl-mini patch node k8s-node-1 -p '{\"spec\":{\"unschedulable\":true}}'

# Update a container's image using a JSON patch with positional arrays
kubectl-mini patch pod valid-pod --type='json' -p='[{\"op\": \"replace\", \"path\": \"/spec/containers/0/image\", \"value\":\"new image\"}]'";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let dry_run = self.dry_run.get(context)?;
        self.check(dry_run)?;
        Reporter::new(&self.output, dry_run)?;
        let patch = self.read()?;
        let selection = Selection {
            files: self.files.clone(),
            arguments: self.arguments.clone(),
            ..Selection::default()
        };
        let targets = selection.targets(context).await?;
        let (items, mut errors) = items(context, targets, self.local).await;
        if items.is_empty() && errors.is_empty() {
            return refuse("no objects passed to patch");
        }
        for item in items {
            if let Err(error) = self.change(context, &patch, item, dry_run).await {
                errors.push(error);
            }
        }
        CommandError::gather(errors)
    }
}

impl Patch {
    fn check(&self, dry_run: DryRun) -> Result<(), CommandError> {
        if !self.patch.is_empty() && !self.patch_file.is_empty() {
            return refuse("cannot specify --patch and --patch-file together");
        }
        if self.patch.is_empty() && self.patch_file.is_empty() {
            return refuse(
                "must specify --patch or --patch-file containing the contents of the patch",
            );
        }
        if self.local && !self.arguments.is_empty() {
            return refuse("cannot specify --local and server resources");
        }
        if self.local && dry_run == DryRun::Server {
            return refuse(
                "cannot specify --local and --dry-run=server - did you mean --dry-run=client?",
            );
        }
        if !matches!(self.patch_type.to_lowercase().as_str(), "json" | "merge" | "strategic" | "") {
            return refuse(format!(
                "--type must be one of [json merge strategic], not {}",
                go_quote(&self.patch_type)
            ));
        }
        Ok(())
    }

    fn read(&self) -> Result<Change, CommandError> {
        let text = if self.patch_file.is_empty() {
            self.patch.clone()
        } else {
            fs::read_to_string(&self.patch_file).map_err(|error| {
                CommandError::message(format!(
                    "unable to read patch file: open {}: {}",
                    self.patch_file,
                    go_io_error(&error)
                ))
            })?
        };
        let value = match yaml::read_forgiving(&text, "") {
            Ok(documents) => {
                documents.into_iter().next().map_or(Value::Null, |document| document.value)
            }
            Err(error) => {
                return refuse(format!(
                    "unable to parse {}: {}",
                    go_quote(&self.patch),
                    error.go_message()
                ));
            }
        };
        Ok(match self.patch_type.to_lowercase().as_str() {
            "json" => Change::Json(value),
            "merge" => Change::Merge(value),
            _ => Change::Strategic(value),
        })
    }

    async fn change(
        &self,
        context: &Context,
        patch: &Change,
        Item { info, object }: Item,
        dry_run: DryRun,
    ) -> Result<(), CommandError> {
        let after = if self.local || dry_run == DryRun::Client {
            locally(&object, patch)?
        } else {
            let key = object.key();
            let place = Place {
                subresource: &self.subresource,
                ..Place::new(info, &key.namespace, &key.name)
            };
            let writer = Writer::new(context, &self.field_manager, dry_run)?;
            writer.patch(place, patch).await.map_err(|error| explain(info, patch, error))?
        };
        let before = if self.subresource == "scale" { None } else { Some(&object) };
        let operation = if before == Some(&after) { "patched (no change)" } else { "patched" };
        // kubectl's report of this command says nothing of a dry run.
        Reporter::new(&self.output, DryRun::None)?.report(context, &after, operation)
    }
}

/// kubectl tells which kind it is that knows no strategic patches.
fn explain(info: &ResourceInfo, patch: &Change, error: CommandError) -> CommandError {
    match error.status() {
        Some(status) if status.code == 415 && matches!(patch, Change::Strategic(_)) => {
            CommandError::message(format!(
                "application/strategic-merge-patch+json is not supported by {}, Kind={}: {}",
                info.api_version(),
                info.kind,
                status.message
            ))
        }
        _ => error,
    }
}

fn locally(object: &Object, patch: &Change) -> Result<Object, CommandError> {
    let mut value = Value::Object(object.0.clone());
    let result = match patch {
        Change::Json(patch) => json_patch::apply(&mut value, patch),
        Change::Merge(patch) => merge::apply(&mut value, patch),
        Change::Strategic(patch) | Change::Apply { object: patch, .. } => {
            let info =
                apimachinery::resource::find_object_kind(object.api_version(), object.kind());
            match info.and_then(schema::for_kind) {
                Some(schema) => strategic::apply(&mut value, patch, schema),
                None => {
                    return refuse(format!(
                        "strategic merge patch is not supported for {}, Kind={} locally, try --type merge",
                        object.api_version(),
                        object.kind()
                    ));
                }
            }
        }
    };
    result.map_err(|error| CommandError::message(error.to_string()))?;
    Ok(Object::from_value(value)?)
}
