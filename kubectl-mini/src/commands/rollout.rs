//! `kubectl rollout`: what becomes of a Deployment's new template.

pub mod change;
pub mod history;
pub mod status;
pub mod undo;

use apimachinery::{object::Object, resource::REPLICA_SETS};
use client::ListOptions;
use serde_json::Value;

use crate::{
    cli::{Spec, leaf},
    context::Context,
    errors::CommandError,
    resources::{FileFlags, Item, Selection, Targets, fetch},
};

/// The subcommands.
pub static SUBCOMMANDS: &[Spec] = &[
    leaf::<history::History>(),
    leaf::<change::Pause>(),
    leaf::<change::Restart>(),
    leaf::<change::Resume>(),
    leaf::<status::RolloutStatus>(),
    leaf::<undo::Undo>(),
];

/// The usage line of the group.
pub const USAGE: &str = "rollout SUBCOMMAND";

const REVISION: &str = "deployment.kubernetes.io/revision";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
const TEMPLATE_HASH: &str = "pod-template-hash";

/// What names the objects of all subcommands.
#[derive(clap::Args, Clone, Debug)]
pub struct Flags {
    /// The types, and names.
    pub arguments: Vec<String>,
    /// Which files.
    #[command(flatten)]
    pub files: FileFlags,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
}

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

impl Flags {
    /// The objects, and what went wrong with others.
    async fn items(
        &self,
        context: &Context,
    ) -> Result<(Vec<Item>, Vec<CommandError>), CommandError> {
        if self.arguments.is_empty() && self.files.is_empty() {
            return refuse("required resource not specified");
        }
        let selection = Selection {
            files: self.files.clone(),
            arguments: self.arguments.clone(),
            labels: self.selector.clone(),
            type_means_all: true,
            ..Selection::default()
        };
        let Targets { targets, mut errors, .. } = selection.targets(context).await?;
        let mut items = Vec::new();
        for target in &targets {
            match fetch(context, target, 500).await {
                Ok(found) => items.extend(found),
                Err(error) => errors.push(error),
            }
        }
        Ok((items, errors))
    }
}

/// A revision of a Deployment: the ReplicaSet that has its template.
struct Revision {
    number: i64,
    replica_set: Object,
}

/// The revisions, oldest first.
async fn revisions(context: &Context, deployment: &Object) -> Result<Vec<Revision>, CommandError> {
    let labels = deployment.get(&["spec", "selector", "matchLabels"]).and_then(Value::as_object);
    let selector: Vec<String> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    let options = ListOptions::labels(selector.join(","));
    let client = context.client()?;
    let list = client.list_objects(&REPLICA_SETS, deployment.namespace(), &options);
    let list = context.request(list).await?;
    let mut revisions: Vec<Revision> = list
        .items
        .into_iter()
        .filter(|set| set.controller().is_some_and(|owner| owner.uid == deployment.uid()))
        .filter_map(|replica_set| {
            let number = replica_set.annotation(REVISION)?.parse().ok()?;
            Some(Revision { number, replica_set })
        })
        .collect();
    revisions.sort_by_key(|revision| revision.number);
    Ok(revisions)
}

/// Refuses what has no revisions.
fn is_deployment(item: &Item) -> bool {
    item.info.kind == "Deployment" && item.info.group == "apps"
}
