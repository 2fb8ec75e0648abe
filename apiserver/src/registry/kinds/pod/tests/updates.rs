//! What may change in a pod, and what a status may say.

use serde_json::json;

use super::{Pod, base};
use crate::registry::{
    kinds::testing::{check_update, created, replaced, rows},
    strategy::Strategy,
};

#[test]
fn a_running_pod_hardly_changes() {
    let not_other = |change: &str| {
        format!(
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n  {change}"
        )
    };
    rows! { check_update(&Pod, "", &base());
        => [];
        "metadata.labels.a" = "b" => [];
        "metadata.name" = "other" => ["metadata.name: Invalid value: \"other\": field is immutable"];
        "metadata.uid" = "u" => ["metadata.uid: Invalid value: \"u\": field is immutable"];
        "spec.containers.0.image" = "nginx:2" => [];
        "spec.containers.0.image" = "" => ["spec.containers[0].image: Required value", "spec.containers[0].image: Required value"];
        "spec.containers.1" = {"name": "b", "image": "b"} => ["spec.containers: Forbidden: pod updates may not add or remove containers"];
        "spec.containers.0.args" = ["x"] => [&not_other("spec.containers[0].args: (unset) -> [\"x\"]")];
        "spec.nodeName" = "n" => [&not_other("spec.nodeName: (unset) -> \"n\"")];
        "spec.restartPolicy" = "Never" => [&not_other("spec.restartPolicy: \"Always\" -> \"Never\"")];
        "spec.activeDeadlineSeconds" = 5 => [];
        "spec.tolerations.0" = {"key": "a", "operator": "Exists"} => [];
        "spec.schedulingGates.0.name" = "a" => ["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'a'"];
        "metadata.annotations.kubernetes~io/config~mirror" = "x", "spec.nodeName" = null
            => ["metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set",
                "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation"];
    }
    let mut tolerant = base();
    tolerant["spec"]["tolerations"] =
        json!([{"key": "a", "operator": "Exists", "effect": "NoExecute"}]);
    tolerant["spec"]["activeDeadlineSeconds"] = json!(5);
    rows! { check_update(&Pod, "", &tolerant);
        "spec.tolerations.0.tolerationSeconds" = 7 => [];
        "spec.tolerations" = [] => ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"];
        "spec.activeDeadlineSeconds" = 6 => ["spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"];
        "spec.activeDeadlineSeconds" = null => ["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"];
    }
    let mut gated = base();
    gated["spec"]["schedulingGates"] = json!([{"name": "a"}]);
    gated["spec"]["nodeSelector"] = json!({"a": "b"});
    rows! { check_update(&Pod, "", &gated);
        "spec.schedulingGates" = [] => [];
        "spec.nodeSelector.c" = "d" => [];
        "spec.nodeSelector.a" = "z"
            => ["spec.nodeSelector: Invalid value: {\"a\":\"z\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)",
                &not_other("spec.nodeSelector.a: \"b\" -> \"z\"")];
    }
}

#[test]
fn ephemeral_containers_are_only_added() {
    let container = json!({"name": "debug", "image": "busybox"});
    rows! { check_update(&Pod, "ephemeralcontainers", &base());
        "spec.ephemeralContainers.0" = container => [];
        "spec.ephemeralContainers.0" = container, "spec.nodeName" = "n", "metadata.labels.a" = "b" => [];
        "spec.ephemeralContainers.0" = {"name": "debug", "image": "busybox", "targetContainerName": "nobody"}
            => ["spec.ephemeralContainers[0].targetContainerName: Not found: \"nobody\""];
        "spec.ephemeralContainers.0" = {"name": "debug", "image": "b", "ports": [{"containerPort": 1}], "lifecycle": {},
            "resources": {"limits": {"cpu": "1"}}, "livenessProbe": {"exec": {"command": ["x"]}}}
            => ["spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
                "spec.ephemeralContainers[0].resources: Forbidden: cannot be set for an Ephemeral Container",
                "spec.ephemeralContainers[0].livenessProbe: Forbidden: cannot be set for an Ephemeral Container"];
    }
    let mut debugged = base();
    debugged["spec"]["ephemeralContainers"] = json!([container]);
    rows! { check_update(&Pod, "ephemeralcontainers", &debugged);
        "spec.ephemeralContainers.1" = {"name": "more", "image": "busybox"} => [];
        "spec.ephemeralContainers" = null
            => ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"debug\" may not be removed\n"];
        "spec.ephemeralContainers.0.image" = "other"
            => ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"debug\" may not be changed\n  debug.image: \"busybox\" -> \"other\""];
        "spec.ephemeralContainers.1" = container
            => ["spec.ephemeralContainers[1].name: Duplicate value: \"debug\""];
    }
    let old = created(&Pod, &base(), &[]);
    let edits = [
        ("spec.ephemeralContainers.0", container),
        ("spec.nodeName", json!("n")),
        ("metadata.labels.a", json!("b")),
    ];
    let new = replaced(&Pod, "ephemeralcontainers", &old, &edits);
    assert_eq!(new.get_list(&["spec", "ephemeralContainers"]).len(), 1);
    assert_eq!((new.get_str(&["spec", "nodeName"]), new.label("a")), ("", None));
    assert!(Pod.generation_changed(&new, &old));
}

