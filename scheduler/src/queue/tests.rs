use apimachinery::api::core::{Pod, PodSchedulingGate};

use super::*;

fn pod(uid: &str, priority: i32) -> Arc<PodInfo> {
    let mut pod = Pod::default();
    pod.metadata.uid = Some(uid.into());
    pod.metadata.name = Some(uid.into());
    pod.spec.priority = Some(priority);
    Arc::new(PodInfo::new(Arc::new(pod)))
}

fn gated(uid: &str) -> Arc<PodInfo> {
    let mut pod = (*pod(uid, 0).pod).clone();
    pod.spec.scheduling_gates = vec![PodSchedulingGate { name: "wait".into() }];
    Arc::new(PodInfo::new(Arc::new(pod)))
}

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn popped(queue: &mut SchedulingQueue, now: Duration) -> Option<String> {
    queue.pop(now).map(|q| q.pod.uid().to_owned())
}

const NEVER: fn(&QueuedPod, &Event<'_>) -> bool = |_, _| false;

#[test]
fn the_highest_priority_goes_first_then_the_longest_wait() {
    let mut queue = SchedulingQueue::default();
    queue.add_or_update(pod("late", 0), at(2), NEVER);
    queue.add_or_update(pod("early", 0), at(1), NEVER);
    queue.add_or_update(pod("urgent", 9), at(3), NEVER);
    let order: Vec<_> = (0..4).map(|_| popped(&mut queue, at(4))).collect();
    assert_eq!(order, [Some("urgent".into()), Some("early".into()), Some("late".into()), None]);
}

#[test]
fn a_refused_pod_waits_for_an_event_and_then_for_its_backoff() {
    let mut queue = SchedulingQueue::default();
    queue.add_or_update(pod("p", 0), at(0), NEVER);
    assert_eq!(popped(&mut queue, at(0)), Some("p".into()));
    queue.refused("p", ["NodeResourcesFit"].into(), at(0));
    assert_eq!(popped(&mut queue, at(30)), None);
    assert_eq!(queue.lengths(), [0, 0, 1, 0]);

    queue.wake(at(30), |_| false);
    assert_eq!(queue.lengths(), [0, 0, 1, 0]);
    queue.wake(at(30), |_| true);
    assert_eq!(popped(&mut queue, at(30)), Some("p".into()), "the back-off of 1 s is long over");

    queue.refused("p", ["NodeResourcesFit"].into(), at(30));
    queue.wake(at(31), |_| true);
    assert_eq!(queue.next_ready(), Some(at(32)), "the second back-off is 2 s");
    queue.add_or_update(pod("other", 0), at(31), NEVER);
    assert_eq!(popped(&mut queue, at(31)), Some("other".into()), "active pods go first");
    assert_eq!(popped(&mut queue, at(31)), Some("p".into()), "with nothing else to do, at once");
}

#[test]
fn backoff_doubles_up_to_ten_seconds() {
    let mut queue = SchedulingQueue::default();
    queue.add_or_update(pod("p", 0), at(0), NEVER);
    let mut now = at(0);
    for expected in [1, 2, 4, 8, 10, 10] {
        assert_eq!(popped(&mut queue, now), Some("p".into()));
        queue.failed("p", now);
        assert_eq!(queue.next_ready(), Some(now + at(expected)));
        now += at(expected);
    }
}

#[test]
fn after_five_minutes_a_refused_pod_is_tried_again() {
    let mut queue = SchedulingQueue::default();
    queue.add_or_update(pod("p", 0), at(0), NEVER);
    popped(&mut queue, at(0));
    queue.refused("p", BTreeSet::new(), at(0));
    assert_eq!(queue.next_ready(), Some(MAX_IN_UNSCHEDULABLE));
    assert_eq!(popped(&mut queue, at(299)), None);
    assert_eq!(popped(&mut queue, at(300)), Some("p".into()));
}

#[test]
fn a_gated_pod_waits_until_its_gates_are_gone() {
    let mut queue = SchedulingQueue::default();
    queue.add_or_update(gated("p"), at(0), NEVER);
    assert_eq!(popped(&mut queue, at(1)), None);
    assert_eq!(queue.lengths(), [0, 0, 0, 1]);
    queue.add_or_update(pod("p", 0), at(2), NEVER);
    assert_eq!(popped(&mut queue, at(2)), Some("p".into()));
}

#[test]
fn a_removed_pod_never_comes_up() {
    let mut queue = SchedulingQueue::default();
    for uid in ["active", "waiting", "flying"] {
        queue.add_or_update(pod(uid, 0), at(0), NEVER);
    }
    let first = queue.pop(at(0)).expect("three wait").pod.uid().to_owned();
    queue.refused(&first, BTreeSet::new(), at(0));
    for uid in ["active", "waiting", "flying"] {
        queue.remove(uid);
    }
    assert_eq!(popped(&mut queue, at(1000)), None);
    assert_eq!(queue.next_ready(), None);
}

/// What is done to the queue, second by second, and what it gives: `+a` a pod comes (`+a!` with priority), `a?` it is
/// refused, `a#` its attempt ends by an error, `-a` it goes, `*` an event that helps all, `.` nothing, `>` the next pod is
/// taken.
#[test]
fn pods_take_their_turns() {
    let rows = [
        ("> nothing waits", &[">"][..], "-"),
        ("in their order", &["+a", "+b", ">", ">", ">"], "a b -"),
        ("the important first", &["+a", "+b!", ">", ">"], "b a"),
        ("a changed pod keeps its place", &["+a", "+b", "+a", ">", ">"], "a b"),
        ("a pod that went", &["+a", "+b", "-a", ">", ">"], "b -"),
        ("refused and asleep", &["+a", ">", "a?", ">", ">"], "a - -"),
        ("refused and woken, with nothing else to do", &["+a", ">", "a?", "*", ">"], "a a"),
        (
            "refused and woken, after the active",
            &["+a", ">", "a?", "*", ">", "a?", "*", ">", "a?", "*", "+b", ">", ">"],
            "a a a b a",
        ),
        ("woken twice is there once", &["+a", ">", "a?", "*", "*", ">", ">"], "a a -"),
        ("failed, and back when its time comes", &["+a", ">", "a#", ">", ">"], "a a -"),
        ("failed twice, twice as long", &["+a", ">", "a#", ">", "a#", ">", ">", ">"], "a a - a -"),
        ("who failed first is back first", &["+a", "+b", ">", ">", "b#", "a?", "*", ">"], "a b b"),
        ("a pod that went while asleep", &["+a", ">", "a?", "-a", "*", ">"], "a -"),
        ("a pod that went while it was tried", &["+a", ">", "-a", "a?", "*", ">"], "a -"),
        (
            "who waited longest since the last try",
            &["+a", ">", "a?", "+b", "*", ".", ">", ">"],
            "a a b",
        ),
        ("and the important still first", &["+a", ">", "a?", "+b!", "*", ".", ">", ">"], "a b a"),
    ];
    for (what, steps, expected) in rows {
        let mut queue = SchedulingQueue::default();
        let mut taken = Vec::new();
        for (second, step) in (0..).zip(steps) {
            let name = step.trim_matches(['+', '-', '!', '?', '#']);
            match step {
                &">" => taken.push(popped(&mut queue, at(second)).unwrap_or("-".into())),
                &"*" => queue.wake(at(second), |_| true),
                &"." => {}
                step if step.starts_with('+') => {
                    let priority = i32::from(step.ends_with('!'));
                    queue.add_or_update(pod(name, priority), at(second), NEVER);
                }
                step if step.starts_with('-') => queue.remove(name),
                step if step.ends_with('?') => queue.refused(name, ["x"].into(), at(second)),
                _ => queue.failed(name, at(second)),
            }
        }
        assert_eq!(taken.join(" "), expected, "{what}");
    }
}
