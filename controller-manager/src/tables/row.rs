//! One row: a controller, its objects, and what it writes.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use apimachinery::{duration::parse_go_duration, status::Status};
use client::{
    informer::Informers,
    testing::{Fixture, Write},
};
use component_base::{
    clock::Clock,
    tls::{CertificateAuthority, KeyPair},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Table,
    object::{Named, change, fits, has, kind, make, set_times},
};
use crate::{context::Setup, controllers::Controller, options::Options};

/// How much of a body a failure shows.
const SHOWN: usize = 500;

/// A row, as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) name: String,
    #[serde(default)]
    objects: Vec<BTreeMap<String, Value>>,
    /// What the server answers to a verb on a kind, and how often: `create Pod: forbidden the reason`.
    #[serde(default)]
    refuse: BTreeMap<String, String>,
    /// Kinds whose changes no watch hears of.
    #[serde(default)]
    hide: Vec<String>,
    #[serde(default)]
    options: Settings,
    #[serde(default)]
    then: Vec<Step>,
    /// Writes that count here although the table ignores them.
    #[serde(default)]
    also: Vec<String>,
    expect: Vec<Value>,
}

/// What differs from the defaults.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    root_ca: Option<String>,
    /// An authority that signs requests, made for this row.
    #[serde(default)]
    signing: bool,
    terminated_pod_gc_threshold: Option<i32>,
    mirroring_max_endpoints_per_subset: Option<usize>,
    cluster_cidr: Option<String>,
    load_balancer_network: Option<std::net::Ipv4Addr>,
}

/// One thing that happens.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Step {
    Put(BTreeMap<String, Value>),
    Delete(String),
    After(String),
    Forget(Writes),
    Hide(String),
    Show(String),
}

/// `writes`.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Writes {
    Writes,
}

/// Runs a row.
///
/// # Errors
/// What was expected and what was written, where they differ.
pub(super) async fn run(controller: &Controller, table: &Table, row: &Row) -> Result<(), String> {
    let fixture = Fixture::new();
    let now = fixture.clock.now();
    for object in &row.objects {
        put(&fixture, table, object);
    }
    for (what, answer) in &row.refuse {
        let (verb, name) = what.split_once(' ').expect("a verb and a kind");
        let (reason, message) = answer.split_once(' ').expect("a reason and a message");
        let status = refusal(reason, message);
        fixture.server.refuse(verb_of(verb), kind(name), &status, usize::from(u8::MAX));
    }
    for name in &row.hide {
        fixture.server.hide(kind(name), true);
    }
    let options = Options {
        root_ca: row.options.root_ca.clone(),
        cluster_signing: row.options.signing.then(authority),
        ..Options::default()
    };
    let options = Options {
        terminated_pod_gc_threshold: row
            .options
            .terminated_pod_gc_threshold
            .unwrap_or(options.terminated_pod_gc_threshold),
        mirroring_max_endpoints_per_subset: row
            .options
            .mirroring_max_endpoints_per_subset
            .unwrap_or(options.mirroring_max_endpoints_per_subset),
        load_balancer_network: row.options.load_balancer_network,
        ..options
    };
    let mut informers = Informers::new(&fixture.client, &fixture.clock);
    let cidr = row.options.cluster_cidr.as_deref().unwrap_or("10.244.0.0/16");
    (controller.start)(&mut Setup {
        client: fixture.client.clone(),
        clock: fixture.clock.clone(),
        shutdown: fixture.shutdown.clone(),
        informers: &mut informers,
        cluster_cidr: cidr.to_owned(),
        options: &options,
    });
    informers.start(&fixture.shutdown);
    fixture.test_clock.settle().await;
    let mut forgotten = 0;
    for step in &row.then {
        match step {
            Step::Put(object) => put(&fixture, table, object),
            Step::Delete(object) => {
                let named = Named::parse(object);
                fixture.server.remove(named.info, named.namespace, named.name);
            }
            Step::After(time) => {
                let time = parse_go_duration(time).unwrap_or_else(|| panic!("no time: {time}"));
                fixture.test_clock.advance(time).await;
            }
            Step::Forget(Writes::Writes) => forgotten = fixture.server.writes().len(),
            Step::Hide(name) => fixture.server.hide(kind(name), true),
            Step::Show(name) => fixture.server.hide(kind(name), false),
        }
        fixture.test_clock.settle().await;
    }
    // Recorders write behind the controllers.
    fixture.test_clock.advance(Duration::from_millis(1)).await;
    let ignored = |what: &str| {
        let is = |entry: &String| what == entry || what.starts_with(&format!("{entry} "));
        table.ignore.iter().any(is) && !row.also.iter().any(is)
    };
    let writes = fixture.server.writes();
    let written: Vec<(String, Value)> = writes
        .iter()
        .skip(forgotten)
        .filter(|write| !(write.info.kind == "Event" && write.verb == "patch"))
        .filter(|write| !ignored(&subject(write)))
        .map(describe)
        .collect();
    compare(&row.expect, written, now)
}

