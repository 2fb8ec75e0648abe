//! Evictions: `registry::eviction` decides, this reads and writes.

use std::sync::Arc;

use apimachinery::{object::Object, resource, status::Status};
use serde_json::Value;

use super::{Handler, Reply};
use crate::{
    admission::{self, Operation, Review},
    registry::{
        eviction,
        store::{Store, storage_error},
        subresources,
    },
    request::{DeleteOptions, Preconditions, RequestContext, UserInfo, Verb},
    storage::ListQuery,
};

/// How often an eviction starts again because the pod has changed.
const ATTEMPTS: usize = 20;

/// What the eviction's `deleteOptions` ask for; the context carries preconditions and dry run.
struct Wanted {
    context: RequestContext,
    options: DeleteOptions,
}

impl Handler {
    pub(super) async fn evict(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        mut eviction: Object,
    ) -> Result<Reply, Status> {
        let found = store.get(&context.namespace, &context.name, "").await;
        let found = found.and_then(|kv| Object::from_slice(&kv.value));
        let facts = self
            .facts
            .for_create(context, &eviction)
            .await
            .map_err(|error| storage_error(store.info, &error))?;
        let review = &mut Review {
            context,
            operation: Operation::Create,
            object: &mut eviction,
            old: found.as_ref().ok(),
            facts: &facts,
        };
        admission::admit(review)?;
        if eviction.name() != context.name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let wanted = wanted(context, &eviction)?;
        let mut pod = found?;
        for _ in 0..ATTEMPTS {
            if !eviction::ignores_budgets(&pod) {
                return self.evict_guarded(store, wanted, &pod).await;
            }
            let mut attempt = wanted.context.clone();
            let version = &mut attempt.preconditions.resource_version;
            let insisted = version.is_some();
            if !eviction::is_over(&pod) {
                // It must still be pending: a pod that has become ready is a budget's concern.
                version.get_or_insert_with(|| pod.resource_version().to_owned());
            }
            match self.mark_and_delete(store, attempt, &wanted.options).await {
                Err(status) if status.is_conflict() && !insisted => {
                    let kv = store.get(&context.namespace, &context.name, "").await?;
                    pod = Object::from_slice(&kv.value)?;
                }
                outcome => return outcome.map(|()| subresources::made()),
            }
        }
        Err(Status::modified(store.info, &context.name))
    }

    /// Evicts a running pod, as far as its budget lets it go.
    async fn evict_guarded(
        &self,
        store: &Arc<Store>,
        wanted: Wanted,
        pod: &Object,
    ) -> Result<Reply, Status> {
        let Wanted { mut context, options } = wanted;
        let budgets = &self.store(&resource::POD_DISRUPTION_BUDGETS)?;
        let query = ListQuery::prefix(budgets.prefix(&context.namespace));
        let all = budgets.deps.storage.list(&query).await;
        let mut guards = Vec::new();
        for kv in all.map_err(|error| storage_error(budgets.info, &error))?.items {
            guards.push(Object::from_slice(&kv.value)?);
        }
        guards.retain(|budget| eviction::guards(budget, pod));
        let guard = match guards.as_slice() {
            [] => None,
            [guard] => Some(guard.name().to_owned()),
            _ => return Err(eviction::several_budgets()),
        };
        let insisted = context.preconditions.resource_version.is_some();
        let uncounted = guards.first().is_some_and(|guard| eviction::allows_unhealthy(guard, pod));
        if uncounted {
            // It goes because it is not ready: it must still be the pod that was not.
            let version = Some(pod.resource_version().to_owned());
            context.preconditions.resource_version = version;
        } else if let Some(guard) = &guard {
            self.take_disruption(budgets, &context, guard, pod.name()).await?;
        }
        match (self.mark_and_delete(store, context, &options).await, guard) {
            (Err(status), Some(guard)) if status.is_conflict() && uncounted && !insisted => {
                Err(eviction::being_processed(&guard))
            }
            (outcome, _) => outcome.map(|()| subresources::made()),
        }
    }

    /// Writes the budget's status, as Kubernetes' API server does under its own name.
    async fn take_disruption(
        &self,
        budgets: &Arc<Store>,
        context: &RequestContext,
        budget: &str,
        pod: &str,
    ) -> Result<(), Status> {
        let own = RequestContext {
            user: Arc::new(UserInfo { name: "system:apiserver".into(), ..UserInfo::default() }),
            namespace: context.namespace.clone(),
            name: budget.to_owned(),
            subresource: "status".into(),
            field_manager: "kube-apiserver".into(),
            dry_run: context.dry_run,
            ..RequestContext::new(Verb::Update, budgets.info)
        };
        let now = self.deps.clock.now();
        let transform = |old: &Object| {
            let mut budget = old.clone();
            eviction::take(&mut budget, pod, now)?;
            budgets.fields.updated(&own, now, Some(old), &mut budget);
            Ok(budget)
        };
        budgets.update(&own, &transform).await.map(drop)
    }

    async fn mark_and_delete(
        &self,
        store: &Arc<Store>,
        mut context: RequestContext,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        if !context.dry_run {
            let now = self.deps.clock.now();
            let preconditions = context.preconditions.clone();
            let marked =
                store.rewrite(&context, &|pod| eviction::mark(pod, &preconditions, now)).await?;
            if let Some(version) = &mut context.preconditions.resource_version {
                // The pod is no longer at the version that was asked for, by our own doing.
                let pod = Object::from_slice(&marked.bytes)?;
                pod.resource_version().clone_into(version);
            }
        }
        store.delete(&context, options, &|_, _| Ok(())).await.map(drop)
    }
}

/// Reads `deleteOptions`.
fn wanted(context: &RequestContext, eviction: &Object) -> Result<Wanted, Status> {
    let option = |path: &[&str]| {
        let path: Vec<&str> = ["deleteOptions"].iter().chain(path).copied().collect();
        let text = eviction.get_str(&path);
        (!text.is_empty()).then(|| text.to_owned())
    };
    let mut context = context.clone();
    for value in eviction.get_list(&["deleteOptions", "dryRun"]) {
        if value != "All" {
            return Err(Status::bad_request(format!(
                "dryRun: Unsupported value: {value}: supported values: \"All\""
            )));
        }
        context.dry_run = true;
    }
    context.preconditions = Preconditions {
        uid: option(&["preconditions", "uid"]),
        resource_version: option(&["preconditions", "resourceVersion"]),
    };
    let orphan = eviction.get_bool(&["deleteOptions", "orphanDependents"]);
    let policy = orphan.map(|orphan| if orphan { "Orphan" } else { "Background" }.to_owned());
    let options = DeleteOptions {
        grace_period_seconds: eviction
            .get(&["deleteOptions", "gracePeriodSeconds"])
            .and_then(Value::as_i64),
        propagation_policy: option(&["propagationPolicy"]).or(policy).unwrap_or_default(),
    };
    Ok(Wanted { context, options })
}
