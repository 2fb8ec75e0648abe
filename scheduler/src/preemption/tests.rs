//! Who must go: a table of nodes, budgets, pods and what comes of a pod that finds no room.

use std::time::Duration;

use serde_json::json;

use crate::{
    scheduler::{Action, Input, Nomination, Scheduler},
    testing::{applied, merge, node, pod},
};

/// `name key=value…` with the keys `on` (its node), `cpu`, `prio`, `app` (its label), `started` (minutes), `policy`,
/// `nominated`, and the marks `ends` (terminating) and `preempted` (because of a preemption).
fn pod_of(text: &str) -> Input {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let mut extra = json!({});
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse::<i64>().unwrap_or_default();
        let more = match key {
            "on" => json!({"spec": {"nodeName": value}}),
            "cpu" => json!({"spec": {"containers": [
                {"name": "c", "resources": {"requests": {"cpu": value}}}]}}),
            "prio" => json!({"spec": {"priority": number()}}),
            "app" => json!({"metadata": {"labels": {"app": value}}}),
            "started" => json!({"status": {"startTime": format!("2026-01-01T00:{value}:00Z")}}),
            "policy" => json!({"spec": {"preemptionPolicy": value}}),
            "nominated" => json!({"status": {"nominatedNodeName": value}}),
            "ends" => json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            "preempted" => json!({"status": {"conditions": [{"type": "DisruptionTarget",
                "status": "True", "reason": "PreemptionByScheduler"}]}}),
            "selects" => json!({"spec": {"nodeSelector": {"disk": value}}}),
            "port" => json!({"spec": {"containers": [{"name": "c", "ports": [
                {"containerPort": number(), "hostPort": number()}]}]}}),
            "shuns" => json!({"spec": {"affinity": {"podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [{
                    "labelSelector": {"matchLabels": {"app": value}},
                    "topologyKey": "kubernetes.io/hostname"}]}}}}),
            other => panic!("{other}"),
        };
        merge(&mut extra, more);
    }
    pod(name, extra)
}

/// `app:allowed`
fn budget_of(text: &str) -> Input {
    let (app, allowed) = text.split_once(':').unwrap_or_default();
    let allowed: i32 = allowed.parse().unwrap_or_default();
    Input::DisruptionBudget(applied(json!({
        "metadata": {"name": app, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed},
    })))
}

/// What comes of the last pod, `p`: `[victims] on node`, `-> node`, or what the message says of preemption.
fn outcome(nodes: &str, budgets: &str, pods: &[&str]) -> String {
    let mut scheduler = Scheduler::new("default-scheduler", 1);
    let nodes = nodes.split_whitespace().map(|text| {
        let (name, cpu) = text.split_once(':').unwrap_or_default();
        node(name, cpu, json!({}))
    });
    let inputs = nodes.chain(budgets.split_whitespace().map(budget_of));
    for input in inputs.chain(pods.iter().map(|text| pod_of(text))) {
        scheduler.handle(input, Duration::ZERO);
    }
    let about_last = |action: &Action| {
        let (Action::Bind { pod, .. } | Action::Report { pod, .. }) = action;
        pod.key.name == "p"
    };
    match std::iter::from_fn(|| scheduler.next_action(Duration::ZERO)).find(about_last) {
        Some(Action::Bind { node, .. }) => format!("-> {node}"),
        Some(Action::Report { nomination: Nomination::Preempt(plan, displaced), .. }) => {
            let names = |pods: &[std::sync::Arc<crate::framework::PodInfo>]| {
                pods.iter().map(|p| p.key.name.clone()).collect::<Vec<_>>().join(" ")
            };
            let lost = if displaced.is_empty() {
                String::new()
            } else {
                format!(", {} looks elsewhere", names(&displaced))
            };
            format!("[{}] on {}{lost}", names(&plan.victims), plan.node)
        }
        Some(Action::Report { message, .. }) => {
            message.split_once("deallocate, ").map(|(_, why)| why.to_owned()).unwrap_or(message)
        }
        None => "nothing".into(),
    }
}

