//! Roles and bindings, PriorityClass.

use serde_json::{Value, json};

use crate::registry::kinds::{
    priority_class::PriorityClass,
    role::{CLUSTER_ROLE, ROLE},
    role_binding::{CLUSTER_ROLE_BINDING, ROLE_BINDING},
    testing::{cells, check_create, check_default, check_row, check_update, defaults, rows},
};

fn role() -> Value {
    json!({
        "metadata": {"name": "system:reader", "namespace": "default"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    })
}

fn binding() -> Value {
    json!({
        "metadata": {"name": "readers", "namespace": "default"},
        "roleRef": {"kind": "Role", "name": "reader"},
        "subjects": [{"kind": "User", "name": "ann"}, {"kind": "ServiceAccount", "name": "bot", "namespace": "ci"}],
    })
}

fn cluster_wide(mut object: Value) -> Value {
    object["metadata"].as_object_mut().unwrap().remove("namespace");
    object
}

#[test]
fn roles() {
    rows! { check_create(&ROLE, &role());
        => [];
        "metadata.name" = "a/b" => ["metadata.name: Invalid value: \"a/b\": may not contain '/'"];
        "rules.0.verbs" = [] => ["rules[0].verbs: Required value: verbs must contain at least one value"];
        "rules.0.apiGroups" = null => ["rules[0].apiGroups: Required value: resource rules must supply at least one api group"];
        "rules.0.resources" = null => ["rules[0].resources: Required value: resource rules must supply at least one resource"];
        "rules.0" = {"verbs": ["get"], "nonResourceURLs": ["/healthz"]}
            => ["rules[0].nonResourceURLs: Invalid value: [\"/healthz\"]: namespaced rules cannot apply to non-resource URLs"];
    }
    rows! { check_create(&CLUSTER_ROLE, &cluster_wide(role()));
        => [];
        "metadata.namespace" = "a" => ["metadata.namespace: Forbidden: not allowed on this type"];
        "rules.0" = {"verbs": ["get"], "nonResourceURLs": ["/healthz"]} => [];
        "rules.0.nonResourceURLs" = ["/x"]
            => ["rules[0].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular resources and non-resource URLs"];
        "aggregationRule.clusterRoleSelectors" = []
            => ["aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil"];
    }
    cells! { &ROLE, &role(); "metadata.creationTimestamp" = "2026-05-01T11:00:00Z" => "system:reader|2026-05-01T11:00:00Z"; }
}

#[test]
fn bindings() {
    defaults! { &ROLE_BINDING, &binding();
        "metadata.labels" = {} => "roleRef.apiGroup" = "rbac.authorization.k8s.io",
            "subjects.0.apiGroup" = "rbac.authorization.k8s.io", "subjects.1.apiGroup" = null;
    }
    rows! { check_create(&ROLE_BINDING, &binding());
        => [];
        "roleRef.kind" = "Rule" => ["roleRef.kind: Unsupported value: \"Rule\": supported values: \"Role\", \"ClusterRole\""];
        "roleRef.apiGroup" = "x" => ["roleRef.apiGroup: Unsupported value: \"x\": supported values: \"rbac.authorization.k8s.io\""];
        "roleRef.name" = "" => ["roleRef.name: Required value"];
        "subjects.0.name" = "" => ["subjects[0].name: Required value", "subjects[0].name: Invalid value: \"\": user name cannot be empty"];
        "subjects.0.kind" = "Robot"
            => ["subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\""];
        "subjects.1.apiGroup" = "x" => ["subjects[1].apiGroup: Unsupported value: \"x\": supported values: \"\""];
        "subjects.1.namespace" = null => [];
    }
    rows! { check_create(&CLUSTER_ROLE_BINDING, &cluster_wide(binding()));
        "roleRef.kind" = "ClusterRole" => [];
        => ["roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""];
        "roleRef.kind" = "ClusterRole", "subjects.1.namespace" = null => ["subjects[1].namespace: Required value"];
    }
    rows! { check_update(&ROLE_BINDING, "", &binding());
        "subjects" = [] => [];
        "roleRef.name" = "writer"
            => ["roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"writer\"}: cannot change roleRef"];
    }
    cells! { &ROLE_BINDING, &binding();
        => "readers|Role/reader|<unknown>|ann||ci/bot";
        "subjects" = [{"kind": "Group", "name": "a"}, {"kind": "Group", "name": "b"}] => "readers|Role/reader|<unknown>||a, b|";
    }
}

#[test]
fn priority_classes() {
    let class = json!({"metadata": {"name": "high"}, "value": 1000});
    rows! { check_create(&PriorityClass, &class);
        => [];
        "value" = 1000000001 => ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"];
        "metadata.name" = "system-x"
            => ["metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class"];
        "metadata.name" = "system-node-critical"
            => ["metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000"];
        "metadata.name" = "system-node-critical", "value" = 2000001000 => [];
        "preemptionPolicy" = "x"
            => ["preemptionPolicy: Unsupported value: \"x\": supported values: \"PreemptLowerPriority\", \"Never\""];
    }
    rows! { check_update(&PriorityClass, "", &class);
        "description" = "x" => [];
        "value" = 5 => ["value: Forbidden: may not be changed in an update."];
        "preemptionPolicy" = "Never" => ["preemptionPolicy: Invalid value: \"Never\": field is immutable"];
    }
    cells! { &PriorityClass, &class;
        "preemptionPolicy" = "Never", "globalDefault" = true => "high|1000|true|<unknown>|Never";
    }
}
