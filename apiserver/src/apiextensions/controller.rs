//! Follows the definitions.
//!
//! One round lists them, works out what each needs ([`plan`]) and does it: names and conditions are written through the
//! chain, the table is replaced, and the objects of a definition that goes are deleted by a task of its own, which ends
//! by taking the finalizer off. A round that wrote is followed by another, until there is nothing to do.

use std::{collections::HashSet, sync::Arc};

use apimachinery::{
    object::Object,
    resource::{self, ResourceInfo},
    status::Status,
    time::Time,
};
use component_base::shutdown::Shutdown;
use parking_lot::Mutex;

use super::{
    Definitions,
    definition::{Definition, FINALIZER, set_condition},
    names::{Taken, settle},
};
use crate::{
    authorization::MASTERS,
    handler::{Handler, Reply},
    registry::selection::namespace_and_name,
    request::{DeleteOptions, Request, RequestContext, UserInfo, Verb},
    storage::{ListQuery, Revision, StorageError, WatchQuery},
};

const INFO: &ResourceInfo = &resource::CUSTOM_RESOURCE_DEFINITIONS;

/// What a definition needs.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Its names or conditions are not up to date: its status should be this.
    Status(Object),
    /// It goes: its objects go first.
    Empty(Definition),
}

/// What the definitions need, one status at a time: the names that one gets decide on those of the next.
pub(super) fn plan(objects: &[Object], now: Time) -> Vec<Action> {
    let definitions: Vec<Definition> = objects.iter().map(Definition::of).collect();
    let mut actions = Vec::new();
    for (object, definition) in objects.iter().zip(&definitions) {
        if definition.deleting && definition.has_finalizer {
            actions.push(Action::Empty(definition.clone()));
            continue;
        }
        let mut settled = object.clone();
        settle(&mut settled, &Taken::by_others(definition, &definitions), now);
        if settled != *object {
            actions.push(Action::Status(settled));
            break;
        }
    }
    actions
}

