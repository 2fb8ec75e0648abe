//! `rollout history`.

use apimachinery::{api::core::PodTemplateSpec, object::Object};

use super::{CHANGE_CAUSE, Flags, Revision, is_deployment, refuse, revisions};
use crate::{
    changing::kind_and_name,
    cli::{Command, values::parse_i64},
    commands::describe::pod_template,
    context::Context,
    errors::CommandError,
    resources::Item,
    tabwriter::align,
};

/// Lists revisions, or shows one.
#[derive(clap::Args, Clone, Debug)]
pub struct History {
    /// What names the objects.
    #[command(flatten)]
    pub flags: Flags,
    /// See the details, including podTemplate of the revision specified
    #[arg(long, default_value = "0", value_parser = parse_i64)]
    pub revision: i64,
}

impl Command for History {
    const NAME: &'static str = "history";
    const ABOUT: &'static str = "View rollout history";
    const USAGE: &'static str = "history (TYPE NAME | TYPE/NAME) [flags]";
    const EXAMPLES: &'static str = "# View the rollout history of a deployment
kubectl-mini rollout history deployment/abc

# View the details of revision 3
kubectl-mini rollout history deployment/abc --revision=3";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if self.revision < 0 {
            return refuse(format!("revision must be a positive integer: {}", self.revision));
        }
        let (items, mut errors) = self.flags.items(context).await?;
        for item in items {
            if let Err(error) = self.show(context, &item).await {
                errors.push(error);
            }
        }
        CommandError::gather(errors)
    }
}

impl History {
    async fn show(&self, context: &Context, item: &Item) -> Result<(), CommandError> {
        if !is_deployment(item) {
            return refuse(format!(
                "no history viewer has been implemented for {:?}",
                item.info.group_kind()
            ));
        }
        let revisions = revisions(context, &item.object).await?;
        let called = kind_and_name(&item.object);
        if self.revision > 0 {
            let Some(found) = revisions.iter().find(|found| found.number == self.revision) else {
                return refuse("unable to find the specified revision");
            };
            let text = pod_template(&template(&found.replica_set)?, context);
            return context.print(&format!("{called} with revision #{}\n{text}\n", self.revision));
        }
        let text = if revisions.is_empty() {
            "No rollout history found.".to_owned()
        } else {
            table(&revisions)
        };
        context.print(&format!("{called} \n{text}\n"))
    }
}

/// The template of a revision; the reason of the change is shown among its annotations.
pub(super) fn template(replica_set: &Object) -> Result<PodTemplateSpec, CommandError> {
    let template = replica_set.get(&["spec", "template"]).cloned().unwrap_or_default();
    let mut template: PodTemplateSpec = serde_json::from_value(template)
        .map_err(|error| CommandError::message(format!("read a pod template: {error}")))?;
    if let Some(cause) = replica_set.annotation(CHANGE_CAUSE) {
        template.metadata.annotations.insert(CHANGE_CAUSE.to_owned(), cause.to_owned());
    }
    Ok(template)
}

fn table(revisions: &[Revision]) -> String {
    let lines: String = revisions
        .iter()
        .map(|Revision { number, replica_set }| {
            let cause = replica_set.annotation(CHANGE_CAUSE).filter(|cause| !cause.is_empty());
            format!("{number}\t{}\n", cause.unwrap_or("<none>"))
        })
        .collect();
    align(&format!("REVISION\tCHANGE-CAUSE\n{lines}"), 0, 2)
}
