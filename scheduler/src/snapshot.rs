//! The cluster as one scheduling cycle sees it, and the cache that it is taken from.
//!
//! The [`Cache`] follows nodes and assigned pods, and counts in pods that the scheduler has *assumed* onto a node
//! before the API server confirmed the binding. A snapshot is kept from cycle to cycle: taking one costs a pointer for
//! each node that changed since the last, and a change copies only the node that it touches.

pub mod workloads;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use apimachinery::{api::core::Node, object::ObjectKey};

use self::workloads::Workloads;
use crate::framework::{NodeInfo, PodInfo};

/// An immutable view of all nodes, in an order that alternates between zones.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The nodes.
    pub nodes: Arc<Vec<Arc<NodeInfo>>>,
    /// How many pods on any node have required anti-affinity terms; 0 lets InterPodAffinity skip its scan.
    pub pods_with_required_anti_affinity: usize,
    /// How many pods on any node have affinity or anti-affinity terms of any sort.
    pub pods_with_affinity: usize,
    /// Labels of the namespaces, for terms with a namespaceSelector.
    pub namespaces: Arc<BTreeMap<String, BTreeMap<String, String>>>,
    /// How many nodes have each image.
    pub images: Arc<HashMap<String, i64>>,
    /// What pods belong to, for the default spreading.
    pub workloads: Arc<Workloads>,
    /// Pods per node for a namespace and selector, kept up to date from change to change.
    pub spread: Arc<parking_lot::Mutex<crate::plugins::spread_index::SpreadIndex>>,
}

impl Snapshot {
    /// Finds a node by its name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.nodes.iter().find(|n| &*n.name == name)
    }

    /// The same cluster without this pod, for a decision about it as if it were not placed yet.
    #[must_use]
    pub fn without(&self, uid: &str) -> Self {
        let mut nodes = (*self.nodes).clone();
        for node in &mut nodes {
            if node.pods.iter().any(|p| p.uid() == uid) {
                Arc::make_mut(node).remove_pod(uid);
            }
        }
        Self { nodes: Arc::new(nodes), spread: Arc::default(), ..self.clone() }
    }
}

/// Where a pod is counted.
#[derive(Clone, Debug)]
struct Placed {
    node: String,
    assumed: bool,
    info: Arc<PodInfo>,
}

/// Nodes and the pods on them: `scheduler/backend/cache`.
#[derive(Debug, Default)]
pub struct Cache {
    nodes: BTreeMap<String, Arc<NodeInfo>>,
    /// Pods by uid.
    pods: HashMap<String, Placed>,
    /// Pods whose node is not (or no more) known, by node.
    orphans: HashMap<String, Vec<Arc<PodInfo>>>,
    namespaces: Arc<BTreeMap<String, BTreeMap<String, String>>>,
    images: Arc<HashMap<String, i64>>,
    workloads: Arc<Workloads>,
    anti_affinity: usize,
    affinity: usize,
    spread: Arc<parking_lot::Mutex<crate::plugins::spread_index::SpreadIndex>>,
    /// The nodes as they were at the last snapshot, while their order stands.
    ordered: Option<Ordered>,
    /// The nodes that changed since.
    changed: BTreeSet<String>,
}

#[derive(Debug)]
struct Ordered {
    nodes: Arc<Vec<Arc<NodeInfo>>>,
    position: HashMap<String, usize>,
}

impl Ordered {
    fn new(infos: &BTreeMap<String, Arc<NodeInfo>>) -> Self {
        let order = zone_order(infos.values());
        let nodes = order.iter().filter_map(|name| infos.get(name).cloned()).collect();
        let position = order.into_iter().enumerate().map(|(at, name)| (name, at)).collect();
        Self { nodes: Arc::new(nodes), position }
    }
}

