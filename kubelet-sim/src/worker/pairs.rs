//! Pods' lives as pairs of files: `testdata/lifecycle/NAME/input.yaml` is a pod and what happens to it, `expected.yaml`
//! what the API server, its Events and the containers themselves tell of it then.
//!
//! The pairs are lived through side by side, in [`GROUPS`] tests of one node each with a real API server, on a virtual
//! clock; each begins a second after the one before. What happens at one instant is told in this order: what the script did, what containers
//! did, events, and the status as it is at the end of that instant.
//!
//! ```text
//! KUBE_MINI_PAIRS=NAME        live through those only whose names contain this
//! KUBE_MINI_BLESS=1           write down what happened as expected: read it against Kubernetes' behaviour then
//! ```
//! `input.yaml`: `about` (what Kubernetes does, in words), `pod` (labels, annotations and spec), `steps`, `until` (the
//! seconds after which nothing is told any more), `full` (the last status is told whole), `pulls` (events of pulls, too: that
//! no image is there yet is the same for all), `created` (when the pod is). A step has `at` and one of
//! `delete` (the grace period, or null), `patch` and `status` (strategic merge patches), `ephemeral` (a container),
//! `create` (a ConfigMap).
//!
//! Pairs whose names begin with `shutdown-` have a node of their own, which shuts down and comes back: [`shutdown`].

