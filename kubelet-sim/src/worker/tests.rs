//! Pods lived through on a virtual clock: a real API server, real containers, hours in milliseconds.

use std::time::Duration;

use apimachinery::api::core::{ConfigMap, Pod};
use client::Patch;
use component_base::clock::Clock;
use serde_json::{Value, json};

use crate::testing::{World, picture};

/// A container of the test image with these arguments.
fn actor(name: &str, args: &str) -> Value {
    json!({"name": name, "image": "actor", "args": args.split_whitespace().collect::<Vec<_>>()})
}

fn with(mut container: Value, extra: Value) -> Value {
    if let Value::Object(extra) = extra {
        for (key, value) in extra {
            container[key] = value;
        }
    }
    container
}

fn one(args: &str) -> Value {
    json!({"containers": [actor("c", args)]})
}

/// What this thread has had of the processor (on other systems than Linux: the time).
fn processor_time() -> Duration {
    // `utime` and `stime`, in hundredths of a second, are the 14th and 15th; the 2nd, in brackets, may hold anything.
    let ticks = |text: String| -> Option<u64> {
        let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    };
    match std::fs::read_to_string("/proc/thread-self/stat").ok().and_then(ticks) {
        Some(ticks) => Duration::from_millis(ticks * 10),
        None => Clock::real().now().duration_since(jiff::Timestamp::UNIX_EPOCH).unsigned_abs(),
    }
}

#[tokio::test]
async fn a_crashing_container_goes_through_its_back_off() {
    let world = World::new().await;
    world.create("p", one("exit 3 0")).await;
    world.expect("p", "Running; c CrashLoopBackOff x1").await;
    let begins = |diary: Vec<String>| -> Vec<u64> {
        let begins = diary.into_iter().filter(|line| line.ends_with("begin"));
        begins.map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
    };
    let began = processor_time();
    world.pass(3600).await;
    let took = processor_time() - began;
    let seconds = begins(world.take_diary());
    let pauses: Vec<u64> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses[..7], [0, 10, 20, 40, 80, 160, 300]);
    assert!(pauses[6..].iter().all(|pause| *pause == 300), "{pauses:?}");
    // Of the processor, not of the clock: other work on the machine does not count.
    assert!(took < Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 }), "{took:?}");

    let pod = world.pod("p").await.unwrap();
    let status = &pod.status.container_statuses[0];
    assert_eq!(usize::try_from(status.restart_count).unwrap(), seconds.len() - 1);
    let waiting = status.state.clone().unwrap().waiting.unwrap();
    let uid = pod.metadata.uid.as_deref().unwrap();
    assert_eq!(
        waiting.message.unwrap(),
        format!("back-off 5m0s restarting failed container=c pod=p_default({uid})")
    );
    let last = status.last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));

    world.delete("p", None).await;
    let deleted = world.now();
    world.expect("p", "gone").await;
    assert!(world.now() - deleted <= 1, "nothing runs that would need its grace period");
}

#[tokio::test]
async fn a_long_run_forgives_crashes() {
    let world = World::new().await;
    world.create("p", one("exit 1 601")).await;
    world.pass(1900).await;
    world.expect("p", "Running ready; c running x3").await;
    let events = world.events("p").await;
    assert!(!events.iter().any(|e| e.starts_with("BackOff")), "{events:?}");
}

#[tokio::test]
async fn containers_end_in_their_order_within_the_grace_period() {
    let world = World::new().await;
    let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 3}}}});
    let always = json!({"restartPolicy": "Always"});
    world
        .create(
            "p",
            json!({
                "initContainers": [
                    with(actor("s1", ""), always.clone()), with(actor("s2", "on-term 2"), always),
                ],
                "containers": [with(actor("m1", "on-term 5"), hook), actor("m2", "")],
            }),
        )
        .await;
    world
        .expect("p", "Running ready; s1 running x0, s2 running x0, m1 running x0, m2 running x0")
        .await;
    world.take_diary();
    let start = world.now();
    world.delete("p", None).await;
    world.expect("p", "gone").await;
    let relative = |line: String| {
        let (second, rest) = line.split_once(' ').unwrap();
        format!("{} {rest}", second.parse::<u64>().unwrap() - start)
    };
    let diary: Vec<String> = world.take_diary().into_iter().map(relative).collect();
    assert_eq!(
        diary,
        [
            "0 m2 term",
            "0 m2 end",
            "3 m1 term",
            "8 m1 end",
            "8 s2 term",
            "10 s2 end",
            "10 s1 term",
            "10 s1 end",
        ]
    );
}

