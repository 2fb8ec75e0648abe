use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::lifecycle::{Ended, Record, State};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const BEFORE: Timestamp = Timestamp::constant(1_700_000_000, 0);

/// `w` waits, `b` cannot be made (a problem), `r` runs and is ready, `u` runs unready, `s` runs and has not started, a
/// digit is the exit code of its end, `c` is in back-off after 1, `d` in back-off after 0, `t` is being stopped, ready
/// still, `n` is made anew after 1.
fn record(state: char) -> Record {
    let ended = |exit_code: i32| Ended {
        exit_code,
        signal: None,
        reason: if exit_code == 0 { "Completed" } else { "Error" }.into(),
        message: String::new(),
        started_at: Some(BEFORE),
        finished_at: BEFORE,
        at: Duration::from_secs(1),
        id: "containerd://1".into(),
    };
    let running = || State::Running { started_at: BEFORE, id: "containerd://2".into() };
    let back_off = Some(("CrashLoopBackOff".to_owned(), "back-off".to_owned()));
    let base = Record { begun: true, ..Record::default() };
    match state {
        'w' => Record::default(),
        'b' => Record {
            problem: Some(("CreateContainerConfigError".into(), "why".into())),
            ..Record::default()
        },
        'r' => Record { state: running(), started: true, ready: true, ..base },
        't' => Record { state: running(), started: true, ready: true, stopping: true, ..base },
        'u' => Record { state: running(), started: true, ..base },
        's' => Record { state: running(), ..base },
        'c' => {
            Record { state: State::Terminated(ended(1)), problem: back_off, restarts: 1, ..base }
        }
        'd' => {
            Record { state: State::Terminated(ended(0)), problem: back_off, restarts: 1, ..base }
        }
        'n' => Record { last: Some(ended(1)), restarts: 2, ..base },
        digit => {
            let code = i32::try_from(digit.to_digit(10).expect("a digit")).unwrap();
            Record { state: State::Terminated(ended(code)), ..base }
        }
    }
}

/// What a row says of the whole pod.
#[derive(Clone, Copy, PartialEq)]
enum Whole {
    Goes,
    Deleted,
    Over,
    DeadlinePassed,
    DeadlineEnded,
    /// It ran, and is about to be over.
    Ending,
}
use Whole::{DeadlineEnded, DeadlinePassed, Deleted, Ending, Goes, Over};

fn pod_of(policy: &str, containers: &str, whole: Whole) -> (Pod, Records) {
    let (mut init, mut main): (Vec<Value>, Vec<Value>) = Default::default();
    let mut records = Records::new();
    for text in containers.split_whitespace() {
        let (name, state) = text.split_once(':').expect("name:state");
        match name.as_bytes()[0] {
            b'i' => init.push(json!({"name": name, "image": "nginx"})),
            b's' => init.push(json!({"name": name, "image": "nginx", "restartPolicy": "Always"})),
            _ => main.push(json!({"name": name, "image": "nginx"})),
        }
        records.insert(name, record(state.chars().next().expect("a state")));
    }
    let mut pod = json!({
        "metadata": {"generation": 3},
        "spec": {"restartPolicy": policy, "initContainers": init, "containers": main}
    });
    if whole == Deleted {
        pod["metadata"]["deletionTimestamp"] = "2027-01-01T00:00:00Z".into();
    }
    (serde_json::from_value(pod).expect("a pod"), records)
}

fn view<'a>(pod: &'a Pod, records: &'a Records) -> View<'a> {
    View {
        pod,
        records,
        ip: Some("10.244.0.2".into()),
        host_ip: "192.168.1.101",
        told: None,
        start_time: BEFORE,
        failure: None,
        finished: false,
        now: NOW,
    }
}

/// The phase; the conditions that are not True, with their reasons; the containers' states.
fn summary(status: &PodStatus) -> String {
    let conditions: Vec<String> = status
        .conditions
        .iter()
        .filter(|c| c.status != "True")
        .map(|c| format!(" -{}({})", c.type_, c.reason.as_deref().unwrap_or("")))
        .collect();
    let states = status.init_container_statuses.iter().chain(&status.container_statuses).map(|c| {
        let state = c.state.clone().unwrap_or_default();
        let word = match (state.running, state.waiting, state.terminated) {
            (Some(_), ..) => "up".to_owned(),
            (_, Some(w), _) => w.reason.unwrap_or_default(),
            (.., Some(t)) => t.exit_code.to_string(),
            _ => "?".to_owned(),
        };
        format!("{}{}", if c.ready { "+" } else { "" }, word)
    });
    format!(
        "{}{} [{}]",
        status.phase.as_deref().unwrap_or(""),
        conditions.concat(),
        states.collect::<Vec<_>>().join(" ")
    )
}

