//! Which event wakes a pod that a plugin refused: a table of plugin, pod and event.

use std::{collections::BTreeSet, sync::Arc};

use apimachinery::api::core::{Node, Pod};
use serde_json::{Value, json};

use super::registry;
use crate::{
    framework::{Framework, PodInfo},
    queue::events::{ClusterEvent, Event, Subject},
    testing::merge,
};

/// The kinds of events that each plugin registers, as Kubernetes' plugins do.
const REGISTERED: &[(&str, &[ClusterEvent])] = {
    use ClusterEvent::*;
    &[
        ("NodeUnschedulable", &[NodeAdd, NodeUpdateTaint, OwnTolerations]),
        ("NodeName", &[NodeAdd]),
        ("TaintToleration", &[NodeAdd, NodeUpdateTaint, OwnTolerations]),
        ("NodeAffinity", &[NodeAdd, NodeUpdateLabel]),
        ("NodePorts", &[NodeAdd, AssignedPodDelete]),
        (
            "NodeResourcesFit",
            &[
                NodeAdd,
                NodeUpdateAllocatable,
                AssignedPodDelete,
                AssignedPodScaleDown,
                OwnScaleDown,
            ],
        ),
        (
            "PodTopologySpread",
            &[
                AssignedPodAdd,
                AssignedPodDelete,
                AssignedPodUpdateLabel,
                NodeAdd,
                NodeDelete,
                NodeUpdateLabel,
                NodeUpdateTaint,
                OwnLabels,
                OwnTolerations,
            ],
        ),
        (
            "InterPodAffinity",
            &[
                AssignedPodAdd,
                AssignedPodDelete,
                AssignedPodUpdateLabel,
                NodeAdd,
                NodeUpdateLabel,
                OwnLabels,
            ],
        ),
        ("NodeResourcesBalancedAllocation", &[]),
        ("ImageLocality", &[]),
    ]
};

