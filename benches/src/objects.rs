//! The objects that are stored.

use serde_json::{Value, json};

/// The path of the pods.
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

/// An nginx pod as people write it, of about a kilobyte.
pub(crate) fn pod(name: &str) -> Vec<u8> {
    pod_with(
        name,
        &json!({"owner": "team-web@example.com", "description": "serves the front page"}),
    )
}

/// A pod that is stored as about 2.1 KB.
pub(crate) fn large_pod(name: &str) -> Vec<u8> {
    pod_with(name, &json!({"description": "x".repeat(500)}))
}

/// A pod of one of four applications, of which no two may be on one node.
pub(crate) fn shy_pod(index: usize) -> Vec<u8> {
    let labels = json!({"app": format!("app-{}", index % 4)});
    small_pod(
        index,
        &labels,
        &json!({"affinity": {"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname",
            }],
        }}}),
    )
}

/// A pod that is to be spread evenly over nodes and zones.
pub(crate) fn spread_pod(index: usize) -> Vec<u8> {
    let labels = json!({"app": "spread"});
    let evenly = |key: &str| {
        json!({
            "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": labels},
        })
    };
    let keys = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"];
    small_pod(index, &labels, &json!({"topologySpreadConstraints": keys.map(evenly)}))
}

fn small_pod(index: usize, labels: &Value, constraints: &Value) -> Vec<u8> {
    let mut spec = constraints.clone();
    spec["containers"] = json!([{
        "name": "nginx", "image": "nginx:1.27",
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }]);
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("pod-{index:05}"), "namespace": "default", "labels": labels},
        "spec": spec,
    });
    pod.to_string().into_bytes()
}

fn pod_with(name: &str, annotations: &Value) -> Vec<u8> {
    let probe = json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10, "timeoutSeconds": 2});
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {
                "app.kubernetes.io/name": "web", "app.kubernetes.io/instance": "web-1",
                "app.kubernetes.io/component": "frontend", "app.kubernetes.io/version": "1.27",
            },
            "annotations": annotations,
        },
        "spec": {
            "containers": [{
                "name": "nginx",
                "image": "nginx:1.27",
                "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
                "env": [
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "LOG_LEVEL", "value": "info"},
                ],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                "readinessProbe": probe,
                "volumeMounts": [{"name": "cache", "mountPath": "/var/cache/nginx"}],
            }],
            "volumes": [{"name": "cache", "emptyDir": {}}],
        },
    });
    pod.to_string().into_bytes()
}

/// A small nginx pod that is bound already.
pub(crate) fn bound_pod(name: &str, node: &str) -> Vec<u8> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "nginx", "image": "nginx:1.27", "ports": [{"containerPort": 80}]}],
        },
    });
    pod.to_string().into_bytes()
}

/// A node that is Ready, without a kubelet.
pub(crate) fn node(name: &str, zone: &str) -> Vec<u8> {
    let resources =
        json!({"cpu": "8", "memory": "16Gi", "pods": "110", "ephemeral-storage": "100Gi"});
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/zone": zone,
            },
        },
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "kubelet is posting ready status",
            }],
        },
    });
    node.to_string().into_bytes()
}

/// A Deployment of nginx.
pub(crate) fn deployment(name: &str, replicas: u32) -> Vec<u8> {
    let labels = json!({"app": name});
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "nginx", "image": "nginx", "ports": [{"containerPort": 80}],
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                }]},
            },
        },
    });
    deployment.to_string().into_bytes()
}