mod combinations;
mod shutdown;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use apimachinery::{
    api::core::{ConfigMap, ContainerStatus, Event, Pod, PodStatus},
    resource,
};
use client::{
    DeleteOptions, Patch,
    reflector::{Change, ListWatch, Reflector},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::testing::World;

/// So many tests share the cases.
const GROUPS: usize = 4;
/// Every case begins so long after the one before.
const STAGGER: Duration = Duration::from_secs(1);

struct Case {
    name: String,
    dir: PathBuf,
    begin: Duration,
    created: Duration,
    pod: Value,
    steps: Vec<(Duration, Value)>,
    until: Duration,
    full: bool,
    pulls: bool,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/lifecycle")
}

fn seconds(value: &Value) -> Duration {
    Duration::from_secs_f64(value.as_f64().expect("seconds"))
}

/// The cases of one group.
fn group(group: usize) -> Vec<Case> {
    let dirs = folders(|name| !name.starts_with(shutdown::PREFIX));
    let of_group = dirs.into_iter().enumerate().filter(|(number, _)| number % GROUPS == group);
    cases(of_group.map(|(_, dir)| dir), STAGGER)
}

/// The folders of the cases with such names, in order.
fn folders(of: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let named = |dir: &PathBuf| of(dir.file_name().unwrap().to_str().unwrap());
    let mut dirs: Vec<PathBuf> = entries.filter(named).collect();
    dirs.sort();
    dirs
}

/// The cases in these folders, each beginning so long after the one before.
fn cases(dirs: impl IntoIterator<Item = PathBuf>, stagger: Duration) -> Vec<Case> {
    let wanted = std::env::var("KUBE_MINI_PAIRS").unwrap_or_default();
    let mut cases = Vec::new();
    for dir in dirs {
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.contains(&wanted) {
            continue;
        }
        let text = std::fs::read_to_string(dir.join("input.yaml")).unwrap();
        let input: Value = serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(input["about"].is_string(), "{name} says nothing about itself");
        let begin = stagger * u32::try_from(cases.len()).unwrap();
        let mut pod = input["pod"].clone();
        pod["metadata"]["name"] = name.as_str().into();
        pod["metadata"]["namespace"] = "default".into();
        pod["spec"]["nodeName"] = "node-1".into();
        let steps = input["steps"].as_array().into_iter().flatten();
        cases.push(Case {
            begin,
            created: begin
                + input["created"].as_f64().map_or(Duration::ZERO, Duration::from_secs_f64),
            pod,
            steps: steps.map(|step| (begin + seconds(&step["at"]), step.clone())).collect(),
            until: begin + seconds(&input["until"]),
            full: input["full"] == true,
            pulls: input["pulls"] == true,
            name,
            dir,
        });
    }
    cases
}

/// A list of what was seen, with its times.
type Log<T> = Arc<Mutex<Vec<(Duration, T)>>>;

/// What was seen of the pods, and whether they went then.
#[derive(Clone, Default)]
struct Seen {
    pods: Log<(Pod, bool)>,
    events: Log<Event>,
}

async fn observe(world: &World) -> Seen {
    let seen = Seen::default();
    let follow = |info| ListWatch::all(info);
    let mut pods: Reflector<Pod> =
        Reflector::new(world.client.clone(), world.clock.clone(), follow(&resource::PODS));
    let mut events: Reflector<Event> =
        Reflector::new(world.client.clone(), world.clock.clone(), follow(&resource::EVENTS));
    let (log, clock) = (seen.pods.clone(), world.clock.clone());
    world.spawn(async move {
        loop {
            let (pod, gone) = match pods.next().await {
                Change::Applied(pod) => (pod, false),
                Change::Deleted(pod) => (pod, true),
                _ => continue,
            };
            log.lock().push((clock.monotonic(), (pod, gone)));
        }
    });
    let (log, clock) = (seen.events.clone(), world.clock.clone());
    world.spawn(async move {
        loop {
            if let Change::Applied(event) = events.next().await {
                log.lock().push((clock.monotonic(), event));
            }
        }
    });
    world.pass(1).await;
    seen
}

/// Does what a step says; gives how it is told.
async fn act(world: &World, case: &Case, step: &Value) -> String {
    let fields = step.as_object().unwrap();
    let (verb, what) = fields.iter().find(|(key, _)| *key != "at").expect("a verb");
    let patch = async |patch: Value, subresource: &str| {
        let patch = Patch::Strategic(patch);
        let patched = world.client.patch::<Pod>("default", &case.name, &patch, subresource);
        let patched = world.time.run(patched).await;
        patched.unwrap_or_else(|status| panic!("{}: {step}: {status}", case.name));
    };
    match verb.as_str() {
        "delete" => {
            let grace_period_seconds = what.as_i64();
            let options = DeleteOptions { grace_period_seconds, ..DeleteOptions::default() };
            let deletion = world.client.delete::<Pod>("default", &case.name, &options);
            world.time.run(deletion).await.unwrap();
            return format!("delete {what}").replace(" null", "");
        }
        "patch" => patch(what.clone(), "").await,
        "status" => patch(json!({"status": what}), "status").await,
        "ephemeral" => {
            let spec = json!({"spec": {"ephemeralContainers": [what]}});
            patch(spec, "ephemeralcontainers").await;
        }
        "create" => {
            let mut map: ConfigMap = serde_json::from_value(what.clone()).unwrap();
            map.metadata.namespace = Some("default".into());
            world.time.run(world.client.create(&map)).await.unwrap();
        }
        other => panic!("{}: no step {other:?}", case.name),
    }
    format!("{verb} {what}")
}

/// Does something to the node; gives how it is told.
async fn act_on_node(world: &mut World, step: NodeStep) -> &'static str {
    match step {
        NodeStep::ShutDown => {
            world.shut_down_node();
            "the node shuts down"
        }
        NodeStep::Boot => {
            world.await_shutdown().await;
            world.start_kubelet();
            "the node boots"
        }
    }
}