fn authority() -> KeyPair {
    let made = CertificateAuthority::create("kubernetes", Clock::real().now());
    made.expect("an authority").key_pair().clone()
}

fn put(fixture: &Fixture, table: &Table, objects: &BTreeMap<String, Value>) {
    let now = fixture.clock.now();
    for (what, fields) in objects {
        let named = Named::parse(what);
        let present = fixture.server.objects(named.info).into_iter().find(|object| {
            object["metadata"]["name"] == named.name
                && object["metadata"]["namespace"].as_str().unwrap_or_default() == named.namespace
        });
        let object = match present {
            None => make(table, &named, fields, now),
            Some(mut object) => {
                change(table, &mut object, fields, now);
                object
            }
        };
        fixture.server.put(named.info, named.namespace, named.name, object);
    }
}

fn verb_of(name: &str) -> &'static str {
    let verbs = ["get", "create", "update", "patch", "delete", "deletecollection"];
    verbs.into_iter().find(|verb| *verb == name).unwrap_or_else(|| panic!("no verb {name}"))
}

fn refusal(reason: &str, message: &str) -> Status {
    let (code, reason) = match reason {
        "forbidden" => (403, "Forbidden"),
        "conflict" => (409, "Conflict"),
        "taken" => (409, "AlreadyExists"),
        "unavailable" => (503, "ServiceUnavailable"),
        "terminating" => {
            let mut status = refusal("forbidden", message);
            status.details = serde_json::from_value(serde_json::json!({
                "causes": [{"reason": "NamespaceTerminating", "message": message}]
            }))
            .expect("details");
            return status;
        }
        other => panic!("no reason {other}"),
    };
    serde_json::from_value(serde_json::json!({"kind": "Status", "apiVersion": "v1",
        "status": "Failure", "code": code, "reason": reason, "message": message}))
    .expect("a status")
}

/// What a write is about, as `ignore` and `also` name it.
fn subject(write: &Write) -> String {
    match (write.info.kind, write.subresource.as_str()) {
        ("Event", _) => format!("event {}", write.body["reason"].as_str().unwrap_or_default()),
        (kind, "") => kind.to_owned(),
        (kind, subresource) => format!("{kind}/{subresource}"),
    }
}

/// A write as rows name it, and its body.
fn describe(write: &Write) -> (String, Value) {
    let body = &write.body;
    if write.info.kind == "Event" {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let about = &body["involvedObject"];
        let line = format!(
            "event {} {} {}/{}: {}",
            text(&body["type"]),
            text(&body["reason"]),
            text(&about["kind"]),
            text(&about["name"]),
            text(&body["message"]),
        );
        return (line, Value::Null);
    }
    let mut line = format!("{} {}", write.verb, write.info.kind);
    if !write.name.is_empty() {
        let default = if write.info.namespaced { "n" } else { "" };
        let _ = write!(line, " ");
        if write.namespace != default {
            let _ = write!(line, "{}/", write.namespace);
        }
        let _ = write!(line, "{}", write.name);
    }
    if !write.subresource.is_empty() {
        let _ = write!(line, "/{}", write.subresource);
    }
    (line, fields_of(body))
}

/// The fields that a JSON patch sets, or the body itself.
fn fields_of(body: &Value) -> Value {
    let Value::Array(operations) = body else { return body.clone() };
    let mut fields = Value::Object(Map::new());
    for operation in operations.iter().filter(|o| o["op"] != "test") {
        let mut place = &mut fields;
        for part in operation["path"].as_str().unwrap_or_default().split('/').skip(1) {
            place = &mut place[part];
        }
        *place = operation["value"].clone();
    }
    fields
}

fn compare(
    expected: &[Value],
    mut written: Vec<(String, Value)>,
    now: jiff::Timestamp,
) -> Result<(), String> {
    let mut missing = Vec::new();
    for line in expected {
        let (line, mut fields) = match line {
            // A write with fields, or an event whose words have a colon.
            Value::Object(one) => {
                let (line, fields) = one.iter().next().expect("one write");
                match (line.starts_with("event "), fields) {
                    (true, words) => {
                        (format!("{line}: {}", words.as_str().unwrap_or_default()), Value::Null)
                    }
                    (false, fields) => (line.clone(), fields.clone()),
                }
            }
            line => (line.as_str().expect("a write").to_owned(), Value::Null),
        };
        set_times(&mut fields, now);
        let is = |(head, body): &(String, Value)| {
            fits(head, &line) && (fields.is_null() || has(body, &fields))
        };
        match written.iter().position(is) {
            Some(at) => drop(written.remove(at)),
            None => missing.push(format!("    expected: {line}: {fields}")),
        }
    }
    if missing.is_empty() && written.is_empty() {
        return Ok(());
    }
    missing.extend(written.iter().map(|(line, body)| {
        let body: String = body.to_string().chars().take(SHOWN).collect();
        format!("    written:  {line}: {body}")
    }));
    Err(missing.join("\n"))
}
