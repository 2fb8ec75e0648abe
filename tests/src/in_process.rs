//! The runner of libraries: all components in this process.
//!
//! They run on a runtime of the cluster's own, so that dropping the cluster can wait for their end whatever the test's
//! runtime does. On a virtual clock they run on the caller's runtime instead, for its driver must see every task.
//!
//! Everybody reaches the API server through memory, by a connector that finds the server of the moment: it may be
//! stopped and started. Each node has a kubelet of its own; their pods meet on one fabric in memory. Kubelets are reached
//! over Unix sockets, as the API server knows them by a path; on a virtual clock through memory, since its driver does
//! not see what the kernel still carries.

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use apimachinery::{object::Object, status::Status};
use apiserver::{
    StorageKind, TlsListener, authentication::token::TokenKey, kubelet::KubeletDialer,
};
use client::{
    Client,
    leader_election::{self, Identity},
};
use cni::{
    node_service::rules_socket,
    userspace::{Egress, Fabric, FabricConfig, HostPorts, LoadBalancers, SharedLoopback},
};
use component_base::{
    metrics::Registry,
    shutdown::Shutdown,
    tls::KeyPair,
    transport::{Endpoint, InProcessConnector, Listener, channel},
};
use container_runtime::ImageCatalogue;
use dns::{CoreDns, CoreDnsConfig, PodResolver};
use ingress::{IngressConfig, IngressController};
use kube_mini::{components::CLUSTER_DNS, pki};
use kubelet_sim::{
    GracefulShutdown, NodeSetup,
    names::{Names, ResolvConf},
    node::{NodeSettings, shutdown::GracePeriods},
    node_address,
};
use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::transport::Channel;

use crate::{
    builder::Builder,
    cluster::{Component, Parts},
};

/// The group of those who may do everything.
const ADMINS: &[&str] = &["system:masters"];
/// How long a component may take to end.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) struct InProcess {
    shared: Arc<Shared>,
    handle: Handle,
    own: Option<Runtime>,
    running: Mutex<BTreeMap<Component, Shutdown>>,
}

/// What asks a kubelet's nodes to shut down in order.
type Requests = Mutex<BTreeMap<u32, CancellationToken>>;

/// What the starting of a component needs; it holds no runtime, as it runs on it.
struct Shared {
    parts: Arc<Parts>,
    catalogue: Arc<ImageCatalogue>,
    durable: bool,
    loopback: bool,
    /// Whether all is on a virtual clock.
    in_memory: bool,
    shutdown_periods: GracePeriods,
    requests: Requests,
    api: InProcessConnector,
    fabric: Fabric,
    fabric_config: FabricConfig,
    _fabric_end: DropGuard,
    /// By name, on a virtual clock.
    nodes: Arc<HashMap<String, NodeConnectors>>,
}

/// Where a node is reached on a virtual clock.
struct NodeConnectors {
    kubelet: InProcessConnector,
    rules: InProcessConnector,
}

impl InProcess {
    pub(crate) fn new(builder: &Builder, parts: Arc<Parts>) -> anyhow::Result<Self> {
        let in_memory = builder.clock.is_some();
        let own = if in_memory {
            None
        } else {
            Some(
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .thread_name("test-cluster")
                    .enable_all()
                    .build()?,
            )
        };
        let handle = own.as_ref().map_or_else(Handle::current, |own| own.handle().clone());
        let mut fabric = FabricConfig::new(parts.clock.clone());
        fabric.egress = if builder.allow_egress { Egress::Allowed } else { Egress::Refused };
        let api = parts.api_address();
        let inside = SocketAddr::from((Ipv4Addr::new(192, 168, 1, 100), api.port()));
        fabric.host_backends = HashMap::from([(inside, api)]);
        let fabric_end = CancellationToken::new();
        let connectors = |number| {
            let as_admin =
                || InProcessConnector::unbound().with_identity("kubernetes-admin", ADMINS);
            (node_name(number), NodeConnectors { kubelet: as_admin(), rules: as_admin() })
        };
        let shared = Arc::new(Shared {
            parts,
            catalogue: Arc::new(builder.catalogue.clone()),
            durable: builder.durable,
            loopback: builder.loopback,
            in_memory,
            shutdown_periods: builder.shutdown_periods,
            requests: Requests::default(),
            api: InProcessConnector::unbound(),
            fabric: Fabric::new(fabric.clone(), &fabric_end),
            fabric_config: fabric,
            _fabric_end: fabric_end.drop_guard(),
            nodes: Arc::new((1..=builder.nodes).map(connectors).collect()),
        });
        Ok(Self { shared, handle, own, running: Mutex::default() })
    }

