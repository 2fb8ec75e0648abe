//! What the API refuses, in Kubernetes' words, and that nothing has changed afterwards.
//!
//! The same table goes through both faces: gRPC with strict field validation, and REST as kubectl sends it. What
//! kubectl itself refuses, before it asks anybody, is a matter of the commands.

use apimachinery::{api::apps::Deployment, object::Object, resource, yaml};
use client::{FieldValidation, ListOptions, Patch};
use http::Method;
use tests::TestCluster;

use crate::rest::Rest;

/// A manifest and a part of the message that it must lead to.
struct Case {
    what: &'static str,
    manifest: &'static str,
    code: u16,
    message: &'static str,
}

const REFUSED: &[Case] = &[
    Case {
        what: "an unknown field",
        manifest: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replica: 3, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}",
        code: 400,
        message: r#"strict decoding error: unknown field "spec.replica""#,
    },
    Case {
        what: "an unknown field deep inside",
        manifest: "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: c, image: i, port: 80}]}}",
        code: 400,
        message: r#"unknown field "spec.containers[0].port""#,
    },
    Case {
        what: "a wrong type",
        manifest: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replicas: three, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}",
        code: 400,
        message: "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
    },
    Case {
        what: "a name in upper case",
        manifest: "{apiVersion: v1, kind: Pod, metadata: {name: Web_1}, spec: {containers: [{name: c, image: i}]}}",
        code: 422,
        message: "Pod \"Web_1\" is invalid: metadata.name: Invalid value: \"Web_1\": a lowercase RFC 1123 subdomain must consist of",
    },
    Case {
        what: "a Service's name that is no label",
        manifest: "{apiVersion: v1, kind: Service, metadata: {name: 1.web}, spec: {ports: [{port: 80}]}}",
        code: 422,
        message: "metadata.name: Invalid value: \"1.web\": ",
    },
    Case {
        what: "no name",
        manifest: "{apiVersion: v1, kind: Pod, metadata: {}, spec: {containers: [{name: c, image: i}]}}",
        code: 422,
        message: "name or generateName is required",
    },
    Case {
        what: "port 0",
        manifest: "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 0}]}}",
        code: 422,
        message: "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
    },
    Case {
        what: "port 70000",
        manifest: "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 70000}]}}",
        code: 422,
        message: "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
    },
    Case {
        what: "containerPort 70000",
        manifest: "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: c, image: i, ports: [{containerPort: 70000}]}]}}",
        code: 422,
        message: "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    },
    Case {
        what: "a node port that is taken",
        manifest: "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}]}}",
        code: 422,
        message: "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated",
    },
    Case {
        what: "a node port out of range",
        manifest: "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {type: NodePort, ports: [{port: 80, nodePort: 80}]}}",
        code: 422,
        message: "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767",
    },
    Case {
        what: "a selector that is not the template's",
        manifest: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}}",
        code: 422,
        message: "`selector` does not match template `labels`",
    },
    Case {
        what: "no containers",
        manifest: "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: []}}",
        code: 422,
        message: "spec.containers: Required value",
    },
    Case {
        what: "a namespace that is not there",
        manifest: "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: nowhere}}",
        code: 404,
        message: "namespaces \"nowhere\" not found",
    },
    Case {
        what: "negative replicas",
        manifest: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replicas: -1, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}",
        code: 422,
        message: "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    },
    Case {
        what: "a second object of the name",
        manifest: "{apiVersion: v1, kind: ConfigMap, metadata: {name: there}}",
        code: 409,
        message: "configmaps \"there\" already exists",
    },
];

const THERE: &str = "
{apiVersion: v1, kind: ConfigMap, metadata: {name: there}, data: {a: b}, immutable: true}
---
{apiVersion: v1, kind: Service, metadata: {name: there}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: there}, spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}
";

/// Everything in `default` that a test could change, as JSON.
async fn everything(cluster: &TestCluster) -> Vec<Object> {
    let kinds = [
        &resource::PODS,
        &resource::SERVICES,
        &resource::CONFIG_MAPS,
        &resource::SECRETS,
        &resource::DEPLOYMENTS,
    ];
    let mut all = Vec::new();
    for info in kinds {
        let list = cluster.client().list_objects(info, "default", &ListOptions::default()).await;
        all.extend(list.unwrap().items);
    }
    all
}

