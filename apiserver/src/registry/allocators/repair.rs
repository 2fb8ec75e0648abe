//! The ranges at start: what is claimed, what is used, and whether that is the same.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::object::Object;

use super::{
    Allocators, IP_CLAIMS, PORT_CLAIMS,
    service::{Claim, claims},
};
use crate::storage::{Compare, ListQuery, Storage, StorageError, Txn};

/// What has to be done to make claims and Services agree.
#[derive(Debug, Default, PartialEq, Eq)]
struct Repair {
    /// Used by the Service of this index, and claimed by nobody.
    unclaimed: Vec<(Claim, usize)>,
    /// Claimed, and used by nobody.
    leaked: Vec<Claim>,
    /// Used by two Services; the first keeps the claim.
    shared: Vec<(Claim, usize)>,
}

fn plan(claimed: &BTreeSet<Claim>, services: &[Object]) -> Repair {
    let mut repair = Repair::default();
    let mut used = BTreeMap::new();
    for (index, service) in services.iter().enumerate() {
        for claim in claims(service) {
            if used.insert(claim, index).is_some() {
                repair.shared.push((claim, index));
            } else if !claimed.contains(&claim) {
                repair.unclaimed.push((claim, index));
            }
        }
    }
    repair.leaked = claimed.iter().filter(|claim| !used.contains_key(claim)).copied().collect();
    repair
}

impl Allocators {
    /// Fills the ranges from the store, and repairs claims that do not fit the Services.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn load(&self, storage: &dyn Storage) -> Result<(), StorageError> {
        let mut claimed = BTreeSet::new();
        for prefix in [IP_CLAIMS, PORT_CLAIMS] {
            let list = storage.list(&ListQuery::prefix(prefix)).await?;
            claimed.extend(list.items.iter().filter_map(|kv| Claim::parse(&kv.key)));
        }
        let list = storage.list(&ListQuery::prefix("/registry/services/specs/")).await?;
        let services: Vec<Object> =
            list.items.iter().filter_map(|kv| Object::from_slice(&kv.value).ok()).collect();
        let repair = plan(&claimed, &services);
        for (claim, index) in &repair.shared {
            let service = services[*index].key();
            tracing::error!(?claim, %service, "a second service uses this value; delete and create it again");
        }
        for (claim, index) in &repair.unclaimed {
            let service = &services[*index];
            tracing::error!(?claim, service = %service.key(), "repairing: a service's value is not claimed");
            let txn = Txn::put(claim.put(service)).and_compare(Compare::absent(claim.key()));
            storage.txn(txn).await?;
        }
        for claim in &repair.leaked {
            tracing::error!(?claim, "repairing: a claim has no service");
            storage.txn(Txn::default().and_delete(claim.key())).await?;
        }
        for claim in services.iter().flat_map(claims) {
            self.hold(claim);
        }
        Ok(())
    }

    /// Takes a value that a stored Service uses. One outside today's ranges stays with its Service.
    fn hold(&self, claim: Claim) {
        let reservation = match claim {
            Claim::Address(address) => self.take_address(address),
            Claim::Port(port) => self.take_port(port),
        };
        match reservation {
            Ok(reservation) => reservation.keep(),
            Err(error) => tracing::debug!(?claim, %error, "a stored value is not taken"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_found() {
        let service = |ip: &str, port: u16| {
            Object::from_value(json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {
                "type": "NodePort", "clusterIP": ip, "clusterIPs": [ip],
                "ports": [{"port": 1, "nodePort": port}]}}))
            .unwrap()
        };
        let ip = |last| Claim::Address(Ipv4Addr::new(10, 96, 0, last));
        let services = [service("10.96.0.2", 30001), service("10.96.0.2", 30002)];
        let claimed = [ip(2), Claim::Port(30001), ip(9)].into();
        assert_eq!(
            plan(&claimed, &services),
            Repair {
                unclaimed: vec![(Claim::Port(30002), 1)],
                leaked: vec![ip(9)],
                shared: vec![(ip(2), 1)],
            }
        );
        let claimed = [ip(2), Claim::Port(30001)].into();
        assert_eq!(plan(&claimed, &services[..1]), Repair::default());
    }
}
