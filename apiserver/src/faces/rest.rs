//! The REST face: Kubernetes' own paths, for kubectl and every client library.
//!
//! One fallback handler with a parser of its own ([`path`]) in place of a thousand routes. A request with a body is read
//! whole, up to the chain's limit; YAML becomes JSON here. A list is put together while it is sent, a watch and a log
//! are streamed.

mod compress;
pub mod discovery;
mod logs;
mod negotiate;
mod openapi;
mod path;
mod protobuf;
mod proxy;
mod query;
mod respond;
mod streams;

use std::sync::Arc;

use apimachinery::status::Status;
use axum::{Router, body::Body, extract::State, response::Response};
use bytes::Bytes;
use component_base::transport::ConnectionInfo;
use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

pub(super) use self::respond::error as error_response;
use self::{
    compress::accepts_gzip,
    discovery::Discovery,
    negotiate::{Accepted, accept, patch_type, to_json},
    path::Target,
    query::{Query, read_delete_options},
};
use super::{guard::BodyRefused, live::Live, openapi::OpenApi};
use crate::{
    audit::{Begin, Record},
    authentication::{Impersonation, authenticate, token::TokenKey},
    authorization::Attributes,
    handler::{Handler, MAX_BODY, timed_out},
    kubelet::KubeletDialer,
    request::{Request, RequestContext, UserInfo, Verb},
};

/// The REST API.
#[derive(Clone)]
pub struct RestFace {
    inner: Arc<Inner>,
}

struct Inner {
    handler: Arc<Handler>,
    discovery: Arc<Live<Discovery>>,
    openapi: Arc<OpenApi>,
    kubelets: Arc<dyn KubeletDialer>,
    /// `/healthz` and its kin, `/metrics`.
    health: Router,
    /// The connections that became streams, and what ends them.
    streams: TaskTracker,
    streams_end: CancellationToken,
    /// Where pods and other clusters find this server, for the OpenID discovery document.
    public_url: String,
}

