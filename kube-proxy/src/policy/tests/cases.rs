//! The cases: every peer with every choice of ports in both directions, then what policies come to together.

use serde_json::{Value, json};

/// A name and the policies of each case.
pub(super) fn all() -> Vec<(String, Vec<Value>)> {
    let mut cases = alone();
    cases.extend(selecting());
    cases.extend(together());
    cases
}

fn policy(namespace: &str, pods: &Value, spec: &Value) -> Value {
    let mut policy = json!({"metadata": {"namespace": namespace}, "spec": spec});
    policy["spec"]["podSelector"] = pods.clone();
    policy
}

fn label(key: &str, value: &str) -> Value {
    json!({"matchLabels": {key: value}})
}

fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
    let mut expression = json!({"key": key, "operator": operator});
    if !values.is_empty() {
        expression["values"] = json!(values);
    }
    json!({"matchExpressions": [expression]})
}

fn pods(selector: &Value) -> Value {
    json!({"podSelector": selector})
}

fn namespaces(selector: &Value) -> Value {
    json!({"namespaceSelector": selector})
}

fn both(namespaces: &Value, pods: &Value) -> Value {
    json!({"namespaceSelector": namespaces, "podSelector": pods})
}

fn block(cidr: &str, except: &[&str]) -> Value {
    json!({"ipBlock": {"cidr": cidr, "except": except}})
}

/// Lists of peers.
fn peers() -> Vec<(&'static str, Value)> {
    let any = json!({});
    let dev_but_x = json!({"matchLabels": {"team": "dev"},
        "matchExpressions": [{"key": "ns", "operator": "NotIn", "values": ["x"]}]});
    let (b, y) = (label("pod", "b"), label("ns", "y"));
    vec![
        ("everybody", json!(null)),
        ("an empty list", json!([])),
        ("own pods", json!([pods(&any)])),
        ("own pod b", json!([pods(&b)])),
        ("all namespaces", json!([namespaces(&any)])),
        ("namespace y", json!([namespaces(&y)])),
        ("dev namespaces but x", json!([namespaces(&dev_but_x)])),
        ("pod b of namespace y", json!([both(&y, &b)])),
        ("pods b, or namespace y", json!([pods(&b), namespaces(&y)])),
        ("front pods anywhere", json!([both(&any, &label("tier", "front"))])),
        ("pods that are not c", json!([both(&any, &expression("pod", "NotIn", &["c"]))])),
        ("pods without a label", json!([both(&any, &expression("absent", "DoesNotExist", &[]))])),
        ("no pod", json!([pods(&expression("absent", "Exists", &[]))])),
        ("node-1's pods", json!([block("10.244.1.0/24", &[])])),
        ("all addresses but node-2's", json!([block("0.0.0.0/0", &["10.244.2.0/24"])])),
        ("pods but some", json!([block("10.244.0.0/16", &["10.244.1.12/32", "10.244.2.16/29"])])),
        ("the host alone", json!([block("192.168.1.1/32", &[])])),
        ("the host, or own pods", json!([block("192.168.1.0/24", &[]), pods(&any)])),
    ]
}

/// Lists of ports.
fn ports() -> Vec<(&'static str, Value)> {
    vec![
        ("all ports", json!(null)),
        ("80", json!([{"port": 80}])),
        ("UDP 80", json!([{"port": 80, "protocol": "UDP"}])),
        ("all of UDP", json!([{"protocol": "UDP"}])),
        (
            "80 to 81 and UDP 81",
            json!([{"port": 80, "endPort": 81}, {"port": 81, "protocol": "UDP"}]),
        ),
        ("port web", json!([{"port": "web"}])),
        (
            "a name that is UDP's, and one that nobody has",
            json!([{"port": "serve-80-udp"}, {"port": "none"}]),
        ),
        ("SCTP alone", json!([{"port": 80, "protocol": "SCTP"}])),
    ]
}

/// Each list of peers with each of ports, as ingress and as egress of all pods: what no policy selects is open, and
/// would be the larger part.
fn alone() -> Vec<(String, Vec<Value>)> {
    let mut cases = Vec::new();
    for (who, peers) in peers() {
        for (which, ports) in ports() {
            for (direction, list, other_end) in
                [("Ingress", "ingress", "from"), ("Egress", "egress", "to")]
            {
                let mut rule = json!({});
                if !peers.is_null() {
                    rule[other_end] = peers.clone();
                }
                if !ports.is_null() {
                    rule["ports"] = ports.clone();
                }
                let spec = json!({"policyTypes": [direction], list: [rule]});
                let policies = ["x", "y", "z"].map(|ns| policy(ns, &json!({}), &spec));
                cases.push((format!("{direction}: {who}, {which}"), policies.to_vec()));
            }
        }
    }
    cases
}

