use super::*;
use crate::rules::Protocol;

/// Endpoints are written `node state [hint…]`, hints as `zone=z` or `node=n`. States: `ready`, `ending` (serving and
/// terminating), `failing` (not ready), `dead` (terminating and not serving).
fn endpoint(text: &str, last: u8) -> Endpoint {
    let mut words = text.split(' ');
    let (node, state) = (words.next().unwrap(), words.next().unwrap());
    let mut hints = Hints::default();
    for hint in words {
        match hint.split_once('=').unwrap() {
            ("zone", name) => hints.zones.push(name.to_owned()),
            (_, name) => hints.nodes.push(name.to_owned()),
        }
    }
    Endpoint {
        address: ([10, 244, 0, last], 80).into(),
        node: (node != "-").then(|| node.to_owned()),
        ready: state == "ready",
        serving: matches!(state, "ready" | "ending"),
        terminating: matches!(state, "ending" | "dead"),
        hints: (hints != Hints::default()).then(|| Box::new(hints)),
    }
}

fn rule(policy: TrafficPolicy, endpoints: &str) -> ServiceRule {
    let endpoints = endpoints.split(", ").filter(|text| !text.is_empty()).zip(1_u8..);
    ServiceRule {
        protocol: Protocol::Tcp,
        cluster_ips: vec![],
        port: 80,
        node_port: None,
        external_ips: vec![],
        load_balancer_ips: vec![],
        source_ranges: vec![],
        affinity_seconds: None,
        internal_policy: policy,
        external_policy: TrafficPolicy::Cluster,
        endpoints: endpoints.map(|(text, last)| endpoint(text, last)).collect(),
    }
}

/// The numbers of the endpoints that serve, counted from 1; `nobody`; `elsewhere` where none is local.
fn told(reachable: &Reachable<'_>) -> String {
    let number = |endpoint: &&Endpoint| match endpoint.address.ip() {
        std::net::IpAddr::V4(v4) => v4.octets()[3].to_string(),
        std::net::IpAddr::V6(_) => unreachable!("the pods are IPv4"),
    };
    match reachable {
        Reachable::Endpoints(found) => found.iter().map(number).collect::<Vec<_>>().join(" "),
        Reachable::NoneLocal => "elsewhere".to_owned(),
        Reachable::Nobody => "nobody".to_owned(),
    }
}

/// Who serves at node `a` in zone `z`.
#[test]
fn categorizes() {
    use TrafficPolicy::{Cluster, Local};
    let place = Place { node: "a", zone: Some("z") };
    for (policy, endpoints, expected) in [
        (Cluster, "", "nobody"),
        (Cluster, "a ready, b ready, b ending", "1 2"),
        (Cluster, "- ready", "1"),
        // Terminating ones serve only when nobody is ready.
        (Cluster, "a ending, b dead", "1"),
        (Cluster, "a ending, b ending, b failing", "1 2"),
        (Cluster, "a failing", "nobody"),
        (Cluster, "a dead", "nobody"),
        (Local, "", "nobody"),
        (Local, "b ready", "elsewhere"),
        (Local, "- ready", "elsewhere"),
        (Local, "b dead, a failing", "nobody"),
        (Local, "b ready, a ready", "2"),
        // A local one on its way out is better than none.
        (Local, "b ready, a ending, a dead", "2"),
        (Local, "b ready, a ending, a ready", "3"),
        (Local, "b ending", "elsewhere"),
        (Local, "b ready, a failing", "elsewhere"),
        // Hints: only when all ready ones have them and one is meant for here.
        (Cluster, "a ready zone=z, b ready zone=y", "1"),
        (Cluster, "a ready zone=y, b ready zone=y", "1 2"),
        (Cluster, "a ready zone=z, b ready", "1 2"),
        (Cluster, "a ready zone=y zone=z, b ready zone=y", "1"),
        (Cluster, "a ready zone=z, b ending", "1"),
        (Cluster, "a failing zone=z, b ready zone=y", "2"),
        (Cluster, "a ending zone=z, b ready zone=y", "2"),
        // When only terminating ones are left, hints no longer count.
        (Cluster, "a ending zone=z, b ending zone=y", "1 2"),
        // Nodes before zones.
        (Cluster, "a ready node=a zone=z, b ready node=b zone=z", "1"),
        (Cluster, "b ready node=b zone=z, c ready node=c zone=y", "1"),
        (Cluster, "b ready node=b, c ready node=c", "1 2"),
        (Cluster, "a ready node=a zone=z, b ready zone=z", "1 2"),
        (Local, "a ready zone=y, b ready zone=z", "1"),
    ] {
        let rule = rule(policy, endpoints);
        assert_eq!(told(&rule.reachable(Traffic::Internal, place)), expected, "{endpoints}");
    }
    let unzoned = rule(Cluster, "a ready zone=z, b ready zone=y");
    let place = Place { node: "a", zone: None };
    assert_eq!(told(&unzoned.reachable(Traffic::Internal, place)), "1 2", "a node without a zone");
}

#[test]
fn each_traffic_has_its_policy() {
    let place = Place { node: "a", zone: None };
    let internal = rule(TrafficPolicy::Local, "b ready");
    let external = ServiceRule {
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Local,
        ..internal.clone()
    };
    for (rule, traffic, expected) in [
        (&internal, Traffic::Internal, "elsewhere"),
        (&internal, Traffic::External, "1"),
        (&internal, Traffic::ExternalFromInside, "1"),
        (&external, Traffic::Internal, "1"),
        (&external, Traffic::External, "elsewhere"),
        (&external, Traffic::ExternalFromInside, "1"),
    ] {
        assert_eq!(told(&rule.reachable(traffic, place)), expected, "{traffic:?}");
    }
}