/// Deletes a pod whose container goes on after SIGTERM for `stubborn` seconds, then `again` seconds later with another
/// grace period; gives the seconds of SIGTERM and of the object's end.
async fn endings(
    spec_grace: i64,
    hook: Option<u64>,
    stubborn: u64,
    grace: Option<i64>,
    again: Option<(u64, i64)>,
) -> (Option<u64>, u64) {
    let world = World::new().await;
    let mut container = actor("c", &format!("on-term {stubborn}"));
    if let Some(seconds) = hook {
        container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": seconds}}});
    }
    let spec = json!({"terminationGracePeriodSeconds": spec_grace, "containers": [container]});
    world.create("p", spec).await;
    world.expect("p", "Running ready; c running x0").await;
    world.take_diary();
    let start = world.now();
    world.delete("p", grace).await;
    if let Some((after, grace)) = again {
        world.pass(after).await;
        world.delete("p", Some(grace)).await;
    }
    let ended = world
        .eventually("the end of the container", async || {
            let running = world.diary.lock().iter().any(|entry| entry.text == "end");
            let there = world.client.get::<Pod>("default", "p").await.is_ok();
            if there && !running { Err("still there".to_owned()) } else { Ok(world.now() - start) }
        })
        .await;
    world.expect("p", "gone").await;
    let term = world.take_diary().into_iter().find(|line| line.ends_with("term"));
    let term = term.map(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap() - start);
    (term, ended)
}

#[tokio::test]
async fn the_grace_period_bounds_hooks_and_containers() {
    // It ends by itself; it is killed.
    assert_eq!(endings(30, None, 4, None, None).await, (Some(0), 4));
    assert_eq!(endings(10, None, 60, None, None).await, (Some(0), 10));
    assert_eq!(endings(30, None, 60, Some(5), None).await, (Some(0), 5));
    // A hook that takes all of it leaves two seconds.
    assert_eq!(endings(30, Some(20), 60, Some(10), None).await, (Some(10), 12));
    assert_eq!(endings(30, Some(6), 1, None, None).await, (Some(6), 7));
    // A second deletion shortens it, never prolongs it.
    assert_eq!(endings(60, None, 100, None, Some((10, 5))).await, (Some(0), 15));
    assert_eq!(endings(20, None, 100, None, Some((10, 60))).await, (Some(0), 20));
    assert_eq!(endings(60, Some(50), 100, None, Some((10, 5))).await, (Some(10), 15));
}

#[tokio::test]
async fn a_forced_deletion_leaves_the_container_its_time() {
    let world = World::new().await;
    world.create("p", one("on-term 7")).await;
    world.expect("p", "Running ready; c running x0").await;
    world.take_diary();
    let start = world.now();
    world.delete("p", Some(0)).await;
    assert_eq!(world.pod("p").await, None);
    world.pass(10).await;
    let expected = [format!("{start} c term"), format!("{} c end", start + 7)];
    assert_eq!(world.take_diary(), expected);
}

