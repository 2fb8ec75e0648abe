use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::testing::{applied, merge, node, pod, requests};

/// Plays the inputs; gives each decision as `pod -> node` or `pod: message`.
fn play(inputs: impl IntoIterator<Item = Input>) -> Vec<String> {
    let mut scheduler = Scheduler::new("default-scheduler", 1);
    let mut log = Vec::new();
    for (second, input) in inputs.into_iter().enumerate() {
        let now = Duration::from_secs(second as u64 * 20);
        scheduler.handle(input, now);
        while let Some(action) = scheduler.next_action(now) {
            log.push(match action {
                Action::Bind { pod, node, .. } => format!("{} -> {node}", pod.key.name),
                Action::Report { pod, nomination: Nomination::Preempt(p, _), .. } => {
                    let victims: Vec<_> = p.victims.iter().map(|v| v.key.name.as_str()).collect();
                    format!("{} preempts {victims:?} on {}", pod.key.name, p.node)
                }
                Action::Report { pod, message, .. } => format!("{}: {message}", pod.key.name),
            });
        }
    }
    log
}

#[track_caller]
fn check(inputs: Vec<Input>, expected: &[&str]) {
    assert_eq!(play(inputs), expected);
}

/// What is added where nothing would help on so many nodes.
fn hopeless(nodes: usize) -> String {
    format!(
        " no new claims to deallocate, preemption: 0/{nodes} nodes are available: {nodes} Preemption is \
         not helpful for scheduling."
    )
}

