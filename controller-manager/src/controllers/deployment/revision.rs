//! Which ReplicaSet belongs to the template, and the numbers by which a rollout can be undone.

use std::{cmp::Ordering, collections::BTreeMap};

use apimachinery::{
    api::{
        apps::{Deployment, DeploymentCondition, ReplicaSet},
        core::PodTemplateSpec,
        meta::{ObjectMeta, OwnerReference},
    },
    time::Time,
};

use super::{
    plan::{Action, Annotations, Plan},
    rollback, rolling, status,
};

/// The label that tells the pods of one ReplicaSet from those of another.
pub const HASH_LABEL: &str = "pod-template-hash";
/// The annotation with an object's revision.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The most characters of that history: `maxRevHistoryLengthInChars`.
const HISTORY_LENGTH: usize = 2000;
/// Annotations of a Deployment that are not handed on to its ReplicaSets.
pub(super) const OWN_ANNOTATIONS: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    rolling::DESIRED,
    rolling::MAX,
    rollback::ROLLBACK_TO,
];

/// Orders by creation, then by name.
pub(super) fn by_creation(a: &ReplicaSet, b: &ReplicaSet) -> Ordering {
    let key = |rs: &ReplicaSet| (rs.metadata.creation_timestamp, rs.metadata.name.clone());
    key(a).cmp(&key(b))
}

/// A ReplicaSet's revision; 0 where it has none.
#[must_use]
pub fn of(set: &ReplicaSet) -> i64 {
    set.metadata.annotations.get(REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// Whether two templates differ in nothing but the hash label: `EqualIgnoreHash`.
#[must_use]
pub fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let without_hash = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        template.metadata.labels.remove(HASH_LABEL);
        template
    };
    without_hash(a) == without_hash(b)
}

/// The oldest ReplicaSet with the Deployment's template.
pub(super) fn find_new<'a>(
    deployment: &Deployment,
    sets: &'a [ReplicaSet],
) -> Option<&'a ReplicaSet> {
    sets.iter().find(|rs| {
        rs.spec.template.as_ref().is_some_and(|t| same_template(t, &deployment.spec.template))
    })
}

/// The hash that names a ReplicaSet: FNV-1a over the template's JSON and the collision count, in the letters that
/// Kubernetes uses (no vowels, no look-alikes).
#[must_use]
pub fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut bytes = serde_json::to_vec(template).unwrap_or_default();
    if let Some(count) = collisions {
        bytes.extend(count.to_le_bytes());
    }
    let hash = bytes
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    hash.to_string()
        .bytes()
        .map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()]))
        .collect()
}

/// Brings the new ReplicaSet's annotations up to date, or plans its creation: `getNewReplicaSet`.
pub(super) fn sync_new(plan: &mut Plan, create: bool) {
    let next = plan.old.iter().map(of).max().unwrap_or(0) + 1;
    if plan.new.is_some() {
        update_existing(plan, next);
    } else if create {
        create_new(plan, next);
    }
}

fn update_existing(plan: &mut Plan, next: i64) {
    let Some(mut set) = plan.new.take() else { return };
    let annotated = annotate(&plan.deployment.metadata.annotations, &mut set.metadata, next, true);
    let wanted = plan.deployment.spec.min_ready_seconds;
    if annotated || set.spec.min_ready_seconds.unwrap_or(0) != wanted.unwrap_or(0) {
        set.spec.min_ready_seconds = wanted;
        plan.actions.push(Action::Update(Box::new(set.clone())));
    }
    set_deployment_revision(plan, &set);
    if status::condition(&plan.deployment.status, "Progressing").is_none()
        && status::has_deadline(&plan.deployment)
    {
        let message =
            format!("Found new replica set {:?}", set.metadata.name.as_deref().unwrap_or_default());
        status::set_condition(
            &mut plan.deployment.status,
            status::new_condition("Progressing", "True", "FoundNewReplicaSet", message, plan.now),
        );
    }
    plan.new = Some(set);
}

