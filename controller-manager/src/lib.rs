//! kube-controller-manager: the control loops that bring what is to what should be.
//!
//! | module | holds |
//! |---|---|
//! | [`controllers`] | one file or folder per controller, and the table of them |
//! | [`context`] | what a controller is set up with: the API, shared informers, queues |
//! | [`options`] | their settings |
//! | [`expectations`] | what was written but is not in the cache yet |
//!
//! With leader election only the leader's loops run; who loses the leadership ends.
//!
//! Every loop is level-triggered: informers put keys into a work queue, a worker reads the present state from the shared
//! stores, a pure `plan` decides, a thin `act` writes. All loops share one copy of each resource.
//!
//! **Invariant:** a controller knows the API only, never another component, and no controller calls another.

pub mod context;
pub mod controllers;
pub mod expectations;
pub mod options;

use client::{
    Client,
    informer::Informers,
    leader_election::{self, Lost},
};
use component_base::{clock::Clock, shutdown::Shutdown};

pub use self::options::Options;
use self::{context::Setup, controllers::CONTROLLERS};

/// What the controller manager is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The API, as `system:kube-controller-manager`.
    pub client: Client,
    /// Time.
    pub clock: Clock,
    /// The pods' network.
    pub cluster_cidr: String,
}

/// The controller manager, ready to run.
pub struct Server {
    config: Config,
    options: Options,
}

impl Server {
    /// Takes the configuration over.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, options: Options::default() }
    }

    /// Sets what can be set about single controllers.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Runs all controllers while this copy leads, until `shutdown`.
    ///
    /// # Errors
    /// The leadership was lost: the process is to end, and may begin anew.
    pub async fn run_elected(
        self,
        election: &leader_election::Config,
        shutdown: Shutdown,
    ) -> Result<(), Lost> {
        let (client, clock) = (self.config.client.clone(), self.config.clock.clone());
        leader_election::work_as_leader(&client, &clock, election, &shutdown, |part| self.run(part))
            .await
    }

    /// Runs all controllers until `shutdown`, whoever else may do so.
    pub async fn run(self, shutdown: Shutdown) {
        let Config { client, clock, cluster_cidr } = self.config;
        let mut informers = Informers::new(&client, &clock);
        let mut setup = Setup {
            client,
            clock,
            shutdown: shutdown.clone(),
            informers: &mut informers,
            cluster_cidr,
            options: &self.options,
        };
        for controller in CONTROLLERS {
            tracing::debug!(controller = controller.name, "setting up");
            (controller.start)(&mut setup);
        }
        informers.start(&shutdown);
        shutdown.cancelled().await;
    }
}

#[cfg(test)]
mod tables;
#[cfg(test)]
mod tests;
