use component_base::shutdown::Shutdown;

use super::*;

/// A chain that follows definitions.
async fn following() -> (Chain, Shutdown) {
    let chain = Chain::start().await;
    let shutdown = Shutdown::new();
    follow(&chain, &shutdown).await;
    (chain, shutdown)
}

async fn follow(chain: &Chain, shutdown: &Shutdown) {
    let definitions = chain.handler.definitions.clone();
    definitions.load().await.unwrap();
    let (handler, followed) = (chain.handler.clone(), shutdown.clone());
    shutdown.spawn("definitions", async move { definitions.follow(&handler, &followed).await });
}

/// Waits until something holds, looking again after each change in the store.
async fn until<F: Future<Output = bool>>(chain: &Chain, holds: impl Fn() -> F) {
    let clock = Clock::real();
    let mut after = crate::storage::Revision::ZERO;
    while !holds().await {
        let query = crate::storage::WatchQuery::prefix("/registry/", after);
        let mut watch = chain.storage.watch(query).await.unwrap();
        let change = clock.timeout(Duration::from_secs(10), watch.next()).await;
        after = change.expect("something changes").unwrap().unwrap().last().unwrap().revision();
    }
}

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "additionalPrinterColumns": [
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                    {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["color"],
                        "x-kubernetes-validations": [{"rule": "self.replicas <= 10", "message": "too many"}],
                        "properties": {
                            "color": {"type": "string", "enum": ["red", "green"]},
                            "replicas": {"type": "integer", "default": 1, "minimum": 0},
                            "ports": {"type": "array", "x-kubernetes-list-type": "map",
                                "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object",
                                "required": ["name"], "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}}}},
                    "status": {"type": "object", "properties": {
                        "replicas": {"type": "integer"}, "selector": {"type": "string"}}}}}}}],
        },
    })
}

const DEFINITIONS: &ResourceInfo = &resource::CUSTOM_RESOURCE_DEFINITIONS;

impl Chain {
    fn found(&self, version: &str) -> Option<&'static ResourceInfo> {
        self.handler.find("example.com", version, "widgets")
    }
}

fn widget(name: &str, spec: impl Into<Value>) -> Value {
    let spec: Value = spec.into();
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

fn condition(object: &Object, name: &str) -> String {
    let found = object.get_list(&["status", "conditions"]).iter().find(|c| c["type"] == name);
    let text = |c: &Value, name: &str| c[name].as_str().unwrap_or_default().to_owned();
    found.map_or_else(String::new, |c| {
        format!("{} {}: {}", text(c, "status"), text(c, "reason"), text(c, "message"))
    })
}

#[tokio::test]
async fn a_definition_is_established_and_served_when_it_is_answered() {
    let (chain, shutdown) = following().await;
    chain.create(DEFINITIONS, definition()).await.unwrap();
    let stored = chain.get(DEFINITIONS, "widgets.example.com").await.unwrap();
    assert_eq!(condition(&stored, "NamesAccepted"), "True NoConflicts: no conflicts found");
    assert_eq!(
        condition(&stored, "Established"),
        "True InitialNamesAccepted: the initial names have been accepted"
    );
    assert_eq!(
        stored.get(&["status", "acceptedNames"]),
        Some(
            &json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList",
                     "shortNames": ["wd"], "categories": ["all"]})
        )
    );
    assert_eq!(stored.get(&["status", "storedVersions"]), Some(&json!(["v1"])));
    assert_eq!(stored.get_str(&["spec", "conversion", "strategy"]), "None");
    let info = chain.found("v1").unwrap();
    assert_eq!((info.kind, info.short_names, info.has_status()), ("Widget", &["wd"][..], true));
    assert!(chain.found("v2").is_none());
    shutdown.cancel();
}

