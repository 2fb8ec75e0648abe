//! What a node knows of itself, for its status, its Lease and the admission of its pods.

use std::sync::Arc;

use apimachinery::api::core::Node;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::simulation::NodeSimulation;

/// The message of a node that shuts down.
pub(crate) const SHUTTING_DOWN: &str = "node is shutting down";

/// The node's knowledge of itself; clones share it.
#[derive(Clone)]
pub struct OwnNode(Arc<Inner>);

struct Inner {
    node: RwLock<Arc<Node>>,
    simulation: watch::Sender<Arc<NodeSimulation>>,
    shutting_down: watch::Sender<bool>,
}

impl OwnNode {
    /// Begins with the object as the kubelet would make it.
    #[must_use]
    pub(crate) fn new(node: Node) -> Self {
        let simulation = Arc::new(NodeSimulation::of(&node));
        Self(Arc::new(Inner {
            node: RwLock::new(Arc::new(node)),
            simulation: watch::Sender::new(simulation),
            shutting_down: watch::Sender::new(false),
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
        *self.0.shutting_down.borrow()
    }
}
