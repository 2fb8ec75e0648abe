//! Never two leaders, always soon one.

use std::{sync::Arc, time::Duration};

use apimachinery::{resource, status::Status};
use component_base::shutdown::Shutdown;
use jiff::SignedDuration;
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Config, Lost, Outcome, run, work_as_leader};
use crate::testing::Fixture;

const SECOND: Duration = Duration::from_secs(1);

/// A candidate in the background; what it does is written to `log` with the time.
struct Candidate {
    cancel: CancellationToken,
    outcome: Arc<Mutex<Option<Outcome>>>,
}

type Log = Arc<Mutex<Vec<(u64, String)>>>;

fn candidate(fixture: &Fixture, identity: &'static str, log: &Log) -> Candidate {
    let cancel = CancellationToken::new();
    let outcome = Arc::new(Mutex::new(None));
    let (client, clock) = (fixture.client.clone(), fixture.clock.clone());
    let (token, log, result) = (cancel.clone(), Arc::clone(log), Arc::clone(&outcome));
    fixture.shutdown.spawn("candidate", async move {
        let config = Config::component("kube-scheduler", identity);
        let note = |what: &str| {
            log.lock().push((clock.monotonic().as_secs(), format!("{identity} {what}")));
        };
        let lead = async |token: CancellationToken| {
            note("leads");
            token.cancelled().await;
            note("stops");
        };
        let ended = run(&client, &clock, &config, &token, lead).await;
        *result.lock() = Some(ended);
    });
    Candidate { cancel, outcome }
}

fn lease(fixture: &Fixture) -> Value {
    fixture.server.objects(&resource::LEASES)[0].clone()
}

#[tokio::test]
async fn the_second_candidate_waits_and_takes_over_at_once_when_the_lease_is_given_back() {
    let fixture = Fixture::new();
    let log = Log::default();
    let first = candidate(&fixture, "a", &log);
    fixture.test_clock.advance(5 * SECOND).await;
    let second = candidate(&fixture, "b", &log);
    fixture.test_clock.advance(100 * SECOND).await;
    assert_eq!(*log.lock(), [(0, "a leads".to_owned())]);
    assert_eq!(lease(&fixture)["spec"]["leaseTransitions"], 0);
    first.cancel.cancel();
    fixture.test_clock.advance(6 * SECOND).await;
    let told: Vec<_> = log.lock().iter().map(|(_, what)| what.clone()).collect();
    assert_eq!(told, ["a leads", "a stops", "b leads"]);
    assert_eq!(*first.outcome.lock(), Some(Outcome::Cancelled));
    assert_eq!(*second.outcome.lock(), None);
    assert_eq!(lease(&fixture)["spec"]["holderIdentity"], "b");
    assert_eq!(lease(&fixture)["spec"]["leaseTransitions"], 1);
    second.cancel.cancel();
    fixture.test_clock.advance(SECOND).await;
    assert_eq!(lease(&fixture)["spec"]["holderIdentity"], "");
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_before_another_may_begin() {
    let fixture = Fixture::new();
    let log = Log::default();
    let first = candidate(&fixture, "a", &log);
    fixture.test_clock.advance(20 * SECOND).await;
    fixture.server.set_outage(Some(Status::service_unavailable("down")));
    fixture.test_clock.advance(13 * SECOND).await;
    assert_eq!(*first.outcome.lock(), Some(Outcome::Lost));
    assert!(log.lock()[1].0 <= 20 + 12, "{log:?}");
    fixture.server.set_outage(None);
    let _second = candidate(&fixture, "b", &log);
    fixture.test_clock.advance(14 * SECOND).await;
    assert_eq!(log.lock().len(), 2, "the lease holds from when it was first seen");
    fixture.test_clock.advance(10 * SECOND).await;
    assert_eq!(log.lock()[2].1, "b leads");
}

/// Two clocks need not agree, and one that is set does not matter: only the time since a change was seen counts.
#[tokio::test]
async fn setting_the_wall_clock_moves_no_leadership() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _first = candidate(&fixture, "a", &log);
    fixture.test_clock.advance(5 * SECOND).await;
    let _second = candidate(&fixture, "b", &log);
    for hours in [6, -12, 24] {
        fixture.test_clock.set_wall_clock(SignedDuration::from_hours(hours));
        fixture.test_clock.advance(60 * SECOND).await;
    }
    assert_eq!(*log.lock(), [(0, "a leads".to_owned())]);
}

