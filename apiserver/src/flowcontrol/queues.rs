//! Who gets a seat: a state machine without time or tasks.
//!
//! Every level owns seats in proportion to its shares. Of these it may lend a part; the rest stays free for it. A request
//! starts at once if its level has a seat for it that is its own or nobody else's. Otherwise it waits in the queue of its
//! flow, and when a seat comes free the level that uses least of its own goes first, in it the flow that has the fewest
//! seats, and among those the one that has waited longest. So a flow that floods waits for itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::table::Level;

/// A request that waits.
pub(super) type Ticket = u64;
/// Which flow of a level: its schema and what tells it from others.
pub(super) type FlowKey = (&'static str, String);

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It has a seat.
    Seated,
    /// It waits.
    Waits(Ticket),
    /// There is no room to wait, for the reason that metrics give.
    Refused(&'static str),
}

/// The seats and who waits for them.
pub(super) struct Queues {
    total: usize,
    seated: usize,
    levels: Vec<State>,
    next_ticket: Ticket,
}

struct State {
    level: &'static Level,
    nominal: usize,
    /// Of these, how many are never lent.
    kept: usize,
    seated: usize,
    waiting: usize,
    flows: HashMap<FlowKey, Flow>,
    /// The flows that wait: by seats that they have, then by their oldest ticket.
    order: BTreeSet<(usize, Ticket, FlowKey)>,
}

#[derive(Default)]
struct Flow {
    seated: usize,
    waiting: VecDeque<Ticket>,
}

impl Flow {
    fn rank(&self, key: &FlowKey) -> Option<(usize, Ticket, FlowKey)> {
        self.waiting.front().map(|oldest| (self.seated, *oldest, key.clone()))
    }
}

impl State {
    fn new(level: &'static Level, total: usize, all_shares: usize) -> Self {
        let nominal = (total * level.shares as usize).div_ceil(all_shares);
        // Rounded to the nearest.
        let lent = (nominal * level.lendable as usize + 50) / 100;
        Self {
            level,
            nominal,
            kept: nominal - lent,
            seated: 0,
            waiting: 0,
            flows: HashMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// Changes a flow and keeps its place in the order.
    fn change<T>(&mut self, key: &FlowKey, change: impl FnOnce(&mut Flow) -> T) -> T {
        let flow = self.flows.entry(key.clone()).or_default();
        if let Some(rank) = flow.rank(key) {
            self.order.remove(&rank);
        }
        let waited = flow.waiting.len();
        let changed = change(flow);
        self.waiting = self.waiting + flow.waiting.len() - waited;
        match flow.rank(key) {
            Some(rank) => drop(self.order.insert(rank)),
            None if flow.seated == 0 => drop(self.flows.remove(key)),
            None => {}
        }
        changed
    }
}

impl Queues {
    pub(super) fn new(levels: &'static [Level], total: usize) -> Self {
        let all: usize = levels.iter().map(|level| level.shares as usize).sum();
        Self {
            total,
            seated: 0,
            levels: levels.iter().map(|level| State::new(level, total, all)).collect(),
            next_ticket: 0,
        }
    }

    /// Seats that a level has of its own.
    pub(super) fn nominal(&self, level: usize) -> usize {
        self.levels[level].nominal
    }

    /// Requests of a level that have a seat, and that wait.
    pub(super) fn load(&self, level: usize) -> (usize, usize) {
        (self.levels[level].seated, self.levels[level].waiting)
    }

    fn has_seat(&self, level: usize) -> bool {
        let state = &self.levels[level];
        if state.seated < state.kept.max(1) {
            return true;
        }
        let kept_by_others = self.levels.iter().enumerate().filter(|(other, _)| *other != level);
        let kept: usize =
            kept_by_others.map(|(_, other)| other.kept.saturating_sub(other.seated)).sum();
        self.seated + kept < self.total
    }

    fn sit(&mut self, level: usize, key: &FlowKey) {
        self.seated += 1;
        let state = &mut self.levels[level];
        state.seated += 1;
        state.change(key, |flow| flow.seated += 1);
    }

    /// A request comes.
    pub(super) fn arrive(&mut self, level: usize, key: &FlowKey) -> Arrival {
        if self.levels[level].waiting == 0 && self.has_seat(level) {
            self.sit(level, key);
            return Arrival::Seated;
        }
        let state = &self.levels[level];
        let (of_flow, of_level) = state.level.waiting;
        if of_level == 0 {
            return Arrival::Refused("concurrency-limit");
        }
        let waiting = state.flows.get(key).map_or(0, |flow| flow.waiting.len());
        if waiting >= of_flow || state.waiting >= of_level {
            return Arrival::Refused("queue-full");
        }
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.levels[level].change(key, |flow| flow.waiting.push_back(ticket));
        Arrival::Waits(ticket)
    }

    /// A request that had a seat is over; gives the ones that have a seat now.
    pub(super) fn leave(&mut self, level: usize, key: &FlowKey) -> Vec<Ticket> {
        self.seated -= 1;
        let state = &mut self.levels[level];
        state.seated -= 1;
        state.change(key, |flow| flow.seated -= 1);
        let mut seated = Vec::new();
        while let Some(next) = self.next_level() {
            let Some((_, ticket, key)) = self.levels[next].order.first().cloned() else { break };
            self.levels[next].change(&key, |flow| flow.waiting.pop_front());
            self.sit(next, &key);
            seated.push(ticket);
        }
        seated
    }

    /// A request does not wait any longer; false if it has a seat already.
    pub(super) fn give_up(&mut self, level: usize, key: &FlowKey, ticket: Ticket) -> bool {
        let state = &mut self.levels[level];
        if !state.flows.contains_key(key) {
            return false;
        }
        state.change(key, |flow| {
            let place = flow.waiting.iter().position(|waiting| *waiting == ticket);
            place.and_then(|place| flow.waiting.remove(place)).is_some()
        })
    }

    /// Of the levels in which somebody waits and may start: the one that uses least of its own.
    fn next_level(&self) -> Option<usize> {
        let ready = (0..self.levels.len())
            .filter(|level| self.levels[*level].waiting > 0 && self.has_seat(*level));
        ready.min_by_key(|level| {
            let state = &self.levels[*level];
            state.seated * 1000 / state.nominal.max(1)
        })
    }
}

/// The waiting flows by level, for diagnosis.
impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let levels: BTreeMap<_, _> =
            self.levels.iter().map(|s| (s.level.name, (s.seated, s.waiting))).collect();
        f.debug_struct("Queues").field("seated", &self.seated).field("levels", &levels).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::table::LEVELS, *};

    const NODES: usize = 0;
    const USERS: usize = 5;
    const CATCH_ALL: usize = 6;

    fn flow(name: &str) -> FlowKey {
        ("schema", name.to_owned())
    }

    /// Sends requests until one is not seated; how many were.
    fn fill(queues: &mut Queues, level: usize, name: &str) -> usize {
        let mut seated = 0;
        while queues.arrive(level, &flow(name)) == Arrival::Seated {
            seated += 1;
        }
        seated
    }

    #[test]
    fn seats_are_kubernetes() {
        let queues = Queues::new(&LEVELS, 600);
        let nominal: Vec<_> = (0..LEVELS.len()).map(|level| queues.nominal(level)).collect();
        assert_eq!(nominal, [74, 98, 25, 98, 245, 49, 13]);
        let kept: Vec<_> = queues.levels.iter().map(|state| state.kept).collect();
        assert_eq!(kept, [50, 73, 25, 49, 24, 24, 13]);
    }

    #[test]
    fn a_flood_borrows_but_never_what_others_keep() {
        let mut queues = Queues::new(&LEVELS, 600);
        let flooded = fill(&mut queues, USERS, "flood");
        assert_eq!(flooded, 600 - (50 + 73 + 25 + 49 + 24 + 13));
        assert_eq!(fill(&mut queues, NODES, "node"), 50, "the nodes have what they keep");
        assert_eq!(fill(&mut queues, CATCH_ALL, "stray"), 13);
        assert_eq!(queues.arrive(CATCH_ALL, &flow("stray")), Arrival::Refused("concurrency-limit"));
    }

    #[test]
    fn a_flow_that_floods_waits_for_itself() {
        let mut queues = Queues::new(&LEVELS, 600);
        let seated = fill(&mut queues, USERS, "flood");
        // One waits already.
        for _ in 1..300 {
            assert!(matches!(queues.arrive(USERS, &flow("flood")), Arrival::Waits(_)));
        }
        assert_eq!(queues.arrive(USERS, &flow("flood")), Arrival::Refused("queue-full"));
        let Arrival::Waits(modest) = queues.arrive(USERS, &flow("modest")) else {
            panic!("there is room to wait")
        };
        let Arrival::Waits(second) = queues.arrive(USERS, &flow("modest")) else {
            panic!("there is room to wait")
        };
        assert_eq!(queues.leave(USERS, &flow("flood")), [modest], "before 300 older ones");
        assert_eq!(queues.leave(USERS, &flow("flood")), [second]);
        // Who gives up frees its place; who has a seat cannot.
        assert!(!queues.give_up(USERS, &flow("modest"), second));
        let next = queues.leave(USERS, &flow("modest"));
        assert_eq!(next.len(), 1, "the flood takes what nobody else wants");
        assert_eq!(queues.load(USERS), (seated, 298 + 1));
    }

    #[test]
    fn everything_is_given_back() {
        let mut queues = Queues::new(&LEVELS, 7);
        let mut random = 7_u64;
        let mut seated: Vec<(usize, FlowKey)> = Vec::new();
        let mut waiting: HashMap<Ticket, (usize, FlowKey)> = HashMap::new();
        for step in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let dice = (random >> 33) as usize;
            let (level, key) = (dice % LEVELS.len(), flow(&format!("f{}", dice / 7 % 5)));
            match dice / 64 % 3 {
                _ if step > 15_000 && seated.is_empty() => break,
                0 if step <= 15_000 => match queues.arrive(level, &key) {
                    Arrival::Seated => seated.push((level, key)),
                    Arrival::Waits(ticket) => drop(waiting.insert(ticket, (level, key))),
                    Arrival::Refused(_) => {}
                },
                1 if !waiting.is_empty() && step <= 15_000 => {
                    let ticket = *waiting.keys().min().unwrap();
                    let (level, key) = waiting.remove(&ticket).unwrap();
                    assert!(queues.give_up(level, &key, ticket));
                }
                _ if !seated.is_empty() => {
                    let (level, key) = seated.swap_remove(dice % seated.len());
                    for ticket in queues.leave(level, &key) {
                        seated.push(waiting.remove(&ticket).unwrap());
                    }
                }
                _ => {}
            }
            assert_eq!(queues.seated, seated.len());
            let loads = (0..LEVELS.len()).map(|level| queues.load(level).1).sum::<usize>();
            assert_eq!(loads, waiting.len());
        }
        assert!(waiting.is_empty() && queues.levels.iter().all(|level| level.flows.is_empty()));
    }
}
