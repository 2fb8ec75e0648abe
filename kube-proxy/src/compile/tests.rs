mod events;

use super::*;

fn parse<T: serde::de::DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

fn service(json: &str) -> Service {
    parse(json)
}

fn slice(name: &str, service: &str, endpoints: &str) -> EndpointSlice {
    parse(&format!(
        r#"{{"metadata": {{"name": "{name}", "namespace": "default",
               "labels": {{"kubernetes.io/service-name": "{service}"}}}},
            "addressType": "IPv4",
            "ports": [{{"name": "http", "port": 8080}}, {{"name": "dns", "protocol": "UDP", "port": 53}}],
            "endpoints": [{endpoints}]}}"#
    ))
}

const WEB: &str = r#"{
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"type": "LoadBalancer", "clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7"],
        "externalIPs": ["127.77.1.9"], "sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local",
        "ports": [
            {"name": "http", "port": 80, "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053},
            {"name": "old", "port": 99, "protocol": "SCTP"}]},
    "status": {"loadBalancer": {"ingress": [
        {"ip": "127.77.1.128"}, {"ip": "127.77.1.129", "ipMode": "Proxy"}, {"hostname": "lb.example"}]}}}"#;

const ENDPOINTS: &str = r#"
    {"addresses": ["10.244.2.2"], "nodeName": "node-2"},
    {"addresses": ["10.244.1.2", "10.244.1.9"], "nodeName": "node-1",
        "conditions": {"ready": false, "serving": true, "terminating": true}}"#;

#[test]
fn compiles_all_that_a_service_says() {
    let rules = compile([&service(WEB)], [&slice("web-a", "web", ENDPOINTS)], []);
    let expected = serde_json::json!({
        "default/web:dns": {
            "protocol": "UDP", "clusterIps": ["10.96.7.7"], "port": 53, "nodePort": 30053,
            "externalIps": ["127.77.1.9"], "loadBalancerIps": ["127.77.1.128"], "affinitySeconds": 10800,
            "internalPolicy": "Cluster", "externalPolicy": "Local",
            "endpoints": [
                {"address": "10.244.1.2:53", "node": "node-1", "ready": false, "serving": true, "terminating": true},
                {"address": "10.244.2.2:53", "node": "node-2", "ready": true, "serving": true, "terminating": false}]},
        "default/web:http": {
            "protocol": "TCP", "clusterIps": ["10.96.7.7"], "port": 80, "nodePort": 30080,
            "externalIps": ["127.77.1.9"], "loadBalancerIps": ["127.77.1.128"], "affinitySeconds": 10800,
            "internalPolicy": "Cluster", "externalPolicy": "Local",
            "endpoints": [
                {"address": "10.244.1.2:8080", "node": "node-1", "ready": false, "serving": true, "terminating": true},
                {"address": "10.244.2.2:8080", "node": "node-2", "ready": true, "serving": true, "terminating": false}]}
    });
    assert_eq!(serde_json::to_value(&rules.services).unwrap(), expected);
    let mut compiler = Compiler::default();
    compiler.set_service(&service(WEB));
    let told = "port 99/SCTP is not served: the pod network carries TCP and UDP";
    assert_eq!(
        compiler.problems().iter().map(|problem| &problem.message).collect::<Vec<_>>(),
        [told]
    );
}

