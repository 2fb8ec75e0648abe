//! What an event does to the rules, row by row: the objects before, the event, what changes.
//!
//! An object is a line: `svc NAME key=value …`, `slice NAME key=value …`, `node NAME key=value …`; with a `-` before it
//! it goes. Keys are those of the functions below. An endpoint is `ADDRESS@NODE:STATE`; states are `r`eady, `n`ot ready,
//! `t`erminating but serving, `d`ying (neither), `u`nknown (no conditions).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn keys(words: &str) -> BTreeMap<&str, &str> {
    words.split_whitespace().filter_map(|word| word.split_once('=')).collect()
}

/// `name:port[/protocol][@nodePort]`, with commas between.
fn service_ports(text: &str) -> Vec<Value> {
    let port = |text: &str| {
        let (text, node_port) = text.split_once('@').unwrap_or((text, "0"));
        let (text, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
        let (name, number) = text.split_once(':').unwrap_or(("", text));
        let node_port: i32 = node_port.parse().unwrap();
        let mut port = json!({"port": number.parse::<i32>().unwrap(), "protocol": protocol});
        if !name.is_empty() {
            port["name"] = name.into();
        }
        if node_port != 0 {
            port["nodePort"] = node_port.into();
        }
        port
    };
    text.split(',').map(port).collect()
}

fn a_service(name: &str, keys: &BTreeMap<&str, &str>) -> Service {
    let get = |key: &str| keys.get(key).copied();
    let list = |key: &str| get(key).map_or_else(Vec::new, |text| text.split(',').collect());
    let ip = get("ip").unwrap_or("10.96.0.1");
    let mut spec = json!({
        "type": get("type").unwrap_or("ClusterIP"),
        "ports": service_ports(get("ports").unwrap_or("http:80")),
        "externalIPs": list("ext"),
    });
    if ip != "-" {
        spec["clusterIP"] = ip.into();
    }
    for (key, field) in [("itp", "internalTrafficPolicy"), ("etp", "externalTrafficPolicy")] {
        if let Some(value) = get(key) {
            spec[field] = value.into();
        }
    }
    if let Some(port) = get("hc") {
        spec["healthCheckNodePort"] = port.parse::<i32>().unwrap().into();
    }
    if let Some(seconds) = get("affinity") {
        spec["sessionAffinity"] = "ClientIP".into();
        if let Ok(seconds) = seconds.parse::<i32>() {
            spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": seconds}});
        }
    }
    let ingress: Vec<Value> = list("lb")
        .into_iter()
        .map(|text| match text.split_once('/') {
            Some((ip, mode)) => json!({"ip": ip, "ipMode": mode}),
            None => json!({"ip": text}),
        })
        .collect();
    let labels = get("label").map_or_else(|| json!({}), |label| json!({label: ""}));
    let metadata = json!({"name": name, "namespace": "d", "labels": labels});
    let status = json!({"loadBalancer": {"ingress": ingress}});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
}

fn a_slice(name: &str, keys: &BTreeMap<&str, &str>) -> EndpointSlice {
    let get = |key: &str| keys.get(key).copied();
    let ports: Vec<Value> = get("ports")
        .unwrap_or("http:8080")
        .split(',')
        .map(|text| {
            let (text, protocol) = text.split_once('/').unwrap_or((text, "TCP"));
            let (name, number) = text.split_once(':').unwrap_or(("", text));
            json!({"name": name, "protocol": protocol, "port": number.parse::<i32>().ok()})
        })
        .collect();
    let endpoint = |text: &str| {
        let (address, state) = text.rsplit_once(':').unwrap();
        let (address, node) = address.split_once('@').unwrap_or((address, ""));
        let mut endpoint = json!({"addresses": address.split('+').collect::<Vec<_>>()});
        if !node.is_empty() {
            endpoint["nodeName"] = node.into();
        }
        let (state, zones) = state.split_once('~').unwrap_or((state, ""));
        if !zones.is_empty() {
            endpoint["hints"] = json!({"forZones": [{"name": zones}]});
        }
        let conditions = match state {
            "r" => json!({"ready": true, "serving": true, "terminating": false}),
            "n" => json!({"ready": false, "serving": false, "terminating": false}),
            "t" => json!({"ready": false, "serving": true, "terminating": true}),
            "d" => json!({"ready": false, "serving": false, "terminating": true}),
            // publishNotReadyAddresses: ready whatever the pod is.
            "p" => json!({"ready": true, "serving": false, "terminating": true}),
            _ => return endpoint,
        };
        endpoint["conditions"] = conditions;
        endpoint
    };
    let endpoints: Vec<Value> =
        get("eps").unwrap_or_default().split(',').filter(|t| !t.is_empty()).map(endpoint).collect();
    let mut labels = json!({});
    if let Some(service) = get("of") {
        labels["kubernetes.io/service-name"] = service.into();
    }
    if let Some(label) = get("label") {
        labels[label] = "".into();
    }
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "d", "labels": labels},
        "addressType": get("af").unwrap_or("IPv4"), "ports": ports, "endpoints": endpoints,
    }))
    .unwrap()
}

