//! A server for tests: the `Resources` service over one map and one log, in this process.
//!
//! It keeps objects as they are given, so that a test can state any past: uids, statuses, timestamps. Of an API server it
//! has what clients act upon: versions and conflicts, generated names, generations, the kinds of patches, finalizers and
//! propagation; no validation, defaulting, admission or authorization. Every write that was tried is on record.
#![allow(clippy::unwrap_used, reason = "for tests, which fail as tests do")]

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use apimachinery::{
    patch,
    resource::{self, ResourceInfo},
    schema,
    status::Status,
    time::Time,
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
pub struct FakeServer {
    state: Arc<Mutex<State>>,
    clock: Clock,
    /// Counts changes of the state, to wake watches.
    changes: Arc<watch::Sender<u64>>,
}

/// A write that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// Its kind.
    pub info: &'static ResourceInfo,
    /// Its namespace; empty for cluster-scoped ones.
    pub namespace: String,
    /// Its name; that before the generated part, with a `*` behind, where the server is to make one.
    pub name: String,
    /// Empty: the object itself.
    pub subresource: String,
    /// The object, the patch, or the propagation policy and grace period of a deletion.
    pub body: Value,
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
    writes: Vec<Write>,
    /// Answers to a verb on a resource, while there are any.
    refusals: Vec<(&'static str, String, Status)>,
    /// Generated names.
    names: u64,
    /// Resources whose watches hear nothing.
    hidden: Vec<String>,
}

#[derive(Clone)]
struct Entry {
    revision: u64,
    resource: String,
    name: String,
    event: v1::WatchEvent,
}

/// A fake server, a client of it, and their virtual time. Everything ends with it.
pub struct Fixture {
    /// The server.
    pub server: FakeServer,
    /// The client.
    pub client: Client,
    /// Their time.
    pub clock: Clock,
    /// What moves it.
    pub test_clock: TestClock,
    /// The end.
    pub shutdown: Shutdown,
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Fixture {
    /// A server without objects.
    #[must_use]
    pub fn new() -> Self {
        let (clock, test_clock) = Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
        let server = FakeServer {
            state: Arc::default(),
            clock: clock.clone(),
            changes: Arc::new(watch::Sender::new(0)),
        };
        let (listener, connector) = Listener::in_process();
        let shutdown = Shutdown::new();
        let router =
            tonic::service::Routes::new(ResourcesServer::new(server.clone())).into_axum_router();
        shutdown.spawn("fake server", serve(listener, router, shutdown.token().clone()));
        let client = Client::new(&Endpoint::InProcess(connector)).unwrap();
        Self { server, client, clock, test_clock, shutdown }
    }

    /// Waits, in virtual time, until `condition` holds.
    ///
    /// # Panics
    /// When it never does.
    pub async fn eventually(&self, what: &str, condition: impl Fn() -> bool) {
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
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().requests.clone()
    }

    /// The writes that were tried so far.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.state.lock().writes.clone()
    }

    /// Answers this verb on this resource with an error, `times` times.
    pub fn refuse(&self, verb: &'static str, info: &ResourceInfo, status: &Status, times: usize) {
        let refusal = (verb, info.resource.to_owned(), status.clone());
        self.change(|state| state.refusals.extend(std::iter::repeat_n(refusal, times)));
    }

    /// The headers of the last request.
    #[must_use]
    pub fn headers(&self) -> MetadataMap {
        self.state.lock().headers.clone()
    }

    /// All objects of a resource.
    #[must_use]
    pub fn objects(&self, info: &ResourceInfo) -> Vec<Value> {
        let state = self.state.lock();
        let of_resource = state.objects.iter().filter(|(key, _)| key.0 == info.resource);
        of_resource.map(|(_, object)| object.clone()).collect()
    }

    /// Lets watches of a resource hear nothing for now; what they missed comes when they may hear again.
    pub fn hide(&self, info: &ResourceInfo, hidden: bool) {
        self.change(|state| {
            state.hidden.retain(|resource| resource != info.resource);
            if hidden {
                state.hidden.push(info.resource.to_owned());
            }
        });
    }

    /// Answers every request with this error, or with its work again.
    pub fn set_outage(&self, outage: Option<Status>) {
        self.change(|state| {
            state.outage = outage;
            state.epoch += 1;
        });
    }

    /// Ends all watches, in order.
    pub fn cut_watches(&self) {
        self.change(|state| state.epoch += 1);
    }

    /// Forgets all events so far.
    pub fn compact(&self) {
        self.change(|state| state.compacted = state.revision);
    }

    /// Sends a bookmark to all watches of a resource.
    pub fn bookmark(&self, info: &ResourceInfo) {
        self.change(|state| {
            state.revision += 1;
            let object = json!({"metadata": {"resourceVersion": state.revision.to_string()}});
            state.push(info.resource, Type::Bookmark, &object);
        });
    }

    /// Puts an object without a request.
    pub fn put(&self, info: &ResourceInfo, namespace: &str, name: &str, object: Value) {
        let target = v1::ResourceRef {
            resource: info.resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..v1::ResourceRef::default()
        };
        self.change(|state| state.store(&target, object));
    }

    /// Deletes an object without a request.
    pub fn remove(&self, info: &ResourceInfo, namespace: &str, name: &str) {
        let key = (info.resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.change(|state| state.remove(&key));
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock());
        self.changes.send_modify(|changes| *changes += 1);
        result
    }

    fn request<M>(
        &self,
        verb: &'static str,
        request: &Request<M>,
        target: Option<&v1::ResourceRef>,
        body: Option<&Value>,
    ) -> Result<v1::ResourceRef, tonic::Status> {
        let target = target.cloned().unwrap_or_default();
        let mut state = self.state.lock();
        if let Some(body) = body {
            state.record(verb, &target, body);
        }
        let path = [&target.resource, &target.name, &target.subresource];
        let path: Vec<_> = path.into_iter().filter(|part| !part.is_empty()).cloned().collect();
        state.requests.push(format!("{verb} {}", path.join("/")));
        state.headers = request.metadata().clone();
        if let Some(status) = &state.outage {
            return Err(wire::to_tonic(status));
        }
        let refused = state
            .refusals
            .iter()
            .position(|(refused, resource, _)| *refused == verb && *resource == target.resource);
        match refused {
            Some(at) => Err(wire::to_tonic(&state.refusals.remove(at).2)),
            None => Ok(target),
        }
    }

    fn now(&self) -> Value {
        serde_json::to_value(Time(self.clock.now())).unwrap()
    }

    /// Stores a changed object; one that is being deleted goes with its last finalizer.
    fn replace(&self, target: &v1::ResourceRef, present: &Value, mut object: Value) -> Value {
        if target.subresource == "status" {
            let mut whole = present.clone();
            whole["status"] = object["status"].take();
            object = whole;
        } else if object["spec"] != present["spec"]
            && let Some(generation) = present["metadata"]["generation"].as_i64()
        {
            object["metadata"]["generation"] = (generation + 1).into();
        }
        // As a server does: what changes nothing is no change.
        if object == *present {
            return object;
        }
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty())
            || object["spec"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
        let going = !present["metadata"]["deletionTimestamp"].is_null();
        self.change(|state| {
            let stored = state.store(target, object);
            if going && !held {
                state.remove(&key(target));
            }
            stored
        })
    }

    /// Deletes an object, or marks it where finalizers or its grace period hold it.
    fn delete_one(&self, target: &v1::ResourceRef, options: &v1::DeleteOptions) {
        let present = self.state.lock().objects.get(&key(target)).cloned();
        let Some(mut object) = present else { return };
        let mut finalizers: Vec<Value> =
            object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let wanted = match options.propagation_policy.as_str() {
            "Foreground" => Some("foregroundDeletion"),
            "Orphan" => Some("orphan"),
            _ => None,
        };
        if let Some(finalizer) = wanted.filter(|f| !finalizers.contains(&Value::from(*f))) {
            finalizers.push(finalizer.into());
        }
        let graceful = target.resource == "pods"
            && object["spec"]["nodeName"].is_string()
            && options.grace_period_seconds != Some(0);
        let namespace = object["spec"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
        if finalizers.is_empty() && !graceful && !namespace {
            return self.change(|state| state.remove(&key(target)));
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = self.now();
        }
        if !finalizers.is_empty() {
            object["metadata"]["finalizers"] = finalizers.into();
        }
        self.change(|state| {
            state.store(target, object);
        });
    }
}

impl State {
    fn record(&mut self, verb: &'static str, target: &v1::ResourceRef, body: &Value) {
        let metadata = &body["metadata"];
        let made = metadata["name"]
            .as_str()
            .map(str::to_owned)
            .or_else(|| metadata["generateName"].as_str().map(|prefix| format!("{prefix}*")));
        let name =
            if target.name.is_empty() { made.unwrap_or_default() } else { target.name.clone() };
        self.writes.push(Write {
            verb,
            info: info(target),
            namespace: target.namespace.clone(),
            name,
            subresource: target.subresource.clone(),
            body: body.clone(),
        });
    }

    fn remove(&mut self, key: &(String, String, String)) {
        if let Some(mut object) = self.objects.remove(key) {
            self.revision += 1;
            object["metadata"]["resourceVersion"] = self.revision.to_string().into();
            self.push(&key.0, Type::Deleted, &object);
        }
    }

    fn push(&mut self, resource: &str, kind: Type, object: &Value) {
        let event = v1::WatchEvent { r#type: kind.into(), object: object.to_string().into() };
        let resource = resource.to_owned();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.log.push(Entry { revision: self.revision, resource, name, event });
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
        if metadata["uid"].is_null() {
            let uid = present.map(|present| present["metadata"]["uid"].clone());
            metadata["uid"] = uid.unwrap_or_else(|| format!("uid-{}", self.revision).into());
        }
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

fn version(object: &Value) -> Value {
    object["metadata"]["resourceVersion"].clone()
}

fn answer(object: &Value) -> Result<Response<v1::ObjectReply>, tonic::Status> {
    let object = object.to_string().into();
    Ok(Response::new(v1::ObjectReply { object, warnings: vec!["a warning".to_owned()] }))
}

/// `metadata.name=NAME`, the only field selector that there is here.
fn selects(selectors: Option<&v1::Selectors>, name: &str) -> bool {
    let field = selectors.map(|selectors| selectors.field_selector.as_str()).unwrap_or_default();
    field.strip_prefix("metadata.name=").is_none_or(|wanted| wanted == name)
}

fn bad_request(error: &impl std::fmt::Display) -> tonic::Status {
    wire::to_tonic(&Status::bad_request(error.to_string()))
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
        let target = self.request("get", &request, request.get_ref().target.as_ref(), None)?;
        let state = self.state.lock();
        answer(state.objects.get(&key(&target)).ok_or_else(|| not_found(&target))?)
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<Self::ListStream>, tonic::Status> {
        let target = self.request("list", &request, request.get_ref().target.as_ref(), None)?;
        let state = self.state.lock();
        let items = state.objects.iter().filter(|((resource, namespace, _), _)| {
            *resource == target.resource
                && (target.namespace.is_empty() || *namespace == target.namespace)
        });
        let selectors = request.get_ref().selectors.clone();
        let items = items.filter(|((_, _, name), _)| selects(selectors.as_ref(), name));
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
        let target = self.request("watch", &request, request.get_ref().target.as_ref(), None)?;
        let since: u64 = request.get_ref().resource_version.parse().unwrap();
        let epoch = self.state.lock().epoch;
        let selectors = request.get_ref().selectors.clone();
        if since < self.state.lock().compacted {
            let status = serde_json::to_vec(&Status::expired("too old resource version")).unwrap();
            let event = v1::WatchEvent { r#type: Type::Error.into(), object: status.into() };
            return Ok(Response::new(stream::iter([Ok(event)]).boxed()));
        }
        let cursor = (self.clone(), self.changes.subscribe(), since);
        let events = stream::unfold(cursor, move |(server, mut changes, since)| {
            let (resource, selectors) = (target.resource.clone(), selectors.clone());
            async move {
                loop {
                    changes.mark_unchanged();
                    {
                        let state = server.state.lock();
                        if state.epoch != epoch {
                            return None;
                        }
                        let mut later = state.log.iter().filter(|entry| entry.revision > since);
                        let next = later
                            .find(|entry| {
                                entry.resource == resource
                                    && !state.hidden.contains(&resource)
                                    && selects(selectors.as_ref(), &entry.name)
                            })
                            .cloned();
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
        let mut object: Value = serde_json::from_slice(&request.get_ref().object).unwrap();
        let target = request.get_ref().target.as_ref();
        let mut target = self.request("create", &request, target, Some(&object))?;
        if !target.subresource.is_empty() {
            return answer(&object);
        }
        let metadata = &mut object["metadata"];
        if metadata["name"].is_null()
            && let Some(prefix) = metadata["generateName"].as_str()
        {
            let number = self.change(|state| {
                state.names += 1;
                state.names
            });
            metadata["name"] = format!("{prefix}{number}").into();
        }
        target.name = metadata["name"].as_str().unwrap_or_default().to_owned();
        metadata["creationTimestamp"] = self.now();
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
        let object: Value = serde_json::from_slice(&request.get_ref().object).unwrap();
        let target = request.get_ref().target.as_ref();
        let target = self.request("update", &request, target, Some(&object))?;
        let present = self.state.lock().objects.get(&key(&target)).cloned();
        let present = present.ok_or_else(|| not_found(&target))?;
        if version(&object) != version(&present) {
            return Err(wire::to_tonic(&Status::modified(info(&target), &target.name)));
        }
        answer(&self.replace(&target, &present, object))
    }

    async fn patch(
        &self,
        request: Request<v1::PatchRequest>,
    ) -> Result<Response<v1::ObjectReply>, tonic::Status> {
        let patch: Value = serde_json::from_slice(&request.get_ref().patch).unwrap();
        let kind = request.get_ref().r#type();
        let target = request.get_ref().target.as_ref();
        let target = self.request("patch", &request, target, Some(&patch))?;
        let present = self.state.lock().objects.get(&key(&target)).cloned();
        let present = present.ok_or_else(|| not_found(&target))?;
        let stated = version(&patch);
        if !stated.is_null() && stated != version(&present) {
            return Err(wire::to_tonic(&Status::modified(info(&target), &target.name)));
        }
        let mut object = present.clone();
        let schema = schema::for_kind(info(&target));
        match (kind, schema) {
            (v1::patch_request::Type::Json, _) => patch::json::apply(&mut object, &patch),
            (v1::patch_request::Type::StrategicMerge, Some(schema)) => {
                patch::strategic::apply(&mut object, &patch, schema)
            }
            _ => patch::merge::apply(&mut object, &patch),
        }
        .map_err(|error| bad_request(&error))?;
        answer(&self.replace(&target, &present, object))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::ObjectReply>, tonic::Status> {
        let options = request.get_ref().options.clone().unwrap_or_default();
        let mut body = json!({});
        if !options.propagation_policy.is_empty() {
            body["propagationPolicy"] = options.propagation_policy.clone().into();
        }
        if let Some(seconds) = options.grace_period_seconds {
            body["gracePeriodSeconds"] = seconds.into();
        }
        let target = request.get_ref().target.as_ref();
        let target = self.request("delete", &request, target, Some(&body))?;
        let present = self.state.lock().objects.get(&key(&target)).cloned();
        let object = present.ok_or_else(|| not_found(&target))?;
        let conditions = options.preconditions.clone().unwrap_or_default();
        let fails = |stated: &Option<String>, present: &Value| {
            stated.as_ref().is_some_and(|stated| present != stated.as_str())
        };
        if fails(&conditions.uid, &object["metadata"]["uid"])
            || fails(&conditions.resource_version, &version(&object))
        {
            return Err(wire::to_tonic(&Status::modified(info(&target), &target.name)));
        }
        self.delete_one(&target, &options);
        answer(&object)
    }

    async fn delete_collection(
        &self,
        request: Request<v1::DeleteCollectionRequest>,
    ) -> Result<Response<v1::ObjectReply>, tonic::Status> {
        let options = request.get_ref().options.clone().unwrap_or_default();
        let target = request.get_ref().target.as_ref();
        let target = self.request("deletecollection", &request, target, Some(&json!({})))?;
        let names: Vec<String> = {
            let state = self.state.lock();
            let keys = state.objects.keys();
            let own = keys.filter(|(r, ns, _)| *r == target.resource && *ns == target.namespace);
            own.map(|(_, _, name)| name.clone()).collect()
        };
        for name in names {
            self.delete_one(&v1::ResourceRef { name, ..target.clone() }, &options);
        }
        answer(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }

    async fn discovery(
        &self,
        _: Request<v1::DiscoveryRequest>,
    ) -> Result<Response<v1::DiscoveryReply>, tonic::Status> {
        Err(tonic::Status::unimplemented("not in the fake server"))
    }
}
