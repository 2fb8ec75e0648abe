//! Admission: what a write must obey beyond its own validity, and what it is given.
//!
//! Plugins are pure functions in one table, in Kubernetes' order. What they must know of other objects (the namespace,
//! the ServiceAccount, PriorityClasses) is read before, once per request, as [`Facts`]: an update's plugins run again on
//! each attempt and must not wait.
//!
//! | plugin | does |
//! |---|---|
//! | NamespaceLifecycle | refuses objects in absent or terminating namespaces, and the deletion of Kubernetes' own |
//! | NodeRestriction | keeps a kubelet to its own Node, Lease, pods and certificates |
//! | ServiceAccount | gives a pod its account, the account's pull secrets, and the volume with its token |
//! | Priority | resolves a pod's PriorityClass |
//! | CertificateSubjectRestriction | keeps `system:masters` out of certificates for the API server's clients |
//! | DefaultIngressClass | gives an Ingress without a class the default one |
//! | DefaultTolerationSeconds | lets a pod stay five minutes on an unreachable node |

mod certificate_subject_restriction;
mod default_ingress_class;
mod default_toleration_seconds;
mod namespace_lifecycle;
mod node_restriction;
mod priority;
mod service_account;

use std::{collections::HashMap, sync::Arc, time::Duration};

use apimachinery::{
    object::Object,
    resource::{self, ResourceInfo},
    status::Status,
};
use component_base::clock::Clock;
use parking_lot::RwLock;

use crate::{
    registry::{generated, store_prefix},
    request::{RequestContext, Verb},
    storage::{KeyValue, ListQuery, Revision, Storage, StorageError, WatchQuery},
};

/// What is being done, as admission names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

/// One object on its way to the store.
pub(crate) struct Review<'a> {
    pub(crate) context: &'a RequestContext,
    pub(crate) operation: Operation,
    /// The new object; of a deletion, the stored one.
    pub(crate) object: &'a mut Object,
    /// The stored object of an update.
    pub(crate) old: Option<&'a Object>,
    pub(crate) facts: &'a Facts,
}

impl Review<'_> {
    fn is(&self, info: &'static ResourceInfo) -> bool {
        std::ptr::eq(self.context.resource, info)
    }

    /// A main write of a pod: no subresource.
    fn is_pod(&self) -> bool {
        self.is(&resource::PODS) && self.context.subresource.is_empty()
    }

    /// 403, with the name that the caller knows the object by.
    fn forbidden(&self, why: impl std::fmt::Display) -> Status {
        let name = [&self.context.name, self.object.name(), self.object.generate_name()]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or("Unknown");
        Status::forbidden(self.context.resource, name, why)
    }
}

type Plugin = fn(&mut Review<'_>) -> Result<(), Status>;

const PLUGINS: &[(&str, Plugin)] = &[
    ("NamespaceLifecycle", namespace_lifecycle::admit),
    ("NodeRestriction", node_restriction::admit),
    ("ServiceAccount", service_account::admit),
    ("Priority", priority::admit),
    ("DefaultTolerationSeconds", default_toleration_seconds::admit),
    ("CertificateSubjectRestriction", certificate_subject_restriction::admit),
    ("DefaultIngressClass", default_ingress_class::admit),
];

/// Runs all plugins.
///
/// # Errors
/// The first refusal.
pub(crate) fn admit(review: &mut Review<'_>) -> Result<(), Status> {
    for (name, plugin) in PLUGINS {
        plugin(review).inspect_err(|status| {
            tracing::debug!(plugin = name, reason = %status, "admission refused");
        })?;
    }
    Ok(())
}

/// What the plugins know of other objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The request's namespace, if there is one and it exists.
    pub(crate) namespace: Option<Arc<Object>>,
    /// The pod's ServiceAccount, if it exists.
    pub(crate) service_account: Option<Arc<Object>>,
    /// The end of a generated name.
    pub(crate) random_suffix: String,
    /// All PriorityClasses, for a new pod.
    pub(crate) priority_classes: Vec<Arc<Object>>,
    /// All IngressClasses, for a new Ingress.
    pub(crate) ingress_classes: Vec<Arc<Object>>,
}