fn a_node(name: &str, keys: &BTreeMap<&str, &str>) -> Node {
    let get = |key: &str| keys.get(key).copied();
    let list = |key: &str| get(key).map_or_else(Vec::new, |text| text.split(',').collect());
    let labels =
        get("zone").map_or_else(|| json!({}), |zone| json!({"topology.kubernetes.io/zone": zone}));
    let addresses: Vec<Value> =
        list("ip").iter().map(|ip| json!({"type": "InternalIP", "address": ip})).collect();
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels}, "spec": {"podCIDRs": list("cidr")},
        "status": {"addresses": addresses},
    }))
    .unwrap()
}

/// A rule in a line: who it is for, where it answers, how, and by whom.
fn shown(name: &ServicePortName, rule: &ServiceRule) -> String {
    let mut text = format!("{}:{}", name.name, name.port);
    if rule.protocol == cni::rules::Protocol::Udp {
        text.push_str("/UDP");
    }
    let ips = |ips: &[IpAddr]| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",");
    text.push_str(&format!(" {}:{}", ips(&rule.cluster_ips), rule.port));
    if let Some(port) = rule.node_port {
        text.push_str(&format!(" @{port}"));
    }
    for (name, list) in [("ext", &rule.external_ips), ("lb", &rule.load_balancer_ips)] {
        if !list.is_empty() {
            text.push_str(&format!(" {name}={}", ips(list)));
        }
    }
    if let Some(seconds) = rule.affinity_seconds {
        text.push_str(&format!(" affinity={seconds}"));
    }
    for (name, policy) in [("itp", rule.internal_policy), ("etp", rule.external_policy)] {
        if policy == cni::rules::TrafficPolicy::Local {
            text.push_str(&format!(" {name}=Local"));
        }
    }
    let endpoints = rule.endpoints.iter().map(|endpoint| {
        let state = match (endpoint.ready, endpoint.serving, endpoint.terminating) {
            (true, true, false) => "r",
            (false, false, false) => "n",
            (false, true, true) => "t",
            (false, false, true) => "d",
            _ => "p",
        };
        let node = endpoint.node.as_ref().map_or_else(String::new, |node| format!("@{node}"));
        let zones = endpoint
            .hints
            .as_ref()
            .map_or_else(String::new, |hints| format!("~{}", hints.zones.join("+")));
        format!("{}{node}:{state}{zones}", endpoint.address)
    });
    let endpoints: Vec<String> = endpoints.collect();
    if endpoints.is_empty() { text } else { format!("{text} > {}", endpoints.join(",")) }
}

fn delta_shown(delta: &RuleDelta) -> String {
    let services = delta.services.iter().map(|(name, rule)| match rule {
        Some(rule) => shown(name, rule),
        None => format!("-{}:{}", name.name, name.port),
    });
    let nodes = delta.nodes.iter().map(|(name, route)| match route {
        Some(route) => {
            let ranges = route.pod_cidrs.iter().map(ToString::to_string);
            let addresses = route.addresses.iter().map(ToString::to_string);
            let all: Vec<String> = ranges.chain(addresses).chain(route.zone.clone()).collect();
            format!("{name}={}", all.join(","))
        }
        None => format!("-{name}"),
    });
    services.chain(nodes).collect::<Vec<_>>().join("; ")
}

