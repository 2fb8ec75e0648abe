//! How a [`TestCluster`] is to be.

use std::{path::PathBuf, sync::Arc, time::Duration};

use component_base::clock::Clock;
use container_runtime::{ImageCatalogue, ImageNameError, Program};
use kubelet_sim::node::shutdown::GracePeriods;

use crate::{
    cluster::{Parts, Running, TestCluster},
    in_process::InProcess,
    processes::Processes,
};

/// What the components run as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Runner {
    /// Libraries in this process.
    #[default]
    InProcess,
    /// The real programs.
    Process,
}

/// Builds a [`TestCluster`].
#[must_use]
pub struct Builder {
    pub(crate) runner: Runner,
    pub(crate) nodes: u32,
    pub(crate) durable: bool,
    pub(crate) allow_egress: bool,
    pub(crate) loopback: bool,
    pub(crate) dns: bool,
    pub(crate) ingress: bool,
    pub(crate) wait: bool,
    pub(crate) clock: Option<Clock>,
    pub(crate) catalogue: ImageCatalogue,
    pub(crate) own_images: Vec<String>,
    pub(crate) programs: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) shutdown_periods: GracePeriods,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            runner: Runner::default(),
            nodes: 1,
            durable: false,
            allow_egress: false,
            loopback: false,
            dns: false,
            ingress: false,
            wait: true,
            clock: None,
            catalogue: ImageCatalogue::new(),
            own_images: Vec::new(),
            programs: None,
            timeout: Duration::from_secs(60),
            shutdown_periods: GracePeriods::default(),
        }
    }
}

impl Builder {
    /// In this process (the default), or as processes.
    pub fn runner(mut self, runner: Runner) -> Self {
        self.runner = runner;
        self
    }

    /// How many nodes; 1 by default, at most 100. None is a control plane alone.
    pub fn nodes(mut self, nodes: u32) -> Self {
        self.nodes = nodes;
        self
    }

    /// Keeps the objects in a sled database in the cluster's folder, so that the API server may be stopped and
    /// started. Processes always do.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Lets pods reach addresses outside of the cluster.
    pub fn allow_egress(mut self) -> Self {
        self.allow_egress = true;
        self
    }

    /// Opens node ports on 127.0.0.1, too, under a lock of this cluster alone: the caller sees to it that no other
    /// cluster of the machine uses the ports.
    pub fn private_loopback(mut self) -> Self {
        self.loopback = true;
        self
    }

    /// Runs the cluster's DNS, and waits until it answers: names of Services resolve in pods. Left out otherwise: few
    /// tests need it, and all would have its pod among their own.
    pub fn dns(mut self) -> Self {
        self.dns = true;
        self
    }

    /// Runs the ingress controller, and waits until it serves; [`TestCluster::ingress_address`] tells where. Left out
    /// otherwise, as DNS is.
    pub fn ingress(mut self) -> Self {
        self.ingress = true;
        self
    }

    /// Returns from [`Self::start`] without waiting for the nodes.
    pub fn do_not_wait(mut self) -> Self {
        self.wait = false;
        self
    }

    /// How long the start may take; a minute by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Gives the nodes that much time for [`TestCluster::shut_down_node`]: `shutdownGracePeriod`, and what of it is for
    /// critical pods.
    ///
    /// # Errors
    /// There is less in all than for critical pods, or less than a second.
    pub fn shutdown_grace_periods(
        mut self,
        total: Duration,
        critical: Duration,
    ) -> anyhow::Result<Self> {
        self.shutdown_periods = GracePeriods::new(total, critical).map_err(anyhow::Error::msg)?;
        Ok(self)
    }

    /// Runs the whole cluster by this clock (in-process only). With a test clock everything runs on the caller's
    /// runtime, which must be a current-thread one, and the [`TestClock`](component_base::clock::TestClock) drives the
    /// start, too: `time.run(builder.start()).await`.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Makes a Program an image (in-process only): an async function that takes a
    /// [`ContainerContext`](container_runtime::ContainerContext). A name without a tag stands for every tag.
    ///
    /// # Errors
    /// `name` is no image name.
    pub fn register_image(
        mut self,
        name: &str,
        program: impl Program,
    ) -> Result<Self, ImageNameError> {
        self.catalogue.register(name, program)?;
        self.own_images.push(name.to_owned());
        Ok(self)
    }

    /// Where the programs are; by default beside the test's own, in cargo's target folder.
    pub fn programs(mut self, folder: impl Into<PathBuf>) -> Self {
        self.programs = Some(folder.into());
        self
    }

    /// Starts the cluster, and waits until all its nodes are Ready.
    ///
    /// # Errors
    /// A component cannot be started, or the options do not fit the runner.
    pub async fn start(self) -> anyhow::Result<TestCluster> {
        anyhow::ensure!(self.nodes <= 100, "a test cluster has at most 100 nodes");
        let (wait, dns, ingress, timeout) = (self.wait, self.dns, self.ingress, self.timeout);
        let clock = self.clock.clone().unwrap_or_else(Clock::real);
        let parts = Arc::new(Parts::new(&self, clock)?);
        let running = match self.runner {
            Runner::InProcess => Running::InProcess(InProcess::new(&self, parts.clone())?),
            Runner::Process => Running::Process(Processes::new(&self, &parts)?),
        };
        // From here on its Drop cleans up whatever goes wrong.
        let cluster = TestCluster::new(parts, running);
        cluster.start_all().await?;
        if wait {
            cluster.wait_nodes_ready(timeout).await;
        }
        if dns {
            kube_mini::addons::create_missing(cluster.client(), dns::program::MANIFEST).await?;
            cluster.wait_ready("kube-system/coredns").await;
        }
        if ingress {
            kube_mini::addons::create_missing(cluster.client(), ingress::program::MANIFEST).await?;
            cluster.wait_ready("ingress/ingress-kube-mini").await;
        }
        Ok(cluster)
    }
}
