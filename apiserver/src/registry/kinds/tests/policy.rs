//! PodDisruptionBudget.

use serde_json::{Value, json};

use crate::registry::{
    kinds::{
        pod_disruption_budget::PodDisruptionBudget,
        testing::{at, cells, check_create, check_row, check_update, created, replaced, rows},
    },
    strategy::Strategy,
};

fn base() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    })
}

#[test]
fn budgets_are_checked_as_kubernetes_checks_them() {
    rows! { check_create(&PodDisruptionBudget, &base());
        => [];
        "spec" = {} => [];
        "spec.minAvailable" = "50%" => [];
        "spec.minAvailable" = null, "spec.maxUnavailable" = 0 => [];
        "spec" = {"minAvailable": 1, "maxUnavailable": 1}
            => ["spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set"];
        "spec.minAvailable" = (-1) => ["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"];
        "spec.minAvailable" = "some"
            => ["spec.minAvailable: Invalid value: \"some\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"];
        "spec.minAvailable" = "101%" => ["spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%"];
        "spec.selector.matchExpressions" = [{"key": "a", "operator": "Is"}]
            => ["spec.selector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator"];
        "spec.unhealthyPodEvictionPolicy" = "AlwaysAllow" => [];
        "spec.unhealthyPodEvictionPolicy" = "Never"
            => ["spec.unhealthyPodEvictionPolicy: Unsupported value: \"Never\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\""];
        "metadata.name" = "A_b" => [];
        "metadata.name" = "a/b" => ["metadata.name: Invalid value: \"a/b\": may not contain '/'"];
    }
    rows! { check_update(&PodDisruptionBudget, "", &base());
        "spec.minAvailable" = 2, "spec.selector" = {} => [];
        "spec.minAvailable" = "200%" => ["spec.minAvailable: Invalid value: \"200%\": must not be greater than 100%"];
    }
    let condition = json!({"type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods", "message": "",
        "lastTransitionTime": "2026-05-01T12:00:00Z"});
    rows! { check_update(&PodDisruptionBudget, "status", &base());
        "status.disruptionsAllowed" = 3, "status.disruptedPods" = {"web-1": "2026-05-01T12:00:00Z"}, "status.conditions.0" = condition => [];
        "status.currentHealthy" = (-1) => ["status.currentHealthy: Invalid value: -1: must be greater than or equal to 0"];
        "status.conditions.0" = {"type": "a b", "status": "Maybe"}
            => ["status.conditions[0].type: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                "status.conditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\"",
                "status.conditions[0].lastTransitionTime: Required value: must be set",
                "status.conditions[0].reason: Required value: must be set"];
        "status.conditions" = [condition, condition] => ["status.conditions[1].type: Duplicate value: \"DisruptionAllowed\""];
    }
    assert!(!PodDisruptionBudget.allow_unconditional_update());
}

#[test]
fn a_budget_and_its_status_are_written_apart() {
    let stored = created(&PodDisruptionBudget, &base(), &[("status.expectedPods", json!(7))]);
    let zeroes = json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
    assert_eq!(at(&stored, "status"), zeroes);
    let edits = [("spec.minAvailable", json!(2)), ("status.expectedPods", json!(3))];
    let check = |subresource: &str, available: i64, pods: i64| {
        let new = replaced(&PodDisruptionBudget, subresource, &stored, &edits);
        assert_eq!(at(&new, "spec.minAvailable"), json!(available), "{subresource}");
        assert_eq!(at(&new, "status.expectedPods"), json!(pods), "{subresource}");
    };
    check("", 2, 0);
    check("status", 1, 3);
    cells! { &PodDisruptionBudget, &base();
        => "web|1|N/A|0|<unknown>";
        "spec" = {"maxUnavailable": "50%"}, "status.disruptionsAllowed" = 2 => "web|N/A|50%|2|<unknown>";
    }
}
