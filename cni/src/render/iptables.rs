//! As `iptables-save` prints: kube-proxy's rules of its iptables mode, then policies.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use super::{
    OutsideAddress, Port,
    names::{address_set, endpoint_chain, pod_chain, policy_chain, port_chain},
    pods_range, policed, ports,
};
use crate::{
    cidr::Cidr,
    report::NodeReport,
    rules::{Direction, Peer, PolicyRule, PortMatch, Ports, RuleSet, TrafficPolicy},
};

/// One table: its chains, and its rules in order.
#[derive(Default)]
struct Table {
    chains: BTreeSet<String>,
    rules: Vec<String>,
}

impl Table {
    fn chain(&mut self, name: &str) {
        self.chains.insert(name.to_owned());
    }

    fn rule(&mut self, chain: &str, rest: &str) {
        self.chain(chain);
        self.rules.push(format!("-A {chain} {rest}"));
    }

    fn print(&self, name: &str, builtin: &[&str], out: &mut String) {
        let _ = writeln!(out, "*{name}");
        for chain in builtin {
            let _ = writeln!(out, ":{chain} ACCEPT [0:0]");
        }
        for chain in self.chains.iter().filter(|chain| !builtin.contains(&chain.as_str())) {
            let _ = writeln!(out, ":{chain} - [0:0]");
        }
        for rule in &self.rules {
            let _ = writeln!(out, "{rule}");
        }
        let _ = writeln!(out, "COMMIT");
    }
}

/// Prints the rules of a node.
#[must_use]
pub fn iptables_save(report: &NodeReport) -> String {
    let ports = ports(report);
    let pods = pods_range(report);
    let (mut nat, mut filter) = (Table::default(), Table::default());
    frame(&mut nat, &mut filter);
    for port in &ports {
        entries(port, pods, &mut nat, &mut filter);
    }
    // kube-proxy: this must be the last rule in this chain.
    nat.rule("KUBE-SERVICES", "-m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS");
    for port in &ports {
        chains(port, pods, &mut nat);
    }
    policies(report, &mut filter);
    let mut out = sets(&report.rules);
    filter.print("filter", &["INPUT", "FORWARD", "OUTPUT"], &mut out);
    nat.print("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"], &mut out);
    out
}

/// What is there without any Service.
fn frame(nat: &mut Table, filter: &mut Table) {
    for chain in ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"] {
        nat.chain(chain);
    }
    for from in ["PREROUTING", "OUTPUT"] {
        let portals = "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES";
        nat.rule(from, portals);
    }
    nat.rule(
        "POSTROUTING",
        "-m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING",
    );
    nat.rule("KUBE-MARK-MASQ", "-j MARK --set-xmark 0x4000/0x4000");
    nat.rule("KUBE-POSTROUTING", "-m mark ! --mark 0x4000/0x4000 -j RETURN");
    nat.rule("KUBE-POSTROUTING", "-j MARK --set-xmark 0x4000/0x0");
    nat.rule("KUBE-POSTROUTING", "-m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully");
    for chain in ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL", "KUBE-FORWARD"]
    {
        filter.chain(chain);
    }
    for from in ["INPUT", "FORWARD"] {
        filter.rule(from, "-m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL");
    }
    for from in ["FORWARD", "OUTPUT"] {
        filter.rule(from, "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES");
    }
    for from in ["INPUT", "FORWARD"] {
        filter.rule(from, "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES");
    }
}

fn to(address: IpAddr) -> Cidr {
    Cidr::new(address, if address.is_ipv4() { 32 } else { 128 }).expect("a host's prefix fits")
}