/// Whom policies are for, and what their types default to.
fn selecting() -> Vec<(String, Vec<Value>)> {
    let selectors = [
        ("all", json!({})),
        ("a", label("pod", "a")),
        ("a or b", expression("pod", "In", &["a", "b"])),
        ("not a", expression("pod", "NotIn", &["a"])),
        ("with a tier", expression("tier", "Exists", &[])),
        ("nobody", label("pod", "nobody")),
    ];
    let specs = [
        ("denies all ingress", json!({"policyTypes": ["Ingress"]})),
        ("denies all egress", json!({"policyTypes": ["Egress"]})),
        ("denies both", json!({"policyTypes": ["Ingress", "Egress"]})),
        ("has no types", json!({})),
        ("has no types, but egress", json!({"egress": [{"to": [{"podSelector": {}}]}]})),
        ("has no types, but ingress", json!({"ingress": [{}]})),
        ("names egress for ingress rules", json!({"policyTypes": ["Egress"], "ingress": [{}]})),
    ];
    let mut cases = Vec::new();
    for (whom, selector) in &selectors {
        for (what, spec) in &specs {
            let policies = ["x", "z"].map(|ns| policy(ns, selector, spec));
            cases.push((format!("{whom}: {what}"), policies.to_vec()));
        }
    }
    cases
}

fn deny(namespace: &str) -> Value {
    policy(namespace, &json!({}), &json!({"policyTypes": ["Ingress", "Egress"]}))
}

fn ingress(from: &Value, port: &Value) -> Value {
    json!({"policyTypes": ["Ingress"], "ingress": [{"from": [from], "ports": [port]}]})
}

fn egress(to: &Value) -> Value {
    json!({"policyTypes": ["Egress"], "egress": [{"to": [to]}]})
}

/// Policies add up: each allows something more.
fn together() -> Vec<(String, Vec<Value>)> {
    let all = json!({});
    let from_b = pods(&label("pod", "b"));
    let from_y = namespaces(&label("ns", "y"));
    let from_x = namespaces(&label("ns", "x"));
    let open = json!({"ingress": [{}], "egress": [{}]});
    let rules = json!({"policyTypes": ["Ingress"], "ingress": [
        {"from": [from_b], "ports": [{"port": 80}]},
        {"from": [from_y], "ports": [{"protocol": "UDP"}]},
        {"ports": [{"port": 8080}]},
    ]});
    let port = |port: Value| json!({"port": port});
    let mut cases = vec![
        ("deny everywhere".to_owned(), ["x", "y", "z"].map(deny).to_vec()),
        (
            "deny, and let b come to 80".to_owned(),
            vec![
                deny("x"),
                policy("x", &all, &ingress(&from_b, &port(json!(80)))),
                policy("x", &all, &egress(&block("0.0.0.0/0", &[]))),
            ],
        ),
        (
            "two policies for two peers".to_owned(),
            vec![
                policy("x", &label("pod", "a"), &ingress(&from_b, &port(json!(80)))),
                policy("x", &all, &ingress(&from_y, &port(json!(81)))),
            ],
        ),
        (
            "egress here, ingress there".to_owned(),
            vec![
                policy("x", &all, &egress(&from_y)),
                policy("y", &label("pod", "a"), &ingress(&from_x, &port(json!("web")))),
            ],
        ),
        ("several rules of one policy".to_owned(), vec![policy("z", &all, &rules)]),
        ("no policy".to_owned(), vec![]),
    ];
    for (first, second) in [("x", "y"), ("y", "z"), ("z", "x")] {
        let opened = json!({"policyTypes": ["Ingress"], "ingress": [{}]});
        let policies = vec![deny(first), policy(second, &all, &opened)];
        cases.push((format!("deny {first}, open {second}"), policies));
        let policies = vec![deny(first), policy(first, &all, &open)];
        cases.push((format!("deny and open {first}"), policies));
    }
    cases
}
