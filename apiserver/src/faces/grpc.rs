//! The gRPC face: the generic resource service and the streams of pods.
//!
//! A list leaves in chunks of bounded size, a watch as one message per event; objects are the stored bytes, shared
//! until the moment they are copied into a frame. An error travels whole, as the JSON of a `metav1.Status`
//! ([`to_tonic`]).

mod convert;
mod streams;

use std::{pin::Pin, sync::Arc};

use apimachinery::status::Status;
use async_trait::async_trait;
use bytes::Bytes;
use client::wire::to_tonic;
use component_base::transport::ConnectionInfo;
use futures::{Stream, StreamExt};
use proto::v1::{
    CreateRequest, DeleteCollectionRequest, DeleteRequest, DiscoveryReply, DiscoveryRequest,
    GetRequest, ListChunk, ListRequest, ObjectReply, PatchRequest, UpdateRequest, WatchEvent,
    WatchRequest, patch_request,
    resources_server::{Resources, ResourcesServer},
    streams_server::StreamsServer,
    watch_event,
};
use tonic::{Request, Response};

use self::convert::{
    delete_options, delete_preconditions, list_options, output, target, watch_options,
    write_options,
};
pub(in crate::faces) use self::convert::{field_validation, include_object};
use super::{
    is_stream,
    live::Live,
    openapi::OpenApi,
    rest::discovery::{Discovery, version_info},
};
use crate::{
    audit::{Begin, Record},
    authentication::{Impersonation, authenticate},
    authorization::Attributes,
    handler::{Answer, Handler, MAX_BODY, Reply},
    kubelet::KubeletDialer,
    registry::cacher::{WatchItem, WatchKind, Watcher},
    request::{PatchType, Request as ApiRequest, RequestContext, UserInfo, Verb},
};

/// How much of a list goes into one message.
const CHUNK_BYTES: usize = 1 << 20;
/// A message to the server: a body, and what is around it.
const MAX_MESSAGE: usize = MAX_BODY + (1 << 20);

/// The gRPC services.
#[derive(Clone)]
pub struct GrpcFace {
    handler: Arc<Handler>,
    discovery: Arc<Live<Discovery>>,
    openapi: Arc<OpenApi>,
    kubelets: Arc<dyn KubeletDialer>,
}

/// What a call carries besides its message.
struct CallParts {
    headers: http::HeaderMap,
    connection: Option<ConnectionInfo>,
    record: Option<Arc<Record>>,
}

/// Takes a call apart.
fn take_apart<T>(request: Request<T>) -> (CallParts, T) {
    let (metadata, mut extensions, message) = request.into_parts();
    let connection = extensions.remove::<ConnectionInfo>();
    let record = extensions.remove::<Arc<Record>>();
    (CallParts { headers: metadata.into_headers(), connection, record }, message)
}

type Answered<T> = Result<Response<T>, tonic::Status>;
type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send>>;

impl GrpcFace {
    pub(crate) fn new(
        handler: Arc<Handler>,
        discovery: Arc<Live<Discovery>>,
        openapi: Arc<OpenApi>,
        kubelets: Arc<dyn KubeletDialer>,
    ) -> Self {
        Self { handler, discovery, openapi, kubelets }
    }

    /// The services as routes.
    pub fn routes(self) -> axum::Router {
        let resources = ResourcesServer::new(self.clone()).max_decoding_message_size(MAX_MESSAGE);
        let streams = StreamsServer::new(self);
        tonic::service::Routes::new(resources).add_service(streams).prepare().into_axum_router()
    }

    /// Who asks.
    async fn user(&self, parts: &CallParts) -> Result<Arc<UserInfo>, Status> {
        let connection = parts
            .connection
            .as_ref()
            .ok_or_else(|| Status::internal("a request without a connection"))?;
        let authorization = parts.headers.get("authorization");
        let authorization = authorization.and_then(|value| value.to_str().ok()).unwrap_or("");
        let accounts = &self.handler.accounts;
        match authenticate(&connection.identity, authorization, accounts).await {
            Ok(user) => Ok(user),
            Err(status) => {
                if let Some(record) = &parts.record {
                    let message = "Authentication failed, attempted: bearer";
                    record.unauthenticated("post", "", message).await;
                }
                Err(status)
            }
        }
    }