/// Where a Service port is entered: by its addresses and its node port; or refused, where nobody serves.
fn entries(port: &Port<'_>, pods: Cidr, nat: &mut Table, filter: &mut Table) {
    let (name, protocol) = (port.name, port.rule.protocol.lower());
    let at = |comment: &str, number: u16| {
        format!("-m comment --comment \"{name}{comment}\" -m {protocol} --dport {number}")
    };
    let chain = |prefix: &str| port_chain(prefix, name, port.rule.protocol);
    let by = |policy| match policy {
        TrafficPolicy::Cluster => chain("KUBE-SVC-"),
        TrafficPolicy::Local => chain("KUBE-SVL-"),
    };
    let refusal = |policy| {
        let serves = !port.endpoints(policy).is_empty();
        match (serves, port.any) {
            (true, _) => None,
            (false, true) => Some((" has no local endpoints", "DROP")),
            (false, false) => {
                Some((" has no endpoints", "REJECT --reject-with icmp-port-unreachable"))
            }
        }
    };
    let internal = port.rule.internal_policy;
    for ip in &port.rule.cluster_ips {
        let dest = format!("-d {} -p {protocol}", to(*ip));
        match refusal(internal) {
            None => {
                let rule = at(" cluster IP", port.rule.port);
                nat.rule("KUBE-SERVICES", &format!("{dest} {rule} -j {}", by(internal)));
                let masq = format!("! -s {pods} {dest} {rule} -j KUBE-MARK-MASQ");
                nat.rule(&by(internal), &masq);
            }
            Some((why, target)) => {
                let rule = at(why, port.rule.port);
                filter.rule("KUBE-SERVICES", &format!("{dest} {rule} -j {target}"));
            }
        }
    }
    let external = port.rule.external_policy;
    let enters = !port.cluster.is_empty() || !port.local.is_empty();
    for OutsideAddress { ip, what, guarded } in port.outside() {
        let dest = format!("-d {} -p {protocol}", to(ip));
        if enters {
            let into = chain(if guarded { "KUBE-FW-" } else { "KUBE-EXT-" });
            let rule = at(&format!(" {what}"), port.rule.port);
            nat.rule("KUBE-SERVICES", &format!("{dest} {rule} -j {into}"));
            if guarded {
                let dropped = at(&format!(" traffic not accepted by {into}"), port.rule.port);
                filter.rule("KUBE-PROXY-FIREWALL", &format!("{dest} {dropped} -j DROP"));
            }
        }
        if let Some((why, target)) = refusal(external) {
            let rule = at(why, port.rule.port);
            filter.rule("KUBE-EXTERNAL-SERVICES", &format!("{dest} {rule} -j {target}"));
        }
    }
    if let Some(number) = port.rule.node_port {
        if enters {
            let into = chain("KUBE-EXT-");
            let rule = at("", number);
            nat.rule("KUBE-NODEPORTS", &format!("-p {protocol} {rule} -j {into}"));
        }
        if let Some((why, target)) = refusal(external) {
            let rule = format!(
                "-p {protocol} -m comment --comment \"{name}{why}\" -m addrtype --dst-type LOCAL -m {protocol} --dport {number} -j {target}"
            );
            filter.rule("KUBE-EXTERNAL-SERVICES", &rule);
        }
    }
}

/// The chains of a Service port: external traffic, the choice of an endpoint, the endpoints.
fn chains(port: &Port<'_>, pods: Cidr, nat: &mut Table) {
    let (name, protocol) = (port.name, port.rule.protocol);
    let chain = |prefix: &str| port_chain(prefix, name, protocol);
    let guarded: Vec<OutsideAddress> = port.outside().filter(|outside| outside.guarded).collect();
    let enters = !port.cluster.is_empty() || !port.local.is_empty();
    if enters && !guarded.is_empty() {
        for range in &port.rule.source_ranges {
            nat.rule(
                &chain("KUBE-FW-"),
                &format!(
                    "-s {range} -m comment --comment \"{name} loadbalancer IP\" -j {}",
                    chain("KUBE-EXT-")
                ),
            );
        }
        nat.rule(&chain("KUBE-FW-"), &format!("-m comment --comment \"other traffic to {name} will be dropped by KUBE-PROXY-FIREWALL\""));
    }
    if enters && port.is_external() {
        external_chain(port, pods, nat);
    }
    for policy in [TrafficPolicy::Cluster, TrafficPolicy::Local] {
        if port.uses(policy) {
            let prefix = if policy == TrafficPolicy::Cluster { "KUBE-SVC-" } else { "KUBE-SVL-" };
            choice(port, &chain(prefix), port.endpoints(policy), nat);
        }
    }
    let recent = |sep: &str| match port.rule.affinity_seconds {
        Some(_) => format!(" -m recent --set --name {sep} --mask 255.255.255.255 --rsource"),
        None => String::new(),
    };
    for endpoint in port.all_endpoints() {
        let sep = endpoint_chain(name, protocol, endpoint);
        let comment = format!("-m comment --comment \"{name}\"");
        nat.rule(&sep, &format!("-s {} {comment} -j KUBE-MARK-MASQ", to(endpoint.ip())));
        let dnat = format!(
            "-p {0} {comment}{1} -m {0} -j DNAT --to-destination {endpoint}",
            protocol.lower(),
            recent(&sep)
        );
        nat.rule(&sep, &dnat);
    }
}

