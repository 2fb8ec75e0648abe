//! `rollout undo`.

use apimachinery::object::Object;
use client::Patch;
use serde_json::{Map, Value, json};

use super::{Flags, Revision, TEMPLATE_HASH, history::template, is_deployment, refuse, revisions};
use crate::{
    PROGRAM,
    changing::{DryRun, DryRunFlag, LAST_APPLIED, Place, Reporter, Writer},
    cli::{Command, values::parse_i64},
    commands::describe::pod_template,
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
    resources::Item,
};

/// Goes back to an earlier revision.
#[derive(clap::Args, Clone, Debug)]
pub struct Undo {
    /// What names the objects.
    #[command(flatten)]
    pub flags: Flags,
    /// How far to go.
    #[command(flatten)]
    pub dry_run: DryRunFlag,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// The revision to rollback to. Default to 0 (last revision).
    #[arg(long, default_value = "0", value_parser = parse_i64)]
    pub to_revision: i64,
}

/// Annotations that stay the Deployment's own.
const KEPT: &[&str] = &[
    LAST_APPLIED,
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

impl Command for Undo {
    const NAME: &'static str = "undo";
    const ABOUT: &'static str = "Undo a previous rollout";
    const USAGE: &'static str = "undo (TYPE NAME | TYPE/NAME) [flags]";
    const EXAMPLES: &'static str = "# Roll back to the previous deployment
kubectl-mini rollout undo deployment/abc

# Roll back to deployment revision 3
kubectl-mini rollout undo deployment/abc --to-revision=3";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let dry_run = self.dry_run.get(context)?;
        let (items, mut errors) = self.flags.items(context).await?;
        for item in items {
            if let Err(error) = self.undo(context, &item, dry_run).await {
                errors.push(error);
            }
        }
        CommandError::gather(errors)
    }
}

impl Undo {
    async fn undo(
        &self,
        context: &Context,
        item: &Item,
        dry_run: DryRun,
    ) -> Result<(), CommandError> {
        if !is_deployment(item) {
            return refuse(format!(
                "no rollbacker has been implemented for {:?}",
                item.info.group_kind()
            ));
        }
        let deployment = &item.object;
        let revisions = revisions(context, deployment).await?;
        let target = self.choose(deployment, revisions)?;
        let reporter = Reporter::typed(&self.output, dry_run)?;
        if dry_run == DryRun::Client {
            let text = pod_template(&template(&target)?, context);
            return reporter.report(context, deployment, &text);
        }
        if deployment.get_bool(&["spec", "paused"]) == Some(true) {
            return refuse(format!(
                "you cannot rollback a paused deployment; resume it first with '{PROGRAM} rollout resume' and try again"
            ));
        }
        let template = without_hash(&target);
        if Some(&template) == deployment.get(&["spec", "template"]) {
            let text = format!(
                "skipped rollback (current template already matches revision {})",
                self.to_revision
            );
            return reporter.report(context, deployment, &text);
        }
        let patch = json!([
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "replace", "path": "/metadata/annotations", "value": annotations(deployment, &target)},
        ]);
        let key = deployment.key();
        let writer = Writer::new(context, "kubectl", dry_run)?;
        let place = Place::new(item.info, &key.namespace, &key.name);
        writer.patch(place, &Patch::Json(patch)).await.map_err(|error| {
            CommandError::message(format!(
                "failed restoring revision {}: {error}",
                self.to_revision
            ))
        })?;
        reporter.report(context, deployment, "rolled back")
    }

    fn choose(
        &self,
        deployment: &Object,
        mut revisions: Vec<Revision>,
    ) -> Result<Object, CommandError> {
        if self.to_revision != 0 {
            let found = revisions.into_iter().find(|found| found.number == self.to_revision);
            return match found {
                Some(found) => Ok(found.replica_set),
                None => refuse(format!(
                    "unable to find specified revision {} in history",
                    self.to_revision
                )),
            };
        }
        revisions.pop();
        match revisions.pop() {
            Some(previous) => Ok(previous.replica_set),
            None => {
                refuse(format!("no rollout history found for deployment {:?}", deployment.name()))
            }
        }
    }
}

fn without_hash(replica_set: &Object) -> Value {
    let mut template = replica_set.get(&["spec", "template"]).cloned().unwrap_or_default();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(TEMPLATE_HASH);
    }
    template
}

fn annotations(deployment: &Object, replica_set: &Object) -> Map<String, Value> {
    let own = deployment.annotations().filter(|(key, _)| KEPT.contains(key));
    let theirs = replica_set.annotations().filter(|(key, _)| !KEPT.contains(key));
    own.chain(theirs).map(|(key, value)| (key.to_owned(), value.into())).collect()
}