#[tokio::test]
async fn custom_resources_are_pruned_defaulted_and_validated() {
    let (chain, _shutdown) = following().await;
    chain.create(DEFINITIONS, definition()).await.unwrap();
    let info = chain.found("v1").unwrap();
    let made = chain.create(info, widget("a", json!({"color": "red", "nope": 1}))).await.unwrap();
    assert_eq!(made.get(&["spec"]), Some(&json!({"color": "red", "replicas": 1})));
    assert_eq!(made.generation(), 1);
    let refused = |spec: Value| {
        let chain = &chain;
        async move { chain.create(info, widget("b", spec)).await.unwrap_err().message }
    };
    assert_eq!(
        refused(json!({"color": "blue"})).await,
        "Widget.example.com \"b\" is invalid: spec.color: Unsupported value: \"blue\": supported values: \"red\", \"green\""
    );
    assert_eq!(
        refused(json!({"color": "red", "replicas": 11})).await,
        "Widget.example.com \"b\" is invalid: spec: Invalid value: too many"
    );
    assert_eq!(
        refused(json!({"replicas": 11})).await,
        "Widget.example.com \"b\" is invalid: [spec.color: Required value, <nil>: Invalid value: \"null\": some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]"
    );
    assert_eq!(
        refused(json!({"color": "red", "ports": [{"name": "x"}, {"name": "x"}]})).await,
        "Widget.example.com \"b\" is invalid: spec.ports[1]: Duplicate value: {\"name\":\"x\"}"
    );
    let mut strict = chain.context(Verb::Create, info, "");
    strict.field_validation = crate::request::FieldValidation::Strict;
    let body = widget("c", json!({"color": "red", "nope": 1})).to_string();
    let error = chain.object(strict, Request::Create(body.into())).await.unwrap_err();
    assert_eq!(
        error.message,
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.nope\""
    );
    let strategic = chain.patch(info, "a", PatchType::Strategic, json!({})).await.unwrap_err();
    assert_eq!(strategic.code, 415);
}

#[tokio::test]
async fn status_scale_and_generation_are_apart() {
    let (chain, _shutdown) = following().await;
    chain.create(DEFINITIONS, definition()).await.unwrap();
    let info = chain.found("v1").unwrap();
    chain.create(info, widget("a", json!({"color": "red"}))).await.unwrap();
    let both = json!({"spec": {"replicas": 3}, "status": {"replicas": 2, "selector": "a=b"}});
    let main = chain.patch(info, "a", PatchType::Merge, both.clone()).await.unwrap();
    assert_eq!((main.generation(), main.get(&["status"])), (2, None));
    let status = json!({"metadata": {"labels": {"x": "y"}}, "spec": {"replicas": 9}, "status": {"replicas": 2, "selector": "a=b"}});
    let after = chain.patch(info, "a/status", PatchType::Merge, status).await.unwrap();
    assert_eq!((after.generation(), after.get_i64(&["spec", "replicas"])), (2, Some(3)));
    assert_eq!((after.get_i64(&["status", "replicas"]), after.label("x")), (Some(2), None));
    let scale = chain.get(info, "a/scale").await.unwrap();
    assert_eq!(scale.get(&["spec"]), Some(&json!({"replicas": 3})));
    assert_eq!(scale.get(&["status"]), Some(&json!({"replicas": 2, "selector": "a=b"})));
    chain.patch(info, "a/scale", PatchType::Merge, json!({"spec": {"replicas": 5}})).await.unwrap();
    let scaled = chain.get(info, "a").await.unwrap();
    assert_eq!((scaled.generation(), scaled.get_i64(&["spec", "replicas"])), (3, Some(5)));
    let over =
        chain.patch(info, "a/scale", PatchType::Merge, json!({"spec": {"replicas": 11}})).await;
    assert!(over.unwrap_err().message.ends_with("spec: Invalid value: too many"));
}

