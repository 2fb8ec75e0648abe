//! A server for this crate's tests: the `Resources` service over one map and one log, in this process.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use apimachinery::{
    resource::{self, ResourceInfo},
    status::Status,
};
use bytes::Bytes;
use component_base::{
    clock::{Clock, TestClock},
    shutdown::Shutdown,
    transport::{Endpoint, Listener, serve},
};
use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use proto::v1::{
    self,
    resources_server::{Resources, ResourcesServer},
    watch_event::Type,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tonic::{Request, Response, metadata::MetadataMap};

use crate::{api::Client, wire};

/// The server's state and its levers.
#[derive(Clone)]
pub(crate) struct FakeServer {
    state: Arc<Mutex<State>>,
    /// Counts changes of the state, to wake watches.
    changes: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<(String, String, String), Value>,
    revision: u64,
    log: Vec<Entry>,
    /// Watches from before this revision get 410.
    compacted: u64,
    /// Watches of an older epoch end.
    epoch: u64,
    /// Answers every request, if set.
    outage: Option<Status>,
    requests: Vec<String>,
    headers: MetadataMap,
}

#[derive(Clone)]
struct Entry {
    revision: u64,
    resource: String,
    event: v1::WatchEvent,
}

/// A fake server, a client of it, and their virtual time. Everything ends with it.
pub(crate) struct Fixture {
    pub(crate) server: FakeServer,
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) test_clock: TestClock,
    pub(crate) shutdown: Shutdown,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let (clock, test_clock) = Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
        let server = FakeServer { state: Arc::default(), changes: Arc::new(watch::Sender::new(0)) };
        let (listener, connector) = Listener::in_process();
        let shutdown = Shutdown::new();
        let router =
            tonic::service::Routes::new(ResourcesServer::new(server.clone())).into_axum_router();
        shutdown.spawn("fake server", serve(listener, router, shutdown.token().clone()));
        let client = Client::new(&Endpoint::InProcess(connector)).unwrap();
        Self { server, client, clock, test_clock, shutdown }
    }

    /// Waits, in virtual time, until `condition` holds.
    pub(crate) async fn eventually(&self, what: &str, condition: impl Fn() -> bool) {
        let met = async {
            while !condition() {
                self.clock.sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = self.clock.timeout(Duration::from_secs(600), met);
        assert!(self.test_clock.run(waited).await.is_ok(), "never: {what}");
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl FakeServer {
    /// Requests so far, as "verb resource/name".
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().requests.clone()
    }

    /// The headers of the last request.
    pub(crate) fn headers(&self) -> MetadataMap {
        self.state.lock().headers.clone()
    }

    /// All objects of a resource.
    pub(crate) fn objects(&self, info: &ResourceInfo) -> Vec<Value> {
        let state = self.state.lock();
        let of_resource = state.objects.iter().filter(|(key, _)| key.0 == info.resource);
        of_resource.map(|(_, object)| object.clone()).collect()
    }

    /// Answers every request with this error, or with its work again.
    pub(crate) fn set_outage(&self, outage: Option<Status>) {
        self.change(|state| {
            state.outage = outage;
            state.epoch += 1;
        });
    }

    /// Ends all watches, in order.
    pub(crate) fn cut_watches(&self) {
        self.change(|state| state.epoch += 1);
    }

    /// Forgets all events so far.
    pub(crate) fn compact(&self) {
        self.change(|state| state.compacted = state.revision);
    }

    /// Sends a bookmark to all watches of a resource.
    pub(crate) fn bookmark(&self, info: &ResourceInfo) {
        self.change(|state| {
            state.revision += 1;
            let object = json!({"metadata": {"resourceVersion": state.revision.to_string()}});
            state.push(info.resource, Type::Bookmark, &object);
        });
    }

    /// Puts an object without a request.
    pub(crate) fn put(&self, info: &ResourceInfo, namespace: &str, name: &str, object: Value) {
        let target = v1::ResourceRef {
            resource: info.resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..v1::ResourceRef::default()
        };
        self.change(|state| state.store(&target, object));
    }

    /// Deletes an object without a request.
    pub(crate) fn remove(&self, info: &ResourceInfo, namespace: &str, name: &str) {
        self.change(|state| {
            let key = (info.resource.to_owned(), namespace.to_owned(), name.to_owned());
            if let Some(mut object) = state.objects.remove(&key) {
                state.revision += 1;
                object["metadata"]["resourceVersion"] = state.revision.to_string().into();
                state.push(info.resource, Type::Deleted, &object);
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock());
        self.changes.send_modify(|changes| *changes += 1);
        result
    }

    fn request<M>(
        &self,
        verb: &str,
        request: &Request<M>,
        target: Option<&v1::ResourceRef>,
    ) -> Result<v1::ResourceRef, tonic::Status> {
        let target = target.cloned().unwrap_or_default();
        let mut state = self.state.lock();
        let path = [&target.resource, &target.name, &target.subresource];
        let path: Vec<_> = path.into_iter().filter(|part| !part.is_empty()).cloned().collect();
        state.requests.push(format!("{verb} {}", path.join("/")));
        state.headers = request.metadata().clone();
        match &state.outage {
            Some(status) => Err(wire::to_tonic(status)),
            None => Ok(target),
        }
    }
}

impl State {
    fn push(&mut self, resource: &str, kind: Type, object: &Value) {
        let event = v1::WatchEvent { r#type: kind.into(), object: object.to_string().into() };
        let resource = resource.to_owned();
        self.log.push(Entry { revision: self.revision, resource, event });
    }

    fn store(&mut self, target: &v1::ResourceRef, mut object: Value) -> Value {
        self.revision += 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = self.revision.to_string().into();
        metadata["name"] = target.name.clone().into();
        if !target.namespace.is_empty() {
            metadata["namespace"] = target.namespace.clone().into();
        }
        let key = key(target);
        let present = self.objects.get(&key);
        let uid = present.map(|present| present["metadata"]["uid"].clone());
        metadata["uid"] = uid.unwrap_or_else(|| format!("uid-{}", self.revision).into());
        let kind = if present.is_some() { Type::Modified } else { Type::Added };
        self.objects.insert(key, object.clone());
        self.push(&target.resource, kind, &object);
        object
    }
}

fn key(target: &v1::ResourceRef) -> (String, String, String) {
    (target.resource.clone(), target.namespace.clone(), target.name.clone())
}

fn info(target: &v1::ResourceRef) -> &'static ResourceInfo {
    resource::resolve(&target.resource).unwrap()
}

fn not_found(target: &v1::ResourceRef) -> tonic::Status {
    wire::to_tonic(&Status::not_found(info(target), &target.name))
}

fn answer(object: &Value) -> Result<Response<v1::ObjectReply>, tonic::Status> {
    let object = object.to_string().into();
    Ok(Response::new(v1::ObjectReply { object, warnings: vec!["a warning".to_owned()] }))
}

fn merge(target: &mut Value, patch: &Value) {
    match patch.as_object() {
        None => *target = patch.clone(),
        Some(fields) => {
            for (field, value) in fields {
                merge(&mut target[field], value);
            }
        }
    }
}

type Chunks<T> = Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send>>;

#[tonic::async_trait]
impl Resources for FakeServer {
    type ListStream = Chunks<v1::ListChunk>;
    type WatchStream = Chunks<v1::WatchEvent>;

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::ObjectReply>, tonic::Status> {
        let target = self.request("get", &request, request.get_ref().target.as_ref())?;
        let state = self.state.lock();
        answer(state.objects.get(&key(&target)).ok_or_else(|| not_found(&target))?)
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<Self::ListStream>, tonic::Status> {
        let target = self.request("list", &request, request.get_ref().target.as_ref())?;
        let state = self.state.lock();
        let items = state.objects.iter().filter(|((resource, namespace, _), _)| {
            *resource == target.resource
                && (target.namespace.is_empty() || *namespace == target.namespace)
        });
        let items: Vec<Bytes> = items.map(|(_, object)| object.to_string().into()).collect();
        let resource_version = state.revision.to_string();
        let mut chunks = vec![Ok(v1::ListChunk { resource_version, ..v1::ListChunk::default() })];
        chunks.extend(
            items.chunks(2).map(|items| {
                Ok(v1::ListChunk { items: items.to_vec(), ..v1::ListChunk::default() })
            }),
        );
        Ok(Response::new(stream::iter(chunks).boxed()))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, tonic::Status> {
        let target = self.request("watch", &request, request.get_ref().target.as_ref())?;
        let since: u64 = request.get_ref().resource_version.parse().unwrap();
        let epoch = self.state.lock().epoch;
        if since < self.state.lock().compacted {
            let status = serde_json::to_vec(&Status::expired("too old resource version")).unwrap();
            let event = v1::WatchEvent { r#type: Type::Error.into(), object: status.into() };
            return Ok(Response::new(stream::iter([Ok(event)]).boxed()));
        }
        let cursor = (self.clone(), self.changes.subscribe(), since);
        let events = stream::unfold(cursor, move |(server, mut changes, since)| {
            let resource = target.resource.clone();
            async move {
                loop {
                    changes.mark_unchanged();
                    {
                        let state = server.state.lock();
                        if state.epoch != epoch {
                            return None;
                        }
                        let mut later = state.log.iter().filter(|entry| entry.revision > since);
                        let next = later.find(|entry| entry.resource == resource).cloned();
                        drop(state);
                        if let Some(entry) = next {
                            return Some((Ok(entry.event), (server, changes, entry.revision)));
                        }
                    }
                    changes.changed().await.ok()?;
                }
            }
        });
        Ok(Response::new(events.boxed()))
    }

    async fn create(
        &self,
        request: Request<v1::CreateRequest>,
    ) -> Result<Response<v1::ObjectReply>, tonic::Status> {
        let mut target = self.request("create", &request, request.get_ref().target.as_ref())?;
        let object: Value = serde_json::from_slice(&request.get_ref().object).unwrap();
        if !target.subresource.is_empty() {
            return answer(&object);
        }
        target.name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if self.state.lock().objects.contains_key(&key(&target)) {
            let status = Status::already_exists(info(&target), &target.name);
            return Err(wire::to_tonic(&status));
        }
        answer(&self.change(|state| state.store(&target, object)))
    }

    async fn update(
        &self,
        request: Request<v1::UpdateRequest>,
    ) -> Result<Response<v1::ObjectReply>, tonic::Status> {
        let target = self.request("update", &request, request.get_ref().target.as_ref())?;
        let object: Value = serde_json::from_slice(&request.get_ref().object).unwrap();
        let present = self.state.lock().objects.get(&key(&target)).cloned();
        let present = present.ok_or_else(|| not_found(&target))?;
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        if version(&object) != version(&present) {
            return Err(wire::to_tonic(&Status::modified(info(&target), &target.name)));
        }
        answer(&self.change(|state| state.store(&target, object)))
    }

    async fn patch(
        &self,
        request: Request<v1::PatchRequest>,
    ) -> Result<Response<v1::ObjectReply>, tonic::Status> {
        let target = self.request("patch", &request, request.get_ref().target.as_ref())?;
        let patch: Value = serde_json::from_slice(&request.get_ref().patch).unwrap();
        let present = self.state.lock().objects.get(&key(&target)).cloned();
        let mut object = present.ok_or_else(|| not_found(&target))?;
        merge(&mut object, &patch);
        answer(&self.change(|state| state.store(&target, object)))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::ObjectReply>, tonic::Status> {
        let target = self.request("delete", &request, request.get_ref().target.as_ref())?;
        let present = self.state.lock().objects.get(&key(&target)).cloned();
        let object = present.ok_or_else(|| not_found(&target))?;
        self.remove(info(&target), &target.namespace, &target.name);
        answer(&object)
    }

    async fn delete_collection(
        &self,
        _: Request<v1::DeleteCollectionRequest>,
    ) -> Result<Response<v1::ObjectReply>, tonic::Status> {
        Err(tonic::Status::unimplemented("not in the fake server"))
    }

    async fn discovery(
        &self,
        _: Request<v1::DiscoveryRequest>,
    ) -> Result<Response<v1::DiscoveryReply>, tonic::Status> {
        Err(tonic::Status::unimplemented("not in the fake server"))
    }
}
