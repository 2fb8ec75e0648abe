//! A node's conditions and taints, as pure functions.

use apimachinery::{
    api::core::{Node, NodeCondition, Taint},
    time::Time,
};
use jiff::Timestamp;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that stand for a taint while they are True.
const PRESSURES: &[(&str, &str)] = &[
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// The conditions of a node that has been silent for too long; None: they say so already.
#[must_use]
pub fn silent(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let mut conditions = node.status.conditions.clone();
    let mut changed = false;
    for type_ in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        let (reason, message) = match conditions.iter().find(|c| c.type_ == type_) {
            Some(c) if c.status == "Unknown" => continue,
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        changed = true;
        let heartbeat = conditions
            .iter()
            .find(|c| c.type_ == type_)
            .and_then(|c| c.last_heartbeat_time)
            .or(node.metadata.creation_timestamp);
        conditions.retain(|c| c.type_ != type_);
        conditions.push(NodeCondition {
            type_: type_.into(),
            status: "Unknown".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: heartbeat,
            last_transition_time: Some(Time(now).truncated()),
        });
    }
    changed.then_some(conditions)
}

/// The status of the node's Ready condition; None: it has none.
#[must_use]
pub fn ready(node: &Node) -> Option<&str> {
    node.status.conditions.iter().find(|c| c.type_ == "Ready").map(|c| c.status.as_str())
}

/// The NoExecute taint that a Ready condition stands for.
#[must_use]
pub fn eviction_taint(ready: Option<&str>) -> Option<&'static str> {
    match ready {
        Some("False") => Some(NOT_READY),
        Some("Unknown") => Some(UNREACHABLE),
        _ => None,
    }
}

/// Whether the node has a NoExecute taint of this controller's.
#[must_use]
pub fn is_evicting(node: &Node) -> bool {
    node.spec.taints.iter().any(evicts)
}

fn evicts(taint: &Taint) -> bool {
    taint.effect == "NoExecute" && [NOT_READY, UNREACHABLE].contains(&taint.key.as_str())
}

/// The node's taints as its conditions and its mark want them, with this NoExecute taint or none; None: they are so.
#[must_use]
pub fn taints(node: &Node, eviction: Option<&str>, now: Timestamp) -> Option<Vec<Taint>> {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    if let Some(key) = eviction_taint(ready(node)) {
        wanted.push((key, "NoSchedule"));
    }
    for (condition, key) in PRESSURES {
        let under =
            node.status.conditions.iter().any(|c| c.type_ == *condition && c.status == "True");
        if under {
            wanted.push((key, "NoSchedule"));
        }
    }
    if node.spec.unschedulable == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    if let Some(key) = eviction {
        wanted.push((key, "NoExecute"));
    }
    // A taint of the same key with another effect is somebody else's.
    let ours = |taint: &Taint| {
        let marks = [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&taint.key.as_str())
            || PRESSURES.iter().any(|(_, key)| *key == taint.key);
        evicts(taint) || (taint.effect == "NoSchedule" && marks)
    };
    let is =
        |taint: &Taint, (key, effect): &(&str, &str)| taint.key == *key && taint.effect == *effect;
    let mut taints: Vec<Taint> = node
        .spec
        .taints
        .iter()
        .filter(|t| !ours(t) || wanted.iter().any(|w| is(t, w)))
        .cloned()
        .collect();
    for want in &wanted {
        if !taints.iter().any(|t| is(t, want)) {
            taints.push(Taint {
                key: want.0.into(),
                effect: want.1.into(),
                time_added: Some(Time(now).truncated()),
                value: None,
            });
        }
    }
    (taints != node.spec.taints).then_some(taints)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(spec: &Value, conditions: &[(&str, &str)]) -> Node {
        let conditions: Vec<Value> =
            conditions.iter().map(|(t, s)| json!({"type": t, "status": s})).collect();
        serde_json::from_value(json!({"spec": spec, "status": {"conditions": conditions}})).unwrap()
    }

    #[test]
    fn taints_follow_the_conditions() {
        let check = |spec: Value, conditions: &[(&str, &str)], expected: Option<&[&str]>| {
            let node = node(&spec, conditions);
            let eviction = eviction_taint(ready(&node));
            let found = taints(&node, eviction, Timestamp::UNIX_EPOCH);
            let found: Option<Vec<String>> = found.map(|taints| {
                taints
                    .iter()
                    .map(|t| format!("{}:{}", t.key.replace("node.kubernetes.io/", ""), t.effect))
                    .collect()
            });
            let expected = expected.map(|e| e.iter().map(|t| (*t).to_owned()).collect());
            assert_eq!(found, expected, "{spec} {conditions:?}");
        };
        let unreachable = json!({"taints": [
            {"key": UNREACHABLE, "effect": "NoSchedule"}, {"key": UNREACHABLE, "effect": "NoExecute"}]});
        check(json!({}), &[("Ready", "True")], None);
        check(
            json!({}),
            &[("Ready", "False")],
            Some(&["not-ready:NoSchedule", "not-ready:NoExecute"]),
        );
        check(
            json!({}),
            &[("Ready", "Unknown")],
            Some(&["unreachable:NoSchedule", "unreachable:NoExecute"]),
        );
        check(json!({}), &[], None);
        check(unreachable.clone(), &[("Ready", "Unknown")], None);
        check(unreachable.clone(), &[("Ready", "True")], Some(&[]));
        check(
            unreachable,
            &[("Ready", "False")],
            Some(&["not-ready:NoSchedule", "not-ready:NoExecute"]),
        );
        check(
            json!({"unschedulable": true}),
            &[("Ready", "True")],
            Some(&["unschedulable:NoSchedule"]),
        );
        check(
            json!({"taints": [{"key": "mine", "effect": "NoSchedule"}]}),
            &[("Ready", "True"), ("MemoryPressure", "True")],
            Some(&["mine:NoSchedule", "memory-pressure:NoSchedule"]),
        );
        check(
            json!({"taints": [{"key": "mine", "effect": "NoExecute"}]}),
            &[("Ready", "True")],
            None,
        );
        let other = json!({"taints": [{"key": UNSCHEDULABLE, "effect": "PreferNoSchedule"}]});
        check(other, &[("Ready", "True")], None);
    }

    #[test]
    fn a_silent_node_has_unknown_conditions() {
        let made = silent(
            &node(&json!({}), &[("Ready", "True"), ("Custom", "True")]),
            Timestamp::UNIX_EPOCH,
        );
        let made = made.unwrap();
        let status = |type_: &str| {
            made.iter().find(|c| c.type_ == type_).map(|c| (c.status.as_str(), c.reason.as_deref()))
        };
        assert_eq!(status("Ready"), Some(("Unknown", Some("NodeStatusUnknown"))));
        assert_eq!(status("DiskPressure"), Some(("Unknown", Some("NodeStatusNeverUpdated"))));
        assert_eq!(status("Custom"), Some(("True", None)));
        let mut silent_already = node(&json!({}), &[]);
        silent_already.status.conditions = made;
        assert_eq!(silent(&silent_already, Timestamp::UNIX_EPOCH), None);
    }
}
