//! As `nft list ruleset` prints: kube-proxy's table of its nftables mode, then policies in a table of their own.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use super::{
    Port,
    names::{address_set, nft_base, nft_endpoint, pod_chain, policy_chain},
    pods_range, policed, ports,
};
use crate::{
    cidr::Cidr,
    report::NodeReport,
    rules::{Direction, Peer, PolicyRule, PortMatch, Ports, RuleSet, TrafficPolicy},
};

/// A set or map: its name, type, comment and elements.
struct Elements {
    kind: &'static str,
    name: &'static str,
    types: &'static str,
    flags: &'static str,
    comment: &'static str,
    elements: Vec<String>,
}

impl Elements {
    const fn new(
        kind: &'static str,
        name: &'static str,
        types: &'static str,
        comment: &'static str,
    ) -> Self {
        Self { kind, name, types, flags: "", comment, elements: Vec::new() }
    }

    fn print(&self, out: &mut String) {
        let Self { kind, name, types, flags, comment, elements } = self;
        let _ = writeln!(out, "\t{kind} {name} {{\n\t\ttype {types}");
        if !flags.is_empty() {
            let _ = writeln!(out, "\t\tflags {flags}");
        }
        let _ = writeln!(out, "\t\tcomment \"{comment}\"");
        if !elements.is_empty() {
            let _ = writeln!(out, "\t\telements = {{ {} }}", elements.join(",\n\t\t\t     "));
        }
        out.push_str("\t}\n");
    }
}

fn chain(out: &mut String, name: &str, rules: &[String]) {
    let _ = writeln!(out, "\tchain {name} {{");
    for rule in rules {
        let _ = writeln!(out, "\t\t{rule}");
    }
    out.push_str("\t}\n");
}

fn words(rules: &[&str]) -> Vec<String> {
    rules.iter().map(|rule| (*rule).to_owned()).collect()
}

/// Prints the rules of a node.
#[must_use]
pub fn nft(report: &NodeReport) -> String {
    let ports = ports(report);
    let pods = pods_range(report);
    let mut out = "table ip kube-proxy {\n\tcomment \"rules for kube-proxy\"\n".to_owned();
    for elements in maps(&ports, report.stance.address) {
        elements.print(&mut out);
    }
    for (name, rules) in FRAME {
        chain(&mut out, name, &words(rules));
    }
    for port in &ports {
        port_chains(port, pods, &mut out);
    }
    out.push_str("}\n");
    policies(report, &mut out);
    out
}

/// The chains that are there without any Service.
const FRAME: &[(&str, &[&str])] = &[
    ("mark-for-masquerade", &["meta mark set meta mark | 0x00004000"]),
    (
        "masquerading",
        &[
            "meta mark & 0x00004000 == 0x00000000 return",
            "meta mark set meta mark ^ 0x00004000",
            "masquerade fully-random",
        ],
    ),
    (
        "services",
        &[
            "ip daddr . meta l4proto . th dport vmap @service-ips",
            "ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports",
        ],
    ),
    ("service-endpoints-check", &["ip daddr . meta l4proto . th dport vmap @no-endpoint-services"]),
    (
        "nodeport-endpoints-check",
        &["ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports"],
    ),
    ("firewall-check", &["ip daddr . meta l4proto . th dport vmap @firewall-ips"]),
    (
        "cluster-ips-check",
        &["ip daddr @cluster-ips reject comment \"Reject traffic to invalid ports of ClusterIPs\""],
    ),
    ("reject-chain", &["reject"]),
    (
        "filter-prerouting",
        &[
            "type filter hook prerouting priority dstnat - 10; policy accept;",
            "ct state new jump firewall-check",
        ],
    ),
    (
        "filter-input",
        &[
            "type filter hook input priority -110; policy accept;",
            "ct state new jump nodeport-endpoints-check",
            "ct state new jump service-endpoints-check",
        ],
    ),
    (
        "filter-forward",
        &[
            "type filter hook forward priority -110; policy accept;",
            "ct state new jump service-endpoints-check",
            "ct state new jump cluster-ips-check",
        ],
    ),
    (
        "filter-output",
        &[
            "type filter hook output priority dstnat - 10; policy accept;",
            "ct state new jump service-endpoints-check",
            "ct state new jump firewall-check",
        ],
    ),
    (
        "nat-prerouting",
        &["type nat hook prerouting priority dstnat; policy accept;", "jump services"],
    ),
    ("nat-output", &["type nat hook output priority dstnat; policy accept;", "jump services"]),
    (
        "nat-postrouting",
        &["type nat hook postrouting priority srcnat; policy accept;", "jump masquerading"],
    ),
];