#[test]
fn phases_and_conditions() {
    #[track_caller]
    fn check(policy: &str, containers: &str, whole: Whole, expected: &str) {
        let (pod, records) = pod_of(policy, containers, whole);
        let mut view = view(&pod, &records);
        view.finished = matches!(whole, Over | DeadlineEnded);
        let told = Told { phase: Some("Running".into()), ..Told::default() };
        if matches!(whole, DeadlinePassed | Ending) {
            view.told = Some(&told);
        }
        if matches!(whole, DeadlinePassed | DeadlineEnded) {
            view.failure = Some(Failure::DeadlineExceeded);
        }
        let seen = summary(&generate(&view));
        let short = seen
            .replace("ContainersNotInitialized", "init")
            .replace("ContainersNotReady", "containers")
            .replace("ContainersReady", "C")
            .replace("PodReadyToStartContainers", "S")
            .replace("Initialized", "I")
            .replace("-Ready", "-R");
        assert_eq!(short, expected, "{policy}: {containers}");
    }
    let unready = " -R(containers) -C(containers)";
    let initializing = " -I(init) -R(containers) -C(containers)";
    let c = |phase: &str, rest: &str, states: &str| format!("{phase}{rest} [{states}]");

    // Main containers alone.
    check("Always", "m:w", Goes, &c("Pending", unready, "ContainerCreating"));
    check("Always", "m:b", Goes, &c("Pending", unready, "CreateContainerConfigError"));
    check("Always", "m:r", Goes, "Running [+up]");
    check("Always", "m:u", Goes, &c("Running", unready, "up"));
    check("Always", "m:s", Goes, &c("Running", unready, "up"));
    check("Always", "m:r n:w", Goes, &c("Pending", unready, "+up ContainerCreating"));
    check("Always", "m:r n:u", Goes, &c("Running", unready, "+up up"));
    check("Always", "m:r n:r", Goes, "Running [+up +up]");
    check("Always", "m:1", Goes, &c("Running", unready, "1"));
    check("Always", "m:0", Goes, &c("Running", unready, "0"));
    check("Always", "m:c", Goes, &c("Running", unready, "CrashLoopBackOff"));
    check("Always", "m:d", Goes, &c("Running", unready, "CrashLoopBackOff"));
    check("Always", "m:n", Goes, &c("Running", unready, "ContainerCreating"));
    check("Always", "m:c n:r", Goes, &c("Running", unready, "CrashLoopBackOff +up"));
    check("OnFailure", "m:0", Ending, &c("Running", " -R(PodCompleted) -C(PodCompleted)", "0"));
    check("OnFailure", "m:1", Goes, &c("Running", unready, "1"));
    check("OnFailure", "m:c", Goes, &c("Running", unready, "CrashLoopBackOff"));
    check("OnFailure", "m:0 n:r", Goes, &c("Running", unready, "0 +up"));
    check("OnFailure", "m:0 n:c", Goes, &c("Running", unready, "0 CrashLoopBackOff"));
    check("Never", "m:0", Ending, &c("Running", " -R(PodCompleted) -C(PodCompleted)", "0"));
    check("Never", "m:2", Ending, &c("Running", " -R(PodFailed) -C(PodFailed)", "2"));
    check("Never", "m:0 n:2", Ending, &c("Running", " -R(PodFailed) -C(PodFailed)", "0 2"));
    check("Never", "m:2 n:r", Goes, &c("Running", unready, "2 +up"));
    check("Never", "m:0 n:w", Goes, &c("Pending", unready, "0 ContainerCreating"));

    // Init containers.
    check(
        "Always",
        "i:w m:w",
        Goes,
        &c("Pending", initializing, "PodInitializing PodInitializing"),
    );
    check("Always", "i:r m:w", Goes, &c("Pending", initializing, "up PodInitializing"));
    check(
        "Always",
        "i:c m:w",
        Goes,
        &c("Pending", initializing, "CrashLoopBackOff PodInitializing"),
    );
    check(
        "Never",
        "i:1 m:w",
        Goes,
        &c("Pending", " -I(init) -R(PodFailed) -C(PodFailed)", "1 PodInitializing"),
    );
    check(
        "Never",
        "i:1 m:w",
        Over,
        &c("Failed", " -S() -I(init) -R(PodFailed) -C(PodFailed)", "1 PodInitializing"),
    );
    check("Always", "i:0 m:w", Goes, &c("Pending", unready, "+0 PodInitializing"));
    check(
        "Always",
        "i:0 j:w m:w",
        Goes,
        &c("Pending", unready, "+0 PodInitializing PodInitializing"),
    );
    check("Always", "i:0 m:r", Goes, "Running [+0 +up]");

    // Sidecars.
    check("Always", "s:s m:w", Goes, &c("Pending", initializing, "up PodInitializing"));
    check("Always", "s:r m:w", Goes, &c("Pending", unready, "+up PodInitializing"));
    check("Always", "s:r m:r", Goes, "Running [+up +up]");
    check("Always", "s:u m:r", Goes, &c("Running", unready, "up +up"));
    check("Always", "s:c m:r", Goes, &c("Running", unready, "CrashLoopBackOff +up"));
    check("Never", "s:r m:0", Goes, &c("Running", unready, "+up 0"));
    check("Never", "s:0 m:0", Ending, &c("Running", " -R(PodCompleted) -C(PodCompleted)", "0 0"));
    check(
        "Never",
        "s:1 m:0",
        Over,
        &c("Succeeded", " -S() -R(PodCompleted) -C(PodCompleted)", "1 0"),
    );

    // Pods on their way out.
    check("Always", "m:t", Deleted, "Running [+up]");
    check("Always", "m:c", Deleted, &c("Running", unready, "1"));
    check("Always", "m:0 n:t", Deleted, &c("Running", unready, "0 +up"));
    check("Always", "m:0", Over, &c("Succeeded", " -S() -R(PodCompleted) -C(PodCompleted)", "0"));
    check("Always", "m:c", Over, &c("Failed", " -S() -R(PodFailed) -C(PodFailed)", "1"));
    check("Always", "m:w", Over, &c("Failed", " -S() -R(PodFailed) -C(PodFailed)", "137"));
    check("Always", "i:0 m:w", Over, &c("Failed", " -S() -R(PodFailed) -C(PodFailed)", "+0 137"));
    check("OnFailure", "m:0 n:1", Over, &c("Failed", " -S() -R(PodFailed) -C(PodFailed)", "0 1"));
    // What comes shows in the conditions first.
    check("Always", "m:t", DeadlinePassed, "Running -R(PodFailed) -C(PodFailed) [+up]");
    check("Always", "m:0", DeadlineEnded, &c("Failed", " -S() -R(PodFailed) -C(PodFailed)", "0"));
}

