//! The flags of leader election, as Kubernetes' components have them.

use std::{path::PathBuf, time::Duration};

use apimachinery::duration;
use clap::{ArgAction, Args};
use component_base::clock::Clock;

use super::{Config, Identity};

/// `--leader-elect` and its like.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Run only while this copy is the leader; the others stand by.
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
    pub leader_elect: bool,
    /// How long a lease holds that its leader does not renew.
    #[arg(long, default_value = "15s", value_parser = duration::parse_flag)]
    pub leader_elect_lease_duration: Duration,
    /// For how long the leader tries to renew before it gives up; shorter than the lease duration.
    #[arg(long, default_value = "10s", value_parser = duration::parse_flag)]
    pub leader_elect_renew_deadline: Duration,
    /// Between two attempts to get or renew the lease.
    #[arg(long, default_value = "2s", value_parser = duration::parse_flag)]
    pub leader_elect_retry_period: Duration,
    /// The kind of the lock: only leases are there.
    #[arg(long, default_value = "leases", value_parser = ["leases"])]
    pub leader_elect_resource_lock: String,
    /// The lease's name; the component's own by default.
    #[arg(long)]
    pub leader_elect_resource_name: Option<String>,
    /// The lease's namespace.
    #[arg(long, default_value = "kube-system")]
    pub leader_elect_resource_namespace: String,
    /// File that hands this copy's name on to the process that follows it, so that a restart need not wait for the
    /// lease to run out.
    #[arg(long)]
    pub leader_elect_identity_file: Option<PathBuf>,
}

/// The periods do not fit together, or the name cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FlagsError {
    /// A lease must outlast the attempts to renew it.
    #[error("leaseDuration must be greater than renewDeadline")]
    Lease,
    /// The renewal must leave time for more than one attempt.
    #[error("renewDeadline must be greater than retryPeriod*JitterFactor")]
    Renewal,
    /// The file that hands the name on is of no use.
    #[error("--leader-elect-identity-file {path}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Flags {
    /// The election that the flags ask for, on `component`'s lease unless they name another, and this copy's name, to be
    /// kept as long as the process lives; None without `--leader-elect`.
    ///
    /// # Errors
    /// See [`FlagsError`].
    pub fn election(
        &self,
        component: &str,
        host: &str,
        clock: &Clock,
    ) -> Result<Option<(Config, Identity)>, FlagsError> {
        if !self.leader_elect {
            return Ok(None);
        }
        if self.leader_elect_lease_duration <= self.leader_elect_renew_deadline {
            return Err(FlagsError::Lease);
        }
        if self.leader_elect_renew_deadline <= self.leader_elect_retry_period.mul_f64(super::JITTER)
        {
            return Err(FlagsError::Renewal);
        }
        let identity = match &self.leader_elect_identity_file {
            None => Identity::fresh(host, clock),
            Some(path) => Identity::of_slot(path, host, clock)
                .map_err(|source| FlagsError::Identity { path: path.clone(), source })?,
        };
        let name = self.leader_elect_resource_name.as_deref().unwrap_or(component);
        let config = Config {
            namespace: self.leader_elect_resource_namespace.clone(),
            lease_duration: self.leader_elect_lease_duration,
            renew_deadline: self.leader_elect_renew_deadline,
            retry_period: self.leader_elect_retry_period,
            ..Config::component(name, identity.name())
        };
        Ok(Some((config, identity)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        flags: Flags,
    }

    fn election(args: &[&str]) -> Result<Option<Config>, String> {
        let program = Program::try_parse_from([&["program"], args].concat());
        let flags = program.map_err(|error| error.to_string())?.flags;
        let made = flags.election("kube-scheduler", "host", &Clock::real());
        Ok(made.map_err(|error| error.to_string())?.map(|(config, _)| config))
    }

    #[test]
    fn flags_are_kubernetes() {
        let plain = election(&[]).unwrap().expect("elected by default");
        let expected = Config::component("kube-scheduler", &plain.identity);
        assert_eq!(plain, expected);
        assert_eq!(election(&["--leader-elect=false"]), Ok(None));
        let other = election(&[
            "--leader-elect",
            "--leader-elect-lease-duration=1m",
            "--leader-elect-resource-name=other",
            "--leader-elect-resource-namespace=n",
        ]);
        let other = other.unwrap().expect("elected");
        assert_eq!((other.namespace.as_str(), other.name.as_str()), ("n", "other"));
        assert_eq!(other.lease_duration, Duration::from_secs(60));
        let refused = |args: &[&str]| election(args).unwrap_err();
        assert!(refused(&["--leader-elect-renew-deadline=15s"]).starts_with("leaseDuration"));
        assert!(refused(&["--leader-elect-retry-period=9s"]).starts_with("renewDeadline"));
        assert!(refused(&["--leader-elect-retry-period=soon"]).contains("invalid duration"));
    }
}
