//! Who did what: events of `audit.k8s.io/v1`, as lines of JSON.
//!
//! A [`Policy`] says how much is told of a request. The guard before both faces makes a [`Record`] of each request; the face
//! tells it who asks what ([`Record::begin`]), the chain what was decided and which bodies there were. The last who
//! holds the record tells the end: so an event `ResponseComplete` comes when the answer is sent, or a stream is over.
//!
//! # Bounds
//! Events wait for the [`log`] in a bounded memory. A request waits for its share of it before it begins, for some seconds
//! at most; then it goes on, its events are lost, and that is counted (`apiserver_audit_error_total`) and said in the
//! server's own log. Nothing that happens later in a request waits.

mod log;
mod policy;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use apimachinery::{status::Status, time::MicroTime, yaml};
use component_base::{
    clock::Clock,
    metrics::{Counter, EncodeLabelSet, Family, Registry},
};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use self::{log::Log, log::Room, policy::Verdict};
pub use self::{
    log::LogConfig,
    policy::{Level, Policy, PolicyError, Stage},
};
use crate::{
    authorization::Attributes,
    handler::{Answer, Reply},
    registry::{output::list_meta, store::uuid},
    request::{DeleteOptions, PatchType, Request, RequestContext, UserInfo},
};

/// What is told, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditConfig {
    /// Of which requests how much is told.
    pub policy: Policy,
    /// Where.
    pub log: LogConfig,
}

/// The events of one server.
pub(crate) struct Audit {
    policy: Policy,
    log: Log,
    clock: Clock,
    levels: Family<LevelLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    level: &'static str,
}

/// Memory that the events of a request take without its bodies.
const PLAIN: usize = 4 * 1024;
/// What a header of the client adds to an event at most.
const MAX_TEXT: usize = 1024;

impl Audit {
    /// Opens the log.
    pub(crate) fn open(config: AuditConfig, clock: Clock, registry: &Registry) -> io::Result<Self> {
        Ok(Self {
            policy: config.policy,
            log: Log::open(config.log, clock.clone(), registry)?,
            clock,
            levels: registry.register(
                "apiserver_audit_level",
                "Requests by the level of their events.",
                Family::default(),
            ),
        })
    }

    /// The record of a request that has just come.
    pub(crate) fn record(self: &Arc<Self>, source: Source) -> Arc<Record> {
        let id = source.id.clone().filter(|id| !id.is_empty());
        Arc::new(Record {
            received: self.clock.now(),
            id: id.unwrap_or_else(|| uuid(&self.clock)),
            told: AtomicBool::new(false),
            state: Mutex::new(State { source, ..State::default() }),
            audit: self.clone(),
        })
    }
}

/// What is known of a request before it is understood.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    /// Path and query.
    pub(crate) uri: String,
    /// The client's `Audit-ID`.
    pub(crate) id: Option<String>,
    /// Where it comes from.
    pub(crate) address: String,
    /// The client's `User-Agent`.
    pub(crate) user_agent: String,
}

/// One request, from its coming to the end of its answer.
pub(crate) struct Record {
    audit: Arc<Audit>,
    received: Timestamp,
    id: String,
    /// There is an event of this request.
    told: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    source: Source,
    verdict: Verdict,
    verb: String,
    user: Option<UserInfo>,
    impersonated: Option<UserInfo>,
    object: Option<Map<String, Value>>,
    long_running: bool,
    request: Option<Value>,
    response: Option<Value>,
    status: Option<Status>,
    code: u16,
    panicked: bool,
    annotations: BTreeMap<&'static str, String>,
    room: Option<Room>,
    /// There was no room.
    lost: bool,
}

/// What a face knows of a request before it is looked at further.
pub(crate) struct Begin<'a> {
    /// The real user.
    pub(crate) user: &'a UserInfo,
    pub(crate) attributes: Attributes<'a>,
    /// API version of the resource.
    pub(crate) version: &'a str,
    pub(crate) long_running: bool,
}