#[test]
fn conditions_name_the_containers_that_hold_them_up() {
    let (pod, records) = pod_of("Always", "i1:0 s1:s i2:w m1:w", Goes);
    let status = generate(&view(&pod, &records));
    let message = |type_: &str| {
        let found = status.conditions.iter().find(|c| c.type_ == type_).expect("a condition");
        found.message.clone().unwrap_or_default()
    };
    // `i1` has come to its end; a sidecar that has not started holds up the rest.
    assert_eq!(message("Initialized"), "containers with incomplete status: [s1 i2]");
    assert_eq!(message("Ready"), "containers with unready status: [s1 m1]");
    assert_eq!(status.observed_generation, Some(3));
    assert!(status.conditions.iter().all(|c| c.observed_generation == Some(3)));
}

#[test]
fn a_container_in_back_off_shows_its_last_run() {
    let (pod, records) = pod_of("Always", "m:c", Goes);
    let status = generate(&view(&pod, &records)).container_statuses.remove(0);
    assert_eq!(status.restart_count, 1);
    assert_eq!(status.container_id.as_deref(), Some("containerd://1"));
    assert_eq!(status.last_state.unwrap().terminated.unwrap().exit_code, 1);
    assert_eq!(status.image, "docker.io/library/nginx:latest");
    assert_eq!(status.started, Some(false));
}

#[test]
fn a_transition_time_changes_with_its_status_only() {
    let (mut pod, records) = pod_of("Always", "m:r", Goes);
    let since = |pod: &Pod, told: Option<PodCondition>| {
        let told = told.map(|c| Told { conditions: vec![c], ..Told::default() });
        let status = generate(&View { told: told.as_ref(), ..view(pod, &records) });
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
        ready.last_transition_time.unwrap().0
    };
    let ready = |status: &str| -> PodCondition {
        let value = json!({"type": "Ready", "status": status, "lastTransitionTime": "2023-11-14T22:13:20Z"});
        serde_json::from_value(value).unwrap()
    };
    assert_eq!(since(&pod, None), NOW);
    pod.status.conditions = vec![ready("False")];
    assert_eq!(since(&pod, None), NOW);
    pod.status.conditions = vec![ready("True")];
    assert_eq!(since(&pod, None), BEFORE);
    // What was told last counts, though the API server has not given it back yet.
    pod.status.conditions = vec![ready("False")];
    assert_eq!(since(&pod, Some(ready("True"))), BEFORE);
}

#[test]
fn readiness_gates_and_foreign_conditions() {
    let (mut pod, records) = pod_of("Always", "m:r", Goes);
    pod.spec.readiness_gates =
        serde_json::from_value(json!([{"conditionType": "example.com/lb"}])).unwrap();
    let ready = |pod: &Pod| {
        let status = generate(&view(pod, &records));
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready").cloned().unwrap();
        let foreign = status.conditions.iter().filter(|c| !is_own(c));
        (ready.status, ready.message.unwrap_or_default(), foreign.count())
    };
    let missing =
        r#"corresponding condition of pod readiness gate "example.com/lb" does not exist."#;
    assert_eq!(ready(&pod), ("False".into(), missing.into(), 0));
    let mut set = |status: &str| {
        let value = json!([{"type": "example.com/lb", "status": status}]);
        pod.status.conditions = serde_json::from_value(value).unwrap();
        ready(&pod)
    };
    let false_ = r#"the status of pod readiness gate "example.com/lb" is not "True", but False"#;
    assert_eq!(set("False"), ("False".into(), false_.into(), 1));
    assert_eq!(set("True"), ("True".into(), String::new(), 1));
}