impl Cache {
    /// Takes a snapshot.
    pub fn snapshot(&mut self) -> Snapshot {
        let ordered = self.ordered.get_or_insert_with(|| Ordered::new(&self.nodes));
        if !self.changed.is_empty() {
            // The last cycle's snapshot is gone, so that this copies nothing.
            let nodes = Arc::make_mut(&mut ordered.nodes);
            for name in std::mem::take(&mut self.changed) {
                if let (Some(at), Some(info)) = (ordered.position.get(&name), self.nodes.get(&name))
                {
                    nodes[*at] = info.clone();
                }
            }
        }
        Snapshot {
            nodes: ordered.nodes.clone(),
            pods_with_required_anti_affinity: self.anti_affinity,
            pods_with_affinity: self.affinity,
            namespaces: self.namespaces.clone(),
            images: self.images.clone(),
            workloads: self.workloads.clone(),
            spread: self.spread.clone(),
        }
    }

    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// A node as it is counted now.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.nodes.get(name)
    }

    /// Takes in a new or changed node; gives back the former one.
    pub fn set_node(&mut self, node: Arc<Node>) -> Option<Arc<Node>> {
        let name = node.metadata.name.clone().unwrap_or_default();
        if let Some(info) = self.nodes.get_mut(&name) {
            let former = info.node.clone();
            if zone(&former) != zone(&node) {
                self.ordered = None;
            }
            let images = former.status.images != node.status.images;
            if images {
                count_images(&mut self.images, info, -1);
            }
            Arc::make_mut(info).set_node(node);
            if images {
                count_images(&mut self.images, info, 1);
            }
            self.changed.insert(name);
            return Some(former);
        }
        let mut info = NodeInfo::new(node);
        count_images(&mut self.images, &info, 1);
        for pod in self.orphans.remove(&name).unwrap_or_default() {
            info.add_pod(pod);
        }
        self.nodes.insert(name, Arc::new(info));
        self.ordered = None;
        None
    }

    /// Forgets a node; its pods are remembered until they go themselves. Gives back what it was.
    pub fn remove_node(&mut self, name: &str) -> Option<Arc<Node>> {
        let info = self.nodes.remove(name)?;
        count_images(&mut self.images, &info, -1);
        if !info.pods.is_empty() {
            self.orphans.insert(name.to_owned(), info.pods.clone());
        }
        self.ordered = None;
        Some(info.node.clone())
    }

    /// What pods belong to, to be brought up to date.
    pub fn workloads(&mut self) -> &mut Workloads {
        Arc::make_mut(&mut self.workloads)
    }

    /// Finds a counted pod by its name.
    #[must_use]
    pub fn pod(&self, key: &ObjectKey) -> Option<&Arc<PodInfo>> {
        self.pods.values().map(|placed| &placed.info).find(|info| info.key == *key)
    }

    /// Takes in the labels of a namespace; None: it is gone.
    pub fn set_namespace(&mut self, name: &str, labels: Option<BTreeMap<String, String>>) {
        let namespaces = Arc::make_mut(&mut self.namespaces);
        match labels {
            Some(labels) => namespaces.insert(name.to_owned(), labels),
            None => namespaces.remove(name),
        };
    }

    /// Counts a pod onto a node before its binding is confirmed.
    pub fn assume(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.place(pod, node, true);
    }

    /// Whether the pod is counted on a node, assumed or confirmed.
    #[must_use]
    pub fn holds(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// Takes an assumption back, after a failed binding; gives back what was counted.
    pub fn forget(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        if self.is_assumed(uid) { self.remove_pod(uid) } else { None }
    }

    /// Whether the pod is counted before its binding was confirmed.
    #[must_use]
    pub fn is_assumed(&self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|p| p.assumed)
    }

    /// Takes in a pod that the API server shows on a node; gives back what was counted of it.
    pub fn set_pod(&mut self, pod: Arc<PodInfo>, node: &str) -> Option<Arc<PodInfo>> {
        self.place(pod, node, false)
    }

    /// Forgets a pod that is gone or has ended; gives back what was counted of it.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let placed = self.pods.remove(uid)?;
        self.count_affinity(&placed.info, false);
        self.spread.lock().change(&placed.info, &placed.node, -1);
        if let Some(info) = self.nodes.get_mut(&placed.node) {
            Arc::make_mut(info).remove_pod(uid);
            self.changed.insert(placed.node);
        } else if let Some(pods) = self.orphans.get_mut(&placed.node) {
            pods.retain(|p| p.uid() != uid);
            if pods.is_empty() {
                self.orphans.remove(&placed.node);
            }
        }
        Some(placed.info)
    }

    fn place(&mut self, pod: Arc<PodInfo>, node: &str, assumed: bool) -> Option<Arc<PodInfo>> {
        let former = self.remove_pod(pod.uid());
        self.count_affinity(&pod, true);
        self.spread.lock().change(&pod, node, 1);
        match self.nodes.get_mut(node) {
            Some(info) => {
                Arc::make_mut(info).add_pod(pod.clone());
                self.changed.insert(node.to_owned());
            }
            None => self.orphans.entry(node.to_owned()).or_default().push(pod.clone()),
        }
        let uid = pod.uid().to_owned();
        self.pods.insert(uid, Placed { node: node.to_owned(), assumed, info: pod });
        former
    }

    fn count_affinity(&mut self, pod: &PodInfo, added: bool) {
        let step = |count: &mut usize, applies: bool| {
            if applies {
                *count = if added { *count + 1 } else { count.saturating_sub(1) };
            }
        };
        step(&mut self.anti_affinity, !pod.affinity.required_anti.is_empty());
        step(&mut self.affinity, !pod.affinity.is_empty());
    }
}

fn count_images(images: &mut Arc<HashMap<String, i64>>, node: &NodeInfo, by: i64) {
    if node.images.is_empty() {
        return;
    }
    let images = Arc::make_mut(images);
    for name in node.images.keys() {
        let count = images.entry(name.clone()).or_default();
        *count += by;
        if *count <= 0 {
            images.remove(name);
        }
    }
}

fn zone(node: &Node) -> (Option<&String>, Option<&String>) {
    let labels = &node.metadata.labels;
    (labels.get("topology.kubernetes.io/region"), labels.get("topology.kubernetes.io/zone"))
}

/// Node names, one of each zone in turn: `nodeTree.list`.
fn zone_order<'a>(nodes: impl Iterator<Item = &'a Arc<NodeInfo>>) -> Vec<String> {
    let mut zones: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    let mut total = 0;
    for info in nodes {
        zones.entry(zone(&info.node)).or_default().push(&info.name);
        total += 1;
    }
    let mut order = Vec::with_capacity(total);
    let mut round = 0;
    while order.len() < total {
        order.extend(zones.values().filter_map(|names| names.get(round)).map(|n| (*n).to_owned()));
        round += 1;
    }
    order
}
