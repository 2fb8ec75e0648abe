use serde_json::{Value, json};

use super::*;

fn ended(exit_code: i32) -> State {
    State::Terminated(Ended {
        exit_code,
        signal: None,
        reason: String::new(),
        message: String::new(),
        started_at: None,
        finished_at: Timestamp::UNIX_EPOCH,
        at: Duration::from_secs(100),
        id: String::new(),
    })
}

/// `w` waits, `r` runs and has started, `s` runs and has not started, `0`/`1` ended so, `c` ended with 1 and is in
/// back-off, `m` ended with 0 but was stopped to be started again; `o` had ended with 0 before the node's reboot, `k` was
/// killed by it.
fn record(state: char) -> Record {
    let begun = true;
    let running = State::Running { started_at: Timestamp::UNIX_EPOCH, id: String::new() };
    match state {
        'w' => Record::default(),
        'r' => Record { state: running, started: true, ready: true, begun, ..Record::default() },
        's' => Record { state: running, begun, ..Record::default() },
        '0' => Record { state: ended(0), begun, ..Record::default() },
        '1' => Record { state: ended(1), begun, ..Record::default() },
        'o' => Record { state: ended(0), ..Record::default() },
        'k' => Record { state: ended(255), ..Record::default() },
        'm' => Record { state: ended(0), begun, must_restart: true, ..Record::default() },
        'c' => {
            let mut backoff = Backoff::default();
            backoff.restarted(Duration::from_secs(90), Duration::from_secs(90));
            Record { state: ended(1), backoff, begun, ..Record::default() }
        }
        other => unreachable!("no state {other}"),
    }
}

/// Containers as `name:state`, init containers with a leading `i`, sidecars with `s`, main ones with `m`.
fn check(policy: &str, containers: &str, expected: &str) {
    let (mut init, mut main): (Vec<Value>, Vec<Value>) = Default::default();
    let mut records = Records::new();
    for text in containers.split_whitespace() {
        let (name, state) = text.split_once(':').expect("name:state");
        match name.as_bytes()[0] {
            b'i' => init.push(json!({"name": name})),
            b's' => init.push(json!({"name": name, "restartPolicy": "Always"})),
            _ => main.push(json!({"name": name})),
        }
        records.insert(name, record(state.chars().next().expect("a state")));
    }
    let pod: Pod = serde_json::from_value(json!({
        "spec": {"restartPolicy": policy, "initContainers": init, "containers": main}
    }))
    .expect("a pod");
    let actions: Vec<String> = plan(&pod, &records, Duration::from_secs(105))
        .into_iter()
        .map(|action| match action {
            Action::Start(name) => format!("start {name}"),
            Action::BackOff { name, until, .. } => format!("wait {name} {}", until.as_secs()),
            Action::StopAll => "stop all".into(),
            Action::RestartAll => "restart all".into(),
            Action::Finished => "finished".into(),
        })
        .collect();
    assert_eq!(actions.join(", "), expected, "{policy}: {containers}");
}

#[test]
fn main_containers_start_together_after_the_init_containers() {
    check("Always", "m1:w m2:w", "start m1, start m2");
    check("Always", "i1:w i2:w m1:w", "start i1");
    check("Always", "i1:r i2:w m1:w", "");
    check("Always", "i1:0 i2:w m1:w", "start i2");
    check("Always", "i1:0 i2:0 m1:w", "start m1");
    check("Always", "i1:0 m1:r", "");
}

#[test]
fn a_failed_init_container_is_tried_again_unless_the_policy_is_never() {
    check("Always", "i1:1 m1:w", "start i1");
    check("OnFailure", "i1:1 m1:w", "start i1");
    check("Always", "i1:c m1:w", "wait i1 110");
    check("Never", "i1:1 m1:w", "finished");
    check("Never", "s1:r i1:1 m1:w", "stop all");
}

#[test]
fn sidecars_start_in_order_and_hold_up_what_follows_until_they_have_started() {
    check("Always", "s1:w s2:w m1:w", "start s1");
    check("Always", "s1:s s2:w m1:w", "");
    check("Always", "s1:r s2:w m1:w", "start s2");
    check("Always", "s1:r i1:0 s2:r m1:w", "start m1");
    check("Never", "s1:1 m1:r", "start s1");
    check("Never", "s1:c m1:r", "wait s1 110");
}

#[test]
fn restart_policy_and_exit_code_decide_about_main_containers() {
    check("Always", "m1:0", "start m1");
    check("Always", "m1:1", "start m1");
    check("Always", "m1:c", "wait m1 110");
    check("OnFailure", "m1:0", "finished");
    check("OnFailure", "m1:1", "start m1");
    check("OnFailure", "m1:0 m2:r", "");
    check("OnFailure", "m1:0 m2:c", "wait m2 110");
    check("Never", "m1:0", "finished");
    check("Never", "m1:1", "finished");
    check("Never", "m1:1 m2:r", "");
}

#[test]
fn sidecars_end_after_the_main_containers_in_reverse_order() {
    check("Never", "s1:r s2:r m1:0", "stop all");
    check("OnFailure", "s1:r m1:0", "stop all");
    check("Never", "s1:0 m1:0", "finished");
}

#[test]
fn a_container_stopped_to_be_restarted_starts_whatever_its_exit_code() {
    check("OnFailure", "m1:m", "start m1");
    check("Always", "m1:m m2:r", "start m1");
}