fn external_chain(port: &Port<'_>, pods: Cidr, nat: &mut Table) {
    let (name, protocol) = (port.name, port.rule.protocol);
    let chain = |prefix: &str| port_chain(prefix, name, protocol);
    let ext = chain("KUBE-EXT-");
    let note = |text: &str| format!("-m comment --comment \"{text}\"");
    if port.rule.external_policy == TrafficPolicy::Cluster {
        let text = format!("masquerade traffic for {name} external destinations");
        nat.rule(&ext, &format!("{} -j KUBE-MARK-MASQ", note(&text)));
        nat.rule(&ext, &format!("-j {}", chain("KUBE-SVC-")));
        return;
    }
    if !port.cluster.is_empty() {
        let svc = chain("KUBE-SVC-");
        let text = format!("pod traffic for {name} external destinations");
        nat.rule(&ext, &format!("-s {pods} {} -j {svc}", note(&text)));
        let local = "-m addrtype --src-type LOCAL";
        let text = format!("masquerade LOCAL traffic for {name} external destinations");
        nat.rule(&ext, &format!("{} {local} -j KUBE-MARK-MASQ", note(&text)));
        let text = format!("route LOCAL traffic for {name} external destinations");
        nat.rule(&ext, &format!("{} {local} -j {svc}", note(&text)));
    }
    if !port.local.is_empty() {
        nat.rule(&ext, &format!("-j {}", chain("KUBE-SVL-")));
    }
}

/// Draws an endpoint: the last given by affinity, else each with the same chance.
fn choice(port: &Port<'_>, chain: &str, endpoints: &[SocketAddr], nat: &mut Table) {
    let comment = |endpoint| format!("-m comment --comment \"{} -> {endpoint}\"", port.name);
    let sep = |endpoint| endpoint_chain(port.name, port.rule.protocol, endpoint);
    if let Some(seconds) = port.rule.affinity_seconds {
        for endpoint in endpoints {
            let sep = sep(*endpoint);
            nat.rule(chain, &format!("{} -m recent --rcheck --seconds {seconds} --reap --name {sep} --mask 255.255.255.255 --rsource -j {sep}", comment(endpoint)));
        }
    }
    for (position, endpoint) in endpoints.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "far fewer endpoints")]
        let chance = match endpoints.len() - position {
            1 => String::new(),
            left => {
                let chance = 1.0 / left as f64;
                format!(" -m statistic --mode random --probability {chance:.11}")
            }
        };
        nat.rule(chain, &format!("{}{chance} -j {}", comment(endpoint), sep(*endpoint)));
    }
}

/// What the set of a range without some parts of it is named by.
fn block(cidr: Cidr, except: &[Cidr]) -> String {
    let except: Vec<String> = except.iter().map(ToString::to_string).collect();
    format!("{cidr} without {}", except.join(", "))
}

/// The sets that the rules of policies match, as `ipset save` prints them; iptables-save does not.
fn sets(rules: &RuleSet) -> String {
    let mut out = String::new();
    let all = rules.policies.values().flat_map(|policy| [&policy.ingress, &policy.egress]);
    let peers = all.flatten().flatten().flat_map(|rule| &rule.peers);
    let blocks: BTreeSet<(Cidr, &[Cidr])> = peers
        .filter_map(|peer| match peer {
            Peer::Block { cidr, except } if !except.is_empty() => Some((*cidr, except.as_slice())),
            _ => None,
        })
        .collect();
    for (cidr, except) in blocks {
        let name = block(cidr, except);
        let set = address_set(&name);
        let _ = writeln!(out, "# {name}\n# create {set} hash:net family inet");
        let _ = writeln!(out, "# add {set} {cidr}");
        for except in except {
            let _ = writeln!(out, "# add {set} {except} nomatch");
        }
    }
    for (name, members) in &rules.ip_sets {
        let set = address_set(name);
        let _ = writeln!(out, "# {name}\n# create {set} hash:ip family inet");
        for member in members {
            let _ = writeln!(out, "# add {set} {member}");
        }
    }
    out
}

