//! Create, update, patch, delete, and the subresources that are written.

use std::sync::Arc;

use apimachinery::{
    object::Object,
    resource::{self, ResourceInfo},
    status::Status,
};
use futures::{StreamExt, future::BoxFuture};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Handler, Reply, apply::check_options};
use crate::{
    admission::{self, Facts, Operation, Review},
    registry::{
        decode, patch,
        selection::{Selection, namespace_and_name},
        store::{Deleted, New, Store, Stored, storage_error},
        strategy::Strategy,
        subresources,
    },
    request::{DeleteOptions, ListOptions, PatchType, Preconditions, RequestContext, Verb},
};

/// Deletions of a collection under way at one time: they share the storage's groups.
const PARALLEL_DELETIONS: usize = 32;

impl Handler {
    pub(super) async fn create(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        body: &[u8],
        warnings: &mut Vec<String>,
    ) -> Result<Reply, Status> {
        if context.subresource == "binding" {
            return self.bind(store, context, body, warnings).await;
        }
        if context.subresource == "probe" {
            return self.node_probe(store, context, body).await;
        }
        let mut object = self.read_object(store.info, store.custom(), context, body, warnings)?;
        if context.subresource == "token" {
            return self.request_token(store, context, &object).await;
        }
        if context.subresource == "eviction" {
            return self.evict(store, context, object).await;
        }
        store.strategy.default(&mut object);
        let owners = store.fields.created(context, self.deps.clock.now(), &mut object);
        let stored = self.create_object(store, context, New { object, owners }, warnings).await?;
        let body = self.shaper(store, context).object(&stored.bytes)?;
        Ok(Reply::Object { body, created: true })
    }

    /// Stores a new object.
    pub(super) async fn create_object(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        new: New,
        warnings: &mut Vec<String>,
    ) -> Result<Stored, Status> {
        if let Some(refusal) = store.strategy.refuses_creation() {
            return Err(refusal);
        }
        self.check_grant(context, &new.object, None)?;
        let facts = self
            .facts
            .for_create(context, &new.object)
            .await
            .map_err(|error| storage_error(store.info, &error))?;
        warnings.extend(store.strategy.warnings(&new.object));
        let operation = Operation::Create;
        let admit = |object: &mut Object, old: Option<&Object>| {
            admission::admit(&mut Review { context, operation, object, old, facts: &facts })
        };
        store.create(context, new, &admit).await
    }

    pub(super) async fn update(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        body: &[u8],
        warnings: &mut Vec<String>,
    ) -> Result<Reply, Status> {
        if context.subresource == "scale" {
            let scale = self.read_object(store.info, store.custom(), context, body, warnings)?;
            return self.write_scale(store, context, &|_| Ok(scale.clone())).await;
        }
        let mut object = self.read_object(store.info, store.custom(), context, body, warnings)?;
        check_name(context, &mut object)?;
        store.strategy.default(&mut object);
        warnings.extend(store.strategy.warnings(&object));
        let transform = |old: &Object| {
            let mut object = object.clone();
            store.fields.updated(context, self.deps.clock.now(), Some(old), &mut object);
            self.admit_update(context, &mut object, old)?;
            Ok(object)
        };
        let stored = match store.update(context, &transform).await {
            Err(status)
                if status.is_not_found()
                    && context.subresource.is_empty()
                    && store.strategy.allow_create_on_update()
                    && object.resource_version().is_empty() =>
            {
                // Creating is another right than updating.
                let create = RequestContext { verb: Verb::Create, ..context.clone() };
                let empty = crate::request::Request::Create(bytes::Bytes::new());
                self.authorize(&create, &empty).await?;
                let owners = store.fields.created(&create, self.deps.clock.now(), &mut object);
                self.create_object(store, &create, New { object, owners }, &mut Vec::new()).await?
            }
            other => other?,
        };
        let body = self.shaper(store, context).object(&stored.bytes)?;
        Ok(Reply::Object { body, created: stored.created })
    }

