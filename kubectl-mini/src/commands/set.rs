//! `kubectl set`: single fields of pod templates.

pub mod env;
pub mod image;
pub mod resources;
pub mod whole;

use apimachinery::{object::Object, patch::strategic, schema};
use client::Patch;
use serde_json::Value;

use super::label::items;
use crate::{
    changing::{DryRun, DryRunFlag, Place, Reporter, Writer, kind_and_name, resource_and_name},
    cli::{Spec, leaf},
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::{FileFlags, Item, Selection},
};

/// The subcommands.
pub static SUBCOMMANDS: &[Spec] = &[
    leaf::<env::Env>(),
    leaf::<image::Image>(),
    leaf::<resources::Resources>(),
    leaf::<whole::SetSelector>(),
    leaf::<whole::SetServiceAccount>().alias(&["sa"]),
    leaf::<whole::SetSubject>(),
];

/// The usage line of the group.
pub const USAGE: &str = "set SUBCOMMAND";

/// The flags of all subcommands.
#[derive(clap::Args, Clone, Debug)]
pub struct Flags {
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
    /// Name of the manager used to track field ownership.
    #[arg(long, default_value = "kubectl-set")]
    pub field_manager: String,
    /// If true, do not contact the API server but run locally.
    #[arg(long)]
    pub local: bool,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
}

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

/// What a subcommand is called in messages.
struct Words {
    /// `image updated`.
    done: &'static str,
    /// `failed to patch image update to pod template:`.
    failed: &'static str,
}

impl Flags {
    /// The objects that are meant.
    async fn items(
        &self,
        context: &Context,
        arguments: Vec<String>,
    ) -> Result<Vec<Item>, CommandError> {
        if self.local && !arguments.is_empty() {
            return refuse(
                "error: you must specify resources by --filename when --local is set.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'",
            );
        }
        let selection = Selection {
            files: self.files.clone(),
            arguments,
            labels: self.selector.clone(),
            all: self.all,
            ..Selection::default()
        };
        let targets = selection.targets(context).await?;
        let (items, errors) = items(context, targets, self.local).await;
        CommandError::gather(errors)?;
        Ok(items)
    }

    /// Changes the containers of each object, and sends what differs.
    async fn change(
        &self,
        context: &Context,
        items: Vec<Item>,
        words: &Words,
        mut edit: impl FnMut(&Object, &mut Containers<'_>) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let dry_run = self.dry_run.get(context)?;
        let reporter = Reporter::typed(&self.output, dry_run)?;
        let mut errors = Vec::new();
        for Item { info, object } in items {
            let mut after = object.clone();
            let Some(spec) = pod_spec(&mut after) else {
                let called = if self.local {
                    kind_and_name(&object)
                } else {
                    resource_and_name(info, object.name())
                };
                errors.push(CommandError::message(format!(
                    "error: {called} the object is not a pod or does not have a pod template: *v1.{}",
                    info.kind
                )));
                continue;
            };
            if let Err(error) = edit(&object, &mut Containers(spec)) {
                errors.push(error);
                continue;
            }
            if after == object {
                continue;
            }
            let told = if self.local || dry_run == DryRun::Client {
                Ok(after)
            } else {
                self.send(context, Item { info, object }, &after, dry_run, words).await
            };
            match told {
                Ok(object) => reporter.report(context, &object, words.done)?,
                Err(error) => errors.push(error),
            }
        }
        CommandError::gather(errors)
    }

    /// Changes each object as a whole, and sends it even where nothing differs, as kubectl does.
    async fn change_whole(
        &self,
        context: &Context,
        items: Vec<Item>,
        words: &Words,
        edit: impl Fn(&mut Object) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let dry_run = self.dry_run.get(context)?;
        let reporter = Reporter::typed(&self.output, dry_run)?;
        let mut errors = Vec::new();
        for Item { info, object } in items {
            let mut after = object.clone();
            if let Err(error) = edit(&mut after) {
                // Only what sends nothing of its own is told by name.
                errors.push(if words.failed.is_empty() {
                    error
                } else {
                    let called = resource_and_name(info, object.name());
                    CommandError::message(format!("error: {called} {error}"))
                });
                continue;
            }
            let told = if self.local || dry_run == DryRun::Client {
                Ok(after)
            } else {
                self.send(context, Item { info, object }, &after, dry_run, words).await
            };
            match told {
                Ok(object) => reporter.report(context, &object, words.done)?,
                Err(error) => errors.push(error),
            }
        }
        CommandError::gather(errors)
    }

    async fn send(
        &self,
        context: &Context,
        Item { info, object }: Item,
        after: &Object,
        dry_run: DryRun,
        words: &Words,
    ) -> Result<Object, CommandError> {
        let failed = |error: &dyn std::fmt::Display| {
            CommandError::message(format!("{} {error}", words.failed))
        };
        let told =
            |error: CommandError| if words.failed.is_empty() { error } else { failed(&error) };
        let schema = schema::for_kind(info).expect("a kind with a pod template has a schema");
        let before = Value::Object(object.0.clone());
        let patch = strategic::create_two_way(&before, &Value::Object(after.0.clone()), schema)
            .map_err(|error| failed(&error))?;
        let key = object.key();
        let writer = Writer::new(context, &self.field_manager, dry_run)?;
        let place = Place::new(info, &key.namespace, &key.name);
        writer.patch(place, &Patch::Strategic(patch)).await.map_err(told)
    }
}

fn pod_spec(object: &mut Object) -> Option<&mut Value> {
    match object.kind() {
        "Pod" => object.get_mut(&["spec"]),
        "Deployment" | "ReplicaSet" => object.get_mut(&["spec", "template", "spec"]),
        _ => None,
    }
}

/// The containers of a pod's spec.
struct Containers<'a>(&'a mut Value);

impl Containers<'_> {
    /// Those of one list whose name fits: `*` is any text.
    fn named<'b>(
        &'b mut self,
        list: &str,
        pattern: &'b str,
    ) -> impl Iterator<Item = &'b mut Value> {
        let containers = self.0.get_mut(list).and_then(Value::as_array_mut);
        containers.into_iter().flatten().filter(move |container| {
            container["name"].as_str().is_some_and(|name| fits(pattern, name))
        })
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, "")) => name.starts_with(start),
        Some((start, rest)) => name
            .strip_prefix(start)
            .is_some_and(|name| name.char_indices().any(|(at, _)| fits(rest, &name[at..]))),
    }
}