#[test]
fn after_a_reboot_init_containers_run_again_where_the_pod_goes_on() {
    check("Always", "i1:o i2:o m1:k", "start i1");
    check("Always", "i1:0 i2:o m1:k", "start i2");
    check("Always", "i1:0 i2:0 m1:k m2:k", "start m1, start m2");
    check("Always", "i1:k m1:w", "start i1");
    check("Always", "s1:k m1:k", "start s1");
    check("Always", "s1:k i1:o m1:k", "start s1");
    check("OnFailure", "i1:o m1:o", "finished");
    check("OnFailure", "i1:0 m1:o m2:k", "start m2");
    check("Never", "i1:o m1:k", "finished");
    check("Never", "i1:k m1:w", "finished");
}

/// A pod whose containers are as in [`check`], each with a change of its own.
fn planned(containers: &Value, states: &str) -> String {
    let names: Vec<&str> =
        containers.as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    let records: Records =
        names.iter().zip(states.chars()).map(|(n, s)| ((*n).to_owned(), record(s))).collect();
    let (init, main): (Vec<Value>, Vec<Value>) = containers
        .as_array()
        .unwrap()
        .iter()
        .cloned()
        .partition(|c| c["name"].as_str().unwrap().starts_with(['i', 's']));
    let pod: Pod = serde_json::from_value(json!({
        "spec": {"restartPolicy": "Never", "initContainers": init, "containers": main}
    }))
    .unwrap();
    let actions = plan(&pod, &records, Duration::from_secs(105));
    actions.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn rules_and_policies_of_a_container_win_over_its_pods() {
    let rule = |action: &str, operator: &str, codes: &[i32]| json!([{"action": action, "exitCodes": {"operator": operator, "values": codes}}]);
    let check = |own: Value, state: char, expected: &str| {
        let mut container = json!({"name": "m"});
        for (key, value) in own.as_object().unwrap() {
            container[key] = value.clone();
        }
        assert_eq!(planned(&json!([container]), &state.to_string()), expected, "{own}");
    };
    let (start, over) = ("Start(\"m\")", "Finished");
    check(json!({}), '1', over);
    check(json!({"restartPolicy": "Always"}), '0', start);
    check(json!({"restartPolicy": "OnFailure"}), '0', over);
    check(json!({"restartPolicy": "OnFailure"}), '1', start);
    let never = |rules: Value| json!({"restartPolicy": "Never", "restartPolicyRules": rules});
    check(never(rule("Restart", "In", &[1, 2])), '1', start);
    check(never(rule("Restart", "In", &[2])), '1', over);
    check(never(rule("Restart", "NotIn", &[0])), '1', start);
    check(never(rule("Restart", "NotIn", &[1])), '1', over);
    check(never(rule("RestartAllContainers", "In", &[1])), '1', "RestartAll");
    check(never(rule("RestartAllContainers", "In", &[2])), '1', over);
    // An own policy of an init container decides whether it fails the pod.
    let init = json!([{"name": "i", "restartPolicy": "OnFailure"}, {"name": "m"}]);
    assert_eq!(planned(&init, "1w"), "Start(\"i\")");
}

#[test]
fn a_sidecar_that_is_down_holds_up_only_what_never_had_its_turn() {
    let containers =
        json!([{"name": "s", "restartPolicy": "Always"}, {"name": "i"}, {"name": "m"}]);
    // It is in back-off, the init container behind it is done: the main container starts.
    assert!(planned(&containers, "c0w").ends_with("Start(\"m\")"));
    let last = json!([{"name": "i"}, {"name": "s", "restartPolicy": "Always"}, {"name": "m"}]);
    assert!(!planned(&last, "0cw").contains("Start"));
}

#[test]
fn a_hook_holds_up_all_others_and_a_killed_run_waits_for_the_one_before() {
    let pod: Pod = serde_json::from_value(
        json!({"spec": {"restartPolicy": "Always", "containers": [{"name": "a"}, {"name": "b"}]}}),
    )
    .unwrap();
    let hooked = Record { shown: Some(Box::default()), ..record('r') };
    let mut records = Records::from([("a".into(), hooked)]);
    assert_eq!(plan(&pod, &records, Duration::ZERO), []);
    // Killed at 100 by a probe; the run before had ended at 90, its back-off is 10 seconds.
    let before = Ended { at: Duration::from_secs(90), ..record('1').ended().unwrap().clone() };
    let killed = Record { must_restart: true, last: Some(before), ..record('c') };
    records.insert("a", killed);
    records.insert("b", record('r'));
    let now = Duration::from_secs(101);
    assert_eq!(plan(&pod, &records, now), [Action::Start("a".into())]);
}

#[test]
fn ephemeral_containers_run_once_and_wait_for_nothing() {
    let pod: Pod = serde_json::from_value(json!({"spec": {
        "restartPolicy": "Always", "initContainers": [{"name": "i"}], "containers": [{"name": "m"}],
        "ephemeralContainers": [{"name": "e"}],
    }}))
    .unwrap();
    let mut records = Records::from([("i".into(), record('r'))]);
    assert_eq!(plan(&pod, &records, Duration::ZERO), [Action::Start("e".into())]);
    for state in ['r', '0', '1'] {
        records.insert("e", record(state));
        assert_eq!(plan(&pod, &records, Duration::ZERO), [], "{state}");
    }
}
