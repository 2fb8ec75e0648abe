//! The scheduling queue: pods that wait for a node, in three places.
//!
//! - **active**: to be tried now, the highest priority first, then the one that waits longest;
//! - **backoff**: tried in vain not long ago; 1 s after the first attempt, doubling up to 10 s. While nothing is active, the
//!   first of those that were refused goes before its time (not those whose attempt ended by an error);
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

use apimachinery::object::ObjectKey;

use self::events::{ClusterEvent, Event, Subject, own_changes};
use crate::{framework::PodInfo, plugins::scheduling_gates};

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
    /// When it came, or when its last attempt ended.
    pub timestamp: Duration,
    /// Who refused it the last time; empty where the attempt ended by an error.
    pub refusers: BTreeSet<&'static str>,
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

/// How a pod waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It is about to be tried, or is being bound.
    Active,
    /// Its back-off lasts.
    Backoff,
    /// For an event that may help it.
    Unschedulable,
    /// For its gates to be lifted.
    Gated,
}

/// The queue.
#[derive(Default)]
pub struct SchedulingQueue {
    pods: HashMap<String, (QueuedPod, Place)>,
    active: BinaryHeap<ActiveKey>,
    backoff: BTreeSet<(Duration, String)>,
    unschedulable: BTreeSet<(Duration, String)>,
    sequence: u64,
}

impl SchedulingQueue {
    /// Takes in a new pod, or a changed one; `may_help` tells whether a change of it could undo its refusal.
    pub fn add_or_update(
        &mut self,
        pod: Arc<PodInfo>,
        now: Duration,
        may_help: impl Fn(&QueuedPod, &Event<'_>) -> bool,
    ) {
        let uid = pod.uid().to_owned();
        let gated = scheduling_gates::waiting_for(&pod).is_some();
        let Some((queued, place)) = self.pods.get_mut(&uid) else {
            let refusers = BTreeSet::new();
            let queued = QueuedPod { pod, attempts: 0, since: now, timestamp: now, refusers };
            if gated {
                self.pods.insert(uid, (queued, Place::Gated));
            } else {
                self.activate(queued);
            }
            return;
        };
        let former = std::mem::replace(&mut queued.pod, pod);
        let woken = match place {
            Place::Gated => !gated,
            Place::Unschedulable(_) => {
                let subject = Subject::Pod { old: Some(&former), new: Some(&queued.pod) };
                let helps = |kind: ClusterEvent| may_help(queued, &Event { kind, subject });
                own_changes(&former, &queued.pod).into_iter().any(helps)
            }
            Place::Active(_) | Place::Backoff(_) | Place::InFlight => false,
        };
        if woken {
            let queued = queued.clone();
            self.leave(&uid);
            self.requeue(queued, now);
        }
    }

    /// Forgets a pod.
    pub fn remove(&mut self, uid: &str) {
        self.leave(uid);
        self.pods.remove(uid);
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
            Some((_, Place::Active(_) | Place::Gated | Place::InFlight)) | None => {}
        }
    }

    /// Takes the next pod to try; `done`, `refused` or `failed` ends its attempt.
    pub fn pop(&mut self, now: Duration) -> Option<QueuedPod> {
        self.flush(now);
        while let Some(key) = self.active.pop() {
            let current = |(_, place): &(_, Place)| *place == Place::Active(key.sequence);
            if self.pods.get(&key.uid).is_some_and(current) {
                return self.try_now(&key.uid);
            }
        }
        let early = self.backoff.iter().find(|(_, uid)| {
            self.pods.get(uid).is_some_and(|(queued, _)| !queued.refusers.is_empty())
        });
        let (until, uid) = early.cloned()?;
        self.backoff.remove(&(until, uid.clone()));
        self.try_now(&uid)
    }

    fn try_now(&mut self, uid: &str) -> Option<QueuedPod> {
        let (queued, place) = self.pods.get_mut(uid)?;
        *place = Place::InFlight;
        queued.attempts += 1;
        Some(queued.clone())
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

    /// The attempt failed for want of a node.
    pub fn refused(&mut self, uid: &str, refusers: BTreeSet<&'static str>, now: Duration) {
        // A deleted pod is gone from here already.
        let Some((queued, place @ Place::InFlight)) = self.pods.get_mut(uid) else { return };
        queued.refusers = refusers;
        queued.timestamp = now;
        *place = Place::Unschedulable(now);
        self.unschedulable.insert((now, uid.to_owned()));
    }

    /// The attempt failed by an error (a lost connection): tried again after its back-off.
    pub fn failed(&mut self, uid: &str, now: Duration) {
        if let Some((queued, Place::InFlight)) = self.pods.get(uid) {
            let mut queued = queued.clone();
            queued.timestamp = now;
            queued.refusers.clear();
            self.requeue(queued, now);
        }
    }

    /// Something happened in the cluster: wakes the refused pods that `may_help` names.
    pub fn wake(&mut self, now: Duration, may_help: impl Fn(&QueuedPod) -> bool) {
        let woken: Vec<QueuedPod> = self
            .unschedulable
            .iter()
            .filter_map(|(_, uid)| self.pods.get(uid))
            .filter(|(queued, _)| may_help(queued))
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

    /// Finds a waiting pod by its name, and says how it waits.
    #[must_use]
    pub fn find(&self, key: &ObjectKey) -> Option<(&Arc<PodInfo>, Waiting)> {
        let (queued, place) = self.pods.values().find(|(queued, _)| queued.pod.key == *key)?;
        let waiting = match place {
            Place::Active(_) | Place::InFlight => Waiting::Active,
            Place::Backoff(_) => Waiting::Backoff,
            Place::Unschedulable(_) => Waiting::Unschedulable,
            Place::Gated => Waiting::Gated,
        };
        Some((&queued.pod, waiting))
    }

    /// A pod as it waits here.
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<&QueuedPod> {
        self.pods.get(uid).map(|(queued, _)| queued)
    }

    fn activate(&mut self, queued: QueuedPod) {
        self.sequence += 1;
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
            self.activate(queued);
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
            self.reactivate(&uid);
        }
        while let Some((since, uid)) = self.unschedulable.first().cloned()
            && since + MAX_IN_UNSCHEDULABLE <= now
        {
            self.unschedulable.remove(&(since, uid.clone()));
            self.reactivate(&uid);
        }
    }

    fn reactivate(&mut self, uid: &str) {
        if let Some((queued, _)) = self.pods.get(uid) {
            let queued = queued.clone();
            self.activate(queued);
        }
    }
}

#[cfg(test)]
mod tests;
