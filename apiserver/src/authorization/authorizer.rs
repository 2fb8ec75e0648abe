//! The authorizers in their order, on live policy. [`grant`] sees to it that nobody grants more than they hold, [`signer`] that
//! nobody approves or signs certificates for whom they may not.

mod grant;
mod signer;

use std::sync::Arc;

use apimachinery::{
    fields,
    object::Object,
    resource::{self, ResourceInfo},
};
use arc_swap::ArcSwap;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{
    Attributes, MASTERS,
    node::{NodeAuthorizer, PodReferences, References, Referent, node_name},
    rbac::{PolicyIndex, PolicyRule},
};
use crate::{
    registry::store_prefix,
    request::UserInfo,
    storage::{KeyValue, ListQuery, Revision, Storage, StorageError, Watch, WatchQuery},
};

/// What the policy is made of.
const SOURCES: [&ResourceInfo; 4] = [
    &resource::CLUSTER_ROLES,
    &resource::ROLES,
    &resource::CLUSTER_ROLE_BINDINGS,
    &resource::ROLE_BINDINGS,
];

/// The policy as of some moment.
#[derive(Default)]
struct Policy {
    index: Arc<PolicyIndex>,
    /// The revision up to which changes are in it.
    seen: Revision,
    /// Count and newest revision of each source: equal ones are equal lists.
    fingerprint: [(usize, Revision); SOURCES.len()],
}

/// Decides who may do what.
pub struct Authorizer {
    storage: Arc<dyn Storage>,
    policy: ArcSwap<Policy>,
    node: NodeAuthorizer,
}

