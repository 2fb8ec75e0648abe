//! What is read from annotations, and that the documents tell the same.

use serde_json::{Value, json};

use super::*;

fn pod(annotations: &Value) -> Pod {
    let prefixed = annotations.as_object().unwrap().iter();
    let prefixed: serde_json::Map<String, Value> =
        prefixed.map(|(key, value)| (format!("{PREFIX}{key}"), value.clone())).collect();
    serde_json::from_value(json!({
        "metadata": {"annotations": prefixed},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
    }))
    .unwrap()
}

const fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn one_for_a_container_wins_over_one_for_all() {
    let read = PodSimulation::of(&pod(&json!({
        "crash-after": "1m30s", "crash-after.b": "5s", "exit-code.b": "7", "start-delay.i": "2s",
    })));
    assert_eq!(read.problems, [""; 0]);
    let crash = |name| (read.container(name).crash_after, read.container(name).crash_code());
    assert_eq!(crash("a"), (seconds(90), 1));
    assert_eq!(crash("b"), (seconds(5), 7));
    assert_eq!(crash("i"), (None, 1));
    assert_eq!(read.container("i").start_delay, seconds(2));
    assert_eq!(read.container("no"), ContainerSimulation::default());
}

#[test]
fn what_is_not_understood_is_told() {
    let check = |annotations: Value, expected: &str| {
        let read = PodSimulation::of(&pod(&annotations));
        assert_eq!(read.problems, [expected], "{annotations}");
    };
    check(
        json!({"crash-after": "soon"}),
        "metadata.annotations[simulation.kube-mini.dev/crash-after]: Invalid value: \"soon\": must be a duration, e.g. \"1m\"",
    );
    check(
        json!({"error-rate": "2"}),
        "metadata.annotations[simulation.kube-mini.dev/error-rate]: Invalid value: \"2\": must be a fraction from 0 to 1, e.g. \"0.25\"",
    );
    check(
        json!({"exit-code.a": "-1"}),
        "metadata.annotations[simulation.kube-mini.dev/exit-code.a]: Invalid value: \"-1\": must be a number from 0 to 255, e.g. \"3\"",
    );
    let names = "\"start-delay\", \"ready-delay\", \"crash-after\", \"exit-code\", \"oom-after\", \"latency\", \"error-rate\", \"image-pull-error\"";
    check(
        json!({"memory": "64Mi"}),
        &format!(
            "metadata.annotations[simulation.kube-mini.dev/memory]: Unsupported value: \"memory\": supported values: {names}"
        ),
    );
    check(
        json!({"crash-after.c": "1s"}),
        "metadata.annotations[simulation.kube-mini.dev/crash-after.c]: Not found: the pod has no container \"c\"",
    );
    let names: Vec<String> = CONTAINER.iter().map(|knob| format!("{:?}", knob.name)).collect();
    check(
        json!({"crash": "1s"}),
        &format!(
            "metadata.annotations[simulation.kube-mini.dev/crash]: Unsupported value: \"crash\": supported values: {}",
            names.join(", ")
        ),
    );
    // The rest holds all the same.
    let read = PodSimulation::of(&pod(&json!({"crash-after": "soon", "exit-code": "3"})));
    assert_eq!(read.container("a").exit_code, Some(3));
}

#[test]
fn every_example_can_be_read_and_changes_something() {
    for knob in CONTAINER {
        let read = PodSimulation::of(&pod(&json!({knob.name: knob.example})));
        assert_eq!(read.problems, [""; 0], "{}", knob.name);
        assert_ne!(read.container("a"), ContainerSimulation::default(), "{}", knob.name);
    }
    for knob in NODE {
        let mut node = Node::default();
        let annotation = (format!("{PREFIX}{}", knob.name), knob.example.to_owned());
        node.metadata.annotations = [annotation].into();
        let read = NodeSimulation::of(&node);
        assert_eq!(read.problems, [""; 0], "{}", knob.name);
        assert_ne!(read, NodeSimulation::default(), "{}", knob.name);
    }
}

#[test]
fn nodes_act_out_less() {
    let mut node = Node::default();
    node.metadata.annotations =
        [("simulation.kube-mini.dev/silent".to_owned(), "yes".to_owned())].into();
    assert_eq!(
        NodeSimulation::of(&node).problems,
        [
            "metadata.annotations[simulation.kube-mini.dev/silent]: Invalid value: \"yes\": must be true or false, e.g. \"true\""
        ]
    );
}

#[test]
fn the_documents_tell_every_stage() {
    let rows = CONTAINER
        .iter()
        .map(|knob| (knob.name, knob.kind, knob.meaning, knob.example))
        .chain(NODE.iter().map(|knob| (knob.name, knob.kind, knob.meaning, knob.example)));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../FIDELITY.md");
    let text = std::fs::read_to_string(file).unwrap();
    for (name, kind, meaning, example) in rows {
        let row = format!("| `{name}` | {kind} | {meaning} | `{example}` |");
        assert!(text.lines().any(|line| line == row), "FIDELITY.md should have:\n{row}");
    }
}
