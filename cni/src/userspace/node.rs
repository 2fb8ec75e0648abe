//! One node's network: its sandboxes, its rules, what it opens on the host.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Fabric,
    affinity::AffinityTable,
    forward::{self, ForwardedPort, Refused},
    host_ports::{HostListeners, HostPorts},
    index::{Index, Lookup, Target},
    nat::NatTable,
    pod::{PodNet, PodNetwork},
    policing::Conversations,
};
use crate::{
    cidr::Cidr,
    ipam::{Ipam, IpamError},
    network::{Sandbox, SandboxIdentity, Shaper},
    report::{Listening, NodeReport, PodReport},
    rules::{Place, Protocol, RuleDelta, RuleSet, ServicePortName},
    stance::Stance,
};

/// What a node's network is made with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The node's name.
    pub name: String,
    /// The range of its pods.
    pub pod_cidr: Cidr,
    /// Its InternalIP.
    pub address: IpAddr,
    /// File that keeps the pods' addresses over a reboot; `None` keeps nothing.
    pub checkpoint: Option<PathBuf>,
    /// What it opens on the host.
    pub host_ports: HostPorts,
}

/// Who a new sandbox is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxSpec {
    /// The key to delete it by, and to get the same address after a reboot: the pod's UID.
    pub id: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
}

/// Why a sandbox could not be added, deleted or checked.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// There is no address for it, or addresses cannot be kept.
    #[error(transparent)]
    Address(#[from] IpamError),
    /// No such sandbox.
    #[error("no sandbox {0}")]
    NotFound(String),
    /// The sandbox is there, but not as it was made.
    #[error("sandbox {id} is damaged: {what}")]
    Damaged {
        /// Its key.
        id: String,
        /// What is wrong.
        what: String,
    },
}

/// Something that the host refused to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The Service port that wanted it.
    pub service: ServicePortName,
    /// Reason of an Event.
    pub reason: String,
    /// Message of an Event.
    pub message: String,
}

/// A change of the rules.
#[derive(Clone, Debug)]
pub enum RuleChange {
    /// All rules.
    Full(RuleSet),
    /// What differs from an earlier generation.
    Delta {
        /// The generation that the change is against.
        base: u64,
        /// The change.
        delta: RuleDelta,
    },
}

/// Why rules were not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The change is against rules that are not in force.
    #[error("rules are at generation {have}, the change is against {base}")]
    StaleBase {
        /// Generation in force.
        have: u64,
        /// Generation that was expected.
        base: u64,
    },
}

/// The rules in force, as of a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveRules {
    /// Number that their author gave them; 0 before the first.
    pub generation: u64,
    /// The rules.
    pub rules: RuleSet,
}

/// The rules in force and their index, changed together.
#[derive(Default)]
struct Programmed {
    active: ActiveRules,
    index: Index,
    /// When they last changed.
    at: Option<Duration>,
}

/// A node's network. Clones are the same node.
#[derive(Clone)]
pub struct Node(Arc<NodeInner>);

pub(super) struct NodeInner {
    fabric: Fabric,
    config: NodeConfig,
    stance: Stance,
    boot_id: String,
    /// Written for the moment of a change only; who reads never waits for long.
    programmed: RwLock<Programmed>,
    /// The generation in force, for those who wait for the next.
    generation: watch::Sender<u64>,
    ipam: Mutex<Ipam>,
    pods: RwLock<Pods>,
    own: Arc<PodNet>,
    affinity: AffinityTable,
    nat: NatTable,
    conversations: Conversations,
    /// Also keeps changes of rules one after the other.
    host: tokio::sync::Mutex<HostListeners>,
    cancelled: CancellationToken,
}

#[derive(Default)]
struct Pods {
    by_ip: HashMap<IpAddr, Arc<PodNet>>,
    by_id: HashMap<String, (Sandbox, Arc<PodNet>)>,
}

impl NodeInner {
    pub(super) fn new(fabric: Fabric, config: NodeConfig) -> Result<Arc<Self>, IpamError> {
        let ipam = Ipam::open(config.pod_cidr, config.checkpoint.clone())?;
        let stance = fabric.config().stance(&config);
        let cancelled = fabric.cancellation().child_token();
        Ok(Arc::new_cyclic(|node: &Weak<Self>| Self {
            own: PodNet::new(node.clone(), stance.own()),
            stance,
            fabric,
            config,
            boot_id: new_boot_id(),
            programmed: RwLock::default(),
            generation: watch::Sender::new(0),
            ipam: Mutex::new(ipam),
            pods: RwLock::default(),
            affinity: AffinityTable::default(),
            nat: NatTable::default(),
            conversations: Conversations::default(),
            host: tokio::sync::Mutex::default(),
            cancelled,
        }))
    }

