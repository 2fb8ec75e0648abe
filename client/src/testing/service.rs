//! The service itself: what each request does to the state.

use std::pin::Pin;

use apimachinery::{
    patch,
    resource::{self, ResourceInfo},
    schema,
    status::Status,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use proto::v1::{self, resources_server::Resources, watch_event::Type};
use serde_json::{Value, json};
use tonic::{Request, Response};

use super::{Entry, FakeServer, State, info, key};
use crate::wire;

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
            let event = error_event(&Status::expired("too old resource version"));
            return Ok(Response::new(stream::iter([Ok(event)]).boxed()));
        }
        let cursor = (self.clone(), self.changes.subscribe(), since);
        let events = stream::unfold(cursor, move |(server, mut changes, since)| {
            let (resource, selectors) = (target.resource.clone(), selectors.clone());
            async move {
                loop {
                    changes.mark_unchanged();
                    let told = {
                        let state = server.state.lock();
                        state.told(&resource, selectors.as_ref(), since, epoch)
                    };
                    match told {
                        Told::Event(entry) => {
                            return Some((Ok(entry.event), (server, changes, entry.revision)));
                        }
                        Told::Error(event) => return Some((Ok(event), (server, changes, ENDED))),
                        Told::End => return None,
                        Told::Nothing => changes.changed().await.ok()?,
                    }
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
        // Reviews are answered, not stored.
        if !target.subresource.is_empty() || !info(&target).has_verb("get") {
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
        // What a reader of the resource table needs to find what it has.
        let entry = |info: &ResourceInfo| {
            let resources = json!([{"resource": info.resource}]);
            json!({"metadata": {"name": info.group},
                   "versions": [{"version": info.version, "resources": resources}]})
        };
        let items: Vec<Value> = resource::served().map(entry).collect();
        let groups = serde_json::to_vec(&json!({"items": items})).expect("it is JSON");
        Ok(Response::new(v1::DiscoveryReply { groups: groups.into(), ..Default::default() }))
    }
}

/// Where a watch that has told its error is.
const ENDED: u64 = u64::MAX;

/// What a watch tells next.
enum Told {
    Event(Entry),
    Error(v1::WatchEvent),
    End,
    Nothing,
}

impl State {
    fn told(
        &self,
        resource: &str,
        selectors: Option<&v1::Selectors>,
        since: u64,
        epoch: u64,
    ) -> Told {
        if epoch < self.muted {
            return Told::Nothing;
        }
        if self.epoch != epoch {
            let ending = self.ending.as_ref().filter(|_| since != ENDED);
            return ending.map_or(Told::End, |status| Told::Error(error_event(status)));
        }
        let mut later = self.log.iter().filter(|entry| entry.revision > since);
        let selected = |entry: &&Entry| {
            entry.resource == resource
                && !self.hidden.iter().any(|hidden| hidden == resource)
                && selects(selectors, &entry.name)
        };
        later.find(selected).cloned().map_or(Told::Nothing, Told::Event)
    }
}

fn error_event(status: &Status) -> v1::WatchEvent {
    let object = serde_json::to_vec(status).unwrap();
    v1::WatchEvent { r#type: Type::Error.into(), object: object.into() }
}
