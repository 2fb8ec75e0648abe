//! The scheduling queue: pods that wait for a node, in three places.
//!
//! - **active**: to be tried now, the highest priority first, then the one that waits longest;
//! - **backoff**: tried in vain not long ago; 1 s after the first attempt, doubling up to 10 s;
//! - **unschedulable**: refused, and waiting for an event of the cluster that could help a pod that these plugins
//!   refused; after five minutes it is tried again all the same.
//!
//! Gated pods stand beside them until their last gate is lifted. The queue is pure: every method takes `now`.

pub mod events;

use std::{
    cmp::Ordering,
    collections::{BTreeSet, BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{framework::PodInfo, plugins::scheduling_gates};
use events::ClusterEvent;

/// First back-off of a pod: `podInitialBackoffSeconds`.
pub const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
/// Longest back-off: `podMaxBackoffSeconds`.
pub const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// How long a pod may stay unschedulable without another attempt.
pub const MAX_IN_UNSCHEDULABLE: Duration = Duration::from_secs(5 * 60);

/// A pod that waits, with the history of its attempts.
#[derive(Clone, Debug)]
pub struct QueuedPod {
    /// The pod.
    pub pod: Arc<PodInfo>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it entered the queue first.
    pub since: Duration,
    /// When it was last put into a part of the queue.
    pub timestamp: Duration,
    /// Who refused it the last time.
    pub refusers: BTreeSet<&'static str>,
    /// Events that arrived while it was being tried.
    moved_at: u64,
}

impl QueuedPod {
    fn backoff(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        INITIAL_BACKOFF.saturating_mul(doubled).min(MAX_BACKOFF)
    }
}

#[derive(PartialEq, Eq)]
struct ActiveKey {
    priority: i32,
    timestamp: Duration,
    sequence: u64,
    uid: String,
}

impl Ord for ActiveKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.priority
            .cmp(&other.priority)
            .then_with(|| other.timestamp.cmp(&self.timestamp))
            .then_with(|| other.sequence.cmp(&self.sequence))
    }
}

impl PartialOrd for ActiveKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active(u64),
    Backoff(Duration),
    Unschedulable(Duration),
    Gated,
    InFlight,
}

/// The queue.
#[derive(Default)]
pub struct SchedulingQueue {
    pods: HashMap<String, (QueuedPod, Place)>,
    active: BinaryHeap<ActiveKey>,
    backoff: BTreeSet<(Duration, String)>,
    unschedulable: BTreeSet<(Duration, String)>,
    in_flight: BTreeSet<String>,
    sequence: u64,
    /// Counts moves of unschedulable pods, so that an event during an attempt is not lost.
    cycle: u64,
    recent: Vec<(u64, ClusterEvent)>,
}

