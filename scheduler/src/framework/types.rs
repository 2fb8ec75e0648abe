//! What the scheduler knows of nodes and pods, boiled down to what plugins ask for.
//!
//! A [`PodInfo`] is made once when a pod is seen: requests are summed, selectors parsed. A [`NodeInfo`] carries sums
//! over its pods, so that a Filter is arithmetic on a few numbers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use apimachinery::{
    api::core::{Node, Pod, ResourceRequirements},
    object::ObjectKey,
    quantity::Quantity,
};

use super::super::plugins::inter_pod_affinity::AffinityTerms;

/// CPU that a container without a request counts for in scoring: `DefaultMilliCPURequest`.
const DEFAULT_MILLI_CPU: i64 = 100;
/// Memory, in bytes, that a container without a request counts for in scoring: `DefaultMemoryRequest`.
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts of resources: `framework.Resource`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// How many pods (only as an allocatable amount).
    pub pods: i64,
    /// Extended resources and hugepages by name.
    pub scalar: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a Kubernetes resource list.
    #[must_use]
    pub fn from_list(list: &BTreeMap<String, Quantity>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list {
            match name.as_str() {
                "cpu" => resources.milli_cpu = quantity.milli_value(),
                "memory" => resources.memory = quantity.value(),
                "ephemeral-storage" => resources.ephemeral_storage = quantity.value(),
                "pods" => resources.pods = quantity.value(),
                _ => {
                    resources.scalar.insert(name.clone(), quantity.value());
                }
            }
        }
        resources
    }

    /// Adds another amount, or with `sign` -1 takes it away.
    pub fn add(&mut self, other: &Self, sign: i64) {
        self.milli_cpu += sign * other.milli_cpu;
        self.memory += sign * other.memory;
        self.ephemeral_storage += sign * other.ephemeral_storage;
        for (name, amount) in &other.scalar {
            *self.scalar.entry(name.clone()).or_default() += sign * amount;
        }
    }

    /// Raises each amount to at least the other's.
    pub fn max(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory = self.memory.max(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.max(other.ephemeral_storage);
        for (name, amount) in &other.scalar {
            let own = self.scalar.entry(name.clone()).or_default();
            *own = (*own).max(*amount);
        }
    }
}

/// A port that a pod claims on its node's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// `0.0.0.0` where none is named.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port.
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be on one node.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == "0.0.0.0" || other.ip == "0.0.0.0" || self.ip == other.ip)
    }
}

/// A pod as the scheduler sees it.
#[derive(Clone, Debug)]
pub struct PodInfo {
    /// Namespace and name.
    pub key: ObjectKey,
    /// The pod itself.
    pub pod: Arc<Pod>,
    /// What it asks for.
    pub requests: Resources,
    /// Milli-CPU and bytes of memory that it counts for in scoring.
    pub non_zero: (i64, i64),
    /// Ports on the node's address.
    pub host_ports: Vec<HostPort>,
    /// Its required and preferred (anti-)affinity to other pods, parsed.
    pub affinity: AffinityTerms,
}

impl PodInfo {
    /// Reads a pod.
    #[must_use]
    pub fn new(pod: Arc<Pod>) -> Self {
        let key = ObjectKey {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
        };
        let requests = pod_requests(&pod, &|r| r.map(requested).unwrap_or_default());
        let scoring = pod_requests(&pod, &|r| {
            let mut resources = r.map(requested).unwrap_or_default();
            let asks = |name: &str| r.is_some_and(|r| r.requests.contains_key(name));
            if !asks("cpu") {
                resources.milli_cpu = DEFAULT_MILLI_CPU;
            }
            if !asks("memory") {
                resources.memory = DEFAULT_MEMORY;
            }
            resources
        });
        Self {
            key,
            requests,
            non_zero: (scoring.milli_cpu, scoring.memory),
            host_ports: host_ports(&pod),
            affinity: AffinityTerms::of(&pod),
            pod,
        }
    }

