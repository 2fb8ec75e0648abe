//! The scheduler as a pure state machine: what it hears goes in, what is to be done comes out.
//!
//! [`Scheduler::handle`] takes in a change of the cluster; [`Scheduler::next_action`] makes one scheduling attempt and
//! gives back the [`Action`] that the server then carries out (`server`). Between a decision and its confirmation the
//! pod is *assumed* on its node, so that the next attempt already counts it; a failed binding takes that back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apimachinery::api::core::{Namespace, Node, Pod};

use crate::{
    framework::{Framework, PodInfo, runtime::fit_error},
    plugins::scheduling_gates,
    preemption::{self, Preemption},
    queue::{SchedulingQueue, events::ClusterEvent},
    schedule_one::{Rotation, schedule},
    snapshot::Cache,
};

/// A change of one object.
#[derive(Clone, Debug)]
pub enum Change<T> {
    /// It is there, new or changed.
    Applied(Arc<T>),
    /// It is gone.
    Deleted(Arc<T>),
}

/// What the scheduler hears.
#[derive(Clone, Debug)]
pub enum Input {
    /// A node changed.
    Node(Change<Node>),
    /// A pod changed.
    Pod(Change<Pod>),
    /// A namespace changed.
    Namespace(Change<Namespace>),
    /// A binding was refused or failed.
    BindingFailed {
        /// The pod's uid.
        uid: String,
        /// The pod may be gone or bound already: then it is not tried again.
        final_: bool,
    },
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Bind the pod to the node; the cache counts it there already.
    Bind {
        /// The pod.
        pod: Arc<PodInfo>,
        /// The node.
        node: String,
        /// How often it was tried, this time included.
        attempts: u32,
        /// How long it waited since it was first seen.
        waited: Duration,
    },
    /// Tell the user why the pod waits.
    Report {
        /// The pod.
        pod: Arc<PodInfo>,
        /// `Unschedulable` or `SchedulingGated`.
        reason: &'static str,
        /// The message of its condition and event.
        message: String,
        /// Pods to delete, and the node to nominate.
        preemption: Option<Preemption>,
    },
}

/// The scheduler's state.
pub struct Scheduler {
    name: String,
    framework: Framework,
    cache: Cache,
    queue: SchedulingQueue,
    rotation: Rotation,
    /// Pods that nominated a node and wait for its victims to end, by uid.
    nominated: BTreeMap<String, (Arc<PodInfo>, String)>,
    gated: Vec<Arc<PodInfo>>,
}

