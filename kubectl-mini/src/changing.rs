//! What the commands that change objects have in common: their flags, their writes, and how they tell what they did.
//!
//! A [`Writer`] sends one command's writes, with dry run, field validation and field manager, and shows the server's
//! warnings. A [`Reporter`] prints the outcome: `deployment.apps/web created`, or the object in the format of `-o`.

use std::time::Duration;

use apimachinery::{json, object::Object, resource::ResourceInfo, status::Status};
use client::{Client, DeleteOptions, FieldValidation, Patch, Reply};
use serde_json::Value;

use crate::{
    context::Context,
    errors::CommandError,
    generate::go_order,
    printers::{Formats, OutputFlags, Printer, without_managed_fields},
};

/// The annotation in which `apply` keeps what it applied.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// `--dry-run`.
#[derive(clap::Args, Clone, Debug)]
pub struct DryRunFlag {
    /// Must be "none", "server", or "client". If client strategy, only print the object that would be sent, without
    /// sending it. If server strategy, submit server-side request without persisting the resource.
    #[arg(long, num_args = 0..=1, default_value = "none", default_missing_value = "unchanged")]
    pub dry_run: String,
}

/// How far a command goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DryRun {
    /// All the way.
    #[default]
    None,
    /// The server does all but store.
    Server,
    /// Nothing is sent.
    Client,
}

impl DryRunFlag {
    /// What the flag says.
    ///
    /// # Errors
    /// kubectl's, for other values.
    pub fn get(&self, context: &Context) -> Result<DryRun, CommandError> {
        match self.dry_run.as_str() {
            "none" | "false" => Ok(DryRun::None),
            "server" => Ok(DryRun::Server),
            "client" => Ok(DryRun::Client),
            "unchanged" | "true" => {
                let flag = if self.dry_run == "true" { "--dry-run=true" } else { "--dry-run" };
                context.print_err(&format!(
                    "warning: {flag} is deprecated and can be replaced with --dry-run=client.\n"
                ))?;
                Ok(DryRun::Client)
            }
            other => Err(CommandError::message(format!(
                "Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."
            ))),
        }
    }
}

impl DryRun {
    /// What follows an operation's name.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Server => " (server dry run)",
            Self::Client => " (dry run)",
        }
    }
}

/// `--validate`.
#[derive(clap::Args, Clone, Debug)]
pub struct ValidateFlag {
    /// Must be one of: strict (or true), warn, ignore (or false). "strict" fails the request if there are unknown or
    /// duplicate fields, "warn" warns about them, "ignore" silently drops them.
    #[arg(long, num_args = 0..=1, default_value = "strict", default_missing_value = "strict")]
    pub validate: String,
}

impl ValidateFlag {
    /// What the flag says.
    ///
    /// # Errors
    /// kubectl's, for other values.
    pub fn get(&self) -> Result<FieldValidation, CommandError> {
        match self.validate.as_str() {
            "strict" | "true" => Ok(FieldValidation::Strict),
            "warn" => Ok(FieldValidation::Warn),
            "ignore" | "false" => Ok(FieldValidation::Ignore),
            other => Err(CommandError::message(format!(
                "invalid - validate option {other:?}; must be one of: strict (or true), warn, ignore (or false)"
            ))),
        }
    }
}

/// One command's writes.
pub struct Writer<'a> {
    context: &'a Context,
    client: Client,
    dry_run: bool,
    validation: Option<FieldValidation>,
}

/// One object's place.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its type.
    pub info: &'static ResourceInfo,
    /// Empty for cluster-scoped types.
    pub namespace: &'a str,
    /// Empty when it is created with a generated name.
    pub name: &'a str,
    /// Empty: the object itself.
    pub subresource: &'a str,
}

impl<'a> Place<'a> {
    /// The place of an object itself.
    #[must_use]
    pub fn new(info: &'static ResourceInfo, namespace: &'a str, name: &'a str) -> Self {
        Self { info, namespace, name, subresource: "" }
    }
}

