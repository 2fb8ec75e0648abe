//! Whether a pod that is bound to this node may run on it.
//!
//! The scheduler has looked already, but not everybody asks it: `spec.nodeName` can be set by hand, and two schedulers
//! know nothing of each other. The checks, their order and their words are the kubelet's: pressure, room (the
//! scheduler's own checks of resources, affinity and ports), taints that do not let pods stay, the operating system.
//! A pod that is rejected is Failed for good. Critical pods do not push others out.

use std::collections::BTreeMap;

use apimachinery::{
    api::core::{Node, Pod},
    node_affinity, pod_resources,
    quantity::Quantity,
    taints::tolerates,
};

/// The priority from which a pod is critical: `SystemCriticalPriority`.
const CRITICAL: i32 = 2_000_000_000;
/// What every node has: a pod that asks for other things that the node does not know is not held to them.
const NATIVE: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// Whether a pod is critical to its node or cluster.
pub(crate) fn is_critical(pod: &Pod) -> bool {
    pod.spec.priority.unwrap_or(0) >= CRITICAL
}

/// Why a pod may not run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// `OutOfcpu`, `NodeAffinity`, …
    pub(crate) reason: String,
    /// The sentence of the event; statuses put `Pod was rejected: ` before it.
    pub(crate) message: String,
}

/// What a pod is held against.
pub(crate) struct View<'a> {
    /// The node, with labels and taints.
    pub(crate) node: &'a Node,
    /// What it offers.
    pub(crate) allocatable: &'a BTreeMap<String, Quantity>,
    /// The pods on it that have not ended.
    pub(crate) pods: &'a [&'a Pod],
    /// The types of the conditions that say what it lacks.
    pub(crate) pressures: &'a [&'static str],
    /// It shuts down.
    pub(crate) shutting_down: bool,
}

fn rejection(reason: impl Into<String>, message: impl Into<String>) -> Result<(), Rejection> {
    Err(Rejection { reason: reason.into(), message: message.into() })
}

/// Decides.
pub(crate) fn admit(pod: &Pod, view: &View<'_>) -> Result<(), Rejection> {
    if view.shutting_down {
        return rejection("NodeShutdown", "Pod was rejected as the node is shutting down.");
    }
    pressure(pod, view)?;
    room(pod, view)?;
    let labels = &view.node.metadata.labels;
    let name = view.node.metadata.name.as_deref().unwrap_or_default();
    let predicate =
        |name: &str, why: &str| rejection(name, format!("Predicate {name} failed: {why}"));
    if !node_affinity::required_matches(pod, labels, name) {
        return predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
    }
    let taken = view.pods.iter().flat_map(|pod| host_ports(pod)).collect::<Vec<_>>();
    if host_ports(pod).any(|port| taken.iter().any(|other| collide(port, *other))) {
        return predicate(
            "NodePorts",
            "node(s) didn't have free ports for the requested pod ports",
        );
    }
    let mut lasting = view.node.spec.taints.iter().filter(|t| t.effect == "NoExecute");
    if lasting.any(|taint| !pod.spec.tolerations.iter().any(|t| tolerates(t, taint))) {
        return predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate");
    }
    if pod.spec.node_selector.get("kubernetes.io/os").is_some_and(|os| os != "linux") {
        let text = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return rejection("PodOSSelectorNodeLabelDoesNotMatch", text);
    }
    if pod.spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        let text = "Failed to admit pod as the OS field doesn't match node OS";
        return rejection("PodOSNotSupported", text);
    }
    Ok(())
}

/// Under memory pressure only pods without any request are kept away, and tolerations let them in.
fn pressure(pod: &Pod, view: &View<'_>) -> Result<(), Rejection> {
    if view.pressures.is_empty() || is_critical(pod) {
        return Ok(());
    }
    let memory_only = view.pressures == ["MemoryPressure"];
    let best_effort = pod.status.qos_class.as_deref() == Some("BestEffort");
    let tolerated = pod.spec.tolerations.iter().any(|toleration| {
        tolerates(
            toleration,
            &apimachinery::api::core::Taint {
                key: "node.kubernetes.io/memory-pressure".into(),
                effect: "NoSchedule".into(),
                ..apimachinery::api::core::Taint::default()
            },
        )
    });
    if memory_only && (!best_effort || tolerated) {
        return Ok(());
    }
    let text = format!("The node had condition: [{}]. ", view.pressures.join(" "));
    rejection("Evicted", text)
}

/// Whether what the pod asks for is left.
fn room(pod: &Pod, view: &View<'_>) -> Result<(), Rejection> {
    let lacks = |resource: &str, requested: i64, used: i64, capacity: i64| {
        rejection(
            format!("OutOf{resource}"),
            format!(
                "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
            ),
        )
    };
    let count = i64::try_from(view.pods.len()).unwrap_or(i64::MAX);
    let most = view.allocatable.get("pods").map_or(i64::MAX, |pods| pods.value());
    if count >= most {
        return lacks("pods", 1, count, most);
    }
    let requests = pod_resources::requests(&pod.spec);
    let asked = requests.iter().filter(|(_, quantity)| quantity.sign() > 0);
    let mut asked: Vec<(&String, &Quantity)> = asked
        .filter(|(name, _)| NATIVE.contains(&name.as_str()) || view.allocatable.contains_key(*name))
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    let mut used = pod_resources::Quantities::new();
    for other in view.pods {
        pod_resources::add(&mut used, &pod_resources::requests(&other.spec));
    }
    asked.sort_by_key(|(name, _)| NATIVE.iter().position(|n| n == name).unwrap_or(NATIVE.len()));
    for (name, requested) in asked {
        let used = used.get(name).copied().unwrap_or_default();
        let capacity = view.allocatable.get(name).copied().unwrap_or_default();
        if used + *requested > capacity {
            let number = |q: Quantity| if name == "cpu" { q.milli_value() } else { q.value() };
            return lacks(name, number(*requested), number(used), number(capacity));
        }
    }
    Ok(())
}

