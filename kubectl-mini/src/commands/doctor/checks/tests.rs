//! Checks against a snapshot that is broken in ways that a test's cluster cannot be; the integration tests break real
//! ones. And nothing is found in the healthy snapshot.

use std::collections::BTreeSet;

use apimachinery::object::ObjectKey;
use serde_json::{Value, json};

use super::*;

/// A Service, its pod and its node, in order.
fn healthy() -> Snapshot {
    let mut snapshot = Snapshot::default();
    let read = |value: Value| value.to_string();
    let web = ObjectKey::new("default", "web");
    let service = json!({"metadata": {"namespace": "default", "name": "web"}, "spec": {
        "type": "LoadBalancer", "clusterIP": "10.96.0.9", "selector": {"app": "web"},
        "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "127.1.0.128"}]}}});
    snapshot.services.insert(web.clone(), serde_json::from_str(&read(service)).unwrap());
    let dns = json!({"metadata": {"namespace": "kube-system", "name": "kube-dns"}, "spec": {"clusterIP": "None", "selector": {"app": "dns"}}});
    snapshot.services.insert(dns::service_key(), serde_json::from_str(&read(dns)).unwrap());
    let slice = |service: &str, ip: &str, port: u16| {
        let slice = json!({"addressType": "IPv4", "metadata": {"labels": {"kubernetes.io/service-name": service}},
            "ports": [{"name": "", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}]});
        serde_json::from_value(slice).unwrap()
    };
    snapshot.slices.insert(web.clone(), vec![slice("web", "10.244.1.2", 80)]);
    snapshot.slices.insert(dns::service_key(), vec![slice("kube-dns", "10.244.1.3", 53)]);
    let pod = json!({"metadata": {"namespace": "default", "name": "web", "labels": {"app": "web"}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "nginx"}]},
        "status": {"phase": "Running", "podIP": "10.244.1.2", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "c", "ready": true, "image": "nginx", "imageID": "", "restartCount": 0}]}});
    snapshot.pods.insert(web, serde_json::from_value(pod).unwrap());
    let node = json!({"metadata": {"name": "node-1"}, "spec": {"podCIDRs": ["10.244.1.0/24"], "podCIDR": "10.244.1.0/24"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    snapshot.nodes.insert("node-1".into(), serde_json::from_value(node).unwrap());
    let report = json!({
        "stance": {"node": "node-1", "address": "192.168.1.101", "podCidr": "10.244.1.0/24", "hostAddress": "192.168.1.1",
            "backends": [], "egress": false, "virtualRanges": ["10.244.0.0/16"]},
        "bootId": "x", "generation": 3, "rules": {
            "services": {"default/web": {"protocol": "TCP", "clusterIps": ["10.96.0.9"], "port": 80, "nodePort": 30080,
                "loadBalancerIps": ["127.1.0.128"],
                "endpoints": [{"address": "10.244.1.2:80", "node": "node-1", "ready": true, "serving": true, "terminating": false}]}},
            "nodes": {"node-1": {"podCidrs": ["10.244.1.0/24"], "addresses": ["192.168.1.101"]}}},
        "pods": [{"namespace": "default", "name": "web", "uid": "u", "ip": "10.244.1.2",
            "listening": [{"protocol": "TCP", "address": "0.0.0.0:80"}]}],
        "listening": [], "host": [], "refused": [], "addresses": {"used": 1, "capacity": 253},
    });
    snapshot.reports.insert("node-1".into(), Ok(serde_json::from_value(report).unwrap()));
    snapshot
}

#[test]
fn a_healthy_snapshot_has_no_findings() {
    assert_eq!(run(&healthy()), []);
}

#[test]
fn every_check_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), CHECKS.len());
    assert!(CHECKS.iter().all(|check| !check.about.is_empty()));
}

/// What the tests with real clusters cannot bring about.
#[test]
fn each_breakage_is_found_alone() {
    let check = |break_it: &dyn Fn(&mut Snapshot), name: &str, cause: &str| {
        let mut snapshot = healthy();
        break_it(&mut snapshot);
        let found = run(&snapshot);
        let [finding] = found.as_slice() else { panic!("{name}: {found:#?}") };
        assert_eq!((finding.check, finding.cause.as_str()), (name, cause));
        assert!(CHECKS.iter().any(|check| check.name == finding.check));
        assert!(!finding.fix.is_empty() && !finding.evidence.is_empty(), "{finding:#?}");
    };
    let report = |snapshot: &mut Snapshot, change: &dyn Fn(&mut cni::report::NodeReport)| {
        change(snapshot.reports.get_mut("node-1").unwrap().as_mut().unwrap());
    };
    check(
        &|s| report(s, &|report| report.addresses.used = 253),
        "addresses",
        "has no address left in 10.244.1.0/24 for pods",
    );
    check(
        &|s| {
            let service = s.services.get_mut(&ObjectKey::new("default", "web")).unwrap();
            service.status.load_balancer = None;
            let event = json!({"metadata": {}, "type": "Warning", "reason": "SyncLoadBalancerFailed", "message": "no address is left",
                "involvedObject": {"kind": "Service", "namespace": "default", "name": "web"}});
            s.warnings.push(serde_json::from_value(event).unwrap());
        },
        "load-balancer",
        "waits for a load balancer: it has no address",
    );
    check(
        &|s| {
            let node = s.nodes.get_mut("node-1").unwrap();
            let pressure = json!({"type": "MemoryPressure", "status": "True", "reason": "r"});
            node.status.conditions.push(serde_json::from_value(pressure).unwrap());
        },
        "node-ready",
        "has MemoryPressure: pods are evicted and none are placed here",
    );
    check(
        &|s| {
            let node = s.nodes.get_mut("node-1").unwrap();
            node.status.conditions[0].status = "Unknown".into();
        },
        "node-ready",
        "is unreachable: its kubelet has stopped telling of it",
    );
    check(
        &|s| {
            report(s, &|report| {
                let rule = report.rules.services.values_mut().next().unwrap();
                rule.endpoints[0].ready = false;
            });
        },
        "rules",
        "its rules differ from the API in 1 places: kube-proxy is behind, or away",
    );
    check(
        &|s| drop(s.services.remove(&dns::service_key())),
        "dns",
        "there is no DNS: names resolve from /etc/hosts only",
    );
    let refused = |s: &mut Snapshot, reason: &str, message: &str| {
        let refusal = cni::report::HostRefusal {
            service: "default/web".parse().unwrap(),
            reason: reason.into(),
            message: message.into(),
        };
        report(s, &|report| report.refused.push(refusal.clone()));
    };
    let forbidden = "cannot open 127.1.0.128:80/TCP: ports below 1024 need privileges here; run: sudo sysctl net.ipv4.ip_unprivileged_port_start=80";
    check(
        &|s| refused(s, "HostPortForbidden", forbidden),
        "host-port",
        "the host does not open a port for it: HostPortForbidden",
    );
    let mut snapshot = healthy();
    refused(&mut snapshot, "HostPortForbidden", forbidden);
    assert_eq!(run(&snapshot)[0].fix, "sudo sysctl net.ipv4.ip_unprivileged_port_start=80");
}