#[tokio::test]
async fn lists_select_and_tables_print_what_the_definition_says() {
    let (chain, _shutdown) = following().await;
    chain.create(DEFINITIONS, definition()).await.unwrap();
    let info = chain.found("v1").unwrap();
    for (name, color) in [("a", "red"), ("b", "green"), ("c", "red")] {
        chain.create(info, widget(name, json!({ "color": color }))).await.unwrap();
    }
    let select =
        |selector: &str| ListOptions { field_selector: selector.into(), ..ListOptions::default() };
    assert_eq!(names(&chain.list(info, select("spec.color=red")).await.unwrap()), ["a", "c"]);
    assert_eq!(names(&chain.list(info, select("metadata.name=b")).await.unwrap()), ["b"]);
    assert!(chain.list(info, select("spec.replicas=1")).await.unwrap_err().is_bad_request());
    let mut context = chain.context(Verb::List, info, "");
    context.output = OutputShape::Table(crate::request::IncludeObject::None);
    let table = chain.object(context, Request::List(select("metadata.name=b"))).await.unwrap();
    let heads: Vec<&str> = table
        .get_list(&["columnDefinitions"])
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(heads, ["Name", "Replicas", "Color", "Age"]);
    let cells = &table.get_list(&["rows"])[0]["cells"];
    assert_eq!((&cells[0], &cells[1], &cells[2]), (&json!("b"), &json!(1), &json!("green")));
}

#[tokio::test]
async fn owners_of_fields_follow_the_schema() {
    let (chain, _shutdown) = following().await;
    chain.create(DEFINITIONS, definition()).await.unwrap();
    let info = chain.found("v1").unwrap();
    let apply = |by: &'static str, ports: Value| {
        let chain = &chain;
        async move {
            let mut context = chain.context(Verb::Patch, info, "a");
            (context.field_manager, context.manager_given) = (by.into(), true);
            let config = widget("a", json!({"color": "red", "ports": ports})).to_string();
            chain.object(context, Request::Patch(PatchType::Apply, config.into())).await
        }
    };
    apply("one", json!([{"name": "x", "port": 1}])).await.unwrap();
    let both = apply("two", json!([{"name": "y", "port": 2}])).await.unwrap();
    assert_eq!(
        both.get(&["spec", "ports"]),
        Some(&json!([{"name": "x", "port": 1}, {"name": "y", "port": 2}]))
    );
    assert_eq!(both.get_i64(&["spec", "replicas"]), Some(1));
    let conflict = apply("two", json!([{"name": "x", "port": 5}])).await.unwrap_err();
    assert_eq!(
        conflict.message,
        "Apply failed with 1 conflict: conflict with \"one\": .spec.ports[name=\"x\"].port"
    );
    let left = apply("two", json!([])).await.unwrap();
    assert_eq!(left.get(&["spec", "ports"]), Some(&json!([{"name": "x", "port": 1}])));
}