    /// Who the call acts as, and who is behind that.
    async fn acting(
        &self,
        parts: &CallParts,
        user: Arc<UserInfo>,
    ) -> Result<(Arc<UserInfo>, Option<Arc<UserInfo>>), Status> {
        let headers = parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let Some(wanted) = Impersonation::from_headers(headers) else { return Ok((user, None)) };
        let acting = self.handler.impersonate(&user, wanted).await?;
        parts.record.iter().for_each(|record| record.impersonates(&acting));
        Ok((acting, Some(user)))
    }

    async fn context(
        &self,
        parts: &CallParts,
        verb: Verb,
        reference: Option<&proto::v1::ResourceRef>,
    ) -> Result<RequestContext, Status> {
        let user = self.user(parts).await?;
        let find = |group: &str, version: &str, name: &str| self.handler.find(group, version, name);
        let mut context = target(verb, reference, &find)?;
        if let Some(record) = &parts.record {
            record.set_uri(convert::path_of(&context));
            let attributes = Attributes::of(&context);
            let long_running = verb == Verb::Watch || is_stream(&context.subresource);
            let version = context.resource.version;
            record.begin(Begin { user: &user, attributes, version, long_running }).await;
        }
        let (user, impersonator) = self.acting(parts, user).await?;
        context.audit.clone_from(&parts.record);
        context.user = user;
        context.impersonator = impersonator;
        let text =
            |key: &str| parts.headers.get(key).and_then(|value| value.to_str().ok()).unwrap_or("");
        text("user-agent").clone_into(&mut context.user_agent);
        super::default_manager(&context.user_agent).clone_into(&mut context.field_manager);
        context.deadline = convert::grpc_timeout(text("grpc-timeout"));
        Ok(context)
    }

    /// The OpenAPI document of a group and version, empty if there is none.
    async fn document(&self, path: String) -> Result<Bytes, tonic::Status> {
        let (openapi, table) = (Arc::clone(&self.openapi), self.handler.definitions.table());
        // Making the documents is work that others must not wait for.
        let made = tokio::task::spawn_blocking(move || {
            openapi.follow(&table);
            openapi.version_3(&path).map(|document| document.text()).unwrap_or_default()
        });
        made.await.map_err(|error| to_tonic(&Status::internal(error)))
    }

    async fn object(&self, context: RequestContext, request: ApiRequest) -> Answered<ObjectReply> {
        let Answer { reply, warnings } =
            self.handler.handle(&context, request).await.map_err(|status| to_tonic(&status))?;
        match reply {
            Reply::Object { body, .. } => Ok(Response::new(ObjectReply { object: body, warnings })),
            Reply::List(_) | Reply::Watch(_) => {
                Err(to_tonic(&Status::internal("the answer is no object")))
            }
        }
    }
}

#[async_trait]
impl Resources for GrpcFace {
    type ListStream = BoxStream<ListChunk>;
    type WatchStream = BoxStream<WatchEvent>;

    async fn get(&self, request: Request<GetRequest>) -> Answered<ObjectReply> {
        let (parts, message) = take_apart(request);
        let mut context = self
            .context(&parts, Verb::Get, message.target.as_ref())
            .await
            .map_err(|status| to_tonic(&status))?;
        context.output =
            output(message.output, &message.include_object).map_err(|s| to_tonic(&s))?;
        self.object(context, ApiRequest::Get { resource_version: message.resource_version }).await
    }