    pub(super) fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    pub(super) fn stance(&self) -> &Stance {
        &self.stance
    }

    pub(super) fn address(&self) -> IpAddr {
        self.config.address
    }

    pub(super) fn pod_cidr(&self) -> Cidr {
        self.config.pod_cidr
    }

    pub(super) fn host_ports(&self) -> &HostPorts {
        &self.config.host_ports
    }

    /// Says what an address is to somebody inside the cluster.
    pub(super) fn lookup(&self, protocol: Protocol, from: IpAddr, to: SocketAddr) -> Lookup {
        self.programmed.read().index.lookup(protocol, from, to)
    }

    /// Whether traffic to `ip` stays in a sandbox of this node.
    pub(super) fn is_private(&self, pod: &PodNet, ip: IpAddr) -> bool {
        self.programmed.read().index.is_private(pod.identity(), ip)
    }

    /// The address from which a sandbox of this node calls `ip`, as itself sees it.
    pub(super) fn local_towards(&self, pod: &PodNet, ip: IpAddr) -> IpAddr {
        self.programmed.read().index.local_towards(pod.identity(), ip)
    }

    /// Returns a Service port as it is now.
    pub(super) fn target(&self, name: &ServicePortName) -> Option<Arc<Target>> {
        self.programmed.read().index.target(name)
    }

    pub(super) fn node_port(&self, protocol: Protocol, port: u16) -> Option<Arc<Target>> {
        self.programmed.read().index.node_port(protocol, port)
    }

    /// Returns whose load balancer or external address `to` is, if this client of the host may use it: it goes by its
    /// own address and by the one that stands for the host.
    pub(super) fn virtual_address(
        &self,
        protocol: Protocol,
        client: IpAddr,
        to: SocketAddr,
    ) -> Option<Arc<Target>> {
        let client = [client, self.fabric.config().host_address];
        self.programmed.read().index.virtual_address(protocol, &client, to)
    }

    /// Returns the node that has an address or the pod range around it.
    pub(super) fn node_of(&self, ip: IpAddr) -> Option<Arc<str>> {
        self.programmed.read().index.node_of(ip)
    }

    /// Follows the generation of the rules.
    pub(super) fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    pub(super) fn affinity(&self) -> &AffinityTable {
        &self.affinity
    }

    pub(super) fn nat(&self) -> &NatTable {
        &self.nat
    }

    pub(super) fn conversations(&self) -> &Conversations {
        &self.conversations
    }

    /// Looks at the rules in force.
    pub(super) fn with_rules<T>(&self, look: impl FnOnce(&RuleSet) -> T) -> T {
        look(&self.programmed.read().active.rules)
    }

    pub(super) fn own(&self) -> &Arc<PodNet> {
        &self.own
    }

    pub(super) fn cancellation(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// Runs a task until it ends or the node does.
    pub(super) fn spawn(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let cancelled = self.cancelled.clone().cancelled_owned();
        self.fabric.tasks().spawn(async move {
            tokio::select! { () = task => {}, () = cancelled => {} }
        })
    }

    /// Forgets who was given what of Services that are no more, and ends the datagram conversations with endpoints that
    /// serve no more.
    fn forget_ended(&self, replaced: &RuleDelta) {
        let ended = |name: &ServicePortName| {
            replaced.services.contains_key(name) && self.target(name).is_none()
        };
        if replaced.services.keys().any(ended) {
            self.affinity.retain(|name| !ended(name));
        }
        let touched = |name: &ServicePortName| replaced.services.contains_key(name);
        self.nat.retain(touched, |name, endpoint| {
            self.target(name).is_some_and(|target| target.still_serves(endpoint))
        });
    }

    pub(super) fn pod_at(&self, ip: IpAddr) -> Option<Arc<PodNet>> {
        self.pods.read().by_ip.get(&ip).cloned()
    }
}

impl Node {
    pub(super) fn new(inner: Arc<NodeInner>) -> Self {
        Self(inner)
    }

    /// Returns the node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Returns the range of its pods.
    #[must_use]
    pub fn pod_cidr(&self) -> Cidr {
        self.0.pod_cidr()
    }

    /// Returns the id that changes whenever the node's network starts afresh.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.0.boot_id
    }

    /// Returns the network of the node itself, for its agent and for pods with `hostNetwork`: its pods see it come
    /// from their gateway.
    #[must_use]
    pub fn own_sandbox(&self) -> Sandbox {
        let identity = SandboxIdentity {
            id: String::new(),
            namespace: String::new(),
            name: self.name().to_owned(),
            node: self.name().to_owned(),
            ip: self.0.address(),
            pod_cidr: self.pod_cidr(),
        };
        Sandbox::new(identity, Arc::new(PodNetwork(Arc::clone(&self.0.own))))
    }

