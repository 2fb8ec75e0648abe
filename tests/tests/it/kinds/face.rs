//! One request, and the two ways to make it.

use std::fmt;

use apimachinery::{
    object::ObjectKey,
    resource::{ResourceInfo, SubresourceInfo},
    status::Status,
};
use client::{
    Client, DeleteOptions, DynamicObject, FieldValidation, IncludeObject, ListOptions, Patch,
    WatchOptions,
};
use futures::StreamExt;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{NAMESPACE, Sample};
use crate::rest::Rest;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
/// Streams, which gRPC carries in a service of their own or not at all; `streams` and `security` have their tests.
const STREAMS: &[&str] = &["attach", "exec", "log", "portforward", "proxy"];

/// A way into the API server, as somebody.
pub(super) enum Face {
    Rest(Rest),
    Grpc(Box<Client>),
}

impl fmt::Debug for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Rest(_)) { "REST:" } else { "gRPC:" })
    }
}

/// An object, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Target {
    info: &'static ResourceInfo,
    namespace: String,
    name: String,
    subresource: &'static str,
}

impl Target {
    pub(super) fn of(info: &'static ResourceInfo, namespace: &str, name: &str) -> Self {
        let namespace = if info.namespaced { namespace } else { "" };
        Self { info, namespace: namespace.to_owned(), name: name.to_owned(), subresource: "" }
    }

    pub(super) fn subresource(self, subresource: &'static str) -> Self {
        Self { subresource, ..self }
    }

    fn path(&self) -> String {
        let Self { info, namespace, name, subresource } = self;
        let mut path = if info.group.is_empty() { "/api/" } else { "/apis/" }.to_owned();
        path.push_str(&info.api_version());
        if !namespace.is_empty() {
            path = format!("{path}/namespaces/{namespace}");
        }
        for part in [info.resource, name, subresource] {
            if !part.is_empty() {
                path = format!("{path}/{part}");
            }
        }
        path
    }
}

