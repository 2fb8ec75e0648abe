use serde_json::{Value, json};

use super::*;

/// A pod from words: its name, then `ip=`, `unready`, `going`, `ended` (its containers), `succeeded`, `on=NODE`,
/// `host=HOSTNAME/SUBDOMAIN`, `http=PORT` (a container port of that name), `side=PORT` (the same in a sidecar).
fn pod(words: &str) -> Arc<Pod> {
    let mut words = words.split_whitespace();
    let name = words.next().expect("a name");
    let mut pod = json!({
        "metadata": {"name": name, "uid": name, "namespace": "n"},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let port =
            || json!([{"name": "http", "containerPort": value.parse::<i32>().expect("a port")}]);
        match key {
            "ip" => pod["status"]["podIP"] = value.into(),
            "unready" => pod["status"]["conditions"][0]["status"] = "False".into(),
            "going" => pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into(),
            "ended" => {
                pod["status"]["containerStatuses"] = json!([{"name": "c", "image": "", "imageID": "",
                    "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}]);
            }
            "succeeded" => pod["status"]["phase"] = "Succeeded".into(),
            "on" => pod["spec"]["nodeName"] = value.into(),
            "host" => {
                let (host, subdomain) = value.split_once('/').expect("hostname/subdomain");
                pod["spec"]["hostname"] = host.into();
                pod["spec"]["subdomain"] = subdomain.into();
            }
            "http" => pod["spec"]["containers"][0]["ports"] = port(),
            "side" => {
                pod["spec"]["initContainers"] =
                    json!([{"name": "s", "restartPolicy": "Always", "ports": port()}]);
            }
            other => unreachable!("no word {other}"),
        }
    }
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn service(spec: &Value) -> Service {
    let mut service = json!({
        "metadata": {"name": "web", "namespace": "n", "uid": "svc", "labels": {"team": "a"}},
        "spec": {"clusterIP": "10.96.0.9", "selector": {"app": "web"}, "ports": [{"port": 80}]},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        service["spec"][key] = value.clone();
    }
    serde_json::from_value(service).expect("a Service")
}

fn run(service: &Service, pods: &[Arc<Pod>], slices: &[EndpointSlice]) -> Plan {
    let zoned: Node = serde_json::from_value(
        json!({"metadata": {"name": "a", "labels": {"topology.kubernetes.io/zone": "z1"}}}),
    )
    .expect("a node");
    let zoned = Arc::new(zoned);
    let node = move |name: &str| (name == "a").then(|| zoned.clone());
    plan(&Snapshot {
        service,
        pods: pods.to_vec(),
        slices: slices.iter().cloned().map(Arc::new).collect(),
        node: &node,
        trigger_time: None,
    })
}

/// An endpoint as `address`, with `!` where it is not ready, `s` where it serves, `t` where it terminates.
fn endpoints(slice: &EndpointSlice) -> String {
    let one = |e: &Endpoint| {
        let conditions = e.conditions.clone().unwrap_or_default();
        let mark = |on: bool, mark: &'static str| if on { mark } else { "" };
        format!(
            "{}{}{}{}",
            e.addresses.join("+"),
            mark(conditions.ready != Some(true), "!"),
            mark(conditions.serving == Some(true), "s"),
            mark(conditions.terminating == Some(true), "t")
        )
    };
    slice.endpoints.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn ports(slice: &EndpointSlice) -> String {
    let one =
        |p: &EndpointPort| format!("{}:{}", p.name.as_deref().unwrap_or("?"), p.port.unwrap_or(0));
    slice.ports.iter().map(one).collect::<Vec<_>>().join(",")
}

/// New slices of a Service without any, as `ports = endpoints`, in order.
#[track_caller]
fn check(spec: &Value, pods: &[&str], expected: &[&str]) {
    let pods: Vec<Arc<Pod>> = pods.iter().map(|p| pod(p)).collect();
    let plan = run(&service(spec), &pods, &[]);
    let made = plan.create.iter().map(|s| format!("{} = {}", ports(s), endpoints(s)));
    assert_eq!(made.collect::<Vec<_>>(), expected, "{spec}");
    assert_eq!((plan.update.len(), plan.delete.len()), (0, 0));
}

#[test]
fn pods_become_endpoints() {
    let plain = json!({});
    check(&plain, &[], &[" = "]);
    check(&plain, &["a"], &[" = "]);
    check(&plain, &["a ip=10.0.0.1"], &[":80 = 10.0.0.1s"]);
    check(&plain, &["a ip=10.0.0.1 unready"], &[":80 = 10.0.0.1!"]);
    check(&plain, &["a ip=10.0.0.1 going"], &[":80 = 10.0.0.1!st"]);
    check(&plain, &["a ip=10.0.0.1 going unready"], &[":80 = 10.0.0.1!t"]);
    check(&plain, &["a ip=10.0.0.1 going ended"], &[":80 = 10.0.0.1!st"]);
    check(&plain, &["a ip=10.0.0.1 ended"], &[":80 = 10.0.0.1s"]);
    check(&plain, &["a ip=10.0.0.1 succeeded"], &[" = "]);
    let published = json!({"publishNotReadyAddresses": true});
    check(&published, &["a ip=10.0.0.1 unready"], &[":80 = 10.0.0.1"]);
    check(&published, &["a ip=10.0.0.1 going"], &[":80 = 10.0.0.1st"]);
}

#[test]
fn ports_resolve_for_each_pod() {
    let named = json!({"ports": [{"name": "web", "port": 80, "targetPort": "http"}]});
    check(&named, &["a ip=10.0.0.1 http=8080"], &["web:8080 = 10.0.0.1s"]);
    check(&named, &["a ip=10.0.0.1 side=9090"], &["web:9090 = 10.0.0.1s"]);
    check(&named, &["a ip=10.0.0.1"], &[" = 10.0.0.1s"]);
    check(
        &named,
        &["a ip=10.0.0.1 http=8080", "b ip=10.0.0.2 http=9090", "c ip=10.0.0.3 http=8080"],
        &["web:8080 = 10.0.0.1s 10.0.0.3s", "web:9090 = 10.0.0.2s"],
    );
    let two = json!({"ports": [{"name": "a", "port": 80, "targetPort": 8080}, {"name": "b", "port": 81}]});
    check(&two, &["a ip=10.0.0.1"], &["a:8080,b:81 = 10.0.0.1s"]);
    let udp = json!({"ports": [{"port": 53, "targetPort": "http", "protocol": "UDP"}]});
    check(&udp, &["a ip=10.0.0.1 http=5353"], &[" = 10.0.0.1s"]);
    check(&json!({"ports": []}), &["a ip=10.0.0.1"], &[" = 10.0.0.1s"]);
}

#[test]
fn endpoints_know_where_they_are_and_how_they_are_called() {
    let headless = service(&json!({"clusterIP": "None"}));
    let one = |words: &str| {
        let slice = run(&headless, &[pod(words)], &[]).create.remove(0);
        let endpoint = slice.endpoints[0].clone();
        (endpoint.hostname, endpoint.zone, endpoint.node_name)
    };
    let text = |t: &str| Some(t.to_owned());
    assert_eq!(one("p ip=10.0.0.1 host=h/web on=a"), (text("h"), text("z1"), text("a")));
    assert_eq!(one("p ip=10.0.0.1 host=h/other on=b"), (None, None, text("b")));
    assert_eq!(one("p ip=10.0.0.1"), (None, None, None));
}

#[test]
fn traffic_distribution_becomes_hints() {
    for (distribution, on_node, expected) in [
        (None, "a", (vec![], vec![])),
        (Some("PreferClose"), "a", (vec!["z1"], vec![])),
        (Some("PreferSameZone"), "a", (vec!["z1"], vec![])),
        (Some("PreferSameNode"), "a", (vec!["z1"], vec!["a"])),
        // A node without a zone.
        (Some("PreferClose"), "b", (vec![], vec![])),
        (Some("PreferSameNode"), "b", (vec![], vec!["b"])),
    ] {
        let spec = json!({"trafficDistribution": distribution});
        let plan = run(&service(&spec), &[pod(&format!("p ip=10.0.0.1 on={on_node}"))], &[]);
        let hints = plan.create[0].endpoints[0].hints.clone().unwrap_or_default();
        let zones: Vec<&str> = hints.for_zones.iter().map(|zone| zone.name.as_str()).collect();
        let nodes: Vec<&str> = hints.for_nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!((zones, nodes), expected, "{distribution:?} {on_node}");
    }
}

#[test]
fn slices_carry_the_services_labels_and_owner() {
    let mut service = service(&json!({}));
    service.metadata.labels.insert(SERVICE_NAME.into(), "forged".into());
    service.metadata.labels.insert(HEADLESS.into(), String::new());
    let slice = run(&service, &[], &[]).create.remove(0);
    let labels: Vec<(&str, &str)> =
        slice.metadata.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [(MANAGED_BY, MANAGER), (SERVICE_NAME, "web"), ("team", "a")]);
    assert_eq!(slice.metadata.generate_name.as_deref(), Some("web-"));
    assert_eq!(slice.metadata.owner_references[0].uid, "svc");
    service.spec.cluster_ip = Some("None".into());
    let headless = run(&service, &[], &[]).create.remove(0);
    assert!(headless.metadata.labels.contains_key(HEADLESS));
}

/// Keeps the slices as an API server would, and counts the writes.
struct Kept {
    service: Service,
    slices: Vec<EndpointSlice>,
    made: usize,
}

impl Kept {
    fn new(service: Service) -> Self {
        Self { service, slices: Vec::new(), made: 0 }
    }

    /// Syncs with these pods; gives the numbers of slices created, updated and deleted.
    fn sync(&mut self, pods: &[Arc<Pod>]) -> [usize; 3] {
        let plan = run(&self.service, pods, &self.slices);
        let writes = [plan.create.len(), plan.update.len(), plan.delete.len()];
        for mut slice in plan.create {
            self.made += 1;
            slice.metadata.name = Some(format!("web-{}", self.made));
            self.slices.push(slice);
        }
        for slice in plan.update {
            let old = self.slices.iter_mut().find(|s| s.metadata.name == slice.metadata.name);
            *old.expect("an updated slice is there") = slice;
        }
        self.slices.retain(|s| !plan.delete.contains(s.metadata.name.as_ref().unwrap()));
        let again = run(&self.service, pods, &self.slices);
        assert_eq!(again, Plan::default(), "a second sync writes nothing");
        writes
    }

    fn sizes(&self) -> Vec<usize> {
        self.slices.iter().map(|s| s.endpoints.len()).collect()
    }
}

fn many(range: std::ops::Range<usize>) -> Vec<Arc<Pod>> {
    range.map(|n| pod(&format!("p{n:04} ip=10.0.{}.{}", n / 250, n % 250 + 1))).collect()
}

#[test]
fn as_few_slices_as_possible_are_written() {
    let mut kept = Kept::new(service(&json!({})));
    assert_eq!(kept.sync(&[]), [1, 0, 0], "a placeholder");
    assert_eq!(kept.sync(&many(0..1)), [0, 1, 0], "the placeholder is used");
    assert_eq!(kept.sync(&many(0..250)), [2, 1, 0]);
    assert_eq!(kept.sync(&many(0..250)), [0, 0, 0]);
    let mut sizes = kept.sizes();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100]);
    // One more goes where there is room; one that goes takes nothing else along.
    assert_eq!(kept.sync(&many(0..251)), [0, 1, 0]);
    let mut without = many(0..251);
    without.remove(7);
    assert_eq!(kept.sync(&without), [0, 1, 0]);
    // A new one fills the hole, if its slice changes anyway.
    without.remove(8);
    without.push(pod("new ip=10.1.0.1"));
    assert_eq!(kept.sync(&without), [0, 1, 0]);
    // All gone: one placeholder stays.
    assert_eq!(kept.sync(&[]), [0, 1, 2]);
    assert_eq!(kept.sizes(), [0]);
}

#[test]
fn what_fits_nowhere_whole_gets_a_slice_of_its_own() {
    let mut kept = Kept::new(service(&json!({})));
    kept.sync(&many(0..300));
    let mut pods = many(0..300);
    // 99 in each: there is room for one more in each, not for two in one.
    for at in [250, 150, 50] {
        pods.remove(at);
    }
    kept.sync(&pods);
    assert_eq!(kept.sizes(), [99, 99, 99]);
    pods.extend(many(400..402));
    assert_eq!(kept.sync(&pods), [1, 0, 0]);
}

#[test]
fn changed_ports_labels_and_readiness_update_in_place() {
    let mut kept = Kept::new(service(&json!({})));
    kept.sync(&[pod("a ip=10.0.0.1")]);
    assert_eq!(kept.sync(&[pod("a ip=10.0.0.1 unready")]), [0, 1, 0]);
    assert_eq!(kept.sync(&[pod("a ip=10.0.0.9 unready")]), [0, 1, 0]);
    kept.service.metadata.labels.insert("new".into(), "label".into());
    assert_eq!(kept.sync(&[pod("a ip=10.0.0.9 unready")]), [0, 1, 0]);
    kept.service.spec.ports[0].port = 81;
    assert_eq!(kept.sync(&[pod("a ip=10.0.0.9 unready")]), [0, 1, 0]);
    assert_eq!(ports(&kept.slices[0]), ":81");
    kept.slices[0].address_type = "IPv6".into();
    assert_eq!(kept.sync(&[pod("a ip=10.0.0.9")]), [1, 0, 1]);
}