#[tokio::test]
async fn readiness_follows_its_probe() {
    let world = World::new().await;
    let probe = json!({"readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 5}});
    world.create("p", json!({"containers": [with(actor("c", "listen 12 60"), probe)]})).await;
    world.expect("p", "Running; c running x0").await;
    let start = world.now();
    world.expect("p", "Running ready; c running x0").await;
    assert_eq!(world.now() - start, 15, "the first attempt after second 12");
    world.expect("p", "Running; c running x0").await;
    assert_eq!(world.now() - start, 70, "the third failure after second 60");
    let events = world.events("p").await;
    let refused =
        "Unhealthy: Readiness probe failed: dial tcp 10.244.0.2:80: connect: connection refused";
    assert!(events.iter().any(|e| e == refused), "{events:?}");
}

#[tokio::test]
async fn a_startup_probe_holds_up_the_others_and_its_container_if_it_fails() {
    let world = World::new().await;
    let probes = |threshold: i32| {
        json!({
            "startupProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 10, "failureThreshold": threshold},
            "livenessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 1},
        })
    };
    world
        .create("slow", json!({"containers": [with(actor("c", "listen 25 1000"), probes(6))]}))
        .await;
    world.expect("slow", "Running; c running x0").await;
    world.expect("slow", "Running ready; c running x0").await;
    world
        .create("late", json!({"containers": [with(actor("c", "listen 900 1000"), probes(2))]}))
        .await;
    world.expect("late", "Running; c running x1").await;
    let events = world.events("late").await;
    let killed = "Killing: Container c failed startup probe, will be restarted";
    assert!(events.iter().any(|e| e == killed), "{events:?}");
}

#[tokio::test]
async fn a_failed_liveness_probe_restarts_unless_the_policy_is_never() {
    let world = World::new().await;
    let spec = |policy: &str| {
        let probe = json!({"livenessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 5,
                                             "failureThreshold": 2}});
        json!({"restartPolicy": policy, "containers": [with(actor("c", "listen 0 20"), probe)]})
    };
    // The container ends with 0 at SIGTERM: it is restarted all the same.
    for (policy, expected) in [
        ("Always", "Running ready; c running x1"),
        ("OnFailure", "Running ready; c running x1"),
        ("Never", "Succeeded; c Completed 0 x0"),
    ] {
        let name = policy.to_lowercase();
        world.create(&name, spec(policy)).await;
        world.expect(&name, expected).await;
        let again = if policy == "Never" { "" } else { ", will be restarted" };
        let killed = format!("Killing: Container c failed liveness probe{again}");
        let events = world.events(&name).await;
        assert!(events.contains(&killed), "{events:?}");
    }
}

#[tokio::test]
async fn init_containers_run_in_order_and_are_tried_again() {
    let world = World::new().await;
    let spec = json!({
        "initContainers": [actor("i1", "exit 0 2"), with(actor("s", ""), json!({"restartPolicy": "Always"})),
                           actor("i2", "exit 0 1")],
        "containers": [actor("c", "")],
    });
    world.create("p", spec).await;
    world
        .expect(
            "p",
            "Running ready; i1 Completed 0 x0, s running x0, i2 Completed 0 x0, c running x0",
        )
        .await;
    let order: Vec<String> =
        world.take_diary().into_iter().map(|l| l.split_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(order, ["i1 begin", "i1 end", "s begin", "i2 begin", "i2 end", "c begin"]);

    let failing = |policy: &str| {
        json!({"restartPolicy": policy, "initContainers": [actor("i", "exit 1 0")],
               "containers": [actor("c", "")]})
    };
    world.create("always", failing("Always")).await;
    world.expect("always", "Pending; i CrashLoopBackOff x2, c PodInitializing x0").await;
    world.create("never", failing("Never")).await;
    world.expect("never", "Failed; i Error 1 x0, c PodInitializing x0").await;
}

#[tokio::test]
async fn a_finished_pod_ends_its_sidecars_and_keeps_its_status_over_a_reboot() {
    let mut world = World::new().await;
    let spec = json!({
        "restartPolicy": "OnFailure",
        "initContainers": [with(actor("s", ""), json!({"restartPolicy": "Always"}))],
        "containers": [actor("c", "exit 0 5")],
    });
    world.create("p", spec).await;
    let finished = "Succeeded; s Completed 0 x0, c Completed 0 x0";
    world.expect("p", finished).await;
    let before = world.pod("p").await.unwrap();
    world.stop_kubelet().await;
    world.start_kubelet();
    world.pass(30).await;
    let after = world.pod("p").await.unwrap();
    assert_eq!(after.status, before.status);
    assert_eq!(picture(&after), finished);
    world.delete("p", None).await;
    world.expect("p", "gone").await;
}

#[tokio::test]
async fn a_reboot_restarts_every_container_once_and_keeps_the_address() {
    let mut world = World::new().await;
    let spec = json!({"initContainers": [actor("i", "exit 0 1")], "containers": [actor("c", "")]});
    world.create("p", spec).await;
    world.expect("p", "Running ready; i Completed 0 x0, c running x0").await;
    let before = world.pod("p").await.unwrap();
    world.stop_kubelet().await;
    world.take_diary();
    world.pass(60).await;
    world.start_kubelet();
    world.expect("p", "Running ready; i Completed 0 x1, c running x1").await;
    let after = world.pod("p").await.unwrap();
    assert_eq!(after.status.pod_ip, before.status.pod_ip);
    assert_eq!(after.status.start_time, before.status.start_time);
    let last = after.status.container_statuses[0].last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (255, Some("Unknown")));
    let order: Vec<String> =
        world.take_diary().into_iter().map(|l| l.split_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(order, ["i begin", "i end", "c begin"]);
}

#[tokio::test]
async fn a_deletion_goes_on_after_a_reboot() {
    let mut world = World::new().await;
    world.create("before", one("on-term 20")).await;
    world.create("during", one("")).await;
    world.create("forced", one("")).await;
    for name in ["before", "during", "forced"] {
        world.expect(name, "Running ready; c running x0").await;
    }
    world.delete("before", None).await;
    world.pass(5).await;
    world.stop_kubelet().await;
    world.delete("during", None).await;
    world.delete("forced", Some(0)).await;
    assert!(world.pod("before").await.is_some());
    world.start_kubelet();
    for name in ["before", "during", "forced"] {
        world.expect(name, "gone").await;
    }
    // Their addresses are free again.
    world.create("next", one("")).await;
    world.expect("next", "Running ready; c running x0").await;
    world.stop_kubelet().await;
    world.start_kubelet();
    world.expect("next", "Running ready; c running x1").await;
}

#[tokio::test]
async fn a_node_with_many_pods_stops_at_once() {
    let world = World::new().await;
    // More than the channel by which workers tell of their ends holds.
    for n in 0..70 {
        world.create(&format!("p{n}"), one("on-term 20")).await;
    }
    world.pass(5).await;
    for n in 0..35 {
        world.delete(&format!("p{n}"), None).await;
    }
    world.stop_kubelet().await;
}

#[tokio::test]
async fn a_command_that_cannot_start_is_a_crash() {
    let world = World::new().await;
    let container = json!({"name": "c", "image": "busybox", "command": ["/no/such"]});
    let spec = |policy: &str| json!({"restartPolicy": policy, "containers": [container]});
    world.create("always", spec("Always")).await;
    world.expect("always", "Running; c CrashLoopBackOff x2").await;
    let pod = world.pod("always").await.unwrap();
    let last = pod.status.container_statuses[0].last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (128, Some("StartError")));
    world.create("never", spec("Never")).await;
    world.expect("never", "Failed; c StartError 128 x0").await;
}

#[tokio::test]
async fn a_deadline_ends_a_pod_that_still_runs() {
    let world = World::new().await;
    world.create("p", with(one("on-term 5"), json!({"activeDeadlineSeconds": 60}))).await;
    world.expect("p", "Running ready; c running x0").await;
    let start = world.now();
    world.expect("p", "Failed; c Completed 0 x0").await;
    assert!((64..=66).contains(&(world.now() - start)), "{}", world.now() - start);
    let pod = world.pod("p").await.unwrap();
    assert_eq!(pod.status.reason.as_deref(), Some("DeadlineExceeded"));
    let message = "Pod was active on the node longer than the specified deadline";
    assert_eq!(pod.status.message.as_deref(), Some(message));
}

#[tokio::test]
async fn a_pod_waits_for_what_it_refers_to() {
    let world = World::new().await;
    let spec = json!({
        "volumes": [{"name": "v", "configMap": {"name": "late"}}],
        "containers": [with(actor("c", ""), json!({
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "k"}}}],
        }))],
    });
    world.create("p", spec).await;
    world.expect("p", "Pending; c ContainerCreating x0").await;
    world.pass(60).await;
    let map = |name: &str| -> ConfigMap {
        let value = json!({"metadata": {"name": name, "namespace": "default"}, "data": {"k": "v"}});
        serde_json::from_value(value).unwrap()
    };
    world.time.run(world.client.create(&map("late"))).await.unwrap();
    world.expect("p", "Pending; c CreateContainerConfigError x0").await;
    world.time.run(world.client.create(&map("later"))).await.unwrap();
    world.expect("p", "Running ready; c running x0").await;
    let events = world.events("p").await;
    let mount =
        "FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"late\" not found";
    let config = "Failed: Error: configmap \"later\" not found";
    for expected in [mount, config] {
        assert!(events.iter().any(|e| e == expected), "{events:?}");
    }
}