impl Definitions {
    /// Serves what is stored.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn load(&self) -> Result<(), StorageError> {
        let (definitions, _) = self.stored().await?;
        self.serve(definitions);
        Ok(())
    }

    /// Follows the definitions until the end.
    pub(crate) async fn follow(self: Arc<Self>, handler: &Arc<Handler>, shutdown: &Shutdown) {
        self.following.store(true, std::sync::atomic::Ordering::Release);
        let emptying: Arc<Mutex<HashSet<String>>> = Arc::default();
        let prefix = crate::registry::store_prefix(INFO);
        let mut watch = None;
        while !shutdown.token().is_cancelled() {
            let revision = match self.round(handler, shutdown, &emptying).await {
                Ok(revision) => revision,
                Err(StorageError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "failed to follow the definitions");
                    handler.clock().sleep(std::time::Duration::from_secs(1)).await;
                    continue;
                }
            };
            self.followed.send_replace(revision);
            if watch.is_none() {
                let query = WatchQuery::prefix(prefix.clone(), revision);
                watch = handler.storage().watch(query).await.ok();
            }
            let Some(events) = &mut watch else { continue };
            tokio::select! {
                event = events.next() => if !matches!(event, Some(Ok(_))) {
                    watch = None;
                },
                () = self.asked.notified() => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Does what there is to do, and gives the revision that it has seen.
    async fn round(
        &self,
        handler: &Arc<Handler>,
        shutdown: &Shutdown,
        emptying: &Arc<Mutex<HashSet<String>>>,
    ) -> Result<Revision, StorageError> {
        loop {
            let list = ListQuery::prefix(crate::registry::store_prefix(INFO));
            let list = handler.storage().list(&list).await?;
            let objects: Vec<Object> =
                list.items.iter().filter_map(|kv| Object::from_slice(&kv.value).ok()).collect();
            let actions = plan(&objects, Time(handler.clock().now()));
            // Whoever sees the condition is served.
            let mut served: Vec<Definition> = objects.iter().map(Definition::of).collect();
            for action in &actions {
                let Action::Status(object) = action else { continue };
                if let Some(known) = served.iter_mut().find(|known| known.uid == object.uid()) {
                    *known = Definition::of(object);
                }
            }
            self.serve(served);
            let mut wrote = false;
            for action in actions {
                match action {
                    Action::Status(object) => {
                        wrote = true;
                        if let Err(status) = write(handler, &object, "status").await
                            && !is_overtaken(&status)
                        {
                            tracing::warn!(name = object.name(), %status, "failed to write the status of a definition");
                            return Ok(list.revision);
                        }
                    }
                    Action::Empty(definition) => {
                        if emptying.lock().insert(definition.uid.clone()) {
                            let (handler, emptying) = (handler.clone(), emptying.clone());
                            let token = shutdown.token().clone();
                            shutdown.spawn("custom resource cleanup", async move {
                                let work = Box::pin(empty(&handler, &definition));
                                token.run_until_cancelled(work).await;
                                emptying.lock().remove(&definition.uid);
                            });
                        }
                    }
                }
            }
            if !wrote {
                return Ok(list.revision);
            }
        }
    }
}

fn is_overtaken(status: &Status) -> bool {
    status.is_not_found() || status.is_conflict()
}

fn context(verb: Verb, info: &'static ResourceInfo, namespace: &str, name: &str) -> RequestContext {
    RequestContext {
        user: Arc::new(UserInfo {
            name: "system:apiserver".to_owned(),
            groups: vec![MASTERS.to_owned()],
            ..UserInfo::default()
        }),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        field_manager: "kube-apiserver".to_owned(),
        ..RequestContext::new(verb, info)
    }
}

/// Replaces a definition, or its status.
async fn write(handler: &Handler, object: &Object, subresource: &str) -> Result<(), Status> {
    let mut context = context(Verb::Update, INFO, "", object.name());
    subresource.clone_into(&mut context.subresource);
    handler.answer(&context, Request::Update(object.to_bytes())).await.map(drop)
}

/// The definition as it is now, if it still is the one.
async fn fresh(handler: &Handler, definition: &Definition) -> Result<Option<Object>, Status> {
    let get = Request::Get { resource_version: String::new() };
    let answer = handler.answer(&context(Verb::Get, INFO, "", &definition.name), get).await;
    match answer {
        Ok(answer) => {
            let Reply::Object { body, .. } = answer.reply else { return Ok(None) };
            let object = Object::from_slice(&body)?;
            Ok((object.uid() == definition.uid).then_some(object))
        }
        Err(status) if status.is_not_found() => Ok(None),
        Err(status) => Err(status),
    }
}

/// Deletes the objects of a definition, waits for those that have finalizers, and lets the definition go.
async fn empty(handler: &Arc<Handler>, definition: &Definition) {
    let pause = std::time::Duration::from_secs(1);
    loop {
        match empty_once(handler, definition).await {
            Ok(()) => return,
            Err(status) if is_overtaken(&status) => {}
            Err(status) => {
                tracing::warn!(name = definition.name, %status, "failed to delete custom resources");
                handler.clock().sleep(pause).await;
            }
        }
    }
}

async fn empty_once(handler: &Arc<Handler>, definition: &Definition) -> Result<(), Status> {
    let now = || Time(handler.clock().now());
    let Some(mut object) = fresh(handler, definition).await? else { return Ok(()) };
    let message = "CustomResource deletion is in progress";
    set_condition(&mut object, "Terminating", true, "InstanceDeletionInProgress", message, now());
    write(handler, &object, "status").await?;
    if let Some(version) = definition.storage_version().filter(|_| definition.is_served()) {
        delete_all(handler, definition.info(version)).await?;
    }
    let Some(mut object) = fresh(handler, definition).await? else { return Ok(()) };
    let message = "removed all instances";
    set_condition(&mut object, "Terminating", false, "InstanceDeletionCompleted", message, now());
    write(handler, &object, "status").await?;
    let Some(mut object) = fresh(handler, definition).await? else { return Ok(()) };
    let kept: Vec<&str> = object.finalizers().filter(|finalizer| *finalizer != FINALIZER).collect();
    let kept = serde_json::json!(kept);
    object.metadata_mut().insert("finalizers".into(), kept);
    write(handler, &object, "").await
}

/// Deletes all objects of a kind, and returns when there is none.
async fn delete_all(handler: &Arc<Handler>, info: &'static ResourceInfo) -> Result<(), Status> {
    let internal = |error: StorageError| Status::internal(error);
    let prefix = crate::registry::store_prefix(info);
    // A version that is stored may not be served; any that is will do.
    let served = handler.definitions.table();
    let served = served
        .resources
        .iter()
        .find(|other| other.group == info.group && other.resource == info.resource);
    loop {
        let list = ListQuery::prefix(prefix.clone());
        let list = handler.storage().list(&list).await.map_err(internal)?;
        if list.items.is_empty() {
            return Ok(());
        }
        for kv in &list.items {
            let Some(served) = served else {
                let txn = crate::storage::Txn::delete(kv.key.clone(), kv.mod_revision);
                handler.storage().txn(txn).await.map_err(internal)?;
                continue;
            };
            let (namespace, name) = namespace_and_name(info, &kv.key);
            let request = Request::Delete(DeleteOptions::default());
            match handler.answer(&context(Verb::Delete, served, namespace, name), request).await {
                Err(status) if !is_overtaken(&status) => return Err(status),
                _ => {}
            }
        }
        let list = ListQuery::prefix(prefix.clone());
        let left = handler.storage().list(&list).await.map_err(internal)?;
        if left.items.is_empty() {
            return Ok(());
        }
        let query = WatchQuery::prefix(prefix.clone(), left.revision);
        let mut watch = handler.storage().watch(query).await.map_err(internal)?;
        watch.next().await;
    }
}
