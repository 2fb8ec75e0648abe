//! `kubectl apply`: by the client, or by the server ([`server_side`]).
//!
//! The manifest is kept in an annotation of the object. From the last manifest, the new one and the live object comes
//! a three-way patch: strategic where the kind has a schema, else a merge patch ([`apimachinery::patch`]).

pub(crate) mod server_side;

use apimachinery::{
    json,
    object::Object,
    patch::{merge, strategic},
    resource::ResourceInfo,
    schema,
};
use client::{DeleteOptions, FieldValidation, Patch, Propagation};
use serde_json::Value;

use self::server_side::ServerSide;
use crate::{
    changing::{
        A_WEEK, DryRun, DryRunFlag, LAST_APPLIED, Place, Reporter, ValidateFlag, Writer,
        annotate_last_applied, resource_and_name, with_source,
    },
    cli::Command,
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::{FileFlags, Selection, Target},
    waiting::{Seen, until},
};

/// Applies configurations.
#[derive(clap::Args, Clone, Debug)]
pub struct Apply {
    /// None.
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
    /// What becomes of unknown fields.
    #[command(flatten)]
    pub validate: ValidateFlag,
    /// Name of the manager used to track field ownership (default kubectl-client-side-apply, with --server-side kubectl).
    #[arg(long)]
    pub field_manager: Option<String>,
    /// If true, delete and re-create objects that cannot be changed.
    #[arg(long)]
    pub force: bool,
    /// If true, server-side apply will force the changes against conflicts.
    #[arg(long)]
    pub force_conflicts: bool,
    /// Refused: pruning is not supported.
    #[arg(long)]
    pub prune: bool,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
    /// If true, apply runs in the server instead of the client.
    #[arg(long)]
    pub server_side: bool,
}

/// How often a patch that lost a race is made anew.
const TRIES: usize = 6;

impl Command for Apply {
    const NAME: &'static str = "apply";
    const ABOUT: &'static str = "Apply a configuration to a resource by file name or stdin";
    const USAGE: &'static str = "apply -f FILENAME";
    const HELP: &'static str = "Apply a configuration to a resource by file name or stdin. The resource name must be specified. This resource will be created if it doesn't exist yet. To use 'apply', always create the resource initially with either 'apply' or 'create --save-config'.

