use std::collections::BTreeSet;

use super::*;

fn read(path: &str) -> Value {
    let document = OpenApi::default().version_3(path).unwrap();
    serde_json::from_slice(&document.text()).unwrap()
}

/// Every `$ref` below a value.
fn references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            if let Some(name) = object.get("$ref").and_then(Value::as_str) {
                into.insert(name.to_owned());
            }
            object.values().for_each(|value| references(value, into));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_definition_is_referred_to() {
    let openapi = OpenApi::default();
    let index: Value = serde_json::from_slice(&openapi.index()).unwrap();
    let paths = index["paths"].as_object().unwrap();
    assert_eq!(paths.len(), by_version().len());
    for path in paths.keys() {
        let document = read(path);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let named: BTreeSet<String> =
            schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
        assert_eq!(found, named, "{path}");
    }
    let text = openapi.version_2(Form::Json).text();
    let document: Value = serde_json::from_slice(&text).unwrap();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    let named: BTreeSet<String> = document["definitions"]
        .as_object()
        .unwrap()
        .keys()
        .map(|name| format!("#/definitions/{name}"))
        .collect();
    assert_eq!(found, named);
}

#[test]
fn definitions_tell_shapes_and_how_values_are_merged() {
    let document = read("api/v1");
    let schemas = &document["components"]["schemas"];
    let container = &schemas["io.k8s.api.core.v1.Container"];
    assert_eq!(container["required"], json!(["name"]));
    let ports = &container["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    assert_eq!(ports["x-kubernetes-patch-merge-key"], json!("containerPort"));
    assert_eq!(ports["x-kubernetes-patch-strategy"], json!("merge"));
    assert_eq!(
        container["properties"]["imagePullPolicy"]["enum"],
        json!(["Always", "IfNotPresent", "Never"])
    );
    let volumes = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
    assert_eq!(volumes["x-kubernetes-patch-strategy"], json!("merge,retainKeys"));
    let pod = &schemas["io.k8s.api.core.v1.Pod"];
    assert_eq!(pod.get("required"), None);
    assert_eq!(
        pod["x-kubernetes-group-version-kind"],
        json!([{"group": "", "kind": "Pod", "version": "v1"}])
    );
    assert!(
        pod["properties"]["kind"]["description"].as_str().unwrap().starts_with("Kind is a string")
    );
    assert_eq!(
        pod["properties"]["spec"]["allOf"],
        json!([{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}])
    );
}

#[test]
fn operations_are_named_as_in_kubernetes() {
    let document = read("api/v1");
    let id = |path: &str, method: &str| document["paths"][path][method]["operationId"].clone();
    let pods = "/api/v1/namespaces/{namespace}/pods";
    let pod = format!("{pods}/{{name}}");
    assert_eq!(id("/api/v1/pods", "get"), "listCoreV1PodForAllNamespaces");
    assert_eq!(id(pods, "get"), "listCoreV1NamespacedPod");
    assert_eq!(id(pods, "delete"), "deleteCoreV1CollectionNamespacedPod");
    assert_eq!(id(&pod, "get"), "readCoreV1NamespacedPod");
    assert_eq!(id(&format!("{pod}/status"), "patch"), "patchCoreV1NamespacedPodStatus");
    assert_eq!(id(&format!("{pod}/exec"), "post"), "connectCoreV1PostNamespacedPodExec");
    assert_eq!(id("/api/v1/nodes/{name}", "put"), "replaceCoreV1Node");
    let create = &document["paths"][pods]["post"];
    assert_eq!(create["x-kubernetes-action"], "post");
    let names: Vec<&str> = create["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation"]);
}

#[test]
fn documents_come_and_go_at_run_time() {
    let openapi = OpenApi::default();
    let given = Schema::Given {
        name: "com.example.v1.Lease".into(),
        definition: json!({"type": "object"}),
    };
    let text = document(&[Documented { info: &resource::LEASES, schema: given }]);
    openapi.publish("apis/example.com/v1", &text);
    let index = openapi.index();
    let shown = openapi.version_3("apis/example.com/v1").unwrap();
    assert!(
        String::from_utf8_lossy(&index)
            .contains(&format!("apis/example.com/v1?hash={}", shown.hash))
    );
    assert!(shown.text().windows(22).any(|part| part == b"com.example.v1.Lease\":"));
    // kubectl would send what is refused.
    let text = String::from_utf8(shown.text().to_vec()).unwrap();
    assert!(text.contains("merge-patch+json") && !text.contains("strategic-merge-patch"));
    openapi.withdraw("apis/example.com/v1");
    assert!(openapi.version_3("apis/example.com/v1").is_none());
}

#[test]
fn documents_are_small_at_rest() {
    let openapi = OpenApi::default();
    let bytes: usize = openapi.built_in().values().map(|document| document.gzip.len()).sum();
    let version_2 =
        openapi.version_2(Form::Json).gzip.len() + openapi.version_2(Form::Protobuf).gzip.len();
    assert!(bytes + version_2 < 1 << 20, "{bytes} {version_2}");
}