#[tokio::test]
async fn versions_are_converted_and_changes_are_served_at_once() {
    let (chain, shutdown) = following().await;
    chain.create(DEFINITIONS, definition()).await.unwrap();
    let v1 = chain.found("v1").unwrap();
    chain.create(v1, widget("a", json!({"color": "red"}))).await.unwrap();
    let mut second = definition()["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["deprecated"] = true.into();
    let mut first = second.clone();
    (first["name"], first["storage"], first["deprecated"]) =
        ("v1".into(), false.into(), false.into());
    let patch = json!({"spec": {"versions": [first, second]}});
    chain.patch(DEFINITIONS, "widgets.example.com", PatchType::Merge, patch).await.unwrap();
    let v2 = chain.found("v2").unwrap();
    let seen = chain.get(v2, "a").await.unwrap();
    assert_eq!(seen.api_version(), "example.com/v2");
    let context = chain.context(Verb::Get, v2, "a");
    let answer =
        chain.handler.handle(&context, Request::Get { resource_version: String::new() }).await;
    assert_eq!(answer.unwrap().warnings, ["example.com/v2 Widget is deprecated"]);
    chain
        .patch(
            chain.found("v1").unwrap(),
            "a",
            PatchType::Merge,
            json!({"spec": {"color": "green"}}),
        )
        .await
        .unwrap();
    let list =
        chain.storage.list(&ListQuery::prefix("/registry/example.com/widgets/")).await.unwrap();
    let stored = Object::from_slice(&list.items[0].value).unwrap();
    assert_eq!(
        (stored.api_version(), stored.get_str(&["spec", "color"])),
        ("example.com/v2", "green")
    );
    let crd = chain.get(DEFINITIONS, "widgets.example.com").await.unwrap();
    assert_eq!(crd.get(&["status", "storedVersions"]), Some(&json!(["v1", "v2"])));

    // A version that is not served any more is gone at once; what is stored stays.
    let patch = json!([{"op": "replace", "path": "/spec/versions/0/served", "value": false}]);
    chain.patch(DEFINITIONS, "widgets.example.com", PatchType::Json, patch).await.unwrap();
    assert!(chain.found("v1").is_none());
    // Another server on the same storage serves what is defined.
    shutdown.cancel();
    let again = Chain::on(chain.storage.clone()).await;
    follow(&again, &Shutdown::new()).await;
    assert_eq!(again.get(again.found("v2").unwrap(), "a").await.unwrap().name(), "a");
}

#[tokio::test]
async fn a_definition_takes_its_objects_along() {
    let (chain, _shutdown) = following().await;
    chain.create(DEFINITIONS, definition()).await.unwrap();
    let info = chain.found("v1").unwrap();
    chain.create(info, widget("a", json!({"color": "red"}))).await.unwrap();
    let mut held = widget("held", json!({"color": "red"}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    chain.create(info, held).await.unwrap();
    let name = "widgets.example.com";
    let marked = chain.delete(DEFINITIONS, name, DeleteOptions::default()).await.unwrap();
    assert!(marked.finalizers().any(|f| f == "customresourcecleanup.apiextensions.k8s.io"));
    let gone = |key: &'static str| {
        let chain = &chain;
        async move {
            until(chain, || async { !chain.keys("/registry/").await.iter().any(|k| k == key) })
                .await;
        }
    };
    gone("/registry/example.com/widgets/default/a").await;
    let refused = chain.create(info, widget("new", json!({"color": "red"}))).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (405, "create not allowed while custom resource definition is terminating")
    );
    let crd = chain.get(DEFINITIONS, name).await.unwrap();
    assert_eq!(
        condition(&crd, "Terminating"),
        "True InstanceDeletionInProgress: CustomResource deletion is in progress"
    );
    let free = json!({"metadata": {"finalizers": null}});
    chain.patch(info, "held", PatchType::Merge, free).await.unwrap();
    gone("/registry/apiextensions.k8s.io/customresourcedefinitions/widgets.example.com").await;
    chain.handler.definitions.catch_up().await;
    assert!(chain.found("v1").is_none());
}

#[tokio::test]
async fn definitions_that_cannot_be_are_refused_in_kubernetes_words() {
    let (chain, _shutdown) = following().await;
    let table: &[(&str, Value, &str)] = &[
        (
            "/metadata/name",
            json!("x.example.com"),
            "metadata.name: Invalid value: \"x.example.com\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            "/spec/scope",
            json!("Galaxy"),
            "spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        (
            "/spec/names/kind",
            json!("wi_dget"),
            "spec.names.kind: Invalid value: \"wi_dget\": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
        ),
        (
            "/spec/names/listKind",
            json!("Widget"),
            "spec.names.listKind: Invalid value: \"Widget\": kind and listKind may not be the same",
        ),
        (
            "/spec/conversion",
            json!({"strategy": "Webhook"}),
            "spec.conversion.strategy: Forbidden: conversion webhooks are not called by this server; versions with the same fields can use the strategy None",
        ),
        (
            "/spec/versions/0/schema",
            json!({}),
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/type",
            json!(""),
            "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
        ),
        (
            "/spec/versions/0/additionalPrinterColumns/0/type",
            json!("text"),
            "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
        ),
        (
            "/spec/versions/0/subresources/scale/specReplicasPath",
            json!(".status.x"),
            "spec.subresources.scale.specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec",
        ),
        (
            "/spec/versions/0/selectableFields/0/jsonPath",
            json!(".spec.nope"),
            "spec.selectableFields[0].jsonPath: Invalid value: \".spec.nope\": is an invalid path: does not refer to a valid field",
        ),
    ];
    for (path, value, expected) in table {
        let mut changed = definition();
        match changed.pointer_mut(path) {
            Some(place) => *place = value.clone(),
            None => {
                let (parent, name) = path.rsplit_once('/').unwrap();
                changed.pointer_mut(parent).unwrap()[name] = value.clone();
            }
        }
        let error = chain.create(DEFINITIONS, changed).await.unwrap_err();
        assert_eq!(error.code, 422, "{path}");
        assert!(error.message.contains(expected), "{path}: {}", error.message);
    }
    let mut two = definition();
    two["spec"]["versions"][0]["storage"] = false.into();
    let error = chain.create(DEFINITIONS, two).await.unwrap_err();
    assert!(error.message.contains("must have exactly one version marked as storage version"));
    let mut protected = definition();
    protected["metadata"]["name"] = "widgets.x.k8s.io".into();
    protected["spec"]["group"] = "x.k8s.io".into();
    let error = chain.create(DEFINITIONS, protected).await.unwrap_err();
    assert!(
        error.message.contains("protected groups must have approval annotation"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn names_are_given_once() {
    let (chain, _shutdown) = following().await;
    chain.create(DEFINITIONS, definition()).await.unwrap();
    let mut other = definition();
    other["metadata"]["name"] = "gadgets.example.com".into();
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Widget", "shortNames": ["wd"]});
    chain.create(DEFINITIONS, other).await.unwrap();
    let refused = chain.get(DEFINITIONS, "gadgets.example.com").await.unwrap();
    assert_eq!(
        condition(&refused, "NamesAccepted"),
        "False ListKindConflict: \"WidgetList\" is already in use"
    );
    assert_eq!(condition(&refused, "Established"), "False NotAccepted: not all names are accepted");
    assert!(chain.handler.find("example.com", "v1", "gadgets").is_none());
    // The names become free with their holder.
    chain.delete(DEFINITIONS, "widgets.example.com", DeleteOptions::default()).await.unwrap();
    let served = || async {
        chain.handler.definitions.catch_up().await;
        chain.handler.find("example.com", "v1", "gadgets").is_some()
    };
    until(&chain, served).await;
}

/// A definition of another version of a kind that is built in.
fn of_cluster_roles() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusterroles.rbac.authorization.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {
            "group": "rbac.authorization.k8s.io", "scope": "Cluster",
            "names": {"plural": "clusterroles", "kind": "ClusterRole"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    })
}

#[tokio::test]
async fn a_kind_that_is_built_in_cannot_be_defined_once_more() {
    let (chain, _shutdown) = following().await;
    chain.create(DEFINITIONS, of_cluster_roles()).await.unwrap();
    let stored = chain.get(DEFINITIONS, "clusterroles.rbac.authorization.k8s.io").await.unwrap();
    assert_eq!(
        condition(&stored, "NamesAccepted"),
        "False ListKindConflict: \"ClusterRoleList\" is already in use"
    );
    assert_eq!(condition(&stored, "Established"), "False NotAccepted: not all names are accepted");
    let group = "rbac.authorization.k8s.io";
    assert!(chain.handler.find(group, "v1beta1", "clusterroles").is_none());
    assert!(chain.handler.find(group, "v1", "clusterroles").is_some());
}

#[tokio::test]
async fn another_version_of_a_built_in_kind_does_not_reach_its_store_nor_its_rights() {
    let (chain, _shutdown) = following().await;
    let other =
        apimachinery::resource::dynamic::intern(&apimachinery::resource::dynamic::Description {
            group: "rbac.authorization.k8s.io".into(),
            version: "v1beta1".into(),
            kind: "ClusterRole".into(),
            resource: "clusterroles".into(),
            singular: "clusterrole".into(),
            verbs: vec!["create".into()],
            ..Default::default()
        });
    let role = json!({"metadata": {"name": "mine"},
        "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]});
    let refused = chain.create(other, role.clone()).await.unwrap_err();
    assert_eq!(refused.code, 404);
    // Were it served, nobody could grant by it what they do not hold.
    let mut context = chain.context(Verb::Create, other, "");
    context.user = user("eve", &[]);
    let role = Object::from_slice(role.to_string().as_bytes()).unwrap();
    let refused = chain.handler.authorizer.check_grant(&context, &role, None).unwrap_err();
    assert!(refused.starts_with("user \"eve\" (groups=[]) is attempting to grant"), "{refused}");
    // Nor is one that an older server has established.
    let mut established = of_cluster_roles();
    established["status"] = json!({"acceptedNames": established["spec"]["names"],
        "conditions": [{"type": "Established", "status": "True"}]});
    let object = Object::from_slice(established.to_string().as_bytes()).unwrap();
    assert!(!crate::apiextensions::definition::Definition::of(&object).is_served());
}

/// A definition of a kind whose replicas are elsewhere, and whose items have a long default and an unknown format.
fn of_gadgets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"scale": {"specReplicasPath": ".spec.size.count",
                    "statusReplicasPath": ".status.replicas"}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "size": {"type": "object", "properties": {"count": {"type": "integer", "format": "int32"}}},
                        "list": {"type": "array", "format": "cidr", "items": {"type": "object", "properties": {
                            "text": {"type": "string", "format": "nope", "default": "x".repeat(100)}}}}}},
                    "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}}}}}}],
        },
    })
}

