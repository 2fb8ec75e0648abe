//! What a node knows of itself, for its status, its Lease and the admission of its pods.

use std::{sync::Arc, time::Duration};

use apimachinery::api::core::{Node, Pod};
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};

use super::shutdown::Stage;
use crate::simulation::NodeSimulation;

/// The message of a node that shuts down.
pub(crate) const SHUTTING_DOWN: &str = "node is shutting down";

/// The node's knowledge of itself; clones share it.
#[derive(Clone)]
pub struct OwnNode(Arc<Inner>);

struct Inner {
    node: RwLock<Arc<Node>>,
    simulation: watch::Sender<Arc<NodeSimulation>>,
    /// How far its shutdown is.
    stage: watch::Sender<Option<Stage>>,
    /// Told when a pod has ended.
    ended: Notify,
}

impl OwnNode {
    /// Begins with the object as the kubelet would make it.
    #[must_use]
    pub(crate) fn new(node: Node) -> Self {
        let simulation = Arc::new(NodeSimulation::of(&node));
        Self(Arc::new(Inner {
            node: RwLock::new(Arc::new(node)),
            simulation: watch::Sender::new(simulation),
            stage: watch::Sender::new(None),
            ended: Notify::new(),
        }))
    }

    /// The object as last seen.
    #[must_use]
    pub fn node(&self) -> Arc<Node> {
        self.0.node.read().clone()
    }

    /// Takes the object as the API server has it; gives what it was before.
    pub(crate) fn seen(&self, node: Node) -> Arc<Node> {
        let simulation = NodeSimulation::of(&node);
        self.0.simulation.send_if_modified(|known| {
            let new = **known != simulation;
            if new {
                *known = Arc::new(simulation);
            }
            new
        });
        std::mem::replace(&mut *self.0.node.write(), Arc::new(node))
    }

    /// What it is to act out.
    #[must_use]
    pub fn simulation(&self) -> Arc<NodeSimulation> {
        self.0.simulation.borrow().clone()
    }

    /// Waits until the node is to speak: it is not made silent.
    pub(crate) async fn speaks(&self) {
        let mut simulation = self.0.simulation.subscribe();
        // The sender lives in self.
        let _ = simulation.wait_for(|simulation| !simulation.silent).await;
    }

    /// Whether the node shuts down.
    #[must_use]
    pub fn shutting_down(&self) -> bool {
        self.0.stage.borrow().is_some()
    }

    /// Goes on to this stage of the shutdown.
    pub(crate) fn begin(&self, stage: Stage) {
        self.0.stage.send_replace(Some(stage));
    }

    /// How the shutdown goes on.
    pub(crate) fn stages(&self) -> watch::Receiver<Option<Stage>> {
        self.0.stage.subscribe()
    }

    /// What a pod's grace period is capped to, if it is to end because the node shuts down.
    pub(crate) fn ends(&self, pod: &Pod) -> Option<Duration> {
        self.0.stage.borrow().and_then(|stage| stage.cap(pod))
    }

    /// Tells that a pod has ended.
    pub(crate) fn tell_end(&self) {
        self.0.ended.notify_waiters();
    }

    /// Waits until `done`, which pods' ends may bring about.
    pub(crate) async fn until(&self, done: impl Fn() -> bool) {
        loop {
            let ended = self.0.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if done() {
                return;
            }
            ended.await;
        }
    }
}
