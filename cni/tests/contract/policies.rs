//! NetworkPolicies: what is dropped looks lost, and gets through as soon as the rules let it.

use std::{io::ErrorKind, net::IpAddr, time::Duration};

use cni::{
    rules::{Peer, Policy, PolicyRule, RuleSet},
    userspace::{Node, RuleChange},
};
use component_base::clock::Clock;

use crate::world::{PLACES, Place, World, ask, at, dial, ip, rules};

/// The world's rules with one policy for one pod.
fn policed(world: &World, pod: IpAddr, policy: &Policy) -> RuleSet {
    let mut rules = rules(world.server, &format!("node-{}", world.place.node()));
    rules.policies.insert("default/p".into(), policy.clone());
    rules.policed.insert(pod, vec!["default/p".into()]);
    rules
}

async fn apply(node: &Node, rules: RuleSet) {
    let generation = node.generation() + 1;
    node.apply_rules(RuleChange::Full(rules), generation).await.unwrap();
}

fn only(range: &str) -> Option<Vec<PolicyRule>> {
    let peer = Peer::Block { cidr: range.parse().unwrap(), except: vec![] };
    Some(vec![PolicyRule { peers: vec![peer], ports: vec![] }])
}

/// Egress is judged where the connection starts, on the endpoint behind a Service; a pod may speak to itself.
#[tokio::test]
async fn egress_is_judged_after_translation() {
    for place in PLACES {
        let world = World::start(place).await;
        let deny = Policy { egress: Some(vec![]), ..Policy::default() };
        apply(&world.nodes[0], policed(&world, world.client.ip(), &deny)).await;
        for to in [at(world.server, 8080), at(ip("10.96.0.50"), 80)] {
            let outcome = dial(&world.client, to).await.map(drop);
            let expected = if place == Place::SamePod { Ok(()) } else { Err(ErrorKind::TimedOut) };
            assert_eq!(outcome, expected, "{place:?} to {to}");
        }
        // The Service's own address is nobody's: only its endpoints are judged.
        let service = Policy { egress: only("10.96.0.50/32"), ..Policy::default() };
        apply(&world.nodes[0], policed(&world, world.client.ip(), &service)).await;
        let outcome = dial(&world.client, at(ip("10.96.0.50"), 80)).await;
        assert_eq!(outcome.is_ok(), place == Place::SamePod, "{place:?}");
        let server = Policy { egress: only(&format!("{}/32", world.server)), ..Policy::default() };
        apply(&world.nodes[0], policed(&world, world.client.ip(), &server)).await;
        let stream = dial(&world.client, at(ip("10.96.0.50"), 80)).await.unwrap();
        assert_eq!(ask(stream, "x").await.2, "x", "{place:?}");
        world.stop().await;
    }
}

/// Ingress is judged where the pod is. Its node always gets in: probes must.
#[tokio::test]
async fn ingress_is_judged_at_the_pod() {
    for place in [Place::SameNode, Place::OtherNode] {
        let world = World::start(place).await;
        let node = &world.nodes[usize::from(place.node()) - 1];
        let deny = Policy { ingress: Some(vec![]), ..Policy::default() };
        apply(node, policed(&world, world.server, &deny)).await;
        let to = at(world.server, 8080);
        let outcome = dial(&world.client, to).await.map(drop);
        assert_eq!(outcome, Err(ErrorKind::TimedOut), "{place:?}");
        assert!(dial(&node.own_sandbox(), to).await.is_ok(), "{place:?}: a probe");

        // A connection that is being dropped gets through once the rules allow it, as one that is tried again would.
        let allow = Policy { ingress: only("10.244.1.0/24"), ..Policy::default() };
        let dialling = dial(&world.client, to);
        let changing = async {
            Clock::real().sleep(Duration::from_millis(20)).await;
            apply(node, policed(&world, world.server, &allow)).await;
        };
        let (stream, ()) = tokio::join!(dialling, changing);
        assert_eq!(ask(stream.unwrap(), "late").await.2, "late", "{place:?}");
        world.stop().await;
    }
}

/// Datagrams that are dropped are lost without a word; the answers to those that were sent come back whatever the
/// policies say of the way in.
#[tokio::test]
async fn datagrams_are_judged_by_conversation() {
    for place in [Place::SameNode, Place::OtherNode, Place::OtherProcess] {
        let world = World::start(place).await;
        let answers = async || {
            let socket = world.client.bind_udp("0.0.0.0:0".parse().unwrap()).await.unwrap();
            socket.send_to(b"name?", at(ip("10.96.0.53"), 53)).await.unwrap();
            let mut buffer = [0; 64];
            let receiving = socket.recv_from(&mut buffer);
            Clock::real().timeout(Duration::from_millis(200), receiving).await.is_ok()
        };
        assert!(answers().await, "{place:?}: open");
        let no_ingress = Policy { ingress: Some(vec![]), ..Policy::default() };
        apply(&world.nodes[0], policed(&world, world.client.ip(), &no_ingress)).await;
        assert!(answers().await, "{place:?}: an answer is no new conversation");
        let no_egress = Policy { egress: Some(vec![]), ..Policy::default() };
        apply(&world.nodes[0], policed(&world, world.client.ip(), &no_egress)).await;
        assert!(!answers().await, "{place:?}: kept in");
        world.stop().await;
    }
}