/// How long a pod waits for its namespace's `default` account, which a controller makes a moment after the namespace.
const ACCOUNT_PATIENCE: Duration = Duration::from_secs(1);
/// More objects than this, and the cache starts afresh.
const MAX_PARSED: usize = 4096;

/// An object as of a revision.
type Parsed = (Revision, Arc<Object>);

/// Gathers [`Facts`]. The same few objects are asked for by every new pod, so they stay parsed while they do not change.
pub(crate) struct FactFinder {
    storage: Arc<dyn Storage>,
    clock: Clock,
    parsed: RwLock<HashMap<Arc<str>, Parsed>>,
}

impl FactFinder {
    pub(crate) fn new(storage: Arc<dyn Storage>, clock: Clock) -> Self {
        Self { storage, clock, parsed: RwLock::default() }
    }

    /// Reads what the plugins need for a new object.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn for_create(
        &self,
        context: &RequestContext,
        object: &Object,
    ) -> Result<Facts, StorageError> {
        let mut facts = Facts::default();
        if context.resource.namespaced {
            facts.namespace = self.read(&resource::NAMESPACES, "", &context.namespace).await?;
        }
        if std::ptr::eq(context.resource, &raw const resource::PODS)
            && context.subresource.is_empty()
            && facts.namespace.is_some()
        {
            facts.random_suffix = generated::random_suffix(&self.clock);
            let account = service_account::name_of(object);
            facts.service_account =
                self.read(&resource::SERVICE_ACCOUNTS, &context.namespace, account).await?;
            if facts.service_account.is_none() && account == service_account::DEFAULT {
                let waiting = self.await_account(&context.namespace, account);
                if let Ok(found) = self.clock.timeout(ACCOUNT_PATIENCE, waiting).await {
                    facts.service_account = found?;
                }
            }
            let prefix = store_prefix(&resource::PRIORITY_CLASSES);
            let classes = self.storage.list(&ListQuery::prefix(prefix)).await?;
            facts.priority_classes = classes.items.iter().filter_map(|kv| self.parse(kv)).collect();
        }
        if std::ptr::eq(context.resource, &raw const resource::INGRESSES) {
            let prefix = store_prefix(&resource::INGRESS_CLASSES);
            let classes = self.storage.list(&ListQuery::prefix(prefix)).await?;
            facts.ingress_classes = classes.items.iter().filter_map(|kv| self.parse(kv)).collect();
        }
        Ok(facts)
    }

    async fn read(
        &self,
        info: &'static ResourceInfo,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>, StorageError> {
        let mut key = store_prefix(info);
        if info.namespaced {
            key.push_str(namespace);
            key.push('/');
        }
        key.push_str(name);
        Ok(self.storage.get(&key).await?.and_then(|kv| self.parse(&kv)))
    }

    fn parse(&self, kv: &KeyValue) -> Option<Arc<Object>> {
        if let Some((revision, object)) = self.parsed.read().get(&kv.key)
            && *revision == kv.mod_revision
        {
            return Some(object.clone());
        }
        let object = Arc::new(Object::from_slice(&kv.value).ok()?);
        let mut parsed = self.parsed.write();
        if parsed.len() >= MAX_PARSED {
            parsed.clear();
        }
        parsed.insert(kv.key.clone(), (kv.mod_revision, object.clone()));
        Some(object)
    }

    async fn await_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>, StorageError> {
        let prefix = format!("{}{namespace}/{name}", store_prefix(&resource::SERVICE_ACCOUNTS));
        let now = self.storage.current_revision().await?;
        let mut watch = self.storage.watch(WatchQuery::prefix(prefix, now)).await?;
        loop {
            // Between the look before and the watch's beginning it may have come.
            let found = self.read(&resource::SERVICE_ACCOUNTS, namespace, name).await?;
            if found.is_some() {
                return Ok(found);
            }
            match watch.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(None),
            }
        }
    }
}

impl From<Verb> for Operation {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Create => Self::Create,
            Verb::Delete | Verb::DeleteCollection => Self::Delete,
            Verb::Update | Verb::Patch | Verb::Get | Verb::List | Verb::Watch => Self::Update,
        }
    }
}

#[cfg(test)]
mod tests;