    /// ADD: makes a pod's network, with the address that its key had before if it had one. Repeated, it returns the
    /// same sandbox.
    ///
    /// # Errors
    /// When no address is free, or the checkpoint cannot be written.
    pub fn add(&self, spec: SandboxSpec) -> Result<Sandbox, SandboxError> {
        let mut ipam = self.0.ipam.lock();
        if let Some((sandbox, _)) = self.0.pods.read().by_id.get(&spec.id) {
            return Ok(sandbox.clone());
        }
        let ip = ipam.allocate(&spec.id)?;
        let pod = PodNet::new(Arc::downgrade(&self.0), self.0.stance.pod(ip));
        let identity = SandboxIdentity {
            id: spec.id.clone(),
            namespace: spec.namespace,
            name: spec.name,
            node: self.name().to_owned(),
            ip,
            pod_cidr: self.pod_cidr(),
        };
        let sandbox = Sandbox::new(identity, Arc::new(PodNetwork(Arc::clone(&pod))));
        let mut pods = self.0.pods.write();
        pods.by_ip.insert(ip, Arc::clone(&pod));
        pods.by_id.insert(spec.id, (sandbox.clone(), pod));
        Ok(sandbox)
    }

    /// DEL: ends a pod's listeners and streams and frees its address. Repeated, it does nothing.
    ///
    /// # Errors
    /// When the checkpoint cannot be written; the pod's network is gone all the same.
    pub fn del(&self, id: &str) -> Result<(), SandboxError> {
        let mut ipam = self.0.ipam.lock();
        let removed = {
            let mut pods = self.0.pods.write();
            let removed = pods.by_id.remove(id);
            if let Some((sandbox, _)) = &removed {
                pods.by_ip.remove(&sandbox.ip());
            }
            removed
        };
        if let Some((_, pod)) = removed {
            pod.close();
        }
        ipam.release(id)?;
        Ok(())
    }

    /// CHECK: confirms that a pod's network is as ADD made it, and returns it.
    ///
    /// # Errors
    /// `NotFound`, or `Damaged` when its address is no longer its own.
    pub fn check(&self, id: &str) -> Result<Sandbox, SandboxError> {
        let ipam = self.0.ipam.lock();
        let pods = self.0.pods.read();
        let (sandbox, _) =
            pods.by_id.get(id).ok_or_else(|| SandboxError::NotFound(id.to_owned()))?;
        let damaged = |what| Err(SandboxError::Damaged { id: id.to_owned(), what });
        match ipam.address_of(id) {
            Some(ip) if ip == sandbox.ip() => Ok(sandbox.clone()),
            Some(ip) => damaged(format!("it has {}, but {ip} is kept for it", sandbox.ip())),
            None => damaged(format!("its address {} is not kept for it", sandbox.ip())),
        }
    }

    /// Frees the addresses that the checkpoint keeps for pods that are no more, and returns their keys.
    ///
    /// # Errors
    /// When the checkpoint cannot be written.
    pub fn release_all_but(&self, keep: impl Fn(&str) -> bool) -> Result<Vec<String>, IpamError> {
        let mut ipam = self.0.ipam.lock();
        let pods = self.0.pods.read();
        ipam.retain(|id| pods.by_id.contains_key(id) || keep(id))
    }

    /// Lists where a pod listens, sorted, as `ss -ln` in it would.
    #[must_use]
    pub fn listening(&self, id: &str) -> Vec<(Protocol, std::net::SocketAddr)> {
        let pods = self.0.pods.read();
        pods.by_id.get(id).map_or_else(Vec::new, |(_, pod)| pod.listening())
    }

