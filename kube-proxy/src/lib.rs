//! kube-proxy: makes Services work on one node.
//!
//! It watches Services, EndpointSlices, Nodes and NetworkPolicies, compiles them to a rule set ([`compile`], pure) and programs the
//! node's network with it over the node's socket, as the real one programs a kernel. It carries no traffic: when it is
//! away, connections go on as they did.
//!
//! | module | does |
//! |---|---|
//! | [`compile`] | objects to rules; only what changed |
//! | [`policy`] | NetworkPolicies to verdicts for this node's pods, pure |
//! | `watch` | follows the API into the compilers; pods and namespaces only while there are policies |
//! | `proxier` | the loop that keeps the node in step; `node`, its connection |
//! | `events` | tells on the Service what the host refused |
//! | `cache` | keeps the rules for a start without the API |
//! | `health_check` | tells load balancers of this node's endpoints |
//!
//! **Invariant:** of the node it knows the rule contract of `cni` alone, not the data plane.

mod cache;
pub mod compile;
mod events;
mod health_check;
mod metrics;
mod node;
pub mod policy;
mod proxier;
mod watch;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use client::{Client, events::EventRecorder};
use component_base::{
    clock::Clock,
    health::{self, Checks},
    metrics::Registry,
    shutdown::Shutdown,
    transport::{self, Endpoint, Listener},
};

use self::{cache::Cache, health_check::HealthChecks};

/// What a proxy is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node whose network it programs.
    pub node_name: String,
    /// The API.
    pub client: Client,
    /// Where the node takes its rules: `cni::node_service`.
    pub node: Endpoint,
    /// Time.
    pub clock: Clock,
    /// Keeps the rules for a start without the API.
    pub cache_file: Option<PathBuf>,
    /// Unix socket for `/healthz`, `/readyz` and `/metrics`.
    pub health_socket: Option<PathBuf>,
    /// How long changes are gathered before they are sent.
    pub min_sync_period: Duration,
}

impl Config {
    /// The usual settings, with nothing kept and no health socket.
    #[must_use]
    pub fn new(node_name: &str, client: &Client, node: Endpoint, clock: Clock) -> Self {
        Self {
            node_name: node_name.to_owned(),
            client: client.with_field_manager("kube-proxy"),
            node,
            clock,
            cache_file: None,
            health_socket: None,
            min_sync_period: Duration::from_millis(10),
        }
    }
}

/// A proxy that is ready to run.
#[derive(Debug)]
pub struct Server {
    config: Config,
    health: Option<Listener>,
}

impl Server {
    /// Opens what can fail to open.
    ///
    /// # Errors
    /// When the health socket cannot be bound.
    pub fn bind(config: Config) -> io::Result<Self> {
        let health = config.health_socket.as_deref().map(Listener::bind_unix).transpose()?;
        Ok(Self { config, health })
    }

    /// Keeps the node's network in step until `shutdown`.
    pub async fn run(self, shutdown: Shutdown) {
        let Self { config, health } = self;
        let registry = Registry::new();
        let metrics = metrics::Metrics::new(&registry);
        let remembered = config.cache_file.as_deref().and_then(cache::read);
        let clock = config.clock.clone();
        let knowledge =
            watch::Knowledge::new(&config.node_name, remembered, metrics.clone(), clock);
        knowledge.follow(&config.client, &config.clock, &shutdown);
        let in_step = Arc::new(AtomicBool::new(false));
        if let Some(listener) = health {
            let ready = Arc::clone(&in_step);
            let checks = Checks::new().readiness("proxy-rules", move || {
                let in_step = ready.load(Ordering::Relaxed);
                if in_step { Ok(()) } else { Err("the node does not have its rules".to_owned()) }
            });
            let router = health::router(&checks, registry);
            shutdown.spawn("health", transport::serve(listener, router, shutdown.token().clone()));
        }
        let node = Some(config.node_name.as_str());
        let recorder =
            EventRecorder::start(&config.client, &config.clock, "kube-proxy", node, &shutdown);
        let proxier = proxier::Proxier {
            reporter: events::Reporter::new(recorder),
            health_checks: HealthChecks::new(Arc::clone(&in_step), shutdown.clone()),
            knowledge,
            node: config.node,
            clock: config.clock,
            shutdown: shutdown.clone(),
            min_sync_period: config.min_sync_period,
            cache: config.cache_file.map(Cache::new),
            metrics,
            in_step,
        };
        shutdown.token().run_until_cancelled(proxier.run()).await;
    }
}