/// The objects, and a compiler that hears of each.
#[derive(Default)]
struct World {
    services: BTreeMap<String, Service>,
    slices: BTreeMap<String, EndpointSlice>,
    nodes: BTreeMap<String, Node>,
    compiler: Compiler,
}

impl World {
    fn hear(&mut self, line: &str) {
        let (gone, line) = line.strip_prefix('-').map_or((false, line), |line| (true, line));
        let (kind, rest) = line.split_once(' ').unwrap();
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (key, keys) = (ObjectKey::new("d", name), keys(rest));
        match (kind, gone) {
            ("svc", true) => {
                self.services.remove(name);
                self.compiler.remove_service(&key);
            }
            ("slice", true) => {
                self.slices.remove(name);
                self.compiler.remove_slice(&key);
            }
            ("node", true) => {
                self.nodes.remove(name);
                self.compiler.remove_node(name);
            }
            ("svc", false) => {
                let service = a_service(name, &keys);
                self.compiler.set_service(&service);
                self.services.insert(name.to_owned(), service);
            }
            ("slice", false) => {
                let slice = a_slice(name, &keys);
                self.compiler.set_slice(&slice);
                self.slices.insert(name.to_owned(), slice);
            }
            ("node", false) => {
                let node = a_node(name, &keys);
                self.compiler.set_node(&node);
                self.nodes.insert(name.to_owned(), node);
            }
            _ => panic!("{line}"),
        }
    }

    fn fresh(&self) -> RuleSet {
        compile(self.services.values(), self.slices.values(), self.nodes.values())
    }
}

const WEB: &str = "svc web";
const ONE: &str = "slice a of=web eps=10.244.1.1@n1:r";