impl<'a> Writer<'a> {
    /// A writer in the name of `manager`.
    ///
    /// # Errors
    /// When the kubeconfig leads nowhere.
    pub fn new(context: &'a Context, manager: &str, dry_run: DryRun) -> Result<Self, CommandError> {
        let client = context.client()?.with_field_manager(manager);
        Ok(Self { context, client, dry_run: dry_run == DryRun::Server, validation: None })
    }

    /// The same, which also says what becomes of unknown fields.
    #[must_use]
    pub fn validating(mut self, validation: FieldValidation) -> Self {
        self.validation = Some(validation);
        self
    }

    async fn send(
        &self,
        request: impl Future<Output = Result<Reply, Status>>,
    ) -> Result<Reply, CommandError> {
        let reply = self.context.request(request).await?;
        self.context.warn(&reply.warnings)?;
        Ok(reply)
    }

    /// Creates an object, or a subresource of the named one.
    ///
    /// # Errors
    /// The server's.
    pub async fn create(&self, place: Place<'_>, object: &Object) -> Result<Object, CommandError> {
        let owner = if place.subresource.is_empty() { "" } else { place.name };
        Ok(self.send(self.at(place).create(owner, object.to_bytes())).await?.object()?)
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// The server's.
    pub async fn update(&self, place: Place<'_>, object: &Object) -> Result<Object, CommandError> {
        Ok(self.send(self.at(place).update(place.name, object.to_bytes())).await?.object()?)
    }

    /// Changes an object.
    ///
    /// # Errors
    /// The server's.
    pub async fn patch(&self, place: Place<'_>, patch: &Patch) -> Result<Object, CommandError> {
        Ok(self.send(self.at(place).patch(place.name, patch)).await?.object()?)
    }

    /// Deletes an object; gives its last state or a Status.
    ///
    /// # Errors
    /// The server's.
    pub async fn delete(
        &self,
        place: Place<'_>,
        options: &DeleteOptions,
    ) -> Result<Object, CommandError> {
        Ok(self.send(self.at(place).delete(place.name, options)).await?.object()?)
    }

    fn at<'b>(&'b self, place: Place<'b>) -> client::ResourceApi<'b> {
        let api = self.client.resource(place.info).namespace(place.namespace);
        let api = api.subresource(place.subresource).dry_run(self.dry_run);
        match self.validation {
            Some(validation) => api.field_validation(validation),
            None => api,
        }
    }
}

/// How a command tells what it did.
#[derive(Debug)]
pub struct Reporter {
    printer: Option<Printer>,
    typed: bool,
    go_json: bool,
    show_managed_fields: bool,
    dry_run: DryRun,
}

impl Reporter {
    /// Reads `-o` and its company.
    ///
    /// # Errors
    /// When there is no such format.
    pub fn new(output: &OutputFlags, dry_run: DryRun) -> Result<Self, CommandError> {
        Ok(Self {
            printer: output.printer(Formats::Common)?,
            typed: false,
            go_json: false,
            show_managed_fields: output.show_managed_fields,
            dry_run,
        })
    }

    /// The same for a command that kubectl implements on Go structs: JSON comes in their order.
    ///
    /// # Errors
    /// When there is no such format.
    pub fn typed(output: &OutputFlags, dry_run: DryRun) -> Result<Self, CommandError> {
        let go_json = output.format() == ("json".to_owned(), None);
        Ok(Self { typed: true, go_json, ..Self::new(output, dry_run)? })
    }

    /// Whether whole objects are printed, not names.
    #[must_use]
    pub fn prints_objects(&self) -> bool {
        self.printer.as_ref().is_some_and(|printer| !printer.is_name())
    }