#[test]
fn every_plugin_registers_for_what_can_undo_its_refusals() {
    let set = |events: &[ClusterEvent]| -> BTreeSet<String> {
        events.iter().map(|event| format!("{event:?}")).collect()
    };
    let plugins = registry();
    let registered = plugins.iter().map(|r| (r.plugin.name(), set(r.plugin.events_to_register())));
    let expected = REGISTERED.iter().map(|(plugin, events)| (*plugin, set(events)));
    assert_eq!(registered.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

fn node(extra: &Value) -> Node {
    let mut node = json!({
        "metadata": {"name": "a", "labels": {"kubernetes.io/hostname": "a"}},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    });
    merge(&mut node, extra.clone());
    serde_json::from_value(node).unwrap()
}

fn pod(uid: &str, extra: &Value) -> PodInfo {
    let mut pod = json!({
        "metadata": {"name": uid, "namespace": "default", "uid": uid},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
    });
    merge(&mut pod, extra.clone());
    PodInfo::new(Arc::new(serde_json::from_value::<Pod>(pod).unwrap()))
}

/// One event, before and after; null: not there.
enum What {
    Node(Value, Value),
    /// Another pod.
    Other(Value, Value),
    /// The waiting pod itself: as it is after.
    Own(Value),
}

use What::{Node as N, Other as O, Own};

#[track_caller]
fn check(plugin: &'static str, waiting: &Value, kind: ClusterEvent, what: What, wakes: bool) {
    let framework = Framework::default();
    let there = |value: &Value| !value.is_null();
    let told = format!("{plugin} {kind:?} for {waiting}");
    let refusers = BTreeSet::from([plugin]);
    let waiting = pod("w", waiting);
    let woken = match what {
        N(old, new) => {
            let (old, new) = (there(&old).then(|| node(&old)), there(&new).then(|| node(&new)));
            let subject = Subject::Node { old: old.as_ref(), new: new.as_ref() };
            framework.may_help(&refusers, &waiting, &Event { kind, subject })
        }
        O(old, new) => {
            let (old, new) =
                (there(&old).then(|| pod("o", &old)), there(&new).then(|| pod("o", &new)));
            let subject = Subject::Pod { old: old.as_ref(), new: new.as_ref() };
            framework.may_help(&refusers, &waiting, &Event { kind, subject })
        }
        Own(new) => {
            let new = pod("w", &new);
            let subject = Subject::Pod { old: Some(&waiting), new: Some(&new) };
            framework.may_help(&refusers, &new, &Event { kind, subject })
        }
    };
    assert_eq!(woken, wakes, "{told}");
}

const GONE: Value = Value::Null;

#[test]
fn nodes_wake_whom_they_can_take() {
    use ClusterEvent::{
        NodeAdd, NodeDelete, NodeUpdateAllocatable, NodeUpdateLabel, NodeUpdateTaint,
    };
    let plain = json!({});
    let cordoned = json!({"spec": {"unschedulable": true}});
    let taint = |keys: &[&str]| {
        let taints: Vec<Value> =
            keys.iter().map(|key| json!({"key": key, "effect": "NoSchedule"})).collect();
        json!({"spec": {"taints": taints}})
    };
    let tolerates =
        |key: &str| json!({"spec": {"tolerations": [{"key": key, "operator": "Exists"}]}});
    let labelled = |disk: &str| json!({"metadata": {"labels": {"disk": disk}}});
    let wants = json!({"spec": {"nodeSelector": {"disk": "ssd"}}});
    let cpu = |cpu: &str| json!({"status": {"allocatable": {"cpu": cpu}}});
    let memory = |memory: &str| json!({"status": {"allocatable": {"memory": memory}}});
    let port = json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 1}]}]}});

    let p = "NodeUnschedulable";
    check(p, &plain, NodeAdd, N(GONE, plain.clone()), true);
    check(p, &plain, NodeAdd, N(GONE, cordoned.clone()), false);
    check(p, &plain, NodeUpdateTaint, N(cordoned.clone(), plain.clone()), true);
    check(p, &plain, NodeUpdateTaint, N(plain.clone(), cordoned.clone()), false);
    check(p, &plain, NodeUpdateTaint, N(plain.clone(), plain.clone()), false);
    let tolerant = tolerates("node.kubernetes.io/unschedulable");
    check(p, &tolerant, NodeAdd, N(GONE, cordoned.clone()), true);
    check(p, &plain, NodeUpdateLabel, N(plain.clone(), labelled("ssd")), false);

    let p = "TaintToleration";
    check(p, &plain, NodeAdd, N(GONE, plain.clone()), true);
    check(p, &plain, NodeAdd, N(GONE, taint(&["k"])), false);
    check(p, &tolerates("k"), NodeAdd, N(GONE, taint(&["k"])), true);
    check(p, &tolerates("k"), NodeAdd, N(GONE, taint(&["k", "l"])), false);
    check(p, &plain, NodeUpdateTaint, N(taint(&["k"]), plain.clone()), true);
    check(p, &plain, NodeUpdateTaint, N(taint(&["k", "l"]), taint(&["l"])), false);
    check(p, &tolerates("l"), NodeUpdateTaint, N(taint(&["k", "l"]), taint(&["l"])), true);
    check(p, &plain, NodeUpdateTaint, N(plain.clone(), plain.clone()), false);
    check(p, &plain, NodeUpdateAllocatable, N(cpu("1"), cpu("2")), false);

    let p = "NodeName";
    check(p, &plain, NodeAdd, N(GONE, plain.clone()), true);
    check(p, &plain, NodeDelete, N(plain.clone(), GONE), false);

    let p = "NodeAffinity";
    check(p, &wants, NodeAdd, N(GONE, labelled("ssd")), true);
    check(p, &wants, NodeAdd, N(GONE, labelled("hdd")), false);
    check(p, &wants, NodeUpdateLabel, N(labelled("hdd"), labelled("ssd")), true);
    check(p, &wants, NodeUpdateLabel, N(labelled("ssd"), labelled("hdd")), false);
    check(p, &wants, NodeUpdateLabel, N(labelled("ssd"), labelled("ssd")), false);
    check(p, &wants, NodeUpdateTaint, N(taint(&["k"]), plain.clone()), false);

    let p = "NodePorts";
    check(p, &port, NodeAdd, N(GONE, plain.clone()), true);

    let p = "NodeResourcesFit";
    check(p, &plain, NodeAdd, N(GONE, cpu("1")), true);
    check(p, &plain, NodeAdd, N(GONE, cpu("999m")), false);
    check(p, &plain, NodeUpdateAllocatable, N(cpu("1"), cpu("2")), true);
    check(p, &plain, NodeUpdateAllocatable, N(cpu("2"), cpu("1")), false);
    check(p, &plain, NodeUpdateAllocatable, N(cpu("100m"), cpu("900m")), false);
    check(p, &plain, NodeUpdateAllocatable, N(memory("1Gi"), memory("2Gi")), false);
    let pods = |pods: &str| json!({"status": {"allocatable": {"pods": pods}}});
    check(p, &plain, NodeUpdateAllocatable, N(pods("1"), pods("2")), true);
    check(p, &plain, NodeDelete, N(plain.clone(), GONE), false);

    let p = "PodTopologySpread";
    let zone = |zone: Value| json!({"metadata": {"labels": {"zone": zone}}});
    let spread = json!({"spec": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "w"}}}]}});
    let (one, two) = (zone(json!("1")), zone(json!("2")));
    check(p, &spread, NodeAdd, N(GONE, one.clone()), true);
    check(p, &spread, NodeAdd, N(GONE, plain.clone()), false);
    check(p, &spread, NodeDelete, N(one.clone(), GONE), true);
    check(p, &spread, NodeDelete, N(plain.clone(), GONE), false);
    check(p, &spread, NodeUpdateLabel, N(one.clone(), two.clone()), true);
    check(p, &spread, NodeUpdateLabel, N(one.clone(), plain.clone()), true);
    check(p, &spread, NodeUpdateLabel, N(labelled("hdd"), labelled("ssd")), false);

    let p = "InterPodAffinity";
    let near = affinity("podAffinity", "b", "zone");
    check(p, &near, NodeAdd, N(GONE, plain.clone()), true);
    check(p, &near, NodeUpdateLabel, N(one.clone(), two.clone()), true);
    check(p, &near, NodeUpdateLabel, N(labelled("hdd"), labelled("ssd")), false);
    check(p, &near, NodeUpdateTaint, N(taint(&["k"]), plain), false);
}

