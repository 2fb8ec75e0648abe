//! What the specification says of a connection, read from the policies' JSON: the NetworkPolicy page of Kubernetes'
//! documentation and the API's field descriptions. Nothing of the compiler is used here.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::namespace_labels;

type End<'a> = (IpAddr, Option<&'a Value>);

/// A connection needs the leave of the source's egress policies and of the destination's ingress policies. A pod cannot
/// block itself.
pub(super) fn allows(
    policies: &[Value],
    from: End<'_>,
    to: End<'_>,
    protocol: &str,
    port: u16,
) -> bool {
    from.0 == to.0
        || (one_way(policies, "Egress", (from, to), to, protocol, port)
            && one_way(policies, "Ingress", (to, from), to, protocol, port))
}

fn one_way(
    policies: &[Value],
    direction: &str,
    (pod, other): (End<'_>, End<'_>),
    destination: End<'_>,
    protocol: &str,
    port: u16,
) -> bool {
    let Some(facts) = pod.1 else { return true };
    let applying: Vec<&Value> = policies
        .iter()
        .filter(|policy| policy["metadata"]["namespace"] == facts["namespace"])
        .filter(|policy| selects(&policy["spec"]["podSelector"], &facts["labels"]))
        .filter(|policy| types(policy).contains(&direction))
        .collect();
    // A pod is not isolated until a policy of this direction selects it.
    applying.is_empty()
        || applying.iter().any(|policy| {
            let (rules, peers) =
                if direction == "Ingress" { ("ingress", "from") } else { ("egress", "to") };
            list(&policy["spec"][rules]).iter().any(|rule| {
                let peers = list(&rule[peers]);
                let ports = list(&rule["ports"]);
                (peers.is_empty() || peers.iter().any(|peer| is_peer(policy, peer, other)))
                    && (ports.is_empty()
                        || ports
                            .iter()
                            .any(|wanted| is_port(wanted, destination.1, protocol, port)))
            })
        })
}

/// Without types a policy is for ingress, and for egress if it has egress rules.
fn types(policy: &Value) -> Vec<&str> {
    let given = list(&policy["spec"]["policyTypes"]);
    if !given.is_empty() {
        return given.iter().filter_map(Value::as_str).collect();
    }
    if list(&policy["spec"]["egress"]).is_empty() {
        vec!["Ingress"]
    } else {
        vec!["Ingress", "Egress"]
    }
}

fn is_peer(policy: &Value, peer: &Value, (ip, pod): End<'_>) -> bool {
    let block = &peer["ipBlock"];
    if !block.is_null() {
        let except = list(&block["except"]);
        return within(ip, &block["cidr"]) && !except.iter().any(|part| within(ip, part));
    }
    let Some(pod) = pod else { return false };
    let namespace = pod["namespace"].as_str().unwrap();
    let in_namespace = if peer["namespaceSelector"].is_null() {
        policy["metadata"]["namespace"] == namespace
    } else {
        selects(&peer["namespaceSelector"], &namespace_labels(namespace))
    };
    in_namespace && selects(&peer["podSelector"], &pod["labels"])
}

fn is_port(wanted: &Value, pod: Option<&Value>, protocol: &str, port: u16) -> bool {
    if wanted["protocol"].as_str().unwrap_or("TCP") != protocol {
        return false;
    }
    match &wanted["port"] {
        Value::Null => true,
        Value::Number(first) => {
            let first = first.as_u64().unwrap();
            let last = wanted["endPort"].as_u64().unwrap_or(first);
            (first..=last).contains(&u64::from(port))
        }
        name => pod.is_some_and(|pod| {
            list(&pod["ports"])
                .iter()
                .any(|p| p["name"] == *name && p["protocol"] == protocol && p["port"] == port)
        }),
    }
}

/// An absent selector selects what there is; an empty one, too.
fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object();
    let equal = equal.is_none_or(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value));
    let expressions = list(&selector["matchExpressions"]).iter().all(|expression| {
        let value = &labels[expression["key"].as_str().unwrap()];
        let listed = list(&expression["values"]).contains(value);
        match expression["operator"].as_str().unwrap() {
            "In" => listed,
            "NotIn" => value.is_null() || !listed,
            "Exists" => !value.is_null(),
            "DoesNotExist" => value.is_null(),
            other => panic!("{other}"),
        }
    });
    equal && expressions
}

fn within(ip: IpAddr, range: &Value) -> bool {
    let (base, bits) = range.as_str().unwrap().split_once('/').unwrap();
    let (base, bits): (Ipv4Addr, u32) = (base.parse().unwrap(), bits.parse().unwrap());
    let IpAddr::V4(ip) = ip else { return false };
    (0..bits).all(|bit| ((u32::from(ip) ^ u32::from(base)) >> (31 - bit)) & 1 == 0)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