impl Scheduler {
    /// A scheduler that serves pods with `spec.schedulerName` `name`; `seed` starts the sequence that breaks ties.
    #[must_use]
    pub fn new(name: &str, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            framework: Framework::default(),
            cache: Cache::default(),
            queue: SchedulingQueue::default(),
            rotation: Rotation::new(seed),
            nominated: BTreeMap::new(),
            gated: Vec::new(),
        }
    }

    /// Takes in a change.
    pub fn handle(&mut self, input: Input, now: Duration) {
        match input {
            Input::Node(Change::Applied(node)) => self.node_applied(&node, now),
            Input::Node(Change::Deleted(node)) => {
                self.cache.remove_node(node.metadata.name.as_deref().unwrap_or_default());
            }
            Input::Pod(Change::Applied(pod)) => self.pod_applied(pod, now),
            Input::Pod(Change::Deleted(pod)) => {
                self.pod_gone(pod.metadata.uid.as_deref().unwrap_or_default(), now);
            }
            Input::Namespace(Change::Applied(ns)) => {
                let name = ns.metadata.name.as_deref().unwrap_or_default();
                self.cache.set_namespace(name, Some(ns.metadata.labels.clone()));
            }
            Input::Namespace(Change::Deleted(ns)) => {
                self.cache.set_namespace(ns.metadata.name.as_deref().unwrap_or_default(), None);
            }
            Input::BindingFailed { uid, final_ } => {
                self.cache.forget(&uid);
                if final_ {
                    self.queue.remove(&uid);
                } else {
                    self.queue.failed(&uid, now);
                }
                self.event(ClusterEvent::AssignedPodDelete, now);
            }
        }
    }

    fn node_applied(&mut self, node: &Arc<Node>, now: Duration) {
        match self.cache.set_node(node.clone()) {
            None => self.event(ClusterEvent::NodeAdd, now),
            Some(former) => {
                for event in node_events(&former, node) {
                    self.event(event, now);
                }
            }
        }
    }

    fn pod_applied(&mut self, pod: Arc<Pod>, now: Duration) {
        let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let node = pod.spec.node_name.clone().filter(|n| !n.is_empty());
        let info = Arc::new(PodInfo::new(pod));
        match node {
            Some(_) if ended => self.pod_gone(info.uid(), now),
            Some(node) => {
                let known = self.cache.holds(info.uid());
                self.queue.done(info.uid());
                self.nominated.remove(info.uid());
                self.cache.set_pod(info, &node);
                let event = if known {
                    ClusterEvent::AssignedPodUpdate
                } else {
                    ClusterEvent::AssignedPodAdd
                };
                self.event(event, now);
            }
            None if ended || info.terminating() => self.pod_gone(info.uid(), now),
            None if self.is_mine(&info.pod) && !self.cache.holds(info.uid()) => {
                if scheduling_gates::waiting_for(&info).is_some()
                    && !has_condition(&info.pod, "SchedulingGated")
                {
                    self.gated.push(info.clone());
                }
                self.queue.add_or_update(info, now);
            }
            None => {}
        }
    }

    fn is_mine(&self, pod: &Pod) -> bool {
        pod.spec.scheduler_name.as_deref().unwrap_or("default-scheduler") == self.name
    }

    fn pod_gone(&mut self, uid: &str, now: Duration) {
        self.queue.remove(uid);
        self.nominated.remove(uid);
        if self.cache.remove_pod(uid) {
            self.event(ClusterEvent::AssignedPodDelete, now);
        }
    }

    fn event(&mut self, event: ClusterEvent, now: Duration) {
        let framework = &self.framework;
        self.queue.on_event(event, now, |refusers, event| framework.may_help(refusers, event));
    }

    /// When to look again although nothing happened.
    #[must_use]
    pub fn next_ready(&self) -> Option<Duration> {
        self.queue.next_ready()
    }

    /// How many pods wait: active, backoff, unschedulable, gated.
    #[must_use]
    pub fn queue_lengths(&self) -> [usize; 4] {
        self.queue.lengths()
    }

    /// Makes one scheduling attempt; None: no pod is ready to be tried.
    pub fn next_action(&mut self, now: Duration) -> Option<Action> {
        if let Some(pod) = self.gated.pop() {
            let message = scheduling_gates::waiting_for(&pod)?;
            return Some(Action::Report {
                pod,
                reason: "SchedulingGated",
                message,
                preemption: None,
            });
        }
        let queued = self.queue.pop(now)?;
        let pod = queued.pod.clone();
        let mut snapshot = self.cache.snapshot();
        self.count_nominated(&pod, &mut snapshot);
        match schedule(&self.framework, &pod, &snapshot, &mut self.rotation) {
            Ok(decision) => {
                self.cache.assume(pod.clone(), &decision.node);
                self.nominated.remove(pod.uid());
                Some(Action::Bind {
                    pod,
                    node: decision.node,
                    attempts: queued.attempts,
                    waited: now.saturating_sub(queued.since),
                })
            }
            Err(refusal) => {
                let (diagnosis, state) = *refusal;
                let all = snapshot.nodes.len();
                let mut message = fit_error(&diagnosis, all);
                let mut chosen = None;
                if all == 0 {
                    "no nodes available to schedule pods".clone_into(&mut message);
                } else {
                    match preemption::plan(&self.framework, &pod, &snapshot, &state, &diagnosis) {
                        Ok(preemption) => {
                            self.nominated.insert(
                                pod.uid().to_owned(),
                                (pod.clone(), preemption.node.clone()),
                            );
                            chosen = Some(preemption);
                        }
                        Err(why) => {
                            message.push_str(" no new claims to deallocate, ");
                            message.push_str(&why);
                        }
                    }
                }
                let framework = &self.framework;
                self.queue.refused(pod.uid(), diagnosis.plugins(), now, |refusers, event| {
                    framework.may_help(refusers, event)
                });
                Some(Action::Report { pod, reason: "Unschedulable", message, preemption: chosen })
            }
        }
    }

    /// Counts pods that nominated a node there, where they are at least as important as `pod`: the room that
    /// preemption made for them is not given away.
    fn count_nominated(&self, pod: &PodInfo, snapshot: &mut crate::snapshot::Snapshot) {
        for (waiting, node) in self.nominated.values() {
            if waiting.uid() != pod.uid()
                && waiting.priority() >= pod.priority()
                && let Some(at) = snapshot.nodes.iter().position(|n| *n.name == **node)
            {
                let info = &mut Arc::make_mut(&mut snapshot.nodes)[at];
                Arc::make_mut(info).add_pod(waiting.clone());
            }
        }
    }

    /// The framework, for explanations.
    #[must_use]
    pub fn framework(&self) -> &Framework {
        &self.framework
    }
}

fn has_condition(pod: &Pod, reason: &str) -> bool {
    pod.status
        .conditions
        .iter()
        .any(|c| c.type_ == "PodScheduled" && c.reason.as_deref() == Some(reason))
}

/// What of a node changed, as far as it may help a pod: `nodeSchedulingPropertiesChange`.
fn node_events(old: &Node, new: &Node) -> Vec<ClusterEvent> {
    let mut events = Vec::new();
    let mut check = |changed: bool, event| {
        if changed {
            events.push(event);
        }
    };
    check(
        old.spec.taints != new.spec.taints || old.spec.unschedulable != new.spec.unschedulable,
        ClusterEvent::NodeUpdateTaint,
    );
    check(old.status.allocatable != new.status.allocatable, ClusterEvent::NodeUpdateAllocatable);
    check(old.metadata.labels != new.metadata.labels, ClusterEvent::NodeUpdateLabel);
    let conditions = |node: &Node| -> Vec<(String, String)> {
        node.status.conditions.iter().map(|c| (c.type_.clone(), c.status.clone())).collect()
    };
    check(conditions(old) != conditions(new), ClusterEvent::NodeUpdateCondition);
    events
}

#[cfg(test)]
mod tests;
