//! The API server: one handler chain behind two faces, on an embedded store.
//!
//! # The life of a request
//! 1. [`component_base::transport`] accepts a connection and knows its peer.
//! 2. A face ([`faces::rest`] or [`faces::grpc`]) authenticates ([`authentication`]) and translates the wire's request
//!    into a [`request::RequestContext`] and a [`request::Request`].
//! 3. The [`handler`] authorizes ([`authorization`]), reads the body, admits ([`admission`]) and calls the
//!    resource's store.
//! 4. The generic store ([`registry`]) prepares and validates with the resource's `Strategy`, allocates what a
//!    Service needs, and commits one transaction to the [`storage`].
//! 5. The answer is the stored bytes; the face puts them on the wire.
//!
//! Reads, lists and watches are served from the storage's memory; a watcher shares its log of events.
//!
//! # Start
//! [`Server::bind`] opens the store, checks the allocators' ranges against the stored Services, and binds the address.
//! [`Server::run`] stores what every cluster has ([`bootstrap`]: namespaces, default roles, priority classes, the
//! `kubernetes` Service), then serves until the end.
//!
//! **Invariant:** nothing is possible through one face that the chain forbids through the other, for a face has no way
//! to the registry but the chain.

mod admission;
mod apiextensions;
pub mod audit;
pub mod authentication;
pub mod authorization;
mod bootstrap;
pub mod faces;
mod flowcontrol;
pub mod handler;
pub mod kubelet;
mod metrics;
pub mod registry;
pub mod request;
pub mod scheduling;
pub mod storage;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use component_base::{
    clock::Clock,
    health::{self, Checks},
    metrics::Registry,
    shutdown::Shutdown,
    tls::{self, KeyPair, TlsError},
    transport::{Listener, serve},
};

use crate::{
    audit::{Audit, AuditConfig},
    authentication::{accounts::Accounts, token::TokenKey},
    authorization::Authorizer,
    faces::{
        grpc::GrpcFace,
        guard::Guard,
        live::Live,
        openapi::OpenApi,
        rest::{RestFace, discovery::Discovery},
    },
    handler::{Handler, RequestLimits},
    kubelet::KubeletDialer,
    registry::{
        allocators::{Allocators, Ipv4Range},
        kinds,
        store::StoreDeps,
    },
    storage::{
        OpenError, StorageError, Store, StoreConfig,
        engine::{Engine, memory::MemoryEngine, sled::SledEngine},
    },
};

/// Where objects are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageKind {
    /// In memory only.
    Memory,
    /// In a sled database in this directory.
    Sled(PathBuf),
}

/// The TLS listener.
#[derive(Clone, Debug)]
pub struct TlsListener {
    /// Port 0 takes any free one.
    pub address: SocketAddr,
    /// The server's certificate and key.
    pub serving: KeyPair,
    /// Who signs client certificates.
    pub client_ca_pem: String,
}

/// Everything that an API server is told.
pub struct Config {
    /// The time.
    pub clock: Clock,
    /// Where objects are kept.
    pub storage: StorageKind,
    /// The API's port, for all clients.
    pub tls: Option<TlsListener>,
    /// Further ways in: Unix sockets, in-process.
    pub listeners: Vec<Listener>,
    /// Addresses of Services; the first is the `kubernetes` Service's.
    pub service_addresses: Ipv4Range,
    /// First and last node port.
    pub node_ports: (u16, u16),
    /// The address behind the `kubernetes` Service, as pods see it.
    pub advertise_address: Ipv4Addr,
    /// The way to the kubelets.
    pub kubelets: Arc<dyn KubeletDialer>,
    /// What signs the tokens of ServiceAccounts. Another key at the next start ends all of them.
    pub token_key: TokenKey,
    /// Requests at one time, and their time.
    pub limits: RequestLimits,
    /// Which requests are recorded, and where; None: none.
    pub audit: Option<AuditConfig>,
    /// Where metrics go.
    pub metrics: Registry,
}

