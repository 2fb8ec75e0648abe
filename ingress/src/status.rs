//! Writing where the Ingresses are reached: the addresses of our own Service, into `status.loadBalancer`.

use std::time::Duration;

use apimachinery::{
    api::{core::Service, networking::Ingress},
    object::ObjectKey,
};
use client::{Client, Patch};
use component_base::clock::Clock;
use serde_json::json;
use tokio::sync::watch;

use crate::directory::Directory;

/// After a write that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What an Ingress should show and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    ingress: ObjectKey,
    uid: Option<String>,
    addresses: Vec<String>,
}

/// Our own Service's addresses; None until the Services are known.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Option<Vec<String>>);

impl Addresses {
    pub(crate) fn learn(&mut self, service: Option<&Service>) {
        let status = service.and_then(|service| service.status.load_balancer.as_ref());
        let ingress = status.into_iter().flat_map(|status| &status.ingress);
        self.0 = Some(ingress.filter_map(|ingress| ingress.ip.clone()).collect());
    }

    /// The Ingresses whose status is not what it should be: where our Service has no address any more they have none.
    pub(crate) fn wanted(&self, directory: &Directory) -> Vec<Wanted> {
        let Some(addresses) = &self.0 else { return vec![] };
        let served =
            directory.served().iter().filter_map(|key| directory.ingresses.get_key_value(key));
        let differing = served.filter(|(_, ingress)| {
            let status = ingress.status.load_balancer.iter().flat_map(|status| &status.ingress);
            !status.map(|shown| shown.ip.as_ref()).eq(addresses.iter().map(Some))
        });
        let wanted = differing.map(|(key, ingress)| Wanted {
            ingress: key.clone(),
            uid: ingress.metadata.uid.clone(),
            addresses: addresses.clone(),
        });
        wanted.collect()
    }
}

/// Writes what is wanted, until nobody wants anything any more.
pub(crate) async fn write(client: Client, clock: Clock, mut wanted: watch::Receiver<Vec<Wanted>>) {
    loop {
        let due = wanted.borrow_and_update().clone();
        let mut failed = false;
        for Wanted { ingress, uid, addresses } in due {
            let shown: Vec<_> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
            let patch = Patch::Merge(json!({
                "metadata": {"uid": uid},
                "status": {"loadBalancer": {"ingress": shown}},
            }));
            let written =
                client.patch::<Ingress>(&ingress.namespace, &ingress.name, &patch, "status").await;
            if let Err(status) = written
                && !status.is_not_found()
                && !status.is_conflict()
            {
                tracing::warn!(%ingress, %status, "cannot write the status of an Ingress");
                failed = true;
            }
        }
        if failed {
            clock.sleep(PAUSE).await;
        } else if wanted.changed().await.is_err() {
            return;
        }
    }
}