#[tokio::test]
async fn a_changed_image_restarts_its_container() {
    let world = World::new().await;
    world.create("p", json!({"containers": [actor("c", ""), actor("d", "")]})).await;
    world.expect("p", "Running ready; c running x0, d running x0").await;
    let patch =
        Patch::Strategic(json!({"spec": {"containers": [{"name": "c", "image": "actor:v2"}]}}));
    world.time.run(world.client.patch::<Pod>("default", "p", &patch, "")).await.unwrap();
    world.expect("p", "Running ready; c running x1, d running x0").await;
}

#[tokio::test]
async fn the_end_of_the_log_stands_in_for_a_message() {
    let world = World::new().await;
    let policy = json!({"terminationMessagePolicy": "FallbackToLogsOnError"});
    for (name, container, expected) in [
        ("log", with(actor("c", "say oops exit 2 1"), policy.clone()), Some("oops\n")),
        ("fine", with(actor("c", "say oops exit 0 1"), policy), None),
        ("file", actor("c", "say oops exit 2 1"), None),
    ] {
        world.create(name, json!({"restartPolicy": "Never", "containers": [container]})).await;
        let ended = world
            .eventually(name, async || {
                let pod = world.client.get::<Pod>("default", name).await.map_err(|s| s.message)?;
                let status = pod.status.container_statuses.first().cloned().ok_or("no status")?;
                status.state.and_then(|s| s.terminated).ok_or_else(|| "runs".to_owned())
            })
            .await;
        assert_eq!(ended.message.as_deref(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_healthy_pod_costs_nothing() {
    let world = World::new().await;
    world.pass(20).await;
    let next = world.time.next_wakeup();
    for n in 0..20 {
        world.create(&format!("p{n}"), one("")).await;
    }
    for n in 0..20 {
        world.expect(&format!("p{n}"), "Running ready; c running x0").await;
    }
    // Nothing was written after the pods had settled, and nobody but the heartbeat wakes up.
    let versions = async || -> Vec<Option<String>> {
        let mut versions = Vec::new();
        for n in 0..20 {
            versions.push(world.pod(&format!("p{n}")).await.unwrap().metadata.resource_version);
        }
        versions
    };
    world.pass(1).await;
    let before = versions().await;
    world.pass(1000).await;
    assert_eq!(versions().await, before);
    assert!(next.is_some());
}

#[tokio::test]
async fn nothing_that_hangs_wedges_a_worker() {
    let mut world = World::new().await;
    let never = json!({"exec": {"command": ["sleep", "1000000"]}});
    let hook = json!({"lifecycle": {"postStart": never, "preStop": never}});
    let probe = json!({"readinessProbe": {"exec": never["exec"], "timeoutSeconds": 1000000}});
    let stubborn = "on-term 1000000";
    for (name, container, picture) in [
        ("hook", with(actor("c", stubborn), hook), "Pending; c ContainerCreating x0"),
        ("probe", with(actor("c", stubborn), probe), "Running; c running x0"),
        ("program", actor("c", stubborn), "Running ready; c running x0"),
    ] {
        world
            .create(name, json!({"terminationGracePeriodSeconds": 5, "containers": [container]}))
            .await;
        world.expect(name, picture).await;
    }
    // The node's own end waits for none of them, and they come back.
    world.stop_kubelet().await;
    world.start_kubelet();
    world.expect("program", "Running ready; c running x1").await;
    // Nor does a deletion: hooks and Programs get their grace period, and two seconds.
    let deleted = world.now();
    for name in ["hook", "probe", "program"] {
        world.delete(name, None).await;
    }
    for name in ["hook", "probe", "program"] {
        world.expect(name, "gone").await;
    }
    assert!(world.now() - deleted <= 8, "{}", world.now() - deleted);
    assert_eq!(
        world
            .client
            .list::<Pod>("default", &client::ListOptions::default())
            .await
            .unwrap()
            .items
            .len(),
        0
    );
}
