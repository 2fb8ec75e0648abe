//! The scheduler as a pure state machine: what it hears goes in, what is to be done comes out.
//!
//! [`Scheduler::handle`] takes in a change of the cluster; [`Scheduler::next_action`] makes one scheduling attempt and
//! gives back the [`Action`] that the server then carries out (`server`). Between a decision and its confirmation the
//! pod is *assumed* on its node, so that the next attempt already counts it; a failed binding takes that back.

use std::{collections::HashMap, sync::Arc, time::Duration};

use apimachinery::{
    api::{
        apps::ReplicaSet,
        core::{Namespace, Node, Pod, Service},
        policy::PodDisruptionBudget,
    },
    object::ObjectKey,
};

use crate::{
    explain::{self, Explanation, State},
    framework::{Framework, PodInfo},
    nominator::Nominator,
    plugins::scheduling_gates,
    preemption::{Planner, Preemption, Refusal, budgets::Budgets},
    queue::{
        SchedulingQueue, Waiting,
        events::{ClusterEvent, Event, Subject, assigned_pod_changes, node_changes},
    },
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
    /// A Service changed.
    Service(Change<Service>),
    /// A ReplicaSet changed.
    ReplicaSet(Change<ReplicaSet>),
    /// A PodDisruptionBudget changed.
    DisruptionBudget(Change<PodDisruptionBudget>),
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
        /// What becomes of its nomination.
        nomination: Nomination,
    },
}

/// What becomes of a pod's `status.nominatedNodeName`.
#[derive(Clone, Debug)]
pub enum Nomination {
    /// It stays as it is.
    Keep,
    /// It is taken back, for no preemption would help.
    Clear,
    /// A node is nominated, pods are deleted there, and pods of lower priority that were nominated for it look elsewhere.
    Preempt(Preemption, Vec<Arc<PodInfo>>),
}

