//! The handler chain: authorize → admit → registry. Both faces call it and nothing else.
//!
//! A face has authenticated the caller (it alone sees the connection) and made a [`RequestContext`] and a [`Request`].
//! What comes back is a [`Reply`] in the shape that was asked for, with the warnings for the caller. A panic below is the
//! request's failure (500), not the server's.
//!
//! Requests at one time are bounded, with a fair share for each client ([`crate::flowcontrol`]); watches and streams are
//! not counted, as they hold nothing while they wait. A request that takes too long is answered 504.

mod apply;
mod authorize;
mod evict;
mod inspect;
pub(crate) mod proxy;
mod read;
pub(crate) mod review;
mod stream;
mod token;
mod write;

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use apimachinery::{
    resource::{self, ResourceInfo},
    status::Status,
};
use bytes::Bytes;
use component_base::metrics::Registry;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::FactFinder,
    apiextensions::Definitions,
    authentication::accounts::Accounts,
    authorization::{Attributes, Authorizer},
    flowcontrol::{FlowControl, Seat},
    kubelet::KubeletDialer,
    metrics::RequestMetrics,
    registry::{
        cacher::Watcher,
        output::Shaper,
        store::{Store, StoreDeps, storage_error},
        strategy::Strategy,
    },
    request::{Request, RequestContext, UserInfo, Verb},
};

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";
const CERTIFICATES_GROUP: &str = "certificates.k8s.io";
/// A request's body may be this long.
pub const MAX_BODY: usize = 3 * 1024 * 1024;

/// How many requests are served at one time, and for how long each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Reads and writes together.
    pub in_flight: usize,
    /// How long a request may take that is no watch and no stream.
    pub timeout: Duration,
}

impl Default for RequestLimits {
    /// Kubernetes' 400 reads and 200 writes, and its minute.
    fn default() -> Self {
        Self { in_flight: 600, timeout: Duration::from_secs(60) }
    }
}

/// Of the request timeout, the share that a request may wait for its turn.
const QUEUE_WAIT: u32 = 4;

/// The answer to a request, with what the caller should know besides.
#[derive(Debug)]
pub struct Answer {
    /// The answer itself.
    pub reply: Reply,
    /// What REST sends as `Warning` headers.
    pub warnings: Vec<String>,
}

/// The forms that an answer takes.
#[derive(Debug)]
pub enum Reply {
    /// One JSON document: an object, a Table, a Status.
    Object {
        /// The document.
        body: Bytes,
        /// A new object was stored: 201.
        created: bool,
    },
    /// A list, as its parts.
    List(ListReply),
    /// A watch.
    Watch(Box<Watcher>),
}

/// A page of objects.
#[derive(Debug)]
pub struct ListReply {
    /// Of which resource.
    pub info: &'static ResourceInfo,
    /// Whether the items are `PartialObjectMetadata`.
    pub metadata_only: bool,
    /// The state that the page shows.
    pub resource_version: String,
    /// Where the next page starts; empty on the last.
    pub continue_token: String,
    /// How many more objects there are, if that is known.
    pub remaining: Option<i64>,
    /// The objects' JSON, in the order of their keys.
    pub items: Vec<Bytes>,
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

/// The chain, with all that it needs.
pub struct Handler {
    deps: Arc<StoreDeps>,
    /// By group, version and plural: another version of a kind is another kind.
    stores: HashMap<(&'static str, &'static str, &'static str), Arc<Store>>,
    authorizer: Arc<Authorizer>,
    /// Who holds which token.
    pub(crate) accounts: Arc<Accounts>,
    facts: FactFinder,
    metrics: RequestMetrics,
    flow_control: FlowControl,
    timeout: Duration,
    shutdown: CancellationToken,
    /// The resources that CustomResourceDefinitions define.
    pub(crate) definitions: Arc<Definitions>,
    /// The way to the kubelets; None: there is none.
    kubelets: Option<Arc<dyn KubeletDialer>>,
}

impl Handler {
    pub(crate) fn new(
        strategies: Vec<Arc<dyn Strategy>>,
        deps: Arc<StoreDeps>,
        authorizer: Arc<Authorizer>,
        accounts: Arc<Accounts>,
        limits: RequestLimits,
        metrics: &Registry,
        shutdown: CancellationToken,
    ) -> Self {
        let stores = strategies
            .into_iter()
            .map(|strategy| {
                let info = strategy.resource();
                let names = (info.group, info.version, info.resource);
                (names, Arc::new(Store::new(strategy, deps.clone())))
            })
            .collect();
        Self {
            definitions: Arc::new(Definitions::new(deps.clone())),
            facts: FactFinder::new(deps.storage.clone(), deps.clock.clone()),
            flow_control: FlowControl::new(
                limits.in_flight,
                limits.timeout / QUEUE_WAIT,
                deps.clock.clone(),
                metrics,
            ),
            timeout: limits.timeout,
            deps,
            stores,
            authorizer,
            accounts,
            metrics: RequestMetrics::new(metrics),
            shutdown,
            kubelets: None,
        }
    }