    /// Prints the outcome for one object.
    ///
    /// # Errors
    /// When a template does not fit the object, or output cannot be written.
    pub fn report(
        &self,
        context: &Context,
        object: &Object,
        operation: &str,
    ) -> Result<(), CommandError> {
        let text = match &self.printer {
            None => {
                let name = kind_and_name(object);
                let operation =
                    if operation.is_empty() { String::new() } else { format!(" {operation}") };
                format!("{name}{operation}{}\n", self.dry_run.suffix())
            }
            Some(printer) if self.typed => {
                let mut object = object.clone();
                go_order::fill(&mut object);
                if self.go_json {
                    if !self.show_managed_fields {
                        object = Object::from_value(without_managed_fields(object.into_value()))?;
                    }
                    go_order::pretty(&object) + "\n"
                } else {
                    printer.print(&Value::Object(object.0))?
                }
            }
            Some(printer) => printer.print(&Value::Object(object.0.clone()))?,
        };
        context.print(&text)
    }
}

/// `deployment.apps/web`, by what the object says of itself.
#[must_use]
pub fn kind_and_name(object: &Object) -> String {
    let (group, _) = apimachinery::resource::split_api_version(object.api_version());
    let mut kind = object.kind().to_lowercase();
    if !group.is_empty() {
        kind = format!("{kind}.{group}");
    }
    format!("{kind}/{}", object.name())
}

/// `pods/web`: how kubectl calls an object in some of its errors.
#[must_use]
pub fn resource_and_name(info: &ResourceInfo, name: &str) -> String {
    format!("{}/{name}", info.resource)
}

/// Adds the file that an object stands in to an error about it.
#[must_use]
pub fn with_source(error: CommandError, verb: &str, source: &str) -> CommandError {
    if source.is_empty() {
        return error;
    }
    match error {
        CommandError::Api(mut status) if client::wire::transport_failure(&status).is_none() => {
            status.message = format!("error when {verb} {source:?}: {}", status.message);
            CommandError::Api(status)
        }
        CommandError::Message(text) => {
            CommandError::Message(format!("error when {verb} {source:?}: {text}"))
        }
        other => other,
    }
}

/// Writes the manifest into its own annotation, as `apply` and `--save-config` do.
pub fn annotate_last_applied(object: &mut Object, go_struct: bool) {
    let text = last_applied(object, go_struct);
    object.set(&["metadata", "annotations", LAST_APPLIED], text);
}

/// The annotation's text: the manifest without the annotation.
#[must_use]
pub fn last_applied(object: &Object, go_struct: bool) -> String {
    let mut bare = object.clone();
    bare.remove(&["metadata", "annotations", LAST_APPLIED]);
    let empty = bare
        .get(&["metadata", "annotations"])
        .is_none_or(|annotations| annotations.as_object().is_none_or(serde_json::Map::is_empty));
    if go_struct {
        if empty {
            bare.remove(&["metadata", "annotations"]);
        }
        return go_order::compact(&bare) + "\n";
    }
    if empty {
        bare.set(&["metadata", "annotations"], Value::Object(serde_json::Map::new()));
    }
    json::to_string(&Value::Object(bare.0)) + "\n"
}

/// Splits arguments into what names objects and what says `KEY=VALUE` or `KEY-`.
///
/// # Errors
/// When an object is named behind a pair.
pub fn resources_and_pairs(
    arguments: &[String],
    what: &str,
) -> Result<(Vec<String>, Vec<String>), CommandError> {
    let mut resources = Vec::new();
    let mut pairs: Vec<String> = Vec::new();
    for argument in arguments {
        let is_pair = (argument.contains('=') && !argument.starts_with('='))
            || (argument.ends_with('-') && argument != "-");
        if is_pair {
            pairs.push(argument.clone());
        } else if pairs.is_empty() {
            resources.push(argument.clone());
        } else {
            return Err(CommandError::message(format!(
                "all resources must be specified before {what} changes: {argument}"
            )));
        }
    }
    Ok((resources, pairs))
}

/// What `--timeout` of a wait means where zero is for ever: a week.
pub const A_WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
