//! Replacements and patches.

use std::sync::Arc;

use apimachinery::{
    field::{FieldError, Path},
    managed_fields,
    object::Object,
    status::Status,
};
use serde_json::Value;

use super::{Store, Stored, check_preconditions, drop_unkept, storage_error};
use crate::{
    registry::allocators::service::{self, Plan},
    request::{Preconditions, RequestContext},
    storage::{KeyValue, Revision, Txn, TxnResult},
};

/// How often an update starts again when others write the same object.
const ATTEMPTS: usize = 64;

/// Makes the new object from the stored one; called once per attempt.
pub(crate) type Transform<'a> = dyn Fn(&Object) -> Result<Object, Status> + Send + Sync + 'a;

enum Attempt {
    Done(Stored),
    /// Somebody wrote meanwhile; what is stored now, if anything.
    Again(Option<Arc<KeyValue>>),
}

impl Store {
    /// Replaces an object by what `transform` makes of it.
    ///
    /// # Errors
    /// Not found, a conflict, or whatever `transform`, validation or allocation give.
    pub(crate) async fn update(
        &self,
        context: &RequestContext,
        transform: &Transform<'_>,
    ) -> Result<Stored, Status> {
        let key: Arc<str> = self.key(&context.namespace, &context.name).into();
        let mut current =
            self.deps.storage.get(&key).await.map_err(|e| storage_error(self.info, &e))?;
        for _ in 0..ATTEMPTS {
            let Some(kv) = current else {
                return Err(Status::not_found(self.info, &context.name));
            };
            match self.try_update(context, transform, &key, &kv).await? {
                Attempt::Done(stored) => return Ok(stored),
                Attempt::Again(newer) => current = newer,
            }
        }
        Err(Status::modified(self.info, &context.name))
    }

    /// Changes an object past its strategy: for what the server itself decides, such as a pod's binding. `change`
    /// tells whether it changed anything.
    ///
    /// # Errors
    /// Not found, or what `change` gives.
    pub(crate) async fn rewrite(
        &self,
        context: &RequestContext,
        change: &(dyn Fn(&mut Object) -> Result<bool, Status> + Send + Sync),
    ) -> Result<Stored, Status> {
        let key: Arc<str> = self.key(&context.namespace, &context.name).into();
        let mut current =
            self.deps.storage.get(&key).await.map_err(|e| storage_error(self.info, &e))?;
        for _ in 0..ATTEMPTS {
            let Some(kv) = current else {
                return Err(Status::not_found(self.info, &context.name));
            };
            let mut object = self.load(&kv.value)?;
            if !change(&mut object)? {
                return Ok(Stored { bytes: kv.value.clone(), created: false });
            }
            if context.dry_run {
                return Ok(Stored { bytes: object.to_bytes(), created: false });
            }
            let txn = Txn::update(self.checked_put(key.clone(), &object, None)?, kv.mod_revision);
            match self.commit(txn, None, &object).await? {
                Attempt::Done(stored) => return Ok(stored),
                Attempt::Again(newer) => current = newer,
            }
        }
        Err(Status::modified(self.info, &context.name))
    }

    async fn try_update(
        &self,
        context: &RequestContext,
        transform: &Transform<'_>,
        key: &Arc<str>,
        kv: &KeyValue,
    ) -> Result<Attempt, Status> {
        let old = self.load(&kv.value)?;
        check_preconditions(self.info, &context.preconditions, &old)?;
        let mut object = transform(&old)?;
        self.check_version(&object, &old)?;
        self.prepare_update(context, &mut object, &old)?;
        if self.is_deleted_by(&object, &old) {
            return self.finish_deletion(context, key, kv, &object).await;
        }
        let plan = if self.is_services() {
            Some(service::allocate(&self.deps.allocators, &mut object, Some(&old))?)
        } else {
            None
        };
        object.metadata_mut().insert("resourceVersion".into(), old.resource_version().into());
        if object == old || managed_fields::same_but_times(&object, &old) {
            return Ok(Attempt::Done(Stored { bytes: kv.value.clone(), created: false }));
        }
        if context.dry_run {
            return Ok(Attempt::Done(Stored { bytes: object.to_bytes(), created: false }));
        }
        let txn = Txn::update(self.checked_put(key.clone(), &object, None)?, kv.mod_revision);
        self.commit(txn, plan, &object).await
    }