    /// Shapes the connections that a pod opens or accepts from now on; `None` lets them be.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn set_shaper(
        &self,
        id: &str,
        shaper: Option<Arc<dyn Shaper>>,
    ) -> Result<(), SandboxError> {
        let pods = self.0.pods.read();
        let (_, pod) = pods.by_id.get(id).ok_or_else(|| SandboxError::NotFound(id.to_owned()))?;
        pod.streams().set_shaper(shaper);
        Ok(())
    }

    /// Returns the rules in force.
    #[must_use]
    pub fn rules(&self) -> ActiveRules {
        self.0.programmed.read().active.clone()
    }

    /// Tells all that decides where a connection goes.
    pub async fn report(&self) -> NodeReport {
        let node = &*self.0;
        let (host, refused) = node.host.lock().await.report();
        let now = node.fabric().clock().monotonic();
        let programmed = node.programmed.read();
        let Programmed { active, index, at } = &*programmed;
        let affinity = node.affinity.list(|service, at| {
            let timeout = index.target(service).and_then(|target| target.affinity);
            timeout.is_some_and(|timeout| now.saturating_sub(at) < timeout)
        });
        NodeReport {
            stance: node.stance.clone(),
            boot_id: node.boot_id.clone(),
            generation: active.generation,
            programmed_seconds_ago: at.map(|at| now.saturating_sub(at).as_secs()),
            rules: active.rules.clone(),
            pods: self.pods_report(),
            listening: node.own.listening().into_iter().map(listening).collect(),
            host,
            refused,
            affinity,
            addresses: node.ipam.lock().usage(),
        }
    }

    fn pods_report(&self) -> Vec<PodReport> {
        let pods = self.0.pods.read();
        let report = |(sandbox, pod): &(Sandbox, Arc<PodNet>)| {
            let SandboxIdentity { id, namespace, name, ip, .. } = sandbox.identity().clone();
            let listening = pod.listening().into_iter().map(listening).collect();
            PodReport { namespace, name, uid: id, ip, listening }
        };
        let mut all: Vec<PodReport> = pods.by_id.values().map(report).collect();
        all.sort_by_key(|pod| pod.ip);
        all
    }

    /// Returns the generation of the rules in force.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.programmed.read().active.generation
    }

    /// Puts rules in force and opens and closes what they want on the host. The problems returned are all that there
    /// are now, not only new ones.
    ///
    /// A change is seen whole or not at all, and costs what it touches, not what there is.
    ///
    /// # Errors
    /// When a change is not against the rules in force; then nothing has changed.
    pub async fn apply_rules(
        &self,
        change: RuleChange,
        generation: u64,
    ) -> Result<Vec<Problem>, ApplyError> {
        let node = &*self.0;
        let mut host = node.host.lock().await;
        let now = node.fabric().clock().monotonic();
        let replaced = match change {
            RuleChange::Full(rules) => {
                let index = Index::new(&rules, self.name());
                let active = ActiveRules { generation, rules };
                let new = Programmed { active, index, at: Some(now) };
                let former = std::mem::replace(&mut *node.programmed.write(), new);
                node.programmed.read().active.rules.diff(&former.active.rules)
            }
            RuleChange::Delta { base, delta } => {
                let mut programmed = node.programmed.write();
                let Programmed { active, index, at } = &mut *programmed;
                if active.generation != base {
                    return Err(ApplyError::StaleBase { have: active.generation, base });
                }
                active.generation = generation;
                *at = Some(now);
                let replaced = active.rules.apply(delta);
                index.apply(&active.rules, &replaced);
                replaced
            }
        };
        node.generation.send_replace(generation);
        node.forget_ended(&replaced);
        if node.cancelled.is_cancelled() {
            return Ok(vec![]);
        }
        let changed: Vec<ServicePortName> = replaced.services.into_keys().collect();
        {
            let programmed = node.programmed.read();
            let place = Place { node: self.name(), zone: programmed.index.zone() };
            host.plan(&programmed.active.rules, &changed, place, node.host_ports());
        }
        Ok(host.update(&self.0).await)
    }

    /// Opens `port` of the node's addresses (of one of them, if `only` names it) for TCP, in the cluster and on the host,
    /// and leads it to `to`: a pod's `hostPort`. What is not refused is open. Where `to` is the node itself, only the
    /// host's side is opened.
    pub fn forward_port(
        &self,
        port: u16,
        only: Option<IpAddr>,
        to: SocketAddr,
    ) -> (ForwardedPort, Vec<Refused>) {
        forward::forward_port(&self.0, port, only, to)
    }

    /// Ends the node's network: every pod's, and what is open on the host. Addresses stay kept for a reboot.
    pub async fn stop(&self) {
        self.0.fabric.forget(&self.0);
        self.0.cancelled.cancel();
        let pods = std::mem::take(&mut *self.0.pods.write());
        for (_, pod) in pods.by_id.values() {
            pod.close();
        }
        self.0.own.close();
        self.0.host.lock().await.close_all(&self.0).await;
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("config", &self.0.config).finish_non_exhaustive()
    }
}

fn listening((protocol, address): (Protocol, SocketAddr)) -> Listening {
    Listening { protocol, address }
}

/// Makes an id in the form of `/proc/sys/kernel/random/boot_id`.
fn new_boot_id() -> String {
    let random = || RandomState::new().hash_one(io::ErrorKind::Other);
    let (a, b) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}