#[derive(Clone, Debug)]
enum What {
    Create(Value),
    Get { table: bool },
    List { labels: String, fields: String },
    Watch { labels: String },
    Update(Value),
    Patch { kind: &'static str, patch: Value },
    Delete,
    DeleteCollection { labels: String },
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Call {
    target: Target,
    what: What,
    dry_run: bool,
    strict: bool,
}

impl Call {
    fn new(target: Target, what: What) -> Self {
        Self { target, what, dry_run: false, strict: false }
    }

    /// A new object, in its own namespace.
    pub(super) fn create(info: &'static ResourceInfo, object: Value) -> Self {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        Self::new(Target::of(info, namespace, ""), What::Create(object))
    }

    pub(super) fn get(target: &Target) -> Self {
        Self::new(target.clone(), What::Get { table: false })
    }

    pub(super) fn list(
        info: &'static ResourceInfo,
        namespace: &str,
        labels: &str,
        fields: &str,
    ) -> Self {
        let what = What::List { labels: labels.to_owned(), fields: fields.to_owned() };
        Self::new(Target::of(info, namespace, ""), what)
    }

    /// Gives the first object that is there.
    pub(super) fn watch(info: &'static ResourceInfo, namespace: &str, labels: &str) -> Self {
        Self::new(Target::of(info, namespace, ""), What::Watch { labels: labels.to_owned() })
    }

    pub(super) fn update(target: &Target, object: Value) -> Self {
        Self::new(target.clone(), What::Update(object))
    }

    pub(super) fn patch(target: &Target, kind: &'static str, patch: Value) -> Self {
        Self::new(target.clone(), What::Patch { kind, patch })
    }

    /// At once.
    pub(super) fn delete(target: &Target) -> Self {
        Self::new(target.clone(), What::Delete)
    }

    pub(super) fn delete_collection(
        info: &'static ResourceInfo,
        namespace: &str,
        labels: &str,
    ) -> Self {
        let what = What::DeleteCollection { labels: labels.to_owned() };
        Self::new(Target::of(info, namespace, ""), what)
    }

    pub(super) fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    pub(super) fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    pub(super) fn table(mut self) -> Self {
        self.what = What::Get { table: true };
        self
    }

    /// A request that needs this right and changes nothing; None where only the other face has it.
    pub(super) fn harmless(
        face: &Face,
        info: &'static ResourceInfo,
        sub: Option<&SubresourceInfo>,
        verb: &str,
        sample: &Sample,
    ) -> Option<Self> {
        let subresource = sub.map_or("", |sub| sub.name);
        if matches!(face, Face::Grpc(_)) && STREAMS.contains(&subresource) {
            return None;
        }
        // By whatever method they begin, these ask for `create`.
        if verb == "get" && matches!(subresource, "attach" | "exec" | "portforward") {
            return None;
        }
        let name = sample.name("absent");
        let absent = Target::of(info, NAMESPACE, &name).subresource(subresource);
        let (none, patch) = ("no=such".to_owned(), json!({"metadata": {}}));
        let what = match (verb, sub) {
            ("create", None) => {
                return Some(Self::create(info, sample.make(info, "absent")).dry_run());
            }
            ("create", Some(_)) => What::Create(json!({"metadata": {"name": name}})),
            ("get", _) => What::Get { table: false },
            ("list", _) => return Some(Self::list(info, NAMESPACE, &none, "")),
            ("watch", _) => return Some(Self::watch(info, NAMESPACE, &none)),
            ("update", _) => What::Update(sample.make(info, "absent")),
            ("patch", _) => What::Patch { kind: "merge", patch },
            ("delete", _) => What::Delete,
            ("deletecollection", _) => {
                return Some(Self::delete_collection(info, NAMESPACE, &none));
            }
            _ => panic!("no request for {verb}"),
        };
        Some(Self::new(absent, what))
    }
}

impl Face {
    /// The answer: an object, a list, a table; of a watch the first object, if there is one at once.
    pub(super) async fn call(&self, call: &Call) -> Result<Value, Status> {
        match self {
            Self::Rest(rest) => over_rest(rest, call).await,
            Self::Grpc(client) => over_grpc(client, call).await,
        }
    }
}

async fn over_rest(rest: &Rest, call: &Call) -> Result<Value, Status> {
    let json = "application/json";
    let mut query: Vec<(&str, String)> = Vec::new();
    let (mut accept, mut content) = (json, json);
    let mut body = Value::Null;
    let method = match &call.what {
        What::Create(object) => {
            body = object.clone();
            Method::POST
        }
        What::Get { table } => {
            accept = if *table { TABLE } else { json };
            Method::GET
        }
        What::List { labels, fields } => {
            query.extend([("labelSelector", labels.clone()), ("fieldSelector", fields.clone())]);
            Method::GET
        }
        What::Watch { labels } => {
            query.extend([("watch", "true".to_owned()), ("labelSelector", labels.clone())]);
            Method::GET
        }
        What::Update(object) => {
            body = object.clone();
            Method::PUT
        }
        What::Patch { kind, patch } => {
            body = patch.clone();
            content = match *kind {
                "json" => "application/json-patch+json",
                "merge" => "application/merge-patch+json",
                "strategic" => "application/strategic-merge-patch+json",
                _ => "application/apply-patch+yaml",
            };
            query.push(("fieldManager", "test".to_owned()));
            Method::PATCH
        }
        What::Delete => {
            query.push(("gracePeriodSeconds", "0".to_owned()));
            Method::DELETE
        }
        What::DeleteCollection { labels } => {
            query.extend([
                ("labelSelector", labels.clone()),
                ("gracePeriodSeconds", "0".to_owned()),
            ]);
            Method::DELETE
        }
    };
    if call.dry_run {
        query.push(("dryRun", "All".to_owned()));
    }
    if call.strict {
        query.push(("fieldValidation", "Strict".to_owned()));
    }
    let query: Vec<String> = query
        .iter()
        .map(|(key, value)| format!("{key}={}", value.replace('=', "%3D").replace('!', "%21")))
        .collect();
    let request = Request::builder()
        .method(method)
        .uri(format!("{}?{}", call.target.path(), query.join("&")))
        .header(header::CONTENT_TYPE, content)
        .header(header::ACCEPT, accept)
        .body(if body.is_null() { String::new() } else { body.to_string() })
        .unwrap();
    let answer = rest.open(request).await;
    let code = answer.status();
    let mut body = answer.into_body();
    if code.is_success() && matches!(call.what, What::Watch { .. }) {
        return Ok(first_line(&mut body, call).await);
    }
    let bytes = body.collect().await.unwrap().to_bytes();
    if code.is_success() {
        return Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null));
    }
    let status: Status = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| panic!("{code}: {}", String::from_utf8_lossy(&bytes)));
    assert_eq!(status.code, code.as_u16());
    Err(status)
}