impl Record {
    /// The request's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Says in Kubernetes' form which path was asked for, where the wire's is another.
    pub(crate) fn set_uri(&self, uri: String) {
        self.state.lock().source.uri = uri;
    }

    /// It is known who asks what: the policy decides, and the first event is told.
    pub(crate) async fn begin(&self, begin: Begin<'_>) {
        let verdict = self.audit.policy.verdict(begin.user, &begin.attributes);
        let labels = LevelLabels { level: verdict.level.as_str() };
        self.audit.levels.get_or_create(&labels).inc();
        if verdict.level == Level::None {
            return;
        }
        let room = self.audit.log.room(PLAIN).await;
        let mut state = self.state.lock();
        state.lost = room.is_none();
        state.room = room;
        state.verdict = verdict;
        state.user = Some(begin.user.clone());
        state.long_running = begin.long_running;
        let (verb, object) = object_of(&begin);
        state.verb = verb;
        state.object = object;
        self.told.store(true, Ordering::Relaxed);
        self.tell(&mut state, Stage::RequestReceived);
    }

    /// Credentials were refused: all that is known of who asks.
    pub(crate) async fn unauthenticated(&self, verb: &str, path: &str, message: &str) {
        let nobody = UserInfo::default();
        let attributes = Attributes::Path { verb, path };
        let verdict = self.audit.policy.verdict(&nobody, &attributes);
        if verdict.level == Level::None {
            return;
        }
        let room = self.audit.log.room(PLAIN).await;
        let mut state = self.state.lock();
        (state.lost, state.room) = (room.is_none(), room);
        verb.clone_into(&mut state.verb);
        state.verdict = verdict;
        state.code = 401;
        let status = Status { message: message.to_owned(), code: 401, ..Status::default() };
        state.status = Some(status);
        self.tell(&mut state, Stage::ResponseStarted);
    }

    /// The user acts as another.
    pub(crate) fn impersonates(&self, user: &UserInfo) {
        self.state.lock().impersonated = Some(user.clone());
    }

    /// Whether anything is told of the request.
    pub(crate) fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// What authorization decided, and why.
    pub(crate) fn decided(&self, allowed: bool, reason: String) {
        let mut state = self.state.lock();
        let decision = if allowed { "allow" } else { "forbid" };
        state.annotations.insert("authorization.k8s.io/decision", decision.to_owned());
        state.annotations.insert("authorization.k8s.io/reason", reason);
    }

    /// The request's body is known.
    pub(crate) async fn request(&self, context: &RequestContext, request: &Request) {
        if !self.is_told() {
            return;
        }
        let body = match request {
            Request::Get { .. } | Request::List(_) | Request::Watch(_) => return,
            Request::Create(body) | Request::Update(body) => {
                self.complete_object(body);
                json_of(body)
            }
            Request::Patch(PatchType::Apply, body) => {
                let text = std::str::from_utf8(body).ok();
                let documents = text.and_then(|text| yaml::read(text, "patch").ok());
                documents.and_then(|mut documents| documents.pop()).map(|document| document.value)
            }
            Request::Patch(_, body) => json_of(body),
            Request::Delete(options) | Request::DeleteCollection(_, options) => {
                Some(delete_options(context, options))
            }
        };
        let length = match request {
            Request::Create(body) | Request::Update(body) | Request::Patch(_, body) => body.len(),
            _ => 0,
        };
        self.keep(Level::Request, body, length, |state, body| state.request = Some(body)).await;
    }

    /// Names the object after its body, where the path does not.
    fn complete_object(&self, body: &[u8]) {
        #[derive(serde::Deserialize, Default)]
        #[serde(default, rename_all = "camelCase")]
        struct Meta {
            name: String,
            uid: String,
            resource_version: String,
        }
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        struct Body {
            metadata: Meta,
        }
        let Ok(Body { metadata }) = serde_json::from_slice(body) else { return };
        let mut state = self.state.lock();
        let Some(object) = &mut state.object else { return };
        for (key, value) in [
            ("name", metadata.name),
            ("uid", metadata.uid),
            ("resourceVersion", metadata.resource_version),
        ] {
            if !value.is_empty() && !object.contains_key(key) {
                object.insert(key.to_owned(), value.into());
            }
        }
    }

