//! Carries the scheduler's decisions out: leads or waits, follows the API, runs the loop, binds and reports.
//!
//! Of several copies one leads, by the Lease `kube-system/kube-scheduler`; the others hold no state. Who becomes the
//! leader follows nodes, pods, namespaces and what else decisions rest on from the beginning, so that queue, snapshot and
//! assumed pods are made of what the API server says then, and nothing of a former leadership is left over. Who loses the
//! leadership ends, as Kubernetes' scheduler does, and is started afresh by whoever watches over it.
//!
//! Nothing is decided before every follower has delivered its first list: a pod must not take the room of one that is
//! merely further down in it.
//!
//! While it leads, one task owns the [`Scheduler`] and is its only user. Followers (`follow`) send it changes over a bounded
//! channel; writes (`writer`) run beside it, a limited number at a time, and tell it only when a binding fails; questions
//! for explanations (`endpoint`) wait in a channel of their own and are answered between attempts.

mod endpoint;
mod follow;
mod writer;

use std::path::PathBuf;

use apimachinery::api::{
    apps::ReplicaSet,
    core::{Namespace, Node, Pod, Service},
    policy::PodDisruptionBudget,
};
use client::{
    Client,
    leader_election::{self, Lost},
};
use component_base::{clock::Clock, shutdown::Shutdown};
use tokio::sync::mpsc;

use self::{endpoint::Question, follow::follow, writer::Writer};
use crate::{
    metrics::Metrics,
    scheduler::{Input, Scheduler},
};

/// What the loop hears.
enum Heard {
    /// Something changed.
    Change(Input),
    /// A follower has told all that was there.
    Listed,
}

/// Changes that may wait for the loop.
const CHANNEL: usize = 1024;
/// Questions that may wait for the loop.
const QUESTIONS: usize = 64;
/// After so many attempts in a row the loop looks at what else has happened.
const ATTEMPTS_PER_TURN: usize = 32;

/// What the scheduler is made with.
#[derive(Clone)]
pub struct Config {
    /// The API, as `system:kube-scheduler`.
    pub client: Client,
    /// Time.
    pub clock: Clock,
    /// The `spec.schedulerName` that it serves.
    pub scheduler_name: String,
    /// Where it counts.
    pub metrics: Metrics,
}

/// The scheduler, ready to run.
pub struct Server {
    config: Config,
    endpoint_socket: Option<PathBuf>,
}

impl Server {
    /// Takes the configuration over.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, endpoint_socket: None }
    }

    /// Explains its decisions on this Unix socket while it leads.
    #[must_use]
    pub fn with_endpoint(mut self, socket: PathBuf) -> Self {
        self.endpoint_socket = Some(socket);
        self
    }

    /// Schedules while this copy leads, until `shutdown`.
    ///
    /// # Errors
    /// The leadership was lost: the process is to end, and may begin anew.
    pub async fn run_elected(
        self,
        election: &leader_election::Config,
        shutdown: Shutdown,
    ) -> Result<(), Lost> {
        let (client, clock) = (self.config.client.clone(), self.config.clock.clone());
        let mut election = election.clone();
        if let Some(path) = &self.endpoint_socket {
            election.annotations.insert(endpoint::ANNOTATION.into(), endpoint::address(path));
        }
        let work = |part| self.run(part);
        leader_election::work_as_leader(&client, &clock, &election, &shutdown, work).await
    }

    /// Schedules until `shutdown`, whoever else may do so.
    pub async fn run(self, shutdown: Shutdown) {
        let Config { client, clock, .. } = &self.config;
        let (sender, inputs) = mpsc::channel(CHANNEL);
        let (asker, questions) = mpsc::channel(QUESTIONS);
        if let Some(path) = &self.endpoint_socket {
            endpoint::serve(path, asker, &shutdown);
        }
        let followers = [
            follow::<Namespace>(client, clock, &shutdown, &sender, Input::Namespace),
            follow::<Node>(client, clock, &shutdown, &sender, Input::Node),
            follow::<Service>(client, clock, &shutdown, &sender, Input::Service),
            follow::<ReplicaSet>(client, clock, &shutdown, &sender, Input::ReplicaSet),
            follow::<PodDisruptionBudget>(
                client,
                clock,
                &shutdown,
                &sender,
                Input::DisruptionBudget,
            ),
            follow::<Pod>(client, clock, &shutdown, &sender, Input::Pod),
        ]
        .len();
        let writer = Writer::new(&self.config, &shutdown, sender);
        tokio::select! {
            () = turns(&self.config, &writer, inputs, questions, followers) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// The loop: takes in what has happened, makes attempts while pods are ready for one, and waits. It begins when all
/// `followers` have delivered their lists.
async fn turns(
    config: &Config,
    writer: &Writer,
    mut inputs: mpsc::Receiver<Heard>,
    mut questions: mpsc::Receiver<Question>,
    mut followers: usize,
) {
    let clock = &config.clock;
    let mut scheduler = Scheduler::new(&config.scheduler_name, clock.random_u64());
    while followers > 0 {
        match inputs.recv().await {
            Some(Heard::Change(input)) => scheduler.handle(input, clock.monotonic()),
            Some(Heard::Listed) => followers -= 1,
            None => return,
        }
    }
    loop {
        let mut busy = false;
        while let Ok(heard) = inputs.try_recv() {
            take_in(&mut scheduler, heard, clock);
        }
        while let Ok(question) = questions.try_recv() {
            question.answer(&mut scheduler);
        }
        for _ in 0..ATTEMPTS_PER_TURN {
            let started = clock.monotonic();
            let Some(action) = scheduler.next_action(started) else { break };
            config.metrics.attempt(&action, clock.monotonic().saturating_sub(started));
            busy = true;
            writer.start(action).await;
        }
        config.metrics.pending(scheduler.queue_lengths());
        if busy {
            tokio::task::yield_now().await;
            continue;
        }
        let timer = async {
            match scheduler.next_ready() {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            heard = inputs.recv() => match heard {
                Some(heard) => take_in(&mut scheduler, heard, clock),
                None => return,
            },
            Some(question) = questions.recv() => question.answer(&mut scheduler),
            () = timer => {}
        }
    }
}

fn take_in(scheduler: &mut Scheduler, heard: Heard, clock: &Clock) {
    if let Heard::Change(input) = heard {
        scheduler.handle(input, clock.monotonic());
    }
}
