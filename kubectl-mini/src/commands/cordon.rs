//! `kubectl cordon` and `kubectl uncordon`.

use apimachinery::resource::{NODES, ResourceInfo};
use client::Patch;
use serde_json::json;

use crate::{
    changing::{DryRun, DryRunFlag, Place, Reporter, Writer},
    cli::Command,
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::{Item, Selection, fetch},
};

/// The flags of both.
#[derive(clap::Args, Clone, Debug)]
pub struct Flags {
    /// The nodes.
    pub arguments: Vec<String>,
    /// How far to go.
    #[command(flatten)]
    pub dry_run: DryRunFlag,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.
    #[arg(long, short = 'l', default_value = "")]
    pub selector: String,
}

/// Keeps new pods off nodes.
#[derive(clap::Args, Clone, Debug)]
pub struct Cordon {
    /// All of them.
    #[command(flatten)]
    pub flags: Flags,
}

/// Lets new pods on nodes again.
#[derive(clap::Args, Clone, Debug)]
pub struct Uncordon {
    /// All of them.
    #[command(flatten)]
    pub flags: Flags,
}

impl Command for Cordon {
    const NAME: &'static str = "cordon";
    const ABOUT: &'static str = "Mark node as unschedulable";
    const USAGE: &'static str = "cordon NODE";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        run(&self.flags, context, Self::NAME, true).await
    }
}

impl Command for Uncordon {
    const NAME: &'static str = "uncordon";
    const ABOUT: &'static str = "Mark node as schedulable";
    const USAGE: &'static str = "uncordon NODE";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        run(&self.flags, context, Self::NAME, false).await
    }
}

async fn run(
    flags: &Flags,
    context: &Context,
    command: &str,
    desired: bool,
) -> Result<(), CommandError> {
    check_words(command, &flags.arguments, &flags.selector)?;
    let dry_run = flags.dry_run.get(context)?;
    let nodes = nodes(context, &flags.arguments, &flags.selector, 500).await?;
    set_unschedulable(context, &nodes, dry_run, desired).await
}

/// Refuses words that name no nodes, or name them twice.
///
/// # Errors
/// kubectl's.
pub(super) fn check_words(
    command: &str,
    arguments: &[String],
    selector: &str,
) -> Result<(), CommandError> {
    let usage = |message: &str| Err(CommandError::usage(command, message));
    if arguments.is_empty() && selector.is_empty() {
        return usage(&format!("USAGE: {command} NODE [flags]"));
    }
    if !arguments.is_empty() && !selector.is_empty() {
        return usage("cannot specify both a node name and a --selector option");
    }
    Ok(())
}

/// The nodes that are named or selected, for `cordon`, `uncordon` and `drain`.
///
/// # Errors
/// The server's, or kubectl's when something else than nodes is named.
pub(super) async fn nodes(
    context: &Context,
    arguments: &[String],
    selector: &str,
    chunk_size: i64,
) -> Result<Vec<Item>, CommandError> {
    let arguments = if arguments.is_empty() {
        vec!["nodes".to_owned()]
    } else {
        let typed = |name: &String| {
            if name.contains('/') { name.clone() } else { format!("nodes/{name}") }
        };
        arguments.iter().map(typed).collect()
    };
    let selection = Selection {
        arguments,
        labels: Some(selector.to_owned()).filter(|selector| !selector.is_empty()),
        single_type: true,
        ..Selection::default()
    };
    let targets = selection.targets(context).await?;
    let mut nodes = Vec::new();
    for target in &targets.targets {
        let found = fetch(context, target, chunk_size).await?;
        if let Some(other) = found.iter().find(|item| item.info != &NODES) {
            let ResourceInfo { group, version, resource, .. } = other.info;
            return Err(CommandError::message(format!(
                "error: expected resource of type node, got \"{group}/{version}, Resource={resource}\""
            )));
        }
        nodes.extend(found);
    }
    CommandError::gather(targets.errors)?;
    Ok(nodes)
}

/// Keeps new pods off the nodes, or lets them on again, and tells of each.
///
/// # Errors
/// When output cannot be written: a node that cannot be changed is only told.
pub(super) async fn set_unschedulable(
    context: &Context,
    nodes: &[Item],
    dry_run: DryRun,
    desired: bool,
) -> Result<(), CommandError> {
    let command = if desired { Cordon::NAME } else { Uncordon::NAME };
    let reporter = Reporter::new(&OutputFlags::default(), dry_run)?;
    let writer = Writer::new(context, "kubectl", dry_run)?;
    for Item { info, object } in nodes {
        let is = object.get_bool(&["spec", "unschedulable"]).unwrap_or_default();
        if is == desired {
            reporter.report(context, object, &format!("already {command}ed"))?;
            continue;
        }
        if dry_run != DryRun::Client {
            let value = if desired { json!(true) } else { json!(null) };
            let patch = Patch::Strategic(json!({"spec": {"unschedulable": value}}));
            let place = Place::new(info, "", object.name());
            if let Err(error) = writer.patch(place, &patch).await {
                let name = object.name();
                context
                    .print_err(&format!("error: unable to {command} node {name:?}: {error}\n"))?;
                continue;
            }
        }
        reporter.report(context, object, &format!("{command}ed"))?;
    }
    Ok(())
}