    /// The chain's answer is known.
    pub(crate) fn answered<'a>(
        &'a self,
        answer: &Result<Answer, Status>,
        code: u16,
    ) -> impl Future<Output = ()> + Send + use<'a> {
        let (body, length) = if self.is_told() { self.answer(answer, code) } else { (None, 0) };
        self.keep(Level::RequestResponse, body, length, |state, body| state.response = Some(body))
    }

    /// Notes the code of an answer; gives its body, where the policy asks for it, and its length.
    fn answer(&self, answer: &Result<Answer, Status>, code: u16) -> (Option<Value>, usize) {
        let reply = match answer {
            Ok(Answer { reply, .. }) => {
                self.state.lock().code = code;
                reply
            }
            Err(status) => {
                self.failed(status);
                return (None, 0);
            }
        };
        match reply {
            Reply::Watch(_) => (None, 0),
            _ if self.state.lock().verdict.level < Level::RequestResponse => (None, 0),
            Reply::Object { body, .. } => (json_of(body), body.len()),
            Reply::List(list) => {
                let length = list.items.iter().map(|item| item.len() + 1).sum();
                let metadata =
                    list_meta(&list.resource_version, &list.continue_token, list.remaining);
                let body = json!({
                    "kind": list.info.list_kind(),
                    "apiVersion": list.info.api_version(),
                    "metadata": json_of(metadata.to_string().as_bytes()),
                    "items": list.items.iter().filter_map(|item| json_of(item)).collect::<Vec<_>>(),
                });
                (Some(body), length)
            }
        }
    }

    /// Keeps a body for the events, where the policy asks for it and there is room.
    async fn keep(
        &self,
        level: Level,
        body: Option<Value>,
        length: usize,
        place: impl FnOnce(&mut State, Value),
    ) {
        let Some(mut body) = body else { return };
        if self.state.lock().verdict.level < level {
            return;
        }
        let more = self.audit.log.room(length).await;
        let mut state = self.state.lock();
        match (more, &mut state.room) {
            (Some(more), Some(room)) => room.merge(more),
            _ => return state.lost = true,
        }
        if state.verdict.omit_managed_fields {
            drop_managed_fields(&mut body);
        }
        place(&mut state, body);
    }

    /// The request was refused, or failed.
    pub(crate) fn failed(&self, status: &Status) {
        let mut state = self.state.lock();
        state.code = status.code;
        state.status = Some(status.clone());
    }

    /// The server failed in it.
    pub(crate) fn panicked(&self) {
        self.state.lock().panicked = true;
    }

    /// The answer's headers are about to be sent.
    pub(crate) fn started(&self, code: u16) {
        let mut state = self.state.lock();
        if state.code == 0 {
            state.code = code;
        }
        if state.long_running && self.is_told() {
            self.tell(&mut state, Stage::ResponseStarted);
        }
    }

    fn tell(&self, state: &mut State, stage: Stage) {
        if !state.verdict.tells(stage) {
            return;
        }
        if state.lost {
            return self.audit.log.lost();
        }
        let event = self.event(state, stage);
        let line = serde_json::to_vec(&event).unwrap_or_default();
        let last = matches!(stage, Stage::ResponseComplete | Stage::Panic);
        let room = if last { state.room.take() } else { None };
        self.audit.log.send(line, room);
    }

    fn event(&self, state: &State, stage: Stage) -> Value {
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": state.verdict.level.as_str(),
            "auditID": self.id,
            "stage": stage.as_str(),
            "requestURI": state.source.uri,
            "verb": state.verb,
            "user": state.user.as_ref().map_or_else(|| json!({}), user_json),
        });
        let mut set = |key: &str, value: Value| {
            if let Some(map) = event.as_object_mut()
                && !value.is_null()
            {
                map.insert(key.to_owned(), value);
            }
        };
        set("impersonatedUser", state.impersonated.as_ref().map_or(Value::Null, user_json));
        if !state.source.address.is_empty() {
            set("sourceIPs", json!([state.source.address]));
        }
        if !state.source.user_agent.is_empty() {
            set("userAgent", cut(&state.source.user_agent).into());
        }
        set("objectRef", state.object.clone().map_or(Value::Null, Value::Object));
        if stage != Stage::RequestReceived {
            set("responseStatus", status_json(state));
        }
        // The first event comes before any body.
        set("requestObject", state.request.clone().unwrap_or(Value::Null));
        set("responseObject", state.response.clone().unwrap_or(Value::Null));
        set("requestReceivedTimestamp", MicroTime(self.received).to_string().into());
        set("stageTimestamp", MicroTime(self.audit.clock.now()).to_string().into());
        if !state.annotations.is_empty() {
            set("annotations", json!(state.annotations));
        }
        event
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The end of the answer: nobody holds the record any more.
impl Drop for Record {
    fn drop(&mut self) {
        if !self.is_told() {
            return;
        }
        let mut state = std::mem::take(&mut *self.state.lock());
        let stage = if state.panicked { Stage::Panic } else { Stage::ResponseComplete };
        self.tell(&mut state, stage);
    }
}