impl Authorizer {
    /// An authorizer that knows no policy yet; [`Authorizer::refresh`] reads it, [`Authorizer::follow`] keeps it.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, policy: ArcSwap::default(), node: NodeAuthorizer::default() }
    }

    /// Reads the policy, if it changed since it was read last.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn refresh(&self) -> Result<(), StorageError> {
        let current = self.storage.current_revision().await?;
        if self.policy.load().seen >= current {
            return Ok(());
        }
        let mut lists = Vec::with_capacity(SOURCES.len());
        for source in SOURCES {
            lists.push(self.storage.list(&ListQuery::prefix(store_prefix(source))).await?);
        }
        let seen = lists.iter().map(|list| list.revision).min().unwrap_or(current);
        let mut fingerprint = [(0, Revision::ZERO); SOURCES.len()];
        for (print, list) in fingerprint.iter_mut().zip(&lists) {
            let newest = list.items.iter().map(|kv| kv.mod_revision).max();
            *print = (list.items.len(), newest.unwrap_or_default());
        }
        let policy = self.policy.load();
        let index = if policy.fingerprint == fingerprint {
            policy.index.clone()
        } else {
            Arc::new(PolicyIndex::new(
                &views(&lists[0].items),
                views(&lists[1].items),
                views(&lists[2].items),
                views(&lists[3].items),
            ))
        };
        self.policy.store(Arc::new(Policy { index, seen, fingerprint }));
        Ok(())
    }

    /// Reads the policy again whenever it changes, until `shutdown`.
    pub async fn follow(&self, shutdown: CancellationToken) {
        loop {
            match self.watch_sources().await {
                Ok(watches) => {
                    let mut changes = futures::stream::select_all(watches);
                    loop {
                        let change = tokio::select! {
                            change = changes.next() => change,
                            () = shutdown.cancelled() => return,
                        };
                        match change {
                            Some(Ok(_)) => {
                                if let Err(error) = self.refresh().await {
                                    tracing::warn!(%error, "failed to read the access policy");
                                }
                            }
                            // Too slow, or the store ended: begin again from what is there now.
                            Some(Err(_)) => break,
                            None => return,
                        }
                    }
                }
                Err(StorageError::Closed) => return,
                Err(error) => tracing::warn!(%error, "failed to watch the access policy"),
            }
            if shutdown.is_cancelled() || self.refresh().await.is_err() {
                return;
            }
        }
    }

    async fn watch_sources(&self) -> Result<Vec<Watch>, StorageError> {
        let mut watches = Vec::with_capacity(SOURCES.len());
        let after = self.policy.load().seen;
        for source in SOURCES {
            watches
                .push(self.storage.watch(WatchQuery::prefix(store_prefix(source), after)).await?);
        }
        Ok(watches)
    }

    /// Allows a request, or says why not. `selector` is the field selector of a list or watch.
    ///
    /// # Errors
    /// The reasons of those that did not allow it, possibly none.
    pub async fn authorize(
        &self,
        user: &UserInfo,
        attributes: &Attributes<'_>,
        selector: Option<&fields::Selector>,
    ) -> Result<(), String> {
        if user.groups.iter().any(|group| group == MASTERS) {
            return Ok(());
        }
        let mut reason = String::new();
        if let Some(node) = node_name(user) {
            let pods = self.pods_in_question(node, attributes).await;
            match self.node.authorize(node, attributes, selector, &pods) {
                Ok(()) => return Ok(()),
                Err(why) => reason = why,
            }
        }
        if self.policy.load().index.rules_of(user).allow(attributes) {
            return Ok(());
        }
        // Before a refusal the policy must be as new as the store.
        let before = self.policy.load().seen;
        if self.refresh().await.is_ok()
            && self.policy.load().seen != before
            && self.policy.load().index.rules_of(user).allow(attributes)
        {
            return Ok(());
        }
        Err(reason)
    }

    /// Why a request is allowed, in the words of Kubernetes' RBAC authorizer; empty where another one allows it.
    #[must_use]
    pub fn reason(&self, user: &UserInfo, attributes: &Attributes<'_>) -> String {
        if user.groups.iter().any(|group| group == MASTERS) {
            return String::new();
        }
        let grant = self.policy.load().index.grant(user, attributes);
        grant.map_or_else(String::new, |grant| format!("RBAC: allowed by {grant}"))
    }

    /// The rules that a user holds in a namespace, those of the whole cluster first.
    pub async fn rules(&self, user: &UserInfo, namespace: &str) -> Vec<PolicyRule> {
        // What is told should be as new as the store; an older answer is better than none.
        let _ = self.refresh().await;
        self.policy.load().index.rules_of(user).rules(namespace).cloned().collect()
    }

    /// The node's pods, where the decision depends on them.
    async fn pods_in_question(&self, node: &str, attributes: &Attributes<'_>) -> NodePods {
        let Attributes::Resource { group: "", resource, namespace, .. } = attributes else {
            return NodePods::default();
        };
        let related =
            ["pods", "secrets", "configmaps", "serviceaccounts", "persistentvolumeclaims"];
        if namespace.is_empty() || !related.contains(resource) {
            return NodePods::default();
        }
        let mut query = ListQuery::prefix(format!("{}{namespace}/", store_prefix(&resource::PODS)));
        query.index = Some(node.into());
        let pods = self.storage.list(&query).await.map(|list| list.items).unwrap_or_default();
        NodePods(pods)
    }
}

/// The pods of one node in one namespace.
#[derive(Default)]
struct NodePods(Vec<Arc<KeyValue>>);

impl PodReferences for NodePods {
    fn refers(&self, _node: &str, kind: Referent, _namespace: &str, name: &str) -> bool {
        self.0.iter().any(|kv| {
            if kind == Referent::Pod {
                return kv.key.rsplit('/').next() == Some(name);
            }
            // Most pods do not even contain the name: they need not be parsed.
            let mentioned = kv.value.windows(name.len()).any(|window| window == name.as_bytes());
            mentioned
                && Object::from_slice(&kv.value)
                    .is_ok_and(|pod| References::of(&pod).contain(kind, name))
        })
    }
}

/// Reads stored roles or bindings; what cannot be read grants nothing.
fn views<T: DeserializeOwned>(items: &[Arc<KeyValue>]) -> Vec<T> {
    items.iter().filter_map(|kv| serde_json::from_slice(&kv.value).ok()).collect()
}