/// Nodes, pods that are placed before, pod `p`, and what it is told, to the letter.
#[test]
fn messages_are_kubernetes_own() {
    let plain = || json!({});
    let taint = || json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    let cordon = || json!({"spec": {"unschedulable": true}});
    let term = |kind: &str, app: &str| {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"affinity": {kind: {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": app}}}]}}}})
    };
    let fields = |names: Value| {
        json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchFields": names}]}}}}})
    };
    let field = |name: &str| json!({"key": "metadata.name", "operator": "In", "values": [name]});
    let spread = |key: &str| {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2,
            "labelSelector": {"matchLabels": {"app": "web"}}}]}})
    };
    let on = |node: &str, mut extra: Value| {
        merge(&mut extra, json!({"spec": {"nodeName": node}}));
        extra
    };
    let no_victims = " no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption \
                      victims found for incoming pod.";
    let web = || json!({"metadata": {"labels": {"app": "web"}}});
    let rows: Vec<(Vec<Input>, Vec<Value>, Value, String)> = vec![
        (vec![], vec![], plain(), "no nodes available to schedule pods".into()),
        (
            vec![node("a", "4", taint()), node("b", "4", cordon()), node("c", "500m", plain())],
            vec![],
            plain(),
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) \
             were unschedulable."
                .to_owned()
                + &hopeless(3),
        ),
        // The first plugin that refuses has the word; one node can have several reasons of one plugin.
        (
            vec![node("a", "500m", json!({"spec": {"unschedulable": true}, "status": {"allocatable": {"pods": "0"}}}))],
            vec![],
            plain(),
            "0/1 nodes are available: 1 node(s) were unschedulable.".to_owned() + &hopeless(1),
        ),
        (
            vec![node("a", "500m", json!({"status": {"allocatable": {"pods": "0"}}}))],
            vec![],
            plain(),
            "0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods.".to_owned() + &hopeless(1),
        ),
        // Sorted as text, and not as numbers.
        (
            (0..12).map(|n| node(&format!("n{n}"), "4", if n < 2 { cordon() } else { taint() })).collect(),
            vec![],
            plain(),
            "0/12 nodes are available: 10 node(s) had untolerated taint(s), 2 node(s) were unschedulable."
                .to_owned()
                + &hopeless(12),
        ),
        (
            vec![node("a", "1", plain())],
            vec![on("a", plain())],
            plain(),
            "0/1 nodes are available: 1 Insufficient cpu.".to_owned() + no_victims,
        ),
        (
            vec![node("a", "1", plain())],
            vec![],
            json!({"spec": {"nodeSelector": {"disk": "ssd"}}}),
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.".to_owned()
                + &hopeless(1),
        ),
        (
            vec![node("a", "1", plain()), node("b", "1", plain())],
            vec![],
            fields(json!([field("c")])),
            "0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity].".to_owned()
                + &hopeless(2),
        ),
        (
            vec![node("a", "1", taint()), node("b", "1", plain())],
            vec![],
            fields(json!([field("a")])),
            "0/2 nodes are available: 1 node(s) didn't satisfy plugin(s) [NodeAffinity], 1 node(s) had \
             untolerated taint(s)."
                .to_owned()
                + &hopeless(2),
        ),
        (
            vec![node("a", "1", plain())],
            vec![],
            fields(json!([field("a"), field("b")])),
            "0/1 nodes are available: pod affinity terms conflict.".to_owned() + &hopeless(1),
        ),
        (
            vec![node("a", "4", plain())],
            vec![],
            term("podAffinity", "db"),
            "0/1 nodes are available: 1 node(s) didn't match pod affinity rules.".to_owned() + &hopeless(1),
        ),
        (
            vec![node("a", "4", plain())],
            vec![on("a", web())],
            term("podAntiAffinity", "web"),
            "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.".to_owned() + no_victims,
        ),
        (
            vec![node("a", "4", plain())],
            vec![on("a", term("podAntiAffinity", "web"))],
            web(),
            "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.".to_owned()
                + no_victims,
        ),
        (
            vec![node("a", "4", plain())],
            vec![on("a", web())],
            spread("kubernetes.io/hostname"),
            "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints.".to_owned()
                + no_victims,
        ),
        (
            vec![node("a", "4", plain())],
            vec![],
            spread("zone"),
            "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing \
             required label)."
                .to_owned()
                + &hopeless(1),
        ),
        (
            vec![node("a", "1", plain())],
            vec![on("a", plain())],
            json!({"spec": {"priority": 9, "preemptionPolicy": "Never"}}),
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, not eligible due to \
             preemptionPolicy=Never."
                .into(),
        ),
        (
            vec![node("a", "4", plain())],
            vec![],
            json!({"spec": {"schedulingGates": [{"name": "x"}, {"name": "y"}]}}),
            "waiting for scheduling gates: [x y]".into(),
        ),
        // With a preemption begun, nothing is added.
        (
            vec![node("a", "1", plain())],
            vec![on("a", plain())],
            json!({"spec": {"priority": 9}}),
            "0/1 nodes are available: 1 Insufficient cpu.".into(),
        ),
    ];
    for (nodes, placed, waiting, expected) in rows {
        let mut scheduler = Scheduler::new("default-scheduler", 1);
        let placed =
            placed.into_iter().enumerate().map(|(n, extra)| pod(&format!("placed-{n}"), extra));
        for input in nodes.into_iter().chain(placed).chain([pod("p", waiting.clone())]) {
            scheduler.handle(input, Duration::ZERO);
        }
        match scheduler.next_action(Duration::ZERO) {
            Some(Action::Report { message, .. }) => assert_eq!(message, expected, "{waiting}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn replicas_of_one_owner_spread_over_the_nodes() {
    let owned = |name: &str| {
        pod(
            name,
            json!({"metadata": {
                "labels": {"app": "web", "pod-template-hash": "1"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-1", "uid": "rs", "controller": true,
                                     "apiVersion": "apps/v1"}],
            }}),
        )
    };
    let mut inputs: Vec<Input> = ["a", "b", "c"].map(|n| node(n, "8", json!({}))).into();
    let set = json!({"metadata": {"name": "web-1", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"pod-template-hash": "1"}}}});
    inputs.push(Input::ReplicaSet(applied(set)));
    inputs.extend(["1", "2", "3", "4", "5", "6"].map(owned));
    let mut counts = BTreeMap::new();
    for line in play(inputs) {
        *counts.entry(line.split(" -> ").nth(1).unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [2, 2, 2]);
}

