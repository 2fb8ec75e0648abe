//! `kubectl cordon` and `kubectl uncordon`.

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
    let usage = |message: &str| Err(CommandError::usage(command, message));
    if flags.arguments.is_empty() && flags.selector.is_empty() {
        return usage(&format!("USAGE: {command} NODE [flags]"));
    }
    if !flags.arguments.is_empty() && !flags.selector.is_empty() {
        return usage("cannot specify both a node name and a --selector option");
    }
    let dry_run = flags.dry_run.get(context)?;
    let output = OutputFlags {
        output: None,
        template: None,
        allow_missing_template_keys: true,
        show_managed_fields: false,
    };
    let reporter = Reporter::new(&output, dry_run)?;
    let arguments = if flags.arguments.is_empty() {
        vec!["nodes".to_owned()]
    } else {
        flags
            .arguments
            .iter()
            .map(|name| if name.contains('/') { name.clone() } else { format!("nodes/{name}") })
            .collect()
    };
    let selection = Selection {
        arguments,
        labels: Some(flags.selector.clone()).filter(|selector| !selector.is_empty()),
        ..Selection::default()
    };
    let targets = selection.targets(context).await?;
    let mut items = Vec::new();
    for target in &targets.targets {
        items.extend(fetch(context, target, 500).await?);
    }
    let writer = Writer::new(context, "kubectl", dry_run)?;
    let past = format!("{command}ed");
    for Item { info, object } in items {
        if info.kind != "Node" {
            reporter.report(context, &object, "skipped")?;
            continue;
        }
        let is = object.get_bool(&["spec", "unschedulable"]).unwrap_or_default();
        if is == desired {
            reporter.report(context, &object, &format!("already {past}"))?;
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
        reporter.report(context, &object, &past)?;
    }
    CommandError::gather(targets.errors)
}
