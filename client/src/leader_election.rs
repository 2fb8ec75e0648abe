//! One leader among several processes, by a Lease: client-go's leader election.
//!
//! Whoever holds the Lease leads, and renews it every retry period. The others watch by reading: a Lease that has not
//! changed for its duration, by the reader's own monotonic clock, is free. Clocks of different machines are never
//! compared. A leader that cannot renew for the renew deadline stops leading before others may begin, since the
//! deadline is shorter than the lease. A leader that ends in order gives the Lease back at once.
//!
//! A process that was killed gave nothing back, and whoever follows it waits the lease out, unless it bears the same
//! name: see [`Identity::of_slot`].

mod flags;
mod identity;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, future::Future, time::Duration};

use apimachinery::{
    api::{
        coordination::{Lease, LeaseSpec},
        meta::ObjectMeta,
    },
    status::Status,
    time::MicroTime,
};
use component_base::{clock::Clock, shutdown::Shutdown};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use self::{
    flags::{Flags, FlagsError},
    identity::Identity,
};
use crate::{api::Client, retry::Backoff};

/// How soon an attempt that failed is repeated at first: an API server that just starts answers in a moment.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How long a lease may take to be given back.
const RELEASE: Duration = Duration::from_secs(2);
/// How long a leader's tasks may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// How many retry periods at most lie between two attempts to become the leader: 1 + this.
const JITTER: f64 = 1.2;

/// Which lease, as whom, and how fast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The Lease's namespace: `kube-system` for Kubernetes' components.
    pub namespace: String,
    /// The Lease's name: the component's.
    pub name: String,
    /// Who we are: the host's name with something unique behind.
    pub identity: String,
    /// How long a lease holds that is not renewed.
    pub lease_duration: Duration,
    /// For how long the leader tries to renew before it gives up. Shorter than the lease's duration.
    pub renew_deadline: Duration,
    /// Between attempts.
    pub retry_period: Duration,
    /// What the Lease tells of us beside its spec, while we lead.
    pub annotations: BTreeMap<String, String>,
}

impl Config {
    /// Kubernetes' periods (15 s, 10 s, 2 s) for the Lease `kube-system/name`.
    #[must_use]
    pub fn component(name: &str, identity: &str) -> Self {
        Self {
            namespace: "kube-system".to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
            annotations: BTreeMap::new(),
        }
    }
}

/// How an election ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was cancelled; the Lease was given back if we had it.
    Cancelled,
    /// The leader's work ended by itself; the Lease was given back.
    Finished,
    /// The Lease was lost. Kubernetes' components end then, and are started afresh.
    Lost,
}

/// What came of one attempt.
enum Attempt {
    Leads,
    /// Another leads, or was faster.
    Follows,
    Failed,
}

/// The Lease as last seen, and since when it has looked so.
struct Observed {
    lease: Lease,
    since: Duration,
}

struct Elector<'a> {
    client: &'a Client,
    clock: &'a Clock,
    config: &'a Config,
    observed: Option<Observed>,
}

/// The leadership was lost to another, or could not be renewed in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("leader election lost")]
pub struct Lost;

/// Runs a component's work while it leads: the tasks of `work` are a part of `shutdown` that ends, and is waited for,
/// before another copy may begin.
///
/// # Errors
/// The leadership is lost. Kubernetes' components end then, and are started afresh.
pub async fn work_as_leader<F, Fut>(
    client: &Client,
    clock: &Clock,
    config: &Config,
    shutdown: &Shutdown,
    work: F,
) -> Result<(), Lost>
where
    F: FnOnce(Shutdown) -> Fut,
    Fut: Future<Output = ()>,
{
    let part = shutdown.child();
    let outcome = run(client, clock, config, shutdown.token(), async |leading| {
        let mut working = std::pin::pin!(work(part.as_shutdown().clone()));
        tokio::select! {
            () = working.as_mut() => {}
            () = leading.cancelled() => {
                part.cancel();
                working.await;
            }
        }
        part.cancel();
        if let Err(error) = part.wait(GRACE).await {
            warn!(lease = config.name, %error, "the leader's work did not end well");
        }
    });
    match outcome.await {
        Outcome::Lost => Err(Lost),
        Outcome::Cancelled | Outcome::Finished => Ok(()),
    }
}

/// Waits for the leadership, runs `lead` while it lasts, and gives it back.
///
/// `lead` gets a token that is cancelled when the leadership is lost or `cancel` is; it must end soon then, and is waited
/// for.
pub async fn run<F, Fut>(
    client: &Client,
    clock: &Clock,
    config: &Config,
    cancel: &CancellationToken,
    lead: F,
) -> Outcome
where
    F: FnOnce(CancellationToken) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut elector = Elector { client, clock, config, observed: None };
    if cancel.run_until_cancelled(elector.acquire()).await.is_none() {
        elector.release().await;
        return Outcome::Cancelled;
    }
    info!(lease = config.name, identity = config.identity, "became leader");
    let leading = cancel.child_token();
    let mut lead = std::pin::pin!(lead(leading.clone()));
    let outcome = tokio::select! {
        () = lead.as_mut() => {
            let outcome =
                if cancel.is_cancelled() { Outcome::Cancelled } else { Outcome::Finished };
            elector.release().await;
            return outcome;
        }
        () = cancel.cancelled() => Outcome::Cancelled,
        () = elector.renew() => Outcome::Lost,
    };
    leading.cancel();
    lead.await;
    match outcome {
        Outcome::Lost => warn!(lease = config.name, "lost the leadership"),
        Outcome::Cancelled | Outcome::Finished => elector.release().await,
    }
    outcome
}

