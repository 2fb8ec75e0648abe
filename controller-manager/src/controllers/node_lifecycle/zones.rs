//! How fast pods may be evicted from silent nodes, zone by zone.
//!
//! One node that falls silent has probably died. When many do at once, it is rather the network, or this controller: to
//! evict all their pods would make it worse. So each zone has a state, and nodes wait in line for their NoExecute taint:
//!
//! | state | when | nodes per second |
//! |---|---|---|
//! | Normal | | `--node-eviction-rate` |
//! | PartialDisruption | more than two nodes are not ready, and they are `--unhealthy-zone-threshold` of all | `--secondary-node-eviction-rate`; none in a small zone |
//! | FullDisruption | all nodes are not ready | `--node-eviction-rate` |
//!
//! When every zone is in FullDisruption, it is this controller that is cut off: evictions stop, taints are taken back,
//! and once a node answers again all get their grace period anew.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use apimachinery::api::core::Node;

use crate::options::Options;

/// How disrupted a zone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has just been seen for the first time.
    Initial,
    /// All is well, or nearly.
    Normal,
    /// Many nodes are not ready.
    PartialDisruption,
    /// No node is ready.
    FullDisruption,
}

/// Whether a node may be tainted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is its turn.
    Now,
    /// It is probably its turn after this long.
    After(Duration),
    /// Not before the zone's state changes.
    Never,
}

/// What an observation changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// The rates of some zone: nodes that wait should ask again.
    pub rates: bool,
    /// All zones are disrupted from now on: taints are to be taken back.
    pub stopped: bool,
    /// They are not any more: all nodes get their grace period anew.
    pub resumed: bool,
}

/// All zones.
#[derive(Debug)]
pub struct Zones {
    rates: Rates,
    zones: BTreeMap<String, Zone>,
}

#[derive(Clone, Copy, Debug)]
struct Rates {
    normal: f64,
    secondary: f64,
    threshold: f64,
    large: usize,
}

#[derive(Debug)]
struct Zone {
    state: State,
    bucket: Bucket,
    waiting: VecDeque<String>,
}

/// A token bucket that holds one token.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    tokens: f64,
    at: Duration,
}

