//! The Namespace controller: empties a namespace that is being deleted, then lets it go.
//!
//! A deleted namespace stays as long as its finalizer `kubernetes` does. Everything in it is deleted, kind by kind; what
//! is still there (pods in their grace period, objects with finalizers) is told by conditions, and the namespace is looked
//! at again. When nothing is left, the finalizer is taken off by the `finalize` subresource.

use std::time::Duration;

use apimachinery::{
    api::core::{Namespace, NamespaceCondition},
    object::ObjectKey,
    resource::{self, ResourceInfo},
    status::Status,
    time::Time,
};
use client::{Client, DeleteOptions, ListOptions, Patch, Propagation, Store, controller::Action};
use component_base::clock::Clock;
use serde_json::json;

use crate::context::Setup;

const WORKERS: usize = 5;
/// How long the first look at leftovers waits; pods report their own end, so this is only for what does not.
const RECHECK: Duration = Duration::from_secs(1);
const FINALIZER: &str = "kubernetes";

#[derive(Clone)]
struct Reconciler {
    client: Client,
    clock: Clock,
    namespaces: Store<Namespace>,
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = setup.queue::<ObjectKey>();
    let reconciler = Reconciler {
        client: setup.client.with_field_manager("kube-controller-manager"),
        clock: setup.clock.clone(),
        namespaces: setup.informers.store(),
    };
    setup.enqueue_changes::<Namespace>(&queue);
    // A pod that is gone may be the last thing that a namespace waited for.
    let (keys, namespaces) = (queue.clone(), reconciler.namespaces.clone());
    setup.informers.on_change::<apimachinery::api::core::Pod, _>(move |delta| {
        if let client::store::Delta::Deleted(pod) = delta {
            let name = pod.metadata.namespace.clone().unwrap_or_default();
            let key = ObjectKey { namespace: String::new(), name };
            let going =
                namespaces.get(&key).is_some_and(|n| n.metadata.deletion_timestamp.is_some());
            if going {
                keys.add(key);
            }
        }
    });
    let stores = reconciler.clone();
    let synced = async move { stores.namespaces.synced().await };
    setup.run("namespace", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
}

/// What one round of emptying found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Leftovers {
    /// `pods. has 2 resource instances`, sorted by resource.
    resources: Vec<(String, usize)>,
    /// Finalizers with how many objects wait for them.
    finalizers: std::collections::BTreeMap<String, usize>,
    /// Why not all kinds are known.
    undiscovered: Option<String>,
    /// Failures.
    errors: Vec<String>,
}

impl Leftovers {
    /// Everything is known to be gone.
    fn none(&self) -> bool {
        self.resources.is_empty() && self.errors.is_empty() && self.undiscovered.is_none()
    }
}