#[tokio::test]
async fn scales_are_applied_where_the_definition_has_the_replicas() {
    let (chain, _shutdown) = following().await;
    let context = chain.context(Verb::Create, DEFINITIONS, "");
    let body = Request::Create(of_gadgets().to_string().into());
    let answer = chain.handler.handle(&context, body).await.unwrap();
    assert_eq!(answer.warnings, [r#"unrecognized format "cidr""#, r#"unrecognized format "nope""#]);
    let info = chain.handler.find("example.com", "v1", "gadgets").unwrap();
    let gadget = json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "a"},
        "spec": {"size": {"count": 1}}});
    chain.create(info, gadget).await.unwrap();
    let mut context = chain.context(Verb::Patch, info, "a/scale");
    (context.field_manager, context.manager_given) = ("scaler".into(), true);
    context.force = true;
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"},
        "spec": {"replicas": 4}});
    let applied = Request::Patch(PatchType::Apply, scale.to_string().into());
    let scaled = chain.object(context, applied).await.unwrap();
    assert_eq!(scaled.get(&["spec"]), Some(&json!({"replicas": 4})));
    let gadget = chain.get(info, "a").await.unwrap();
    assert_eq!(gadget.get(&["spec"]), Some(&json!({"size": {"count": 4}})));
}

#[tokio::test]
async fn what_defaults_make_too_large_is_not_stored() {
    let (chain, _shutdown) = following().await;
    chain.create(DEFINITIONS, of_gadgets()).await.unwrap();
    let info = chain.handler.find("example.com", "v1", "gadgets").unwrap();
    let gadget = |count: usize| {
        json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": format!("g{count}")},
            "spec": {"list": vec![json!({}); count]}})
    };
    chain.create(info, gadget(1000)).await.unwrap();
    for count in [20_000, 400_000] {
        let refused = chain.create(info, gadget(count)).await.unwrap_err();
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (500, "etcdserver: request is too large")
        );
    }
}
