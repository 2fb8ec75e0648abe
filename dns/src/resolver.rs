//! How a pod finds addresses: what libc does with `/etc/resolv.conf`, over the pod's own network.
//!
//! A name with fewer dots than `ndots` is tried under each search domain first, then as it stands; one with more the
//! other way round; one that ends with a dot only as it stands. The first that has an address wins. Servers are asked in
//! their order, each within `timeout`, all of them `attempts` times; an answer that was cut is fetched over a connection.
//!
//! Only A records are asked for: the pod network is IPv4, and what has no such address cannot be reached.

mod conf;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use async_trait::async_trait;
use cni::network::{Resolver, Sandbox};
use component_base::clock::Clock;
use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};

pub use self::conf::ResolvConf;
use crate::exchange::exchange;

/// Aliases that are followed inside one answer.
const MAX_ALIASES: usize = 16;
/// Where servers listen.
const PORT: u16 = 53;

/// Resolves names for the Programs of one pod; see [`Sandbox::set_resolver`].
#[derive(Clone, Debug)]
pub struct PodResolver {
    clock: Clock,
    conf: ResolvConf,
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No such name, or it has no address.
    #[error("could not resolve host: {0}")]
    NotFound(String),
    /// A server that should know failed; another time it may not.
    #[error("temporary failure in name resolution: {0}")]
    Failed(String),
    /// No server answers.
    #[error("connection timed out; no servers could be reached")]
    Unreachable(#[source] io::Error),
}

impl From<ResolveError> for io::Error {
    fn from(error: ResolveError) -> Self {
        let kind = match &error {
            ResolveError::NotFound(_) => io::ErrorKind::NotFound,
            ResolveError::Failed(_) => io::ErrorKind::Other,
            ResolveError::Unreachable(_) => io::ErrorKind::TimedOut,
        };
        Self::new(kind, error)
    }
}

impl PodResolver {
    /// A resolver of a pod with this `/etc/resolv.conf`.
    #[must_use]
    pub fn new(clock: Clock, conf: ResolvConf) -> Self {
        Self { clock, conf }
    }

    /// Its `/etc/resolv.conf`.
    #[must_use]
    pub fn conf(&self) -> &ResolvConf {
        &self.conf
    }

    /// Finds the IPv4 addresses of a name.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn addresses(
        &self,
        sandbox: &Sandbox,
        name: &str,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        let mut failed = false;
        for candidate in self.conf.candidates(name) {
            match self.one(sandbox, &candidate).await {
                // Nobody has this zone, or the name has no address.
                Err(ResolveError::NotFound(_)) => {}
                Err(ResolveError::Failed(_)) => failed = true,
                decided => return decided,
            }
        }
        let error = if failed { ResolveError::Failed } else { ResolveError::NotFound };
        Err(error(name.to_owned()))
    }

    /// The addresses of one full name; never none.
    async fn one(&self, sandbox: &Sandbox, name: &Name) -> Result<Vec<IpAddr>, ResolveError> {
        let answer = self.ask(sandbox, name, RecordType::A).await?;
        let error = match answer.metadata.response_code {
            ResponseCode::NoError => {
                let found = addresses_of(&answer, name);
                if !found.is_empty() {
                    return Ok(found);
                }
                ResolveError::NotFound
            }
            ResponseCode::NXDomain | ResponseCode::Refused => ResolveError::NotFound,
            _ => ResolveError::Failed,
        };
        Err(error(name.to_string()))
    }

    /// Asks the servers for the records of one full name, whatever the answer.
    ///
    /// # Errors
    /// [`ResolveError::Unreachable`].
    pub async fn ask(
        &self,
        sandbox: &Sandbox,
        name: &Name,
        record_type: RecordType,
    ) -> Result<Message, ResolveError> {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(name.clone(), record_type));
        let mut failure = cni::network::timed_out();
        let mut poor = None;
        for _ in 0..self.conf.attempts {
            for server in &self.conf.nameservers {
                let server = SocketAddr::new(*server, PORT);
                let patience = self.conf.timeout;
                match exchange(sandbox, &self.clock, server, query.clone(), patience).await {
                    Ok(answer) => match answer.metadata.response_code {
                        ResponseCode::NoError | ResponseCode::NXDomain => return Ok(answer),
                        // The next server may know better.
                        _ => poor = Some(answer),
                    },
                    Err(error) => failure = error,
                }
            }
            if let Some(answer) = poor {
                return Ok(answer);
            }
        }
        Err(ResolveError::Unreachable(failure))
    }
}

#[async_trait]
impl Resolver for PodResolver {
    async fn resolve(&self, sandbox: &Sandbox, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(self.addresses(sandbox, name).await?)
    }

    async fn steps(&self, sandbox: &Sandbox, name: &str) -> Vec<(String, io::Result<Vec<IpAddr>>)> {
        let mut steps = Vec::new();
        for candidate in self.conf.candidates(name) {
            let answer = self.one(sandbox, &candidate).await;
            // As in `addresses`: these two are no end.
            let goes_on =
                matches!(answer, Err(ResolveError::NotFound(_) | ResolveError::Failed(_)));
            steps.push((candidate.to_string(), answer.map_err(io::Error::from)));
            if !goes_on {
                break;
            }
        }
        steps
    }
}

/// The addresses at the end of the aliases of `name`.
fn addresses_of(answer: &Message, name: &Name) -> Vec<IpAddr> {
    let mut owner = name;
    for _ in 0..MAX_ALIASES {
        let mut found = Vec::new();
        let mut alias = None;
        for record in answer.answers.iter().filter(|record| record.name == *owner) {
            match &record.data {
                RData::A(address) => found.push(IpAddr::V4(address.0)),
                RData::CNAME(target) => alias = Some(&target.0),
                _ => {}
            }
        }
        match alias {
            Some(target) if found.is_empty() => owner = target,
            _ => return found,
        }
    }
    Vec::new()
}
