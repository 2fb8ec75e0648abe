use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// A pod from words: its name, then `mine`, `other`, `orphan` (whose it is; an orphan by default), `unlabelled`, `going`,
/// `pending`, `running`, `unknown`, `succeeded`, `failed`, `ready=SECONDS` (since when), `on=NODE`, `cost=N`,
/// `restarts=N`, `age=SECONDS`.
fn pod(words: &str) -> Arc<Pod> {
    let mut words = words.split_whitespace();
    let name = words.next().expect("a name");
    let mut pod = json!({
        "metadata": {"name": name, "uid": name, "namespace": "n", "labels": {"app": "web"}},
        "spec": {}, "status": {"phase": "Running"},
    });
    let ago = |seconds: &str| {
        let seconds: i64 = seconds.parse().expect("seconds");
        Value::from((NOW - jiff::SignedDuration::from_secs(seconds)).to_string())
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "mine" | "other" => {
                let uid = if key == "mine" { "set" } else { "another" };
                pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1",
                    "kind": "ReplicaSet", "name": "web", "uid": uid, "controller": true}]);
            }
            "unlabelled" => pod["metadata"]["labels"] = json!({"app": "db"}),
            "going" => pod["metadata"]["deletionTimestamp"] = ago("0"),
            "pending" => pod["status"]["phase"] = "Pending".into(),
            "unknown" => pod["status"]["phase"] = "Unknown".into(),
            "succeeded" => pod["status"]["phase"] = "Succeeded".into(),
            "failed" => pod["status"]["phase"] = "Failed".into(),
            "ready" => {
                pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True",
                                                      "lastTransitionTime": ago(value)}]);
            }
            "on" => pod["spec"]["nodeName"] = value.into(),
            "cost" => {
                pod["metadata"]["annotations"] =
                    json!({"controller.kubernetes.io/pod-deletion-cost": value});
            }
            "restarts" => {
                let count: i32 = value.parse().expect("a number");
                pod["status"]["containerStatuses"] = json!([{"name": "c", "restartCount": count,
                    "image": "", "imageID": "", "ready": true}]);
            }
            "age" => pod["metadata"]["creationTimestamp"] = ago(value),
            other => unreachable!("no word {other}"),
        }
    }
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn snapshot(replicas: i32, pods: &[&str]) -> Snapshot {
    let set = json!({
        "metadata": {"name": "web", "namespace": "n", "uid": "set", "generation": 2},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}}}},
    });
    let pods: Vec<Arc<Pod>> = pods.iter().map(|p| pod(p)).collect();
    Snapshot {
        set: Arc::new(serde_json::from_value(set).expect("a ReplicaSet")),
        related: pods.clone(),
        pods,
        settled: true,
        now: NOW,
    }
}

fn edit(snapshot: &mut Snapshot, change: impl FnOnce(&mut ReplicaSet)) {
    change(Arc::make_mut(&mut snapshot.set));
}

fn names(pods: &[Arc<Pod>]) -> String {
    let names = pods.iter().map(|p| p.metadata.name.clone().unwrap_or_default());
    names.collect::<Vec<_>>().join(" ")
}

fn summary(plan: &Plan) -> String {
    let mut parts = Vec::new();
    for (what, pods) in [("adopt", &plan.adopt), ("release", &plan.release)] {
        if !pods.is_empty() {
            parts.push(format!("{what} {}", names(pods)));
        }
    }
    if plan.create > 0 {
        parts.push(format!("create {}", plan.create));
    }
    if !plan.delete.is_empty() {
        parts.push(format!("delete {}", names(&plan.delete)));
    }
    parts.join(", ")
}

#[test]
fn pods_are_claimed_created_and_deleted() {
    let check = |replicas, pods: &[&str], expected: &str| {
        assert_eq!(summary(&plan(&snapshot(replicas, pods))), expected, "{replicas} {pods:?}");
    };
    check(0, &[], "");
    check(3, &[], "create 3");
    check(600, &[], "create 500");
    check(2, &["a mine", "b mine"], "");
    check(3, &["a mine", "b mine"], "create 1");
    check(1, &["a mine", "b mine age=9"], "delete a");
    check(0, &["a mine", "b mine"], "delete a b");
    // What is over or going does not count.
    check(2, &["a mine succeeded", "b mine"], "create 1");
    check(2, &["a mine failed", "b mine"], "create 1");
    check(2, &["a mine going", "b mine"], "create 1");
    check(1, &["a mine going", "b mine"], "");
    // Orphans.
    check(1, &["a"], "adopt a");
    check(2, &["a", "b mine"], "adopt a");
    check(1, &["a", "b mine"], "adopt a, delete a");
    check(1, &["a unlabelled"], "create 1");
    check(1, &["a going"], "create 1");
    check(1, &["a failed"], "create 1");
    // Others' pods, and own ones that match no longer.
    check(1, &["a other"], "create 1");
    check(1, &["a mine unlabelled"], "release a, create 1");
    check(1, &["a mine unlabelled", "b"], "adopt b, release a");
    check(1, &["a other unlabelled", "b mine"], "");
}

#[test]
fn an_unsettled_or_deleted_set_neither_creates_nor_deletes() {
    let mut unsettled = snapshot(3, &["a mine", "b"]);
    unsettled.settled = false;
    assert_eq!(summary(&plan(&unsettled)), "adopt b");
    let mut deleted = snapshot(3, &["a mine", "b", "c mine unlabelled"]);
    edit(&mut deleted, |set| set.metadata.deletion_timestamp = Some(Time(NOW)));
    assert_eq!(summary(&plan(&deleted)), "");
    assert_eq!(names(&plan(&deleted).claimed), "a");
}

