//! What the subcommands of `create` have in common.

use apimachinery::{object::Object, resource::ResourceInfo};
use client::wire::transport_failure;
use component_base::transport::Failure;

use crate::{
    changing::{DryRun, DryRunFlag, Place, Reporter, ValidateFlag, Writer, annotate_last_applied},
    context::Context,
    errors::CommandError,
    generate::{GenerateError, Generated},
    printers::OutputFlags,
};

impl From<GenerateError> for CommandError {
    fn from(error: GenerateError) -> Self {
        Self::Message(error.0)
    }
}

/// The flags that every subcommand has.
#[derive(clap::Args, Clone, Debug)]
pub struct CreateFlags {
    /// How far to go.
    #[command(flatten)]
    pub dry_run: DryRunFlag,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// What becomes of unknown fields.
    #[command(flatten)]
    pub validate: ValidateFlag,
    /// Name of the manager used to track field ownership.
    #[arg(long, default_value = "kubectl-create")]
    pub field_manager: String,
    /// If true, the configuration of current object will be saved in its annotation. Otherwise, the annotation will be
    /// unchanged. This flag is useful when you want to perform apply on this object in the future.
    #[arg(long)]
    pub save_config: bool,
}

/// The one argument.
///
/// # Errors
/// kubectl's, when there is none or more than one.
pub fn one_name<'a>(command: &str, arguments: &'a [String]) -> Result<&'a str, CommandError> {
    match arguments {
        [name] => Ok(name),
        _ => {
            let message = format!("exactly one NAME is required, got {}", arguments.len());
            Err(CommandError::usage(command, message))
        }
    }
}

/// Flags that have no default.
///
/// # Errors
/// kubectl's, which names all that are missing.
pub fn required(flags: &[(&str, bool)]) -> Result<(), CommandError> {
    let missing: Vec<String> =
        flags.iter().filter(|(_, given)| !given).map(|(name, _)| format!("{name:?}")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(CommandError::message(format!("required flag(s) {} not set", missing.join(", "))))
}

/// Sends a generated object, unless it is a dry run, and tells of it.
///
/// `prefix` is what the server's errors are told behind; without it they are told as the server's.
///
/// # Errors
/// The generator's or the server's.
pub async fn create(
    context: &Context,
    flags: &CreateFlags,
    info: &'static ResourceInfo,
    generated: Generated,
    prefix: Option<&str>,
) -> Result<(), CommandError> {
    let dry_run = flags.dry_run.get(context)?;
    let reporter = Reporter::typed(&flags.output, dry_run)?;
    let validation = flags.validate.get()?;
    let mut object: Object = generated?;
    let namespace = if info.namespaced { context.namespace()? } else { String::new() };
    if info.namespaced && context.namespace_is_enforced() {
        object.set(&["metadata", "namespace"], namespace.as_str());
    }
    if flags.save_config {
        annotate_last_applied(&mut object, true);
    }
    if dry_run != DryRun::Client {
        let writer = Writer::new(context, &flags.field_manager, dry_run)?.validating(validation);
        let place = Place::new(info, &namespace, object.name());
        object = writer.create(place, &object).await.map_err(|error| match prefix {
            Some(prefix) => prefixed(context, flags, place, error, prefix),
            None => error,
        })?;
    }
    reporter.report(context, &object, "created")
}

/// kubectl's typed commands tell even of a missing server in their own words.
fn prefixed(
    context: &Context,
    flags: &CreateFlags,
    place: Place<'_>,
    error: CommandError,
    prefix: &str,
) -> CommandError {
    let CommandError::Api(status) = &error else { return error };
    match transport_failure(status) {
        None => CommandError::message(format!("{prefix} {}", status.message)),
        Some((Failure::Refused, _)) => {
            let Ok(resolved) = context.resolved() else { return error };
            let server = resolved.server.trim_end_matches('/');
            let host = server.split_once("://").map_or(server, |(_, host)| host);
            let Place { info, namespace, .. } = place;
            let root = if info.group.is_empty() { "api" } else { "apis" };
            let namespace = match namespace {
                "" => String::new(),
                namespace => format!("namespaces/{namespace}/"),
            };
            CommandError::message(format!(
                "{prefix} Post \"{server}/{root}/{}/{namespace}{}?fieldManager={}&fieldValidation=Strict\": dial tcp {host}: connect: connection refused",
                info.api_version(),
                info.resource,
                flags.field_manager,
            ))
        }
        Some(_) => error,
    }
}