    /// `spec.priority`, 0 where none is set.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.pod.spec.priority.unwrap_or(0)
    }

    /// The pod's uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The pod's labels.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.pod.metadata.labels
    }

    /// `status.nominatedNodeName`, where it names one.
    #[must_use]
    pub fn nominated_node(&self) -> Option<&str> {
        self.pod.status.nominated_node_name.as_deref().filter(|name| !name.is_empty())
    }

    /// Whether the pod is on its way out.
    #[must_use]
    pub fn terminating(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }
}

fn requested(requirements: &ResourceRequirements) -> Resources {
    Resources::from_list(&requirements.requests)
}

/// Sums a pod's requests as `resource.PodRequests` does: containers and sidecars together, against the highest need
/// of an init container with those sidecars that started before it; then pod-level requests, then overhead.
fn pod_requests(pod: &Pod, of: &dyn Fn(Option<&ResourceRequirements>) -> Resources) -> Resources {
    let mut total = Resources::default();
    for container in &pod.spec.containers {
        total.add(&of(container.resources.as_ref()), 1);
    }
    let mut sidecars = Resources::default();
    let mut init = Resources::default();
    for container in &pod.spec.init_containers {
        let mut need = of(container.resources.as_ref());
        if container.restart_policy.as_deref() == Some("Always") {
            total.add(&need, 1);
            sidecars.add(&need, 1);
            need = sidecars.clone();
        } else {
            need.add(&sidecars, 1);
        }
        init.max(&need);
    }
    total.max(&init);
    if let Some(whole) = &pod.spec.resources {
        let requests = Resources::from_list(&whole.requests);
        if whole.requests.contains_key("cpu") {
            total.milli_cpu = requests.milli_cpu;
        }
        if whole.requests.contains_key("memory") {
            total.memory = requests.memory;
        }
    }
    total.add(&Resources::from_list(&pod.spec.overhead), 1);
    total
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let sidecars =
        pod.spec.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    pod.spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|c| &c.ports)
        .filter_map(|p| {
            let port = p.host_port.filter(|port| *port > 0)?;
            Some(HostPort {
                ip: p.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or("0.0.0.0".into()),
                protocol: p.protocol.clone().unwrap_or("TCP".into()),
                port,
            })
        })
        .collect()
}

/// A node with the pods on it.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// The node's name.
    pub name: Arc<str>,
    /// The node itself.
    pub node: Arc<Node>,
    /// The pods on it, assumed ones included.
    pub pods: Vec<Arc<PodInfo>>,
    /// What they ask for in all.
    pub requested: Resources,
    /// The same as it counts in scoring.
    pub non_zero: (i64, i64),
    /// What the node can give.
    pub allocatable: Resources,
    /// Sizes of the images it has, by every name.
    pub images: HashMap<String, i64>,
}

impl NodeInfo {
    /// A node without pods.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        let mut info = Self {
            name: node.metadata.name.clone().unwrap_or_default().into(),
            node: node.clone(),
            pods: Vec::new(),
            requested: Resources::default(),
            non_zero: (0, 0),
            allocatable: Resources::default(),
            images: HashMap::new(),
        };
        info.set_node(node);
        info
    }

    /// Takes over a changed node.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let status = &node.status;
        self.allocatable = Resources::from_list(if status.allocatable.is_empty() {
            &status.capacity
        } else {
            &status.allocatable
        });
        self.images = status
            .images
            .iter()
            .flat_map(|image| {
                let size = image.size_bytes.unwrap_or(0);
                image.names.iter().map(move |name| (name.clone(), size))
            })
            .collect();
        self.node = node;
    }

    /// Counts a pod in.
    pub fn add_pod(&mut self, pod: Arc<PodInfo>) {
        self.count(&pod, 1);
        self.pods.push(pod);
    }

    /// Counts a pod out; false when it is not here.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(at) = self.pods.iter().position(|p| p.uid() == uid) else { return false };
        let pod = self.pods.swap_remove(at);
        self.count(&pod, -1);
        true
    }

    fn count(&mut self, pod: &PodInfo, sign: i64) {
        self.requested.add(&pod.requests, sign);
        self.non_zero.0 += sign * pod.non_zero.0;
        self.non_zero.1 += sign * pod.non_zero.1;
    }

    /// The node's labels.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.node.metadata.labels
    }
}