#[test]
fn a_waiting_pod_goes_as_soon_as_there_is_room() {
    let ended = json!({"spec": {"nodeName": "a"}, "status": {"phase": "Succeeded"}});
    let log = play([
        node("a", "1", json!({})),
        pod("p", json!({})),
        pod("q", json!({})),
        pod("p", ended),
    ]);
    assert_eq!(log.last().map(String::as_str), Some("q -> a"));
}

#[test]
fn a_pod_that_wants_company_goes_when_the_company_is_bound() {
    let near = json!({"spec": {"affinity": {"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": "db"}}}]}}}});
    let db = json!({"metadata": {"labels": {"app": "db"}}});
    let mut bound = db.clone();
    merge(&mut bound, json!({"spec": {"nodeName": "a"}}));
    let log = play([node("a", "4", json!({})), pod("p", near), pod("db", db), pod("db", bound)]);
    assert_eq!(log[1..], ["db -> a", "p -> a"], "{log:?}");
}

#[test]
fn a_more_important_pod_takes_the_place_of_a_lesser() {
    let urgent = json!({"spec": {"priority": 1000}});
    check(
        vec![node("a", "1", json!({})), pod("p", json!({})), pod("q", urgent.clone())],
        &["p -> a", "q preempts [\"p\"] on a"],
    );
    let mut never = urgent;
    never["spec"]["preemptionPolicy"] = json!("Never");
    let log = play([node("a", "1", json!({})), pod("p", json!({})), pod("q", never)]);
    assert!(log[1].ends_with("not eligible due to preemptionPolicy=Never."), "{log:?}");
}

#[test]
fn preemption_spares_the_pods_that_need_not_go() {
    let log = play([
        node("a", "4", json!({})),
        pod("low", json!({"spec": {"priority": 1}})),
        pod("mid", json!({"spec": {"priority": 5}})),
        pod("wide", requests("2")),
        pod("urgent", json!({"spec": {"priority": 100}})),
    ]);
    assert_eq!(log.last().map(String::as_str), Some("urgent preempts [\"wide\"] on a"));
}

