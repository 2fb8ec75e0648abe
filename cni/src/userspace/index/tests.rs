use proptest::prelude::*;

use super::*;
use crate::rules::Endpoint;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 1, 9));

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// `address[:port] …` of a Service port: `c` ClusterIP, `e` external, `n` node port.
fn rule(claims: &str, endpoint: u8) -> ServiceRule {
    let mut rule = ServiceRule {
        protocol: Protocol::Tcp,
        cluster_ips: vec![],
        port: 80,
        node_port: None,
        external_ips: vec![],
        load_balancer_ips: vec![],
        source_ranges: vec![],
        affinity_seconds: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        endpoints: vec![Endpoint {
            address: ([10, 244, 0, endpoint], 80).into(),
            node: None,
            ready: true,
            serving: true,
            terminating: false,
            hints: None,
        }],
    };
    for claim in claims.split_whitespace() {
        match claim.split_at(1) {
            ("c", last) => rule.cluster_ips.push(format!("10.96.0.{last}").parse().unwrap()),
            ("e", last) => rule.external_ips.push(format!("10.96.0.{last}").parse().unwrap()),
            (_, port) => rule.node_port = Some(port.parse().unwrap()),
        }
    }
    rule
}

fn name(text: &str) -> ServicePortName {
    format!("default/{text}").parse().unwrap()
}

/// Who has `10.96.0.1:80`, `10.96.0.2:80`, node port 1 and 2.
fn owners(index: &Index) -> String {
    let virtual_owner =
        |last: u8| match index.lookup(Protocol::Tcp, CLIENT, ([10, 96, 0, last], 80).into()) {
            Lookup::Service(target, Traffic::Internal) => target.name.name.clone(),
            Lookup::Service(target, _) => format!("{}(e)", target.name.name),
            Lookup::ClosedPort => "closed".to_owned(),
            Lookup::Forbidden => "forbidden".to_owned(),
            Lookup::NotVirtual => "-".to_owned(),
        };
    let port_owner = |port| {
        index
            .node_port(Protocol::Tcp, port)
            .map_or_else(|| "-".to_owned(), |target| target.name.name.clone())
    };
    format!("{} {} {} {}", virtual_owner(1), virtual_owner(2), port_owner(1), port_owner(2))
}

#[test]
fn addresses_have_one_owner_at_a_time() {
    let mut rules = RuleSet::default();
    let mut index = Index::new(&rules, "node-1");
    // A step sets or (without claims) removes a Service; then who owns what.
    for (service, claims, expected) in [
        ("m", Some("c1 n1"), "m - m -"),
        // The same address twice counts once.
        ("m", Some("c1 e1 n1"), "m - m -"),
        ("a", Some("e1 e2 n1"), "m a(e) a -"),
        // A ClusterIP wins over an earlier name.
        ("z", Some("c2"), "m z a -"),
        ("z", None, "m a(e) a -"),
        ("m", None, "a(e) a(e) a -"),
        ("b", Some("e1 n2"), "a(e) a(e) a b"),
        // Another node port; the old one is free.
        ("a", Some("e2 n2"), "b(e) a(e) - a"),
        ("a", None, "b(e) - - b"),
        ("b", Some("c2"), "- b - -"),
        ("b", None, "- - - -"),
    ] {
        let mut delta = RuleDelta::default();
        delta.services.insert(name(service), claims.map(|claims| rule(claims, 1)));
        let replaced = rules.apply(delta);
        index.apply(&rules, &replaced);
        assert_eq!(owners(&index), expected, "{service} {claims:?}");
    }
    assert!(index.virtuals.is_empty() && index.virtual_ips.is_empty());
    assert!(index.node_ports.is_empty() && index.targets.is_empty());
}

#[test]
fn another_port_of_an_address_is_closed() {
    let mut rules = RuleSet::default();
    rules.services.insert(name("a"), rule("c1", 1));
    let index = Index::new(&rules, "node-1");
    let look = |protocol, to| index.lookup(protocol, CLIENT, at(to));
    assert!(matches!(look(Protocol::Tcp, "10.96.0.1:81"), Lookup::ClosedPort));
    assert!(matches!(look(Protocol::Udp, "10.96.0.1:80"), Lookup::ClosedPort));
    assert!(matches!(look(Protocol::Tcp, "10.96.0.9:80"), Lookup::NotVirtual));
}

