//! New objects.

use std::sync::Arc;

use apimachinery::{object::Object, resource, status::Status};

use super::{Admit, Store, Stored, drop_unkept, plain_error, storage_error};
use crate::{
    registry::{allocators::service, field_manager::Owners, generated},
    request::RequestContext,
    storage::{Txn, TxnResult},
};

/// How often a generated name is tried before the caller is told that it is taken.
const GENERATE_ATTEMPTS: usize = 8;
/// Names are 63 characters at most, so the given part is cut to leave room for the suffix.
const MAX_GENERATED_BASE: usize = 63 - generated::SUFFIX_LENGTH;

/// A new object, decoded and defaulted, and its owners where they are not noted in it.
pub(crate) struct New {
    pub(crate) object: Object,
    pub(crate) owners: Option<Owners>,
}

impl Store {
    /// Stores a new object.
    ///
    /// # Errors
    /// Whatever admission, validation, allocation or a taken name give.
    pub(crate) async fn create(
        &self,
        context: &RequestContext,
        New { mut object, owners }: New,
        admit: &Admit<'_>,
    ) -> Result<Stored, Status> {
        if !object.resource_version().is_empty() {
            return Err(plain_error("resourceVersion should not be set on objects to be created"));
        }
        self.settle_namespace(context, &mut object)?;
        admit(&mut object, None)?;
        self.fill_system_fields(&mut object);
        let generated = object.name().is_empty() && !object.generate_name().is_empty();
        if !generated {
            return self.create_named(context, object, owners.as_ref()).await;
        }
        for _ in 1..GENERATE_ATTEMPTS {
            let mut attempt = object.clone();
            self.generate_name(&mut attempt);
            match self.create_named(context, attempt, owners.as_ref()).await {
                Err(error) if error.is_already_exists() => {}
                answer => return answer,
            }
        }
        self.generate_name(&mut object);
        let name = object.name().to_owned();
        self.create_named(context, object, owners.as_ref()).await.map_err(|error| {
            if error.is_already_exists() {
                Status::generate_name_conflict(self.info, &name, 1)
            } else {
                error
            }
        })
    }

    /// The object lives in the request's namespace.
    fn settle_namespace(
        &self,
        context: &RequestContext,
        object: &mut Object,
    ) -> Result<(), Status> {
        if !self.info.namespaced {
            object.metadata_mut().remove("namespace");
            return Ok(());
        }
        if object.namespace().is_empty() {
            object.metadata_mut().insert("namespace".into(), context.namespace.as_str().into());
        } else if object.namespace() != context.namespace {
            return Err(Status::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request ({} != {})",
                object.namespace(),
                context.namespace
            )));
        }
        Ok(())
    }

    fn fill_system_fields(&self, object: &mut Object) {
        drop_unkept(object);
        let uid = self.new_uid();
        let now = self.now().to_string();
        let metadata = object.metadata_mut();
        for key in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
            metadata.remove(key);
        }
        metadata.insert("uid".into(), uid.into());
        metadata.insert("creationTimestamp".into(), now.into());
        if self.strategy.has_generation() {
            metadata.insert("generation".into(), 1.into());
        }
    }

    fn generate_name(&self, object: &mut Object) {
        let base = object.generate_name();
        let mut name = base.chars().take(MAX_GENERATED_BASE).collect::<String>();
        name.push_str(&generated::random_suffix(&self.deps.clock));
        object.metadata_mut().insert("name".into(), name.into());
    }

    async fn create_named(
        &self,
        context: &RequestContext,
        mut object: Object,
        owners: Option<&Owners>,
    ) -> Result<Stored, Status> {
        let strategy_context = self.strategy_context(context);
        self.strategy.prepare_for_create(&strategy_context, &mut object);
        let errors = self.strategy.validate_create(&strategy_context, &object);
        if !errors.is_empty() {
            return Err(Status::invalid(self.info, object.name(), errors));
        }
        if std::ptr::eq(self.info, &raw const resource::SERVICES) {
            return self.create_service(context, object, owners).await;
        }
        if context.dry_run {
            return self.dry_create(object, owners).await;
        }
        let key: Arc<str> = self.key(object.namespace(), object.name()).into();
        let txn = Txn::create(self.checked_put(key, &object, owners)?);
        match self.deps.storage.txn(txn).await.map_err(|e| storage_error(self.info, &e))? {
            TxnResult::Committed { puts, .. } => {
                Ok(Stored { bytes: puts[0].value.clone(), created: true })
            }
            TxnResult::Conflict { .. } => Err(Status::already_exists(self.info, object.name())),
        }
    }

    async fn create_service(
        &self,
        context: &RequestContext,
        object: Object,
        owners: Option<&Owners>,
    ) -> Result<Stored, Status> {
        loop {
            let mut service = object.clone();
            let plan = service::allocate(&self.deps.allocators, &mut service, None)?;
            if context.dry_run {
                return self.dry_create(service, owners).await;
            }
            let key: Arc<str> = self.key(service.namespace(), service.name()).into();
            let mut txn = Txn::create(self.checked_put(key, &service, owners)?);
            plan.extend(&mut txn, &service);
            let conditions: Vec<_> = txn.compares.iter().map(|c| c.key().clone()).collect();
            match self.deps.storage.txn(txn).await.map_err(|e| storage_error(self.info, &e))? {
                TxnResult::Committed { puts, .. } => {
                    plan.commit(&self.deps.allocators);
                    return Ok(Stored { bytes: puts[0].value.clone(), created: true });
                }
                TxnResult::Conflict { failed: 0, .. } => {
                    return Err(Status::already_exists(self.info, service.name()));
                }
                TxnResult::Conflict { failed, .. } => plan.conflicted(&conditions[failed]),
            }
        }
    }

    /// Everything but the write.
    async fn dry_create(
        &self,
        mut object: Object,
        owners: Option<&Owners>,
    ) -> Result<Stored, Status> {
        if let Some(owners) = owners.and_then(|owners| serde_json::from_str(&owners.0).ok()) {
            object.metadata_mut().insert("managedFields".into(), owners);
        }
        let key = self.key(object.namespace(), object.name());
        match self.deps.storage.get(&key).await.map_err(|e| storage_error(self.info, &e))? {
            Some(_) => Err(Status::already_exists(self.info, object.name())),
            None => Ok(Stored { bytes: object.to_bytes(), created: true }),
        }
    }
}
