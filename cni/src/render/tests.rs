use std::collections::BTreeSet;

use super::*;
use crate::{
    report::Addresses,
    rules::{Endpoint, NamedPort, Peer, Policy, PolicyRule, PortMatch, Ports, RuleSet},
    stance::Stance,
};

fn report() -> NodeReport {
    let endpoint = |address: &str, node: &str| Endpoint {
        address: address.parse().unwrap(),
        node: Some(node.into()),
        ready: true,
        serving: true,
        terminating: false,
        hints: None,
    };
    let rule = |ip: &str, endpoints| ServiceRule {
        protocol: Protocol::Tcp,
        cluster_ips: vec![ip.parse().unwrap()],
        port: 80,
        node_port: None,
        external_ips: vec![],
        load_balancer_ips: vec![],
        source_ranges: vec![],
        affinity_seconds: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        endpoints,
    };
    let mut rules = RuleSet::default();
    let mut add = |name: &str, rule| drop(rules.services.insert(name.parse().unwrap(), rule));
    let pair = vec![endpoint("10.244.1.2:8080", "node-1"), endpoint("10.244.2.3:8080", "node-2")];
    add("default/web", ServiceRule { node_port: Some(30080), ..rule("10.96.0.50", pair.clone()) });
    add("default/none", ServiceRule { node_port: Some(30081), ..rule("10.96.0.51", vec![]) });
    let far = vec![pair[1].clone()];
    let local = TrafficPolicy::Local;
    add("default/far", ServiceRule { internal_policy: local, ..rule("10.96.0.52", far) });
    add(
        "default/lb:http",
        ServiceRule {
            load_balancer_ips: vec!["127.1.0.128".parse().unwrap()],
            source_ranges: vec!["192.168.1.0/24".parse().unwrap()],
            external_policy: local,
            affinity_seconds: Some(600),
            ..rule("10.96.0.53", pair)
        },
    );
    let port = |port| PortMatch { protocol: Protocol::Tcp, port };
    let policy = Policy {
        ingress: Some(vec![PolicyRule {
            peers: vec![
                Peer::Set("default/pods(role=friend)".into()),
                Peer::Block {
                    cidr: "10.0.0.0/8".parse().unwrap(),
                    except: vec!["10.9.0.0/16".parse().unwrap()],
                },
            ],
            ports: vec![port(Ports::Range(80, 80)), port(Ports::Named("http".into()))],
        }]),
        egress: None,
    };
    rules.policies.insert("default/allow".into(), policy);
    let pod: IpAddr = "10.244.1.2".parse().unwrap();
    rules.policed.insert(pod, vec!["default/allow".into()]);
    let friends = BTreeSet::from(["10.244.2.9".parse().unwrap()]);
    rules.ip_sets.insert("default/pods(role=friend)".into(), friends);
    let named = NamedPort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 };
    rules.named_ports.insert(pod, vec![named]);
    NodeReport {
        stance: Stance {
            node: "node-1".into(),
            address: "192.168.1.101".parse().unwrap(),
            pod_cidr: "10.244.1.0/24".parse().unwrap(),
            host_address: "192.168.1.1".parse().unwrap(),
            backends: vec![],
            egress: false,
            virtual_ranges: vec!["10.244.0.0/16".parse().unwrap()],
        },
        boot_id: "x".into(),
        generation: 1,
        programmed_seconds_ago: None,
        rules,
        pods: vec![],
        listening: vec![],
        host: vec![],
        refused: vec![],
        affinity: vec![],
        addresses: Addresses::default(),
    }
}