#[test]
fn leaves_out_what_is_not_its_own() {
    let check = |spec: &str, metadata: &str, expected: usize| {
        let json = format!(
            r#"{{"metadata": {{"name": "web", "namespace": "default" {metadata}}}, "spec": {spec}}}"#
        );
        assert_eq!(compile([&service(&json)], [], []).services.len(), expected, "{json}");
    };
    let ports = r#""ports": [{"port": 80, "nodePort": 30080}]"#;
    check(&format!(r#"{{"clusterIP": "10.96.0.9", {ports}}}"#), "", 1);
    check(&format!(r#"{{"clusterIP": "None", {ports}}}"#), "", 0);
    check(&format!("{{{ports}}}"), "", 0);
    check(&format!(r#"{{"type": "ExternalName", "clusterIP": "10.96.0.9", {ports}}}"#), "", 0);
    let other = r#", "labels": {"service.kubernetes.io/service-proxy-name": "x"}"#;
    check(&format!(r#"{{"clusterIP": "10.96.0.9", {ports}}}"#), other, 0);
    // A node port that was left behind by a change of type opens nothing.
    let plain = service(&format!(
        r#"{{"metadata": {{"name": "web"}}, "spec": {{"type": "ClusterIP", "clusterIP": "10.96.0.9", {ports}}}}}"#
    ));
    let rules = compile([&plain], [], []);
    assert_eq!(rules.services.values().next().unwrap().node_port, None);

    let mut ipv6 = slice("a", "web", ENDPOINTS);
    ipv6.address_type = "IPv6".into();
    let mut headless = slice("b", "web", ENDPOINTS);
    headless.metadata.labels.insert("service.kubernetes.io/headless".into(), String::new());
    let rules = compile([&service(WEB)], [&ipv6, &headless], []);
    assert!(rules.services.values().all(|rule| rule.endpoints.is_empty()));
}

#[test]
fn a_pod_in_two_slices_counts_once() {
    let late = r#"{"addresses": ["10.244.2.2"], "conditions": {"ready": false, "serving": false}}"#;
    let ready = r#"{"addresses": ["10.244.2.2"]}"#;
    for (first, second) in [(late, ready), (ready, late)] {
        let slices = [slice("a", "web", first), slice("b", "web", second)];
        let rules = compile([&service(WEB)], &slices, []);
        let endpoints = &rules.services[&"default/web:http".parse().unwrap()].endpoints;
        assert_eq!(endpoints.len(), 1);
        assert!(endpoints[0].ready);
    }
}

#[test]
fn routes_follow_the_nodes() {
    let node: Node = parse(
        r#"{"metadata": {"name": "node-1"}, "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
            "status": {"addresses": [{"type": "Hostname", "address": "node-1"},
                {"type": "InternalIP", "address": "192.168.1.101"}, {"type": "ExternalIP", "address": "127.77.1.1"}]}}"#,
    );
    let rules = compile([], [], [&node]);
    let expected = r#"{"node-1":{"podCidrs":["10.244.1.0/24"],"addresses":["192.168.1.101"]}}"#;
    assert_eq!(serde_json::to_string(&rules.nodes).unwrap(), expected);
}

#[test]
fn changes_lead_to_what_a_fresh_compilation_gives() {
    let mut compiler = Compiler::default();
    let mut programmed = RuleSet::default();
    let name: ServicePortName = "default/web:http".parse().unwrap();
    let key = |name: &str| ObjectKey { namespace: "default".into(), name: name.into() };
    // Slices may come before their Service.
    compiler.set_slice(&slice("web-a", "web", ENDPOINTS));
    assert!(compiler.take_changes().is_empty());
    compiler.set_service(&service(WEB));
    let delta = compiler.take_changes();
    assert_eq!(delta.services.len(), 2);
    programmed.apply(delta);
    assert_eq!(programmed, compile([&service(WEB)], [&slice("web-a", "web", ENDPOINTS)], []));
    // Nothing new changes nothing.
    compiler.set_service(&service(WEB));
    compiler.set_slice(&slice("web-a", "web", ENDPOINTS));
    assert!(compiler.take_changes().is_empty());
    // A slice goes over to another Service.
    compiler.set_slice(&slice("web-a", "other", ENDPOINTS));
    programmed.apply(compiler.take_changes());
    assert!(programmed.services[&name].endpoints.is_empty());
    compiler.set_slice(&slice("web-a", "web", ENDPOINTS));
    programmed.apply(compiler.take_changes());
    assert_eq!(programmed.services[&name].endpoints.len(), 2);
    compiler.remove_slice(&key("web-a"));
    programmed.apply(compiler.take_changes());
    assert!(programmed.services[&name].endpoints.is_empty());
    // Another Service whose name begins the same is left alone.
    let longer = WEB.replace(r#""name": "web""#, r#""name": "web-2""#);
    compiler.set_service(&service(&longer));
    programmed.apply(compiler.take_changes());
    compiler.remove_service(&key("web"));
    programmed.apply(compiler.take_changes());
    assert_eq!(programmed, compile([&service(&longer)], [], []));
}

#[test]
fn rules_of_an_earlier_life_hold_until_all_is_known() {
    let nodes = r#"{"metadata": {"name": "node-1"}, "spec": {"podCIDR": "10.244.1.0/24"}}"#;
    let node: Node = parse(nodes);
    let earlier = compile([&service(WEB)], [&slice("web-a", "web", ENDPOINTS)], [&node]);
    let mut compiler = Compiler::from_rules(earlier.clone());
    assert!(compiler.take_changes().is_empty());
    assert_eq!(*compiler.rules(), earlier);
    // The same objects are no change; what is not there any more goes.
    compiler.set_service(&service(WEB));
    compiler.set_slice(&slice("web-a", "web", ENDPOINTS));
    compiler.forget_unknown();
    let delta = compiler.take_changes();
    assert!(delta.services.is_empty(), "{delta:?}");
    assert_eq!(delta.nodes.into_iter().collect::<Vec<_>>(), [("node-1".to_owned(), None)]);
}