fn affinity(kind: &str, app: &str, key: &str) -> Value {
    json!({"spec": {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}]}}}})
}

#[test]
fn pods_wake_whom_they_make_room_for() {
    use ClusterEvent::{
        AssignedPodAdd, AssignedPodDelete, AssignedPodScaleDown, AssignedPodUpdateLabel, OwnLabels,
        OwnScaleDown, OwnTolerations,
    };
    let plain = json!({});
    let app = |app: &str| json!({"metadata": {"labels": {"app": app}}});
    let elsewhere = |name: &str| json!({"metadata": {"labels": {"app": name}, "namespace": "far"}});
    let port = |port: u16, protocol: &str| {
        json!({"spec": {"containers": [{"name": "c", "ports": [
            {"containerPort": 1, "hostPort": port, "protocol": protocol}]}]}})
    };
    let asks = |resource: &str, amount: &str| json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {resource: amount}}}]}});

    let p = "NodePorts";
    check(p, &port(80, "TCP"), AssignedPodDelete, O(port(80, "TCP"), GONE), true);
    check(p, &port(80, "TCP"), AssignedPodDelete, O(port(80, "UDP"), GONE), false);
    check(p, &port(80, "TCP"), AssignedPodDelete, O(port(81, "TCP"), GONE), false);
    check(p, &port(80, "TCP"), AssignedPodDelete, O(plain.clone(), GONE), false);
    check(p, &port(80, "TCP"), AssignedPodAdd, O(GONE, plain.clone()), false);

    let p = "NodeResourcesFit";
    check(p, &plain, AssignedPodDelete, O(plain.clone(), GONE), true);
    check(p, &plain, AssignedPodAdd, O(GONE, plain.clone()), false);
    check(p, &plain, AssignedPodScaleDown, O(asks("cpu", "2"), asks("cpu", "1")), true);
    check(p, &plain, AssignedPodScaleDown, O(asks("memory", "2Gi"), asks("memory", "1Gi")), false);
    check(p, &plain, OwnScaleDown, Own(asks("cpu", "500m")), true);
    check(p, &plain, AssignedPodUpdateLabel, O(app("a"), app("b")), false);

    let p = "TaintToleration";
    let tolerant = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
    check(p, &plain, OwnTolerations, Own(tolerant.clone()), true);
    check(p, &plain, AssignedPodDelete, O(plain.clone(), GONE), false);

    let p = "NodeUnschedulable";
    check(p, &plain, OwnTolerations, Own(tolerant), true);
    let other = json!({"spec": {"tolerations": [{"key": "k", "operator": "Exists"}]}});
    check(p, &plain, OwnTolerations, Own(other), false);

    let p = "PodTopologySpread";
    let spread = json!({"metadata": {"labels": {"app": "w"}}, "spec": {"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "w"}}}]}});
    check(p, &spread, AssignedPodAdd, O(GONE, app("w")), true);
    check(p, &spread, AssignedPodAdd, O(GONE, app("x")), false);
    check(p, &spread, AssignedPodAdd, O(GONE, elsewhere("w")), false);
    check(p, &spread, AssignedPodDelete, O(app("w"), GONE), true);
    check(p, &spread, AssignedPodDelete, O(app("x"), GONE), false);
    check(p, &spread, AssignedPodUpdateLabel, O(app("x"), app("w")), true);
    check(p, &spread, AssignedPodUpdateLabel, O(app("x"), app("y")), false);
    check(p, &spread, OwnLabels, Own(app("x")), true);

    let p = "InterPodAffinity";
    let near = affinity("podAffinity", "b", "zone");
    let away = affinity("podAntiAffinity", "b", "zone");
    check(p, &near, AssignedPodAdd, O(GONE, app("b")), true);
    check(p, &near, AssignedPodAdd, O(GONE, app("c")), false);
    check(p, &near, AssignedPodAdd, O(GONE, elsewhere("b")), false);
    check(p, &near, AssignedPodUpdateLabel, O(app("c"), app("b")), true);
    check(p, &near, AssignedPodDelete, O(app("c"), GONE), false);
    check(p, &away, AssignedPodDelete, O(app("b"), GONE), true);
    check(p, &away, AssignedPodDelete, O(app("c"), GONE), false);
    check(p, &away, AssignedPodAdd, O(GONE, app("b")), false);
    check(p, &away, AssignedPodUpdateLabel, O(app("b"), app("c")), true);
    // An existing pod that kept this one away.
    let mut shy = affinity("podAntiAffinity", "w", "zone");
    merge(&mut shy, app("s"));
    check(p, &app("w"), AssignedPodDelete, O(shy.clone(), GONE), true);
    check(p, &app("x"), AssignedPodDelete, O(shy, GONE), false);
    check(p, &away, OwnLabels, Own(app("b")), true);
    let anywhere = json!({"spec": {"affinity": {"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone",
            "labelSelector": {"matchLabels": {"app": "b"}}, "namespaceSelector": {}}]}}}});
    check(p, &anywhere, AssignedPodAdd, O(GONE, elsewhere("b")), true);
}