/// The scheduler's state.
pub struct Scheduler {
    name: String,
    framework: Framework,
    cache: Cache,
    queue: SchedulingQueue,
    rotation: Rotation,
    nominator: Nominator,
    budgets: Budgets,
    /// Gated pods that have not been told so yet.
    gated: Vec<Arc<PodInfo>>,
    /// Pods that are none of its business, by uid: other schedulers', ended ones, ones on their way out without a node.
    others: HashMap<String, Arc<Pod>>,
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
            nominator: Nominator::default(),
            budgets: Budgets::default(),
            gated: Vec::new(),
            others: HashMap::new(),
        }
    }

    /// Takes in a change.
    pub fn handle(&mut self, input: Input, now: Duration) {
        match input {
            Input::Node(Change::Applied(node)) => self.node_applied(&node, now),
            Input::Node(Change::Deleted(node)) => self.node_gone(&node, now),
            Input::Pod(Change::Applied(pod)) => self.pod_applied(pod, now),
            Input::Pod(Change::Deleted(pod)) => {
                let uid = pod.metadata.uid.as_deref().unwrap_or_default();
                self.others.remove(uid);
                self.pod_gone(uid, now);
            }
            Input::Namespace(Change::Applied(ns)) => {
                let name = ns.metadata.name.as_deref().unwrap_or_default();
                self.cache.set_namespace(name, Some(ns.metadata.labels.clone()));
            }
            Input::Namespace(Change::Deleted(ns)) => {
                self.cache.set_namespace(ns.metadata.name.as_deref().unwrap_or_default(), None);
            }
            Input::Service(change) => {
                let (Change::Applied(service) | Change::Deleted(service)) = &change;
                let selects =
                    matches!(change, Change::Applied(_)) && !service.spec.selector.is_empty();
                let (namespace, name) = names(&service.metadata);
                let selector = selects.then(|| service.spec.selector.clone());
                self.cache.workloads().set_service(namespace, name, selector);
            }
            Input::ReplicaSet(change) => {
                let (Change::Applied(set) | Change::Deleted(set)) = &change;
                let (namespace, name) = names(&set.metadata);
                let there = matches!(change, Change::Applied(_));
                let selector = there.then(|| set.spec.selector.clone());
                self.cache.workloads().set_replica_set(namespace, name, selector);
            }
            Input::DisruptionBudget(Change::Applied(budget)) => self.budgets.set(&budget),
            Input::DisruptionBudget(Change::Deleted(budget)) => self.budgets.remove(&budget),
            Input::BindingFailed { uid, final_ } => self.binding_failed(&uid, final_, now),
        }
    }

    fn node_applied(&mut self, node: &Arc<Node>, now: Duration) {
        let former = self.cache.set_node(node.clone());
        let events = match &former {
            None => vec![ClusterEvent::NodeAdd],
            Some(former) => node_changes(former, node),
        };
        let subject = Subject::Node { old: former.as_deref(), new: Some(node) };
        self.happened(&events, subject, now);
    }

    fn node_gone(&mut self, node: &Node, now: Duration) {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        if let Some(former) = self.cache.remove_node(name) {
            let subject = Subject::Node { old: Some(&former), new: None };
            self.happened(&[ClusterEvent::NodeDelete], subject, now);
        }
    }

    fn pod_applied(&mut self, pod: Arc<Pod>, now: Duration) {
        let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let node = pod.spec.node_name.clone().filter(|n| !n.is_empty());
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let leaving = pod.metadata.deletion_timestamp.is_some();
        match node {
            Some(node) if !ended => self.assigned(pod, &node, now),
            None if !ended && !leaving && self.is_mine(&pod) => {
                // Our own binding may be under way.
                if !self.cache.holds(&uid) {
                    self.waiting(pod, now);
                }
            }
            Some(_) | None => {
                self.pod_gone(&uid, now);
                self.others.insert(uid, pod);
            }
        }
    }

    fn assigned(&mut self, pod: Arc<Pod>, node: &str, now: Duration) {
        let info = Arc::new(PodInfo::new(pod));
        self.queue.remove(info.uid());
        self.nominator.remove(info.uid());
        self.others.remove(info.uid());
        // To others an assumed pod is there only when its binding is confirmed.
        let assumed = self.cache.is_assumed(info.uid());
        let former = self.cache.set_pod(info.clone(), node).filter(|_| !assumed);
        let events = match &former {
            Some(former) => assigned_pod_changes(former, &info),
            None => vec![ClusterEvent::AssignedPodAdd],
        };
        let subject = Subject::Pod { old: former.as_deref(), new: Some(&info) };
        self.happened(&events, subject, now);
    }

    fn waiting(&mut self, pod: Arc<Pod>, now: Duration) {
        let info = Arc::new(PodInfo::new(pod));
        if scheduling_gates::waiting_for(&info).is_some()
            && !has_condition(&info.pod, "SchedulingGated")
        {
            self.gated.push(info.clone());
        }
        let former = self.queue.get(info.uid()).map(|queued| queued.pod.clone());
        self.nominator.follow(former.as_deref(), &info);
        let framework = &self.framework;
        self.queue.add_or_update(info, now, |queued, event| {
            framework.may_help(&queued.refusers, &queued.pod, event)
        });
    }

    fn is_mine(&self, pod: &Pod) -> bool {
        pod.spec.scheduler_name.as_deref().unwrap_or("default-scheduler") == self.name
    }

    fn pod_gone(&mut self, uid: &str, now: Duration) {
        self.queue.remove(uid);
        self.nominator.remove(uid);
        if let Some(former) = self.cache.remove_pod(uid) {
            let subject = Subject::Pod { old: Some(&former), new: None };
            self.happened(&[ClusterEvent::AssignedPodDelete], subject, now);
        }
    }

    fn binding_failed(&mut self, uid: &str, final_: bool, now: Duration) {
        let assumed = self.cache.forget(uid);
        if final_ {
            self.queue.remove(uid);
        } else {
            self.queue.failed(uid, now);
        }
        if let Some(assumed) = assumed {
            let subject = Subject::Pod { old: Some(&assumed), new: None };
            self.happened(&[ClusterEvent::AssignedPodDelete], subject, now);
        }
    }

    fn happened(&mut self, events: &[ClusterEvent], subject: Subject<'_>, now: Duration) {
        let framework = &self.framework;
        for kind in events {
            let event = Event { kind: *kind, subject };
            self.queue
                .wake(now, |queued| framework.may_help(&queued.refusers, &queued.pod, &event));
        }
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
            let (reason, nomination) = ("SchedulingGated", Nomination::Keep);
            let message = scheduling_gates::waiting_for(&pod)?;
            return Some(Action::Report { pod, reason, message, nomination });
        }
        let queued = self.queue.pop(now)?;
        let pod = queued.pod.clone();
        let snapshot = self.cache.snapshot();
        let (framework, nominator) = (&self.framework, &self.nominator);
        match schedule(framework, &pod, &snapshot, nominator, &mut self.rotation) {
            Ok(decision) => {
                self.cache.assume(pod.clone(), &decision.node);
                self.nominator.remove(pod.uid());
                Some(Action::Bind {
                    pod,
                    node: decision.node,
                    attempts: queued.attempts,
                    waited: now.saturating_sub(queued.since),
                })
            }
            Err(refusal) => {
                let (diagnosis, state) = *refusal;
                let planner = Planner {
                    framework,
                    snapshot: &snapshot,
                    nominator,
                    budgets: &self.budgets,
                    offset: self.rotation.start(),
                };
                let (message, planned) = planner.message(&pod, &state, &diagnosis);
                self.queue.refused(pod.uid(), diagnosis.plugins(), now);
                let nomination = self.nominate(&pod, planned);
                Some(Action::Report { pod, reason: "Unschedulable", message, nomination })
            }
        }
    }

    fn nominate(&mut self, pod: &Arc<PodInfo>, planned: Result<Preemption, Refusal>) -> Nomination {
        match planned {
            Ok(preemption) => {
                let lower = self.nominator.on(&preemption.node).iter();
                let displaced: Vec<_> =
                    lower.filter(|p| p.priority() < pod.priority()).cloned().collect();
                for pod in &displaced {
                    self.nominator.remove(pod.uid());
                }
                self.nominator.nominate(pod.clone(), &preemption.node);
                Nomination::Preempt(preemption, displaced)
            }
            Err(Refusal::NotEligible(_)) => Nomination::Keep,
            Err(Refusal::NotHelpful(_)) => {
                self.nominator.remove(pod.uid());
                Nomination::Clear
            }
        }
    }

    /// Tells what would be decided of a pod now; None: there is no such pod.
    pub fn explain(&mut self, key: &ObjectKey) -> Option<Explanation> {
        let (pod, state) = self.find(key)?;
        let snapshot = self.cache.snapshot().without(pod.uid());
        let planner = Planner {
            framework: &self.framework,
            snapshot: &snapshot,
            nominator: &self.nominator,
            budgets: &self.budgets,
            offset: 0,
        };
        Some(explain::explain(&planner, &pod, state))
    }

    fn find(&self, key: &ObjectKey) -> Option<(Arc<PodInfo>, State)> {
        if let Some((pod, waiting)) = self.queue.find(key) {
            let state = match waiting {
                Waiting::Active => State::Pending,
                Waiting::Backoff => State::Backoff,
                Waiting::Unschedulable => State::Unschedulable,
                Waiting::Gated => State::Gated,
            };
            return Some((pod.clone(), state));
        }
        if let Some(pod) = self.cache.pod(key) {
            return Some((pod.clone(), State::Scheduled));
        }
        let (namespace, name) = (Some(&key.namespace), Some(&key.name));
        let pod = self.others.values().find(|pod| {
            pod.metadata.namespace.as_ref() == namespace && pod.metadata.name.as_ref() == name
        })?;
        let state = if pod.spec.node_name.as_deref().is_some_and(|node| !node.is_empty()) {
            State::Scheduled
        } else if self.is_mine(pod) {
            State::Deleted
        } else {
            State::Foreign
        };
        Some((Arc::new(PodInfo::new(pod.clone())), state))
    }
}

fn names(metadata: &apimachinery::api::meta::ObjectMeta) -> (&str, &str) {
    (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

fn has_condition(pod: &Pod, reason: &str) -> bool {
    pod.status
        .conditions
        .iter()
        .any(|c| c.type_ == "PodScheduled" && c.reason.as_deref() == Some(reason))
}

#[cfg(test)]
mod tests;
