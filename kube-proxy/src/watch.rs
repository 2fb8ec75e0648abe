//! Following the API: Services, EndpointSlices and Nodes go into the compiler as they come.
//!
//! Only what rules are made of is kept, so no store lies between the reflector and the compiler. When the API cannot
//! be reached the reflectors go on trying, and what was learnt stays in force.

mod policies;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use apimachinery::{
    api::{
        core::{Node, Service},
        discovery::EndpointSlice,
    },
    object::ObjectKey,
    resource,
};
use client::{
    Client, Stored,
    reflector::{Change, ListWatch, Reflector},
};
use cni::rules::{RuleDelta, RuleSet};
use component_base::{clock::Clock, shutdown::Shutdown};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    compile::{Compiler, HealthCheck, Problem},
    metrics::Metrics,
};

/// Services of other proxies and headless ones are not even sent to us.
const LABEL_SELECTOR: &str =
    "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless";

/// When whatever made a slice's endpoints change happened.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Changes measured at most between two syncs.
const MAX_TRIGGERS: usize = 4096;

/// What is known of the cluster, shared between those who learn and the one who programs.
pub(crate) struct Knowledge {
    inner: Mutex<Inner>,
    changed: Notify,
    metrics: Metrics,
    clock: Clock,
    /// Changes of before are not ours to be measured by.
    started: Timestamp,
}

struct Inner {
    compiler: Compiler,
    /// Rules of an earlier life are at hand.
    remembered: bool,
    /// Which of the first lists are in: Services, slices, Nodes, NetworkPolicies.
    listed: [bool; 4],
    synced: bool,
    /// What made the endpoints change that are not programmed yet: the slices' own times.
    triggered: Vec<Timestamp>,
}

impl Knowledge {
    /// What is known at `node` before anything is heard.
    pub(crate) fn new(
        node: &str,
        remembered: Option<RuleSet>,
        metrics: Metrics,
        clock: Clock,
    ) -> Arc<Self> {
        let inner = Inner {
            remembered: remembered.is_some(),
            compiler: Compiler::for_node(node, remembered.unwrap_or_default()),
            listed: [false; 4],
            synced: false,
            triggered: Vec::new(),
        };
        let started = clock.now();
        let inner = Mutex::new(inner);
        Arc::new(Self { inner, changed: Notify::new(), metrics, clock, started })
    }

    /// Notes that a slice changed because of something at the time that it tells.
    fn note_trigger(&self, slice: &EndpointSlice) {
        let told = slice.metadata.annotations.get(TRIGGER_TIME);
        let at = told.and_then(|text| text.parse::<Timestamp>().ok());
        if let Some(at) = at.filter(|at| *at > self.started) {
            let mut inner = self.inner.lock();
            if inner.triggered.len() < MAX_TRIGGERS {
                inner.triggered.push(at);
            }
        }
    }

    /// Measures how long what is now programmed took since it was triggered.
    pub(crate) fn programmed(&self) {
        let mut inner = self.inner.lock();
        let triggered = std::mem::take(&mut inner.triggered);
        self.metrics.without_local_endpoints(inner.compiler.without_local_endpoints());
        drop(inner);
        let now = self.clock.now();
        for at in triggered {
            let took = now.duration_since(at).as_secs_f64();
            self.metrics.programming_seconds.observe(took.max(0.0));
        }
        self.metrics.service_changes_pending.set(0);
        self.metrics.endpoint_changes_pending.set(0);
    }

    /// Where load balancers ask after this node's endpoints, and at which ports.
    pub(crate) fn health_checks(&self) -> (Vec<IpAddr>, BTreeMap<ObjectKey, HealthCheck>) {
        let inner = self.inner.lock();
        (inner.compiler.host_addresses().to_vec(), inner.compiler.health_checks().clone())
    }

    /// Starts to follow the API until `shutdown`.
    pub(crate) fn follow(self: &Arc<Self>, client: &Client, clock: &Clock, shutdown: &Shutdown) {
        let labelled =
            |info| ListWatch { label_selector: LABEL_SELECTOR.into(), ..ListWatch::all(info) };
        let services = Reflector::new(client.clone(), clock.clone(), labelled(&resource::SERVICES));
        let slices =
            Reflector::new(client.clone(), clock.clone(), labelled(&resource::ENDPOINT_SLICES));
        let nodes = Reflector::new(client.clone(), clock.clone(), ListWatch::all(&resource::NODES));
        self.spawn(shutdown, services, take_services);
        self.spawn(shutdown, slices, take_slices);
        self.spawn(shutdown, nodes, take_nodes);
        policies::follow(self, client, clock, shutdown);
    }