    async fn commit(
        &self,
        mut txn: Txn,
        plan: Option<Plan>,
        object: &Object,
    ) -> Result<Attempt, Status> {
        if let Some(plan) = &plan {
            plan.extend(&mut txn, object);
        }
        let conditions: Vec<_> = txn.compares.iter().map(|c| c.key().clone()).collect();
        match self.deps.storage.txn(txn).await.map_err(|e| storage_error(self.info, &e))? {
            TxnResult::Committed { puts, .. } => {
                if let Some(plan) = plan {
                    plan.commit(&self.deps.allocators);
                }
                Ok(Attempt::Done(Stored { bytes: puts[0].value.clone(), created: false }))
            }
            TxnResult::Conflict { failed: 0, current } => Ok(Attempt::Again(current)),
            TxnResult::Conflict { failed, .. } => {
                if let Some(plan) = plan {
                    plan.conflicted(&conditions[failed]);
                }
                let object = &conditions[0];
                Ok(Attempt::Again(
                    self.deps
                        .storage
                        .get(object)
                        .await
                        .map_err(|e| storage_error(self.info, &e))?,
                ))
            }
        }
    }

    /// The caller's resourceVersion and uid, where given, are those of the stored object.
    fn check_version(&self, object: &Object, old: &Object) -> Result<(), Status> {
        let version = object.resource_version();
        if version.is_empty() {
            if !self.strategy.allow_unconditional_update() {
                let field = Path::new("metadata").child("resourceVersion");
                return Err(Status::invalid(
                    self.info,
                    old.name(),
                    vec![FieldError::invalid(&field, version, "must be specified for an update")],
                ));
            }
        } else if version != old.resource_version() {
            return Err(Status::modified(self.info, old.name()));
        }
        let uid = object.uid();
        let uid = (!uid.is_empty()).then(|| uid.to_owned());
        check_preconditions(self.info, &Preconditions { uid, resource_version: None }, old)
    }

    fn prepare_update(
        &self,
        context: &RequestContext,
        object: &mut Object,
        old: &Object,
    ) -> Result<(), Status> {
        drop_unkept(object);
        keep_system_fields(object, old, self.info.namespaced);
        let strategy_context = self.strategy_context(context);
        self.strategy.prepare_for_update(&strategy_context, object, old);
        // A status write changes nothing that is wished for, whatever metadata it carries.
        let wished = context.subresource != "status";
        if wished && self.strategy.has_generation() && self.strategy.generation_changed(object, old)
        {
            object.metadata_mut().insert("generation".into(), (old.generation() + 1).into());
        }
        let errors = self.strategy.validate_update(&strategy_context, object, old);
        if errors.is_empty() { Ok(()) } else { Err(Status::invalid(self.info, old.name(), errors)) }
    }

    /// The update took away the last finalizer of an object that waits for its deletion.
    fn is_deleted_by(&self, object: &Object, old: &Object) -> bool {
        old.deletion_timestamp().is_some()
            && old.get_i64(&["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0) == 0
            && object.finalizers().next().is_none()
            && super::delete::spec_finalizers(self.info, object).is_empty()
    }

    async fn finish_deletion(
        &self,
        context: &RequestContext,
        key: &Arc<str>,
        kv: &KeyValue,
        object: &Object,
    ) -> Result<Attempt, Status> {
        let bytes = object.to_bytes();
        if !context.dry_run {
            match self.delete_now(key, kv.mod_revision, object).await? {
                Ok(_) => {}
                Err(newer) => return Ok(Attempt::Again(newer)),
            }
        }
        Ok(Attempt::Done(Stored { bytes, created: false }))
    }

    /// Deletes an object that is still at `revision`, with everything that it holds; else gives what is stored.
    pub(super) async fn delete_now(
        &self,
        key: &Arc<str>,
        revision: Revision,
        object: &Object,
    ) -> Result<Result<(), Option<Arc<KeyValue>>>, Status> {
        let mut txn = Txn::delete(key.clone(), revision);
        let plan = self.is_services().then(|| service::release(object));
        if let Some(plan) = &plan {
            plan.extend(&mut txn, object);
        }
        match self.deps.storage.txn(txn).await.map_err(|e| storage_error(self.info, &e))? {
            TxnResult::Committed { .. } => {
                if let Some(plan) = plan {
                    plan.commit(&self.deps.allocators);
                }
                Ok(Ok(()))
            }
            TxnResult::Conflict { current, .. } => Ok(Err(current)),
        }
    }
}

/// What an update cannot change, or may leave out, comes from the stored object.
fn keep_system_fields(object: &mut Object, old: &Object, namespaced: bool) {
    let kept = |key: &str| old.get(&["metadata", key]).cloned();
    let missing = |object: &Object, key: &str| match object.get(&["metadata", key]) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    };
    let mut keys = vec!["name", "uid", "creationTimestamp"];
    if namespaced {
        keys.push("namespace");
    }
    for key in keys {
        if missing(object, key)
            && let Some(value) = kept(key)
        {
            object.metadata_mut().insert(key.into(), value);
        }
    }
    // Only the server sets these.
    for key in ["generation", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        match kept(key) {
            Some(value) => object.metadata_mut().insert(key.into(), value),
            None => object.metadata_mut().remove(key),
        };
    }
}