/// One container in a few words.
fn container(status: &ContainerStatus) -> String {
    let state = status.state.clone().unwrap_or_default();
    let mut text = status.name.clone();
    let message = |text: &mut String, message: Option<String>| {
        if let Some(message) = message {
            let _ = write!(text, " {message:?}");
        }
    };
    if state.running.is_some() {
        text.push_str(" running");
    } else if let Some(waiting) = state.waiting {
        let _ = write!(text, " waiting {}", waiting.reason.unwrap_or_default());
        message(&mut text, waiting.message);
    } else if let Some(ended) = state.terminated {
        let _ = write!(text, " ended {} {}", ended.exit_code, ended.reason.unwrap_or_default());
        message(&mut text, ended.message);
    }
    for (fact, word) in [(status.started == Some(true), " started"), (status.ready, " ready")] {
        text.push_str(if fact { word } else { "" });
    }
    if status.restart_count > 0 {
        let _ = write!(text, " x{}", status.restart_count);
    }
    if let Some(last) = status.last_state.clone().unwrap_or_default().terminated {
        let _ = write!(text, " (last {} {}", last.exit_code, last.reason.unwrap_or_default());
        message(&mut text, last.message);
        text.push(')');
    }
    text
}

/// A status in a line: phase, conditions that are not as in a pod that is well, containers.
fn picture(status: &PodStatus) -> String {
    let mut text = status.phase.clone().unwrap_or_default();
    for why in [&status.reason, &status.message].into_iter().flatten() {
        let _ = write!(text, " {why:?}");
    }
    for condition in &status.conditions {
        let well = if condition.type_ == "AllContainersRestarting" { "False" } else { "True" };
        if condition.status == well && condition.reason.is_none() {
            continue;
        }
        let sign = if condition.status == "True" { '+' } else { '-' };
        let reason = condition.reason.as_deref().map(|r| format!("={r}")).unwrap_or_default();
        let _ = write!(text, " {sign}{}{reason}", condition.type_);
    }
    let all = [
        &status.init_container_statuses,
        &status.container_statuses,
        &status.ephemeral_container_statuses,
    ];
    for status in all.into_iter().flatten() {
        let _ = write!(text, "; {}", container(status));
    }
    text
}

fn event(event: &Event) -> String {
    let field = event.involved_object.field_path.as_deref().unwrap_or_default();
    let field = field.trim_start_matches("spec.").replace(['{', '}'], " ");
    let count = event.count.filter(|count| *count > 1);
    format!(
        "{} {}{}: {}{}",
        event.type_.as_deref().unwrap_or_default(),
        event.reason.as_deref().unwrap_or_default(),
        if field.is_empty() { String::new() } else { format!(" ({})", field.trim()) },
        event.message.as_deref().unwrap_or_default(),
        count.map(|count| format!(" (x{count})")).unwrap_or_default(),
    )
}

/// Puts words for what differs from run to run.
struct Normal {
    uid: String,
    ip: String,
    start: jiff::Timestamp,
    ids: BTreeMap<String, usize>,
}

impl Normal {
    fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in [(&self.uid, "<uid>"), (&self.ip, "<ip>")] {
            if !from.is_empty() {
                text = text.replace(from.as_str(), to);
            }
        }
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return match time.as_second() {
                0 => "<epoch>".to_owned(),
                second => format!("+{}s", second - self.start.as_second()),
            };
        }
        // Ids are of 64 hexadecimal digits.
        let bytes = text.as_bytes();
        let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
        let Some(at) = (0..bytes.len()).find(|at| (*at..at + 64).all(hex)) else { return text };
        let id = text[at..at + 64].to_owned();
        let known = self.ids.len() + 1;
        let number = *self.ids.entry(id.clone()).or_insert(known);
        text.replace(&id, &format!("<id {number}>"))
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(list) => list.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => map.values_mut().for_each(|item| self.value(item)),
            _ => {}
        }
    }
}