    /// The same chain, with a way to the kubelets.
    pub(crate) fn reaching(self, kubelets: Arc<dyn KubeletDialer>) -> Self {
        Self { kubelets: Some(kubelets), ..self }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// Every refusal and failure, as the API's status.
    #[tracing::instrument(
        level = "debug",
        skip_all,
        fields(
            verb = context.verb.as_str(),
            resource = context.resource.resource,
            namespace = context.namespace,
            name = context.name,
            user = context.user.name,
        )
    )]
    pub async fn handle(
        &self,
        context: &RequestContext,
        request: Request,
    ) -> Result<Answer, Status> {
        let answer = self.answer(context, request).await;
        if answer.is_ok() && defines(context) {
            // What is defined is served, or is no more, when the answer is there.
            self.definitions.catch_up().await;
        }
        answer
    }

    /// [`Handler::handle`], which does not wait for what a definition leads to.
    pub(crate) async fn answer(
        &self,
        context: &RequestContext,
        request: Request,
    ) -> Result<Answer, Status> {
        let clock = &self.deps.clock;
        let started = clock.monotonic();
        if let Some(record) = &context.audit {
            record.request(context, &request).await;
        }
        let chain = AssertUnwindSafe(async {
            let _entered = self.enter(context).await?;
            self.chain(context, request).await
        });
        let chain = async {
            chain.catch_unwind().await.unwrap_or_else(|_| {
                context.audit.iter().for_each(|record| record.panicked());
                Err(panicked())
            })
        };
        let answer = if context.verb == Verb::Watch {
            chain.await
        } else {
            let answered = clock.timeout(self.time_for(context.deadline), chain).await;
            answered.unwrap_or_else(|_| {
                self.metrics.terminated(context, 504);
                Err(timed_out())
            })
        };
        let code = match &answer {
            Ok(Answer { reply: Reply::Object { created: true, .. }, .. }) => 201,
            Ok(_) => 200,
            Err(status) => status.code,
        };
        self.metrics.finished(context, code, clock.monotonic().saturating_sub(started));
        if let Some(record) = &context.audit {
            record.answered(&answer, code).await;
        }
        if let Err(status) = &answer {
            tracing::debug!(code, %status, "request failed");
        }
        answer
    }

    /// How long a request may take whose caller will wait for `wanted`.
    pub(crate) fn time_for(&self, wanted: Option<Duration>) -> Duration {
        wanted.map_or(self.timeout, |wanted| wanted.min(self.timeout))
    }

    /// Takes a place among the requests being served, after others where there is none.
    async fn enter(&self, context: &RequestContext) -> Result<Entered<'_>, Status> {
        let kind = match context.verb {
            Verb::Watch => return Ok(Entered { _seat: None, _counted: None }),
            Verb::Get | Verb::List => "readOnly",
            _ => "mutating",
        };
        let seat = self.flow_control.enter(&context.user, &Attributes::of(context)).await;
        let seat = seat.inspect_err(|status| self.metrics.terminated(context, status.code))?;
        Ok(Entered { _seat: Some(seat), _counted: Some(self.metrics.enter(kind)) })
    }

