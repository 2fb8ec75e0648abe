//! What all parts of a node share.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use apimachinery::{
    api::core::{ObjectReference, Pod, Service},
    quantity::Quantity,
};
use client::{
    Client, EventRecorder, Store,
    events::{EventType, reference},
};
use cni::{network::Sandbox, userspace};
use component_base::clock::Clock;
use container_runtime::{ImageCatalogue, Runtime};
use parking_lot::Mutex;

use super::OwnNode;
use crate::{checkpoint::Checkpoints, images::NodeImages, objects::Objects, statuses::Statuses};

/// How long the first container waits for the Services to be known.
const SERVICES_PATIENCE: Duration = Duration::from_secs(1);

/// What a node is told of itself.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Its name.
    pub name: String,
    /// Its InternalIP, as pods see it.
    pub internal_ip: String,
    /// Its ExternalIP, on the host's loopback; None: it is not reached from the host.
    pub external_ip: Option<String>,
    /// What it offers.
    pub capacity: BTreeMap<String, Quantity>,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// Where it keeps its pods.
    pub state_dir: PathBuf,
    /// How the API server reaches this kubelet.
    pub kubelet_endpoint: String,
}

/// The context of one node.
pub struct NodeContext {
    /// Settings.
    pub settings: NodeSettings,
    /// The InternalIP again, where statuses show it.
    pub host_ip: String,
    /// What pods may use.
    pub allocatable: BTreeMap<String, Quantity>,
    /// The API, as this node.
    pub client: Client,
    /// Time.
    pub clock: Clock,
    /// The container runtime.
    pub runtime: Runtime,
    /// The images.
    pub catalogue: Arc<ImageCatalogue>,
    /// The node's network.
    pub network: userspace::Node,
    /// How pods find names; None: by their hosts files alone.
    pub names: Option<crate::names::Names>,
    /// Statuses on their way.
    pub statuses: Statuses,
    /// What survives a reboot.
    pub checkpoints: Checkpoints,
    /// Referenced objects.
    pub objects: Objects,
    /// All Services.
    pub services: Store<Service>,
    /// Events.
    pub recorder: EventRecorder,
    /// Held while what is in a running pod's volume is read and written anew.
    pub volume_writes: Mutex<()>,
    /// Set once the API server was waited for in vain.
    pub gave_up_on_services: AtomicBool,
    /// What the node knows of itself.
    pub own: OwnNode,
    /// The images on this node.
    pub images: Arc<NodeImages>,
}

impl NodeContext {
    /// A pod's folder.
    #[must_use]
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.settings.state_dir.join("pods").join(uid)
    }

    /// The folder of all logs.
    #[must_use]
    pub fn log_root(&self) -> PathBuf {
        self.settings.state_dir.join("logs")
    }

    /// The node's own network, from which probes are made.
    #[must_use]
    pub fn own_sandbox(&self) -> Sandbox {
        self.network.own_sandbox()
    }

    /// Waits until the Services are known, which environments show; but not for an API server that is away: pods that
    /// come back after a reboot start without it.
    pub async fn await_services(&self) {
        if !self.services.has_synced() && !self.gave_up_on_services.load(Ordering::Relaxed) {
            let waited = self.clock.timeout(SERVICES_PATIENCE, self.services.synced()).await;
            self.gave_up_on_services.store(waited.is_err(), Ordering::Relaxed);
        }
    }

    /// The Services that a pod's environment shows: those of its namespace, and `default/kubernetes`.
    #[must_use]
    pub fn services_of(&self, namespace: &str) -> Vec<Service> {
        let mut services: Vec<Service> =
            self.services.list_namespace(namespace).iter().map(|s| (**s).clone()).collect();
        if namespace != "default" {
            let key = apimachinery::object::ObjectKey {
                namespace: "default".into(),
                name: "kubernetes".into(),
            };
            services.extend(self.services.get(&key).map(|s| (*s).clone()));
        }
        services.sort_by(|a, b| {
            let key = |s: &Service| (s.metadata.creation_timestamp, s.metadata.name.clone());
            key(a).cmp(&key(b))
        });
        services
    }

    /// Tells something about a pod.
    pub fn event(&self, pod: &Pod, kind: EventType, reason: &str, message: &str) {
        self.recorder.record(pod, kind, reason, message);
    }

    /// Tells something about a container; `field` is like `spec.containers{nginx}`.
    pub fn container_event(
        &self,
        pod: &Pod,
        field: &str,
        kind: EventType,
        reason: &str,
        message: &str,
    ) {
        let about = ObjectReference { field_path: Some(field.to_owned()), ..reference(pod) };
        self.recorder.record_about(about, kind, reason, message);
    }
}

/// The folder of a node's checkpoints.
#[must_use]
pub fn checkpoint_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("checkpoints")
}