/// The object of the first event; a watch for nothing has none.
async fn first_line(body: &mut tonic::body::Body, call: &Call) -> Value {
    if matches!(&call.what, What::Watch { labels } if labels == "no=such") {
        return Value::Null;
    }
    let mut text = Vec::new();
    while !text.contains(&b'\n') {
        let frame = body.frame().await.expect("the watch goes on").unwrap();
        text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    let line = text.split(|byte| *byte == b'\n').next().unwrap();
    serde_json::from_slice::<Value>(line).unwrap()["object"].clone()
}

async fn over_grpc(client: &Client, call: &Call) -> Result<Value, Status> {
    let Target { info, namespace, name, subresource } = &call.target;
    let mut api =
        client.resource(info).namespace(namespace).subresource(subresource).dry_run(call.dry_run);
    if call.strict {
        api = api.field_validation(FieldValidation::Strict);
    }
    let bytes = |object: &Value| bytes::Bytes::from(object.to_string());
    let selection = |labels: &str, fields: &str| ListOptions {
        label_selector: labels.to_owned(),
        field_selector: fields.to_owned(),
        ..ListOptions::default()
    };
    let at_once = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    let reply = match &call.what {
        What::Create(object) => api.create(name, bytes(object)).await?,
        What::Get { table: false } => api.get(name).await?,
        What::Get { table: true } => {
            let key = ObjectKey { namespace: namespace.clone(), name: name.clone() };
            let table = client.get_table(info, &key, IncludeObject::None).await?;
            let names: Vec<Value> =
                table.column_definitions.iter().map(|c| json!({"name": c.name})).collect();
            let rows: Vec<Value> = table.rows.iter().map(|r| json!({"cells": r.cells})).collect();
            return Ok(json!({"columnDefinitions": names, "rows": rows}));
        }
        What::List { labels, fields } => {
            let list = api.list::<DynamicObject>(&selection(labels, fields)).await?;
            let items: Vec<Value> = list.items.into_iter().map(|item| item.0.into()).collect();
            return Ok(json!({"items": items}));
        }
        What::Watch { labels } => {
            let options =
                WatchOptions { label_selector: labels.clone(), ..WatchOptions::default() };
            let mut events = api.watch::<DynamicObject>(&options).await?;
            if labels == "no=such" {
                return Ok(Value::Null);
            }
            return match events.next().await.expect("the watch goes on")? {
                client::WatchEvent::Added(object) => Ok(object.0.into()),
                other => panic!("{other:?}"),
            };
        }
        What::Update(object) => api.update(name, bytes(object)).await?,
        What::Patch { kind, patch } => {
            let patch = match *kind {
                "json" => Patch::Json(patch.clone()),
                "merge" => Patch::Merge(patch.clone()),
                "strategic" => Patch::Strategic(patch.clone()),
                _ => Patch::Apply { object: patch.clone(), force: false },
            };
            api.patch(name, &patch).await?
        }
        What::Delete => api.delete(name, &at_once).await?,
        What::DeleteCollection { labels } => {
            api.delete_collection(&at_once, &selection(labels, "")).await?
        }
    };
    Ok(serde_json::from_slice(&reply.json).unwrap_or(Value::Null))
}
