//! The process: its nodes, their shared network fabric, and the kubelet's own service.

use std::{io, path::PathBuf, sync::Arc};

use apimachinery::{
    api::core::{Node, Service},
    resource,
};
use client::{Client, EventRecorder, Informer, Store, reflector::ListWatch};
use cni::{
    node_service,
    userspace::{Fabric, FabricConfig, HostPorts, NodeConfig},
};
use component_base::{
    clock::Clock,
    shutdown::Shutdown,
    transport::{self, Listener},
};
use container_runtime::{ImageCatalogue, Runtime};
use tokio_util::sync::CancellationToken;

use crate::{
    checkpoint::Checkpoints,
    images::NodeImages,
    memory::Bursts,
    node::{
        NodeContext, NodeSettings, OwnNode, PodTable, Reporter,
        context::checkpoint_dir,
        follow_pods, keep_lease, object,
        shutdown::{self, GracePeriods},
    },
    objects::Objects,
    statuses::Statuses,
    streams::KubeletStreams,
};

/// One node of the process.
pub struct NodeSetup {
    /// What the node is told of itself.
    pub settings: NodeSettings,
    /// The API, as this node's own user.
    pub client: Client,
    /// What the node opens on the host.
    pub host_ports: HostPorts,
    /// Where kube-proxy programs it.
    pub rules: Listener,
}

/// What the process is made with.
pub struct Config {
    /// Time.
    pub clock: Clock,
    /// The nodes.
    pub nodes: Vec<NodeSetup>,
    /// The network that the nodes share.
    pub fabric: FabricConfig,
    /// The images.
    pub catalogue: Arc<ImageCatalogue>,
    /// How pods find names; None: by their hosts files alone.
    pub names: Option<crate::names::Names>,
    /// Where the API server reaches this kubelet.
    pub streams: Listener,
    /// When and how its nodes shut down.
    pub graceful: GracefulShutdown,
}

/// The orderly end of the nodes. The default: they are never asked for it.
#[derive(Clone, Debug, Default)]
pub struct GracefulShutdown {
    /// How long it may take; none: no orderly end, whoever asks.
    pub periods: GracePeriods,
    /// Cancelled to ask for it; when the nodes have shut down the server ends.
    pub requested: CancellationToken,
}

