//! Kinds that are defined while the cluster runs.

mod controller;

use std::{fs, path::Path};

use apimachinery::{object::Object, resource};
use client::{DeleteOptions, ListOptions};
use serde_json::json;
use tests::{Component, TestCluster};

use super::alike::{Call, Comparison, Normaliser, Programs, kubectl_or_notice, run, text};

const WIDGETS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Color, type: string, jsonPath: .spec.color}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [color]
            x-kubernetes-validations:
            - {rule: self.replicas <= 10, message: too many replicas}
            properties:
              color: {type: string, enum: [red, green]}
              replicas: {type: integer, default: 1}
          status:
            type: object
            properties:
              replicas: {type: integer}
"#;

const WIDGET: &str = "
apiVersion: example.com/v1
kind: Widget
metadata: {name: one}
spec: {color: red}
";

/// Command lines, and what they read.
const STEPS: &[(&str, &str)] = &[
    ("get widgets", ""),
    ("apply -f -", WIDGETS),
    ("wait --for=condition=Established crd/widgets.example.com", ""),
    ("get crd", ""),
    ("get crds widgets.example.com -o jsonpath={.status.acceptedNames}", ""),
    ("api-resources --api-group=example.com", ""),
    ("get widgets", ""),
    ("apply -f -", WIDGET),
    ("apply -f -", WIDGET),
    ("get wd", ""),
    ("get widget one -o wide", ""),
    ("get widgets.v1.example.com one -o name", ""),
    ("get all", ""),
    (
        "create -f -",
        "{apiVersion: example.com/v1, kind: Widget, metadata: {name: bad}, spec: {color: blue}}",
    ),
    (
        "create -f -",
        "{apiVersion: example.com/v1, kind: Widget, metadata: {name: bad}, spec: {color: red, replicas: 11}}",
    ),
    (
        "create -f -",
        "{apiVersion: example.com/v1, kind: Widget, metadata: {name: bad}, spec: {color: red, size: 1}}",
    ),
    ("scale widget one --replicas=3", ""),
    ("get widget one -o jsonpath={.spec.replicas}", ""),
    ("patch widget one --type=merge -p {\"spec\":{\"color\":\"green\"}}", ""),
    ("patch widget one -p {\"spec\":{\"color\":\"green\"}}", ""),
    ("patch widget one --subresource=status --type=merge -p {\"status\":{\"replicas\":3}}", ""),
    ("label widget one a=b", ""),
    (
        "apply -f -",
        "{apiVersion: example.com/v1, kind: Widget, metadata: {name: one}, spec: {color: red, replicas: 4}}",
    ),
    (
        "create -f -",
        "{apiVersion: example.com/v1, kind: Widget, metadata: {name: two}, spec: {color: red}}",
    ),
    ("get widgets -o yaml --show-managed-fields=false", ""),
    ("get widgets --field-selector=metadata.name=two", ""),
    ("get widgets -l a=b", ""),
    ("delete widget two", ""),
    ("get widget two", ""),
    ("explain widgets.spec.color", ""),
    ("delete crd widgets.example.com", ""),
];

/// What kubectl-mini does not speak: the last one conflicts.
const APPLIED: [(&str, &str); 3] = [
    ("apply -f -", WIDGETS),
    (
        "apply --server-side --field-manager=me -f -",
        "{apiVersion: example.com/v1, kind: Widget, metadata: {name: two}, spec: {color: red}}",
    ),
    (
        "apply --server-side --field-manager=other -f -",
        "{apiVersion: example.com/v1, kind: Widget, metadata: {name: two}, spec: {color: green}}",
    ),
];

