//! The truth table: many policies, each against every pair of nine pods in three namespaces, on every port and protocol,
//! compared with an oracle that reads the policies' JSON as Kubernetes' specification has it.

mod cases;
mod oracle;

use std::net::{IpAddr, SocketAddr};

use cni::rules::{Direction, NamedPort, Protocol, RuleSet, Verdict};
use serde_json::{Value, json};

use super::*;

/// Namespaces x, y and z with pods a, b and c each, as the policy tests of Kubernetes have them; pods are spread over two
/// nodes.
pub(super) fn world() -> Vec<Value> {
    let mut pods = Vec::new();
    for (number, namespace) in (1_u8..).zip(["x", "y", "z"]) {
        for (index, name) in (1_u8..).zip(["a", "b", "c"]) {
            let node = 1 + index % 2;
            pods.push(json!({
                "namespace": namespace,
                "name": name,
                "node": format!("node-{node}"),
                "ip": format!("10.244.{node}.{}", 10 * number + index),
                "labels": {"pod": name, "tier": if name == "c" { "back" } else { "front" }},
                "ports": [
                    {"name": "serve-80-tcp", "protocol": "TCP", "port": 80},
                    {"name": "serve-81-tcp", "protocol": "TCP", "port": 81},
                    {"name": "serve-80-udp", "protocol": "UDP", "port": 80},
                    {"name": "web", "protocol": "TCP", "port": if name == "a" { 80 } else { 81 }},
                ],
            }));
        }
    }
    pods
}

pub(super) fn namespace_labels(name: &str) -> Value {
    json!({"ns": name, "team": if name == "z" { "ops" } else { "dev" }})
}

/// An address that is no pod's.
const OUTSIDE: &str = "192.168.1.1";

fn policies(case: &[Value]) -> Policies {
    let mut policies = Policies::default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let labels = |value: &Value| serde_json::from_value::<Labels>(value.clone()).unwrap();
    policies.replace_namespaces(
        ["x", "y", "z"].map(|name| (name.to_owned(), labels(&namespace_labels(name)))),
    );
    policies.replace_pods(world().iter().map(|pod| {
        let ports: Vec<NamedPort> = serde_json::from_value(pod["ports"].clone()).unwrap();
        let facts = PodFacts {
            ip: Some(text(&pod["ip"]).parse().unwrap()),
            node: text(&pod["node"]),
            labels: labels(&pod["labels"]),
            ports,
        };
        (ObjectKey::new(text(&pod["namespace"]), text(&pod["name"])), facts)
    }));
    for (index, policy) in case.iter().enumerate() {
        let key = ObjectKey::new(text(&policy["metadata"]["namespace"]), format!("p{index}"));
        policies.set_policy(key, &serde_json::from_value(policy.clone()).unwrap());
    }
    policies
}

/// What the tables of both nodes say: egress at the one, ingress at the other.
fn verdict(tables: &[RuleSet; 2], from: IpAddr, to: SocketAddr, protocol: Protocol) -> bool {
    let node = |ip: IpAddr| match ip {
        IpAddr::V4(v4) if v4.octets()[..2] == [10, 244] => Some(usize::from(v4.octets()[2] - 1)),
        _ => None,
    };
    if from == to.ip() {
        return true;
    }
    let leaves = node(from).is_none_or(|node| {
        tables[node].verdict(Direction::Egress, from, to.ip(), protocol, to).admits()
    });
    let enters = node(to.ip()).is_none_or(|node| {
        tables[node].verdict(Direction::Ingress, to.ip(), from, protocol, to).admits()
    });
    leaves && enters
}