#[test]
fn each_hand_writes_its_part() {
    let old = created(&Pod, &base(), &[]);
    let new = replaced(
        &Pod,
        "",
        &old,
        &[("status.phase", json!("Running")), ("metadata.labels.a", json!("b"))],
    );
    assert_eq!(new.get_str(&["status", "phase"]), "Pending");
    assert_eq!(new.label("a"), Some("b"));
    let edits = [
        ("status.phase", json!("Running")),
        ("status.qosClass", json!(null)),
        ("spec.nodeName", json!("n")),
        ("metadata.ownerReferences", json!([{"name": "x"}])),
        ("metadata.labels.a", json!("b")),
    ];
    let new = replaced(&Pod, "status", &old, &edits);
    assert_eq!(new.get(&["status"]), Some(&json!({"phase": "Running", "qosClass": "BestEffort"})));
    assert_eq!(new.get(&["spec"]), old.get(&["spec"]));
    assert_eq!(new.get(&["metadata", "ownerReferences"]), None);
    assert_eq!(new.label("a"), Some("b"));
}

#[test]
fn a_status_is_checked() {
    rows! { check_update(&Pod, "status", &base());
        "status" = {"phase": "Running", "podIP": "10.1.1.1", "podIPs": [{"ip": "10.1.1.1"}]} => [];
        "status.qosClass" = "Guaranteed" => ["status.qosClass: Invalid value: \"Guaranteed\": field is immutable"];
        "status.podIPs" = [{"ip": "x"}]
            => ["status.podIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"];
        "status.podIPs" = [{"ip": "1.1.1.1"}, {"ip": "1.1.1.2"}]
            => ["status.podIPs: Invalid value: [{\"ip\":\"1.1.1.1\"},{\"ip\":\"1.1.1.2\"}]: may specify no more than one IP for each IP family"];
        "status.hostIPs" = [{"ip": "1.1.1.1"}] => ["status.hostIPs[0].ip: Invalid value: \"1.1.1.1\": must be equal to `hostIP`"];
    }
    let mut once = base();
    once["spec"]["restartPolicy"] = json!("OnFailure");
    let status = |state: serde_json::Value| json!([{"name": "nginx", "state": state}]);
    let check = |before: serde_json::Value, expected: &[&str]| {
        let mut old = created(&Pod, &once, &[]);
        old.set(&["status", "containerStatuses"], status(before));
        let edits = [("status.containerStatuses", status(json!({"running": {}})))];
        let new = replaced(&Pod, "status", &old, &edits);
        let mut errors = crate::registry::validation::at::Errors::default();
        super::super::update::status(&new, &old, &mut errors);
        assert_eq!(errors.0.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    };
    check(json!({"terminated": {"exitCode": 1}}), &[]);
    let forbidden = "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
    check(json!({"terminated": {"exitCode": 0}}), &[forbidden]);
    // A container's own rules and policy count.
    let by_own = |own: serde_json::Value, code: i32, expected: &[&str]| {
        let mut pod = once.clone();
        pod["spec"]["restartPolicy"] = json!("Never");
        for (key, value) in own.as_object().unwrap() {
            pod["spec"]["containers"][0][key] = value.clone();
        }
        let mut old = created(&Pod, &pod, &[]);
        let before = status(json!({"terminated": {"exitCode": code}}));
        old.set(&["status", "containerStatuses"], before);
        let edits = [("status.containerStatuses", status(json!({"waiting": {}})))];
        let new = replaced(&Pod, "status", &old, &edits);
        let mut errors = crate::registry::validation::at::Errors::default();
        super::super::update::status(&new, &old, &mut errors);
        assert_eq!(errors.0.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{own}");
    };
    let rule = |action: &str| {
        json!({"restartPolicy": "Never", "restartPolicyRules":
        [{"action": action, "exitCodes": {"operator": "In", "values": [42]}}]})
    };
    by_own(json!({}), 1, &[forbidden]);
    by_own(json!({"restartPolicy": "Always"}), 0, &[]);
    by_own(json!({"restartPolicy": "OnFailure"}), 1, &[]);
    by_own(rule("Restart"), 42, &[]);
    by_own(rule("Restart"), 1, &[forbidden]);
    by_own(rule("RestartAllContainers"), 1, &[]);
}

#[test]
fn a_pod_that_runs_nowhere_is_deleted_at_once() {
    let check = |edits: &[(&str, serde_json::Value)], expected: Option<i64>| {
        let mut pod = created(&Pod, &base(), edits);
        for (path, value) in edits.iter().filter(|(path, _)| path.starts_with("status")) {
            pod.set(&path.split('.').collect::<Vec<_>>(), value.clone());
        }
        assert_eq!(Pod.default_grace_period(&pod), expected, "{edits:?}");
    };
    check(&[], None);
    check(&[("spec.nodeName", json!("n"))], Some(30));
    check(&[("spec.nodeName", json!("n")), ("status.phase", json!("Failed"))], None);
    check(
        &[("spec.nodeName", json!("n")), ("spec.terminationGracePeriodSeconds", json!(-3))],
        Some(1),
    );
    check(
        &[("spec.nodeName", json!("n")), ("spec.terminationGracePeriodSeconds", json!(0))],
        Some(0),
    );
}

#[test]
fn selectors_see_what_they_may() {
    let pod = created(&Pod, &base(), &[("spec.nodeName", json!("n"))]);
    let fields = Pod.selectable_fields(&pod);
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, Pod.selectable_field_names());
    assert!(fields.contains(&("spec.nodeName", "n".to_owned())));
    assert!(fields.contains(&("spec.hostNetwork", "false".to_owned())));
    assert!(fields.contains(&("status.phase", "Pending".to_owned())));
}
