use std::time::Duration;

use apimachinery::object::ObjectKey;
use serde_json::{Value, json};

use crate::{
    scheduler::{Input, Scheduler},
    testing::{node, pod},
};

/// What is told of `name` after these inputs, with every pod tried that is ready.
fn told(inputs: Vec<Input>, name: &str) -> Value {
    let mut scheduler = Scheduler::new("default-scheduler", 1);
    for input in inputs {
        scheduler.handle(input, Duration::ZERO);
        while scheduler.next_action(Duration::ZERO).is_some() {}
    }
    let key = ObjectKey { namespace: "default".into(), name: name.into() };
    serde_json::to_value(scheduler.explain(&key)).unwrap()
}

fn tainted(name: &str) -> Input {
    node(name, "4", json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}))
}

#[test]
fn every_node_is_told_of_by_its_refusal_or_its_scores() {
    let big = || node("b", "8", json!({}));
    let told =
        told(vec![tainted("a"), big(), node("c", "500m", json!({})), pod("p", json!({}))], "p");
    assert_eq!(told["apiVersion"], "kube-mini.dev/v1");
    assert_eq!(told["kind"], "SchedulingExplanation");
    assert_eq!(told["metadata"], json!({"name": "p", "namespace": "default"}));
    let status = &told["status"];
    assert_eq!(
        (&status["state"], &status["selected"], &status["candidates"], &status["schedulerName"]),
        (&json!("Pending"), &json!("b"), &json!(["b"]), &json!("default-scheduler"))
    );
    assert_eq!(status["message"], Value::Null, "a node fits");
    assert_eq!(
        status["nodes"][0],
        json!({"name": "a", "feasible": false, "plugin": "TaintToleration", "resolvable": false,
               "reasons": ["node(s) had untolerated taint(s)"]})
    );
    let scored = &status["nodes"][1];
    assert_eq!((&scored["name"], &scored["feasible"]), (&json!("b"), &json!(true)));
    let scores = scored["scores"].as_array().unwrap();
    let sum: i64 = scores.iter().map(|s| s["score"].as_i64().unwrap()).sum();
    assert_eq!(scored["total"], sum);
    let of = |plugin: &str| scores.iter().find(|s| s["plugin"] == plugin).cloned().unwrap();
    assert_eq!(
        of("TaintToleration"),
        json!({"plugin": "TaintToleration", "raw": 0, "normalized": 100, "weight": 3, "score": 300})
    );
    // (7/8 + 7.8/8 of memory) / 2, each rounded down.
    assert_eq!(of("NodeResourcesFit")["raw"], 92);
    assert_eq!(
        status["nodes"][2],
        json!({"name": "c", "feasible": false, "plugin": "NodeResourcesFit", "resolvable": false,
               "reasons": ["Insufficient cpu"]})
    );
}

#[test]
fn states_are_told_apart() {
    let state = |extra: Value| {
        let told = told(vec![node("a", "4", json!({})), pod("p", extra)], "p");
        told["status"]["state"].as_str().unwrap_or("none").to_owned()
    };
    for (extra, expected) in [
        (json!({}), "Pending"),
        (json!({"spec": {"nodeName": "a"}}), "Scheduled"),
        (json!({"spec": {"nodeName": "gone"}}), "Scheduled"),
        (json!({"spec": {"nodeName": "a"}, "status": {"phase": "Succeeded"}}), "Scheduled"),
        (json!({"spec": {"nodeSelector": {"disk": "ssd"}}}), "Unschedulable"),
        (json!({"spec": {"schedulingGates": [{"name": "x"}]}}), "Gated"),
        (json!({"spec": {"schedulerName": "mine"}}), "Foreign"),
        (json!({"spec": {"schedulerName": "mine", "nodeName": "a"}}), "Scheduled"),
        (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), "Deleted"),
    ] {
        assert_eq!(state(extra.clone()), expected, "{extra}");
    }
    assert_eq!(told(vec![pod("p", json!({}))], "q"), Value::Null, "there is no such pod");
}

#[test]
fn a_bound_pod_is_looked_at_as_if_it_were_not_placed() {
    // It fills its node: counted in, it would not fit beside itself.
    let bound = json!({"spec": {"nodeName": "a"}});
    let told = told(vec![node("a", "1", json!({})), tainted("b"), pod("p", bound)], "p");
    let status = &told["status"];
    assert_eq!((&status["nodeName"], &status["selected"]), (&json!("a"), &json!("a")));
    assert_eq!(status["nodes"][1]["feasible"], false);
}

#[test]
fn a_pod_that_fits_nowhere_is_told_what_its_event_says() {
    let inputs = || vec![node("a", "1", json!({})), pod("full", json!({})), pod("p", json!({}))];
    let told = told(inputs(), "p");
    assert_eq!(
        told["status"]["message"],
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 \
         nodes are available: 1 No preemption victims found for incoming pod."
    );
    assert_eq!(told["status"]["selected"], Value::Null);
    assert_eq!(told["status"]["nodes"][0]["resolvable"], true);
}

#[test]
fn a_nominated_pod_goes_to_its_node_before_all_scores() {
    let mut scheduler = Scheduler::new("default-scheduler", 1);
    let nominated = json!({"status": {"nominatedNodeName": "a"}});
    for input in
        [node("a", "2", json!({})), node("b", "64", json!({})), pod("p", nominated.clone())]
    {
        scheduler.handle(input, Duration::ZERO);
    }
    let key = ObjectKey { namespace: "default".into(), name: "p".into() };
    let told = serde_json::to_value(scheduler.explain(&key)).unwrap();
    let status = &told["status"];
    assert_eq!((&status["candidates"], &status["nominatedNodeName"]), (&json!(["a"]), &json!("a")));
    let total = |at: usize| status["nodes"][at]["total"].as_i64().unwrap();
    assert!(total(0) < total(1), "{told}");
    let action = format!("{:?}", scheduler.next_action(Duration::ZERO));
    assert!(action.contains("node: \"a\""), "and so it is decided: {action}");
}
