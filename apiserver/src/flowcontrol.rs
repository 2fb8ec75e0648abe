//! API Priority and Fairness: how many requests are served at one time, and whose.
//!
//! A request takes a seat while the chain works on it. Kubernetes' priority levels and flow schemas ([`table`], as they
//! stand in every new cluster) say which seats it may take; those who find none wait in a queue of their flow, a quarter
//! of the request timeout at most, and [`queues`] decides whose turn it is. Who finds no room to wait, or waits too
//! long, is refused with 429 and told to come again in a second.
//!
//! Exempt are `system:masters`, probes of health, watches and streams: these hold nothing while they wait. A request has
//! its seat from when its body has come until its answer is known, so a slow sender or reader holds none.

mod queues;
mod table;

use std::{collections::HashMap, time::Duration};

use apimachinery::status::Status;
use component_base::{
    clock::Clock,
    metrics::{Counter, EncodeLabelSet, Family, Gauge, Histogram, Registry},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::{
    queues::{Arrival, FlowKey, Queues, Ticket},
    table::{LEVELS, Place, place},
};
use crate::{authorization::Attributes, request::UserInfo};

/// The seats, and who waits for them.
pub(crate) struct FlowControl {
    state: Mutex<State>,
    patience: Duration,
    clock: Clock,
    metrics: Metrics,
}

struct State {
    queues: Queues,
    /// Those who wait to be told.
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
}

impl FlowControl {
    /// `seats` requests at one time; who waits longer than `patience` is refused.
    pub(crate) fn new(seats: usize, patience: Duration, clock: Clock, registry: &Registry) -> Self {
        let queues = Queues::new(&LEVELS, seats);
        let metrics = Metrics::new(registry);
        for (index, level) in LEVELS.iter().enumerate() {
            let seats = i64::try_from(queues.nominal(index)).unwrap_or(i64::MAX);
            metrics.nominal.get_or_create(&LevelLabels { priority_level: level.name }).set(seats);
        }
        let state = Mutex::new(State { queues, waiting: HashMap::new() });
        Self { state, patience, clock, metrics }
    }

    /// Takes a seat for a request, possibly after others.
    ///
    /// # Errors
    /// Too many requests.
    pub(crate) async fn enter(
        &self,
        user: &UserInfo,
        attributes: &Attributes<'_>,
    ) -> Result<Seat<'_>, Status> {
        let Place { schema, level, flow } = place(user, attributes);
        let Some(level) = level else { return Ok(Seat { control: self, taken: None }) };
        let labels = Labels { flow_schema: schema, priority_level: LEVELS[level].name };
        let mut request = Waiting { control: self, level, key: (schema, flow), ticket: None };
        let begun = self.clock.monotonic();
        let told = {
            let mut state = self.state.lock();
            match state.queues.arrive(level, &request.key) {
                Arrival::Seated => None,
                Arrival::Refused(reason) => return Err(self.refuse(&labels, reason)),
                Arrival::Waits(ticket) => {
                    let (tell, told) = oneshot::channel();
                    state.waiting.insert(ticket, tell);
                    request.ticket = Some(ticket);
                    Some(told)
                }
            }
        };
        if let Some(told) = told {
            self.metrics.show(level, self.load(level));
            if self.clock.timeout(self.patience, told).await.is_err() {
                return Err(self.refuse(&labels, "time-out"));
            }
        }
        self.metrics.dispatched(&labels, self.clock.monotonic().saturating_sub(begun));
        self.metrics.show(level, self.load(level));
        Ok(Seat { control: self, taken: Some(request.seated()) })
    }

    fn load(&self, level: usize) -> (usize, usize) {
        self.state.lock().queues.load(level)
    }

    fn refuse(&self, labels: &Labels, reason: &'static str) -> Status {
        self.metrics.refused(labels, reason);
        Status::too_many_requests("Too many requests, please try again later.", 1)
    }

    /// Gives a seat back, and tells those who have one now.
    fn leave(&self, level: usize, key: &FlowKey) {
        let mut state = self.state.lock();
        let seated = state.queues.leave(level, key);
        for ticket in seated {
            // Who is gone meanwhile gives its seat back when its `Waiting` is dropped.
            let _ = state.waiting.remove(&ticket).map(|tell| tell.send(()));
        }
        let load = state.queues.load(level);
        drop(state);
        self.metrics.show(level, load);
    }
}

/// A request that has not begun: whoever drops it has given up.
struct Waiting<'a> {
    control: &'a FlowControl,
    level: usize,
    key: FlowKey,
    /// None: nothing is to be undone.
    ticket: Option<Ticket>,
}

impl Waiting<'_> {
    /// It has its seat.
    fn seated(mut self) -> (usize, FlowKey) {
        self.ticket = None;
        (self.level, std::mem::take(&mut self.key))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.control.state.lock();
        state.waiting.remove(&ticket);
        if state.queues.give_up(self.level, &self.key, ticket) {
            let load = state.queues.load(self.level);
            drop(state);
            self.control.metrics.show(self.level, load);
        } else {
            // It was seated in this very moment.
            drop(state);
            self.control.leave(self.level, &self.key);
        }
    }
}

