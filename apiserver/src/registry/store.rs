//! The generic store: what all resources share.
//!
//! Kubernetes' `k8s.io/apiserver/pkg/registry/generic/registry.Store` over [`Storage`]. The resource's own part is its
//! [`Strategy`]; admission comes in as a function, because it must see each attempt of an update with the object that
//! the attempt is based on.
//!
//! # The shape of a write
//! 1. system fields (uid, creationTimestamp, a generated name), the strategy's preparation, the generation;
//! 2. validation;
//! 3. for a Service, its addresses and ports ([`super::allocators`]);
//! 4. one transaction on condition that the object is still what step 1 started from.
//!
//! An update, patch or deletion whose condition fails starts again from the newer object, unless the caller insisted on
//! a resourceVersion. An update that changes nothing writes nothing and returns what is stored.
//!
//! `metadata.selfLink` is accepted and dropped on every write. Who owns which field has been noted before
//! ([`FieldManager`]).

mod create;
mod delete;
mod read;
mod update;

use std::{sync::Arc, time::Duration};

use apimachinery::{
    object::Object,
    resource::{self, ResourceInfo},
    status::{Status, StatusReason},
    time::Time,
};
use bytes::Bytes;
use component_base::clock::Clock;

pub(crate) use self::{
    create::New,
    delete::Deleted,
    read::{Page, parse_version, validate_watch},
};
use super::{
    allocators::Allocators,
    encode::{Encoded, encode},
    field_manager::{FieldManager, Owners},
    selection::index_of,
    strategy::{Strategy, StrategyContext},
};
use crate::{
    request::{Preconditions, RequestContext},
    storage::{Put, Storage, StorageError},
};

/// No object is stored that is longer: what a body may have.
const MAX_STORED: usize = 3 << 20;
/// Nor a custom resource that is longer than this, which etcd's limit for requests is.
const MAX_CUSTOM: usize = 3 << 19;
/// How long events are kept, as Kubernetes' `--event-ttl` says by default.
const EVENT_TTL: Duration = Duration::from_secs(3600);

/// What all stores have in common.
pub(crate) struct StoreDeps {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Clock,
    pub(crate) allocators: Arc<Allocators>,
}

/// One resource's store.
pub(crate) struct Store {
    pub(crate) strategy: Arc<dyn Strategy>,
    pub(crate) info: &'static ResourceInfo,
    pub(crate) deps: Arc<StoreDeps>,
    /// Notes who owns which fields.
    pub(crate) fields: FieldManager,
    /// `/registry/pods/`
    prefix: String,
}

/// What admission or a patch makes of an attempt.
pub(crate) type Admit<'a> =
    dyn Fn(&mut Object, Option<&Object>) -> Result<(), Status> + Send + Sync + 'a;

impl Store {
    pub(crate) fn new(strategy: Arc<dyn Strategy>, deps: Arc<StoreDeps>) -> Self {
        let info = strategy.resource();
        let fields = FieldManager::new(info, &*strategy);
        Self { strategy, info, deps, fields, prefix: prefix_of(info) }
    }

