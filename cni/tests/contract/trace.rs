//! The tracer against the data plane: whatever happens to a connection, the trace of it says so.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use cni::{
    network::PodStream,
    rules::{Endpoint, Peer, Policy, PolicyRule, Protocol, RuleSet, ServiceRule, TrafficPolicy},
    trace::{Hop, Judgement, Missing, Origin, Outcome, Question, Trace, World as Known},
    userspace::RuleChange,
};
use component_base::clock::Clock;
use tokio::net::TcpStream;

use crate::world::{Place, World, at, dial, endpoint, ip, rules, service};

async fn known(world: &World) -> Known {
    let mut known = Known::default();
    for node in &world.nodes {
        known.insert(node.report().await);
    }
    known
}

fn of_client(world: &World, to: SocketAddr, protocol: Protocol) -> Question {
    let origin = Origin::Pod { node: "node-1".into(), ip: world.client.ip() };
    Question { origin, to, protocol, drawn: None }
}

fn outcome_of(error: Option<ErrorKind>) -> Outcome {
    match error {
        None => Outcome::Delivered,
        Some(ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => Outcome::Refused,
        Some(ErrorKind::TimedOut) => Outcome::TimedOut,
        Some(ErrorKind::HostUnreachable) => Outcome::NoRoute,
        Some(other) => panic!("{other}"),
    }
}

fn range(range: &str) -> Option<Vec<PolicyRule>> {
    let peer = Peer::Block { cidr: range.parse().unwrap(), except: vec![] };
    Some(vec![PolicyRule { peers: vec![peer], ports: vec![] }])
}

/// The world's rules, with Services of mixed endpoints, and policies for the server and the client.
fn rule_sets(world: &World) -> Vec<RuleSet> {
    let node = format!("node-{}", world.place.node());
    let mut plain = rules(world.server, &node);
    let deaf = endpoint(at(world.server, 81), &node);
    let good = endpoint(at(world.server, 8080), &node);
    let gone = endpoint(at(ip("10.244.77.7"), 80), "node-9");
    let unready = Endpoint { ready: false, serving: false, ..good.clone() };
    let mut add = |name: &str, rule| drop(plain.services.insert(name.parse().unwrap(), rule));
    add("default/mixed", service("10.96.0.60", vec![deaf.clone(), gone, good.clone()]));
    add("default/deaf", service("10.96.0.61", vec![deaf]));
    add("default/unready", service("10.96.0.62", vec![unready]));
    let sticky = ServiceRule { affinity_seconds: Some(60), ..service("10.96.0.63", vec![good]) };
    add("default/sticky", sticky.clone());
    let balancer = vec![ip("127.77.0.1")];
    add(
        "default/guarded",
        ServiceRule {
            load_balancer_ips: balancer,
            source_ranges: vec!["10.9.0.0/16".parse().unwrap()],
            internal_policy: TrafficPolicy::Local,
            cluster_ips: vec![ip("10.96.0.64")],
            ..sticky
        },
    );
    let mut sets = vec![plain.clone()];
    let policies = [
        Policy { ingress: Some(vec![]), ..Policy::default() },
        Policy { egress: Some(vec![]), ..Policy::default() },
        Policy { ingress: range("10.244.1.0/24"), egress: range("10.96.0.0/16") },
        Policy { ingress: range("192.168.1.0/24"), egress: range("10.244.0.0/16") },
    ];
    for policy in policies {
        let mut policed = plain.clone();
        policed.policies.insert("default/p".into(), policy);
        for pod in [world.server, world.client.ip()] {
            policed.policed.insert(pod, vec!["default/p".into()]);
        }
        sets.push(policed);
    }
    sets
}

fn targets(world: &World) -> Vec<SocketAddr> {
    let services = (50..=54).chain(60..=64).map(|n| (IpAddr::from([10, 96, 0, n]), 80));
    let nodes = (101..=103).map(|n| IpAddr::from([192, 168, 1, n]));
    let node_ports = nodes.flat_map(|node| [30080, 30081, 30082, 81].map(|port| (node, port)));
    let plain = [
        (world.server, 8080),
        (world.server, 81),
        (ip("10.96.0.50"), 81),
        (ip("127.0.0.1"), 8080),
        (ip("0.0.0.0"), 8080),
        (ip("127.77.0.1"), 80),
        (ip("10.244.1.1"), 80),
        (ip("10.244.2.99"), 80),
        (ip("10.244.77.1"), 80),
        (ip("8.8.8.8"), 53),
    ];
    services.chain(node_ports).chain(plain).map(|(ip, port)| at(ip, port)).collect()
}

#[tokio::test]
async fn the_trace_of_a_connection_is_what_happens_to_it() {
    for place in [Place::SamePod, Place::SameNode, Place::OtherNode] {
        let world = World::start(place).await;
        for (set, rules) in rule_sets(&world).into_iter().enumerate() {
            for node in &world.nodes {
                let change = RuleChange::Full(rules.clone());
                node.apply_rules(change, node.generation() + 1).await.unwrap();
            }
            let known = known(&world).await;
            let check = async |to: SocketAddr| {
                let by_pod = known.trace(&of_client(&world, to, Protocol::Tcp)).unwrap();
                let real = dial(&world.client, to).await;
                let endpoint = real.as_ref().ok().and_then(PodStream::endpoint);
                let told = format!("{place:?}, rules {set}, to {to}: {by_pod:#?}");
                assert_eq!(by_pod.outcome, outcome_of(real.err()), "{told}");
                if let Some(endpoint) = endpoint {
                    assert_eq!(chosen(&by_pod), Some(endpoint), "{told}");
                }
                let question = Question {
                    origin: Origin::Node("node-1".into()),
                    ..of_client(&world, to, Protocol::Tcp)
                };
                let by_node = known.trace(&question).unwrap();
                let real = dial(&world.nodes[0].own_sandbox(), to).await;
                let told = format!("node, {place:?}, rules {set}, to {to}: {by_node:#?}");
                assert_eq!(by_node.outcome, outcome_of(real.err()), "{told}");
            };
            futures::future::join_all(targets(&world).into_iter().map(check)).await;
        }
        world.stop().await;
    }
}

fn chosen(trace: &Trace) -> Option<SocketAddr> {
    trace.hops.iter().find_map(|hop| match hop {
        Hop::Service { endpoints, .. } => endpoints.iter().find(|e| e.chosen).map(|e| e.address),
        _ => None,
    })
}

#[tokio::test]
async fn what_comes_from_the_host_is_traced_from_the_address_that_is_open() {
    for place in [Place::SameNode, Place::OtherNode] {
        let world = World::start(place).await;
        let known = known(&world).await;
        for port in [30080, 30081, 30082, 30099] {
            let to = at(world.external_ip, port);
            let question =
                Question { origin: Origin::Host, to, protocol: Protocol::Tcp, drawn: None };
            let trace = known.trace(&question).unwrap();
            let real = TcpStream::connect(to).await.map_err(|error| error.kind());
            assert_eq!(trace.outcome, outcome_of(real.err()), "{place:?} {port}: {trace:#?}");
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn datagrams_are_traced_as_they_go() {
    let world = World::start(Place::OtherNode).await;
    let known = known(&world).await;
    let check = async |to: SocketAddr, expected| {
        let trace = known.trace(&of_client(&world, to, Protocol::Udp)).unwrap();
        assert_eq!(trace.outcome, expected, "{to}: {trace:#?}");
        let socket = world.client.bind_udp("0.0.0.0:0".parse().unwrap()).await.unwrap();
        socket.connect(to).unwrap();
        socket.send(b"x").await.unwrap();
        let mut buffer = [0; 64];
        let patience = Duration::from_millis(200);
        let real = Clock::real().timeout(patience, socket.recv(&mut buffer)).await;
        let real = match real {
            Err(_) => Outcome::TimedOut,
            Ok(answer) => outcome_of(answer.err().map(|error| error.kind())),
        };
        assert_eq!(real, expected, "{to}");
    };
    check(at(ip("10.96.0.53"), 53), Outcome::Delivered).await;
    check(at(ip("192.168.1.103"), 30053), Outcome::Delivered).await;
    check(at(world.server, 5353), Outcome::Delivered).await;
    check(at(world.server, 53), Outcome::Refused).await;
    world.stop().await;
}

/// The steps themselves, once in full, and the nodes that are asked for.
#[tokio::test]
async fn a_trace_tells_each_step() {
    let world = World::start(Place::OtherNode).await;
    let to = at(ip("10.96.0.50"), 80);
    let question = of_client(&world, to, Protocol::Tcp);
    let mut known = Known::default();
    let missing = |node: &str| Missing([node.to_owned()].into());
    assert_eq!(known.trace(&question).unwrap_err(), missing("node-1"));
    known.insert(world.nodes[0].report().await);
    assert_eq!(known.trace(&question).unwrap_err(), missing("node-2"));
    known.insert_silent("node-2");
    assert_eq!(known.trace(&question).unwrap().outcome, Outcome::Unknown);
    known.insert(world.nodes[1].report().await);
    let trace = known.trace(&question).unwrap();
    let [
        Hop::Service { service, endpoints, .. },
        Hop::Policy { judgement: Judgement::Open, .. },
        Hop::Route { node, .. },
        Hop::Policy { judgement: Judgement::Open, .. },
        Hop::Port { pod, listening: true, .. },
    ] = trace.hops.as_slice()
    else {
        panic!("{trace:#?}")
    };
    assert_eq!(service.to_string(), "default/web");
    assert_eq!((endpoints.len(), endpoints[0].odds), (1, 1.0));
    assert_eq!(node, "node-1");
    assert_eq!(pod.as_ref().map(|(_, name)| name.as_str()), Some("server"));
    // What was told can be sent.
    let wire = serde_json::to_string(&world.nodes[0].report().await).unwrap();
    known.insert(serde_json::from_str(&wire).unwrap());
    assert_eq!(known.trace(&question).unwrap(), trace);
    let wire = serde_json::to_string(&trace).unwrap();
    assert_eq!(serde_json::from_str::<Trace>(&wire).unwrap(), trace);
    world.stop().await;
}
