//! `kubectl edit`.
//!
//! The objects go as one text into a file, an editor changes it, and what comes back becomes one patch per object. What
//! cannot be read or is refused as invalid is shown again, with the reasons in the file's header, until it is good or
//! comes back unchanged; whatever else fails leaves the file behind and says where it is. [`text`] is about the text,
//! [`editor`] about the program, this part about the loop.

mod editor;
mod text;

use std::path::Path;

use apimachinery::{
    json,
    object::Object,
    patch::{merge, strategic},
    resource::ResourceInfo,
    schema,
    status::Status,
    yaml,
};
use client::{FieldValidation, Patch};
use serde_json::{Value, json};

use self::text::Header;
use super::label::items;
use crate::{
    PROGRAM,
    changing::{DryRun, Place, Reporter, ValidateFlag, Writer, annotate_last_applied},
    cli::Command,
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::{FileFlags, Item, Selection, files},
};

/// Changes objects in an editor.
#[derive(clap::Args, Clone, Debug)]
pub struct Edit {
    /// The types, and names.
    pub arguments: Vec<String>,
    /// Which files.
    #[command(flatten)]
    pub files: FileFlags,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// What becomes of unknown fields.
    #[command(flatten)]
    pub validate: ValidateFlag,
    /// Name of the manager used to track field ownership.
    #[arg(long, default_value = "kubectl-edit")]
    pub field_manager: String,
    /// Print the patch that an edit comes to.
    #[arg(long)]
    pub output_patch: bool,
    /// If true, the configuration of current object will be saved in its annotation.
    #[arg(long)]
    pub save_config: bool,
    /// If specified, edit will operate on the subresource of the requested object.
    #[arg(long, default_value = "")]
    pub subresource: String,
    /// End the lines of the file as Windows does.
    #[arg(long)]
    pub windows_line_endings: bool,
}

impl Command for Edit {
    const NAME: &'static str = "edit";
    const ABOUT: &'static str = "Edit a resource on the server";
    const USAGE: &'static str = "edit (RESOURCE/NAME | -f FILENAME)";
    const HELP: &'static str = "Change objects of the cluster in the editor of your choice.

 The editor is what KUBE_EDITOR or EDITOR name, else vi. What you save is sent as a patch; a text that cannot be read or an object that the server finds invalid comes back into the editor with the reasons above it. Saving nothing, or an empty file, changes nothing.";
    const EXAMPLES: &'static str = "# Edit the service named 'registry'
kubectl-mini edit svc/registry

# Use another editor
KUBE_EDITOR=\"nano\" kubectl-mini edit svc/registry

# Edit the deployment 'mydeployment' as JSON
kubectl-mini edit deployment/mydeployment -o json

# Edit the status of the deployment 'mydeployment'
kubectl-mini edit deployment mydeployment --subresource=status";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if !["json", "yaml", ""].contains(&self.output.output.as_deref().unwrap_or_default()) {
            return Err(CommandError::message(format!(
                "unable to match a printer suitable for the output format {}, allowed formats are: json,yaml",
                apimachinery::field::go_quote(self.output.output.as_deref().unwrap_or_default())
            )));
        }
        let validation = self.validate.get()?;
        let selection = Selection {
            files: self.files.clone(),
            arguments: self.arguments.clone(),
            type_means_all: true,
            ..Selection::default()
        };
        let targets = selection.targets(context).await?;
        let (mut items, errors) = items(context, targets, false).await;
        CommandError::gather(errors)?;
        if items.is_empty() {
            return Err(CommandError::message("edit cancelled, no objects found"));
        }
        if !self.subresource.is_empty() {
            for item in &mut items {
                item.object = self.read_subresource(context, item).await?;
            }
        }
        let writer =
            Writer::new(context, &self.field_manager, DryRun::None)?.validating(validation);
        Session { flags: &self, context, writer, items }.run().await
    }
}

impl Edit {
    fn is_json(&self) -> bool {
        self.output.output.as_deref() == Some("json")
    }

    async fn read_subresource(
        &self,
        context: &Context,
        Item { info, object }: &Item,
    ) -> Result<Object, CommandError> {
        let key = object.key();
        let client = context.client()?;
        let api = client.resource(info).namespace(&key.namespace).subresource(&self.subresource);
        let reply = context.request(api.get(&key.name)).await?;
        Ok(reply.object()?)
    }
}

