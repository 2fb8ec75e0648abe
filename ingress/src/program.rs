//! The controller as an image.

use std::{fmt, io, sync::Arc};

use arc_swap::ArcSwap;
use client::Client;
use container_runtime::{ContainerContext, ExitStatus, Program};
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    access_log::AccessLog,
    activity::Limits,
    certificates::{self, BySni},
    directory::Snapshot,
    pool::Pool,
    proxy::Proxy,
    server::Ports,
    status, watch as follow,
};

/// Makes the client by which a container follows the API; the place where its identity comes from.
pub type Connect = Arc<dyn Fn(&ContainerContext) -> Result<Client, String> + Send + Sync>;

/// What the image is registered with.
#[derive(Clone)]
pub struct IngressConfig {
    /// The way to the API.
    pub connect: Connect,
    /// What clients may hold, and for how long.
    pub limits: Limits,
}

impl IngressConfig {
    /// The usual limits.
    #[must_use]
    pub fn new(connect: Connect) -> Self {
        Self { connect, limits: Limits::default() }
    }

    /// The same, by a client that is there already.
    #[must_use]
    pub fn with_client(client: Client) -> Self {
        Self::new(Arc::new(move |_| Ok(client.clone())))
    }
}

impl fmt::Debug for IngressConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IngressConfig")
    }
}

/// What a cluster applies to have this image as its ingress controller: namespace, ServiceAccount, RBAC, IngressClass (the
/// default one), Deployment, Service.
pub const MANIFEST: &str = include_str!("../ingress.yaml");

/// The ingress controller as a Program.
#[derive(Clone, Debug)]
pub struct IngressController {
    config: IngressConfig,
}

impl IngressController {
    /// The image's repository, for every tag.
    pub const IMAGE: &'static str = "kube-mini.io/ingress-controller";

    /// Makes the Program.
    #[must_use]
    pub fn new(config: IngressConfig) -> Self {
        Self { config }
    }
}

impl Program for IngressController {
    fn run(&self, context: ContainerContext) -> BoxFuture<'static, ExitStatus> {
        let config = self.config.clone();
        Box::pin(async move {
            match serve(&config, &context).await {
                Ok(()) => ExitStatus::SUCCESS,
                Err(error) => {
                    // The container's own stderr; when nobody reads it there is nobody to tell.
                    drop(context.stderr.write_all(format!("{error}\n")).await);
                    ExitStatus(1)
                }
            }
        })
    }
}

async fn serve(config: &IngressConfig, context: &ContainerContext) -> io::Result<()> {
    if let Some(flag) = context.args.get(1) {
        let unknown = format!("flag provided but not supported here: {flag}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, unknown));
    }
    let client = (config.connect)(context).map_err(io::Error::other)?;
    let clock = context.clock.clone();
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let ports = Ports::bind(&context.network).await?;
    let spawner = || {
        let context = context.clone();
        move |task: BoxFuture<'static, ()>| context.spawn(task)
    };
    let (log, write_log) = AccessLog::new(clock.clone(), context.stdout.clone());
    let pool = Pool::new(context.network.clone(), clock.clone(), spawner());
    let proxy = Arc::new(Proxy {
        snapshot: snapshot.clone(),
        pool: pool.clone(),
        clock: clock.clone(),
        log,
        spawn: Box::new(spawner()),
    });
    let fallback = certificates::fallback(clock.now()).map_err(io::Error::other)?;
    let by_sni = BySni { snapshot: snapshot.clone(), fallback };
    let (statuses, wanted) = watch::channel(Vec::new());
    let follow = follow::follow(
        client.clone(),
        clock.clone(),
        snapshot,
        pool.clone(),
        statuses,
        context.stderr.clone(),
    );
    let ending = CancellationToken::new();
    let end = async {
        context.signals.terminated().await;
        // Requests still come until nobody is sent here any more. Those that are on their way then are answered, for as
        // long as the pod's grace period lasts.
        clock.sleep(LAMEDUCK).await;
        ending.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = end => Ok(()),
        served = ports.run(proxy, by_sni, config.limits, ending.clone()) => served,
        () = pool.sweep() => Ok(()),
        () = follow => Ok(()),
        () = status::write(client, clock.clone(), wanted) => Ok(()),
        () = async { write_log.await; std::future::pending().await } => Ok(()),
    }
}

/// How long it goes on taking connections after SIGTERM.
const LAMEDUCK: std::time::Duration = std::time::Duration::from_secs(3);
