//! Following the API: Services, EndpointSlices and Nodes go into the compiler as they come.
//!
//! Only what rules are made of is kept, so no store lies between the reflector and the compiler. When the API cannot
//! be reached the reflectors go on trying, and what was learnt stays in force.

use std::sync::Arc;

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
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    compile::{Compiler, Problem},
    metrics::Metrics,
};

/// Services of other proxies and headless ones are not even sent to us.
const LABEL_SELECTOR: &str =
    "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless";

/// What is known of the cluster, shared between those who learn and the one who programs.
pub(crate) struct Knowledge {
    inner: Mutex<Inner>,
    changed: Notify,
    metrics: Metrics,
}

struct Inner {
    compiler: Compiler,
    /// Rules of an earlier life are at hand.
    remembered: bool,
    /// Which of the first lists are in: Services, slices, Nodes.
    listed: [bool; 3],
    synced: bool,
}

impl Knowledge {
    pub(crate) fn new(remembered: Option<RuleSet>, metrics: Metrics) -> Arc<Self> {
        let inner = Inner {
            remembered: remembered.is_some(),
            compiler: Compiler::from_rules(remembered.unwrap_or_default()),
            listed: [false; 3],
            synced: false,
        };
        Arc::new(Self { inner: Mutex::new(inner), changed: Notify::new(), metrics })
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
    }

    fn spawn<T: Stored>(
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
        if !inner.synced && inner.listed == [true; 3] {
            inner.synced = true;
            inner.compiler.forget_unknown();
        }
        let ready = inner.synced;
        drop(inner);
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
    knowledge.metrics.service_changes.inc();
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
    knowledge.metrics.endpoint_changes.inc();
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
