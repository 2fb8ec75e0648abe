//! The chain with its stores, on a storage in memory.

use std::time::Duration;

use apimachinery::{object::Object, resource};
use component_base::clock::Clock;
use serde_json::{Value, json};

use super::*;
use crate::{
    authentication::{accounts::Accounts, token::TokenKey},
    bootstrap,
    registry::{
        allocators::{Allocators, Ipv4Range},
        cacher::WatchKind,
        kinds,
    },
    request::{DeleteOptions, ListOptions, OutputShape, PatchType, Preconditions, UserInfo},
    storage::{ListQuery, Storage, Store as Backend, StoreConfig, engine::memory::MemoryEngine},
};

mod custom_resources;
mod deletes;
mod evictions;
mod inspect;
mod ownership;
mod reads;
mod scheduling;
mod watches;
mod writes;

/// A chain, and an administrator at it.
struct Chain {
    handler: Arc<Handler>,
    storage: Arc<dyn Storage>,
    user: Arc<UserInfo>,
}

impl Chain {
    async fn start() -> Self {
        let clock = Clock::real();
        let backend = Backend::open(MemoryEngine, StoreConfig::new(clock.clone())).unwrap();
        Self::on(Arc::new(backend)).await
    }

    /// A chain on a storage that may hold something.
    async fn on(storage: Arc<dyn Storage>) -> Self {
        let clock = Clock::real();
        let range = Ipv4Range::parse("10.96.0.0/12").unwrap();
        let allocators = Arc::new(Allocators::new(range, (30000, 32767), clock.clone()));
        let authorizer = Arc::new(Authorizer::new(storage.clone()));
        let accounts =
            Arc::new(Accounts::new(TokenKey::generate(), storage.clone(), clock.clone()));
        let deps = Arc::new(StoreDeps { storage: storage.clone(), clock, allocators });
        let handler = Arc::new(Handler::new(
            kinds::all(),
            deps,
            authorizer,
            accounts,
            RequestLimits::default(),
            &Registry::new(),
            CancellationToken::new(),
        ));
        let kubernetes = bootstrap::KubernetesService {
            cluster_ip: range.address(0),
            address: [192, 168, 1, 100].into(),
            port: 6443,
        };
        bootstrap::run(&handler, &kubernetes).await.unwrap();
        let chain = Self { handler, storage, user: user("admin", &["system:masters"]) };
        let account = json!({"metadata": {"name": "default"}});
        match chain.create(&resource::SERVICE_ACCOUNTS, account).await {
            Err(status) if status.is_already_exists() => {}
            created => drop(created.unwrap()),
        }
        chain
    }

    fn with_user(&self, name: &str, groups: &[&str]) -> Self {
        Self {
            handler: self.handler.clone(),
            storage: self.storage.clone(),
            user: user(name, groups),
        }
    }

    fn context(&self, verb: Verb, info: &'static ResourceInfo, name: &str) -> RequestContext {
        let (name, subresource) = name.split_once('/').unwrap_or((name, ""));
        RequestContext {
            user: self.user.clone(),
            namespace: if info.namespaced { "default".into() } else { String::new() },
            name: name.into(),
            subresource: subresource.into(),
            ..RequestContext::new(verb, info)
        }
    }

    async fn object(&self, context: RequestContext, request: Request) -> Result<Object, Status> {
        match self.handler.handle(&context, request).await?.reply {
            Reply::Object { body, .. } => Object::from_slice(&body),
            other => panic!("no object: {other:?}"),
        }
    }

    async fn create(&self, info: &'static ResourceInfo, object: Value) -> Result<Object, Status> {
        let context = self.context(Verb::Create, info, "");
        self.object(context, Request::Create(object.to_string().into())).await
    }

    async fn get(&self, info: &'static ResourceInfo, name: &str) -> Result<Object, Status> {
        let request = Request::Get { resource_version: String::new() };
        self.object(self.context(Verb::Get, info, name), request).await
    }

    async fn update(
        &self,
        info: &'static ResourceInfo,
        name: &str,
        object: &Object,
    ) -> Result<Object, Status> {
        let context = self.context(Verb::Update, info, name);
        self.object(context, Request::Update(object.to_bytes())).await
    }

    async fn patch(
        &self,
        info: &'static ResourceInfo,
        name: &str,
        patch_type: PatchType,
        patch: Value,
    ) -> Result<Object, Status> {
        let context = self.context(Verb::Patch, info, name);
        self.object(context, Request::Patch(patch_type, patch.to_string().into())).await
    }

    async fn delete(
        &self,
        info: &'static ResourceInfo,
        name: &str,
        options: DeleteOptions,
    ) -> Result<Object, Status> {
        self.object(self.context(Verb::Delete, info, name), Request::Delete(options)).await
    }

    async fn list(
        &self,
        info: &'static ResourceInfo,
        options: ListOptions,
    ) -> Result<ListReply, Status> {
        let context = self.context(Verb::List, info, "");
        match self.handler.handle(&context, Request::List(options)).await?.reply {
            Reply::List(list) => Ok(list),
            other => panic!("no list: {other:?}"),
        }
    }

    async fn watch(&self, info: &'static ResourceInfo, options: ListOptions) -> Box<Watcher> {
        let context = self.context(Verb::Watch, info, "");
        match self.handler.handle(&context, Request::Watch(options)).await.unwrap().reply {
            Reply::Watch(watcher) => watcher,
            other => panic!("no watch: {other:?}"),
        }
    }

    /// Keys in the store below a prefix.
    async fn keys(&self, prefix: &str) -> Vec<String> {
        let list = self.storage.list(&ListQuery::prefix(prefix)).await.unwrap();
        list.items.iter().map(|kv| kv.key.to_string()).collect()
    }
}

fn user(name: &str, groups: &[&str]) -> Arc<UserInfo> {
    let groups = groups.iter().map(ToString::to_string).collect();
    Arc::new(UserInfo { name: name.into(), groups, ..UserInfo::default() })
}

fn config_map(name: &str, data: impl Into<Value>) -> Value {
    let data: Value = data.into();
    json!({"metadata": {"name": name}, "data": data})
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
}

fn names(list: &ListReply) -> Vec<String> {
    list.items.iter().map(|item| Object::from_slice(item).unwrap().name().to_owned()).collect()
}