    pub(super) async fn patch(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        patch_type: PatchType,
        body: &[u8],
        warnings: &mut Vec<String>,
    ) -> Result<Reply, Status> {
        check_options(context, patch_type == PatchType::Apply)?;
        if patch_type == PatchType::Apply {
            return self.apply(store, context, body, warnings).await;
        }
        if patch_type == PatchType::Strategic && store.strategy.is_custom() {
            return Err(Status::unsupported_media_type(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ]));
        }
        let patch = patch::parse(body)?;
        if context.subresource == "scale" {
            let apply = |scale: &Object| patch::apply(patch_type, &patch, scale);
            return self.write_scale(store, context, &apply).await;
        }
        let collected = Mutex::new(Vec::new());
        let transform = |old: &Object| {
            let mut object = patch::apply(patch_type, &patch, old)?;
            let mut found = Vec::new();
            let shown = |patched: &Object| patch::shown(patch_type, &patch, patched);
            let validation = context.field_validation;
            let (info, custom) = (store.info, store.custom());
            decode::check_patched(info, custom, &mut object, &shown, validation, &mut found)?;
            check_name(context, &mut object)?;
            store.strategy.default(&mut object);
            store.fields.updated(context, self.deps.clock.now(), Some(old), &mut object);
            self.admit_update(context, &mut object, old)?;
            found.extend(store.strategy.warnings(&object));
            *collected.lock() = found;
            Ok(object)
        };
        let stored = store.update(context, &transform).await?;
        warnings.append(&mut collected.lock());
        let body = self.shaper(store, context).object(&stored.bytes)?;
        Ok(Reply::Object { body, created: false })
    }

    pub(super) async fn delete(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        options: &DeleteOptions,
    ) -> Result<Reply, Status> {
        let deleted = self.delete_object(store, context, options).await?;
        let shaper = self.shaper(store, context);
        let body = match deleted {
            Deleted::Gone(object) if !returns_deleted(store.info) => {
                let status = Status::success(store.info, object.name(), object.uid());
                serde_json::to_vec(&status).expect("a status is JSON").into()
            }
            Deleted::Gone(object) | Deleted::Marked(object) => shaper.object(&object.to_bytes())?,
        };
        Ok(Reply::Object { body, created: false })
    }

    async fn delete_object(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let facts = Facts::default();
        let operation = Operation::Delete;
        let admit = |object: &mut Object, old: Option<&Object>| {
            admission::admit(&mut Review { context, operation, object, old, facts: &facts })
        };
        store.delete(context, options, &admit).await
    }

    /// Deletes all that is selected; what others delete meanwhile is deleted, too.
    pub(super) async fn delete_collection(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<Reply, Status> {
        let selection = Selection::parse(&store.strategy, list)?;
        let page = store.list(&context.namespace, &selection, list).await?;
        let mut deletions = Vec::with_capacity(page.items.len());
        for kv in &page.items {
            let (namespace, name) = namespace_and_name(store.info, &kv.key);
            let one = RequestContext {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                preconditions: Preconditions::default(),
                ..context.clone()
            };
            deletions.push(self.delete_one(store, one, options));
        }
        let outcomes: Vec<_> =
            futures::stream::iter(deletions).buffered(PARALLEL_DELETIONS).collect().await;
        let mut items = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            items.extend(outcome?.map(Value::from));
        }
        let body = json!({
            "kind": store.info.list_kind(),
            "apiVersion": store.info.api_version(),
            "metadata": {"resourceVersion": page.revision.to_string()},
            "items": items,
        });
        Ok(Reply::Object { body: body.to_string().into(), created: false })
    }

    /// Deletes one of a collection; None if somebody else was faster.
    fn delete_one<'a>(
        &'a self,
        store: &'a Arc<Store>,
        context: RequestContext,
        options: &'a DeleteOptions,
    ) -> BoxFuture<'a, Result<Option<Object>, Status>> {
        Box::pin(async move {
            match self.delete_object(store, &context, options).await {
                Err(status) if status.is_not_found() => Ok(None),
                Ok(Deleted::Gone(object) | Deleted::Marked(object)) => Ok(Some(object)),
                Err(status) => Err(status),
            }
        })
    }

    async fn bind(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        body: &[u8],
        warnings: &mut Vec<String>,
    ) -> Result<Reply, Status> {
        let mut binding = self.read_object(store.info, store.custom(), context, body, warnings)?;
        check_name(context, &mut binding)?;
        subresources::validate_binding(&binding)?;
        let now = self.deps.clock.now();
        store
            .rewrite(context, &|pod| subresources::bind(pod, &binding, now).map(|()| true))
            .await?;
        Ok(subresources::made())
    }

    /// Writes a scale back into its object; `make` gives the new scale from the present one.
    async fn write_scale(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        make: &(dyn Fn(&Object) -> Result<Object, Status> + Send + Sync),
    ) -> Result<Reply, Status> {
        let strategy = &store.strategy;
        let transform = |old: &Object| {
            let mut scale = make(&strategy.to_scale(old)?)?;
            check_name(context, &mut scale)?;
            let mut object = old.clone();
            let version = scale.resource_version().to_owned();
            object.metadata_mut().insert("resourceVersion".into(), version.into());
            strategy.from_scale(&mut object, &scale)?;
            store.fields.updated(context, self.deps.clock.now(), Some(old), &mut object);
            self.admit_update(context, &mut object, old)?;
            Ok(object)
        };
        let stored = store.update(context, &transform).await?;
        let scale = strategy.to_scale(&store.load(&stored.bytes)?)?;
        Ok(Reply::Object { body: scale.to_bytes(), created: false })
    }

    pub(super) fn admit_update(
        &self,
        context: &RequestContext,
        object: &mut Object,
        old: &Object,
    ) -> Result<(), Status> {
        self.check_grant(context, object, Some(old))?;
        let facts = Facts::default();
        let operation = Operation::Update;
        admission::admit(&mut Review { context, operation, object, old: Some(old), facts: &facts })
    }

    /// Nobody grants more than they hold, or approves and signs for whom they may not.
    fn check_grant(
        &self,
        context: &RequestContext,
        object: &Object,
        old: Option<&Object>,
    ) -> Result<(), Status> {
        self.authorizer
            .check_grant(context, object, old)
            .and_then(|()| self.authorizer.check_signer(context, object, old))
            .map_err(|why| Status::forbidden(context.resource, object.name(), why))
    }

    /// Reads a body: of the resource's kind, or of its subresource's.
    pub(super) fn read_object(
        &self,
        info: &'static ResourceInfo,
        custom: Option<&dyn Strategy>,
        context: &RequestContext,
        body: &[u8],
        warnings: &mut Vec<String>,
    ) -> Result<Object, Status> {
        if body.len() > super::MAX_BODY {
            return Err(Status::request_entity_too_large(format!("limit is {}", super::MAX_BODY)));
        }
        let (kind, api_version) = match info.subresource(&context.subresource) {
            Some(sub) if sub.group.is_empty() => (sub.kind, sub.version.to_owned()),
            Some(sub) => (sub.kind, format!("{}/{}", sub.group, sub.version)),
            None => (info.kind, info.api_version()),
        };
        let validation = context.field_validation;
        decode::decode(info, custom, kind, &api_version, body, validation, warnings)
    }
}

/// The body's name and namespace, where given, are the path's.
pub(super) fn check_name(context: &RequestContext, object: &mut Object) -> Result<(), Status> {
    if object.name().is_empty() {
        object.metadata_mut().insert("name".into(), context.name.as_str().into());
    } else if object.name() != context.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            object.name(),
            context.name
        )));
    }
    if !context.namespace.is_empty() {
        if object.namespace().is_empty() {
            object.metadata_mut().insert("namespace".into(), context.namespace.as_str().into());
        } else if object.namespace() != context.namespace {
            return Err(Status::bad_request(format!(
                "the namespace of the object ({}) does not match the namespace on the URL ({})",
                object.namespace(),
                context.namespace
            )));
        }
    }
    Ok(())
}

/// Kubernetes answers the deletion of most kinds with a Status, of these with the object.
fn returns_deleted(info: &'static ResourceInfo) -> bool {
    [&resource::PODS, &resource::SERVICES, &resource::SERVICE_ACCOUNTS]
        .iter()
        .any(|other| std::ptr::eq(*other, info))
}