    async fn list(&self, request: Request<ListRequest>) -> Answered<Self::ListStream> {
        let (parts, message) = take_apart(request);
        let mut context = self
            .context(&parts, Verb::List, message.target.as_ref())
            .await
            .map_err(|status| to_tonic(&status))?;
        context.output =
            output(message.output, &message.include_object).map_err(|s| to_tonic(&s))?;
        let options = list_options(message);
        let answer = self
            .handler
            .handle(&context, ApiRequest::List(options))
            .await
            .map_err(|status| to_tonic(&status))?;
        let stream: Self::ListStream = match answer.reply {
            Reply::Object { body, .. } => {
                let chunk = ListChunk { table: body, ..ListChunk::default() };
                Box::pin(futures::stream::once(async move { Ok(chunk) }))
            }
            Reply::List(list) => {
                let first = ListChunk {
                    resource_version: list.resource_version,
                    continue_token: list.continue_token,
                    remaining_item_count: list.remaining,
                    ..ListChunk::default()
                };
                Box::pin(futures::stream::iter(chunks(first, list.items)).map(Ok))
            }
            Reply::Watch(_) => return Err(to_tonic(&Status::internal("the answer is no list"))),
        };
        Ok(Response::new(stream))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Answered<Self::WatchStream> {
        let (parts, message) = take_apart(request);
        let mut context = self
            .context(&parts, Verb::Watch, message.target.as_ref())
            .await
            .map_err(|status| to_tonic(&status))?;
        // The call's deadline is the watch's end, not the chain's.
        let deadline = context.deadline.take();
        context.output =
            output(message.output, &message.include_object).map_err(|s| to_tonic(&s))?;
        let mut options = watch_options(message);
        options.timeout = options.timeout.or(deadline);
        let answer = self
            .handler
            .handle(&context, ApiRequest::Watch(options))
            .await
            .map_err(|status| to_tonic(&status))?;
        match answer.reply {
            Reply::Watch(watcher) => Ok(Response::new(Box::pin(events(watcher)))),
            _ => Err(to_tonic(&Status::internal("the answer is no watch"))),
        }
    }

    async fn create(&self, request: Request<CreateRequest>) -> Answered<ObjectReply> {
        let (parts, message) = take_apart(request);
        let mut context = self
            .context(&parts, Verb::Create, message.target.as_ref())
            .await
            .map_err(|status| to_tonic(&status))?;
        write_options(&mut context, message.options).map_err(|s| to_tonic(&s))?;
        context.output = output(message.output, "").map_err(|s| to_tonic(&s))?;
        self.object(context, ApiRequest::Create(message.object)).await
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Answered<ObjectReply> {
        let (parts, message) = take_apart(request);
        let mut context = self
            .context(&parts, Verb::Update, message.target.as_ref())
            .await
            .map_err(|status| to_tonic(&status))?;
        write_options(&mut context, message.options).map_err(|s| to_tonic(&s))?;
        context.output = output(message.output, "").map_err(|s| to_tonic(&s))?;
        self.object(context, ApiRequest::Update(message.object)).await
    }

    async fn patch(&self, request: Request<PatchRequest>) -> Answered<ObjectReply> {
        let (parts, message) = take_apart(request);
        let mut context = self
            .context(&parts, Verb::Patch, message.target.as_ref())
            .await
            .map_err(|status| to_tonic(&status))?;
        let patch_type = match patch_request::Type::try_from(message.r#type) {
            Ok(patch_request::Type::Json) => PatchType::Json,
            Ok(patch_request::Type::Merge) => PatchType::Merge,
            Ok(patch_request::Type::StrategicMerge) => PatchType::Strategic,
            Ok(patch_request::Type::Apply) => PatchType::Apply,
            Ok(patch_request::Type::Unspecified) | Err(_) => {
                return Err(to_tonic(&Status::bad_request("the patch has no type")));
            }
        };
        write_options(&mut context, message.options).map_err(|s| to_tonic(&s))?;
        context.output = output(message.output, "").map_err(|s| to_tonic(&s))?;
        self.object(context, ApiRequest::Patch(patch_type, message.patch)).await
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Answered<ObjectReply> {
        let (parts, message) = take_apart(request);
        let mut context = self
            .context(&parts, Verb::Delete, message.target.as_ref())
            .await
            .map_err(|status| to_tonic(&status))?;
        let options = message.options.unwrap_or_default();
        delete_preconditions(&mut context, &options);
        self.object(context, ApiRequest::Delete(delete_options(options))).await
    }

    async fn delete_collection(
        &self,
        request: Request<DeleteCollectionRequest>,
    ) -> Answered<ObjectReply> {
        let (parts, message) = take_apart(request);
        let mut context = self
            .context(&parts, Verb::DeleteCollection, message.target.as_ref())
            .await
            .map_err(|status| to_tonic(&status))?;
        let options = message.options.unwrap_or_default();
        delete_preconditions(&mut context, &options);
        let list = convert::selected(message.selectors);
        self.object(context, ApiRequest::DeleteCollection(list, delete_options(options))).await
    }

    async fn discovery(&self, request: Request<DiscoveryRequest>) -> Answered<DiscoveryReply> {
        let (parts, DiscoveryRequest { openapi: wanted }) = take_apart(request);
        let user = self.user(&parts).await.map_err(|status| to_tonic(&status))?;
        if let Some(record) = &parts.record {
            record.set_uri("/apis".to_owned());
            let attributes = Attributes::Path { verb: "get", path: "/apis" };
            let (version, long_running) = ("", false);
            record.begin(Begin { user: &user, attributes, version, long_running }).await;
        }
        let (user, _) = self.acting(&parts, user).await.map_err(|status| to_tonic(&status))?;
        let _seat = self
            .handler
            .enter_path(&user, "get", "/apis")
            .await
            .map_err(|status| to_tonic(&status))?;
        self.handler
            .authorize_path(&user, "get", "/apis", parts.record.as_deref())
            .await
            .map_err(|status| to_tonic(&status))?;
        if !wanted.is_empty() {
            // Whoever may ask for resources may not have the right to their schemas.
            self.handler
                .authorize_path(
                    &user,
                    "get",
                    &format!("/openapi/v3/{wanted}"),
                    parts.record.as_deref(),
                )
                .await
                .map_err(|status| to_tonic(&status))?;
        }
        let openapi = if wanted.is_empty() { Bytes::new() } else { self.document(wanted).await? };
        Ok(Response::new(DiscoveryReply {
            groups: self.discovery.of(&self.handler.definitions.table()).all_groups.clone(),
            version: version_info(),
            openapi,
        }))
    }
}

/// A list's items in messages of bounded size; the first carries the list's metadata, items or none.
fn chunks(first: ListChunk, items: Vec<Bytes>) -> impl Iterator<Item = ListChunk> + Send {
    let mut first = Some(first);
    let mut items = items.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut chunk = first.take();
        if chunk.is_none() && items.peek().is_none() {
            return None;
        }
        let chunk_items = &mut chunk.get_or_insert_default().items;
        let mut size = 0;
        while let Some(item) = items.next_if(|item| size == 0 || size + item.len() <= CHUNK_BYTES) {
            size += item.len();
            chunk_items.push(item);
        }
        chunk
    })
}

/// A watch's batches as single messages; what is ready together leaves in one frame.
fn events(watcher: Box<Watcher>) -> impl Stream<Item = Result<WatchEvent, tonic::Status>> + Send {
    futures::stream::unfold(watcher, |mut watcher| async move {
        let batch = watcher.next().await?;
        Some((futures::stream::iter(batch), watcher))
    })
    .flatten()
    .map(|WatchItem { kind, object }| {
        let kind = match kind {
            WatchKind::Added => watch_event::Type::Added,
            WatchKind::Modified => watch_event::Type::Modified,
            WatchKind::Deleted => watch_event::Type::Deleted,
            WatchKind::Bookmark => watch_event::Type::Bookmark,
            WatchKind::Error => watch_event::Type::Error,
        };
        Ok(WatchEvent { r#type: kind.into(), object })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_leave_in_bounded_chunks() {
        let check = |sizes: &[usize], expected: &[usize]| {
            let items = sizes.iter().map(|size| Bytes::from(vec![0; *size])).collect();
            let first = ListChunk { resource_version: "5".into(), ..ListChunk::default() };
            let chunks: Vec<_> = chunks(first, items).collect();
            assert_eq!(chunks.iter().map(|c| c.items.len()).collect::<Vec<_>>(), expected);
            assert_eq!(chunks[0].resource_version, "5");
        };
        check(&[], &[0]);
        check(&[1, 2, 3], &[3]);
        check(&[CHUNK_BYTES, 1, 1], &[1, 2]);
        check(&[1, CHUNK_BYTES + 1, 1], &[1, 1, 1]);
    }
}