#[tokio::test]
async fn kubectl_works_with_defined_kinds() {
    let Some(kubectl) = kubectl_or_notice() else { return };
    let home = tempfile::tempdir().unwrap();
    let programs = Programs::new(&kubectl, home.path());
    let cluster = TestCluster::builder().nodes(0).do_not_wait().start().await.unwrap();
    for component in [Component::ControllerManager, Component::Scheduler] {
        cluster.stop(component).await.unwrap();
    }
    let kubeconfig = home.path().join("config");
    fs::copy(cluster.kubeconfig(), &kubeconfig).unwrap();
    let all = |program: &Path, steps: &[(&str, &str)]| -> Vec<String> {
        let answer = |(line, stdin): &(&str, &str)| {
            let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
            let (folder, kubeconfig) = (home.path(), kubeconfig.as_path());
            text(&run(program, &Call { words: &words, stdin, folder, kubeconfig, editor: "" }))
        };
        steps.iter().map(answer).collect()
    };
    let (expected, got) = (all(&programs.kubectl, STEPS), all(&programs.mini, STEPS));
    let applied = all(&programs.kubectl, &APPLIED);
    assert!(applied[1].contains("widget.example.com/two serverside-applied"), "{applied:?}");
    assert!(applied[2].contains("1 conflict: conflict with \"me\": .spec.color"), "{applied:?}");
    let rules = Normaliser::new(&[(r#"("?resourceVersion"?: ?)"\d+""#, "$1<version>")]);
    let mut comparison = Comparison::default();
    for (((line, _), expected), got) in STEPS.iter().zip(&expected).zip(&got) {
        comparison.note(line, expected, got, &rules);
    }
    let said = |line: &str, part: &str| {
        let index = STEPS.iter().position(|(step, _)| *step == line).unwrap();
        assert!(expected[index].contains(part), "{line}: {}", expected[index]);
    };
    said("wait --for=condition=Established crd/widgets.example.com", "condition met");
    let changed = STEPS.iter().position(|(_, stdin)| stdin.contains("replicas: 4")).unwrap();
    assert!(expected[changed].contains("one configured"), "{}", expected[changed]);
    said("get wd", "NAME   COLOR   AGE");
    said("get all", "widget.example.com/one");
    said("scale widget one --replicas=3", "widget.example.com/one scaled");
    said("get widget one -o jsonpath={.spec.replicas}", "3");
    let refusals: Vec<&String> = STEPS
        .iter()
        .zip(&expected)
        .filter(|((line, _), _)| *line == "create -f -")
        .map(|(_, e)| e)
        .collect();
    for (text, part) in refusals.iter().zip([
        "spec.color: Unsupported value: \"blue\": supported values: \"red\", \"green\"",
        "spec: Invalid value: too many replicas",
        "strict decoding error: unknown field \"spec.size\"",
    ]) {
        assert!(text.contains(part), "{text}");
    }
    comparison.finish(STEPS.len());
}

#[tokio::test]
async fn owners_and_namespaces_take_custom_resources_along() {
    let cluster = TestCluster::builder().nodes(0).do_not_wait().start().await.unwrap();
    let client = cluster.client();
    cluster.apply(WIDGETS).await.unwrap();
    let widget = &cluster.apply(WIDGET).await.unwrap()[0];
    let owned = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned", "namespace": "default",
        "ownerReferences": [{"apiVersion": "example.com/v1", "kind": "Widget", "name": "one", "uid": widget.uid()}]}});
    let owned = Object::from_value(owned).unwrap();
    client.create_object(&resource::CONFIG_MAPS, &owned).await.unwrap();
    let served = client.discover().await.unwrap();
    let info = served.into_iter().find(|info| info.resource == "widgets").unwrap();
    client.delete_object(info, &widget.key(), &DeleteOptions::default()).await.unwrap();
    let gone = |name: &'static str| async move {
        match client.get_object(&resource::CONFIG_MAPS, "default", name).await {
            Err(status) if status.is_not_found() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    cluster.eventually("the dependent goes with its owner", || gone("owned")).await;

    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: short}}").await.unwrap();
    let inside = WIDGET.replace("name: one", "name: inside, namespace: short");
    cluster.apply(&inside).await.unwrap();
    let key = apimachinery::object::ObjectKey::cluster("short");
    client.delete_object(&resource::NAMESPACES, &key, &DeleteOptions::default()).await.unwrap();
    let emptied = || async {
        let left = client.list_objects(info, "", &ListOptions::default()).await;
        let namespace = client.get_object(&resource::NAMESPACES, "", "short").await;
        match (left, namespace) {
            (Ok(list), Err(status)) if list.items.is_empty() && status.is_not_found() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    cluster.eventually("the namespace goes with what is in it", emptied).await;
    cluster.shutdown().await.unwrap();
}
