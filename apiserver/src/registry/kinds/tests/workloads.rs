//! Deployment and ReplicaSet.

use serde_json::{Value, json};

use crate::registry::{
    kinds::{
        deployment::Deployment,
        replica_set::ReplicaSet,
        testing::{
            at, cells, check_create, check_default, check_row, check_update, check_warnings,
            created, defaults, edited, replaced, rows,
        },
    },
    strategy::Strategy,
};

fn base() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "creationTimestamp": null},
                "spec": {"containers": [{"name": "nginx", "image": "nginx:1"}]},
            },
        },
        "status": {"replicas": 7},
    })
}

#[test]
fn what_is_left_out_is_filled_in() {
    defaults! { &Deployment, &base();
        "spec.paused" = false
            => "spec.replicas" = 1, "spec.revisionHistoryLimit" = 10, "spec.progressDeadlineSeconds" = 600, "spec.paused" = null,
            "spec.strategy" = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "spec.template.metadata" = {"labels": {"app": "web"}},
            "spec.template.spec" = {
                "containers": [{"name": "nginx", "image": "nginx:1", "imagePullPolicy": "IfNotPresent", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                "securityContext": {}, "terminationGracePeriodSeconds": 30,
            };
        "spec.replicas" = 0 => "spec.replicas" = 0;
        "spec.strategy" = {} => "spec.strategy.type" = "RollingUpdate";
        "spec.strategy.type" = "Recreate" => "spec.strategy" = {"type": "Recreate"};
        "spec.strategy.rollingUpdate.maxSurge" = 1 => "spec.strategy.rollingUpdate" = {"maxSurge": 1, "maxUnavailable": "25%"};
        "spec.template.spec.containers.0.resources.limits.cpu" = "1"
            => "spec.template.spec.containers.0.resources" = {"limits": {"cpu": "1"}};
    }
    defaults! { &ReplicaSet, &base();
        "spec.replicas" = null => "spec.replicas" = 1, "spec.template.spec.dnsPolicy" = "ClusterFirst", "spec.strategy" = null;
    }
}

#[test]
fn rules_of_deployments() {
    const P: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
    rows! { check_create(&Deployment, &base());
        => [];
        "spec.replicas" = (-1) => ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"];
        "spec.selector" = null
            => ["spec.selector: Required value",
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"];
        "spec.selector" = {} => ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"];
        "spec.selector.matchLabels.app" = "api"
            => ["spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"];
        "spec.template.metadata.labels" = null
            => ["spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`"];
        "spec.selector" = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]} => [];
        "spec.selector" = {"matchExpressions": [{"key": "app", "operator": "Near"}]}
            => ["spec.selector.matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator",
                "spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Near\"}]}: invalid label selector"];
        "spec.selector" = {"matchExpressions": [{"key": "app", "operator": "In"}]}
            => ["spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                "spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"In\"}]}: invalid label selector"];
        "spec.template.spec.containers.0.image" = "" => ["spec.template.spec.containers[0].image: Required value"];
        "spec.template.spec.containers.0.image" = " " => [];
        "spec.template.spec.containers.0.ports.0.containerPort" = 0
            => ["spec.template.spec.containers[0].ports[0].containerPort: Required value"];
        "spec.template.spec.restartPolicy" = "Never"
            => ["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""];
        "spec.template.spec.activeDeadlineSeconds" = 5
            => ["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"];
        "spec.template.metadata.labels.a b" = "c"
            => ["spec.template.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"];
        "spec.template" = null
            => ["spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
                "spec.template.spec.containers: Required value"];
        "spec.strategy" = {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}
            => ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"];
        "spec.strategy.type" = "Slow"
            => ["spec.strategy.type: Unsupported value: \"Slow\": supported values: \"Recreate\", \"RollingUpdate\""];
        "spec.strategy.rollingUpdate" = {"maxSurge": 0, "maxUnavailable": 0}
            => ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"];
        "spec.strategy.rollingUpdate.maxUnavailable" = "101%"
            => ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"];
        "spec.strategy.rollingUpdate.maxSurge" = "some" => [&format!("spec.strategy.rollingUpdate.maxSurge: Invalid value: \"some\": {P}")];
        "spec.strategy.rollingUpdate.maxSurge" = (-1)
            => ["spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: must be greater than or equal to 0"];
        "spec.minReadySeconds" = 600 => ["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"];
        "spec.revisionHistoryLimit" = (-1) => ["spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"];
    }
    rows! { check_update(&Deployment, "", &base());
        "spec.replicas" = 5 => [];
        "spec.template.spec.containers.0.image" = "x" => [];
        "spec.selector.matchLabels.b" = "c", "spec.template.metadata.labels.b" = "c"
            => ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"b\":\"c\"}}: field is immutable"];
    }
    rows! { check_update(&Deployment, "status", &base());
        "status" = {"replicas": 3, "readyReplicas": 3, "availableReplicas": 2, "updatedReplicas": 1} => [];
        "status" = {"replicas": 1, "readyReplicas": 2} => ["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"];
        "status" = {"replicas": 2, "readyReplicas": 1, "availableReplicas": 2}
            => ["status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas"];
    }
}

#[test]
fn rules_of_replica_sets() {
    rows! { check_create(&ReplicaSet, &base());
        => [];
        "spec.selector" = {} => ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"];
        "spec.minReadySeconds" = (-1) => ["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"];
    }
    rows! { check_update(&ReplicaSet, "", &base());
        "spec.selector.matchLabels.app" = "x", "spec.template.metadata.labels.app" = "x"
            => ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"x\"}}: field is immutable"];
    }
    rows! { check_update(&ReplicaSet, "status", &base());
        "status.replicas" = (-1)
            => ["status.replicas: Invalid value: -1: must be greater than or equal to 0",
                "status.fullyLabeledReplicas: Invalid value: 0: cannot be greater than status.replicas",
                "status.readyReplicas: Invalid value: 0: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 0: cannot be greater than status.replicas"];
        "status" = {"replicas": 1, "fullyLabeledReplicas": 2}
            => ["status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas"];
    }
}

