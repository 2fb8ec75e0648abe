//! `kubectl replace`.

use apimachinery::object::Object;
use client::{FieldValidation, Propagation};

use super::delete::{Plan, propagation};
use crate::{
    changing::{
        DryRun, DryRunFlag, LAST_APPLIED, Place, Reporter, ValidateFlag, Writer,
        annotate_last_applied, with_source,
    },
    cli::{
        Command,
        values::{Signed, parse_duration, parse_i64},
    },
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::{FileFlags, Selection, Target, Targets},
};

/// Replaces objects by what files say.
#[derive(clap::Args, Clone, Debug)]
pub struct Replace {
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
    /// Must be "background", "orphan", or "foreground".
    #[arg(long, num_args = 0..=1, default_value = "background", default_missing_value = "background")]
    pub cascade: String,
    /// Name of the manager used to track field ownership.
    #[arg(long, default_value = "kubectl-replace")]
    pub field_manager: String,
    /// If true, delete the objects and create them anew.
    #[arg(long)]
    pub force: bool,
    /// Period of time in seconds given to the resource to terminate gracefully. Ignored if negative.
    #[arg(long, default_value = "-1", value_parser = parse_i64)]
    pub grace_period: i64,
    /// If true, the configuration of current object will be saved in its annotation.
    #[arg(long)]
    pub save_config: bool,
    /// If specified, replace will operate on the subresource of the requested object.
    #[arg(long, default_value = "")]
    pub subresource: String,
    /// The length of time to wait before giving up on a delete
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub timeout: Signed,
}

impl Command for Replace {
    const NAME: &'static str = "replace";
    const ABOUT: &'static str = "Replace a resource by file name or stdin";
    const USAGE: &'static str = "replace -f FILENAME";
    const EXAMPLES: &'static str = "# Replace a pod using the data in pod.json
kubectl-mini replace -f ./pod.json

# Force replace, delete and then re-create the resource
kubectl-mini replace --force -f ./pod.json";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let validation = self.validate.get()?;
        let dry_run = self.dry_run.get(context)?;
        let reporter = Reporter::new(&self.output, dry_run)?;
        let propagation = propagation(&self.cascade)?;
        if self.files.is_empty() {
            return Err(CommandError::message("must specify one of -f and -k"));
        }
        if self.grace_period >= 0 && !self.force {
            return Err(CommandError::message("--grace-period must have --force specified"));
        }
        if self.timeout != Signed::default() && !self.force {
            return Err(CommandError::message("--timeout must have --force specified"));
        }
        if !self.subresource.is_empty() && !["status", "scale"].contains(&self.subresource.as_str())
        {
            return Err(CommandError::message(format!(
                "invalid subresource value: {:?}. Must be one of [status scale]",
                self.subresource
            )));
        }
        let selection = Selection {
            files: self.files.clone(),
            arguments: self.arguments.clone(),
            validated: validation != FieldValidation::Ignore,
            ..Selection::default()
        };
        let targets = selection.targets(context).await?;
        if self.force {
            self.delete(context, &targets, propagation).await?;
        }
        let writer = Writer::new(context, &self.field_manager, dry_run)?.validating(validation);
        let mut errors = targets.errors;
        let mut count = 0;
        for target in targets.targets {
            match self.replace(&writer, dry_run, target).await {
                Ok(object) => {
                    count += 1;
                    reporter.report(context, &object, "replaced")?;
                }
                Err(error) => errors.push(error),
            }
        }
        if self.force && count == 0 && errors.is_empty() {
            return Err(CommandError::message("no objects passed to replace"));
        }
        CommandError::gather(errors)
    }
}

impl Replace {
    /// `--force`: the objects go first.
    async fn delete(
        &self,
        context: &Context,
        targets: &Targets,
        propagation: Propagation,
    ) -> Result<(), CommandError> {
        let plan = Plan {
            dry_run: DryRun::None,
            grace_period: if self.grace_period == 0 { 1 } else { self.grace_period },
            propagation,
            ignore_not_found: true,
            short: self.output.output.as_deref() == Some("name"),
            quiet: false,
            wait: Some(self.timeout),
            warn_cluster_scope: false,
        };
        let targets = Targets {
            targets: targets.targets.clone(),
            errors: Vec::new(),
            single: targets.single,
        };
        plan.delete(context, targets).await
    }

    async fn replace(
        &self,
        writer: &Writer<'_>,
        dry_run: DryRun,
        target: Target,
    ) -> Result<Object, CommandError> {
        let Target::Named { info, namespace, name, manifest: Some((mut object, source)) } = target
        else {
            return Err(CommandError::message("no objects passed to replace"));
        };
        if self.save_config || object.annotation(LAST_APPLIED).is_some() {
            annotate_last_applied(&mut object, false);
        }
        if dry_run == DryRun::Client {
            return Ok(object);
        }
        let place = Place { subresource: &self.subresource, ..Place::new(info, &namespace, &name) };
        if self.force {
            return writer.create(place, &object).await;
        }
        writer
            .update(place, &object)
            .await
            .map_err(|error| with_source(error, "replacing", &source))
    }
}
