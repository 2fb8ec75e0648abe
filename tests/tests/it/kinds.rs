//! Every kind that is served, with every verb, through both faces: each has its case, and each is refused to who has every
//! other right.
//!
//! The cases come from the resource table, so a kind, verb or subresource that is added is tried at once; what cannot be
//! derived (a small object, the fields to select by) is in `kinds/samples.yaml`. What was tried is what FIDELITY.md says
//! of kinds: its part between the marks is written by this test (`KUBE_MINI_BLESS=1`).

mod face;
mod fidelity;

use std::{collections::BTreeMap, time::Duration};

use apimachinery::resource::{self, ResourceInfo, SubresourceInfo};
use serde_json::{Value, json};
use tests::{Component, TestCluster, eventually};

use crate::rest::Rest;
use face::{Call, Face, Target};

const NAMESPACE: &str = "meta";
const PATIENCE: Duration = Duration::from_secs(30);

/// What the table of resources does not tell of a kind.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    /// How its objects are called: `{name}`, unless the name is no matter of choice.
    #[serde(default = "any_name")]
    name: String,
    object: Value,
    #[serde(default)]
    fields: Vec<String>,
}

fn any_name() -> String {
    "{name}".to_owned()
}

/// The kinds served, each with its sample.
fn kinds() -> Vec<(&'static ResourceInfo, Sample)> {
    let samples = include_str!("kinds/samples.yaml");
    let mut samples: BTreeMap<String, Sample> = serde_yaml::from_str(samples).unwrap();
    // These are parts of pods, and tried as their subresources.
    let served = resource::RESOURCES.iter().filter(|info| info.served);
    served
        .map(|info| {
            let name = info.group_resource();
            let sample = samples.remove(&name);
            (*info, sample.unwrap_or_else(|| panic!("kinds/samples.yaml has no {name}")))
        })
        .collect()
}

impl Sample {
    fn name(&self, name: &str) -> String {
        self.name.replace("{name}", name)
    }

    /// A new object of this name.
    fn make(&self, info: &ResourceInfo, name: &str) -> Value {
        let text = self.object.to_string().replace("{name}", name);
        let mut object: Value = serde_json::from_str(&text).unwrap();
        object["apiVersion"] = info.api_version().into();
        object["kind"] = info.kind.into();
        if !info.verbs.contains(&"list") {
            // A review is about nobody's object: it has no name.
            object["metadata"] = json!({});
        } else {
            object["metadata"] = json!({"name": self.name(name), "labels": {"of": "kinds"}});
        }
        if info.namespaced {
            object["metadata"]["namespace"] = NAMESPACE.into();
        }
        object
    }
}

/// Only the API server: nobody else is to touch the objects.
async fn api_server() -> TestCluster {
    let cluster = TestCluster::builder().nodes(0).start().await.unwrap();
    for component in [Component::ControllerManager, Component::Scheduler] {
        cluster.stop(component).await.unwrap();
    }
    let namespace = json!({"metadata": {"name": NAMESPACE}});
    let rest = Face::Rest(Rest::admin(&cluster));
    rest.call(&Call::create(&resource::NAMESPACES, namespace)).await.unwrap();
    // Pods come with an account.
    let account = json!({"metadata": {"name": "default", "namespace": NAMESPACE}});
    rest.call(&Call::create(&resource::SERVICE_ACCOUNTS, account)).await.unwrap();
    cluster
}

fn faces(cluster: &TestCluster, user: &str, groups: &[&str]) -> [Face; 2] {
    [
        Face::Rest(Rest::over(cluster.channel_as(user, groups).unwrap())),
        Face::Grpc(Box::new(cluster.client_as(user, groups).unwrap())),
    ]
}

#[tokio::test]
async fn every_kind_has_every_verb_on_both_faces() {
    let cluster = api_server().await;
    for face in faces(&cluster, "kubernetes-admin", &["system:masters"]) {
        for (info, sample) in kinds() {
            if info.verbs.contains(&"list") {
                stored(&face, info, &sample).await;
            } else {
                let object = sample.make(info, "review");
                let made = face.call(&Call::create(info, object)).await;
                let made =
                    made.unwrap_or_else(|e| panic!("{face:?} create {}: {e}", info.resource));
                assert_eq!(made["kind"], info.kind);
            }
        }
    }
}