    /// The key of an object.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> String {
        if self.info.namespaced {
            format!("{}{namespace}/{name}", self.prefix)
        } else {
            format!("{}{name}", self.prefix)
        }
    }

    /// The prefix of all keys, or of those of one namespace.
    pub(crate) fn prefix(&self, namespace: &str) -> String {
        if self.info.namespaced && !namespace.is_empty() {
            format!("{}{namespace}/", self.prefix)
        } else {
            self.prefix.clone()
        }
    }

    /// The strategy, if the kind is defined at run time.
    pub(crate) fn custom(&self) -> Option<&dyn Strategy> {
        self.strategy.is_custom().then_some(&*self.strategy)
    }

    /// An object as it is served, from its stored bytes.
    pub(crate) fn load(&self, bytes: &[u8]) -> Result<Object, Status> {
        let object = Object::from_slice(bytes)?;
        if !self.strategy.converts_on_read() {
            return Ok(object);
        }
        Ok(self.strategy.on_read(&object).unwrap_or(object))
    }

    fn strategy_context<'a>(&self, context: &'a RequestContext) -> StrategyContext<'a> {
        StrategyContext {
            now: self.deps.clock.now(),
            subresource: &context.subresource,
            user: &context.user,
        }
    }

    fn now(&self) -> Time {
        Time(self.deps.clock.now()).truncated()
    }

    fn is_services(&self) -> bool {
        std::ptr::eq(self.info, &raw const resource::SERVICES)
    }

    /// The write of what a caller wants.
    ///
    /// # Errors
    /// An object that is too large for the storage, in etcd's words.
    fn checked_put(
        &self,
        key: Arc<str>,
        object: &Object,
        owners: Option<&Owners>,
    ) -> Result<Put, Status> {
        let put = self.put_with(key, object, owners);
        let most = if self.strategy.is_custom() { MAX_CUSTOM } else { MAX_STORED };
        if put.value.len() > most {
            return Err(plain_error("etcdserver: request is too large"));
        }
        Ok(put)
    }

    fn put(&self, key: Arc<str>, object: &Object) -> Put {
        self.put_with(key, object, None)
    }

    /// With the owners that are beside a new object.
    fn put_with(&self, key: Arc<str>, object: &Object, owners: Option<&Owners>) -> Put {
        let Encoded { bytes, slot } = if self.strategy.converts_on_read() {
            let mut stored = object.clone();
            self.strategy.to_storage(&mut stored);
            encode(&stored, owners)
        } else {
            encode(object, owners)
        };
        let mut put = Put::new(key, bytes).slot(slot);
        put.index = index_of(self.info, object);
        if self.info.storage_prefix == resource::EVENTS.storage_prefix {
            put.ttl = Some(EVENT_TTL);
        }
        put
    }

    /// A uid: version 4, random.
    pub(crate) fn new_uid(&self) -> String {
        uuid(&self.deps.clock)
    }
}

/// A UUID: version 4, random.
pub(crate) fn uuid(clock: &Clock) -> String {
    let high = (clock.random_u64() & 0xffff_ffff_ffff_0fff) | 0x4000;
    let low = (clock.random_u64() & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// Where a resource's objects are stored.
pub(crate) fn prefix_of(info: &ResourceInfo) -> String {
    format!("/registry/{}/", info.storage_prefix)
}

/// An object as it is answered: bytes of its JSON, resourceVersion included.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) bytes: Bytes,
    /// Whether the write made a new object.
    pub(crate) created: bool,
}

/// The failure of a storage call in the API's terms.
pub(crate) fn storage_error(info: &ResourceInfo, error: &StorageError) -> Status {
    match error {
        StorageError::Compacted { requested, compacted } => {
            Status::expired(format!("too old resource version: {requested} ({compacted})"))
        }
        StorageError::Future { requested, current } => too_large(requested.0, current.0),
        StorageError::ReadOnly(_) | StorageError::InvalidTxn(_) => Status::internal(error),
        StorageError::Closed => Status::server_timeout(info, "storage", 1),
    }
}

/// A resourceVersion that has not been reached.
fn too_large(requested: u64, current: u64) -> Status {
    let text = format!("Too large resource version: {requested}, current: {current}");
    let mut status = Status::timeout(&text, 1);
    status.details.get_or_insert_default().causes.push(apimachinery::status::StatusCause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".into(),
        field: String::new(),
    });
    status
}

/// 500 with a bare message, as Kubernetes answers errors that are no API status.
fn plain_error(message: impl Into<String>) -> Status {
    Status {
        code: 500,
        reason: StatusReason::Unknown,
        message: message.into(),
        ..Status::default()
    }
}

/// Checks what the caller believes of the stored object.
fn check_preconditions(
    info: &ResourceInfo,
    preconditions: &Preconditions,
    object: &Object,
) -> Result<(), Status> {
    if let Some(uid) = &preconditions.uid
        && uid != object.uid()
    {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            object.uid()
        );
        return Err(Status::conflict(info, object.name(), why));
    }
    if let Some(version) = &preconditions.resource_version
        && version != object.resource_version()
    {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
            object.resource_version()
        );
        return Err(Status::conflict(info, object.name(), why));
    }
    Ok(())
}

/// Removes what is accepted and not kept.
fn drop_unkept(object: &mut Object) {
    object.metadata_mut().remove("selfLink");
}