    /// A connection to the API as this user. It lives on the cluster's runtime: the caller's may be blocked in our end,
    /// and could not answer when the server says goodbye.
    pub(crate) fn channel(&self, user: &str, groups: &[&str]) -> Channel {
        let _entered = self.handle.enter();
        self.shared.channel(user, groups)
    }

    pub(crate) async fn start(&self, component: Component) -> anyhow::Result<()> {
        anyhow::ensure!(!self.runs(component), "{component} runs already");
        let shutdown = Shutdown::new();
        let (shared, started) = (self.shared.clone(), shutdown.clone());
        // On the cluster's runtime, for whatever is spawned on the way stays there.
        TaskTracker::new()
            .spawn_on(async move { shared.start(component, started).await }, &self.handle)
            .await??;
        self.running.lock().insert(component, shutdown);
        Ok(())
    }

    pub(crate) async fn stop(&self, component: Component) -> anyhow::Result<()> {
        let shutdown = self.running.lock().remove(&component);
        let shutdown = shutdown.with_context(|| format!("{component} does not run"))?;
        shutdown.cancel();
        Ok(shutdown.wait(GRACE).await?)
    }

    /// Ends a kubelet by its node's orderly end.
    pub(crate) async fn shut_down_node(&self, number: u32) -> anyhow::Result<()> {
        let component = Component::Kubelet(number);
        let shutdown = self.running.lock().remove(&component);
        let shutdown = shutdown.with_context(|| format!("{component} does not run"))?;
        let request = self.shared.requests.lock().remove(&number);
        request.with_context(|| format!("nobody asks {component}"))?.cancel();
        Ok(shutdown.wait(GRACE).await?)
    }

    pub(crate) fn runs(&self, component: Component) -> bool {
        self.running.lock().contains_key(&component)
    }

    /// Ends everything and waits for it, on the cluster's own runtime; the caller's runtime ends what is on it.
    pub(crate) fn end(&mut self) {
        let running = std::mem::take(self.running.get_mut());
        for shutdown in running.values() {
            shutdown.cancel();
        }
        let Some(own) = self.own.take() else { return };
        // A runtime may neither be waited for nor dropped on a thread of another one.
        let ended = std::thread::spawn(move || {
            for shutdown in running.values() {
                // Who is late is cut off below.
                let _ = own.block_on(shutdown.wait(GRACE));
            }
            own.shutdown_timeout(GRACE);
        });
        let _ = ended.join();
    }
}

fn node_name(number: u32) -> String {
    format!("node-{number}")
}

impl Shared {
    fn channel(&self, user: &str, groups: &[&str]) -> Channel {
        channel(&Endpoint::InProcess(self.api.with_identity(user, groups)))
    }

    fn client(&self, user: &str, groups: &[&str], component: &str) -> Client {
        Client::from_channel(self.channel(user, groups)).with_field_manager(component)
    }

    async fn start(&self, component: Component, shutdown: Shutdown) -> anyhow::Result<()> {
        match component {
            Component::ApiServer => self.start_api(shutdown).await,
            Component::ControllerManager => {
                self.start_controller_manager(shutdown);
                Ok(())
            }
            Component::Scheduler => {
                self.start_scheduler(shutdown);
                Ok(())
            }
            Component::Kubelet(node) => self.start_kubelet(node, shutdown),
            Component::KubeProxy(node) => self.start_proxy(node, shutdown),
        }
    }

    /// On a virtual clock it leads without an election: each renewal would be a step of the clock.
    fn start_controller_manager(&self, shutdown: Shutdown) {
        let name = "kube-controller-manager";
        let config = controller_manager::Config {
            client: self.client("system:kube-controller-manager", &[], name),
            clock: self.parts.clock.clone(),
            cluster_cidr: self.parts.config.cluster_cidr.clone(),
        };
        let options = controller_manager::Options {
            root_ca: Some(self.parts.authority.cert_pem().to_owned()),
            cluster_signing: Some(self.parts.authority.key_pair().clone()),
            load_balancer_network: Some(self.parts.slice.address(0)),
            ..controller_manager::Options::default()
        };
        let identity = Identity::fresh("test-cluster", &self.parts.clock);
        let election = leader_election::Config::component(name, identity.name());
        let in_memory = self.in_memory;
        shutdown.clone().spawn(name, async move {
            let server =
                || controller_manager::Server::new(config.clone()).with_options(options.clone());
            if in_memory {
                return server().run(shutdown).await;
            }
            // Who loses the leadership ends; here nobody else starts it afresh.
            while server().run_elected(&election, shutdown.clone()).await.is_err() {}
        });
    }