/// What happened in a case. `zero`: when the first one began.
fn told(
    case: &Case,
    world: &World,
    seen: &Seen,
    steps: &[(Duration, String)],
    zero: jiff::Timestamp,
) -> String {
    let during = |at: Duration| at >= case.begin && at <= case.until;
    let mut lines: Vec<(Duration, u8, String)> = Vec::new();
    for (at, text) in steps {
        lines.push((*at, 0, format!("> {text}")));
    }
    for entry in world.diary.lock().iter().filter(|e| e.pod == case.name && during(e.at)) {
        lines.push((entry.at, 1, format!("  {} {}", entry.container, entry.text)));
    }
    for (at, one) in seen.events.lock().iter() {
        let pull = matches!(one.reason.as_deref(), Some("Pulling" | "Pulled"));
        let own = one.involved_object.name.as_deref() == Some(&case.name);
        if own && during(*at) && (case.pulls || !pull) {
            lines.push((*at, 2, format!("  {}", event(one))));
        }
    }
    // The last of each instant, where it says something new.
    let mut pod = Pod::default();
    let mut pictures: Vec<(Duration, String)> = Vec::new();
    for (at, (seen, gone)) in seen.pods.lock().iter() {
        if seen.metadata.name.as_deref() != Some(&case.name) || !during(*at) {
            continue;
        }
        pod.clone_from(seen);
        let text = picture(&pod.status);
        pictures.retain(|(other, _)| other != at);
        pictures.push((*at, if *gone { format!("gone: {text}") } else { text }));
    }
    pictures.dedup_by(|later, earlier| later.1 == earlier.1);
    lines.extend(pictures.into_iter().map(|(at, text)| (at, 3, format!("= {text}"))));
    lines.sort_by_key(|(at, kind, _)| (*at, *kind));

    let mut normal = Normal {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        ip: pod.status.pod_ip.clone().unwrap_or_default(),
        start: zero + jiff::SignedDuration::try_from(case.begin).unwrap(),
        ids: BTreeMap::new(),
    };
    let mut text = String::from("timeline: |-\n");
    for (at, _, line) in lines {
        let at = (at - case.begin).as_secs_f64();
        let line = normal.text(&line).replace('\n', "\\n");
        let _ = writeln!(text, "  {at:>4} {line}");
    }
    if case.full {
        let mut status = serde_json::to_value(&pod.status).unwrap();
        normal.value(&mut status);
        let status = serde_yaml::to_string(&json!({"status": status})).unwrap();
        text.push_str(&status);
    }
    text
}

#[tokio::test]
async fn pods_live_as_their_pairs_of_files_tell_0() {
    live_through(0).await;
}

#[tokio::test]
async fn pods_live_as_their_pairs_of_files_tell_1() {
    live_through(1).await;
}

#[tokio::test]
async fn pods_live_as_their_pairs_of_files_tell_2() {
    live_through(2).await;
}

#[tokio::test]
async fn pods_live_as_their_pairs_of_files_tell_3() {
    live_through(3).await;
}

/// What is to be done.
enum Turn<'a> {
    /// To the node.
    Node(NodeStep),
    /// To a case: its pod is created, it has a step, it is over.
    Create(usize),
    Step(usize, &'a Value),
    End(usize),
}

/// What happens to the node.
#[derive(Clone, Copy)]
enum NodeStep {
    ShutDown,
    Boot,
}

async fn live_through(number: usize) {
    live(World::new().await, group(number), &[]).await;
}