const MANAGED_FIELDS: &[&str] = &["metadata", "managedFields"];

/// What came of one round's patches.
#[derive(Debug, Default)]
struct Round {
    header: Header,
    /// The server found so many objects invalid: once more.
    invalid: usize,
    not_found: usize,
    /// Failed for other reasons, so that the same file may do later.
    failed: usize,
}

struct Session<'a> {
    flags: &'a Edit,
    context: &'a Context,
    writer: Writer<'a>,
    items: Vec<Item>,
}

impl Session<'_> {
    async fn run(&self) -> Result<(), CommandError> {
        let mut header = Header::default();
        // The text of the round before, where that one was refused, and its file.
        let mut refused: Option<(String, editor::Draft)> = None;
        loop {
            let original = self.original();
            let body = match &refused {
                None => original.clone(),
                Some((edited, _)) => text::without_comments(edited),
            };
            let head = if self.flags.is_json() { String::new() } else { header.render() };
            let mut contents = head + &body;
            if self.flags.windows_line_endings {
                contents = contents.replace('\n', "\r\n");
            }
            let extension = if self.flags.is_json() { ".json" } else { ".yaml" };
            let draft = match editor::edit(self.context, &contents, extension).await {
                Ok(draft) => draft,
                Err(error) => return self.keep(refused.map(|(_, draft)| draft), error),
            };
            let edited = draft.text.clone();
            if let Some((before, _)) = &refused
                && text::comparable(before) == text::comparable(&edited)
            {
                let error = CommandError::message("Edit cancelled, no valid changes were saved.");
                return self.keep(Some(draft), error);
            }
            if let Some((_, draft)) = refused.take() {
                draft.remove();
            }
            header = Header::default();
            if self.flags.validate.get()? != FieldValidation::Ignore
                && let Err(why) = text::check(&edited)
            {
                let called = self.first_called();
                header.add(
                    format!("{called} was not valid"),
                    vec![format!(
                        "<nil>: Invalid value: \"The edited file failed validation\": {why}"
                    )],
                );
                self.context.print_err(&format!("error: {called} is invalid\n"))?;
                refused = Some((edited, draft));
                continue;
            }
            if text::comparable(&original) == text::comparable(&edited) {
                draft.remove();
                return self.context.print_err("Edit cancelled, no changes made.\n");
            }
            if !text::has_lines(&edited) {
                draft.remove();
                return self.context.print_err("Edit cancelled, saved file was empty.\n");
            }
            let updated = match self.read(&edited).await {
                Ok(updated) => updated,
                Err(error) => {
                    header.add(format!("The edited file had a syntax error: {error}"), Vec::new());
                    refused = Some((edited, draft));
                    continue;
                }
            };
            let round = match self.send(updated).await {
                Ok(round) => round,
                Err(error) => return self.keep(Some(draft), error),
            };
            if round.failed > 0 {
                self.context.print_err(&format!(
                    "You can run `{PROGRAM} replace -f {}` to try this update again.\n",
                    draft.path.display()
                ))?;
                return Err(CommandError::Exit { text: String::new(), code: 1 });
            }
            if round.not_found > 0 {
                self.context.print_err(&format!(
                    "The edits you made on deleted resources have been saved to {:?}\n",
                    draft.path.display().to_string()
                ))?;
                return Err(CommandError::Exit { text: String::new(), code: 1 });
            }
            if round.invalid == 0 {
                draft.remove();
                return Ok(());
            }
            header = round.header;
            refused = Some((edited, draft));
        }
    }

    /// Leaves the file of an edit that failed, and says so.
    fn keep(&self, draft: Option<editor::Draft>, error: CommandError) -> Result<(), CommandError> {
        if let Some(path) = draft.map(|draft| draft.path).filter(|path| Path::exists(path)) {
            self.context.print_err(&format!(
                "A copy of your changes has been stored to {:?}\n",
                path.display().to_string()
            ))?;
        }
        Err(error)
    }

    /// The first object, by which refusals of the whole text are told.
    fn first_called(&self) -> String {
        let named =
            |item: &Item| format!("{} {:?}", item.info.group_resource(), item.object.name());
        self.items.first().map(named).unwrap_or_default()
    }

    /// An object as the user sees it: who manages which field is told only where it is asked for.
    fn shown(&self, item: &Item) -> Value {
        let mut object = item.object.clone();
        if !self.flags.output.show_managed_fields {
            object.remove(MANAGED_FIELDS);
        }
        Value::Object(object.0)
    }

    fn original(&self) -> String {
        let mut objects: Vec<Value> = self.items.iter().map(|item| self.shown(item)).collect();
        let object = if objects.len() == 1 {
            objects.remove(0)
        } else {
            json!({ "apiVersion": "v1", "items": objects, "kind": "List", "metadata": {} })
        };
        if self.flags.is_json() {
            json::to_string_pretty(&object) + "\n"
        } else {
            yaml::emit(&object)
        }
    }

    /// The objects of an edited text.
    async fn read(&self, edited: &str) -> Result<Vec<files::Manifest>, CommandError> {
        let manifests = files::read_text(self.context, edited, "edited-file").await?;
        manifests.into_iter().collect()
    }

    /// Sends what was changed, object by object.
    async fn send(&self, updated: Vec<files::Manifest>) -> Result<Round, CommandError> {
        let namespace = self.context.namespace()?;
        for manifest in &updated {
            if manifest.info.namespaced && manifest.namespace != namespace {
                return Err(files::wrong_namespace(&manifest.namespace, &namespace));
            }
        }
        let mut round = Round::default();
        for files::Manifest { mut object, info, .. } in updated {
            let Some(before) = self.items.iter().find(|item| item.object.uid() == object.uid())
            else {
                return Err(CommandError::message(format!(
                    "no original object found for &unstructured.Unstructured{{Object:{}}}",
                    crate::printers::go_value::syntax(&Value::Object(object.0))
                )));
            };
            if !self.flags.output.show_managed_fields
                && let Some(fields) = before.object.get(MANAGED_FIELDS)
            {
                object.set(MANAGED_FIELDS, fields.clone());
            }
            if self.flags.save_config {
                annotate_last_applied(&mut object, false);
            }
            let reporter = Reporter::new(&self.flags.output, DryRun::None)?;
            if before.object == object {
                reporter.report(self.context, &object, "skipped")?;
                continue;
            }
            let patch = difference(info, &before.object, &object)?;
            if self.flags.output_patch {
                let (Patch::Strategic(value) | Patch::Merge(value)) = &patch else { continue };
                self.context.print(&format!("Patch: {}\n", json::to_string(value)))?;
            }
            let key = object.key();
            let place = Place {
                subresource: &self.flags.subresource,
                ..Place::new(info, &key.namespace, &key.name)
            };
            match self.writer.patch(place, &patch).await {
                Ok(object) => reporter.report(self.context, &object, "edited")?,
                Err(error) => {
                    let told = round.add(info, &key.name, &error);
                    self.context.print_err(&format!("{told}\n"))?;
                }
            }
        }
        Ok(round)
    }
}