impl RestFace {
    pub(crate) fn new(
        handler: Arc<Handler>,
        discovery: Arc<Live<Discovery>>,
        openapi: Arc<OpenApi>,
        kubelets: Arc<dyn KubeletDialer>,
        health: Router,
        streams_end: CancellationToken,
        public_url: String,
    ) -> Self {
        let streams = TaskTracker::new();
        let inner = Inner {
            handler,
            discovery,
            openapi,
            kubelets,
            health,
            streams,
            streams_end,
            public_url,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Everything that is not gRPC.
    pub fn routes(self) -> Router {
        Router::new().fallback(serve).with_state(self)
    }
}

async fn serve(State(face): State<RestFace>, request: axum::extract::Request) -> Response {
    match face.inner.serve(request).await {
        Ok(response) => response,
        Err(status) => respond::error(&status),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

impl Inner {
    async fn serve(&self, request: axum::extract::Request) -> Result<Response, Status> {
        let connection = request
            .extensions()
            .get::<ConnectionInfo>()
            .ok_or_else(|| Status::internal("a request without a connection"))?;
        let record = request.extensions().get::<Arc<Record>>().cloned();
        if let Some(escape) = query::bad_escape(request.uri().path()) {
            let escape = apimachinery::field::go_quote(escape);
            return Err(Status::bad_request(format!("invalid URL escape {escape}")));
        }
        let peer = connection.peer_addr;
        let authorization = text(request.headers(), header::AUTHORIZATION);
        let accounts = &self.handler.accounts;
        let user = match authenticate(&connection.identity, authorization, accounts).await {
            Ok(user) => user,
            Err(status) => {
                if let Some(record) = &record {
                    let verb = request.method().as_str().to_ascii_lowercase();
                    let message = "Authentication failed, attempted: bearer";
                    record.unauthenticated(&verb, request.uri().path(), message).await;
                }
                return Err(status);
            }
        };
        let find = |group: &str, version: &str, name: &str| self.handler.find(group, version, name);
        let target = path::parse(request.uri().path(), &find);
        if let Some(record) = &record {
            self.begin(record, &user, &target, request.method(), request.uri()).await;
        }
        let (user, impersonator) = self.acting(user, request.headers(), record.as_deref()).await?;
        match target {
            Target::Resource { info, namespace, name, subresource } => {
                let (parts, body) = request.into_parts();
                let mut context = RequestContext::new(Verb::Get, info);
                context.user = user;
                context.impersonator = impersonator;
                context.namespace = namespace;
                context.name = name;
                context.subresource = subresource;
                context.audit = record;
                text(&parts.headers, header::USER_AGENT).clone_into(&mut context.user_agent);
                super::default_manager(&context.user_agent).clone_into(&mut context.field_manager);
                if context.subresource == "proxy" {
                    return self.proxy(context, parts, body, peer).await;
                }
                self.resource(context, parts, body).await
            }
            Target::Nothing => Err(Status::resource_not_found()),
            Target::Discovery | Target::Other => self.other(&user, request, record).await,
        }
    }

    /// Who the request acts as, and who is behind that.
    async fn acting(
        &self,
        user: Arc<UserInfo>,
        headers: &HeaderMap,
        record: Option<&Record>,
    ) -> Result<(Arc<UserInfo>, Option<Arc<UserInfo>>), Status> {
        let headers =
            headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let Some(wanted) = Impersonation::from_headers(headers) else { return Ok((user, None)) };
        let acting = self.handler.impersonate(&user, wanted).await?;
        record.iter().for_each(|record| record.impersonates(&acting));
        Ok((acting, Some(user)))
    }

    /// Tells the record who asks what.
    async fn begin(
        &self,
        record: &Record,
        user: &UserInfo,
        target: &Target,
        method: &Method,
        uri: &http::Uri,
    ) {
        let lower = method.as_str().to_ascii_lowercase();
        let Target::Resource { info, namespace, name, subresource } = target else {
            let attributes = Attributes::Path { verb: &lower, path: uri.path() };
            return record
                .begin(Begin { user, attributes, version: "", long_running: false })
                .await;
        };
        let collection = name.is_empty();
        let watch = Query::parse(uri.query()).is_ok_and(|query| query.flag("watch"));
        let verb = match *method {
            Method::GET if collection && watch => "watch",
            Method::GET if collection => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::DELETE if collection => "deletecollection",
            _ => lower.as_str(),
        };
        let attributes = Attributes::Resource {
            verb,
            group: info.group,
            resource: info.resource,
            subresource,
            namespace,
            name,
        };
        let long_running = verb == "watch" || super::is_stream(subresource);
        record.begin(Begin { user, attributes, version: info.version, long_running }).await;
    }

    /// A request about a resource.
    async fn resource(
        &self,
        mut context: RequestContext,
        parts: Parts,
        body: Body,
    ) -> Result<Response, Status> {
        let query = Query::parse(parts.uri.query())?;
        let accepted = text(&parts.headers, header::ACCEPT);
        // A log is text, whatever is accepted.
        if context.subresource == "log" && parts.method == Method::GET {
            return self.log(context, &query).await;
        }
        if matches!(context.subresource.as_str(), "exec" | "attach" | "portforward") {
            return self.stream(context, &query, parts).await;
        }
        let Accepted { shape, format, aggregated: _ } =
            accept(accepted, query.get("includeObject").unwrap_or(""))?;
        context.output = shape;
        context.verb = verb(&parts.method, &context, &query)?;
        query.fill(&mut context)?;
        if matches!(context.verb, Verb::Create | Verb::Update | Verb::Patch | Verb::Delete) {
            self.handler.allow(&context).await?;
        }
        let content_type = text(&parts.headers, header::CONTENT_TYPE);
        let clock = self.handler.clock();
        let due = clock.monotonic() + self.handler.time_for(context.deadline);
        let read = async |body: Body| {
            let left = due.saturating_sub(clock.monotonic());
            clock.timeout(left, read(body)).await.unwrap_or_else(|_| Err(timed_out()))
        };
        let request = match context.verb {
            Verb::Get => {
                let resource_version = query.get("resourceVersion").unwrap_or("").to_owned();
                Request::Get { resource_version }
            }
            Verb::List => Request::List(query.list_options()?),
            Verb::Watch => Request::Watch(query.list_options()?),
            Verb::Create => Request::Create(to_json(content_type, read(body).await?)?),
            Verb::Update => Request::Update(to_json(content_type, read(body).await?)?),
            Verb::Patch => {
                let patch_type = patch_type(content_type)?;
                Request::Patch(patch_type, read(body).await?)
            }
            Verb::Delete | Verb::DeleteCollection => {
                let mut options = query.delete_options()?;
                let body = read(body).await?;
                let body = if body.is_empty() { body } else { to_json(content_type, body)? };
                read_delete_options(&body, &mut context, &mut options)?;
                if context.verb == Verb::Delete {
                    Request::Delete(options)
                } else {
                    Request::DeleteCollection(query.list_options()?, options)
                }
            }
        };
        context.deadline = Some(due.saturating_sub(clock.monotonic()));
        let answer = self.handler.handle(&context, request).await?;
        Ok(respond::answer(answer, format, accepts_gzip(&parts.headers)))
    }

    /// A request about anything but a resource.
    async fn other(
        &self,
        user: &UserInfo,
        request: axum::extract::Request,
        record: Option<Arc<Record>>,
    ) -> Result<Response, Status> {
        let path = request.uri().path().to_owned();
        let verb = request.method().as_str().to_ascii_lowercase();
        let _seat = self.handler.enter_path(user, &verb, &path).await?;
        self.handler.authorize_path(user, &verb, &path, record.as_deref()).await?;
        if matches!(path.split('/').nth(1), Some("healthz" | "livez" | "readyz" | "metrics")) {
            let response = self.health.clone().oneshot(request).await;
            return Ok(response.unwrap_or_else(|never| match never {}));
        }
        if request.method() != Method::GET {
            return Err(Status {
                code: 405,
                message: "the server does not allow this method on the requested resource".into(),
                reason: apimachinery::status::StatusReason::MethodNotAllowed,
                ..Status::default()
            });
        }
        if matches!(path.as_str(), "/version" | "/version/") {
            return Ok(respond::json(StatusCode::OK, discovery::version_info()));
        }
        if path == "/openid/v1/jwks" {
            let keys = self.handler.accounts.key.jwks().to_string();
            return Ok(respond::with_type(
                StatusCode::OK,
                "application/jwk-set+json",
                Body::from(keys),
            ));
        }
        if path == "/.well-known/openid-configuration" {
            let document = TokenKey::discovery(&format!("{}/openid/v1/jwks", self.public_url));
            return Ok(respond::json(StatusCode::OK, document.to_string().into()));
        }
        if path.starts_with("/openapi/") {
            let query = Query::parse(request.uri().query())?;
            let headers = request.headers().clone();
            let table = self.handler.definitions.table();
            return openapi::serve(Arc::clone(&self.openapi), table, path, query, headers).await;
        }
        let accepted = accept(text(request.headers(), header::ACCEPT), "");
        let aggregated = accepted.is_ok_and(|accepted| accepted.aggregated);
        let discovery = self.discovery.of(&self.handler.definitions.table());
        let (body, aggregated) =
            discovery.page(&path, aggregated).ok_or_else(Status::resource_not_found)?;
        let content_type = if aggregated { discovery::AGGREGATED } else { "application/json" };
        Ok(respond::with_type(StatusCode::OK, content_type, Body::from(body)))
    }
}

/// The verb that a method means at a path.
fn verb(method: &Method, context: &RequestContext, query: &Query) -> Result<Verb, Status> {
    let collection = context.name.is_empty();
    let verb = match *method {
        Method::GET if query.flag("watch") && collection => Verb::Watch,
        Method::GET if query.flag("watch") => {
            return Err(Status::bad_request(
                "watch one object by a field selector on metadata.name",
            ));
        }
        Method::GET if collection => Verb::List,
        Method::GET => Verb::Get,
        Method::POST if collection || !context.subresource.is_empty() => Verb::Create,
        Method::PUT if !collection => Verb::Update,
        Method::PATCH if !collection => Verb::Patch,
        Method::DELETE if collection => Verb::DeleteCollection,
        Method::DELETE => Verb::Delete,
        _ => return Err(Status::method_not_allowed(context.resource, method.as_str())),
    };
    let lacks_namespace = matches!(verb, Verb::Create | Verb::DeleteCollection)
        && context.resource.namespaced
        && context.namespace.is_empty();
    if lacks_namespace {
        return Err(Status::method_not_allowed(context.resource, method.as_str()));
    }
    Ok(verb)
}

/// Reads a body whole.
async fn read(body: Body) -> Result<Bytes, Status> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Status::request_entity_too_large(format!("limit is {MAX_BODY}")))
        }
        Err(error) => Err(match BodyRefused::behind(&*error) {
            Some(refused) => refused.status(),
            None => Status::bad_request(format!("failed to read the request's body: {error}")),
        }),
    }
}
