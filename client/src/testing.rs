//! A server for tests: the `Resources` service over one map and one log, in this process.
//!
//! It keeps objects as they are given, so that a test can state any past: uids, statuses, timestamps. Of an API server it
//! has what clients act upon: versions and conflicts, generated names, generations, the kinds of patches, finalizers and
//! propagation; no validation, defaulting, admission or authorization. Every write that was tried is on record.
#![allow(clippy::unwrap_used, reason = "for tests, which fail as tests do")]

mod service;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apimachinery::{
    resource::{self, ResourceInfo},
    status::Status,
    time::Time,
};
use component_base::{
    clock::{Clock, TestClock},
    shutdown::Shutdown,
    transport::{Endpoint, Listener, serve},
};
use parking_lot::Mutex;
use proto::v1::{self, resources_server::ResourcesServer, watch_event::Type};
use serde_json::{Value, json};
use tokio::sync::watch;
use tonic::{Request, metadata::MetadataMap};

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
    /// What they end with.
    ending: Option<Status>,
    /// Watches of an older epoch than this hang: they neither tell nor end.
    muted: u64,
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
            state.ending = None;
        });
    }

    /// Ends all watches, in order.
    pub fn cut_watches(&self) {
        self.change(|state| {
            state.epoch += 1;
            state.ending = None;
        });
    }

    /// Ends all watches with an error event.
    pub fn fail_watches(&self, status: Status) {
        self.change(|state| {
            state.epoch += 1;
            state.ending = Some(status);
        });
    }

    /// Lets all watches hang: the connection is there, and nothing comes any more.
    pub fn mute_watches(&self) {
        self.change(|state| {
            state.epoch += 1;
            state.muted = state.epoch;
        });
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
            // Who tells what is may note it on the object, too, and hold it.
            for field in ["annotations", "finalizers"] {
                if !object["metadata"][field].is_null() {
                    whole["metadata"][field] = object["metadata"][field].take();
                }
            }
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
