//! Describes Deployments and ReplicaSets.

use apimachinery::{
    api::{
        apps::{Deployment, ReplicaSet},
        core::{Pod, PodTemplateSpec},
        meta::{LabelSelector, ObjectMeta},
    },
    labels::{Selector, format_label_selector},
    object::Object,
};
use client::ListOptions;

use super::{
    Text, pod,
    related::{Related, view},
    text::controlled_by,
};
use crate::errors::CommandError;

const TEMPLATE_HASH: &str = "pod-template-hash";

pub(super) async fn deployment<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let deployment: Deployment = view(object)?;
    let selector = selector_of(&deployment.spec.selector)?;
    let sets = related
        .list(object.namespace(), ListOptions::labels(selector.clone()))
        .await
        .map(|sets| owned_sets(&deployment, sets));
    write_deployment(&deployment, &selector, &mut text);
    if let Ok((old, new)) = sets
        && (!old.is_empty() || new.is_some())
    {
        text.field(0, "OldReplicaSets", describe_sets(&old));
        text.field(0, "NewReplicaSet", describe_sets(new.as_slice()));
    }
    text.events(related.events(object).await);
    Ok(text)
}

fn selector_of(selector: &LabelSelector) -> Result<String, CommandError> {
    Selector::from_label_selector(Some(selector))
        .map(|selector| selector.to_string())
        .map_err(|error| CommandError::message(error.to_string()))
}

fn write_deployment(deployment: &Deployment, selector: &str, text: &mut Text<'_>) {
    let Deployment { metadata, spec, status } = deployment;
    text.field(0, "Name", metadata.name.as_deref().unwrap_or_default());
    text.field(0, "Namespace", metadata.namespace.as_deref().unwrap_or_default());
    text.field(0, "CreationTimestamp", text.time(metadata.creation_timestamp));
    text.labels("Labels", &metadata.labels);
    text.annotations("Annotations", &metadata.annotations);
    text.field(0, "Selector", selector);
    text.field(
        0,
        "Replicas",
        format_args!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            spec.replicas.unwrap_or_default(),
            status.updated_replicas.unwrap_or_default(),
            status.replicas.unwrap_or_default(),
            status.available_replicas.unwrap_or_default(),
            status.unavailable_replicas.unwrap_or_default()
        ),
    );
    let strategy = spec.strategy.clone().unwrap_or_default();
    text.field(0, "StrategyType", strategy.type_.as_deref().unwrap_or_default());
    text.field(0, "MinReadySeconds", spec.min_ready_seconds.unwrap_or_default());
    if let Some(update) = &strategy.rolling_update {
        let shown = |value: &Option<apimachinery::int_or_string::IntOrString>| {
            value.as_ref().map_or_else(|| "<nil>".to_owned(), ToString::to_string)
        };
        text.field(
            0,
            "RollingUpdateStrategy",
            format_args!(
                "{} max unavailable, {} max surge",
                shown(&update.max_unavailable),
                shown(&update.max_surge)
            ),
        );
    }
    pod::write_template(&spec.template, text);
    let conditions = status.conditions.iter().map(|condition| {
        (condition.type_.as_str(), condition.status.as_str(), condition.reason.as_deref())
    });
    write_conditions(conditions.collect(), text);
}

fn write_conditions(conditions: Vec<(&str, &str, Option<&str>)>, text: &mut Text<'_>) {
    if conditions.is_empty() {
        return;
    }
    text.raw("Conditions:\n  Type\tStatus\tReason\n");
    text.line(1, "----\t------\t------");
    for (kind, status, reason) in conditions {
        text.line(1, format_args!("{kind} \t{status}\t{}", reason.unwrap_or_default()));
    }
}

/// The Deployment's old ReplicaSets, oldest first, and the one of its present template.
fn owned_sets(
    deployment: &Deployment,
    mut sets: Vec<ReplicaSet>,
) -> (Vec<ReplicaSet>, Option<ReplicaSet>) {
    sets.retain(|set| is_controlled_by(&set.metadata, &deployment.metadata));
    sets.sort_by_cached_key(|set| {
        (set.metadata.creation_timestamp.map(|time| time.0), set.metadata.name.clone())
    });
    let new = sets.iter().position(|set| {
        set.spec.template.as_ref().is_some_and(|template| {
            without_hash(template) == without_hash(&deployment.spec.template)
        })
    });
    let new = new.map(|at| sets.remove(at));
    (sets, new)
}

fn is_controlled_by(metadata: &ObjectMeta, owner: &ObjectMeta) -> bool {
    metadata.owner_references.iter().any(|reference| {
        reference.controller == Some(true) && Some(&reference.uid) == owner.uid.as_ref()
    })
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    template.metadata.labels.remove(TEMPLATE_HASH);
    template
}

fn describe_sets(sets: &[ReplicaSet]) -> String {
    let sets: Vec<String> = sets
        .iter()
        .map(|set| {
            format!(
                "{} ({}/{} replicas created)",
                set.metadata.name.as_deref().unwrap_or_default(),
                set.status.replicas,
                set.spec.replicas.unwrap_or_default()
            )
        })
        .collect();
    if sets.is_empty() { "<none>".to_owned() } else { sets.join(", ") }
}

pub(super) async fn replica_set<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    let set: ReplicaSet = view(object)?;
    let selector = selector_of(&set.spec.selector)?;
    let pods: Result<Vec<Pod>, CommandError> =
        related.list(object.namespace(), ListOptions::labels(selector)).await;
    text.head_with_selector(&set.metadata, &format_label_selector(Some(&set.spec.selector)));
    if let Some(owner) = controlled_by(&set.metadata) {
        text.field(0, "Controlled By", owner);
    }
    let desired = set.spec.replicas.unwrap_or_default();
    text.field(0, "Replicas", format_args!("{} current / {desired} desired", set.status.replicas));
    match pods {
        Ok(pods) => text.field(0, "Pods Status", count_phases(&set.metadata, &pods)),
        Err(error) => text.field(0, "Pods Status", format_args!("error in fetching pods: {error}")),
    }
    if let Some(template) = &set.spec.template {
        pod::write_template(template, &mut text);
    }
    let conditions = set.status.conditions.iter().map(|condition| {
        (condition.type_.as_str(), condition.status.as_str(), condition.reason.as_deref())
    });
    write_conditions(conditions.collect(), &mut text);
    text.events(related.events(object).await);
    Ok(text)
}

fn count_phases(owner: &ObjectMeta, pods: &[Pod]) -> String {
    let count = |phase: &str| {
        let owned = pods.iter().filter(|pod| is_controlled_by(&pod.metadata, owner));
        owned.filter(|pod| pod.status.phase.as_deref() == Some(phase)).count()
    };
    format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        count("Running"),
        count("Pending"),
        count("Succeeded"),
        count("Failed")
    )
}
