//! ClientIP session affinity: which endpoint a client was given last.

use std::{collections::HashMap, net::IpAddr, net::SocketAddr, time::Duration};

use parking_lot::Mutex;

use crate::{report::Affinity, rules::ServicePortName};

/// Most clients that are remembered; beyond, those that were seen longest ago are forgotten.
const MAX_CLIENTS: usize = 16_384;

#[derive(Default)]
pub(super) struct AffinityTable {
    given: Mutex<HashMap<(ServicePortName, IpAddr), Given>>,
}

#[derive(Clone, Copy)]
struct Given {
    endpoint: SocketAddr,
    at: Duration,
}

impl AffinityTable {
    /// Returns the endpoint that `client` was given no longer than `timeout` ago.
    pub(super) fn get(
        &self,
        service: &ServicePortName,
        client: IpAddr,
        timeout: Duration,
        now: Duration,
    ) -> Option<SocketAddr> {
        let given = self.given.lock().get(&(service.clone(), client)).copied()?;
        (now.saturating_sub(given.at) < timeout).then_some(given.endpoint)
    }

    /// Remembers what `client` was given at `now`.
    pub(super) fn set(
        &self,
        service: &ServicePortName,
        client: IpAddr,
        endpoint: SocketAddr,
        now: Duration,
    ) {
        let mut given = self.given.lock();
        if given.len() >= MAX_CLIENTS {
            let mut times: Vec<Duration> = given.values().map(|given| given.at).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            given.retain(|_, given| given.at > median);
        }
        given.insert((service.clone(), client), Given { endpoint, at: now });
    }

    /// Lists who was given what, as far as `holds` of the Service and the time says so; sorted.
    pub(super) fn list(&self, holds: impl Fn(&ServicePortName, Duration) -> bool) -> Vec<Affinity> {
        let given = self.given.lock();
        let held = given.iter().filter(|((service, _), given)| holds(service, given.at));
        let mut all: Vec<Affinity> = held
            .map(|((service, client), given)| Affinity {
                service: service.clone(),
                client: *client,
                endpoint: given.endpoint,
            })
            .collect();
        all.sort_by(|a, b| (&a.service, a.client).cmp(&(&b.service, b.client)));
        all
    }

    /// Forgets Services that are no more.
    pub(super) fn retain(&self, keep: impl Fn(&ServicePortName) -> bool) {
        self.given.lock().retain(|(service, _), _| keep(service));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_until_the_timeout_and_within_bounds() {
        let table = AffinityTable::default();
        let service: ServicePortName = "default/web".parse().unwrap();
        let endpoint: SocketAddr = "10.244.1.2:80".parse().unwrap();
        let client = |n: u32| IpAddr::from(n.to_be_bytes());
        let secs = Duration::from_secs;
        table.set(&service, client(1), endpoint, secs(100));
        assert_eq!(table.get(&service, client(1), secs(10), secs(109)), Some(endpoint));
        assert_eq!(table.get(&service, client(1), secs(10), secs(110)), None);
        assert_eq!(table.get(&service, client(2), secs(10), secs(100)), None);
        for n in 2..20_000 {
            table.set(&service, client(n), endpoint, secs(100 + u64::from(n)));
        }
        assert!(table.given.lock().len() <= MAX_CLIENTS);
        assert!(table.get(&service, client(19_999), secs(10), secs(20_100)).is_some());
        table.retain(|_| false);
        assert!(table.given.lock().is_empty());
    }
}