/// Objects before, with `;` between; events, with `;` between; what they change together.
const ROWS: &[(&str, &str, &str)] = &[
    // Services.
    ("", WEB, "web:http 10.96.0.1:80"),
    ("", "svc web ports=80", "web: 10.96.0.1:80"),
    ("", "svc web ports=http:80,dns:53/UDP", "web:dns/UDP 10.96.0.1:53; web:http 10.96.0.1:80"),
    ("", "svc web ports=a:80,b:80/UDP", "web:a 10.96.0.1:80; web:b/UDP 10.96.0.1:80"),
    ("", "svc web ports=a:80,s:99/SCTP", "web:a 10.96.0.1:80"),
    ("", "svc web ports=s:99/SCTP", ""),
    ("", "svc web type=NodePort ports=http:80@30080", "web:http 10.96.0.1:80 @30080"),
    // A node port that a change of type left behind opens nothing.
    ("", "svc web ports=http:80@30080", "web:http 10.96.0.1:80"),
    (
        "svc web type=NodePort ports=http:80@30080",
        "svc web ports=http:80@30080",
        "web:http 10.96.0.1:80",
    ),
    (
        "svc web type=NodePort ports=http:80@30080",
        "svc web type=NodePort ports=http:80@30081",
        "web:http 10.96.0.1:80 @30081",
    ),
    (
        "",
        "svc web type=LoadBalancer lb=127.0.0.9,127.0.0.8/Proxy",
        "web:http 10.96.0.1:80 lb=127.0.0.9",
    ),
    ("", "svc web lb=127.0.0.9", "web:http 10.96.0.1:80"),
    (
        "svc web type=LoadBalancer",
        "svc web type=LoadBalancer lb=127.0.0.9",
        "web:http 10.96.0.1:80 lb=127.0.0.9",
    ),
    (
        "svc web type=LoadBalancer lb=127.0.0.9",
        "svc web type=LoadBalancer",
        "web:http 10.96.0.1:80",
    ),
    (
        "",
        "svc web ext=127.0.0.7,nonsense,127.0.0.6",
        "web:http 10.96.0.1:80 ext=127.0.0.7,127.0.0.6",
    ),
    ("", "svc web affinity=yes", "web:http 10.96.0.1:80 affinity=10800"),
    ("", "svc web affinity=10", "web:http 10.96.0.1:80 affinity=10"),
    ("svc web affinity=10", WEB, "web:http 10.96.0.1:80"),
    ("", "svc web itp=Local", "web:http 10.96.0.1:80 itp=Local"),
    ("", "svc web type=NodePort etp=Local", "web:http 10.96.0.1:80 etp=Local"),
    ("svc web itp=Local", "svc web itp=Cluster", "web:http 10.96.0.1:80"),
    (WEB, WEB, ""),
    (WEB, "-svc web", "-web:http"),
    (WEB, "-svc other", ""),
    (WEB, "-svc web; svc web", ""),
    (WEB, "-svc web; svc web ip=10.96.0.2", "web:http 10.96.0.2:80"),
    (WEB, "svc web ports=h:80", "web:h 10.96.0.1:80; -web:http"),
    ("svc web ports=a:80,b:81", "svc web ports=b:81", "-web:a"),
    (
        "svc web ports=a:80,b:81",
        "svc web ports=a:81,b:80",
        "web:a 10.96.0.1:81; web:b 10.96.0.1:80",
    ),
    // Not ours: headless, ExternalName, of another proxy; and becoming so.
    ("", "svc web ip=None", ""),
    ("", "svc web ip=-", ""),
    ("", "svc web type=ExternalName", ""),
    ("", "svc web label=service.kubernetes.io/service-proxy-name", ""),
    (WEB, "svc web ip=None", "-web:http"),
    (WEB, "svc web type=ExternalName ip=-", "-web:http"),
    (WEB, "svc web label=service.kubernetes.io/service-proxy-name", "-web:http"),
    (
        "svc web ip=None; slice a of=web eps=10.244.1.1@n1:r",
        WEB,
        "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:r",
    ),
    // Names of which one begins another.
    ("svc web; svc web-2 ip=10.96.0.2", "-svc web", "-web:http"),
    ("svc web; svc web-2 ip=10.96.0.2", "-svc web-2", "-web-2:http"),
    // Slices.
    (WEB, ONE, "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:r"),
    (ONE, WEB, "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:r"),
    ("", ONE, ""),
    ("svc web; slice a of=web eps=10.244.1.1@n1:r", ONE, ""),
    ("svc web; slice a of=web eps=10.244.1.1@n1:r", "-slice a", "web:http 10.96.0.1:80"),
    ("svc web; slice a of=web eps=10.244.1.1@n1:r", "-slice b", ""),
    // The states, one after the other, of a pod that is deleted.
    (
        "svc web; slice a of=web eps=10.244.1.1@n1:n",
        ONE,
        "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:r",
    ),
    (
        "svc web; slice a of=web eps=10.244.1.1@n1:r",
        "slice a of=web eps=10.244.1.1@n1:t",
        "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:t",
    ),
    (
        "svc web; slice a of=web eps=10.244.1.1@n1:t",
        "slice a of=web eps=10.244.1.1@n1:d",
        "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:d",
    ),
    ("svc web; slice a of=web eps=10.244.1.1@n1:d", "slice a of=web", "web:http 10.96.0.1:80"),
    // publishNotReadyAddresses: the slice says ready, and that is what counts.
    (WEB, "slice a of=web eps=10.244.1.1@n1:p", "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:p"),
    // Unknown conditions are those of a good endpoint.
    (WEB, "slice a of=web eps=10.244.1.1:u", "web:http 10.96.0.1:80 > 10.244.1.1:8080:r"),
    // Further addresses are the same endpoint's; what is no address is left out.
    (
        WEB,
        "slice a of=web eps=10.244.1.1+10.244.1.2@n1:r,nonsense:r",
        "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:r",
    ),
    // Sorted by address, whatever the order of the slice.
    (
        WEB,
        "slice a of=web eps=10.244.2.1:r,10.244.1.1:r",
        "web:http 10.96.0.1:80 > 10.244.1.1:8080:r,10.244.2.1:8080:r",
    ),
    // Two slices of one Service; the same pod in both counts once, as its better self.
    (
        "svc web; slice a of=web eps=10.244.1.1@n1:r",
        "slice b of=web eps=10.244.1.2@n1:r",
        "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:r,10.244.1.2:8080@n1:r",
    ),
    ("svc web; slice a of=web eps=10.244.1.1@n1:r", "slice b of=web eps=10.244.1.1@n1:n", ""),
    (
        "svc web; slice a of=web eps=10.244.1.1@n1:n",
        "slice b of=web eps=10.244.1.1@n1:r",
        "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:r",
    ),
    (
        "svc web; slice a of=web eps=10.244.1.1@n1:d; slice b of=web eps=10.244.1.1@n1:t",
        "-slice b",
        "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:d",
    ),
    // A pod that moves between slices in two events, and in one.
    (
        "svc web; slice a of=web eps=10.244.1.1@n1:r",
        "slice a of=web; slice b of=web eps=10.244.1.1@n1:r",
        "",
    ),
    ("svc web; slice a of=web eps=10.244.1.1@n1:r", "slice a of=web", "web:http 10.96.0.1:80"),
    // One port of the slice has another number: rolling updates that change the port.
    (
        "svc web; slice a of=web eps=10.244.1.1@n1:r",
        "slice b of=web ports=http:9090 eps=10.244.1.2@n1:r",
        "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:r,10.244.1.2:9090@n1:r",
    ),
    // Ports are matched by name and protocol.
    (WEB, "slice a of=web ports=other:8080 eps=10.244.1.1@n1:r", ""),
    (WEB, "slice a of=web ports=http:8080/UDP eps=10.244.1.1@n1:r", ""),
    (
        "svc web ports=http:80/UDP",
        "slice a of=web ports=http:8080/UDP eps=10.244.1.1@n1:r",
        "web:http/UDP 10.96.0.1:80 > 10.244.1.1:8080@n1:r",
    ),
    (
        "svc web ports=80",
        "slice a of=web ports=8080 eps=10.244.1.1@n1:r",
        "web: 10.96.0.1:80 > 10.244.1.1:8080@n1:r",
    ),
    // A port without a number, of a protocol that is not carried.
    (WEB, "slice a of=web ports=http:all eps=10.244.1.1@n1:r", ""),
    (WEB, "slice a of=web ports=http:8080/SCTP eps=10.244.1.1@n1:r", ""),
    // Not ours.
    (WEB, "slice a of=web af=IPv6 eps=fd00::1@n1:r", ""),
    (WEB, "slice a of=web af=FQDN eps=a.example:r", ""),
    (WEB, "slice a eps=10.244.1.1@n1:r", ""),
    (WEB, "slice a of=web label=service.kubernetes.io/headless eps=10.244.1.1@n1:r", ""),
    (WEB, "slice a of=web label=service.kubernetes.io/service-proxy-name eps=10.244.1.1@n1:r", ""),
    (
        "svc web; slice a of=web eps=10.244.1.1@n1:r",
        "slice a eps=10.244.1.1@n1:r",
        "web:http 10.96.0.1:80",
    ),
    // A slice goes over to another Service.
    (
        "svc web; svc b ip=10.96.0.2; slice a of=web eps=10.244.1.1@n1:r",
        "slice a of=b eps=10.244.1.1@n1:r",
        "b:http 10.96.0.2:80 > 10.244.1.1:8080@n1:r; web:http 10.96.0.1:80",
    ),
    // Without a selector: whoever wrote the slice, and wherever its endpoints are.
    (WEB, "slice mine of=web eps=203.0.113.5:u", "web:http 10.96.0.1:80 > 203.0.113.5:8080:r"),
    // Hints are carried; a slice without them clears them.
    (
        WEB,
        "slice a of=web eps=10.244.1.1@n1:r~z1",
        "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:r~z1",
    ),
    (
        "svc web; slice a of=web eps=10.244.1.1@n1:r~z1",
        ONE,
        "web:http 10.96.0.1:80 > 10.244.1.1:8080@n1:r",
    ),
    // Nodes.
    ("", "node n1 cidr=10.244.1.0/24 ip=192.168.1.101", "n1=10.244.1.0/24,192.168.1.101"),
    ("", "node n1", "n1="),
    ("", "node n1 cidr=10.244.1.0/24 zone=z1", "n1=10.244.1.0/24,z1"),
    ("node n1 cidr=10.244.1.0/24", "node n1 cidr=10.244.1.0/24 zone=z1", "n1=10.244.1.0/24,z1"),
    ("node n1 cidr=10.244.1.0/24", "node n1 cidr=10.244.1.0/24", ""),
    ("node n1 cidr=10.244.1.0/24", "-node n1", "-n1"),
    ("node n1 cidr=10.244.1.0/24", "node n1 cidr=nonsense,10.244.2.0/24", "n1=10.244.2.0/24"),
    // Many events, one change.
    (
        "svc web; slice a of=web eps=10.244.1.1@n1:r",
        "slice a of=web; -slice a; -svc web; svc web; slice a of=web eps=10.244.1.1@n1:r",
        "",
    ),
];