impl Reconciler {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        let Some(namespace) = self.namespaces.get(key) else { return Ok(Action::Done) };
        if namespace.metadata.deletion_timestamp.is_none() || namespace.spec.finalizers.is_empty() {
            return Ok(Action::Done);
        }
        let leftovers = self.empty(&key.name).await;
        if leftovers.none() {
            self.finalize(&namespace).await?;
            return Ok(Action::Done);
        }
        self.report(&namespace, &leftovers).await?;
        Ok(Action::RequeueAfter(RECHECK))
    }

    /// Deletes what is in the namespace, and finds out what is left.
    async fn empty(&self, namespace: &str) -> Leftovers {
        let mut left = Leftovers::default();
        let options = DeleteOptions {
            propagation: Some(Propagation::Background),
            ..DeleteOptions::default()
        };
        // Pods go first, and nothing else before the last of them: they may need their ConfigMaps, Secrets and policies
        // to the end (OrderedNamespaceDeletion).
        let served = match self.client.discover().await {
            Ok(served) => served,
            // What is built in is emptied all the same.
            Err(status) => {
                left.undiscovered = Some(status.message);
                resource::served().collect()
            }
        };
        let others =
            deletable(served).filter(|info| !std::ptr::eq(*info, &raw const resource::PODS));
        for info in std::iter::once(&resource::PODS).chain(others) {
            if left.resources.iter().any(|(name, _)| name == "pods.") {
                break;
            }
            let api = self.client.resource(info).namespace(namespace);
            if let Err(status) = api.delete_collection(&options, &ListOptions::default()).await {
                left.errors.push(status.message);
                continue;
            }
            match self.client.list_objects(info, namespace, &ListOptions::default()).await {
                Ok(list) if list.items.is_empty() => {}
                Ok(list) => {
                    left.resources.push((group_resource(info), list.items.len()));
                    for finalizer in
                        list.items.iter().flat_map(apimachinery::object::Object::finalizers)
                    {
                        *left.finalizers.entry(finalizer.to_owned()).or_default() += 1;
                    }
                }
                Err(status) => left.errors.push(status.message),
            }
        }
        left.resources.sort();
        left
    }

    async fn finalize(&self, namespace: &Namespace) -> Result<(), Status> {
        let mut fresh = namespace.clone();
        fresh.spec.finalizers.retain(|f| f != FINALIZER);
        let object = apimachinery::api::Resource::to_object(&fresh);
        let info = &resource::NAMESPACES;
        match self.client.update_object(info, &object, "finalize").await {
            Err(status) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn report(&self, namespace: &Namespace, left: &Leftovers) -> Result<(), Status> {
        let now = Time(self.clock.now()).truncated();
        let wanted: Vec<NamespaceCondition> = conditions(left)
            .into_iter()
            .map(|(type_, status, reason, message)| {
                let former = namespace
                    .status
                    .conditions
                    .iter()
                    .find(|c| c.type_ == type_ && c.status == status);
                NamespaceCondition {
                    type_: type_.into(),
                    status: status.into(),
                    reason: Some(reason.into()),
                    message: Some(message),
                    last_transition_time: former.and_then(|c| c.last_transition_time).or(Some(now)),
                }
            })
            .collect();
        if namespace.status.conditions == wanted {
            return Ok(());
        }
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let patch = Patch::Merge(json!({"status": {"conditions": wanted}}));
        match self.client.patch::<Namespace>("", name, &patch, "status").await {
            Err(status) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}

/// The kinds of which objects can be in a namespace, and that can be deleted.
fn deletable(
    served: Vec<&'static ResourceInfo>,
) -> impl Iterator<Item = &'static ResourceInfo> + Send {
    // Of several versions of a resource one will do.
    let mut seen = std::collections::HashSet::new();
    served.into_iter().filter(move |info| {
        info.namespaced
            && info.verbs.contains(&"deletecollection")
            && info.verbs.contains(&"list")
            && seen.insert((info.group, info.resource))
    })
}

/// `pods.`, `deployments.apps`: as the namespace controller writes them.
fn group_resource(info: &ResourceInfo) -> String {
    format!("{}.{}", info.resource, info.group)
}

/// Type, status, reason and message of each condition, in Kubernetes' order and words.
fn conditions(left: &Leftovers) -> Vec<(&'static str, &'static str, &'static str, String)> {
    let remaining: Vec<String> = left
        .resources
        .iter()
        .map(|(name, count)| format!("{name} has {count} resource instances"))
        .collect();
    let finalizers: Vec<String> = left
        .finalizers
        .iter()
        .map(|(name, count)| format!("{name} in {count} resource instances"))
        .collect();
    let failure = if left.errors.is_empty() {
        (
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".to_owned(),
        )
    } else {
        let count = left.errors.len();
        let message = format!(
            "Failed to delete all resource types, {count} remaining: {}",
            left.errors.join(", ")
        );
        ("True", "ContentDeletionFailed", message)
    };
    let content = if remaining.is_empty() {
        ("False", "ContentRemoved", "All content successfully removed".to_owned())
    } else {
        (
            "True",
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", remaining.join(", ")),
        )
    };
    let waiting = if finalizers.is_empty() {
        ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned())
    } else {
        let message = format!(
            "Some content in the namespace has finalizers remaining: {}",
            finalizers.join(", ")
        );
        ("True", "SomeFinalizersRemain", message)
    };
    let discovered = match &left.undiscovered {
        None => {
            ("False", "ResourcesDiscovered", "All resources successfully discovered".to_owned())
        }
        Some(why) => ("True", "DiscoveryFailed", why.clone()),
    };
    vec![
        ("NamespaceDeletionDiscoveryFailure", discovered.0, discovered.1, discovered.2),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        ("NamespaceDeletionContentFailure", failure.0, failure.1, failure.2),
        ("NamespaceContentRemaining", content.0, content.1, content.2),
        ("NamespaceFinalizersRemaining", waiting.0, waiting.1, waiting.2),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_tell_what_is_left() {
        let left = Leftovers {
            resources: vec![("pods.".into(), 2)],
            finalizers: [("example.com/hold".to_owned(), 1)].into(),
            ..Leftovers::default()
        };
        let messages: Vec<String> = conditions(&left).into_iter().map(|c| c.3).collect();
        assert_eq!(messages[3], "Some resources are remaining: pods. has 2 resource instances");
        assert_eq!(
            messages[4],
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        );
        assert_eq!(conditions(&Leftovers::default())[3].1, "False");
        let unknown =
            Leftovers { undiscovered: Some("the server is busy".into()), ..Leftovers::default() };
        assert!(!unknown.none(), "what is not known may be there");
        let failure = &conditions(&unknown)[0];
        assert_eq!((failure.1, failure.3.as_str()), ("True", "the server is busy"));
    }

    #[test]
    fn a_namespace_is_emptied_of_every_kind_that_it_can_hold() {
        let names: Vec<&str> =
            deletable(resource::served().collect()).map(|info| info.resource).collect();
        for kind in
            ["pods", "services", "configmaps", "secrets", "deployments", "replicasets", "events"]
        {
            assert!(names.contains(&kind), "{kind} is missing in {names:?}");
        }
    }
}
