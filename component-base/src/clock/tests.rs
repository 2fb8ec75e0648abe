//! The virtual clock wakes in order, repeatably, and never before its time.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::{Clock, Elapsed, TestClock};

const SECOND: Duration = Duration::from_secs(1);

fn clock() -> (Clock, TestClock) {
    Clock::test("2026-01-02T03:04:05Z".parse().unwrap())
}

#[tokio::test]
async fn sleepers_wake_in_order_of_deadline_then_creation() {
    let (clock, test_clock) = clock();
    let order = Arc::new(Mutex::new(Vec::new()));
    let tasks = TaskTracker::new();
    for (name, seconds) in [("c", 3), ("a1", 1), ("b", 2), ("a2", 1)] {
        let (clock, order) = (clock.clone(), Arc::clone(&order));
        let sleep = clock.sleep(seconds * SECOND);
        tasks.spawn(async move {
            sleep.await;
            order.lock().push((name, clock.now().to_string()));
        });
    }
    test_clock.advance(2 * SECOND).await;
    let at = |second: u32| format!("2026-01-02T03:04:{:02}Z", 5 + second);
    assert_eq!(*order.lock(), [("a1", at(1)), ("a2", at(1)), ("b", at(2))]);
    assert_eq!(test_clock.next_wakeup(), Some(SECOND));
    assert_eq!(test_clock.advance_to_next().await, Some(SECOND));
    assert_eq!(order.lock().last(), Some(&("c", at(3))));
    assert_eq!(test_clock.advance_to_next().await, None);
}

#[tokio::test]
async fn a_chain_of_sleeps_passes_in_one_advance() {
    let (clock, test_clock) = clock();
    let tasks = TaskTracker::new();
    let beats = Arc::new(Mutex::new(0));
    let task = {
        let (clock, beats) = (clock.clone(), Arc::clone(&beats));
        tasks.spawn(async move {
            loop {
                clock.sleep(10 * SECOND).await;
                *beats.lock() += 1;
            }
        })
    };
    test_clock.advance(3600 * SECOND).await;
    assert_eq!(*beats.lock(), 360);
    assert_eq!(clock.monotonic(), 3600 * SECOND);
    task.abort();
}

#[tokio::test]
async fn timeout_prefers_the_future_and_fails_at_the_deadline() {
    let (clock, test_clock) = clock();
    assert_eq!(clock.timeout(SECOND, async { 7 }).await, Ok(7));
    let late = test_clock.run(clock.timeout(SECOND, std::future::pending::<()>())).await;
    assert_eq!(late, Err(Elapsed));
    assert_eq!(clock.monotonic(), SECOND);
    assert_eq!(test_clock.next_wakeup(), None, "a dropped sleep leaves nothing behind");
}

#[tokio::test]
async fn run_leaps_through_hours() {
    let (clock, test_clock) = clock();
    let worker = async {
        for _ in 0..100 {
            clock.sleep(300 * SECOND).await;
        }
    };
    test_clock.run(worker).await;
    assert_eq!(clock.monotonic(), 30_000 * SECOND);
}

#[tokio::test]
async fn time_waits_for_a_hold_on_another_thread() {
    let (clock, test_clock) = clock();
    let hold = clock.hold();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let seen = Arc::new(Mutex::new(None));
    let thread = {
        let (clock, seen) = (clock.clone(), Arc::clone(&seen));
        std::thread::spawn(move || {
            released.recv().unwrap();
            *seen.lock() = Some(clock.monotonic());
            drop(hold);
        })
    };
    let advance = test_clock.advance(SECOND);
    release.send(()).unwrap();
    advance.await;
    thread.join().unwrap();
    assert_eq!(*seen.lock(), Some(Duration::ZERO));
    assert_eq!(clock.monotonic(), SECOND);
}

#[test]
fn jitter_stays_in_range_and_repeats_on_a_test_clock() {
    let draw = || {
        let (clock, _) = clock();
        (0..100).map(|_| clock.jitter(SECOND, 0.5)).collect::<Vec<_>>()
    };
    let first = draw();
    assert!(first.iter().all(|d| (SECOND..=SECOND * 3 / 2).contains(d)), "{first:?}");
    assert!(first.windows(2).any(|pair| pair[0] != pair[1]));
    assert_eq!(first, draw());
}

#[tokio::test]
async fn the_wall_can_be_set_and_the_monotonic_time_goes_on() {
    let (clock, test_clock) = clock();
    let sleep = clock.sleep(10 * SECOND);
    test_clock.advance(SECOND).await;
    test_clock.set_wall_clock(SignedDuration::from_hours(-2));
    assert_eq!(clock.now().to_string(), "2026-01-02T01:04:06Z");
    assert_eq!(clock.monotonic(), SECOND);
    test_clock.set_wall_clock(SignedDuration::from_hours(3));
    assert_eq!(clock.now().to_string(), "2026-01-02T04:04:06Z");
    test_clock.run(sleep).await;
    assert_eq!(clock.monotonic(), 10 * SECOND);
}

#[tokio::test]
async fn the_real_clock_moves_by_itself() {
    let clock = Clock::real();
    let before = clock.monotonic();
    clock.sleep(Duration::from_millis(2)).await;
    assert!(clock.monotonic() - before >= Duration::from_millis(2));
    assert_eq!(
        clock.timeout(Duration::from_millis(1), std::future::pending::<()>()).await,
        Err(Elapsed)
    );
}
