//! One module touches time; so an hour of back-off passes in less than a second.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use apimachinery::api::core::Pod;
use component_base::clock::Clock;
use jiff::Timestamp;
use tests::{Component, TestCluster};

use crate::support::project;

/// What gives time or lets it pass. `std::time::Duration` is only a number.
const TIME: &[&str] = &[
    "tokio::time",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "thread::sleep",
];
/// jiff's ways to the same; unit tests of certificates may ask for today.
const TODAY: &[&str] = &["Timestamp::now", "Zoned::now"];

/// The Rust files of a crate's `src`.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn only_the_clock_module_touches_time() {
    let project = project();
    let mut files = Vec::new();
    for entry in fs::read_dir(&project).unwrap() {
        let source = entry.unwrap().path().join("src");
        if source.is_dir() {
            sources(&source, &mut files);
        }
    }
    assert!(files.len() > 200, "all crates are looked at: {} files", files.len());
    let clock = project.join("component-base/src/clock");
    let (mut inside, mut outside) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let is_test = file.ends_with("tests.rs");
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let imports_instant = code.contains("std::time::{")
                && (code.contains("Instant") || code.contains("SystemTime"));
            let today = !is_test && TODAY.iter().any(|time| code.contains(time));
            if !imports_instant && !today && !TIME.iter().any(|time| code.contains(time)) {
                continue;
            }
            if file.with_extension("") == clock || file.starts_with(&clock) {
                inside += 1;
            } else {
                outside.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(inside > 0, "the clock itself is found");
    assert!(outside.is_empty(), "time outside of the clock module:\n{}", outside.join("\n"));
}

const HOUR: Duration = Duration::from_secs(3600);
const CRASHING: &str = "
apiVersion: v1
kind: Pod
metadata: {name: crashing}
spec:
  nodeName: node-1
  containers:
  - {name: main, image: busybox, command: [sh, -c, exit 3]}
";

#[tokio::test]
async fn an_hour_of_crashes_passes_in_seconds() {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let (clock, time) = Clock::test(start);
    let starting = TestCluster::builder().nodes(1).clock(clock.clone()).start();
    let cluster = time.run(starting).await.unwrap();
    let restarts = |pod: &Pod| pod.status.container_statuses.first().map(|c| c.restart_count);
    let looping = async {
        cluster.apply(CRASHING).await.unwrap();
        cluster
            .wait_for::<Pod>("crashing", |pod| match restarts(pod) {
                Some(1..) => Ok(()),
                other => Err(format!("restarts: {other:?}")),
            })
            .await;
    };
    time.run(looping).await;

    // Who has no part in it may rest.
    for component in [Component::KubeProxy(1), Component::Scheduler, Component::ControllerManager] {
        cluster.stop(component).await.unwrap();
    }
    let real = Clock::real();
    time.advance(HOUR).await;
    let mut fastest = real.monotonic();
    let pod: Pod = time.run(cluster.client().get("default", "crashing")).await.unwrap();
    let status = &pod.status.container_statuses[0];
    // 10, 20, 40, 80 and 160 s, then 5 minutes each: about 16 in an hour.
    assert!((14..=18).contains(&status.restart_count), "{} restarts", status.restart_count);
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref()).unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
    let message = waiting.message.as_deref().unwrap();
    assert!(message.starts_with("back-off 5m0s restarting failed container=main"), "{message}");
    // Other tests keep the machine busy: the fastest of three counts.
    for _ in 0..2 {
        let began = real.monotonic();
        time.advance(HOUR).await;
        fastest = fastest.min(real.monotonic() - began);
    }
    // A second is what is promised, and held to with optimization; unoptimized code beside other work takes seconds.
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });
    assert!(fastest < limit, "an hour took {fastest:?}");
}
