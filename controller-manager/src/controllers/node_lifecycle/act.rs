//! Watches Leases and nodes, and acts on silence.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use apimachinery::{
    api::{
        coordination::Lease,
        core::{Node, ObjectReference, Pod},
    },
    object::ObjectKey,
    status::Status,
    time::Time,
};
use client::{
    Client, EventRecorder, Patch, Store, WorkQueue, controller::Action, events::EventType,
    store::Delta,
};
use component_base::clock::Clock;
use parking_lot::Mutex;
use serde_json::json;

use super::{
    health::{eviction_taint, is_evicting, ready, silent, taints},
    zones::{Turn, Zones, counts, zone_of},
};
use crate::{
    context::{BY_NODE, Setup, key_of, node_name, tolerate_absence},
    options::Options,
};

const WORKERS: usize = 4;
const LEASES: &str = "kube-node-lease";

#[derive(Clone)]
struct Reconciler {
    client: Client,
    clock: Clock,
    recorder: EventRecorder,
    nodes: Store<Node>,
    leases: Store<Lease>,
    pods: Store<Pod>,
    queue: WorkQueue<ObjectKey>,
    grace: Duration,
    startup_grace: Duration,
    shared: Arc<Shared>,
}

/// What the workers share.
struct Shared {
    /// When a node was last heard of, on this process's own clock.
    heard: Mutex<HashMap<String, Duration>>,
    zones: Mutex<Zones>,
    /// Whether nodes have changed that the zones do not know of.
    changed: AtomicBool,
    /// Silent nodes some of whose pods could not be marked yet.
    unmarked: Mutex<HashSet<String>>,
}

impl Shared {
    fn new(options: &Options) -> Self {
        Self {
            heard: Mutex::default(),
            zones: Mutex::new(Zones::new(options)),
            changed: AtomicBool::new(true),
            unmarked: Mutex::default(),
        }
    }
}

fn node_key(name: &str) -> ObjectKey {
    ObjectKey { namespace: String::new(), name: name.to_owned() }
}

/// Sets the controller up.
pub fn start(setup: &mut Setup<'_>) {
    let queue = setup.queue::<ObjectKey>();
    let reconciler = Reconciler {
        client: setup.client.with_field_manager("kube-controller-manager"),
        clock: setup.clock.clone(),
        recorder: setup.recorder("node-controller"),
        nodes: setup.informers.store(),
        leases: setup.informers.store(),
        pods: setup.informers.indexed(BY_NODE, node_name),
        queue: queue.clone(),
        grace: setup.options.node_monitor_grace_period,
        startup_grace: setup.options.node_startup_grace_period,
        shared: Arc::new(Shared::new(setup.options)),
    };
    let (shared, clock, keys) = (reconciler.shared.clone(), setup.clock.clone(), queue.clone());
    let grace = reconciler.grace;
    setup.informers.on_change::<Lease, _>(move |delta| {
        let lease = delta.object();
        if lease.metadata.namespace.as_deref() == Some(LEASES) {
            let name = lease.metadata.name.clone().unwrap_or_default();
            let before = shared.heard.lock().insert(name.clone(), clock.monotonic());
            // A node that was given up speaks again.
            if before.is_some_and(|at| clock.monotonic().saturating_sub(at) >= grace) {
                keys.add(node_key(&name));
            }
        }
    });
    let (shared, clock) = (reconciler.shared.clone(), setup.clock.clone());
    let recorder = reconciler.recorder.clone();
    setup.informers.on_change::<Node, _>(move |delta| {
        on_node(delta, &shared, clock.monotonic(), &recorder);
    });
    setup.enqueue_changes::<Node>(&queue);
    let stores = reconciler.clone();
    let synced = async move {
        stores.nodes.synced().await;
        stores.leases.synced().await;
        stores.pods.synced().await;
    };
    setup.run("node lifecycle", &queue, WORKERS, synced, move |key| {
        let reconciler = reconciler.clone();
        async move { reconciler.reconcile(&key).await }
    });
}

fn on_node(delta: &Delta<Node>, shared: &Shared, now: Duration, recorder: &EventRecorder) {
    let (old, new) = delta.old_and_new();
    // A status that the node itself wrote shows by its heartbeat; what this controller writes keeps the old one.
    let heartbeat = |node: &Arc<Node>| {
        let ready = node.status.conditions.iter().find(|c| c.type_ == "Ready")?;
        ready.last_heartbeat_time
    };
    let name = delta.object().metadata.name.clone().unwrap_or_default();
    if new.is_some() && old.and_then(heartbeat) != new.and_then(heartbeat) {
        shared.heard.lock().insert(name.clone(), now);
    }
    let seen = |node: &Arc<Node>| (ready(node).map(str::to_owned), zone_of(node), counts(node));
    if old.map(seen) != new.map(seen) {
        shared.changed.store(true, Ordering::Relaxed);
    }
    let event = match (old, new) {
        (None, Some(_)) => ("RegisteredNode", format!("Registered Node {name} in Controller")),
        (Some(_), None) => ("RemovingNode", format!("Removing Node {name} from Controller")),
        _ => return,
    };
    recorder.record_about(
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            uid: delta.object().metadata.uid.clone(),
            name: Some(name.clone()),
            ..ObjectReference::default()
        },
        EventType::Normal,
        event.0,
        format!("Node {name} event: {}", event.1),
    );
}