#[test]
fn hands_are_kept_apart() {
    let old = created(&Deployment, &base(), &[]);
    assert_eq!(at(&old, "status"), json!({}));
    let new = replaced(
        &Deployment,
        "",
        &old,
        &[("status.replicas", json!(3)), ("spec.replicas", json!(3))],
    );
    assert_eq!((at(&new, "status"), at(&new, "spec.replicas")), (json!({}), json!(3)));
    assert!(Deployment.generation_changed(&new, &old));
    let new = replaced(
        &Deployment,
        "status",
        &old,
        &[
            ("status.replicas", json!(3)),
            ("spec.replicas", json!(3)),
            ("metadata.labels.a", json!("b")),
        ],
    );
    assert_eq!(at(&new, "status"), json!({"replicas": 3}));
    assert_eq!((at(&new, "spec.replicas"), at(&new, "metadata.labels")), (json!(1), Value::Null));
    assert!(!Deployment.generation_changed(&new, &old));
    let new = replaced(&Deployment, "", &old, &[("metadata.annotations.a", json!("b"))]);
    assert!(Deployment.generation_changed(&new, &old));
    assert!(!ReplicaSet.generation_changed(&new, &old));
}

#[test]
fn workloads_scale() {
    let mut deployment =
        edited(&base(), &[("spec.replicas", json!(3)), ("metadata.uid", json!("u"))]);
    let scale = Deployment.to_scale(&deployment).unwrap();
    assert_eq!(
        serde_json::to_value(&scale).unwrap(),
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": "web", "namespace": "default", "uid": "u"},
            "spec": {"replicas": 3}, "status": {"replicas": 7, "selector": "app=web"},
        })
    );
    let set = |scale: Value| edited(&scale, &[]);
    Deployment
        .from_scale(
            &mut deployment,
            &set(json!({"metadata": {"resourceVersion": "9"}, "spec": {"replicas": 5}})),
        )
        .unwrap();
    assert_eq!((at(&deployment, "spec.replicas"), deployment.resource_version()), (json!(5), "9"));
    ReplicaSet.from_scale(&mut deployment, &set(json!({"spec": {}}))).unwrap();
    assert_eq!(at(&deployment, "spec.replicas"), json!(0));
    let error = Deployment
        .from_scale(&mut deployment, &set(json!({"spec": {"replicas": -1}})))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
}

#[test]
fn workloads_print() {
    let stored = json!({
        "metadata": {"name": "web", "creationTimestamp": "2026-04-29T12:00:00Z"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y"}]}}},
        "status": {"replicas": 4, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2},
    });
    cells! { &Deployment, &stored;
        => "web|2/3|1|2|2d|a,b|x:1,y|app=web";
        "status" = {}, "spec.selector" = {"matchExpressions": [{"key": "a", "operator": "In", "values": ["c", "b"]}, {"key": "d", "operator": "Exists"}]}
            => "web|0/3|0|0|2d|a,b|x:1,y|a in (b,c),d";
    }
    cells! { &ReplicaSet, &stored; => "web|3|4|2|2d|a,b|x:1,y|app=web"; }
}

#[test]
fn templates_warn_like_pods() {
    rows! { check_warnings(&Deployment, &base());
        => [];
        "metadata.name" = "a.b"
            => ["metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]"];
        "spec.template.spec.hostIPC" = true
            => ["spec.template.spec.hostIPC: has no effect in kube-mini: containers are no processes of the host"];
    }
}