/// The whole life of a kind's objects.
async fn stored(face: &Face, info: &'static ResourceInfo, sample: &Sample) {
    let at = |what: &str| format!("{face:?} {what} {}", info.group_resource());
    let call = async |call: Call, what: &str| {
        face.call(&call).await.unwrap_or_else(|error| panic!("{}: {error}", at(what)))
    };
    let name = sample.name("one");
    let target = Target::of(info, NAMESPACE, &name);
    let made = sample.make(info, "one");

    let dry = call(Call::create(info, made.clone()).dry_run(), "create as a trial").await;
    assert_eq!(dry["metadata"]["name"], name.as_str());
    let absent = face.call(&Call::get(&target)).await.unwrap_err();
    assert_eq!(
        (absent.code, absent.reason.as_str()),
        (404, "NotFound"),
        "{}",
        at("get after a trial")
    );
    let mut odd = made.clone();
    odd["nonsense"] = 1.into();
    let strict = face.call(&Call::create(info, odd).strict()).await.unwrap_err();
    assert_eq!(strict.code, 400, "{}", at("create with an unknown field"));
    assert!(strict.message.contains(r#"unknown field "nonsense""#), "{strict}");

    let uid = call(Call::create(info, made.clone()), "create").await["metadata"]["uid"].clone();
    assert!(uid.is_string(), "{}", at("create"));
    let twice = face.call(&Call::create(info, made)).await.unwrap_err();
    assert_eq!(
        (twice.code, twice.reason.as_str()),
        (409, "AlreadyExists"),
        "{}",
        at("create again")
    );
    let read = call(Call::get(&target), "get").await;
    assert_eq!((&read["metadata"]["uid"], &read["kind"]), (&uid, &info.kind.into()));
    for fields in std::iter::once("metadata.name").chain(sample.fields.iter().map(String::as_str)) {
        let selector = if fields == "metadata.name" {
            format!("{fields}={name}")
        } else {
            format!("{fields}!=none")
        };
        let list = call(Call::list(info, NAMESPACE, "of=kinds", &selector), "list").await;
        let found = list["items"].as_array().unwrap().iter().any(|i| i["metadata"]["uid"] == uid);
        assert!(found, "{} where {selector}", at("list"));
    }
    let unknown = face.call(&Call::list(info, NAMESPACE, "", "no.such=1")).await.unwrap_err();
    let refusals =
        ["field label not supported: no.such", r#""no.such" is not a known field selector"#];
    let refused = refusals.iter().any(|refusal| unknown.message.starts_with(refusal));
    assert!(unknown.code == 400 && refused, "{}: {unknown}", at("list"));
    let seen = call(Call::watch(info, NAMESPACE, "of=kinds"), "watch").await;
    assert_eq!(seen["metadata"]["uid"], uid, "{}", at("watch"));
    let table = call(Call::get(&target).table(), "get as a table").await;
    let columns = table["columnDefinitions"].as_array().unwrap();
    let names = columns.iter().position(|column| column["name"] == "Name").unwrap();
    assert_eq!(table["rows"][0]["cells"][names], name.as_str(), "{}", at("get as a table"));

    let mut changed = read;
    changed["metadata"]["labels"]["updated"] = "yes".into();
    call(Call::update(&target, changed), "update").await;
    for (kind, patch) in [
        ("json", json!([{"op": "add", "path": "/metadata/labels/json", "value": "yes"}])),
        ("merge", json!({"metadata": {"labels": {"merge": "yes"}}})),
        ("strategic", json!({"metadata": {"labels": {"strategic": "yes"}}})),
        (
            "apply",
            json!({"apiVersion": info.api_version(), "kind": info.kind,
                "metadata": {"name": name, "labels": {"apply": "yes"}}}),
        ),
    ] {
        call(Call::patch(&target, kind, patch), kind).await;
    }
    let read = call(Call::get(&target), "get").await;
    for label in ["updated", "json", "merge", "strategic", "apply"] {
        assert_eq!(read["metadata"]["labels"][label], "yes", "{} {label}", at("get after"));
    }
    let written = |sub: &&SubresourceInfo| sub.verbs.contains(&"patch") && sub.name != "proxy";
    for sub in info.subresources.iter().filter(written) {
        let of_sub = target.clone().subresource(sub.name);
        let read = call(Call::get(&of_sub), sub.name).await;
        call(Call::patch(&of_sub, "merge", json!({"metadata": {}})), sub.name).await;
        let fresh = call(Call::get(&of_sub), sub.name).await;
        assert_eq!(fresh["kind"], sub.kind, "{} {}", at("get"), sub.name);
        call(Call::update(&of_sub, fresh), sub.name).await;
        assert_eq!(read["metadata"]["uid"], uid, "{} {}", at("get"), sub.name);
    }

    call(Call::delete(&target), "delete").await;
    if info == &resource::NAMESPACES {
        // Its contents go first, which is a controller's work; `finalize` is what it ends with.
        let mut left = call(Call::get(&target), "get").await;
        assert_eq!(left["status"]["phase"], "Terminating");
        left["spec"]["finalizers"] = json!([]);
        call(Call::update(&target.clone().subresource("finalize"), left), "finalize").await;
    }
    // Of definitions and namespaces the contents go first.
    eventually(&at("get after delete"), PATIENCE, async || {
        match face.call(&Call::get(&target)).await {
            Err(status) if status.code == 404 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    if info.verbs.contains(&"deletecollection") {
        for name in ["two", "three"] {
            call(Call::create(info, sample.make(info, name)), "create").await;
        }
        call(Call::delete_collection(info, NAMESPACE, "of=kinds"), "deletecollection").await;
        eventually(&at("deletecollection"), PATIENCE, async || {
            let list = call(Call::list(info, NAMESPACE, "of=kinds", ""), "list").await;
            if list["items"] == json!([]) { Ok(()) } else { Err(list.to_string()) }
        })
        .await;
    } else {
        let all = face.call(&Call::delete_collection(info, NAMESPACE, "")).await.unwrap_err();
        assert_eq!(all.code, 405, "{}", at("deletecollection"));
    }
}

/// Who may create what without any rule: everybody may ask about themselves.
fn is_free(info: &ResourceInfo) -> bool {
    info.kind.starts_with("SelfSubject")
}

#[tokio::test]
async fn every_verb_needs_its_rule_on_both_faces() {
    let cluster = api_server().await;
    let admin = Face::Rest(Rest::admin(&cluster));
    let [rest, grpc] = faces(&cluster, "alice", &[]);
    let subjects =
        json!([{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}]);
    let role_ref =
        json!({"kind": "ClusterRole", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({"metadata": {"name": "alice"}, "roleRef": role_ref, "subjects": subjects});
    admin.call(&Call::create(&resource::CLUSTER_ROLE_BINDINGS, binding)).await.unwrap();
    let role = json!({"metadata": {"name": "alice"}, "rules": []});
    admin.call(&Call::create(&resource::CLUSTER_ROLES, role)).await.unwrap();
    let grant = async |rules: Value| {
        let role = Target::of(&resource::CLUSTER_ROLES, "", "alice");
        admin.call(&Call::patch(&role, "merge", json!({"rules": rules}))).await.unwrap();
    };
    for (info, sample) in kinds() {
        if is_free(info) {
            let call = Call::create(info, sample.make(info, "own"));
            for face in [&rest, &grpc] {
                face.call(&call)
                    .await
                    .unwrap_or_else(|e| panic!("{face:?} {}: {e}", info.resource));
            }
            continue;
        }
        for (sub, verb) in rights(info) {
            grant(all_but(info, sub, verb)).await;
            let resource = sub.map_or_else(
                || info.resource.to_owned(),
                |s| format!("{}/{}", info.resource, s.name),
            );
            for face in [&rest, &grpc] {
                let Some(call) = Call::harmless(face, info, sub, verb, &sample) else { continue };
                let at = format!("{face:?} {verb} {resource}");
                let denied = face.call(&call).await;
                let Err(denied) = denied else { panic!("{at}: allowed without its rule") };
                assert_eq!(
                    (denied.code, denied.reason.as_str()),
                    (403, "Forbidden"),
                    "{at}: {denied}"
                );
                let said = format!(
                    "User \"alice\" cannot {verb} resource \"{resource}\" in API group \"{}\"",
                    info.group
                );
                assert!(denied.message.contains(&said), "{at}: {denied}");
            }
            grant(json!([{"apiGroups": [info.group], "resources": [resource], "verbs": [verb]}]))
                .await;
            for face in [&rest, &grpc] {
                let Some(call) = Call::harmless(face, info, sub, verb, &sample) else { continue };
                if let Err(denied) = face.call(&call).await {
                    // What it leads to may need another right: an update may create.
                    let refused = denied.message.contains(&format!("cannot {verb} resource"));
                    assert!(!refused, "{face:?} {verb} {resource} with its rule: {denied}");
                }
            }
        }
    }
}

/// What somebody can have the right to do with a kind.
fn rights(
    info: &'static ResourceInfo,
) -> impl Iterator<Item = (Option<&'static SubresourceInfo>, &'static str)> {
    let subs =
        info.subresources.iter().flat_map(|sub| sub.verbs.iter().map(move |v| (Some(sub), *v)));
    info.verbs.iter().map(|verb| (None, *verb)).chain(subs)
}

/// Rules that give everything but one right.
fn all_but(info: &ResourceInfo, sub: Option<&SubresourceInfo>, verb: &str) -> Value {
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let others: Vec<&str> = verbs.into_iter().filter(|other| *other != verb).collect();
    let own =
        sub.map_or_else(|| info.resource.to_owned(), |s| format!("{}/{}", info.resource, s.name));
    let names = |of: &ResourceInfo| -> Vec<String> {
        let subs = of.subresources.iter().map(|s| format!("{}/{}", of.resource, s.name));
        std::iter::once(of.resource.to_owned()).chain(subs).collect()
    };
    let rest = resource::RESOURCES.iter().filter(|other| other.served).filter_map(|other| {
        let names: Vec<String> =
            names(other).into_iter().filter(|name| *other != info || *name != own).collect();
        let rule = json!({"apiGroups": [other.group], "resources": names, "verbs": ["*"]});
        (!names.is_empty()).then_some(rule)
    });
    let own = json!({"apiGroups": [info.group], "resources": [own], "verbs": others});
    rest.chain([own]).collect::<Vec<Value>>().into()
}

#[test]
fn fidelity_tells_what_is_tried() {
    fidelity::check(&kinds());
}