/// The zone of a node: its region and zone, by label.
#[must_use]
pub fn zone_of(node: &Node) -> String {
    let label = |key: &str| node.metadata.labels.get(key).map_or("", String::as_str);
    let (region, zone) =
        (label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"));
    if region.is_empty() && zone.is_empty() { String::new() } else { format!("{region}:\0:{zone}") }
}

/// Whether a node counts for the state of its zone.
#[must_use]
pub fn counts(node: &Node) -> bool {
    !node.metadata.labels.contains_key("node.kubernetes.io/exclude-disruption")
}

impl Zones {
    /// No zone has been seen yet.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let rates = Rates {
            normal: options.node_eviction_rate,
            secondary: options.secondary_node_eviction_rate,
            threshold: options.unhealthy_zone_threshold,
            large: options.large_cluster_size_threshold,
        };
        Self { rates, zones: BTreeMap::new() }
    }

    /// Takes in which nodes are ready, by zone: `handleDisruption`.
    pub fn observe(&mut self, ready: &BTreeMap<String, Vec<bool>>, now: Duration) -> Shift {
        let rates = self.rates;
        let states: BTreeMap<&String, State> =
            ready.iter().map(|(zone, nodes)| (zone, rates.state(nodes))).collect();
        for zone in ready.keys() {
            self.zones.entry(zone.clone()).or_insert_with(|| Zone {
                state: State::Initial,
                bucket: Bucket { rate: rates.normal, tokens: 1.0, at: now },
                waiting: VecDeque::new(),
            });
        }
        self.zones.retain(|name, _| ready.contains_key(name));
        let full = |state: State| state == State::FullDisruption;
        let all_are = states.values().all(|state| full(*state));
        let all_were = self.zones.values().all(|zone| full(zone.state));
        let mut shift = Shift::default();
        if self.zones.is_empty() || (all_are && all_were) {
            return shift;
        }
        if all_are {
            shift.stopped = true;
        } else if all_were {
            shift.resumed = true;
        }
        for (name, zone) in &mut self.zones {
            let state = states.get(name).copied().unwrap_or(State::Normal);
            if all_are {
                zone.waiting.clear();
                zone.bucket.set_rate(0.0, now);
            } else if zone.state != state || all_were {
                shift.rates = true;
                zone.bucket.set_rate(rates.of(state, ready.get(name).map_or(0, Vec::len)), now);
            }
            zone.state = state;
        }
        shift
    }

    /// Whether all zones are disrupted, so that nothing is evicted.
    #[must_use]
    pub fn stopped(&self) -> bool {
        !self.zones.is_empty()
            && self.zones.values().all(|zone| zone.state == State::FullDisruption)
    }

    /// A zone's state.
    #[must_use]
    pub fn state(&self, zone: &str) -> Option<State> {
        self.zones.get(zone).map(|zone| zone.state)
    }

    /// Whether it is a node's turn; it waits in line from now on, and has left it when it is.
    pub fn turn(&mut self, zone: &str, node: &str, now: Duration) -> Turn {
        let Some(zone) = self.zones.get_mut(zone) else { return Turn::Never };
        let position = zone.waiting.iter().position(|waiting| waiting == node);
        let position = position.unwrap_or_else(|| {
            zone.waiting.push_back(node.to_owned());
            zone.waiting.len() - 1
        });
        let turn = zone.bucket.turn(position, now);
        if turn == Turn::Now {
            zone.waiting.pop_front();
        }
        turn
    }

    /// A node whose turn it was could not be tainted: it is its turn again.
    pub fn give_back(&mut self, zone: &str, node: &str) {
        if let Some(zone) = self.zones.get_mut(zone) {
            zone.bucket.tokens = 1.0;
            zone.waiting.push_front(node.to_owned());
        }
    }

    /// A node that needs no taint leaves the line; the next, who should ask now.
    pub fn leave(&mut self, node: &str) -> Option<String> {
        self.zones.values_mut().find_map(|zone| {
            let at = zone.waiting.iter().position(|waiting| waiting == node)?;
            zone.waiting.remove(at);
            zone.waiting.front().filter(|_| at == 0).cloned()
        })
    }
}

impl Rates {
    /// `ComputeZoneState`.
    fn state(&self, ready: &[bool]) -> State {
        let silent = ready.iter().filter(|ready| !**ready).count();
        #[expect(clippy::cast_precision_loss, reason = "numbers of nodes are small")]
        let share = silent as f64 / ready.len().max(1) as f64;
        if silent > 0 && silent == ready.len() {
            State::FullDisruption
        } else if silent > 2 && share >= self.threshold {
            State::PartialDisruption
        } else {
            State::Normal
        }
    }

    fn of(&self, state: State, size: usize) -> f64 {
        match state {
            State::PartialDisruption if size > self.large => self.secondary,
            State::PartialDisruption => 0.0,
            State::Initial | State::Normal | State::FullDisruption => self.normal,
        }
    }
}

impl Bucket {
    fn refill(&mut self, now: Duration) {
        let gained = now.saturating_sub(self.at).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + gained).min(1.0);
        self.at = now;
    }

    /// A token that is there stays, one that was waited for is waited for anew: `SwapLimiter`.
    fn set_rate(&mut self, rate: f64, now: Duration) {
        #[expect(clippy::float_cmp, reason = "rates are settings, not results")]
        if self.rate == rate {
            return;
        }
        self.refill(now);
        self.tokens = if self.rate > 0.0 && self.has_one() { 1.0 } else { 0.0 };
        self.rate = rate;
    }

    fn has_one(&self) -> bool {
        // The time was rounded to nanoseconds on its way here.
        self.tokens > 1.0 - 1e-6
    }

    fn turn(&mut self, position: usize, now: Duration) -> Turn {
        if self.rate <= 0.0 {
            return Turn::Never;
        }
        self.refill(now);
        if position == 0 && self.has_one() {
            self.tokens = 0.0;
            return Turn::Now;
        }
        #[expect(clippy::cast_precision_loss, reason = "numbers of nodes are small")]
        let missing = (position + 1) as f64 - self.tokens;
        let wait = Duration::try_from_secs_f64(missing / self.rate).unwrap_or(Duration::MAX);
        Turn::After(wait.max(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests;
