//! The runner of libraries: all components in this process.
//!
//! They run on a runtime of the cluster's own, so that dropping the cluster can wait for their end whatever the test's
//! runtime does. On a virtual clock they run on the caller's runtime instead, for its driver must see every task.
//!
//! Everybody reaches the API server through memory, by a channel that finds the server of the moment: it may be
//! stopped and started. One kubelet hosts all nodes. It is reached over Unix sockets, which survive its restart; on a
//! virtual clock through memory, as the driver does not see what the kernel still carries, and then it cannot be
//! started a second time.

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use apimachinery::{object::Object, status::Status};
use apiserver::{StorageKind, TlsListener, kubelet::KubeletDialer};
use arc_swap::ArcSwapOption;
use client::Client;
use cni::{
    node_service::rules_socket,
    userspace::{Egress, FabricConfig, HostPorts, SharedLoopback},
};
use component_base::{
    metrics::Registry,
    shutdown::Shutdown,
    tls::KeyPair,
    transport::{Endpoint, InProcessConnector, Listener},
};
use container_runtime::ImageCatalogue;
use hyper_util::rt::TokioIo;
use kubelet_sim::{NodeSetup, node::NodeSettings, node_address};
use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

use crate::{
    builder::Builder,
    cluster::{Component, Parts},
};

/// How long a component may take to end.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) struct InProcess {
    shared: Arc<Shared>,
    handle: Handle,
    own: Option<Runtime>,
    running: Mutex<BTreeMap<Component, Shutdown>>,
}

/// What the starting of a component needs; it holds no runtime, as it runs on it.
struct Shared {
    parts: Arc<Parts>,
    catalogue: Arc<ImageCatalogue>,
    durable: bool,
    egress: Egress,
    loopback: bool,
    /// Whether all is on a virtual clock.
    in_memory: bool,
    api: Arc<ArcSwapOption<InProcessConnector>>,
    kubelet: Arc<ArcSwapOption<InProcessConnector>>,
    /// The nodes' rule services, on a virtual clock.
    rules: Mutex<HashMap<u32, InProcessConnector>>,
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
        let shared = Arc::new(Shared {
            parts,
            catalogue: Arc::new(builder.catalogue.clone()),
            durable: builder.durable,
            egress: if builder.allow_egress { Egress::Allowed } else { Egress::Refused },
            loopback: builder.loopback,
            in_memory,
            api: Arc::default(),
            kubelet: Arc::default(),
            rules: Mutex::default(),
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
        if is_hosted(component) {
            return Ok(());
        }
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
        if is_hosted(component) {
            return Ok(());
        }
        let shutdown = self.running.lock().remove(&component);
        let shutdown = shutdown.with_context(|| format!("{component} does not run"))?;
        shutdown.cancel();
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

/// Whether it is a kubelet that node 1's does the work of.
fn is_hosted(component: Component) -> bool {
    matches!(component, Component::Kubelet(2..))
}

impl Shared {
    fn channel(&self, user: &str, groups: &[&str]) -> Channel {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        switching_channel(self.api.clone(), Some((user.to_owned(), groups)))
    }

    fn client(&self, user: &str, groups: &[&str], component: &str) -> Client {
        Client::from_channel(self.channel(user, groups)).with_field_manager(component)
    }

    async fn start(&self, component: Component, shutdown: Shutdown) -> anyhow::Result<()> {
        match component {
            Component::ApiServer => self.start_api(shutdown).await,
            Component::ControllerManager => {
                let server = controller_manager::Server::new(controller_manager::Config {
                    client: self.client(
                        "system:kube-controller-manager",
                        &[],
                        "kube-controller-manager",
                    ),
                    clock: self.parts.clock.clone(),
                    cluster_cidr: self.parts.config.cluster_cidr.clone(),
                });
                shutdown.clone().spawn("kube-controller-manager", server.run(shutdown));
                Ok(())
            }
            Component::Scheduler => {
                let server = scheduler::Server::new(scheduler::Config {
                    client: self.client("system:kube-scheduler", &[], "kube-scheduler"),
                    clock: self.parts.clock.clone(),
                    scheduler_name: "default-scheduler".to_owned(),
                    metrics: scheduler::metrics::Metrics::new(&Registry::new()),
                });
                shutdown.clone().spawn("kube-scheduler", server.run(shutdown));
                Ok(())
            }
            Component::Kubelet(_) => self.start_kubelet(shutdown),
            Component::KubeProxy(node) => self.start_proxy(node, shutdown),
        }
    }

    async fn start_api(&self, shutdown: Shutdown) -> anyhow::Result<()> {
        let (listener, connector) = Listener::in_process();
        let read = |name: &str| std::fs::read_to_string(self.parts.paths.state("pki").join(name));
        let dialer = Arc::new(KubeletChannel(switching_channel(self.kubelet.clone(), None)));
        let dialer: Arc<dyn KubeletDialer> = if self.in_memory {
            dialer
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
            listeners: vec![listener],
            ..apiserver::Config::new(self.parts.clock.clone(), dialer)
        };
        let server = apiserver::Server::bind(config).await?;
        self.api.store(Some(Arc::new(connector)));
        shutdown.clone().spawn("kube-apiserver", async move {
            if let Err(error) = server.run(shutdown.clone()).await {
                panic!("the API server ended: {error}");
            }
        });
        Ok(())
    }

    fn start_kubelet(&self, shutdown: Shutdown) -> anyhow::Result<()> {
        let run = &self.parts.paths.run;
        let network = run.join("net");
        component_base::files::create_private_dir(&network)?;
        let socket = run.join("kubelet.sock");
        let streams = self.listener(&socket, |connector| self.kubelet.store(Some(connector)))?;
        let api = self.parts.api_address();
        let mut fabric = FabricConfig::new(self.parts.clock.clone());
        fabric.egress = self.egress;
        let inside = SocketAddr::from((Ipv4Addr::new(192, 168, 1, 100), api.port()));
        fabric.host_backends = HashMap::from([(inside, api)]);
        let nodes = (1..=self.parts.nodes)
            .map(|number| self.node(number, format!("unix://{}", socket.display())))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let server = kubelet_sim::Server::new(kubelet_sim::Config {
            clock: self.parts.clock.clone(),
            nodes,
            fabric,
            catalogue: self.catalogue.clone(),
            streams,
        })?;
        shutdown.clone().spawn("kubelet-sim", server.run(shutdown));
        Ok(())
    }

    fn node(&self, number: u32, kubelet_endpoint: String) -> anyhow::Result<NodeSetup> {
        let name = format!("node-{number}");
        let user = format!("system:node:{name}");
        let external = self.parts.slice.address(u8::try_from(number)?);
        let quantity = |text: &str| text.parse().map_err(|e| anyhow::anyhow!("{text:?}: {e}"));
        let socket = rules_socket(&self.parts.paths.run.join("net"), &name);
        let rules = self.listener(&socket, |connector| {
            self.rules.lock().insert(number, InProcessConnector::clone(&connector));
        })?;
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
                load_balancers: number == 1,
            },
            rules,
        })
    }