/// Which chain serves a policy's traffic; None: nobody does.
fn served(port: &Port<'_>, policy: TrafficPolicy) -> Option<String> {
    if port.endpoints(policy).is_empty() {
        return None;
    }
    let base = nft_base(port.name, port.rule.protocol);
    Some(match policy {
        TrafficPolicy::Cluster => format!("service-{base}"),
        TrafficPolicy::Local => format!("local-{base}"),
    })
}

fn maps(ports: &[Port<'_>], node: IpAddr) -> [Elements; 7] {
    let verdict = "ipv4_addr . inet_proto . inet_service : verdict";
    let by_port = "inet_proto . inet_service : verdict";
    let mut ips = Elements::new("set", "cluster-ips", "ipv4_addr", "Active ClusterIPs");
    let mut nodes =
        Elements::new("set", "nodeport-ips", "ipv4_addr", "IPs that accept NodePort traffic");
    nodes.elements.push(node.to_string());
    let none = "vmap to drop or reject packets to services with no endpoints";
    let mut no_services = Elements::new("map", "no-endpoint-services", verdict, none);
    let none = "vmap to drop or reject packets to service nodeports with no endpoints";
    let mut no_ports = Elements::new("map", "no-endpoint-nodeports", by_port, none);
    let guarded = "destinations that are subject to LoadBalancerSourceRanges";
    let mut firewall = Elements::new("map", "firewall-ips", verdict, guarded);
    let all = "ClusterIP, ExternalIP and LoadBalancer IP traffic";
    let mut services = Elements::new("map", "service-ips", verdict, all);
    let mut node_ports = Elements::new("map", "service-nodeports", by_port, "NodePort traffic");
    for port in ports {
        let (name, protocol) = (port.name, port.rule.protocol.lower());
        let base = nft_base(name, port.rule.protocol);
        let key = |ip: IpAddr| format!("{ip} . {protocol} . {}", port.rule.port);
        let note = format!("comment \"{name}\"");
        let nobody = if port.any { "drop" } else { "goto reject-chain" };
        ips.elements.extend(port.rule.cluster_ips.iter().map(ToString::to_string));
        for ip in &port.rule.cluster_ips {
            let key = key(*ip);
            match served(port, port.rule.internal_policy) {
                Some(chain) => services.elements.push(format!("{key} {note} : goto {chain}")),
                None => no_services.elements.push(format!("{key} {note} : {nobody}")),
            }
        }
        let enters = !port.cluster.is_empty() || !port.local.is_empty();
        let refused = port.endpoints(port.rule.external_policy).is_empty();
        for outside in port.outside() {
            let key = key(outside.ip);
            if enters {
                services.elements.push(format!("{key} {note} : goto external-{base}"));
            }
            if refused {
                no_services.elements.push(format!("{key} {note} : {nobody}"));
            }
            if outside.guarded {
                firewall.elements.push(format!("{key} {note} : goto firewall-{base}"));
            }
        }
        if let Some(number) = port.rule.node_port {
            let key = format!("{protocol} . {number} {note}");
            if enters {
                node_ports.elements.push(format!("{key} : goto external-{base}"));
            }
            if refused {
                no_ports.elements.push(format!("{key} : {nobody}"));
            }
        }
    }
    ips.elements.sort();
    ips.elements.dedup();
    [ips, nodes, no_services, no_ports, firewall, services, node_ports]
}

fn port_chains(port: &Port<'_>, pods: Cidr, out: &mut String) {
    let (name, protocol) = (port.name, port.rule.protocol);
    let base = nft_base(name, protocol);
    let enters = !port.cluster.is_empty() || !port.local.is_empty();
    if enters && port.is_external() {
        chain(out, &format!("external-{base}"), &external(port, pods));
    }
    if !port.rule.source_ranges.is_empty() {
        let ranges: Vec<String> = port.rule.source_ranges.iter().map(ToString::to_string).collect();
        let rule = format!("ip saddr != {{ {} }} drop", ranges.join(", "));
        chain(out, &format!("firewall-{base}"), &[rule]);
    }
    for policy in [TrafficPolicy::Cluster, TrafficPolicy::Local] {
        let Some(of) = served(port, policy).filter(|_| port.uses(policy)) else { continue };
        let mut rules = Vec::new();
        if policy == port.rule.internal_policy {
            rules.extend(port.rule.cluster_ips.iter().map(|ip| {
                format!(
                    "ip daddr {ip} {} dport {} ip saddr != {pods} jump mark-for-masquerade",
                    protocol.lower(),
                    port.rule.port
                )
            }));
        }
        rules.extend(choice(port, port.endpoints(policy)));
        chain(out, &of, &rules);
    }
    for endpoint in port.all_endpoints() {
        let of = nft_endpoint(name, protocol, endpoint);
        let mut rules = vec![format!("ip saddr {} jump mark-for-masquerade", endpoint.ip())];
        if port.rule.affinity_seconds.is_some() {
            rules.push(format!(
                "update @affinity-{} {{ ip saddr }}",
                of.trim_start_matches("endpoint-")
            ));
        }
        rules.push(format!("meta l4proto {} dnat to {endpoint}", protocol.lower()));
        if let Some(seconds) = port.rule.affinity_seconds {
            let _ = writeln!(
                out,
                "\tset affinity-{} {{\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t\ttimeout {seconds}s\n\t}}",
                of.trim_start_matches("endpoint-")
            );
        }
        chain(out, &of, &rules);
    }
}

fn external(port: &Port<'_>, pods: Cidr) -> Vec<String> {
    let base = nft_base(port.name, port.rule.protocol);
    if port.rule.external_policy == TrafficPolicy::Cluster {
        return vec!["jump mark-for-masquerade".to_owned(), format!("goto service-{base}")];
    }
    let mut rules = Vec::new();
    if !port.cluster.is_empty() {
        rules.push(format!(
            "ip saddr {pods} goto service-{base} comment \"short-circuit pod traffic\""
        ));
        rules.push(
            "fib saddr type local jump mark-for-masquerade comment \"masquerade local traffic\""
                .to_owned(),
        );
        rules.push(format!(
            "fib saddr type local goto service-{base} comment \"short-circuit local traffic\""
        ));
    }
    if !port.local.is_empty() {
        rules.push(format!("goto local-{base}"));
    }
    rules
}

fn choice(port: &Port<'_>, endpoints: &[SocketAddr]) -> Vec<String> {
    let chain = |endpoint| nft_endpoint(port.name, port.rule.protocol, endpoint);
    let mut rules = Vec::new();
    if port.rule.affinity_seconds.is_some() {
        rules.extend(endpoints.iter().map(|endpoint| {
            let chain = chain(*endpoint);
            format!("ip saddr @affinity-{} goto {chain}", chain.trim_start_matches("endpoint-"))
        }));
    }
    let of = endpoints.iter().enumerate();
    let of: Vec<String> =
        of.map(|(n, endpoint)| format!("{n} : goto {}", chain(*endpoint))).collect();
    rules.push(format!("numgen random mod {} vmap {{ {} }}", endpoints.len(), of.join(", ")));
    rules
}

fn policies(report: &NodeReport, out: &mut String) {
    let rules = &report.rules;
    if rules.policed.is_empty() {
        return;
    }
    out.push_str("table ip network-policies {\n");
    for (name, members) in &rules.ip_sets {
        let _ = writeln!(out, "\tset {} {{\n\t\ttype ipv4_addr", address_set(name));
        let _ = writeln!(out, "\t\tcomment \"{name}\"");
        if !members.is_empty() {
            let members: Vec<String> = members.iter().map(ToString::to_string).collect();
            let _ = writeln!(out, "\t\telements = {{ {} }}", members.join(", "));
        }
        out.push_str("\t}\n");
    }
    let directions = [Direction::Ingress, Direction::Egress];
    for (name, policy) in &rules.policies {
        for direction in directions {
            let of = if direction == Direction::Ingress { &policy.ingress } else { &policy.egress };
            let Some(of) = of else { continue };
            let allow = of.iter().flat_map(|rule| matches(rules, rule, direction));
            let allow = allow
                .map(|m| format!("{m}meta mark set meta mark | 0x00010000 comment \"{name}\""));
            chain(out, &policy_chain(name, direction), &allow.collect::<Vec<_>>());
        }
    }
    let mut entries = vec![
        "type filter hook forward priority 0; policy accept;".to_owned(),
        "ct state established,related accept".to_owned(),
    ];
    for (pod, names) in policed(report) {
        for direction in directions {
            let word = if direction == Direction::Ingress { "daddr" } else { "saddr" };
            let other = if direction == Direction::Ingress { "saddr" } else { "daddr" };
            let mut body =
                vec![format!("fib {other} type local return comment \"a pod and its node\"")];
            let speaking = names.iter().filter(|name| {
                rules.policies.get(*name).is_some_and(|policy| match direction {
                    Direction::Ingress => policy.ingress.is_some(),
                    Direction::Egress => policy.egress.is_some(),
                })
            });
            for name in speaking {
                body.push(format!("jump {}", policy_chain(name, direction)));
                body.push("meta mark & 0x00010000 != 0x00000000 return".to_owned());
            }
            if body.len() == 1 {
                continue;
            }
            body.push("drop".to_owned());
            let of = pod_chain(pod, direction);
            entries.push(format!("ip {word} {pod} jump {of}"));
            chain(out, &of, &body);
        }
    }
    chain(out, "forward", &entries);
    out.push_str("}\n");
}

fn matches(rules: &RuleSet, rule: &PolicyRule, direction: Direction) -> Vec<String> {
    let word = if direction == Direction::Ingress { "saddr" } else { "daddr" };
    let peer = |peer: &Peer| match peer {
        Peer::Set(name) => format!("ip {word} @{} ", address_set(name)),
        Peer::Block { cidr, except } if except.is_empty() => format!("ip {word} {cidr} "),
        Peer::Block { cidr, except } => {
            let except: Vec<String> = except.iter().map(ToString::to_string).collect();
            format!("ip {word} {cidr} ip {word} != {{ {} }} ", except.join(", "))
        }
    };
    let peers: Vec<String> = match rule.peers.as_slice() {
        [] => vec![String::new()],
        peers => peers.iter().map(peer).collect(),
    };
    let ports: Vec<String> = match rule.ports.as_slice() {
        [] => vec![String::new()],
        ports => ports.iter().filter_map(|port| number(rules, port)).collect(),
    };
    peers.iter().flat_map(|peer| ports.iter().map(move |port| format!("{peer}{port}"))).collect()
}

fn number(rules: &RuleSet, wanted: &PortMatch) -> Option<String> {
    let protocol = wanted.protocol.lower();
    Some(match &wanted.port {
        Ports::All => format!("meta l4proto {protocol} "),
        Ports::Range(first, last) if first == last => format!("{protocol} dport {first} "),
        Ports::Range(first, last) => format!("{protocol} dport {first}-{last} "),
        Ports::Named(name) => {
            let pods = rules.named_ports.iter();
            let named = pods.flat_map(|(ip, ports)| ports.iter().map(move |port| (ip, port)));
            let ours = named.filter(|(_, p)| p.name == *name && p.protocol == wanted.protocol);
            let pairs: Vec<String> = ours.map(|(ip, p)| format!("{ip} . {}", p.port)).collect();
            if pairs.is_empty() {
                return None;
            }
            format!("ip daddr . {protocol} dport {{ {} }} ", pairs.join(", "))
        }
    })
}