/// Why a kubelet cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A node's folder cannot be used.
    #[error("failed to open the state folder {}", path.display())]
    State {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The kubelet of one or more nodes.
pub struct Server {
    config: Config,
}

impl Server {
    /// Takes the configuration over; everything that listens is bound already.
    ///
    /// # Errors
    /// A node's state folder cannot be made.
    pub fn new(config: Config) -> Result<Self, ServerError> {
        for node in &config.nodes {
            let path = &node.settings.state_dir;
            component_base::files::create_private_dir(path)
                .map_err(|source| ServerError::State { path: path.clone(), source })?;
        }
        Ok(Self { config })
    }

    /// Runs the nodes until `shutdown`; then pods are not ended: they come back at the next start. Or until they are asked
    /// to shut down gracefully, and have.
    pub async fn run(self, shutdown: Shutdown) {
        let fabric = Fabric::new(self.config.fabric.clone(), shutdown.token());
        self.run_on(&fabric, shutdown).await;
        fabric.stop().await;
    }

    /// Runs the nodes like [`Self::run`], on a network that the nodes of other servers are on, too; the configuration's
    /// own is not looked at.
    pub async fn run_on(self, fabric: &Fabric, shutdown: Shutdown) {
        let Config { clock, nodes, catalogue, names, streams, graceful, .. } = self.config;
        let service = KubeletStreams::new(clock.clone());
        let runtime = Runtime::new(clock.clone());
        shutdown.spawn(
            "kubelet service",
            transport::serve(streams, service.clone().router(), shutdown.token().clone()),
        );
        // All nodes of a process see the same Services: one copy suffices, read as the first of them.
        let services = match nodes.first() {
            Some(first) => {
                let source = ListWatch::all(&resource::SERVICES);
                let informer = Informer::<Service>::new(&first.client, &clock, source);
                let store = informer.store();
                informer.start(&shutdown);
                store
            }
            None => Store::new(),
        };
        let joined = Arc::new(Joined {
            bursts: Bursts::start(&clock, &shutdown),
            clock,
            fabric: fabric.clone(),
            catalogue,
            names,
            service,
            runtime,
            services,
            nodes: nodes.len(),
            networks: parking_lot::Mutex::default(),
            members: parking_lot::Mutex::default(),
        });
        for node in nodes {
            let (joined, child) = (joined.clone(), shutdown.clone());
            shutdown.spawn("node", async move {
                let name = node.settings.name.clone();
                if let Err(e) = run_node(node, &joined, child.clone()).await {
                    tracing::error!(node = %name, error = &*e, "the node cannot run");
                    child.cancel();
                }
            });
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = graceful.requested.cancelled() => {
                shutdown.token().run_until_cancelled(joined.shut_down(graceful.periods)).await;
                shutdown.cancel();
            }
        }
        let own: Vec<_> = joined.networks.lock().drain(..).collect();
        for node in own {
            node.stop().await;
        }
        joined.runtime.shutdown().await;
    }
}

/// What the nodes of one process share.
struct Joined {
    clock: Clock,
    fabric: Fabric,
    catalogue: Arc<ImageCatalogue>,
    names: Option<crate::names::Names>,
    service: KubeletStreams,
    runtime: Runtime,
    services: Store<Service>,
    nodes: usize,
    bursts: Bursts,
    /// The nodes' own ends of the fabric, as far as they are up.
    networks: parking_lot::Mutex<Vec<cni::userspace::Node>>,
    /// The nodes that run pods.
    members: parking_lot::Mutex<Vec<Member>>,
}

/// A node, its pods, and who tells of it.
type Member = (Arc<NodeContext>, PodTable, Arc<Reporter>);

impl Joined {
    /// Shuts all nodes down in order, if they are to.
    async fn shut_down(&self, periods: GracePeriods) {
        if !periods.is_on() {
            return;
        }
        let members: Vec<Member> = self.members.lock().clone();
        let ending = members
            .into_iter()
            .map(|(node, table, reporter)| shutdown::shut_down(node, table, reporter, periods));
        futures::future::join_all(ending).await;
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn run_node(setup: NodeSetup, joined: &Joined, shutdown: Shutdown) -> Result<(), Failure> {
    let NodeSetup { settings, client, host_ports, rules } = setup;
    let clock = joined.clock.clone();
    let token = shutdown.token().clone();
    let recorder =
        EventRecorder::start(&client, &clock, "kubelet", Some(&settings.name), &shutdown);
    let own = OwnNode::new(object(&settings));
    let images = Arc::new(NodeImages::open(settings.state_dir.join("images.json")));
    let reporter = Arc::new(Reporter {
        client: client.clone(),
        clock: clock.clone(),
        settings: settings.clone(),
        boot_id: format!("{:016x}", clock.random_u64()),
        images: images.clone(),
        own: own.clone(),
        recorder: recorder.clone(),
    });
    // A node that has been here before knows its range, and need not wait for the API server.
    let cidr = match kept_pod_cidr(&settings) {
        Some(cidr) => {
            speak(reporter.clone(), None, &shutdown);
            cidr
        }
        None => {
            let registration = Box::pin(reporter.register());
            let Some(node) = token.run_until_cancelled(registration).await else { return Ok(()) };
            speak(reporter.clone(), Some(node.clone()), &shutdown);
            let waiting = Box::pin(reporter.await_pod_cidr(&node));
            let Some(cidr) = token.run_until_cancelled(waiting).await else { return Ok(()) };
            keep_pod_cidr(&settings, &cidr)?;
            cidr
        }
    };
    let network = joined.fabric.add_node(NodeConfig {
        name: settings.name.clone(),
        pod_cidr: cidr.parse()?,
        address: settings.internal_ip.parse()?,
        checkpoint: Some(settings.state_dir.join("addresses.json")),
        host_ports,
    })?;
    joined.networks.lock().push(network.clone());
    shutdown.spawn(
        "node rules",
        transport::serve(rules, node_service::router(network.clone()), token.clone()),
    );
    let table = PodTable::default();
    joined.service.add(network.clone(), table.clone());
    let context = Arc::new(NodeContext {
        host_ip: settings.internal_ip.clone(),
        allocatable: settings.capacity.clone(),
        statuses: Statuses::start(
            client.clone(),
            &clock,
            &shutdown,
            joined.nodes,
            joined.bursts.clone(),
        ),
        checkpoints: Checkpoints::open(checkpoint_dir(&settings.state_dir))?,
        objects: Objects::new(client.clone(), clock.clone(), objects_dir(&settings)?),
        services: joined.services.clone(),
        images,
        own,
        volume_writes: parking_lot::Mutex::default(),
        gave_up_on_services: false.into(),
        runtime: joined.runtime.clone(),
        catalogue: joined.catalogue.clone(),
        names: joined.names.clone(),
        recorder,
        network,
        clock,
        client,
        settings,
    });
    joined.members.lock().push((context.clone(), table.clone(), reporter));
    follow_pods(context, table, shutdown).await;
    Ok(())
}

/// Registers the node unless that is done, then tells its status and renews its Lease until `shutdown`.
fn speak(reporter: Arc<Reporter>, registered: Option<Node>, shutdown: &Shutdown) {
    let token = shutdown.token().clone();
    shutdown.spawn("node status", async move {
        let speaking = async {
            let node = match registered {
                Some(node) => node,
                None => Box::pin(reporter.register()).await,
            };
            let lease = keep_lease(
                reporter.client.clone(),
                reporter.clock.clone(),
                node,
                reporter.own.clone(),
            );
            futures::join!(lease, reporter.keep_status());
        };
        token.run_until_cancelled(speaking).await;
    });
}

fn objects_dir(settings: &NodeSettings) -> io::Result<PathBuf> {
    let dir = settings.state_dir.join("objects");
    component_base::files::create_private_dir(&dir)?;
    Ok(dir)
}

fn cidr_file(settings: &NodeSettings) -> PathBuf {
    settings.state_dir.join("pod-cidr")
}

fn kept_pod_cidr(settings: &NodeSettings) -> Option<String> {
    std::fs::read_to_string(cidr_file(settings)).ok().map(|text| text.trim().to_owned())
}

fn keep_pod_cidr(settings: &NodeSettings, cidr: &str) -> io::Result<()> {
    let text = format!("{cidr}\n");
    component_base::files::write_atomic(&cidr_file(settings), text.as_bytes(), 0o600)
}