/// A port that a container wants on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostPort<'a> {
    pub(crate) ip: &'a str,
    pub(crate) protocol: &'a str,
    pub(crate) number: i32,
    pub(crate) container_port: i32,
}

/// A pod's ports on its node.
pub(crate) fn host_ports(pod: &Pod) -> impl Iterator<Item = HostPort<'_>> {
    let sidecars =
        pod.spec.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = pod.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
    ports.filter_map(|port| {
        Some(HostPort {
            ip: port.host_ip.as_deref().filter(|ip| !ip.is_empty()).unwrap_or("0.0.0.0"),
            protocol: port.protocol.as_deref().unwrap_or("TCP"),
            number: port.host_port.filter(|number| *number > 0)?,
            container_port: port.container_port,
        })
    })
}

fn collide(one: HostPort<'_>, other: HostPort<'_>) -> bool {
    let any = |ip| matches!(ip, "0.0.0.0" | "::");
    (one.protocol, one.number) == (other.protocol, other.number)
        && (one.ip == other.ip || any(one.ip) || any(other.ip))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        let qos = if spec.get("containers").is_none() { "BestEffort" } else { "Burstable" };
        let mut pod = json!({"status": {"qosClass": qos}});
        pod["spec"] = spec;
        serde_json::from_value(pod).unwrap()
    }

    fn asking(requests: Value) -> Value {
        let mut container = json!({"name": "c", "resources": {}});
        container["resources"]["requests"] = requests;
        json!({"containers": [container]})
    }

    fn check_on(node: Value, pressures: &[&'static str], spec: Value, expected: &str) {
        let mut node: Node = serde_json::from_value(node).unwrap();
        node.metadata.name = Some("node-1".into());
        let allocatable =
            [("cpu", "2"), ("memory", "1Gi"), ("pods", "2"), ("example.com/gpu", "1")]
                .map(|(name, amount)| (name.to_owned(), amount.parse().unwrap()));
        let mut other = asking(json!({"cpu": "1500m", "memory": "512Mi"}));
        other["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 8080}]);
        let other = pod(other);
        let view = View {
            node: &node,
            allocatable: &allocatable.into(),
            pods: &[&other],
            pressures,
            shutting_down: false,
        };
        let text = spec.to_string();
        let found = match admit(&pod(spec), &view) {
            Ok(()) => String::new(),
            Err(Rejection { reason, message }) => format!("{reason}: {message}"),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_pod_needs_room_its_labels_its_ports_and_tolerations() {
        let node = json!({"metadata": {"labels": {"disk": "ssd"}}});
        let check = |spec: Value, expected: &str| check_on(node.clone(), &[], spec, expected);
        check(asking(json!({"cpu": "500m", "memory": "512Mi"})), "");
        check(
            asking(json!({"cpu": "501m"})),
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000",
        );
        check(
            asking(json!({"cpu": "9", "memory": "1Gi"})),
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 9000, used: 1500, capacity: 2000",
        );
        check(
            asking(json!({"memory": "1Gi"})),
            "OutOfmemory: Node didn't have enough resource: memory, requested: 1073741824, used: 536870912, \
             capacity: 1073741824",
        );
        check(
            asking(json!({"example.com/gpu": "2"})),
            "OutOfexample.com/gpu: Node didn't have enough resource: example.com/gpu, requested: 2, used: 0, capacity: 1",
        );
        check(asking(json!({"example.com/unknown": "2"})), "");
        check(json!({"nodeSelector": {"disk": "ssd"}}), "");
        check(
            json!({"nodeSelector": {"disk": "hdd"}}),
            "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        );
        let port = |port: Value| json!({"containers": [{"name": "c", "ports": [port]}]});
        check(
            port(json!({"containerPort": 1, "hostPort": 8080, "hostIP": "127.0.0.1"})),
            "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
        );
        check(port(json!({"containerPort": 1, "hostPort": 8080, "protocol": "UDP"})), "");
        check(port(json!({"containerPort": 8080})), "");
        check(
            json!({"os": {"name": "windows"}}),
            "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS",
        );
    }

    #[test]
    fn only_taints_that_do_not_let_pods_stay_count() {
        let node = |effect: &str| json!({"spec": {"taints": [{"key": "k", "effect": effect}]}});
        let refused = "TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
        check_on(node("NoExecute"), &[], json!({}), refused);
        check_on(node("NoExecute"), &[], json!({"tolerations": [{"operator": "Exists"}]}), "");
        check_on(node("NoSchedule"), &[], json!({}), "");
    }

    #[test]
    fn a_node_in_need_takes_less() {
        let check = |pressures: &[&'static str], spec: Value, expected: &str| {
            check_on(json!({}), pressures, spec, expected);
        };
        let evicted = "Evicted: The node had condition: [MemoryPressure]. ";
        check(&["MemoryPressure"], json!({}), evicted);
        check(&["MemoryPressure"], asking(json!({"memory": "1Mi"})), "");
        check(&["MemoryPressure"], json!({"tolerations": [{"operator": "Exists"}]}), "");
        check(&["MemoryPressure"], json!({"priority": 2_000_000_000}), "");
        check(
            &["DiskPressure"],
            asking(json!({"memory": "1Mi"})),
            "Evicted: The node had condition: [DiskPressure]. ",
        );
    }
}