impl SchedulingQueue {
    /// Takes in a new pod, or a changed one.
    pub fn add_or_update(&mut self, pod: Arc<PodInfo>, now: Duration) {
        let uid = pod.uid().to_owned();
        let gated = scheduling_gates::waiting_for(&pod).is_some();
        match self.pods.get_mut(&uid) {
            None => {
                let queued = QueuedPod {
                    pod,
                    attempts: 0,
                    since: now,
                    timestamp: now,
                    refusers: BTreeSet::new(),
                    moved_at: self.cycle,
                };
                if gated {
                    self.pods.insert(uid, (queued, Place::Gated));
                } else {
                    self.activate(queued, now);
                }
            }
            Some((queued, place)) => {
                let changed = relevant_change(&queued.pod, &pod);
                queued.pod = pod;
                match *place {
                    Place::Gated if !gated => {
                        let queued = queued.clone();
                        self.activate(queued, now);
                    }
                    Place::Unschedulable(_) if changed => {
                        let queued = queued.clone();
                        self.leave(&uid);
                        self.requeue(queued, now);
                    }
                    Place::InFlight if changed => {
                        self.cycle += 1;
                        self.recent.push((self.cycle, ClusterEvent::UnscheduledPodUpdate));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Forgets a pod.
    pub fn remove(&mut self, uid: &str) {
        self.leave(uid);
        self.pods.remove(uid);
        self.trim_recent();
    }

    /// Takes a pod out of the part that its place names.
    fn leave(&mut self, uid: &str) {
        match self.pods.get(uid) {
            Some((_, Place::Backoff(until))) => {
                self.backoff.remove(&(*until, uid.to_owned()));
            }
            Some((_, Place::Unschedulable(since))) => {
                self.unschedulable.remove(&(*since, uid.to_owned()));
            }
            Some((_, Place::InFlight)) => {
                self.in_flight.remove(uid);
            }
            Some((_, Place::Active(_) | Place::Gated)) | None => {}
        }
    }

    /// Takes the next pod to try; `done` or `refused` ends its attempt.
    pub fn pop(&mut self, now: Duration) -> Option<QueuedPod> {
        self.flush(now);
        while let Some(key) = self.active.pop() {
            let Some((queued, place)) = self.pods.get_mut(&key.uid) else { continue };
            if *place != Place::Active(key.sequence) {
                continue;
            }
            *place = Place::InFlight;
            self.in_flight.insert(key.uid);
            queued.attempts += 1;
            queued.moved_at = self.cycle;
            return Some(queued.clone());
        }
        None
    }

    /// When the next waiting pod becomes ready by itself.
    #[must_use]
    pub fn next_ready(&self) -> Option<Duration> {
        let backoff = self.backoff.first().map(|(until, _)| *until);
        let leftover = self.unschedulable.first().map(|(since, _)| *since + MAX_IN_UNSCHEDULABLE);
        [backoff, leftover].into_iter().flatten().min()
    }

    /// The attempt succeeded: the pod is assumed on a node and leaves the queue.
    pub fn done(&mut self, uid: &str) {
        self.remove(uid);
    }

    /// The attempt failed for want of a node; `may_help` tells which events that arrived meanwhile could help.
    pub fn refused(
        &mut self,
        uid: &str,
        refusers: BTreeSet<&'static str>,
        now: Duration,
        may_help: impl Fn(&BTreeSet<&'static str>, ClusterEvent) -> bool,
    ) {
        let Some((queued, Place::InFlight)) = self.pods.get_mut(uid).map(|(q, p)| (q, *p)) else {
            return;
        };
        queued.refusers = refusers;
        queued.timestamp = now;
        let queued = queued.clone();
        let since = queued.moved_at;
        let helped = self
            .recent
            .iter()
            .any(|(cycle, event)| *cycle > since && may_help(&queued.refusers, *event));
        self.in_flight.remove(uid);
        if helped {
            self.requeue(queued, now);
        } else {
            self.unschedulable.insert((now, uid.to_owned()));
            self.pods.insert(uid.to_owned(), (queued, Place::Unschedulable(now)));
        }
        self.trim_recent();
    }

    /// The attempt failed by an error (a conflict, a lost connection): tried again after its back-off.
    pub fn failed(&mut self, uid: &str, now: Duration) {
        if let Some((queued, Place::InFlight)) = self.pods.get(uid) {
            let mut queued = queued.clone();
            queued.timestamp = now;
            self.in_flight.remove(uid);
            self.requeue(queued, now);
            self.trim_recent();
        }
    }

    /// Something happened in the cluster: wakes the pods that it may help.
    pub fn on_event(
        &mut self,
        event: ClusterEvent,
        now: Duration,
        may_help: impl Fn(&BTreeSet<&'static str>, ClusterEvent) -> bool,
    ) {
        if !self.in_flight.is_empty() {
            self.cycle += 1;
            self.recent.push((self.cycle, event));
        }
        let woken: Vec<QueuedPod> = self
            .unschedulable
            .iter()
            .filter_map(|(_, uid)| self.pods.get(uid))
            .filter(|(queued, _)| may_help(&queued.refusers, event))
            .map(|(queued, _)| queued.clone())
            .collect();
        for queued in woken {
            self.leave(queued.pod.uid());
            self.requeue(queued, now);
        }
    }

    /// How many pods wait in each part: active, backoff, unschedulable, gated.
    #[must_use]
    pub fn lengths(&self) -> [usize; 4] {
        let mut lengths = [0; 4];
        for (_, place) in self.pods.values() {
            match place {
                Place::Active(_) => lengths[0] += 1,
                Place::Backoff(_) => lengths[1] += 1,
                Place::Unschedulable(_) => lengths[2] += 1,
                Place::Gated => lengths[3] += 1,
                Place::InFlight => {}
            }
        }
        lengths
    }

    /// A pod as it waits here.
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<&QueuedPod> {
        self.pods.get(uid).map(|(queued, _)| queued)
    }

    fn trim_recent(&mut self) {
        let oldest = self
            .in_flight
            .iter()
            .filter_map(|uid| self.pods.get(uid))
            .map(|(queued, _)| queued.moved_at)
            .min();
        match oldest {
            None => self.recent.clear(),
            Some(oldest) => self.recent.retain(|(cycle, _)| *cycle > oldest),
        }
    }

    fn activate(&mut self, mut queued: QueuedPod, now: Duration) {
        self.sequence += 1;
        queued.timestamp = now;
        let uid = queued.pod.uid().to_owned();
        self.active.push(ActiveKey {
            priority: queued.pod.priority(),
            timestamp: queued.timestamp,
            sequence: self.sequence,
            uid: uid.clone(),
        });
        self.pods.insert(uid, (queued, Place::Active(self.sequence)));
    }

    /// Into the active part, or into backoff while the pod's back-off lasts.
    fn requeue(&mut self, queued: QueuedPod, now: Duration) {
        let until = queued.timestamp + queued.backoff();
        if queued.attempts == 0 || until <= now {
            self.activate(queued, now);
            return;
        }
        let uid = queued.pod.uid().to_owned();
        self.backoff.insert((until, uid.clone()));
        self.pods.insert(uid, (queued, Place::Backoff(until)));
    }

    fn flush(&mut self, now: Duration) {
        while let Some((until, uid)) = self.backoff.first().cloned()
            && until <= now
        {
            self.backoff.remove(&(until, uid.clone()));
            self.reactivate(&uid, now);
        }
        while let Some((since, uid)) = self.unschedulable.first().cloned()
            && since + MAX_IN_UNSCHEDULABLE <= now
        {
            self.unschedulable.remove(&(since, uid.clone()));
            self.reactivate(&uid, now);
        }
    }

    fn reactivate(&mut self, uid: &str, now: Duration) {
        if let Some((queued, _)) = self.pods.get(uid) {
            let queued = queued.clone();
            self.activate(queued, now);
        }
    }
}

/// Whether a change of a waiting pod may make it schedulable: anything but its status and bookkeeping.
fn relevant_change(old: &PodInfo, new: &PodInfo) -> bool {
    old.pod.spec != new.pod.spec
        || old.pod.metadata.labels != new.pod.metadata.labels
        || old.terminating() != new.terminating()
}

#[cfg(test)]
mod tests;