#[test]
fn the_tables_agree_with_the_specification() {
    let cases = cases::all();
    assert!(cases.len() >= 230, "{} cases, 230 are promised", cases.len());
    let pods = world();
    let mut addresses: Vec<(IpAddr, Option<&Value>)> =
        pods.iter().map(|pod| (pod["ip"].as_str().unwrap().parse().unwrap(), Some(pod))).collect();
    addresses.push((OUTSIDE.parse().unwrap(), None));
    let (mut judged, mut denied) = (0, 0);
    for (name, case) in &cases {
        let compiled = policies(case);
        let tables = ["node-1", "node-2"].map(|node| compiled.compile(node));
        for (from, source) in &addresses {
            for (ip, target) in &addresses {
                for (protocol, text) in [(Protocol::Tcp, "TCP"), (Protocol::Udp, "UDP")] {
                    for port in [80, 81, 82, 8080] {
                        let to = SocketAddr::new(*ip, port);
                        let ours = verdict(&tables, *from, to, protocol);
                        let theirs =
                            oracle::allows(case, (*from, *source), (*ip, *target), text, port);
                        assert_eq!(ours, theirs, "{name}: {from} to {to} {text}\n{case:#?}");
                        judged += 1;
                        denied += usize::from(!ours);
                    }
                }
            }
        }
    }
    assert!(judged >= 230 * 81 * 8, "{judged}");
    // A table in which nearly everything is one would prove little.
    assert!((judged / 5..judged * 4 / 5).contains(&denied), "{denied} of {judged} are denied");
}

#[test]
fn only_what_concerns_the_node_is_in_its_tables() {
    let policy = |namespace: &str, pod: &str| {
        json!({"metadata": {"namespace": namespace}, "spec": {
            "podSelector": {"matchLabels": {"pod": pod}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"pod": "b"}}}], "ports": [{"port": "web"}]}]}})
    };
    // Pods a and c are on node-2, b on node-1.
    let compiled = policies(&[policy("x", "a"), policy("y", "b")]);
    let tables = compiled.compile("node-2");
    assert_eq!(tables.policed.len(), 1);
    assert_eq!(tables.policies.keys().collect::<Vec<_>>(), ["x/p0"]);
    assert_eq!(tables.ip_sets.keys().collect::<Vec<_>>(), ["x/pods(pod=b)"]);
    assert_eq!(tables.named_ports.len(), 9);
    let a: IpAddr = "10.244.2.11".parse().unwrap();
    let judge = |from: &str, port: u16| {
        let to = SocketAddr::new(a, port);
        tables.verdict(Direction::Ingress, a, from.parse().unwrap(), Protocol::Tcp, to)
    };
    assert_eq!(judge("10.244.1.12", 80), Verdict::Allowed { policy: "x/p0", rule: 0 });
    assert_eq!(judge("10.244.1.12", 81), Verdict::Denied(&["x/p0".to_owned()]));
    assert_eq!(judge("10.244.1.22", 80), Verdict::Denied(&["x/p0".to_owned()]));
    assert!(policies(&[]).compile("node-1") == RuleSet::default());
}

#[test]
fn tables_wait_until_pods_are_known_and_change_with_them() {
    let mut policies = Policies::default();
    let key = |name: &str| ObjectKey::new("x", name);
    let deny = json!({"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}});
    policies.set_policy(key("deny"), &serde_json::from_value(deny).unwrap());
    assert!(!policies.is_complete() && policies.take_changed("node-1").is_none());
    policies.replace_namespaces([]);
    policies.replace_pods([]);
    assert_eq!(policies.take_changed("node-1").unwrap().policed.len(), 0);
    assert!(policies.take_changed("node-1").is_none());
    let facts = PodFacts {
        ip: Some("10.244.1.2".parse().unwrap()),
        node: "node-1".into(),
        ..PodFacts::default()
    };
    policies.set_pod(key("a"), facts.clone());
    assert_eq!(policies.take_changed("node-1").unwrap().policed.len(), 1);
    policies.set_pod(key("a"), facts);
    assert!(policies.take_changed("node-1").is_none(), "nothing that policies look at has changed");
    policies.remove_policy(&key("deny"));
    assert_eq!(policies.take_changed("node-1").unwrap(), RuleSet::default());
}