/// A place among the requests being served, given back when dropped.
pub(crate) struct Seat<'a> {
    control: &'a FlowControl,
    /// None: exempt.
    taken: Option<(usize, FlowKey)>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if let Some((level, key)) = self.taken.take() {
            self.control.leave(level, &key);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    flow_schema: &'static str,
    priority_level: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    priority_level: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    flow_schema: &'static str,
    priority_level: &'static str,
    reason: &'static str,
}

/// Kubernetes' metrics of priority and fairness.
struct Metrics {
    dispatched: Family<Labels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    wait: Family<LevelLabels, Histogram, fn() -> Histogram>,
    executing: Family<LevelLabels, Gauge>,
    in_queue: Family<LevelLabels, Gauge>,
    nominal: Family<LevelLabels, Gauge>,
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        let name = |name: &str| format!("apiserver_flowcontrol_{name}");
        let wait = Family::new_with_constructor((|| Histogram::new(WAIT)) as fn() -> Histogram);
        Self {
            dispatched: registry.register(
                &name("dispatched_requests"),
                "Requests that were given a seat.",
                Family::default(),
            ),
            refused: registry.register(
                &name("rejected_requests"),
                "Requests that were refused, by reason.",
                Family::default(),
            ),
            wait: registry.register(
                &name("request_wait_duration_seconds"),
                "Time that requests waited for a seat.",
                wait,
            ),
            executing: registry.register(
                &name("current_executing_requests"),
                "Requests that have a seat.",
                Family::default(),
            ),
            in_queue: registry.register(
                &name("current_inqueue_requests"),
                "Requests that wait for a seat.",
                Family::default(),
            ),
            nominal: registry.register(
                &name("nominal_limit_seats"),
                "Seats that a priority level has of its own.",
                Family::default(),
            ),
        }
    }

    fn dispatched(&self, labels: &Labels, waited: Duration) {
        self.dispatched.get_or_create(labels).inc();
        let level = LevelLabels { priority_level: labels.priority_level };
        self.wait.get_or_create(&level).observe(waited.as_secs_f64());
    }

    fn refused(&self, labels: &Labels, reason: &'static str) {
        let Labels { flow_schema, priority_level } = *labels;
        self.refused.get_or_create(&RefusedLabels { flow_schema, priority_level, reason }).inc();
    }

    fn show(&self, level: usize, (seated, waiting): (usize, usize)) {
        let labels = LevelLabels { priority_level: LEVELS[level].name };
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.executing.get_or_create(&labels).set(number(seated));
        self.in_queue.get_or_create(&labels).set(number(waiting));
    }
}

/// Kubernetes' buckets of waiting times, in seconds.
const WAIT: [f64; 13] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use super::*;

    fn control(clock: Clock) -> Arc<FlowControl> {
        Arc::new(FlowControl::new(10, Duration::from_secs(15), clock, &Registry::new()))
    }

    fn user(name: &str, groups: &[&str]) -> UserInfo {
        let groups = groups.iter().map(ToString::to_string).collect();
        UserInfo { name: name.into(), groups, ..UserInfo::default() }
    }

    const GET: Attributes<'_> = Attributes::Path { verb: "get", path: "/version" };

    #[tokio::test]
    async fn a_flood_starves_nobody() {
        let (clock, time) = Clock::test(jiff::Timestamp::UNIX_EPOCH);
        let control = control(clock);
        let (flood, modest) =
            (user("flood", &["system:authenticated"]), user("modest", &["system:authenticated"]));
        let mut seats = Vec::new();
        // Whoever comes first gets all that nobody keeps.
        let waiting = loop {
            let mut entering = Box::pin(control.enter(&flood, &GET));
            match futures::poll!(entering.as_mut()) {
                std::task::Poll::Ready(seat) => seats.push(seat.unwrap()),
                std::task::Poll::Pending => break entering,
            }
        };
        let mut second = Box::pin(control.enter(&modest, &GET));
        assert!(futures::poll!(second.as_mut()).is_pending());
        drop(seats.pop());
        let seat = second.await.unwrap();
        // An administrator never waits.
        control.enter(&user("admin", &["system:masters"]), &GET).await.unwrap();
        // Who waits too long is refused.
        let (refused, ()) = tokio::join!(waiting, time.advance(Duration::from_secs(15)));
        let status = refused.err().unwrap();
        assert_eq!((status.code, status.retry_after_seconds()), (429, Some(1)));
        drop((seat, seats));
        for level in 0..LEVELS.len() {
            assert_eq!(control.load(level), (0, 0));
        }
    }

    #[tokio::test]
    async fn who_leaves_the_queue_leaves_no_trace() {
        let control = control(Clock::real());
        let ann = user("ann", &["system:authenticated"]);
        let mut seats = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..40 {
            let mut entering = Box::pin(control.enter(&ann, &GET));
            match futures::poll!(entering.as_mut()) {
                std::task::Poll::Ready(seat) => seats.push(seat.unwrap()),
                std::task::Poll::Pending => waiting.push(entering),
            }
        }
        // Told of its seat and gone before it could look.
        drop(seats.pop());
        drop(waiting.remove(0));
        let mut next = waiting.remove(0);
        let seat = poll_fn(|context| next.as_mut().poll(context)).await.unwrap();
        waiting.clear();
        drop((seat, seats));
        for level in 0..LEVELS.len() {
            assert_eq!(control.load(level), (0, 0));
        }
        assert!(control.state.lock().waiting.is_empty());
    }
}