    /// A Unix socket; in memory on a virtual clock.
    fn listener(
        &self,
        socket: &std::path::Path,
        keep: impl FnOnce(Arc<InProcessConnector>),
    ) -> anyhow::Result<Listener> {
        if !self.in_memory {
            return Listener::bind_unix(socket)
                .with_context(|| format!("listen on {}", socket.display()));
        }
        let (listener, connector) = Listener::in_process();
        keep(Arc::new(connector.with_identity("kubernetes-admin", &["system:masters"])));
        Ok(listener)
    }

    fn start_proxy(&self, number: u32, shutdown: Shutdown) -> anyhow::Result<()> {
        let name = format!("node-{number}");
        let node = if self.in_memory {
            let connector = self.rules.lock().get(&number).cloned();
            Endpoint::InProcess(connector.context("its kubelet has not been started")?)
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

/// A channel to the listener of the moment, with this identity; refused while there is none.
fn switching_channel(
    server: Arc<ArcSwapOption<InProcessConnector>>,
    identity: Option<(String, Vec<String>)>,
) -> Channel {
    let connect = move |_| {
        let (server, identity) = (server.clone(), identity.clone());
        async move {
            let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            let connector = server.load_full().ok_or_else(refused)?;
            let connector = match &identity {
                Some((user, groups)) => {
                    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
                    connector.with_identity(user, &groups)
                }
                None => InProcessConnector::clone(&connector),
            };
            connector.connect().await.map(TokioIo::new)
        }
    };
    // Lists of many objects come in few round trips.
    tonic::transport::Endpoint::from_static("http://kubernetes")
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(32 << 20)
        .http2_max_header_list_size(256 << 10)
        .connect_with_connector_lazy(tower::service_fn(connect))
}

/// The one kubelet.
struct KubeletChannel(Channel);

impl KubeletDialer for KubeletChannel {
    fn dial(&self, _node: &Object) -> Result<Channel, Status> {
        Ok(self.0.clone())
    }
}