#[test]
fn source_ranges_guard_the_load_balancers_addresses_alone() {
    let mut guarded = rule("c1 e2", 1);
    guarded.node_port = Some(30080);
    guarded.load_balancer_ips = vec!["10.96.0.3".parse().unwrap()];
    guarded.source_ranges = vec!["10.244.2.0/24".parse().unwrap(), "127.0.0.0/8".parse().unwrap()];
    let mut rules = RuleSet::default();
    rules.services.insert(name("a"), guarded);
    let index = Index::new(&rules, "node-1");
    let check = |from: &str, to: &str, expected: bool| {
        let found = index.lookup(Protocol::Tcp, from.parse().unwrap(), at(to));
        let inside = !matches!(found, Lookup::Forbidden);
        let client = ["127.9.9.9".parse().unwrap(), from.parse().unwrap()];
        assert_eq!(inside, expected, "{from} to {to}");
        // The host goes by two addresses, of which one suffices.
        assert!(index.virtual_address(Protocol::Tcp, &client, at(to)).is_some());
        let other = index.virtual_address(Protocol::Tcp, &client[1..], at(to));
        assert_eq!(other.is_some(), expected, "{from} to {to}");
    };
    check("10.244.2.7", "10.96.0.3:80", true);
    check("10.244.1.7", "10.96.0.3:80", false);
    check("192.168.1.1", "10.96.0.3:80", false);
    for elsewhere in ["10.96.0.1:80", "10.96.0.2:80"] {
        check("10.244.1.7", elsewhere, true);
    }
    assert!(index.node_port(Protocol::Tcp, 30080).is_some());
}

#[test]
fn the_nodes_own_zone_decides_again() {
    let mut near = rule("c1", 1);
    near.endpoints[0].hints =
        Some(Box::new(crate::rules::Hints { zones: vec!["z".into()], nodes: vec![] }));
    let mut far = near.endpoints[0].clone();
    far.address = at("10.244.0.2:80");
    far.hints = Some(Box::new(crate::rules::Hints { zones: vec!["y".into()], nodes: vec![] }));
    near.endpoints.push(far);
    let mut rules = RuleSet::default();
    rules.services.insert(name("a"), near);
    let mut index = Index::new(&rules, "node-1");
    let count =
        |index: &Index| match index.target(&name("a")).unwrap().candidates(Traffic::Internal) {
            Candidates::Endpoints(found) => found.len(),
            other => panic!("{other:?}"),
        };
    assert_eq!(count(&index), 2);
    for (zone, expected) in [(Some("z"), 1), (Some("x"), 2), (Some("y"), 1), (None, 2)] {
        let route = NodeRoute { zone: zone.map(str::to_owned), ..NodeRoute::default() };
        let mut delta = RuleDelta::default();
        delta.nodes.insert("node-1".into(), Some(route));
        let replaced = rules.apply(delta);
        index.apply(&rules, &replaced);
        assert_eq!(count(&index), expected, "{zone:?}");
    }
}

proptest! {
    /// Any changes lead to what a fresh index says.
    #[test]
    fn changes_lead_to_what_a_fresh_index_says(
        steps in proptest::collection::vec(
            ("[abc]", proptest::option::of("(c[12] )?(e[12] ){0,2}(n[12])?")), 0..40)
    ) {
        let mut rules = RuleSet::default();
        let mut index = Index::new(&rules, "node-1");
        for (service, claims) in steps {
            let mut delta = RuleDelta::default();
            delta.services.insert(name(&service), claims.map(|claims| rule(&claims, 1)));
            let replaced = rules.apply(delta);
            index.apply(&rules, &replaced);
            prop_assert_eq!(owners(&index), owners(&Index::new(&rules, "node-1")));
        }
    }
}