impl Elector<'_> {
    /// Ends when we are the leader.
    async fn acquire(&mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, self.config.retry_period);
        loop {
            let pause = match self.attempt().await {
                Attempt::Leads => return,
                Attempt::Follows => {
                    backoff.reset();
                    self.clock.jitter(self.config.retry_period, JITTER)
                }
                Attempt::Failed => backoff.next(self.clock),
            };
            self.clock.sleep(pause).await;
        }
    }

    /// Ends when we are the leader no more.
    async fn renew(&mut self) {
        let clock = self.clock.clone();
        let deadline = self.config.renew_deadline;
        loop {
            clock.sleep(self.config.retry_period).await;
            let renewed = clock.timeout(deadline, async {
                while !matches!(self.attempt().await, Attempt::Leads) {
                    clock.sleep(self.config.retry_period).await;
                }
            });
            if renewed.await.is_err() {
                return;
            }
        }
    }

    /// Takes or renews the lease if it is ours to take.
    async fn attempt(&mut self) -> Attempt {
        match self.try_attempt().await {
            Ok(true) => Attempt::Leads,
            Ok(false) => Attempt::Follows,
            Err(status) if status.is_conflict() || status.is_already_exists() => {
                debug!(lease = self.config.name, %status, "another candidate was faster");
                // What we knew is old: read again.
                self.observed = None;
                Attempt::Follows
            }
            Err(status) => {
                warn!(lease = self.config.name, %status, "failed to acquire or renew the lease");
                Attempt::Failed
            }
        }
    }

    async fn try_attempt(&mut self) -> Result<bool, Status> {
        // A leader whose lease holds needs no reading: a conflict would tell that someone else wrote.
        if let Some(observed) = &self.observed
            && self.is_ours(&observed.lease)
            && !self.has_expired(observed)
        {
            let renewed = self.client.update(&self.next(&observed.lease)).await;
            match renewed {
                Ok(lease) => {
                    self.observe(lease);
                    return Ok(true);
                }
                Err(status) => {
                    debug!(lease = self.config.name, %status, "renewing without reading failed");
                }
            }
        }
        let (namespace, name) = (&self.config.namespace, &self.config.name);
        let lease = match self.client.get::<Lease>(namespace, name).await {
            Err(status) if status.is_not_found() => {
                let created = self.client.create(&self.first()).await?;
                self.observe(created);
                return Ok(true);
            }
            lease => lease?,
        };
        let changed = self.observed.as_ref().is_none_or(|observed| {
            observed.lease.metadata.resource_version != lease.metadata.resource_version
        });
        if changed {
            self.observe(lease.clone());
        }
        let held = lease.spec.holder_identity.as_deref().is_some_and(|holder| !holder.is_empty());
        let expired = self.observed.as_ref().is_none_or(|observed| self.has_expired(observed));
        if held && !self.is_ours(&lease) && !expired {
            return Ok(false);
        }
        let taken = self.client.update(&self.next(&lease)).await?;
        self.observe(taken);
        Ok(true)
    }

    /// Gives the lease back, so that the next leader need not wait.
    async fn release(&mut self) {
        let released = self.clock.timeout(RELEASE, self.try_release()).await;
        if let Ok(Err(status)) = released {
            warn!(lease = self.config.name, %status, "failed to give the lease back");
        }
    }

    /// An attempt that was cut off may have changed the lease, or made it: what counts is how it is now.
    async fn try_release(&mut self) -> Result<(), Status> {
        let (namespace, name) = (&self.config.namespace, &self.config.name);
        let mut lease = match self.client.get::<Lease>(namespace, name).await {
            Err(status) if status.is_not_found() => return Ok(()),
            lease => lease?,
        };
        if !self.is_ours(&lease) {
            return Ok(());
        }
        lease.metadata.annotations.retain(|key, _| !self.config.annotations.contains_key(key));
        let now = Some(MicroTime(self.clock.now()));
        lease.spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: now,
            acquire_time: now,
            lease_transitions: lease.spec.lease_transitions,
            ..LeaseSpec::default()
        };
        self.client.update(&lease).await.map(drop)
    }

    fn observe(&mut self, lease: Lease) {
        self.observed = Some(Observed { lease, since: self.clock.monotonic() });
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        lease.spec.holder_identity.as_deref() == Some(&self.config.identity)
    }

    /// Whether the lease has not been renewed for its duration, as its holder stated it.
    fn has_expired(&self, observed: &Observed) -> bool {
        let seconds = observed.lease.spec.lease_duration_seconds.unwrap_or_default();
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        observed.since + duration < self.clock.monotonic()
    }

    fn first(&self) -> Lease {
        let metadata = ObjectMeta {
            namespace: Some(self.config.namespace.clone()),
            name: Some(self.config.name.clone()),
            ..ObjectMeta::default()
        };
        let mut lease = self.next(&Lease { metadata, ..Lease::default() });
        lease.spec.lease_transitions = Some(0);
        lease
    }

    /// The lease as it is when we hold it from now on.
    fn next(&self, present: &Lease) -> Lease {
        let mut lease = present.clone();
        let now = Some(MicroTime(self.clock.now()));
        let seconds = self.config.lease_duration.as_secs();
        lease.spec.lease_duration_seconds = Some(i32::try_from(seconds).unwrap_or(i32::MAX));
        lease.spec.renew_time = now;
        lease.metadata.annotations.extend(self.config.annotations.clone());
        if !self.is_ours(present) {
            lease.spec.holder_identity = Some(self.config.identity.clone());
            lease.spec.acquire_time = now;
            lease.spec.lease_transitions =
                Some(present.spec.lease_transitions.unwrap_or_default() + 1);
        }
        lease
    }
}