impl Reconciler {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Status> {
        self.observe_zones();
        let Some(node) = self.nodes.get(key) else {
            self.shared.heard.lock().remove(&key.name);
            self.shared.unmarked.lock().remove(&key.name);
            self.leave_line(&key.name);
            return Ok(Action::Done);
        };
        let left = self.grace(&node).saturating_sub(self.quiet_for(&key.name));
        if left.is_zero()
            && let Some(conditions) = silent(&node, self.clock.now())
        {
            let was_ready = ready(&node) == Some("True");
            let patch = json!({"metadata": {"uid": node.metadata.uid}, "status": {"conditions": conditions}});
            let patched =
                self.client.patch::<Node>("", &key.name, &Patch::Strategic(patch), "status").await;
            tolerate_absence(patched)?;
            if was_ready {
                let text = format!("Node {} status is now: NodeNotReady", key.name);
                self.recorder.record(&*node, EventType::Normal, "NodeNotReady", text);
                self.shared.unmarked.lock().insert(key.name.clone());
            }
            self.mark_pods(&key.name).await?;
            // The change comes back as an event, and with it the taints' turn.
            return Ok(Action::Done);
        }
        if ready(&node) == Some("True") {
            self.shared.unmarked.lock().remove(&key.name);
        }
        let again = self.taint(&node, &key.name).await?;
        self.mark_pods(&key.name).await?;
        // A silent node is woken by its next Lease or status.
        let left = Some(left).filter(|left| !left.is_zero());
        let next = [left, again].into_iter().flatten().min();
        Ok(next.map_or(Action::Done, Action::RequeueAfter))
    }

    /// How long the node may be silent: longer if it has never told its status.
    fn grace(&self, node: &Node) -> Duration {
        if ready(node).is_some() { self.grace } else { self.startup_grace }
    }

    /// How long nothing was heard of the node.
    fn quiet_for(&self, name: &str) -> Duration {
        let now = self.clock.monotonic();
        let at = *self.shared.heard.lock().entry(name.to_owned()).or_insert(now);
        now.saturating_sub(at)
    }

    /// Tells the zones what has become of their nodes, and wakes whom that concerns.
    fn observe_zones(&self) {
        if !self.shared.changed.swap(false, Ordering::Relaxed) {
            return;
        }
        let nodes = self.nodes.list();
        let mut by_zone: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        for node in nodes.iter().filter(|node| counts(node)) {
            by_zone.entry(zone_of(node)).or_default().push(ready(node) == Some("True"));
        }
        let now = self.clock.monotonic();
        let shift = self.shared.zones.lock().observe(&by_zone, now);
        if shift.stopped {
            tracing::info!("all nodes are not ready: entering master disruption mode");
        }
        if shift.resumed {
            tracing::info!("some nodes are ready: exiting master disruption mode");
            for at in self.shared.heard.lock().values_mut() {
                *at = now;
            }
        }
        if shift.stopped || shift.resumed || shift.rates {
            let concerned = nodes.iter().filter(|node| ready(node) != Some("True"));
            concerned.for_each(|node| self.queue.add(key_of(&node.metadata)));
        }
    }

    /// Brings the node's taints in line with its conditions; when its turn to be evicted comes, if it waits for that.
    async fn taint(&self, node: &Node, name: &str) -> Result<Option<Duration>, Status> {
        let wanted = eviction_taint(ready(node));
        let zone = zone_of(node);
        let (mut again, mut granted) = (None, false);
        let eviction = if wanted.is_none() || self.shared.zones.lock().stopped() {
            self.leave_line(name);
            None
        } else if is_evicting(node) {
            // From one reason to the other without a turn.
            self.leave_line(name);
            wanted
        } else {
            match self.shared.zones.lock().turn(&zone, name, self.clock.monotonic()) {
                Turn::Now => {
                    granted = true;
                    wanted
                }
                Turn::After(wait) => {
                    again = Some(wait);
                    None
                }
                Turn::Never => None,
            }
        };
        let Some(taints) = taints(node, eviction, self.clock.now()) else { return Ok(again) };
        // Against the version read: somebody else's taint must not be lost.
        let patch = json!({"metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
                           "spec": {"taints": taints}});
        let patched = self.client.patch::<Node>("", name, &Patch::Merge(patch), "").await;
        if patched.is_err() && granted {
            self.shared.zones.lock().give_back(&zone, name);
        }
        tolerate_absence(patched)?;
        Ok(again)
    }

    fn leave_line(&self, name: &str) {
        if let Some(next) = self.shared.zones.lock().leave(name) {
            self.queue.add(node_key(&next));
        }
    }

    /// The pods of a node that has just fallen silent are no longer ready: `MarkPodsNotReady`.
    async fn mark_pods(&self, node: &str) -> Result<(), Status> {
        if !self.shared.unmarked.lock().contains(node) {
            return Ok(());
        }
        for pod in self.pods.by_index(BY_NODE, node) {
            let ready =
                pod.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
            if !ready {
                continue;
            }
            let key = key_of(&pod.metadata);
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [{
                "type": "Ready", "status": "False",
                "lastTransitionTime": Time(self.clock.now()).truncated(),
            }]}});
            let patched = self
                .client
                .patch::<Pod>(&key.namespace, &key.name, &Patch::Strategic(patch), "status")
                .await;
            tolerate_absence(patched)?;
            self.recorder.record(&*pod, EventType::Warning, "NodeNotReady", "Node is not ready");
        }
        self.shared.unmarked.lock().remove(node);
        Ok(())
    }
}