#[test]
fn the_least_useful_pods_go_first() {
    #[track_caller]
    fn check(pods: &[&str], expected: &str) {
        let pods: Vec<String> = pods.iter().map(|p| format!("{p} mine")).collect();
        let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
        let keep = i32::try_from(pods.len()).unwrap() - 1;
        let all = plan(&snapshot(0, &pods));
        assert_eq!(names(&all.delete), expected, "{pods:?}");
        let first = plan(&snapshot(keep, &pods));
        assert_eq!(names(&first.delete), expected.split(' ').next().unwrap(), "{pods:?}");
    }
    check(&["a on=x", "b"], "b a");
    check(&["a on=x", "b on=y pending"], "b a");
    check(&["a on=x", "b on=y unknown", "c on=z pending"], "c b a");
    check(&["a on=x ready=100", "b on=y"], "b a");
    check(&["a on=x cost=5", "b on=y cost=-5", "c on=z"], "b c a");
    check(&["a on=x ready=9 cost=1", "b on=y cost=9"], "b a");
    check(&["a on=x", "b on=y", "c on=y"], "b c a");
    check(&["a on=x cost=-1", "b on=y", "c on=y"], "a b c");
    // Younger ones first, by the magnitude of their age.
    check(&["a on=x ready=1000", "b on=y ready=10"], "b a");
    check(&["a on=x ready=1000 restarts=3", "b on=y ready=1020"], "a b");
    check(&["a on=x ready=1000 age=2000", "b on=y ready=1000 age=9000"], "a b");
    check(&["a on=x age=2000", "b on=y"], "b a");
    check(&["b on=x", "a on=y"], "a b");
}

#[test]
fn pods_of_sibling_sets_count_for_the_crowd_on_a_node() {
    let mut snapshot = snapshot(1, &["a mine on=x", "b mine on=y"]);
    snapshot.related.push(pod("s other on=y"));
    assert_eq!(names(&plan(&snapshot).delete), "b");
    snapshot.related.push(pod("t other on=x"));
    snapshot.related.push(pod("u other on=x"));
    assert_eq!(names(&plan(&snapshot).delete), "a");
    snapshot.related.push(pod("v other on=y going"));
    assert_eq!(names(&plan(&snapshot).delete), "a");
}

#[test]
fn the_status_counts() {
    // replicas, labelled, ready, available; when to look again.
    let check = |min_ready: i32, pods: &[&str], expected: [i32; 4], again: Option<u64>| {
        let mut snapshot = snapshot(9, pods);
        edit(&mut snapshot, |set| set.spec.min_ready_seconds = Some(min_ready));
        let plan = plan(&snapshot);
        let status = status(&snapshot.set, &plan.claimed, plan.terminating, None, NOW);
        let counts = [
            Some(status.replicas),
            status.fully_labeled_replicas,
            status.ready_replicas,
            status.available_replicas,
        ];
        assert_eq!(counts.map(|n| n.unwrap_or(0)), expected, "{min_ready} {pods:?}");
        assert_eq!(plan.requeue_after.map(|d| d.as_secs()), again, "{min_ready} {pods:?}");
        assert_eq!(status.observed_generation, Some(2));
    };
    check(0, &[], [0; 4], None);
    check(0, &["a mine", "b mine ready=0"], [2, 2, 1, 1], None);
    check(30, &["a mine ready=10", "b mine ready=25"], [2, 2, 2, 0], Some(5));
    check(30, &["a mine ready=30", "b mine ready=29"], [2, 2, 2, 1], Some(1));
    check(30, &["a mine ready=31 going", "b mine ready=99"], [1, 1, 1, 1], None);
}

#[test]
fn a_failure_shows_until_it_is_over() {
    let mut set = (*snapshot(1, &[]).set).clone();
    let failed = |set: &ReplicaSet, failure: Option<&str>| {
        let failure = failure.map(|message| ("FailedCreate", message.to_owned()));
        status(set, &[], 0, failure, NOW).conditions
    };
    assert_eq!(failed(&set, None), []);
    let shown = failed(&set, Some("quota"));
    assert_eq!(
        (shown[0].type_.as_str(), shown[0].message.as_deref()),
        ("ReplicaFailure", Some("quota"))
    );
    set.status.conditions.clone_from(&shown);
    assert_eq!(failed(&set, Some("other")), shown, "the first message stays");
    assert_eq!(failed(&set, None), []);
}

#[test]
fn new_pods_follow_the_template() {
    let mut set = (*snapshot(1, &[]).set).clone();
    let template = set.spec.template.get_or_insert_default();
    template.metadata.annotations = [("k".to_owned(), "v".to_owned())].into();
    template.metadata.finalizers = vec!["f".into()];
    let made = new_pod(&set);
    let metadata = &made.metadata;
    assert_eq!(metadata.generate_name.as_deref(), Some("web-"));
    let keys: BTreeSet<&str> = metadata.annotations.keys().map(String::as_str).collect();
    assert_eq!((keys, metadata.finalizers.len()), (BTreeSet::from(["k"]), 1));
    let owner = controller_of(metadata).expect("a controller");
    assert_eq!((owner.uid.as_str(), owner.block_owner_deletion), ("set", Some(true)));
}