    async fn start_api(&self, shutdown: Shutdown) -> anyhow::Result<()> {
        let read = |name: &str| std::fs::read_to_string(self.parts.paths.state("pki").join(name));
        let dialer: Arc<dyn KubeletDialer> = if self.in_memory {
            Arc::new(InMemoryDialer(self.nodes.clone()))
        } else {
            let ca = self.parts.authority.cert_pem().to_owned();
            Arc::new(apiserver::kubelet::NodeAnnotationDialer::new(ca, None))
        };
        let config = apiserver::Config {
            storage: if self.durable {
                StorageKind::Sled(self.parts.paths.state("db"))
            } else {
                StorageKind::Memory
            },
            tls: Some(TlsListener {
                address: self.parts.api_address(),
                serving: KeyPair {
                    cert_pem: read("apiserver.crt")?,
                    key_pem: read("apiserver.key")?,
                },
                client_ca_pem: self.parts.authority.cert_pem().to_owned(),
            }),
            listeners: vec![self.api.listen()],
            token_key: TokenKey::from_pem(&read(pki::TOKEN_KEY)?)?,
            ..apiserver::Config::new(self.parts.clock.clone(), dialer)
        };
        let server = apiserver::Server::bind(config).await?;
        shutdown.clone().spawn("kube-apiserver", async move {
            if let Err(error) = server.run(shutdown.clone()).await {
                panic!("the API server ended: {error}");
            }
        });
        Ok(())
    }

    /// On a virtual clock it leads without an election: nobody could ask it there, and each renewal would be a step of the
    /// clock.
    fn start_scheduler(&self, shutdown: Shutdown) {
        let config = scheduler::Config {
            client: self.client("system:kube-scheduler", &[], "kube-scheduler"),
            clock: self.parts.clock.clone(),
            scheduler_name: "default-scheduler".to_owned(),
            metrics: scheduler::metrics::Metrics::new(&Registry::new()),
        };
        let socket = self.parts.paths.run.join("scheduling.sock");
        let identity = Identity::fresh("test-cluster", &self.parts.clock);
        let election = leader_election::Config::component("kube-scheduler", identity.name());
        let in_memory = self.in_memory;
        shutdown.clone().spawn("kube-scheduler", async move {
            if in_memory {
                return scheduler::Server::new(config).run(shutdown).await;
            }
            // Who loses the leadership ends; here nobody else starts it afresh.
            let mut led = Err(leader_election::Lost);
            while led.is_err() {
                let server = scheduler::Server::new(config.clone()).with_endpoint(socket.clone());
                led = server.run_elected(&election, shutdown.clone()).await;
            }
        });
    }

    fn start_kubelet(&self, number: u32, shutdown: Shutdown) -> anyhow::Result<()> {
        let run = &self.parts.paths.run;
        component_base::files::create_private_dir(&run.join("net"))?;
        let name = node_name(number);
        let socket = run.join(format!("kubelet-{number}.sock"));
        let connectors = self.nodes.get(&name).context("there is no such node")?;
        let streams = self.listener(&socket, &connectors.kubelet)?;
        let rules = self.listener(&rules_socket(&run.join("net"), &name), &connectors.rules)?;
        let graceful =
            GracefulShutdown { periods: self.shutdown_periods, ..GracefulShutdown::default() };
        let server = kubelet_sim::Server::new(kubelet_sim::Config {
            clock: self.parts.clock.clone(),
            nodes: vec![self.node(number, format!("unix://{}", socket.display()), rules)?],
            fabric: self.fabric_config.clone(),
            catalogue: Arc::new(self.images()?),
            names: Some(self.names()),
            streams,
            graceful: graceful.clone(),
        })?;
        self.requests.lock().insert(number, graceful.requested);
        let fabric = self.fabric.clone();
        shutdown
            .clone()
            .spawn("kubelet-sim", async move { server.run_on(&fabric, shutdown).await });
        Ok(())
    }