impl Round {
    /// Notes a refusal; gives what is said of it.
    fn add(&mut self, info: &ResourceInfo, name: &str, error: &CommandError) -> String {
        let called = format!("{} {name:?}", info.group_resource());
        let status = error.status();
        if status.is_some_and(Status::is_invalid) {
            self.invalid += 1;
            let causes = status.and_then(|status| status.details.as_ref()).into_iter();
            let causes = causes
                .flat_map(|details| &details.causes)
                .map(|cause| format!("{}: {}", cause.field, cause.message))
                .collect();
            self.header.add(format!("{called} was not valid"), causes);
            return format!("error: {called} is invalid");
        }
        if error.is_not_found() {
            self.not_found += 1;
            return format!("error: {called} could not be found on the server");
        }
        self.failed += 1;
        format!("error: {called} could not be patched: {error}")
    }
}

/// The patch from one state to the other.
fn difference(
    info: &'static ResourceInfo,
    before: &Object,
    after: &Object,
) -> Result<Patch, CommandError> {
    let (original, modified) = (Value::Object(before.0.clone()), Value::Object(after.0.clone()));
    let patch = match schema::for_kind(info) {
        Some(schema) => strategic::create_two_way(&original, &modified, schema)
            .map(Patch::Strategic)
            .map_err(|error| CommandError::message(error.to_string()))?,
        None => Patch::Merge(merge::create_two_way(&original, &modified)),
    };
    let identity = |object: &Object| {
        (object.api_version().to_owned(), object.kind().to_owned(), object.name().to_owned())
    };
    if identity(before) != identity(after) {
        return Err(CommandError::message("At least one of apiVersion, kind and name was changed"));
    }
    Ok(patch)
}
