//! `kubectl delete`.

use apimachinery::{object::Object, resource::ResourceInfo};
use client::{DeleteOptions, Propagation};

use crate::{
    changing::{A_WEEK, DryRun, DryRunFlag, Place, Writer, resource_and_name, with_source},
    cli::{
        Command,
        values::{Signed, parse_duration, parse_i64},
    },
    context::Context,
    errors::CommandError,
    resources::{FileFlags, Selection, Target, Targets, fetch},
    waiting::{Seen, Waited, until},
};

/// Deletes objects.
#[derive(clap::Args, Clone, Debug)]
pub struct Delete {
    /// The types, and names.
    pub arguments: Vec<String>,
    /// Which files.
    #[command(flatten)]
    pub files: FileFlags,
    /// How far to go.
    #[command(flatten)]
    pub dry_run: DryRunFlag,
    /// Delete all resources, in the namespace of the specified resource types.
    #[arg(long)]
    pub all: bool,
    /// If present, list the requested object(s) across all namespaces.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Must be "background", "orphan", or "foreground". Selects the deletion cascading strategy for the dependents (e.g.
    /// Pods created by a ReplicaSet). Defaults to background.
    #[arg(long, num_args = 0..=1, default_value = "background", default_missing_value = "background")]
    pub cascade: String,
    /// Selector (field query) to filter on, supports '=', '==', and '!='.
    #[arg(long)]
    pub field_selector: Option<String>,
    /// If true, immediately remove resources from API and bypass graceful deletion. Note that immediate deletion of some
    /// resources may result in inconsistency or data loss and requires confirmation.
    #[arg(long)]
    pub force: bool,
    /// Period of time in seconds given to the resource to terminate gracefully. Ignored if negative. Set to 1 for
    /// immediate shutdown. Can only be set to 0 when --force is true (force deletion).
    #[arg(long, default_value = "-1", value_parser = parse_i64)]
    pub grace_period: i64,
    /// Treat "resource not found" as a successful delete. Defaults to "true" when --all is specified.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub ignore_not_found: Option<bool>,
    /// If true, resources are signaled for immediate shutdown (same as --grace-period=1).
    #[arg(long)]
    pub now: bool,
    /// Output mode. Use "-o name" for shorter output (resource/name).
    #[arg(long, short, default_value = "")]
    pub output: String,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
    /// The length of time to wait before giving up on a delete, zero means determine a timeout from the size of the
    /// object
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub timeout: Signed,
    /// If true, wait for resources to be gone before returning. This waits for finalizers.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true)]
    pub wait: bool,
}

/// What is settled before the first deletion.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How far to go.
    pub dry_run: DryRun,
    /// Negative: the object's own.
    pub grace_period: i64,
    /// What becomes of dependents.
    pub propagation: Propagation,
    /// Whether an absent object is as good as deleted.
    pub ignore_not_found: bool,
    /// Names only.
    pub short: bool,
    /// Nothing is told.
    pub quiet: bool,
    /// Whether to wait until the objects are gone, and how long.
    pub wait: Option<Signed>,
    /// Whether to warn when cluster-scoped objects go though a namespace was named.
    pub warn_cluster_scope: bool,
}

impl Command for Delete {
    const NAME: &'static str = "delete";
    const ABOUT: &'static str = "Delete resources by file names, stdin, resources and names, or by resources and label selector";
    const USAGE: &'static str = "delete ([-f FILENAME] | TYPE [(NAME | -l label | --all)])";
    const EXAMPLES: &'static str = "# Delete a pod using the type and name specified in pod.json
kubectl-mini delete -f ./pod.json

# Delete pods and services with same names \"baz\" and \"foo\"
kubectl-mini delete pod,service baz foo

# Delete pods and services with label name=myLabel
kubectl-mini delete pods,services -l name=myLabel

# Delete a pod with minimal delay
kubectl-mini delete pod foo --now

# Force delete a pod on a dead node
kubectl-mini delete pod foo --force

# Delete all pods
kubectl-mini delete pods --all";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let propagation = propagation(&self.cascade)?;
        let grace_period = grace_period(self.grace_period, self.now, self.force)?;
        let selected = self.all
            || is_given(self.selector.as_deref())
            || is_given(self.field_selector.as_deref());
        let dry_run = self.dry_run.get(context)?;
        let selection = Selection {
            files: self.files.clone(),
            arguments: self.arguments.clone(),
            labels: self.selector.clone(),
            fields: self.field_selector.clone(),
            all: self.all,
            all_namespaces: self.all_namespaces,
            ..Selection::default()
        };
        let targets = selection.targets(context).await?;
        if !self.output.is_empty() && self.output != "name" {
            return Err(CommandError::message(format!(
                "unexpected -o output mode: {}. We only support '-o name'",
                self.output
            )));
        }
        if self.force && grace_period > 0 {
            return Err(CommandError::message(
                "--force and --grace-period greater than 0 cannot be specified together",
            ));
        }
        if self.force {
            context.print_err("Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.\n")?;
        }
        let plan = Plan {
            dry_run,
            grace_period,
            propagation,
            ignore_not_found: self.ignore_not_found.unwrap_or(selected),
            short: self.output == "name",
            quiet: false,
            wait: self.wait.then_some(self.timeout),
            warn_cluster_scope: context.namespace_is_enforced() && !self.all_namespaces,
        };
        plan.delete(context, targets).await
    }
}