#[test]
fn affinity_and_anti_affinity_follow_the_topology() {
    let labelled = |name: &str, app: &str, affinity: Value| {
        pod(name, json!({"metadata": {"labels": {"app": app}}, "spec": {"affinity": affinity}}))
    };
    let term = |app: &str| {
        json!({"requiredDuringSchedulingIgnoredDuringExecution": [{
            "labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "kubernetes.io/hostname"}]})
    };
    let log = play([
        node("a", "4", json!({})),
        node("b", "4", json!({})),
        labelled("db", "db", json!({"podAntiAffinity": term("db")})),
        labelled("db2", "db", json!({"podAntiAffinity": term("db")})),
        labelled("db3", "db", json!({"podAntiAffinity": term("db")})),
        labelled("alone", "self", json!({"podAffinity": term("self")})),
        labelled("lost", "x", json!({"podAffinity": term("nobody")})),
    ]);
    let place = |n: usize| log[n].split(" -> ").nth(1).map(str::to_owned);
    assert!(place(0).is_some() && place(1).is_some() && place(0) != place(1), "{log:?}");
    assert!(log[2].contains("2 node(s) didn't match pod anti-affinity rules"), "{log:?}");
    assert!(place(3).is_some(), "the first of a group matches itself: {log:?}");
    assert!(log[4].contains("2 node(s) didn't match pod affinity rules"), "{log:?}");
}

#[test]
fn hard_spread_constraints_hold() {
    let constrained = |name: &str| {
        pod(
            name,
            json!({"metadata": {"labels": {"app": "s"}}, "spec": {"topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "s"}}}]}}),
        )
    };
    let log = play([
        node("a", "1", json!({})),
        node("b", "4", json!({})),
        constrained("1"),
        constrained("2"),
        constrained("3"),
        constrained("4"),
    ]);
    assert!(log[2].ends_with("-> b"), "a is full: {log:?}");
    assert!(
        log[3]
            .contains("1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints"),
        "{log:?}"
    );
}

#[test]
fn a_gated_pod_says_so_and_goes_when_ungated() {
    check(
        vec![
            node("a", "4", json!({})),
            pod("p", json!({"spec": {"schedulingGates": [{"name": "x"}, {"name": "y"}]}})),
            pod("p", json!({})),
        ],
        &["p: waiting for scheduling gates: [x y]", "p -> a"],
    );
}

#[test]
fn pods_of_other_schedulers_and_deleted_pods_are_left_alone() {
    check(
        vec![
            node("a", "4", json!({})),
            pod("other", json!({"spec": {"schedulerName": "mine"}})),
            pod("gone", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
        ],
        &[],
    );
}

#[test]
fn host_ports_conflict_by_address_and_protocol() {
    let host = |name: &str, port: Value| {
        pod(name, json!({"spec": {"containers": [{"name": "c", "ports": [port]}]}}))
    };
    let log = play([
        node("a", "8", json!({})),
        host("1", json!({"containerPort": 80, "hostPort": 80})),
        host("2", json!({"containerPort": 80, "hostPort": 80, "protocol": "UDP"})),
        host("3", json!({"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1"})),
        host("4", json!({"containerPort": 81, "hostPort": 81, "hostIP": "10.0.0.1"})),
        host("5", json!({"containerPort": 81, "hostPort": 81, "hostIP": "10.0.0.2"})),
    ]);
    let placed: Vec<bool> = log.iter().map(|l| l.contains("->")).collect();
    assert_eq!(placed, [true, true, false, true, true], "{log:?}");
}

/// What the scheduler says of pod `p` in this cluster: its node, or the message up to the preemption's part.
#[track_caller]
fn says(inputs: Vec<Input>, expected: &str) {
    let log = play(inputs);
    let last = log.last().cloned().unwrap_or_default();
    let short = last.split(" no new claims").next().unwrap_or_default();
    let short = short.trim_start_matches("p: ").trim_start_matches("p -> ").trim_end_matches('.');
    assert_eq!(short, expected, "{log:?}");
}

#[test]
fn requests_are_summed_as_kubernetes_sums_them() {
    let ask = |cpu: &str| json!({"name": cpu, "resources": {"requests": {"cpu": cpu}}});
    let sidecar = |cpu: &str| {
        let mut container = ask(cpu);
        container["restartPolicy"] = "Always".into();
        container
    };
    // What the pod asks for is what fits a node of exactly so much, and none of a thousandth less.
    let needs = |milli: i64, spec: Value| {
        let p = || pod("p", json!({"spec": spec}));
        says(vec![node("a", &format!("{milli}m"), json!({})), p()], "a");
        let short = format!("{}m", milli - 1);
        says(
            vec![node("a", &short, json!({})), p()],
            "0/1 nodes are available: 1 Insufficient cpu",
        );
    };
    needs(300, json!({"containers": [ask("100m"), ask("200m")]}));
    needs(500, json!({"containers": [ask("100m")], "initContainers": [ask("500m"), ask("300m")]}));
    needs(400, json!({"containers": [ask("400m")], "initContainers": [ask("300m")]}));
    needs(350, json!({"containers": [ask("100m")], "initContainers": [sidecar("250m")]}));
    needs(
        750,
        json!({"containers": [ask("100m")], "initContainers": [sidecar("250m"), ask("500m")]}),
    );
    needs(
        500,
        json!({"containers": [ask("100m")], "initContainers": [ask("500m"), sidecar("250m")]}),
    );
    needs(
        850,
        json!({"containers": [ask("100m")],
                      "initContainers": [sidecar("250m"), ask("500m"), sidecar("500m")]}),
    );
    needs(350, json!({"containers": [ask("100m")], "overhead": {"cpu": "250m"}}));
    needs(700, json!({"containers": [ask("100m")], "resources": {"requests": {"cpu": "700m"}}}));
}

#[test]
fn every_resource_is_named_that_is_short() {
    let p = |requests: Value| {
        pod(
            "p",
            json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}}),
        )
    };
    let full = json!({"status": {"allocatable": {"pods": "0"}}});
    let gpu = json!({"status": {"allocatable": {"example.com/gpu": "1"}}});
    says(
        vec![node("a", "1", json!({})), p(json!({"memory": "9Gi"}))],
        "0/1 nodes are available: 1 Insufficient memory",
    );
    says(
        vec![node("a", "1", json!({})), p(json!({"cpu": "2", "memory": "9Gi"}))],
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory",
    );
    says(
        vec![node("a", "1", full), p(json!({"cpu": "1"}))],
        "0/1 nodes are available: 1 Too many pods",
    );
    says(
        vec![node("a", "1", json!({})), p(json!({"ephemeral-storage": "1"}))],
        "0/1 nodes are available: 1 Insufficient ephemeral-storage",
    );
    says(
        vec![node("a", "1", json!({})), p(json!({"example.com/gpu": "1"}))],
        "0/1 nodes are available: 1 Insufficient example.com/gpu",
    );
    says(vec![node("a", "1", gpu), p(json!({"example.com/gpu": "1"}))], "a");
    says(vec![node("a", "1", json!({})), p(json!({"cpu": "0", "memory": "0"}))], "a");
}

#[test]
fn taints_selectors_names_and_ports_keep_pods_away() {
    let tainted = |effect: &str| {
        node("a", "4", json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": effect}]}}))
    };
    let tolerating = |toleration: Value| pod("p", json!({"spec": {"tolerations": [toleration]}}));
    let plain = || pod("p", json!({}));
    let refused = "0/1 nodes are available: 1 node(s) had untolerated taint(s)";
    says(vec![tainted("NoSchedule"), plain()], refused);
    says(vec![tainted("NoExecute"), plain()], refused);
    says(vec![tainted("PreferNoSchedule"), plain()], "a");
    says(vec![tainted("NoExecute"), tolerating(json!({"key": "k", "operator": "Exists"}))], "a");
    says(
        vec![
            tainted("NoExecute"),
            tolerating(json!({"key": "k", "value": "v", "effect": "NoSchedule"})),
        ],
        refused,
    );
    says(vec![tainted("NoExecute"), tolerating(json!({"operator": "Exists"}))], "a");

    let labelled = |labels: Value| node("a", "4", json!({"metadata": {"labels": labels}}));
    let required = |terms: Value| {
        pod(
            "p",
            json!({"spec": {"affinity": {"nodeAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}}),
        )
    };
    let refused = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector";
    for (expression, there, expected) in [
        (json!({"key": "d", "operator": "In", "values": ["x", "y"]}), json!({"d": "x"}), "a"),
        (json!({"key": "d", "operator": "In", "values": ["x"]}), json!({"d": "z"}), refused),
        (json!({"key": "d", "operator": "NotIn", "values": ["x"]}), json!({}), "a"),
        (json!({"key": "d", "operator": "Exists"}), json!({}), refused),
        (json!({"key": "d", "operator": "DoesNotExist"}), json!({"d": "x"}), refused),
        (json!({"key": "d", "operator": "Gt", "values": ["3"]}), json!({"d": "4"}), "a"),
        (json!({"key": "d", "operator": "Lt", "values": ["3"]}), json!({"d": "4"}), refused),
    ] {
        says(
            vec![labelled(there), required(json!([{"matchExpressions": [expression]}]))],
            expected,
        );
    }
    let fields = |values: Value| json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": values}]}]);
    let two = || vec![node("a", "4", json!({})), node("b", "4", json!({}))];
    let with = |mut inputs: Vec<Input>, p: Input| {
        inputs.push(p);
        inputs
    };
    says(with(two(), required(fields(json!(["b"])))), "b");
    says(
        with(two(), required(fields(json!(["c"])))),
        "0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity]",
    );
    let port = || json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 8080}]}]}});
    says(
        vec![node("a", "4", json!({})), pod("q", port()), pod("p", port())],
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports",
    );
}