impl Config {
    /// A cluster in memory that nobody can reach yet.
    #[must_use]
    pub fn new(clock: Clock, kubelets: Arc<dyn KubeletDialer>) -> Self {
        Self {
            clock,
            storage: StorageKind::Memory,
            tls: None,
            listeners: Vec::new(),
            service_addresses: Ipv4Range::parse("10.96.0.0/12").expect("a range"),
            node_ports: (30000, 32767),
            advertise_address: Ipv4Addr::new(192, 168, 1, 100),
            kubelets,
            token_key: TokenKey::generate(),
            limits: RequestLimits::default(),
            audit: None,
            metrics: Registry::new(),
        }
    }
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be opened.
    #[error("failed to open the storage: {0}")]
    Open(#[from] OpenError),
    /// The store could not be read or written.
    #[error("failed to read the storage: {0}")]
    Storage(#[from] StorageError),
    /// A certificate or key is unusable.
    #[error("failed to set up TLS: {0}")]
    Tls(#[from] TlsError),
    /// The address is taken, or not ours.
    #[error("failed to listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The audit log cannot be written.
    #[error("failed to open the audit log: {0}")]
    Audit(#[source] io::Error),
    /// The disk failed while serving, and takes writes again: the store is to be opened afresh, by a new process.
    #[error(
        "serve on a store whose disk had failed: it takes writes again, and is opened afresh by a restart"
    )]
    Reopen,
    /// What every cluster has could not be stored.
    #[error("failed to bootstrap {what}: {message}")]
    Bootstrap {
        /// The object.
        what: String,
        /// Why.
        message: String,
    },
}

/// An API server that is bound and not yet serving.
pub struct Server {
    store: Store,
    handler: Arc<Handler>,
    authorizer: Arc<Authorizer>,
    router: axum::Router,
    listeners: Vec<Listener>,
    address: Option<SocketAddr>,
    bootstrapped: Arc<AtomicBool>,
    kubernetes: bootstrap::KubernetesService,
    /// Ends watches before the connections, so that these can drain.
    watches: tokio_util::sync::CancellationToken,
}

impl Server {
    /// Opens the store and binds the address.
    ///
    /// # Errors
    /// When the store cannot be opened, or the address not bound.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let store = open(config.storage, config.clock.clone()).await?;
        register_storage(&store, &config.metrics);
        config.metrics.register_collector(metrics::OnDemand::new(store.counter()));
        let storage: Arc<dyn storage::Storage> = Arc::new(store.clone());
        let allocators = Arc::new(Allocators::new(
            config.service_addresses,
            config.node_ports,
            config.clock.clone(),
        ));
        allocators.load(&*storage).await?;
        let authorizer = Arc::new(Authorizer::new(storage.clone()));
        let watches = tokio_util::sync::CancellationToken::new();
        let accounts =
            Arc::new(Accounts::new(config.token_key, storage.clone(), config.clock.clone()));
        let audit = config.audit.map(|audit| {
            Audit::open(audit, config.clock.clone(), &config.metrics).map_err(StartError::Audit)
        });
        let guard = Guard::new(config.clock.clone(), config.limits.timeout, audit.transpose()?);
        let deps = Arc::new(StoreDeps { storage, clock: config.clock, allocators });
        let handler = Handler::new(
            kinds::all(),
            deps,
            authorizer.clone(),
            accounts,
            config.limits,
            &config.metrics,
            watches.clone(),
        );
        let handler = Arc::new(handler.reaching(config.kubelets.clone()));
        let mut listeners = config.listeners;
        let mut address = None;
        if let Some(tls) = config.tls {
            let server = tls::server_config(&tls.serving, Some(&tls.client_ca_pem))?;
            let listener = Listener::bind_tls(tls.address, server)
                .map_err(|source| StartError::Listen { address: tls.address, source })?;
            address = listener.local_addr();
            listeners.push(listener);
        }
        let bootstrapped = Arc::new(AtomicBool::new(false));
        let checks = Checks::new()
            .readiness("poststarthook/bootstrap", {
                let bootstrapped = bootstrapped.clone();
                move || {
                    let done = bootstrapped.load(Ordering::Acquire);
                    if done {
                        Ok(())
                    } else {
                        Err("the default objects are not stored yet".to_owned())
                    }
                }
            })
            .readiness("storage-writes", {
                let store = store.clone();
                move || store.failure().map_or(Ok(()), Err)
            });
        let port = address.map_or(6443, |address| address.port());
        let openapi = Arc::new(OpenApi::default());
        let discovery = Arc::new(Live::new(Discovery::new));
        let health = health::router(&checks, config.metrics);
        let rest = RestFace::new(
            handler.clone(),
            discovery.clone(),
            openapi.clone(),
            config.kubelets.clone(),
            health,
            watches.clone(),
            format!("https://{}:{port}", config.advertise_address),
        );
        let grpc = GrpcFace::new(handler.clone(), discovery, openapi, config.kubelets);
        let kubernetes = bootstrap::KubernetesService {
            cluster_ip: config.service_addresses.address(0),
            address: config.advertise_address,
            port,
        };
        Ok(Self {
            store,
            handler,
            authorizer,
            router: guard.before(grpc.routes().fallback_service(rest.routes())),
            listeners,
            address,
            bootstrapped,
            kubernetes,
            watches,
        })
    }

    /// The TLS listener's address.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Serves until `shutdown`, then ends watches, drains connections and closes the store.
    ///
    /// # Errors
    /// When what every cluster has cannot be stored, and [`StartError::Reopen`].
    pub async fn run(self, shutdown: Shutdown) -> Result<(), StartError> {
        let store = self.store.clone();
        let reopen = Arc::new(AtomicBool::new(false));
        let (maintained, reopened) = (shutdown.clone(), reopen.clone());
        shutdown.spawn("storage maintenance", async move {
            if store.maintain(maintained.token().clone()).await.is_err() {
                reopened.store(true, Ordering::Release);
                maintained.cancel();
            }
        });
        bootstrap::run(&self.handler, &self.kubernetes).await?;
        self.authorizer.refresh().await?;
        let authorizer = self.authorizer.clone();
        let followed = shutdown.token().clone();
        shutdown.spawn("access policy", async move { authorizer.follow(followed).await });
        let definitions = self.handler.definitions.clone();
        definitions.load().await?;
        let (handler, followed) = (self.handler.clone(), shutdown.clone());
        shutdown.spawn("custom resource definitions", async move {
            definitions.follow(&handler, &followed).await;
        });
        self.bootstrapped.store(true, Ordering::Release);
        if let Some(address) = self.address {
            tracing::info!(%address, "serving");
        }
        let serving = self
            .listeners
            .into_iter()
            .map(|listener| serve(listener, self.router.clone(), shutdown.token().clone()));
        let watches = self.watches;
        let ending = async {
            shutdown.cancelled().await;
            watches.cancel();
        };
        tokio::join!(futures::future::join_all(serving), ending);
        self.store.close().await;
        if reopen.load(Ordering::Acquire) { Err(StartError::Reopen) } else { Ok(()) }
    }
}

/// Opens the store away from the runtime's threads: it reads files.
async fn open(kind: StorageKind, clock: Clock) -> Result<Store, StartError> {
    let opened = tokio::task::spawn_blocking(move || {
        let engine: Box<dyn Engine> = match kind {
            StorageKind::Memory => Box::new(MemoryEngine),
            StorageKind::Sled(directory) => Box::new(SledEngine::open(&directory)?),
        };
        Store::open(engine, StoreConfig::new(clock))
    });
    Ok(opened.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?)
}

fn register_storage(store: &Store, registry: &Registry) {
    let metrics = store.metrics();
    let name = |name: &str| format!("apiserver_storage_{name}");
    registry.register(&name("transactions"), "Committed transactions.", metrics.txns.clone());
    registry.register(
        &name("conflicts"),
        "Transactions whose conditions did not hold.",
        metrics.conflicts.clone(),
    );
    registry.register(
        &name("errors"),
        "Transactions that could not be written.",
        metrics.errors.clone(),
    );
    registry.register(
        &name("expired_keys"),
        "Keys deleted at the end of their time.",
        metrics.expired.clone(),
    );
    registry.register(
        &name("groups"),
        "Groups of transactions made durable.",
        metrics.groups.clone(),
    );
    registry.register(
        &name("persist_duration_seconds"),
        "Time to make a group durable.",
        metrics.persist_seconds.clone(),
    );
    registry.register(&name("keys"), "Stored keys.", metrics.keys.clone());
    registry.register(
        &name("live_bytes"),
        "Bytes of the stored values.",
        metrics.live_bytes.clone(),
    );
    registry.register(
        &name("history_bytes"),
        "Bytes kept for watchers alone.",
        metrics.history_bytes.clone(),
    );
    registry.register(&name("size_bytes"), "Bytes on disk.", metrics.disk_bytes.clone());
}