/// A control plane in which the Deployment of [`THERE`] has come to rest.
async fn cluster() -> TestCluster {
    let cluster = TestCluster::builder().nodes(0).start().await.unwrap();
    cluster.apply(THERE).await.unwrap();
    cluster.wait_ready("there").await;
    // Nothing else is to change its status any more.
    let settled = |deployment: &Deployment| match &deployment.status {
        status if status.terminating_replicas.is_some() => Ok(()),
        status => Err(format!("{status:?}")),
    };
    cluster.wait_for::<Deployment>("there", settled).await;
    cluster
}

#[tokio::test]
async fn bad_objects_are_refused_on_both_faces() {
    let cluster = cluster().await;
    let rest = Rest::admin(&cluster);
    let before = everything(&cluster).await;
    for Case { what, manifest, code, message } in REFUSED {
        let value = yaml::read(manifest, "case").unwrap().remove(0).value;
        let object = Object::from_value(value.clone()).unwrap();
        let info = resource::find_object_kind(object.api_version(), object.kind()).unwrap();
        let namespace =
            if object.namespace().is_empty() { "default" } else { object.namespace() }.to_owned();
        let api = cluster.client().resource(info).namespace(&namespace);
        let refused =
            api.field_validation(FieldValidation::Strict).create("", object.to_bytes()).await;
        let status = refused.expect_err(what);
        assert_eq!(status.code, *code, "{what}: {status}");
        assert!(status.message.contains(message), "{what}: {:?}", status.message);

        let root = if info.group.is_empty() {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{}", info.api_version())
        };
        let path =
            format!("{root}/namespaces/{namespace}/{}?fieldValidation=Strict", info.resource);
        let (answered, body) = rest.send(Method::POST, &path, &value).await;
        assert_eq!(
            (answered, body["message"].as_str()),
            (*code, Some(status.message.as_str())),
            "{what} by REST"
        );
    }
    assert_eq!(everything(&cluster).await, before, "a refused object changed something");
}

#[tokio::test]
async fn immutable_fields_stay() {
    use serde_json::json;
    let cluster = cluster().await;
    let before = everything(&cluster).await;
    let ports = json!([{"port": 80, "nodePort": 30080}, {"name": "b", "port": 81}]);
    for (info, patch, message) in [
        (
            &resource::DEPLOYMENTS,
            json!({"spec": {"selector": {"matchLabels": {"a": "c"}}, "template": {"metadata": {"labels": {"a": "c"}}}}}),
            "spec.selector: Invalid value: ",
        ),
        (
            &resource::CONFIG_MAPS,
            json!({"data": {"a": "c"}}),
            "data: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            &resource::SERVICES,
            json!({"spec": {"clusterIP": "10.96.0.77"}}),
            r#"spec.clusterIPs[0]: Invalid value: ["10.96.0.77"]: may not change once set"#,
        ),
        (
            &resource::SERVICES,
            json!({"spec": {"ports": ports}}),
            "spec.ports[0].name: Required value",
        ),
        (&resource::CONFIG_MAPS, json!({"metadata": {"name": "other"}}), "the name of the object"),
    ] {
        let api = cluster.client().resource(info).namespace("default");
        let status = api.patch("there", &Patch::Merge(patch.clone())).await.expect_err("a change");
        assert!(status.message.contains(message), "{patch}: {:?}", status.message);
    }
    assert_eq!(everything(&cluster).await, before, "a refused change changed something");
}

#[tokio::test]
async fn bytes_that_are_no_object_are_refused() {
    let cluster = cluster().await;
    let rest = Rest::admin(&cluster);
    let before = everything(&cluster).await;
    let large = format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"large"}},"data":{{"a":"{}"}}}}"#,
        "x".repeat(3 << 20)
    );
    let maps = "/api/v1/namespaces/default/configmaps";
    for (what, path, body, code) in [
        ("3 MiB", maps, large.as_str(), 413),
        ("broken JSON", maps, r#"{"apiVersion": "v1", "kind": "#, 400),
        ("an empty body", maps, "", 400),
        ("another kind", maps, r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}"#, 400),
        ("a kind that is not served", "/apis/example.com/v1/things", "{}", 404),
        ("no such path", "/api/v1/namespaces/default/nothings", "{}", 404),
    ] {
        let (status, text) = rest.text(Method::POST, path, body).await;
        assert_eq!(status, code, "{what}: {text}");
    }
    assert_eq!(everything(&cluster).await, before);
}