#[tokio::test]
async fn renewing_costs_one_write_and_no_read() {
    let fixture = Fixture::new();
    let _leader = candidate(&fixture, "a", &Log::default());
    fixture.test_clock.advance(20 * SECOND).await;
    let requests = fixture.server.requests();
    assert_eq!(requests[..2], ["get leases/kube-scheduler", "create leases"]);
    assert_eq!(requests[2..], vec!["update leases/kube-scheduler"; 10]);
}

#[tokio::test]
async fn a_server_that_just_starts_costs_no_retry_period() {
    let fixture = Fixture::new();
    fixture.server.set_outage(Some(Status::service_unavailable("starting")));
    let log = Log::default();
    let _first = candidate(&fixture, "a", &log);
    fixture.test_clock.advance(Duration::from_millis(300)).await;
    fixture.server.set_outage(None);
    fixture.test_clock.advance(Duration::from_millis(700)).await;
    assert_eq!(*log.lock(), [(0, "a leads".to_owned())]);
}

#[tokio::test]
async fn the_lease_tells_of_its_holder_while_it_leads() {
    let fixture = Fixture::new();
    let (client, clock) = (fixture.client.clone(), fixture.clock.clone());
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    fixture.shutdown.spawn("candidate", async move {
        let mut config = Config::component("kube-scheduler", "a");
        config.annotations.insert("example.com/endpoint".into(), "unix:///a".into());
        run(&client, &clock, &config, &token, async |token: CancellationToken| {
            token.cancelled().await;
        })
        .await;
    });
    fixture.test_clock.advance(3 * SECOND).await;
    let told = |lease: &Value| lease["metadata"]["annotations"]["example.com/endpoint"].clone();
    assert_eq!(told(&lease(&fixture)), "unix:///a");
    cancel.cancel();
    fixture.test_clock.advance(SECOND).await;
    assert_eq!(told(&lease(&fixture)), Value::Null);
}

#[tokio::test]
async fn the_tasks_of_a_leader_end_before_another_may_begin_and_the_rest_goes_on() {
    let fixture = Fixture::new();
    let ended = Arc::new(Mutex::new(None));
    let running = Arc::new(Mutex::new(false));
    let (client, clock, shutdown) =
        (fixture.client.clone(), fixture.clock.clone(), fixture.shutdown.clone());
    let (result, flag) = (Arc::clone(&ended), Arc::clone(&running));
    fixture.shutdown.spawn("component", async move {
        let config = Config::component("kube-scheduler", "a");
        let work = |part: Shutdown| async move {
            let (token, task_flag) = (part.token().clone(), Arc::clone(&flag));
            part.spawn("task", async move {
                *task_flag.lock() = true;
                token.cancelled().await;
                *task_flag.lock() = false;
            });
            part.cancelled().await;
        };
        let led = work_as_leader(&client, &clock, &config, &shutdown, work).await;
        *result.lock() = Some((led, shutdown.token().is_cancelled()));
    });
    fixture.test_clock.advance(5 * SECOND).await;
    assert!(*running.lock());
    fixture.server.set_outage(Some(Status::service_unavailable("down")));
    fixture.test_clock.advance(13 * SECOND).await;
    assert_eq!(*ended.lock(), Some((Err(Lost), false)));
    assert!(!*running.lock());
}

#[tokio::test]
async fn one_that_is_ended_while_it_begins_to_lead_leaves_no_lease_behind() {
    let fixture = Fixture::new();
    let candidate = candidate(&fixture, "a", &Log::default());
    // The lease is asked for, and made, and not yet answered.
    while fixture.server.objects(&resource::LEASES).is_empty() {
        tokio::task::yield_now().await;
    }
    candidate.cancel.cancel();
    fixture.test_clock.advance(SECOND).await;
    assert_eq!(*candidate.outcome.lock(), Some(Outcome::Cancelled));
    assert_eq!(lease(&fixture)["spec"]["holderIdentity"], "");
}