    pub(super) fn spawn<T: Stored>(
        self: &Arc<Self>,
        shutdown: &Shutdown,
        mut reflector: Reflector<T>,
        take: fn(&Self, Change<T>),
    ) {
        let (knowledge, token) = (Arc::clone(self), shutdown.token().clone());
        shutdown.spawn("reflector", async move {
            let follow = async {
                loop {
                    take(&knowledge, reflector.next().await);
                }
            };
            let _: Option<()> = token.run_until_cancelled(follow).await;
        });
    }

    /// Changes the compiler; `listed` says which first list this completes.
    pub(crate) fn learn(&self, listed: Option<usize>, change: impl FnOnce(&mut Compiler)) {
        let mut inner = self.inner.lock();
        change(&mut inner.compiler);
        if let Some(list) = listed {
            inner.listed[list] = true;
        }
        if !inner.synced && inner.listed == [true; 4] && inner.compiler.policies().is_complete() {
            inner.synced = true;
            inner.compiler.forget_unknown();
        }
        let ready = inner.synced;
        drop(inner);
        self.metrics.last_queued.set(self.clock.now().as_second());
        if ready {
            self.changed.notify_one();
        }
    }

    /// Completes when something may have changed since it last completed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the whole cluster is known.
    pub(crate) fn is_synced(&self) -> bool {
        self.inner.lock().synced
    }

    /// Compiles what has changed. Until the whole cluster is known that is nothing: half of it would take the other
    /// half's rules away.
    pub(crate) fn take_changes(&self) -> RuleDelta {
        let mut inner = self.inner.lock();
        if inner.synced { inner.compiler.take_changes() } else { RuleDelta::default() }
    }

    /// Whether there are rules: of this cluster, or of an earlier life.
    pub(crate) fn has_rules(&self) -> bool {
        let inner = self.inner.lock();
        inner.synced || inner.remembered
    }

    /// Returns the JSON of the rules as of the last [`Self::take_changes`].
    pub(crate) fn rules_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self.inner.lock().compiler.rules())
    }

    /// Lists what Services want and do not get.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.inner.lock().compiler.problems()
    }

    /// Returns the UID of a Service that is known.
    pub(crate) fn service_uid(&self, service: &ObjectKey) -> Option<String> {
        self.inner.lock().compiler.service_uid(service)
    }
}

fn take_services(knowledge: &Knowledge, change: Change<Service>) {
    if !matches!(change, Change::Reached(_)) {
        knowledge.metrics.service_changes.inc();
        knowledge.metrics.service_changes_pending.inc();
    }
    match change {
        Change::Replaced { objects, .. } => {
            knowledge.learn(Some(0), |compiler| compiler.replace_services(&objects));
        }
        Change::Applied(object) => knowledge.learn(None, |compiler| compiler.set_service(&object)),
        Change::Deleted(object) => {
            knowledge.learn(None, |compiler| compiler.remove_service(&object.key()));
        }
        Change::Reached(_) => {}
    }
}

fn take_slices(knowledge: &Knowledge, change: Change<EndpointSlice>) {
    if !matches!(change, Change::Reached(_)) {
        knowledge.metrics.endpoint_changes.inc();
        knowledge.metrics.endpoint_changes_pending.inc();
    }
    match &change {
        Change::Replaced { objects, .. } => {
            objects.iter().for_each(|slice| knowledge.note_trigger(slice));
        }
        Change::Applied(slice) => knowledge.note_trigger(slice),
        Change::Deleted(_) | Change::Reached(_) => {}
    }
    match change {
        Change::Replaced { objects, .. } => {
            knowledge.learn(Some(1), |compiler| compiler.replace_slices(&objects));
        }
        Change::Applied(object) => knowledge.learn(None, |compiler| compiler.set_slice(&object)),
        Change::Deleted(object) => {
            knowledge.learn(None, |compiler| compiler.remove_slice(&object.key()));
        }
        Change::Reached(_) => {}
    }
}

fn take_nodes(knowledge: &Knowledge, change: Change<Node>) {
    match change {
        Change::Replaced { objects, .. } => {
            knowledge.learn(Some(2), |compiler| compiler.replace_nodes(&objects));
        }
        Change::Applied(object) => knowledge.learn(None, |compiler| compiler.set_node(&object)),
        Change::Deleted(object) => {
            knowledge.learn(None, |compiler| compiler.remove_node(&object.key().name));
        }
        Change::Reached(_) => {}
    }
}