 JSON and YAML formats are accepted.";
    const EXAMPLES: &'static str = "# Apply the configuration in pod.json to a pod
kubectl-mini apply -f ./pod.json

# Apply the JSON passed into stdin to a pod
cat pod.json | kubectl-mini apply -f -";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if !self.arguments.is_empty() {
            let message = format!("Unexpected args: [{}]", self.arguments.join(" "));
            return Err(CommandError::usage(Self::NAME, message));
        }
        let dry_run = self.dry_run.get(context)?;
        self.check(dry_run)?;
        let reporter = Reporter::new(&self.output, dry_run)?;
        let validation = self.validate.get()?;
        let selection = Selection {
            files: self.files.clone(),
            labels: self.selector.clone(),
            validated: validation != FieldValidation::Ignore,
            ..Selection::default()
        };
        let targets = selection.targets(context).await?;
        let mut errors = targets.errors;
        if targets.targets.is_empty() && errors.is_empty() {
            return Err(CommandError::message("no objects passed to apply"));
        }
        let writer = Writer::new(context, self.manager(), dry_run)?.validating(validation);
        let work = Work { context, writer, dry_run, apply: &self };
        let mut applied = Vec::new();
        for target in targets.targets {
            match work.apply(target).await {
                Ok((object, operation)) => {
                    if reporter.prints_objects() {
                        applied.push(object);
                    } else {
                        // kubectl makes a printer for each operation.
                        let reporter = Reporter::new(&self.output, dry_run)?;
                        reporter.report(context, &object, operation)?;
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        CommandError::gather(errors)?;
        self.print_objects(context, dry_run, &reporter, applied)
    }
}

impl Apply {
    /// Under which name fields are owned.
    fn manager(&self) -> &str {
        let default =
            if self.server_side { server_side::MANAGER } else { "kubectl-client-side-apply" };
        self.field_manager.as_deref().unwrap_or(default)
    }

    fn check(&self, dry_run: DryRun) -> Result<(), CommandError> {
        let refuse = |text: &str| Err(CommandError::message(text));
        if self.force_conflicts && !self.server_side {
            return refuse("--force-conflicts only works with --server-side");
        }
        if dry_run == DryRun::Client && self.server_side {
            return refuse(
                "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
            );
        }
        if self.force && self.server_side {
            return refuse("--force cannot be used with --server-side");
        }
        if self.force && dry_run == DryRun::Server {
            return refuse("--dry-run=server cannot be used with --force");
        }
        if self.prune {
            return Err(CommandError::message("pruning (--prune) is not supported"));
        }
        if self.files.is_empty() {
            return Err(CommandError::message("must specify one of -f and -k"));
        }
        Ok(())
    }

    fn print_objects(
        &self,
        context: &Context,
        dry_run: DryRun,
        reporter: &Reporter,
        mut applied: Vec<Object>,
    ) -> Result<(), CommandError> {
        match applied.len() {
            0 => Ok(()),
            1 => reporter.report(context, &applied.remove(0), ""),
            _ => {
                let items: Vec<Value> = applied.into_iter().map(Value::from).collect();
                let mut list = Object::default();
                list.set(&["apiVersion"], "v1");
                list.set(&["kind"], "List");
                list.set(&["metadata"], Value::Object(serde_json::Map::new()));
                list.set(&["items"], items);
                // The list is a Go struct of kubectl's own, its items are not.
                Reporter::typed(&self.output, dry_run)?.report(context, &list, "")
            }
        }
    }
}

struct Work<'a> {
    context: &'a Context,
    writer: Writer<'a>,
    dry_run: DryRun,
    apply: &'a Apply,
}

impl Work<'_> {
    /// Applies one manifest; gives the object as it is now, and what was done to it.
    async fn apply(&self, target: Target) -> Result<(Object, &'static str), CommandError> {
        let Target::Named { info, namespace, name, manifest: Some((mut manifest, source)) } =
            target
        else {
            return Err(CommandError::message("no objects passed to apply"));
        };
        if name.is_empty() && !manifest.generate_name().is_empty() {
            return Err(CommandError::message(format!(
                "from {}: cannot use generate name with apply",
                manifest.generate_name()
            )));
        }
        let place = Place::new(info, &namespace, &name);
        if self.apply.server_side {
            let by_server = ServerSide {
                context: self.context,
                writer: &self.writer,
                manager: self.apply.manager(),
                dry_run: self.dry_run,
                force: self.apply.force_conflicts,
            };
            return Ok((by_server.apply(place, manifest).await?, "serverside-applied"));
        }
        annotate_last_applied(&mut manifest, false);
        let client = self.context.client()?;
        let live = self.context.request(client.get_object(info, &namespace, &name)).await;
        let live = match live {
            Ok(live) => live,
            Err(error) if error.is_not_found() => {
                if self.dry_run != DryRun::Client {
                    manifest = self
                        .writer
                        .create(place, &manifest)
                        .await
                        .map_err(|error| with_source(error, "creating", &source))?;
                }
                return Ok((manifest, "created"));
            }
            Err(error) => {
                let verb = format!(
                    "retrieving current configuration of:\n{}\nfrom server for:",
                    describe(info, &namespace, &name)
                );
                return Err(with_source(error, &verb, &source));
            }
        };
        if self.dry_run == DryRun::Client {
            return Ok((live, "configured"));
        }
        if live.annotation(LAST_APPLIED).is_none() {
            self.context.print_err(&format!(
                "Warning: resource {} is missing the {LAST_APPLIED} annotation which is required by {program} apply. {program} apply should only be used on resources created declaratively by either {program} create --save-config or {program} apply. The missing annotation will be patched automatically.\n",
                resource_and_name(info, &name),
                program = crate::PROGRAM,
            ))?;
        }
        self.change(place, &source, live, manifest).await
    }

    async fn change(
        &self,
        place: Place<'_>,
        source: &str,
        mut live: Object,
        manifest: Object,
    ) -> Result<(Object, &'static str), CommandError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let patch = three_way(place.info, &live, &manifest)
                .map_err(|error| with_source(error, "creating patch for", source))?;
            let (Patch::Strategic(value) | Patch::Merge(value)) = &patch else {
                return Ok((live, "unchanged"));
            };
            let object = if value.as_object().is_some_and(serde_json::Map::is_empty) {
                None
            } else {
                match self.writer.patch(place, &patch).await {
                    Ok(object) => Some(object),
                    Err(error) => {
                        let lost =
                            error.status().is_some_and(apimachinery::status::Status::is_conflict);
                        let invalid =
                            error.status().is_some_and(apimachinery::status::Status::is_invalid);
                        if lost && tries < TRIES {
                            let client = self.context.client()?;
                            let get = client.get_object(place.info, place.namespace, place.name);
                            live = self.context.request(get).await?;
                            continue;
                        }
                        if self.apply.force && (lost || invalid) {
                            Some(self.recreate(place, &manifest).await?)
                        } else {
                            let error = with_source(error, "patching", source);
                            let verb = format!(
                                "applying patch:\n{}\nto:\n{}\nfor:",
                                json::to_string(value),
                                describe(place.info, place.namespace, place.name)
                            );
                            return Err(with_source(error, &verb, source));
                        }
                    }
                }
            };
            let operation = if object.is_some() { "configured" } else { "unchanged" };
            let object = object.unwrap_or(live);
            if object.deletion_timestamp().is_some() {
                self.context.print_err(&format!(
                    "Warning: Detected changes to resource {} which is currently being deleted.\n",
                    object.name()
                ))?;
            }
            return Ok((object, operation));
        }
    }

    /// `--force`: deletes what cannot be changed, and creates it anew.
    async fn recreate(&self, place: Place<'_>, manifest: &Object) -> Result<Object, CommandError> {
        let options = DeleteOptions {
            propagation: Some(Propagation::Background),
            ..DeleteOptions::default()
        };
        self.writer.delete(place, &options).await?;
        if self.dry_run == DryRun::None {
            let gone = |seen: Seen<'_>| Ok(!matches!(seen, Seen::Present(_)));
            until(self.context, place.info, place.namespace, place.name, Some(A_WEEK), gone)
                .await?;
        }
        self.writer.create(place, manifest).await
    }
}

/// Go's description of an object among the resource builder's.
fn describe(info: &ResourceInfo, namespace: &str, name: &str) -> String {
    let version = info.api_version();
    format!(
        "Resource: \"{version}, Resource={}\", GroupVersionKind: \"{version}, Kind={}\"\nName: {name:?}, Namespace: {namespace:?}",
        info.resource, info.kind
    )
}

/// The patch that makes the live object what the manifest says.
pub(super) fn three_way(
    info: &ResourceInfo,
    live: &Object,
    manifest: &Object,
) -> Result<Patch, CommandError> {
    let original = match live.annotation(LAST_APPLIED) {
        None => Value::Null,
        Some(text) => serde_json::from_str(text).map_err(|error| {
            CommandError::message(format!("retrieving original configuration: {error}"))
        })?,
    };
    let modified = Value::Object(manifest.0.clone());
    let current = Value::Object(live.0.clone());
    match schema::for_kind(info) {
        Some(schema) => strategic::create_three_way(&original, &modified, &current, schema)
            .map(Patch::Strategic)
            .map_err(|error| CommandError::message(error.to_string())),
        None => Ok(Patch::Merge(merge::create_three_way(&original, &modified, &current))),
    }
}
