//! Get, list, watch.

use std::sync::Arc;

use apimachinery::{object::Object, resource, status::Status};

use super::{Handler, ListReply, Reply};
use crate::{
    registry::{
        cacher::Watcher,
        output::list_meta,
        selection::Selection,
        store::{Page, Store},
    },
    request::{ListOptions, OutputShape, RequestContext},
    scheduling,
};

impl Handler {
    pub(super) async fn get(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        resource_version: &str,
    ) -> Result<Reply, Status> {
        let kv = store.get(&context.namespace, &context.name, resource_version).await?;
        if context.subresource == "scheduling" {
            return self.explain_scheduling(context).await;
        }
        if context.subresource == "network" {
            return self.node_network(&Object::from_slice(&kv.value)?, context).await;
        }
        let body = if context.subresource == "scale" {
            store.strategy.to_scale(&store.load(&kv.value)?)?.to_bytes()
        } else {
            self.shaper(store, context).object(&kv.value)?
        };
        Ok(Reply::Object { body, created: false })
    }

    /// Asks the scheduler about a pod.
    async fn explain_scheduling(&self, context: &RequestContext) -> Result<Reply, Status> {
        let (namespace, name) = scheduling::LEASE;
        let lease = match self.store(&resource::LEASES)?.get(namespace, name, "").await {
            Ok(kv) => Some(Object::from_slice(&kv.value)?),
            Err(status) if status.is_not_found() => None,
            Err(status) => return Err(status),
        };
        let socket = scheduling::socket(lease.as_ref())?;
        let clock = &self.deps.clock;
        let body = scheduling::explain(clock, socket, &context.namespace, &context.name).await?;
        Ok(Reply::Object { body, created: false })
    }

    pub(super) async fn list(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        options: &ListOptions,
    ) -> Result<Reply, Status> {
        let selection = Selection::parse(&store.strategy, options)?;
        let page = store.list(&context.namespace, &selection, options).await?;
        let shaper = self.shaper(store, context);
        if let OutputShape::Table(include) = context.output {
            let version = page.revision.to_string();
            let metadata = list_meta(&version, &page.continue_token, page.remaining);
            let body = shaper.table_list(&metadata, &page.items, include)?;
            return Ok(Reply::Object { body, created: false });
        }
        let Page { revision, items, continue_token, remaining } = page;
        Ok(Reply::List(ListReply {
            info: store.info,
            metadata_only: context.output == OutputShape::Metadata,
            resource_version: revision.to_string(),
            continue_token,
            remaining,
            items: shaper.items(&items)?,
        }))
    }

    pub(super) async fn watch(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        options: &ListOptions,
    ) -> Result<Reply, Status> {
        let selection = Selection::parse(&store.strategy, options)?;
        let shaper = self.shaper(store, context);
        let watcher = Watcher::start(
            store.clone(),
            &context.namespace,
            selection,
            options,
            shaper,
            self.shutdown.clone(),
            self.metrics.enter_long_running(),
        )
        .await?;
        Ok(Reply::Watch(Box::new(watcher)))
    }
}