/// The verb and, for a request about a resource, its `objectRef`.
fn object_of(begin: &Begin<'_>) -> (String, Option<Map<String, Value>>) {
    match &begin.attributes {
        Attributes::Path { verb, .. } => ((*verb).to_owned(), None),
        Attributes::Resource { verb, group, resource, subresource, namespace, name } => {
            let fields = [
                ("resource", *resource),
                ("namespace", namespace),
                ("name", name),
                ("apiGroup", group),
                ("apiVersion", begin.version),
                ("subresource", subresource),
            ];
            let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
            let object = fields.map(|(key, value)| (key.to_owned(), cut(value).into())).collect();
            ((*verb).to_owned(), Some(object))
        }
    }
}

fn user_json(user: &UserInfo) -> Value {
    let mut json = json!({"username": user.name, "groups": user.groups});
    if let Some(map) = json.as_object_mut() {
        if !user.uid.is_empty() {
            map.insert("uid".to_owned(), user.uid.clone().into());
        }
        if !user.extra.is_empty() {
            map.insert("extra".to_owned(), json!(user.extra));
        }
    }
    json
}

fn status_json(state: &State) -> Value {
    if state.panicked {
        return json!({
            "metadata": {},
            "status": "Failure",
            "message": "APIServer panic'd",
            "reason": "InternalError",
            "code": 500,
        });
    }
    match &state.status {
        Some(status) => {
            let mut json = serde_json::to_value(status).unwrap_or_default();
            if let Some(map) = json.as_object_mut() {
                map.remove("kind");
                map.remove("apiVersion");
            }
            json
        }
        None => json!({"metadata": {}, "code": if state.code == 0 { 200 } else { state.code }}),
    }
}

fn json_of(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}

fn delete_options(context: &RequestContext, options: &DeleteOptions) -> Value {
    let mut json = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
    let mut set = |key: &str, value: Value| {
        if let Some(map) = json.as_object_mut() {
            map.insert(key.to_owned(), value);
        }
    };
    if let Some(seconds) = options.grace_period_seconds {
        set("gracePeriodSeconds", seconds.into());
    }
    if !options.propagation_policy.is_empty() {
        set("propagationPolicy", options.propagation_policy.clone().into());
    }
    if context.dry_run {
        set("dryRun", json!(["All"]));
    }
    let conditions: Map<String, Value> = [
        ("uid", &context.preconditions.uid),
        ("resourceVersion", &context.preconditions.resource_version),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?.into())))
    .collect();
    if !conditions.is_empty() {
        set("preconditions", conditions.into());
    }
    json
}

/// Removes `metadata.managedFields` of an object, or of each of a list.
fn drop_managed_fields(body: &mut Value) {
    let drop_of = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    drop_of(body);
    if let Some(items) = body.get_mut("items").and_then(Value::as_array_mut) {
        items.iter_mut().for_each(drop_of);
    }
}

/// A client's text, of bounded length.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

#[cfg(test)]
mod tests;