#[test]
fn events_change_what_they_touch() {
    assert!(ROWS.len() >= 60);
    for (before, events, expected) in ROWS {
        let lines = |text: &'static str| text.split("; ").filter(|line| !line.is_empty());
        let mut world = World::default();
        lines(before).for_each(|line| world.hear(line));
        let mut programmed = RuleSet::default();
        programmed.apply(world.compiler.take_changes());
        lines(events).for_each(|line| world.hear(line));
        let delta = world.compiler.take_changes();
        assert_eq!(delta_shown(&delta), *expected, "{before} | {events}");
        programmed.apply(delta);
        assert_eq!(programmed, world.fresh(), "{before} | {events}");
    }
}

/// The ports at which load balancers ask, and how many ready endpoints of node n1 they are told.
#[test]
fn load_balancers_are_told_of_local_endpoints() {
    let lb = "svc web type=LoadBalancer etp=Local hc=32000";
    let two =
        "slice a of=web ports=http:8080,dns:53 eps=10.244.1.1@n1:r,10.244.1.2@n1:r,10.244.2.1@n2:r";
    for (events, expected) in [
        (lb, "32000=0"),
        ("svc web type=LoadBalancer hc=32000", ""),
        ("svc web type=NodePort etp=Local hc=32000", ""),
        ("svc web type=LoadBalancer etp=Local", ""),
        (
            "svc web type=LoadBalancer etp=Local hc=32000; slice a of=web eps=10.244.1.1@n1:t",
            "32000=0",
        ),
        (
            "svc web type=LoadBalancer etp=Local hc=32000; slice a of=web eps=10.244.1.1:r",
            "32000=0",
        ),
    ] {
        let mut world =
            World { compiler: Compiler::for_node("n1", RuleSet::default()), ..World::default() };
        events.split("; ").for_each(|line| world.hear(line));
        world.compiler.take_changes();
        let told: Vec<String> = world
            .compiler
            .health_checks()
            .values()
            .map(|check| format!("{}={}", check.port, check.endpoints))
            .collect();
        assert_eq!(told.join(" "), expected, "{events}");
    }
    // A pod with two ports counts once; and everything goes with the Service.
    let mut world =
        World { compiler: Compiler::for_node("n1", RuleSet::default()), ..World::default() };
    let count = |world: &mut World, line: &str| {
        world.hear(line);
        world.compiler.take_changes();
        world.compiler.health_checks().values().next().map(|check| check.endpoints)
    };
    assert_eq!(count(&mut world, &format!("{lb} ports=http:80,dns:53")), Some(0));
    assert_eq!(
        world.compiler.without_local_endpoints(),
        [0, 0],
        "without any endpoint it is nobody's fault"
    );
    assert_eq!(count(&mut world, two), Some(2));
    assert_eq!(count(&mut world, "slice a of=web eps=10.244.2.1@n2:r"), Some(0));
    assert_eq!(world.compiler.without_local_endpoints(), [0, 1]);
    assert_eq!(count(&mut world, "-svc web"), None);
    assert_eq!(world.compiler.without_local_endpoints(), [0, 0]);
}