/// Lines as `iptables-save` prints them after kube-proxy, word for word.
#[test]
fn iptables_are_kube_proxys() {
    let text = iptables_save(&report());
    let has = |line: &str| assert!(text.lines().any(|l| l == line), "no {line}\nin\n{text}");
    let svc = names::port_chain("KUBE-SVC-", &"default/web".parse().unwrap(), Protocol::Tcp);
    let sep = |ip: &str| {
        let endpoint = ip.parse().unwrap();
        names::endpoint_chain(&"default/web".parse().unwrap(), Protocol::Tcp, endpoint)
    };
    let ext = svc.replace("SVC", "EXT");
    has(&format!(
        "-A KUBE-SERVICES -d 10.96.0.50/32 -p tcp -m comment --comment \"default/web cluster IP\" -m tcp --dport 80 -j {svc}"
    ));
    has(&format!(
        "-A {svc} ! -s 10.244.0.0/16 -d 10.96.0.50/32 -p tcp -m comment --comment \"default/web cluster IP\" -m tcp --dport 80 -j KUBE-MARK-MASQ"
    ));
    has(&format!(
        "-A {svc} -m comment --comment \"default/web -> 10.244.1.2:8080\" -m statistic --mode random --probability 0.50000000000 -j {}",
        sep("10.244.1.2:8080")
    ));
    has(&format!(
        "-A {svc} -m comment --comment \"default/web -> 10.244.2.3:8080\" -j {}",
        sep("10.244.2.3:8080")
    ));
    has(&format!(
        "-A {} -p tcp -m comment --comment \"default/web\" -m tcp -j DNAT --to-destination 10.244.1.2:8080",
        sep("10.244.1.2:8080")
    ));
    has(&format!(
        "-A KUBE-NODEPORTS -p tcp -m comment --comment \"default/web\" -m tcp --dport 30080 -j {ext}"
    ));
    has(&format!("-A {ext} -j {svc}"));
    has(
        "-A KUBE-SERVICES -d 10.96.0.51/32 -p tcp -m comment --comment \"default/none has no endpoints\" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable",
    );
    has(
        "-A KUBE-SERVICES -d 10.96.0.52/32 -p tcp -m comment --comment \"default/far has no local endpoints\" -m tcp --dport 80 -j DROP",
    );
    has(
        "-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment \"default/none has no endpoints\" -m addrtype --dst-type LOCAL -m tcp --dport 30081 -j REJECT --reject-with icmp-port-unreachable",
    );
    assert!(text.contains("-m recent --rcheck --seconds 600 --reap --name KUBE-SEP-"), "{text}");
    assert!(text.contains(
        "-s 192.168.1.0/24 -m comment --comment \"default/lb:http loadbalancer IP\" -j KUBE-EXT-"
    ));
    assert!(
        text.contains("-p tcp -m tcp --dport 80 -m comment --comment \"default/allow\" -j MARK")
    );
}

/// Whatever is jumped to is there, and every chain belongs to its table.
#[test]
fn no_chain_leads_nowhere() {
    let text = iptables_save(&report());
    for table in text.split("COMMIT\n").filter(|table| table.contains('*')) {
        let chains: BTreeSet<&str> =
            table.lines().filter_map(|l| l.strip_prefix(':')?.split(' ').next()).collect();
        let targets = table.lines().filter_map(|l| l.split(" -j ").nth(1)?.split(' ').next());
        let ends = ["MARK", "MASQUERADE", "RETURN", "DROP", "REJECT", "DNAT", "ACCEPT"];
        for target in targets.filter(|target| !ends.contains(target)) {
            assert!(chains.contains(target), "{target} in\n{table}");
        }
        let appended = table.lines().filter_map(|l| l.strip_prefix("-A ")?.split(' ').next());
        for chain in appended {
            assert!(chains.contains(chain), "{chain} in\n{table}");
        }
    }
    let text = nft(&report());
    let named = |word: &'static str| {
        let lines = text.lines().map(str::trim);
        lines.filter_map(move |l| l.strip_prefix(word)?.split(' ').next()).collect::<BTreeSet<_>>()
    };
    let chains = named("chain ");
    let sets: BTreeSet<&str> = named("set ").union(&named("map ")).copied().collect();
    for word in ["goto ", "jump "] {
        for rest in text.split(word).skip(1) {
            let target = rest.split([' ', ',', '\n']).next().unwrap();
            assert!(chains.contains(target), "{target} in\n{text}");
        }
    }
    for rest in text.split('@').skip(1) {
        let set = rest.split([' ', '\n']).next().unwrap();
        assert!(sets.contains(set), "{set} in\n{text}");
    }
    assert_eq!(text.matches('{').count(), text.matches('}').count());
}

#[test]
fn nft_is_kube_proxys() {
    let text = nft(&report());
    let base = names::nft_base(&"default/web".parse().unwrap(), Protocol::Tcp);
    let has = |part: &str| assert!(text.contains(part), "no {part}\nin\n{text}");
    has(&format!("10.96.0.50 . tcp . 80 comment \"default/web\" : goto service-{base}"));
    has(&format!("tcp . 30080 comment \"default/web\" : goto external-{base}"));
    has("10.96.0.51 . tcp . 80 comment \"default/none\" : goto reject-chain");
    has("10.96.0.52 . tcp . 80 comment \"default/far\" : drop");
    has("numgen random mod 2 vmap { 0 : goto endpoint-");
    has("meta l4proto tcp dnat to 10.244.1.2:8080");
    has("ip saddr != { 192.168.1.0/24 } drop");
    has("ip saddr 10.0.0.0/8 ip saddr != { 10.9.0.0/16 } tcp dport 80 ");
    has("ip daddr . tcp dport { 10.244.1.2 . 8080 } ");
}