fn is_given(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

/// Reads `--cascade`.
///
/// # Errors
/// kubectl's, for other values.
pub fn propagation(cascade: &str) -> Result<Propagation, CommandError> {
    match cascade {
        "background" | "true" => Ok(Propagation::Background),
        "foreground" => Ok(Propagation::Foreground),
        "orphan" | "false" => Ok(Propagation::Orphan),
        other => Err(CommandError::message(format!(
            "invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""
        ))),
    }
}

fn grace_period(period: i64, now: bool, force: bool) -> Result<i64, CommandError> {
    if now && period != -1 {
        return Err(CommandError::message("--now and --grace-period cannot be specified together"));
    }
    Ok(match period {
        _ if now => 1,
        // Zero would be a forced deletion, which has to be asked for.
        0 if !force => 1,
        period if force && period < 0 => 0,
        period => period,
    })
}

/// An object whose deletion was accepted.
struct Deleted {
    info: &'static ResourceInfo,
    namespace: String,
    name: String,
    uid: String,
}

impl Plan {
    /// Deletes what the targets stand for, tells of it, and waits until it is gone.
    ///
    /// # Errors
    /// The server's; all objects are tried first.
    pub async fn delete(&self, context: &Context, targets: Targets) -> Result<(), CommandError> {
        let writer = Writer::new(context, "kubectl", self.dry_run)?;
        let mut errors = targets.errors;
        let mut deleted = Vec::new();
        let mut found = 0;
        let mut warn = self.warn_cluster_scope;
        for target in targets.targets {
            let objects = match self.named(context, target).await {
                Ok(objects) => objects,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            for (info, namespace, name, source) in objects {
                found += 1;
                if warn && !info.namespaced {
                    context.print_err("Warning: deleting cluster-scoped resources, not scoped to the provided namespace\n")?;
                    warn = false;
                }
                let place = Place::new(info, &namespace, &name);
                match self.delete_one(context, &writer, place, &source).await {
                    Ok(uid) => deleted.push(Deleted { info, namespace, name, uid }),
                    Err(error) if self.ignore_not_found && error.is_not_found() => {}
                    Err(error) => errors.push(error),
                }
            }
        }
        CommandError::gather(errors)?;
        if found == 0 && !self.quiet {
            return context.print("No resources found\n");
        }
        match self.wait {
            Some(timeout) if self.dry_run == DryRun::None => {
                wait_until_gone(context, &deleted, timeout).await
            }
            _ => Ok(()),
        }
    }

    /// Type, namespace, name and file of what a target stands for.
    async fn named(
        &self,
        context: &Context,
        target: Target,
    ) -> Result<Vec<(&'static ResourceInfo, String, String, String)>, CommandError> {
        if let Target::Named { info, namespace, name, manifest } = target {
            let source = manifest.map(|(_, source)| source).unwrap_or_default();
            return Ok(vec![(info, namespace, name, source)]);
        }
        let items = fetch(context, &target, 500).await?;
        Ok(items
            .into_iter()
            .map(|item| {
                let key = item.object.key();
                (item.info, key.namespace, key.name, String::new())
            })
            .collect())
    }

    /// Deletes one object; gives its uid.
    async fn delete_one(
        &self,
        context: &Context,
        writer: &Writer<'_>,
        place: Place<'_>,
        source: &str,
    ) -> Result<String, CommandError> {
        let mut uid = String::new();
        if self.dry_run != DryRun::Client {
            let options = DeleteOptions {
                grace_period_seconds: (self.grace_period >= 0).then_some(self.grace_period),
                propagation: Some(self.propagation),
                ..DeleteOptions::default()
            };
            let reply = writer
                .delete(place, &options)
                .await
                .map_err(|error| with_source(error, "deleting", source))?;
            uid = uid_of(&reply);
        }
        if !self.quiet {
            self.tell(context, place)?;
        }
        Ok(uid)
    }

    fn tell(&self, context: &Context, place: Place<'_>) -> Result<(), CommandError> {
        let kind = place.info.group_kind().to_lowercase();
        let name = place.name;
        if self.short {
            return context.print(&format!("{kind}/{name}\n"));
        }
        let operation = if self.grace_period == 0 { "force deleted" } else { "deleted" };
        context.print(&format!("{kind} \"{name}\" {operation}{}\n", self.dry_run.suffix()))
    }
}

/// The answer to a deletion is the object, or a Status about it.
fn uid_of(reply: &Object) -> String {
    let path: &[&str] =
        if reply.kind() == "Status" { &["details", "uid"] } else { &["metadata", "uid"] };
    reply.get_str(path).to_owned()
}

async fn wait_until_gone(
    context: &Context,
    deleted: &[Deleted],
    timeout: Signed,
) -> Result<(), CommandError> {
    let timeout = if timeout.is_positive() { timeout.magnitude } else { A_WEEK };
    let start = context.clock.monotonic();
    let mut errors = Vec::new();
    for Deleted { info, namespace, name, uid } in deleted {
        let left = timeout.saturating_sub(context.clock.monotonic().saturating_sub(start));
        let waited = until(context, info, namespace, name, Some(left), |seen| {
            Ok(match seen {
                Seen::Present(object) => !uid.is_empty() && object.uid() != uid,
                Seen::Absent | Seen::Deleted(_) => true,
            })
        })
        .await;
        match waited {
            Ok(Waited::Done) => {}
            // Whoever may delete but not look need not wait.
            Err(error)
                if error.status().is_some_and(|status| {
                    status.is_forbidden() || status.is_method_not_allowed()
                }) => {}
            Ok(Waited::TimedOut) => errors.push(CommandError::message(format!(
                "timed out waiting for the condition on {}",
                resource_and_name(info, name)
            ))),
            Err(error) => errors.push(error),
        }
    }
    CommandError::gather(errors)
}