/// Nodes with their cpu, budgets with what they allow, pods of which the last waits, and what comes of it.
type Row = (&'static str, &'static str, &'static [&'static str], &'static str);

#[test]
fn who_must_go() {
    let rows: &[Row] = &[
        // Nobody, or nobody of lower priority, is there.
        (
            "a:1",
            "",
            &["p cpu=2 prio=9"],
            "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        ),
        (
            "a:2",
            "",
            &["x on=a cpu=2 prio=9", "p prio=9"],
            "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
        ),
        (
            "a:2 b:1",
            "",
            &["x on=a cpu=2 prio=9", "p cpu=2 prio=9"],
            "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.",
        ),
        // Their going would not suffice.
        (
            "a:2",
            "",
            &["x on=a cpu=1 prio=9", "y on=a prio=1", "p cpu=2 prio=5"],
            "preemption: 0/1 nodes are available: 1 Insufficient cpu.",
        ),
        // Or it is not about room.
        (
            "a:2",
            "",
            &["x on=a prio=1", "p prio=9 selects=ssd"],
            "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        ),
        // Only as many as needed, the least important.
        ("a:2", "", &["x on=a prio=1", "y on=a prio=2", "p prio=9"], "[x] on a"),
        (
            "a:2",
            "",
            &["x on=a prio=1 started=10", "y on=a prio=1 started=20", "p prio=9"],
            "[y] on a",
        ),
        ("a:2", "", &["x on=a prio=1", "y on=a prio=1 started=20", "p prio=9"], "[x] on a"),
        (
            "a:4",
            "",
            &["x on=a prio=1", "y on=a prio=2", "z on=a cpu=2 prio=3", "p cpu=2 prio=9"],
            "[y x] on a",
        ),
        ("a:4", "", &["x on=a cpu=3 prio=1", "y on=a prio=2", "p cpu=2 prio=9"], "[x] on a"),
        // The node whose highest victim is lowest, then the lowest sum, then the fewest, then the youngest.
        ("a:1 b:1", "", &["x on=a prio=2", "y on=b prio=1", "p prio=9"], "[y] on b"),
        (
            "a:2 b:2",
            "",
            &["x on=a prio=3", "y on=a prio=2", "v on=b prio=3", "w on=b prio=1", "p cpu=2 prio=9"],
            "[v w] on b",
        ),
        (
            "a:2 b:2",
            "",
            &["x on=a prio=0", "y on=a prio=0", "v on=b cpu=2 prio=0", "p cpu=2 prio=9"],
            "[v] on b",
        ),
        (
            "a:1 b:1",
            "",
            &["x on=a prio=1 started=10", "y on=b prio=1 started=20", "p prio=9"],
            "[y] on b",
        ),
        (
            "a:1 b:1",
            "",
            &["x on=a prio=1 started=20", "y on=b prio=1 started=10", "p prio=9"],
            "[x] on a",
        ),
        ("a:1 b:1", "", &["x on=a prio=1 started=59", "y on=b prio=1", "p prio=9"], "[y] on b"),
        // Negative priorities count as little, not as nothing.
        (
            "a:2 b:2",
            "",
            &["x on=a prio=-5", "y on=a prio=-5", "v on=b cpu=2 prio=-5", "p cpu=2 prio=9"],
            "[v] on b",
        ),
        // Budgets go before priorities, but do not forbid.
        ("a:1 b:1", "web:0", &["x on=a prio=1 app=web", "y on=b prio=5", "p prio=9"], "[y] on b"),
        ("a:1 b:1", "web:1", &["x on=a prio=1 app=web", "y on=b prio=5", "p prio=9"], "[x] on a"),
        ("a:1", "web:0", &["x on=a prio=1 app=web", "p prio=9"], "[x] on a"),
        (
            "a:2",
            "web:0",
            &["x on=a prio=1 app=web", "y on=a prio=5 app=db", "p prio=9"],
            "[y] on a",
        ),
        (
            "a:2 b:2",
            "web:1",
            &[
                "x on=a app=web",
                "y on=a app=web",
                "v on=b prio=5",
                "w on=b prio=5",
                "p cpu=2 prio=9",
            ],
            "[v w] on b",
        ),
        (
            "a:2 b:2",
            "web:2",
            &[
                "x on=a app=web",
                "y on=a app=web",
                "v on=b prio=5",
                "w on=b prio=5",
                "p cpu=2 prio=9",
            ],
            "[x y] on a",
        ),
        // Ports and company are room, too.
        ("a:4", "", &["x on=a prio=1 port=80", "y on=a prio=1", "p prio=9 port=80"], "[x] on a"),
        (
            "a:4",
            "",
            &["x on=a prio=1 app=web", "y on=a prio=1 app=db", "p prio=9 shuns=web"],
            "[x] on a",
        ),
        ("a:4", "", &["x on=a prio=1 shuns=web", "p prio=9 app=web"], "[x] on a"),
        // Who may not, or must wait first.
        (
            "a:1",
            "",
            &["x on=a prio=1", "p prio=9 policy=Never"],
            "not eligible due to preemptionPolicy=Never.",
        ),
        (
            "a:1",
            "",
            &["x on=a prio=1 ends preempted", "p prio=9 nominated=a"],
            "not eligible due to a terminating pod on the nominated node.",
        ),
        (
            "a:1 b:1",
            "",
            &["x on=a prio=1 ends preempted", "y on=b prio=1", "p prio=9 nominated=a"],
            "not eligible due to a terminating pod on the nominated node.",
        ),
        ("a:1", "", &["x on=a prio=1 ends", "p prio=9 nominated=a"], "[x] on a"),
        (
            "a:1",
            "",
            &["x on=a prio=9 ends preempted", "p prio=9 nominated=a"],
            "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
        ),
        (
            "a:1 b:1",
            "",
            &["x on=a prio=1 ends preempted", "y on=b prio=1", "p prio=9 nominated=gone"],
            "[x] on a",
        ),
        // Room that is promised to others is not there for the less important, and is for the more important.
        (
            "a:2",
            "",
            &["x on=a prio=1", "n prio=5 cpu=2 nominated=a policy=Never", "p prio=3"],
            "preemption: 0/1 nodes are available: 1 Insufficient cpu.",
        ),
        (
            "a:2",
            "",
            &["x on=a prio=1", "n prio=5 cpu=2 nominated=a policy=Never", "p prio=9"],
            "-> a",
        ),
        (
            "a:1",
            "",
            &["x on=a prio=1", "n prio=5 nominated=a policy=Never", "p prio=9"],
            "[x] on a, n looks elsewhere",
        ),
    ];
    for (nodes, budgets, pods, expected) in rows {
        assert_eq!(outcome(nodes, budgets, pods), *expected, "{nodes} {budgets} {pods:?}");
    }
}

#[test]
fn promised_room_is_kept() {
    let mut scheduler = Scheduler::new("default-scheduler", 1);
    let mut play = |input: Input| {
        scheduler.handle(input, Duration::ZERO);
        match scheduler.next_action(Duration::ZERO) {
            Some(Action::Bind { pod, node, .. }) => format!("{} -> {node}", pod.key.name),
            Some(Action::Report { pod, nomination, .. }) => match nomination {
                Nomination::Preempt(plan, _) => format!("{} waits for {}", pod.key.name, plan.node),
                Nomination::Keep => format!("{} waits", pod.key.name),
                Nomination::Clear => format!("{} has no hope", pod.key.name),
            },
            None => "nothing".into(),
        }
    };
    play(node("a", "1", json!({})));
    play(pod_of("x on=a prio=1"));
    assert_eq!(play(pod_of("p prio=9")), "p waits for a");
    let gone = pod("x", json!({"spec": {"nodeName": "a"}, "status": {"phase": "Failed"}}));
    // Its victim goes; a lesser pod that comes at the same moment does not get the room.
    play(pod_of("q prio=5"));
    assert_eq!(play(gone), "p -> a");
    assert_eq!(play(pod_of("r prio=5")), "r has no hope");
}
