//! Follows every kind, and does what the graph says is to be looked at.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use apimachinery::{
    api::{core::ObjectReference, meta::OwnerReference},
    object::{Object, ObjectKey},
    resource::{self, ResourceInfo},
    status::Status,
};
use client::{
    Client, DeleteOptions, EventRecorder, Patch, Propagation, WorkQueue, controller::Action,
    events::EventType, informer::Informer, reflector::ListWatch, store::Delta,
    stored::PartialObject,
};
use component_base::{
    clock::Clock,
    shutdown::{Child, Shutdown},
};
use futures::future::join_all;
use parking_lot::Mutex;
use serde_json::json;

use super::graph::{FOREGROUND, Graph, ORPHAN, Work};
use crate::context::{Setup, tolerate_absence};

const WORKERS: usize = 20;

#[derive(Clone)]
struct Collector {
    client: Client,
    graph: Arc<Mutex<Graph>>,
    queue: WorkQueue<Work>,
    defined: Arc<Defined>,
}

/// The kinds that are defined at run time, followed as they come and go.
struct Defined {
    clock: Clock,
    shutdown: Shutdown,
    recorder: EventRecorder,
    reported: Reported,
    /// Each with what ends its informer. The lock is held while they are brought up to date.
    followed: tokio::sync::Mutex<HashMap<&'static ResourceInfo, Child>>,
    /// Every served kind.
    served: Mutex<Vec<&'static ResourceInfo>>,
}

/// Whether a kind is followed: all are that can own or be owned, and be deleted. Events own nothing and have no owners
/// that matter; they are many and change all the time.
fn is_followed(info: &ResourceInfo) -> bool {
    ["delete", "list", "watch"].iter().all(|verb| info.verbs.contains(verb))
        && !matches!(info.resource, "events")
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let defined = Defined {
        clock: setup.clock.clone(),
        shutdown: setup.shutdown.clone(),
        recorder: setup.recorder("garbage-collector-controller"),
        reported: Reported::default(),
        followed: tokio::sync::Mutex::default(),
        served: Mutex::default(),
    };
    let collector = Collector {
        client: setup.client.with_field_manager("kube-controller-manager"),
        graph: Arc::default(),
        queue: setup.queue(),
        defined: Arc::new(defined),
    };
    let mut stores = Vec::new();
    for info in resource::served().filter(|info| is_followed(info)) {
        let informer = setup.informers.informer_of::<PartialObject>(info);
        collector.follow(informer, info);
        stores.push(informer.store());
    }
    let queue = collector.queue.clone();
    let definitions = &resource::CUSTOM_RESOURCE_DEFINITIONS;
    let informer = setup.informers.informer_of::<PartialObject>(definitions);
    informer.on_change(move |_| queue.add(Work::Kinds));
    // Nothing is collected before everything has been seen: an owner of a kind that comes late would pass for gone.
    let synced = async move {
        join_all(stores.iter().map(client::Store::synced)).await;
    };
    let queue = collector.queue.clone();
    queue.add(Work::Kinds);
    setup.run("garbage collector", &queue, WORKERS, synced, move |work| {
        let collector = collector.clone();
        async move { collector.work(work).await }
    });
}

/// Objects by uid with the owners of which it was told that they are misplaced.
type Reported = Arc<Mutex<HashSet<(String, String)>>>;