    /// Takes a place for a request that is about no resource.
    ///
    /// # Errors
    /// Too many requests.
    pub(crate) async fn enter_path(
        &self,
        user: &UserInfo,
        verb: &str,
        path: &str,
    ) -> Result<impl Drop + use<'_>, Status> {
        self.flow_control.enter(user, &Attributes::Path { verb, path }).await
    }

    async fn chain(&self, context: &RequestContext, request: Request) -> Result<Answer, Status> {
        if review::is_review(context.resource) {
            self.authorize(context, &request).await?;
            return self.review(context, request).await;
        }
        let store = &self.store(context.resource)?;
        self.authorize(context, &request).await?;
        check_verb(context)?;
        check_name(&context.name)?;
        let grants = [RBAC_GROUP, CERTIFICATES_GROUP].contains(&context.resource.group);
        if grants && !matches!(request, Request::Get { .. }) {
            // What somebody may grant or sign depends on what they hold now.
            self.authorizer.refresh().await.map_err(|e| storage_error(store.info, &e))?;
        }
        let mut warnings: Vec<String> =
            store.strategy.deprecation().map(ToOwned::to_owned).into_iter().collect();
        let reply = match request {
            Request::Get { resource_version } => {
                self.get(store, context, &resource_version).await?
            }
            Request::List(options) => self.list(store, context, &options).await?,
            Request::Watch(options) => self.watch(store, context, &options).await?,
            Request::Create(body) => self.create(store, context, &body, &mut warnings).await?,
            Request::Update(body) => self.update(store, context, &body, &mut warnings).await?,
            Request::Patch(patch_type, body) => {
                self.patch(store, context, patch_type, &body, &mut warnings).await?
            }
            Request::Delete(options) => self.delete(store, context, &options).await?,
            Request::DeleteCollection(list, delete) => {
                self.delete_collection(store, context, &list, &delete).await?
            }
        };
        Ok(Answer { reply, warnings })
    }

    fn store(&self, info: &'static ResourceInfo) -> Result<Arc<Store>, Status> {
        match self.stores.get(&(info.group, info.version, info.resource)) {
            Some(store) => Ok(store.clone()),
            None => self.definitions.store(info).ok_or_else(Status::resource_not_found),
        }
    }

    /// The resource that is served under these names, built in or defined.
    #[must_use]
    pub fn find(
        &self,
        group: &str,
        version: &str,
        resource: &str,
    ) -> Option<&'static ResourceInfo> {
        match resource::find(group, version, resource) {
            Some(info) if info.served => Some(info),
            _ => self.definitions.find(group, version, resource),
        }
    }

    /// The time.
    pub(crate) fn clock(&self) -> &component_base::clock::Clock {
        &self.deps.clock
    }

    /// Where everything is stored.
    pub(crate) fn storage(&self) -> &dyn crate::storage::Storage {
        &*self.deps.storage
    }

    fn shaper(&self, store: &Store, context: &RequestContext) -> Shaper {
        Shaper::new(store.strategy.clone(), context.output, self.deps.clock.clone())
    }
}

/// A place among the requests being served, given back when dropped.
struct Entered<'a> {
    _seat: Option<Seat<'a>>,
    _counted: Option<crate::metrics::InFlight>,
}

/// The answer to a request that took too long.
pub(crate) fn timed_out() -> Status {
    Status::timeout("request did not complete within the allotted timeout", 0)
}

/// The answer to a request in which we failed.
pub(crate) fn panicked() -> Status {
    Status::internal("This request caused apiserver to panic. Look in the logs for details.")
}

/// Whether a request changes a definition.
fn defines(context: &RequestContext) -> bool {
    std::ptr::eq(context.resource, &raw const resource::CUSTOM_RESOURCE_DEFINITIONS)
        && !context.dry_run
        && !matches!(context.verb, Verb::Get | Verb::List | Verb::Watch)
}

/// The name can stand in a path.
fn check_name(name: &str) -> Result<(), Status> {
    let mut why = Vec::new();
    match name {
        "." => why.push("may not be '.'"),
        ".." => why.push("may not be '..'"),
        _ => {
            why.extend(name.contains('/').then_some("may not contain '/'"));
            why.extend(name.contains('%').then_some("may not contain '%'"));
        }
    }
    if why.is_empty() {
        return Ok(());
    }
    let name = apimachinery::field::go_quote(name);
    Err(Status::bad_request(format!("Name parameter invalid: {name}: {}", why.join(";"))))
}

/// The resource, or its subresource, has the verb.
fn check_verb(context: &RequestContext) -> Result<(), Status> {
    let info = context.resource;
    let verb = context.verb.as_str();
    let allowed = if context.subresource.is_empty() {
        info.has_verb(verb)
    } else {
        match info.subresource(&context.subresource) {
            Some(subresource) => subresource.verbs.contains(&verb),
            None => return Err(Status::resource_not_found()),
        }
    };
    if allowed { Ok(()) } else { Err(Status::method_not_allowed(info, verb)) }
}

#[cfg(test)]
mod tests;