fn create_new(plan: &mut Plan, revision: i64) {
    let deployment = &plan.deployment;
    let hash = template_hash(&deployment.spec.template, deployment.status.collision_count);
    let mut template = deployment.spec.template.clone();
    template.metadata.labels.insert(HASH_LABEL.into(), hash.clone());
    let mut selector = deployment.spec.selector.clone();
    selector.match_labels.insert(HASH_LABEL.into(), hash.clone());
    let name = format!("{}-{hash}", plan.name());
    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: deployment.metadata.namespace.clone(),
            labels: template.metadata.labels.clone(),
            owner_references: vec![owner(deployment)],
            ..ObjectMeta::default()
        },
        ..ReplicaSet::default()
    };
    set.spec.replicas = Some(0);
    set.spec.min_ready_seconds = deployment.spec.min_ready_seconds;
    set.spec.selector = selector;
    set.spec.template = Some(template);
    annotate(&deployment.metadata.annotations, &mut set.metadata, revision, false);
    rolling::note_size(deployment, &mut set.metadata.annotations);
    let recreate =
        deployment.spec.strategy.as_ref().and_then(|s| s.type_.as_deref()) == Some("Recreate");
    let replicas =
        if recreate { plan.desired() } else { rolling::new_set_replicas(plan, Some(&set)) };
    set.spec.replicas = Some(replicas);
    plan.actions.push(Action::Create(Box::new(set.clone())));
    if replicas > 0 {
        plan.actions.push(Action::Event(
            "Normal",
            "ScalingReplicaSet",
            format!("Scaled up replica set {name} from 0 to {replicas}"),
        ));
    }
    set_deployment_revision(plan, &set);
    if status::has_deadline(&plan.deployment) {
        let condition: DeploymentCondition = status::new_condition(
            "Progressing",
            "True",
            "NewReplicaSetCreated",
            format!("Created new replica set {name:?}"),
            plan.now,
        );
        status::set_condition(&mut plan.deployment.status, condition);
    }
    plan.new = Some(set);
}

fn owner(deployment: &Deployment) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        name: deployment.metadata.name.clone().unwrap_or_default(),
        uid: deployment.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn set_deployment_revision(plan: &mut Plan, set: &ReplicaSet) {
    let Some(revision) = set.metadata.annotations.get(REVISION) else { return };
    if plan.deployment.metadata.annotations.get(REVISION) != Some(revision) {
        plan.deployment.metadata.annotations.insert(REVISION.into(), revision.clone());
        plan.actions.push(Action::SetRevision(revision.clone()));
    }
}

/// Copies the Deployment's annotations and writes the revision, the former one into the history:
/// `SetNewReplicaSetAnnotations`. True: something changed.
fn annotate(from: &Annotations, set: &mut ObjectMeta, revision: i64, exists: bool) -> bool {
    let mut changed = false;
    for (key, value) in from {
        if !OWN_ANNOTATIONS.contains(&key.as_str()) && set.annotations.get(key) != Some(value) {
            set.annotations.insert(key.clone(), value.clone());
            changed = true;
        }
    }
    let former = set.annotations.get(REVISION).cloned();
    let number = match former.as_deref() {
        None | Some("") => Some(0),
        Some(text) => text.parse::<i64>().ok(),
    };
    // What is no number is somebody else's, and stays.
    if number.is_some_and(|number| number < revision) {
        set.annotations.insert(REVISION.into(), revision.to_string());
        changed = true;
        if let Some(former) = former.filter(|_| exists) {
            let present = set.annotations.get(HISTORY).map_or("", String::as_str);
            if let Some(history) = longer_history(present, &former) {
                set.annotations.insert(HISTORY.into(), history);
            }
        }
    }
    changed
}

/// The history with one more revision, and as many of the oldest fewer as keep it short; None: it has no room.
fn longer_history(present: &str, former: &str) -> Option<String> {
    if present.is_empty() {
        return Some(former.to_owned());
    }
    let mut rest = present;
    while rest.len() + 1 + former.len() > HISTORY_LENGTH {
        rest = rest.split_once(',').map_or("", |(_, rest)| rest);
        if rest.is_empty() {
            return (former.len() <= HISTORY_LENGTH).then(|| former.to_owned());
        }
    }
    Some(format!("{rest},{former}"))
}

/// The time of a timestamp field, or the distant past.
pub(super) fn seconds(time: Option<&Time>) -> i64 {
    time.map_or(i64::MIN, |t| t.0.as_second())
}

/// Labels of a template with its hash.
pub type Labels = BTreeMap<String, String>;