/// Tells, once, that an object names an owner which is in another namespace: such an owner does not exist for it.
fn report_misplaced(recorder: &EventRecorder, graph: &Graph, uid: &str, reported: &Reported) {
    let Some((node, info)) = graph.get(uid).and_then(|node| Some((node, node.info?))) else {
        return;
    };
    for owner in graph.misplaced_owners(uid) {
        if !reported.lock().insert((uid.to_owned(), owner.uid.clone())) {
            continue;
        }
        let namespace = &node.key.namespace;
        let text = format!(
            "ownerRef [{}/{}, namespace: {namespace}, name: {}, uid: {}] does not exist in namespace {namespace:?}",
            owner.api_version, owner.kind, owner.name, owner.uid
        );
        let about = ObjectReference {
            api_version: Some(info.api_version()),
            kind: Some(info.kind.to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(node.key.name.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        recorder.record_about(about, EventType::Warning, "OwnerRefInvalidNamespace", text);
    }
}

/// How an owner stands.
enum Owner {
    /// It lives, or its deletion does not concern its dependents.
    Solid,
    /// It is gone.
    Dangling,
    /// It is being deleted in the foreground and waits.
    Waiting,
    /// It cannot be looked for: nothing is done on a guess.
    Unknown,
}

impl Collector {
    /// Keeps the graph in step with the objects of a kind.
    fn follow(&self, informer: &mut Informer<PartialObject>, info: &'static ResourceInfo) {
        let (graph, queue) = (self.graph.clone(), self.queue.clone());
        let (recorder, reported) = (self.defined.recorder.clone(), self.defined.reported.clone());
        informer.on_change(move |delta| {
            let work = match delta {
                Delta::Deleted(object) => {
                    graph.lock().remove(object.metadata.uid.as_deref().unwrap_or_default())
                }
                Delta::Added(object) | Delta::Updated { new: object, .. } => {
                    graph.lock().apply(info, &object.metadata)
                }
            };
            for item in work {
                queue.add(item);
            }
            if let (old, Some(object)) = delta.old_and_new() {
                let uid = object.metadata.uid.as_deref().unwrap_or_default();
                let graph = graph.lock();
                report_misplaced(&recorder, &graph, uid, &reported);
                // Dependents that are older than their owner could not know where it would be.
                let dependents = graph.get(uid).filter(|_| old.is_none()).map(|n| &n.dependents);
                for dependent in dependents.into_iter().flatten() {
                    report_misplaced(&recorder, &graph, dependent, &reported);
                }
            }
        });
    }

    /// Follows the defined kinds that are served now, one version of each, and no others.
    async fn follow_defined(&self) -> Result<(), Status> {
        let mut followed = self.defined.followed.lock().await;
        let served = self.client.discover().await?;
        let mut seen = HashSet::new();
        let wanted: Vec<&'static ResourceInfo> = served
            .iter()
            .copied()
            .filter(|info| resource::find(info.group, info.version, info.resource).is_none())
            .filter(|info| is_followed(info) && seen.insert((info.group, info.resource)))
            .collect();
        *self.defined.served.lock() = served;
        followed.retain(|info, informer| {
            let stays = wanted.contains(info);
            if !stays {
                informer.cancel();
                for work in self.graph.lock().forget(info) {
                    self.queue.add(work);
                }
            }
            stays
        });
        for info in wanted {
            if let Entry::Vacant(place) = followed.entry(info) {
                let list_watch = ListWatch::all(info);
                let mut informer = Informer::new(&self.client, &self.defined.clock, list_watch);
                self.follow(&mut informer, info);
                let child = self.defined.shutdown.child();
                informer.start(child.as_shutdown());
                place.insert(child);
            }
        }
        Ok(())
    }

    /// The served resource of an owner's kind.
    fn kind_of(&self, owner: &OwnerReference) -> Option<&'static ResourceInfo> {
        let (group, version) =
            owner.api_version.split_once('/').unwrap_or(("", owner.api_version.as_str()));
        let built_in = resource::find_kind(group, version, &owner.kind).filter(|i| i.served);
        built_in.or_else(|| {
            let served = self.defined.served.lock();
            let is = |i: &&ResourceInfo| {
                i.kind == owner.kind && (i.group, i.version) == (group, version)
            };
            served.iter().copied().find(|info| is(info))
        })
    }

    async fn work(&self, work: Work) -> Result<Action, Status> {
        match &work {
            Work::Kinds => self.follow_defined().await?,
            Work::Examine(uid) => self.examine(uid).await?,
            Work::Foreground(uid) => self.foreground(uid).await?,
            Work::Orphan(uid) => self.orphan(uid).await?,
        }
        Ok(Action::Done)
    }

    fn locate(&self, uid: &str) -> Option<(&'static ResourceInfo, ObjectKey)> {
        let graph = self.graph.lock();
        let node = graph.get(uid).filter(|node| node.seen)?;
        Some((node.info?, node.key.clone()))
    }

    /// The object as it is now, if it still is the one of this uid.
    async fn fresh(
        &self,
        info: &'static ResourceInfo,
        key: &ObjectKey,
        uid: &str,
    ) -> Result<Option<Object>, Status> {
        match self.client.get_object(info, &key.namespace, &key.name).await {
            Ok(object) if object.uid() == uid => Ok(Some(object)),
            Ok(_) => Ok(None),
            Err(status) if status.is_not_found() => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Deletes an object whose owners are all gone; drops references to those that are, if another one lives.
    async fn examine(&self, uid: &str) -> Result<(), Status> {
        let Some((info, key)) = self.locate(uid) else { return Ok(()) };
        let Some(object) = self.fresh(info, &key, uid).await? else { return Ok(()) };
        let going = object.deletion_timestamp().is_some();
        let foreground = object.finalizers().any(|f| f == FOREGROUND);
        if going && !foreground {
            return Ok(());
        }
        if going && foreground {
            self.queue.add(Work::Foreground(uid.to_owned()));
            return Ok(());
        }
        let owners = owners_of(&object);
        if owners.is_empty() {
            return Ok(());
        }
        let (mut solid, mut dangling, mut waiting) = (0, Vec::new(), Vec::new());
        for owner in &owners {
            match self.standing(owner, &key).await? {
                Owner::Solid => solid += 1,
                Owner::Dangling => dangling.push(owner.uid.clone()),
                Owner::Waiting => waiting.push(owner.uid.clone()),
                Owner::Unknown => return Ok(()),
            }
        }
        if solid > 0 {
            let drop: Vec<String> = dangling.into_iter().chain(waiting).collect();
            return if drop.is_empty() {
                Ok(())
            } else {
                self.forget(info, &key, uid, &owners, &drop).await
            };
        }
        let (has_dependents, circle) = {
            let graph = self.graph.lock();
            let dependents = graph.get(uid).map(|node| node.dependents.clone()).unwrap_or_default();
            let waits = |uid: &String| graph.get(uid).is_some_and(|node| node.foreground);
            (!dependents.is_empty(), dependents.iter().any(waits))
        };
        let mut version = Some(object.resource_version().to_owned());
        let propagation = if !waiting.is_empty() && has_dependents {
            if circle {
                // What it waits for waits for it: it no longer holds its owners up.
                self.unblock(info, &key, uid, &owners).await?;
                version = None;
            }
            Propagation::Foreground
        } else if object.finalizers().any(|f| f == ORPHAN) {
            Propagation::Orphan
        } else if foreground {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        let options = DeleteOptions {
            propagation: Some(propagation),
            resource_version: version,
            ..DeleteOptions::uid(uid)
        };
        match self.client.delete_object(info, &key, &options).await {
            Err(status) if status.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Finds out whether an owner exists. Only an answer of the API counts.
    async fn standing(&self, owner: &OwnerReference, of: &ObjectKey) -> Result<Owner, Status> {
        let Some(info) = self.kind_of(owner) else {
            // A kind that is not known may come.
            return Ok(Owner::Unknown);
        };
        if info.namespaced && of.namespace.is_empty() {
            // A cluster-scoped object cannot have an owner in a namespace.
            return Ok(Owner::Unknown);
        }
        let namespace = if info.namespaced { of.namespace.as_str() } else { "" };
        if self.graph.lock().is_absent(&owner.uid, namespace) {
            return Ok(Owner::Dangling);
        }
        match self.client.get_object(info, namespace, &owner.name).await {
            Ok(found) if found.uid() == owner.uid => {
                let waits = found.deletion_timestamp().is_some()
                    && found.finalizers().any(|f| f == FOREGROUND);
                Ok(if waits { Owner::Waiting } else { Owner::Solid })
            }
            Ok(_) => self.absent(&owner.uid, namespace),
            Err(status) if status.is_not_found() => self.absent(&owner.uid, namespace),
            Err(status) => Err(status),
        }
    }

    fn absent(&self, uid: &str, namespace: &str) -> Result<Owner, Status> {
        self.graph.lock().set_absent(uid, namespace);
        Ok(Owner::Dangling)
    }

    /// Lets an object block the deletion of none of its owners.
    async fn unblock(
        &self,
        info: &'static ResourceInfo,
        key: &ObjectKey,
        uid: &str,
        owners: &[OwnerReference],
    ) -> Result<(), Status> {
        let owners: Vec<OwnerReference> = owners
            .iter()
            .map(|owner| OwnerReference { block_owner_deletion: Some(false), ..owner.clone() })
            .collect();
        let patch = json!({"metadata": {"uid": uid, "ownerReferences": owners}});
        tolerate_absence(self.client.patch_object(info, key, &Patch::Merge(patch), "").await)
    }

    /// Removes references from an object.
    async fn forget(
        &self,
        info: &'static ResourceInfo,
        key: &ObjectKey,
        uid: &str,
        owners: &[OwnerReference],
        drop: &[String],
    ) -> Result<(), Status> {
        let rest: Vec<&OwnerReference> = owners.iter().filter(|o| !drop.contains(&o.uid)).collect();
        let patch = json!({"metadata": {"uid": uid, "ownerReferences": rest}});
        match self.client.patch_object(info, key, &Patch::Merge(patch), "").await {
            Err(status) if status.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Lets an owner go once nothing blocks its foreground deletion; else sees that its dependents go.
    async fn foreground(&self, uid: &str) -> Result<(), Status> {
        let (blocking, dependents) = {
            let graph = self.graph.lock();
            let Some(node) = graph.get(uid).filter(|node| node.foreground) else { return Ok(()) };
            (graph.blocking(uid), node.dependents.clone())
        };
        if blocking.is_empty() {
            return self.remove_finalizer(uid, FOREGROUND).await;
        }
        for dependent in dependents {
            self.queue.add(Work::Examine(dependent));
        }
        Ok(())
    }

    /// Makes dependents forget an owner, then lets it go.
    async fn orphan(&self, uid: &str) -> Result<(), Status> {
        let dependents: Vec<String> = {
            let graph = self.graph.lock();
            let Some(node) = graph.get(uid) else { return Ok(()) };
            node.dependents.iter().cloned().collect()
        };
        for dependent in dependents {
            let Some((info, key)) = self.locate(&dependent) else { continue };
            let Some(object) = self.fresh(info, &key, &dependent).await? else { continue };
            let owners = owners_of(&object);
            if owners.iter().any(|o| o.uid == uid) {
                self.forget(info, &key, &dependent, &owners, &[uid.to_owned()]).await?;
            }
        }
        self.remove_finalizer(uid, ORPHAN).await
    }

    async fn remove_finalizer(&self, uid: &str, finalizer: &str) -> Result<(), Status> {
        let Some((info, key)) = self.locate(uid) else { return Ok(()) };
        let Some(object) = self.fresh(info, &key, uid).await? else { return Ok(()) };
        let rest: Vec<&str> = object.finalizers().filter(|f| *f != finalizer).collect();
        if rest.len() == object.finalizers().count() {
            return Ok(());
        }
        // Against the version read: a finalizer that somebody adds now must not be lost.
        let patch = json!({"metadata": {"uid": uid, "finalizers": rest,
                                        "resourceVersion": object.resource_version()}});
        match self.client.patch_object(info, &key, &Patch::Merge(patch), "").await {
            Err(status) if status.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

/// The owners of an object, as references of the API.
fn owners_of(object: &Object) -> Vec<OwnerReference> {
    object
        .get(&["metadata", "ownerReferences"])
        .and_then(|owners| serde_json::from_value(owners.clone()).ok())
        .unwrap_or_default()
}