fn policies(report: &NodeReport, filter: &mut Table) {
    let rules = &report.rules;
    for (pod, names) in policed(report) {
        for direction in [Direction::Ingress, Direction::Egress] {
            let speaks = |name: &&String| of(rules, name, direction).is_some();
            let speaking: Vec<&String> = names.iter().filter(speaks).collect();
            if speaking.is_empty() {
                continue;
            }
            let chain = pod_chain(pod, direction);
            let side = if direction == Direction::Ingress { "-d" } else { "-s" };
            for from in ["FORWARD", "OUTPUT"] {
                filter.rule(from, &format!("{side} {} -j {chain}", to(pod)));
            }
            filter.rule(&chain, "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN");
            let own = if direction == Direction::Ingress { "src" } else { "dst" };
            filter.rule(&chain, &format!("-m comment --comment \"a pod and its node\" -m addrtype --{own}-type LOCAL -j RETURN"));
            for name in speaking {
                let policy = policy_chain(name, direction);
                filter.rule(&chain, &format!("-m comment --comment \"{name}\" -j {policy}"));
                filter.rule(&chain, "-m mark --mark 0x10000/0x10000 -j RETURN");
            }
            filter.rule(&chain, "-j DROP");
        }
    }
    for name in rules.policies.keys() {
        for direction in [Direction::Ingress, Direction::Egress] {
            let Some(allowing) = of(rules, name, direction) else { continue };
            let chain = policy_chain(name, direction);
            filter.chain(&chain);
            for rule in allowing {
                for matched in matches(rules, rule, direction) {
                    filter.rule(&chain, &format!("{matched}-m comment --comment \"{name}\" -j MARK --set-xmark 0x10000/0x10000"));
                }
            }
        }
    }
}

fn of<'a>(rules: &'a RuleSet, policy: &str, direction: Direction) -> Option<&'a [PolicyRule]> {
    let policy = rules.policies.get(policy)?;
    match direction {
        Direction::Ingress => policy.ingress.as_deref(),
        Direction::Egress => policy.egress.as_deref(),
    }
}

/// What a rule matches, each peer with each port.
fn matches(rules: &RuleSet, rule: &PolicyRule, direction: Direction) -> Vec<String> {
    let (flag, word) = match direction {
        Direction::Ingress => ("-s", "src"),
        Direction::Egress => ("-d", "dst"),
    };
    let peer = |peer: &Peer| match peer {
        Peer::Set(name) => format!("-m set --match-set {} {word} ", address_set(name)),
        Peer::Block { cidr, except } if except.is_empty() => format!("{flag} {cidr} "),
        Peer::Block { cidr, except } => {
            format!("-m set --match-set {} {word} ", address_set(&block(*cidr, except)))
        }
    };
    let peers: Vec<String> = match rule.peers.as_slice() {
        [] => vec![String::new()],
        peers => peers.iter().map(peer).collect(),
    };
    let ports: Vec<String> = match rule.ports.as_slice() {
        [] => vec![String::new()],
        ports => ports.iter().flat_map(|port| numbers(rules, port)).collect(),
    };
    peers.iter().flat_map(|peer| ports.iter().map(move |port| format!("{peer}{port}"))).collect()
}

fn numbers(rules: &RuleSet, wanted: &PortMatch) -> Vec<String> {
    let protocol = wanted.protocol.lower();
    match &wanted.port {
        Ports::All => vec![format!("-p {protocol} ")],
        Ports::Range(first, last) if first == last => {
            vec![format!("-p {protocol} -m {protocol} --dport {first} ")]
        }
        Ports::Range(first, last) => {
            vec![format!("-p {protocol} -m {protocol} --dport {first}:{last} ")]
        }
        Ports::Named(name) => {
            let pods = rules.named_ports.iter();
            let named = pods.flat_map(|(ip, ports)| ports.iter().map(move |port| (ip, port)));
            let ours = named.filter(|(_, p)| p.name == *name && p.protocol == wanted.protocol);
            ours.map(|(ip, port)| {
                format!("-d {} -p {protocol} -m {protocol} --dport {} ", to(*ip), port.port)
            })
            .collect()
        }
    }
}