    /// The test's images, and the cluster's DNS.
    fn images(&self) -> anyhow::Result<ImageCatalogue> {
        let mut catalogue = ImageCatalogue::clone(&self.catalogue);
        dns::tools::register(&mut catalogue);
        let client = self.client(pki::COREDNS_USER, pki::COREDNS_GROUPS, "coredns");
        catalogue.register(CoreDns::IMAGE, CoreDns::new(CoreDnsConfig::with_client(client)))?;
        let client = self.client(pki::INGRESS_USER, pki::COREDNS_GROUPS, "ingress-kube-mini");
        let controller = IngressController::new(IngressConfig::with_client(client));
        catalogue.register(IngressController::IMAGE, controller)?;
        Ok(catalogue)
    }

    fn names(&self) -> Names {
        let clock = self.parts.clock.clone();
        Names {
            cluster_dns: vec![CLUSTER_DNS.to_string()],
            domain: "cluster.local".to_owned(),
            node: ResolvConf::default(),
            resolver: Arc::new(move |text| {
                Arc::new(PodResolver::new(clock.clone(), dns::ResolvConf::parse(text)))
            }),
        }
    }

    fn node(
        &self,
        number: u32,
        kubelet_endpoint: String,
        rules: Listener,
    ) -> anyhow::Result<NodeSetup> {
        let name = node_name(number);
        let user = format!("system:node:{name}");
        let external = self.parts.slice.address(u8::try_from(number)?);
        let quantity = |text: &str| text.parse().map_err(|e| anyhow::anyhow!("{text:?}: {e}"));
        Ok(NodeSetup {
            client: self.client(&user, &["system:nodes"], "kubelet"),
            settings: NodeSettings {
                internal_ip: node_address(number).to_string(),
                external_ip: Some(external.to_string()),
                capacity: [
                    ("cpu".to_owned(), quantity("8")?),
                    ("memory".to_owned(), quantity("16Gi")?),
                    ("pods".to_owned(), quantity("110")?),
                    ("ephemeral-storage".to_owned(), quantity("100Gi")?),
                ]
                .into(),
                labels: BTreeMap::new(),
                state_dir: self.parts.paths.state("nodes").join(&name),
                kubelet_endpoint,
                name,
            },
            host_ports: HostPorts {
                addresses: vec![external.into()],
                shared_loopback: (self.loopback && number == 1).then(|| SharedLoopback {
                    lock_file: self.parts.paths.run.join("loopback"),
                    owner: self.parts.config.name.clone(),
                }),
                load_balancers: LoadBalancers::of_node(number),
            },
            rules,
        })
    }

    /// A Unix socket; in memory on a virtual clock.
    fn listener(&self, socket: &Path, in_memory: &InProcessConnector) -> anyhow::Result<Listener> {
        if self.in_memory {
            return Ok(in_memory.listen());
        }
        Listener::bind_unix(socket).with_context(|| format!("listen on {}", socket.display()))
    }

    fn start_proxy(&self, number: u32, shutdown: Shutdown) -> anyhow::Result<()> {
        let name = node_name(number);
        let node = if self.in_memory {
            let connectors = self.nodes.get(&name).context("there is no such node")?;
            Endpoint::InProcess(connectors.rules.clone())
        } else {
            Endpoint::Unix { path: rules_socket(&self.parts.paths.run.join("net"), &name) }
        };
        let client = self.client("system:kube-proxy", &[], "kube-proxy");
        let cache = self.parts.paths.state("nodes").join(format!("{name}-rules.json"));
        let server = kube_proxy::Server::bind(kube_proxy::Config {
            cache_file: Some(cache),
            ..kube_proxy::Config::new(&name, &client, node, self.parts.clock.clone())
        })?;
        shutdown.clone().spawn("kube-proxy", server.run(shutdown));
        Ok(())
    }
}

/// Reaches the kubelets through memory.
struct InMemoryDialer(Arc<HashMap<String, NodeConnectors>>);

impl KubeletDialer for InMemoryDialer {
    fn dial(&self, node: &Object) -> Result<Channel, Status> {
        let connectors = self.0.get(node.name()).ok_or_else(|| {
            Status::internal(format!("node {} is not of this cluster", node.name()))
        })?;
        Ok(channel(&Endpoint::InProcess(connectors.kubelet.clone())))
    }
}