/// Lives through the cases on one node, and compares what was seen.
async fn live(mut world: World, cases: Vec<Case>, node: &[(Duration, NodeStep)]) {
    let seen = observe(&world).await;
    let (epoch, zero) = (world.clock.monotonic(), world.clock.now());
    // In the order of time.
    let mut agenda: Vec<(Duration, Turn<'_>)> = Vec::new();
    agenda.extend(node.iter().map(|(at, step)| (*at, Turn::Node(*step))));
    for (number, case) in cases.iter().enumerate() {
        agenda.push((case.created, Turn::Create(number)));
        agenda.extend(case.steps.iter().map(|(at, step)| (*at, Turn::Step(number, step))));
        // A little later, so that what belongs to the last instant is seen.
        agenda.push((case.until + Duration::from_millis(1), Turn::End(number)));
    }
    agenda.sort_by_key(|(at, _)| *at);
    let mut steps: BTreeMap<usize, Vec<(Duration, String)>> = BTreeMap::new();
    for (at, turn) in agenda {
        world.time.advance((epoch + at).saturating_sub(world.clock.monotonic())).await;
        match turn {
            Turn::Node(step) => {
                let text = act_on_node(&mut world, step).await;
                for number in 0..cases.len() {
                    steps.entry(number).or_default().push((at, text.to_owned()));
                }
            }
            Turn::Create(number) => {
                let pod: Pod = serde_json::from_value(cases[number].pod.clone()).unwrap();
                let created = world.time.run(world.client.create(&pod)).await;
                created.unwrap_or_else(|status| panic!("{}: {status}", cases[number].name));
            }
            Turn::Step(number, step) => {
                let text = act(&world, &cases[number], step).await;
                steps.entry(number).or_default().push((at, text));
            }
            Turn::End(number) => {
                let options =
                    DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
                let deletion = world.client.delete::<Pod>("default", &cases[number].name, &options);
                let _ = world.time.run(deletion).await;
            }
        }
    }
    assert_ordered(&seen);
    let bless = std::env::var_os("KUBE_MINI_BLESS").is_some();
    let mut wrong = Vec::new();
    // Times are told from the beginning of the first case on.
    for (at, _) in seen.pods.lock().iter_mut() {
        *at = at.saturating_sub(epoch);
    }
    for (at, _) in seen.events.lock().iter_mut() {
        *at = at.saturating_sub(epoch);
    }
    for entry in world.diary.lock().iter_mut() {
        entry.at = entry.at.saturating_sub(epoch);
    }
    for (number, case) in cases.iter().enumerate() {
        let steps = steps.remove(&number).unwrap_or_default();
        let told = told(case, &world, &seen, &steps, zero);
        let file = case.dir.join("expected.yaml");
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if told != expected {
            wrong.push(format!("{}:\n{}", case.name, difference(&expected, &told)));
            if bless {
                std::fs::write(&file, told).unwrap();
            }
        }
    }
    assert!(bless || wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

/// Every single status that the API server took must follow from the one before: what is older is never written over
/// what is newer.
fn assert_ordered(seen: &Seen) {
    let mut before: BTreeMap<String, PodStatus> = BTreeMap::new();
    for (_, (pod, _)) in seen.pods.lock().iter() {
        let (name, status) = (pod.metadata.name.clone().unwrap_or_default(), &pod.status);
        if let Some(before) = before.insert(name.clone(), status.clone()) {
            let over = |s: &PodStatus| matches!(s.phase.as_deref(), Some("Succeeded" | "Failed"));
            assert!(!over(&before) || before.phase == status.phase, "{name} came back");
            let counts = |s: &PodStatus| -> BTreeMap<String, i32> {
                let all = s.init_container_statuses.iter().chain(&s.container_statuses);
                all.map(|c| (c.name.clone(), c.restart_count)).collect()
            };
            let now = counts(status);
            for (container, count) in counts(&before) {
                assert!(
                    now.get(&container) >= Some(&count),
                    "{name}: {container} counts backwards"
                );
            }
            for old in &before.conditions {
                let new = status.conditions.iter().find(|c| c.type_ == old.type_);
                let since = new.and_then(|c| c.last_transition_time);
                assert!(since >= old.last_transition_time, "{name}: {} turns back", old.type_);
            }
        }
    }
}

/// The lines that are only in one of two texts.
fn difference(expected: &str, seen: &str) -> String {
    let only = |text: &str, other: &str, sign: char| -> String {
        let lines = text.lines().filter(|line| !other.lines().any(|o| o == *line));
        lines.map(|line| format!("{sign}{line}\n")).collect()
    };
    only(expected, seen, '-') + &only(seen, expected, '+')
}

#[test]
fn every_pair_has_both_its_files() {
    for case in cases(folders(|_| true), STAGGER) {
        assert!(case.dir.join("expected.yaml").is_file(), "{} has no expected.yaml", case.name);
    }
}
